"""Operators on what the architecture fixes: a definition whose name says which bit it is, and is not; descriptors.

Owns the edits of one definition or table entry. What names mean is ``architectural``'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.architectural import fixed
from architect.operators.base import Operator, Site, Variant, rank_bits, replaced
from architect.operators.view import is_assignment
from architect.statements import Span

_SHIFTED = re.compile(r"1\s*<<\s*(\d+)")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+")
# A segment descriptor (Intel SDM vol. 3, 3.4.5).
_EXECUTABLE, _SEGMENT, _PRESENT = 1 << 43, 1 << 4, 1 << 47  # the S flag is bit 4 of the access byte
_LIMIT_HIGH, _LONG, _DEFAULT, _GRANULAR = 0xF << 48, 1 << 53, 1 << 54, 1 << 55
_LITERAL = re.compile(r"0[xX][0-9a-fA-F]+|0[bB][01]+|\d+")


def told_by_name(site: Site) -> Iterator[Variant]:
    """The value that a definition's name says, written as the wrong one is."""
    s = site.statement
    if not is_assignment(s) or s.kind != "directive":
        return
    meant, operand = fixed(s.operand(0)), s.operands[1]
    value = site.view.names.values.get(s.operand(0))
    if meant is None or value is None or meant.allows(value):
        return
    found = _SHIFTED.fullmatch(operand.text.strip("()"))
    if found is not None and meant.bit is not None:
        at = operand.start + operand.text.index(found[1], operand.text.index("<<"))
        edit = replaced(s, Span(found[1], at, at + len(found[1])), str(meant.bit))
        yield Variant((edit,), 0.0, meant.what)
    elif _LITERAL.fullmatch(operand.text):
        shown = hex if operand.text[:2].lower() == "0x" else str
        for rank, value in enumerate(meant.values):
            yield Variant((replaced(s, operand, shown(value)),), rank_bits(rank), meant.what)


def descriptors(site: Site) -> Iterator[Variant]:
    """A flat segment descriptor for the other usual ones: 64-bit code, 32-bit code, data (Intel SDM vol. 3, 3.4.5)."""
    s = site.statement
    if s.name != ".quad":
        return
    for operand in s.operands:
        value = int(operand.text, 0) if _HEX.fullmatch(operand.text) else 0
        if not value >> 40 & _SEGMENT or value >> 56 or value >> 16 & 0xFFFFFF or value >> 64:
            continue  # no descriptor of a segment at address 0
        rest = value & ~(_LONG | _DEFAULT)
        small = rest & ~(_GRANULAR | _LIMIT_HIGH)
        code = rest | _EXECUTABLE
        found = {
            code | _LONG: "64-bit code",
            small | _EXECUTABLE | _LONG: "64-bit code without a limit",
            code | _DEFAULT: "32-bit code",
            (rest & ~_EXECUTABLE) | _DEFAULT: "data",
            value | _PRESENT: "present",
        }
        others = [(other, note) for other, note in found.items() if other != value]
        for rank, (other, note) in enumerate(others):
            text = f"{other:#0{len(operand.text)}x}"
            yield Variant((replaced(s, operand, text),), rank_bits(rank), f"a descriptor of {note}")


OPERATORS = (
    Operator(
        "segment-descriptor",
        "L and D, code and data, present: the bits of a descriptor that are not told from its digits",
        3.0,
        descriptors,
        {"protection": -1.0, "page-fault": -0.5},
        sorts=frozenset({"data"}),
    ),
    Operator(
        "architecture-value",
        "a bit or number that a specification fixes, misremembered: its name says what it must be",
        0.5,
        told_by_name,
        sorts=frozenset({"number", "constant"}),
    ),
)
