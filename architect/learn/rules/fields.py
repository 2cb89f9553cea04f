"""An access to a field of a structure that reaches into the next field.

Constants that begin with the same word and stand on neighbouring lines, rising, are the offsets of one structure
where an address adds one of them to a register; the width of the access must end before the next offset. The sort
says how many fields it swallows: two that are read as one are often meant.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from architect.effects import is_memory
from architect.learn.rules.view import Suspicion, View, code
from architect.source import Constant
from architect.statements import Statement
from toolchain import headers

NAME = "field-overrun"
_WIDTHS = {"byte": 1, "word": 2, "dword": 4, "qword": 8}
_FIELD = re.compile(r"\[\s*\w+\s*\+\s*([A-Z][A-Z0-9_]*)\s*\]")
_OFFSET_MAX = 4096
_EXTENDS = ("movzx", "movsx", "movsxd")


def rule(view: View) -> Iterator[Suspicion]:
    """Accesses wider than the room that the next field leaves."""
    accesses: list[tuple[str, int, Statement, str]] = []
    for flow in view.flows:
        for _, s in code(flow):
            for operand in s.operands:
                field = _FIELD.search(operand.text) if is_memory(operand.text) else None
                width = _width(s, operand.text) if field and s.name != "lea" else 0
                if field and width and field[1] in view.values():
                    accesses.append((field[1], width, s, flow.routine.name))
    behind = _behind(view)
    for name, width, s, routine in accesses:
        start = view.values()[name]
        swallowed = [other for other in behind.get(name, ()) if view.values()[other] < start + width]
        if swallowed:
            room = view.values()[swallowed[0]] - start
            message = (
                f"reads or writes {width} bytes at {name}, and {swallowed[0]} begins {room} bytes behind it"
            )
            yield Suspicion(
                NAME, f"{width} bytes over {len(swallowed)} more fields", message, *s.key, routine
            )


def _width(s: Statement, operand: str) -> int:
    word = operand.split(None, 1)[0].lower()
    if word in _WIDTHS:
        return _WIDTHS[word]
    others = [headers.register_bits(o.text) for o in s.operands if o.text != operand]
    bits = next((b for b in others if b), None)
    return bits // 8 if bits and s.name not in _EXTENDS else 0


def _behind(view: View) -> Mapping[str, list[str]]:
    """Field -> those behind it in its structure, in order."""
    by_file: dict[str, list[Constant]] = defaultdict(list)
    for constant in view.tree.constants.values():
        if constant.name in view.values():
            by_file[constant.file].append(constant)
    found: dict[str, list[str]] = {}
    for constants in by_file.values():
        run: list[Constant] = []
        for constant in sorted(constants, key=lambda c: c.line):
            if run and not _next(view, run[-1], constant):
                run = []
            for before in run:
                found.setdefault(before.name, []).append(constant.name)
            run.append(constant)
    return found


def _next(view: View, one: Constant, other: Constant) -> bool:
    """Whether one constant can be the field behind another."""
    start, end = view.values()[one.name], view.values()[other.name]
    return (
        other.line == one.line + 1
        and one.name.split("_")[0] == other.name.split("_")[0]
        and 0 <= start < end <= _OFFSET_MAX
    )
