"""The places of one unit that follow from constants: instructions and data with a name in them.

Owns the index of these places by name, and their bytes when a name has another value. Which constants change, and what
they are worth, is ``constants``'s business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from toolchain import nops
from toolchain.data_directives import INTEGERS
from toolchain.expr import Expr, SyntaxFault, parse_cached
from toolchain.expr_tree import EvaluationError
from toolchain.objectfile import ObjectFile
from toolchain.preprocess import Unit
from toolchain.resolve import BOUNDS
from toolchain.source import ASSIGN, Statement
from toolchain.types import Encoding, Fixup
from toolchain.unit_state import split

ASSIGNMENTS = (".set", ".equ", ASSIGN)
_WORD = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)


def assigned(statement: Statement) -> tuple[str, str]:
    """The name and the expression of an assignment."""
    name, _, text = statement.args.partition(",")
    return name.strip(), text.strip()


class Place(NamedTuple):
    """Bytes of a unit that a statement stands for."""

    section: int
    offset: int
    length: int
    statement: Statement
    settled: bool  # every name in it means the same everywhere


class Home:
    """One unit: what its constants are worth, and its places by the words in their statements.

    Attributes:
        again: names that do not mean the same everywhere.
        plain: whether all of it is 64-bit code.
    """

    def __init__(self, unit: Unit, made: ObjectFile) -> None:
        self.made = made
        self.values: dict[str, int] = dict(unit.reader.defines)
        self.again: set[str] = set()
        self.plain = True
        for statement in unit.statements:
            if statement.constants is not None:
                run = statement.constants.values
                self.again |= {name for name, value in run.items() if self.values.get(name, value) != value}
                self.values |= run
            elif statement.op in ASSIGNMENTS:
                self.again.add(assigned(statement)[0])
            elif statement.op in (".code16", ".code32", ".code64"):
                self.plain = False
        self.places: dict[str, list[Place]] = {}
        for number, section in enumerate(made.sections):
            for offset, length, statement, _ in section.rows:
                words = {*_WORD.findall(statement.args)}
                place = Place(number, offset, length, statement, words.isdisjoint(self.again))
                for word in words:
                    self.places.setdefault(word, []).append(place)


def refilled(stands: bytes, old: Encoding, new: Encoding) -> bytes | None:
    """An instruction with another number in it; its fields are those that stand there. None when it does not fit."""
    spare = len(stands) - len(new.data)
    if len(old.data) != len(stands) or spare < 0 or old.short or new.short or (spare and new.fixups):
        return None
    if len(old.fixups) != len(new.fixups):
        return None
    data = bytearray(new.data)
    for one, other in zip(old.fixups, new.fixups, strict=True):
        before, after = _offset(one), _offset(other)
        if one[:3] != other[:3] or before is None or after is None or before[0] != after[0]:
            return None
        field = slice(one.offset, one.offset + one.size)
        value = int.from_bytes(stands[field], "little") + after[1] - before[1]
        data[field] = (value & ((1 << 8 * one.size) - 1)).to_bytes(one.size, "little")
    return bytes(data) + nops.fill(spare, 64)


def _offset(fixup: Fixup) -> tuple[str, int] | None:
    """The symbol of a field, and what is added to it."""
    operand = fixup.operand
    return operand.symbol_offset() if isinstance(operand, Expr) else None


def integers(
    place: Place, changed: Mapping[str, int], values: Mapping[str, int], stands: bytes
) -> bytes | None:
    """The numbers of a data directive; addresses among them are what stands there."""
    size = INTEGERS[place.statement.op]
    low, high = BOUNDS["data", size]
    out = b""
    for piece in split(place.statement.args):
        try:
            value = parse_cached(piece).evaluate(values.get)
        except (SyntaxFault, EvaluationError):
            return None
        if value is None and changed.keys().isdisjoint(_WORD.findall(piece)):
            at = place.offset + len(out)
            out += stands[at : at + size]
        elif value is None or not low <= value <= high:
            return None
        else:
            out += (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return out
