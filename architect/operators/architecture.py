"""The operator on what the architecture fixes: a definition whose name says which bit or number it is, and is not.

Owns the edit of one definition. What names mean is ``architectural``'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.architectural import fixed
from architect.operators.base import Operator, Site, Variant, rank_bits, replaced
from architect.operators.view import is_assignment
from architect.statements import Span

_SHIFTED = re.compile(r"1\s*<<\s*(\d+)")
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


OPERATORS = (
    Operator(
        "architecture-value",
        "a bit or number that a specification fixes, misremembered: its name says what it must be",
        0.5,
        told_by_name,
        sorts=frozenset({"number", "constant"}),
    ),
)
