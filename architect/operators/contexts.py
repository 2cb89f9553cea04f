"""Operators on saved contexts: runs of pushes, as an interrupt's entry or a switch of threads has them.

Owns what needs the order of such a run: a register left out of it, together with its pop. A frame whose offsets are
fixed by constants has then every field after it in another place, so one edit alone mends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from architect.operators.base import Operator, Site, Variant, indent, inserted_at, rank_bits
from architect.operators.view import View, kept
from architect.statements import Statement
from toolchain import headers

_NUMBERED = re.compile(r"(\w*?)(\d+)(\w*)$")


def complete(site: Site) -> Iterator[Variant]:
    """The register that other runs, or the order of the numbers, have between two pushes; pushed, and popped too."""
    s, before = site.statement, site.previous
    if before is None or (s.name, before.name) != ("push", "push") or not s.operands or not before.operands:
        return
    first, second = before.operand(0), s.operand(0)
    present = {x.operand(0) for x in site.view.sequence(s)[0] if x.name == "push"}
    known = _between(site.view).get((first, second), ())
    for rank, name in enumerate(dict.fromkeys((*known, *_numbered(first, second)))):
        if name in present:
            continue
        push = inserted_at(s.file, s.line, [f"{indent(s)}push {name}"])
        for nth, pop in enumerate(_mirrors(site, first, second)):
            edits = (push, inserted_at(pop.file, pop.line, [f"{indent(pop)}pop {name}"]))
            yield Variant(edits, rank_bits(rank) + nth, f"{name} saved between {first} and {second}")


@kept
def _between(view: View) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """What stands between two registers in the tree's runs of three pushes."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for statements in view.tree.files.values():
        code = [s for s in statements if s.kind == "instruction"]
        for a, b, c in zip(code, code[1:], code[2:], strict=False):
            pushes = a.name == b.name == c.name == "push" and c.line == a.line + 2
            if pushes and headers.full_register(b.operand(0)) is not None:
                found.setdefault((a.operand(0), c.operand(0)), {})[b.operand(0)] = None
    return {pair: tuple(names) for pair, names in found.items()}


def _numbered(first: str, second: str) -> tuple[str, ...]:
    """The register between two whose numbers differ by two: ``r10`` and ``r12`` leave ``r11`` out."""
    a, b = _NUMBERED.fullmatch(first), _NUMBERED.fullmatch(second)
    if a is None or b is None or (a[1], a[3]) != (b[1], b[3]) or abs(int(a[2]) - int(b[2])) != 2:
        return ()
    return (f"{a[1]}{(int(a[2]) + int(b[2])) // 2}{a[3]}",)


def _mirrors(site: Site, first: str, second: str) -> list[Statement]:
    """The pops of ``first`` right after those of ``second``, in the same file: first those of the routine itself."""
    s = site.statement
    found = []
    for pop in site.view.tree.files[s.file]:
        if pop.name == "pop" and pop.operand(0) == first:
            before = site.view.neighbour(pop, -1)
            if before is not None and before.name == "pop" and before.operand(0) == second:
                found.append(pop)
    return sorted(found, key=lambda pop: (pop.routine != s.routine, abs(pop.line - s.line)))


OPERATORS = (
    Operator(
        "context-register",
        "a register left out of a saved context: what lies behind it is found in the wrong place",
        3.0,
        complete,
        {"contract": -1.0},
    ),
)
