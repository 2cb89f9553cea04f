"""What broken contracts tell of values: what came and what should have come, held against what an edit changes.

Owns the pairs of a case and the bits that an edit earns by them. A constant that is exactly what came and becomes what
should have come, or that differs from its replacement as these two differ, is a likelier repair than one that does not.
Numbers alone are compared: which line makes the value, only the place can say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from architect.arithmetic import after
from architect.origins import Demand
from architect.protocols import Case, Edit
from architect.statements import split_top, strip_comment
from toolchain import expr

_EXACT, _SHIFTED, _TOGGLED, _RESULT = 5.0, 3.5, 3.0, 2.0
_MAKES, _MISSES = 6.0, 4.0  # computed: another round of a loop may still be right where the last one is not
_SMALL = 16  # numbers below it are met everywhere, and tell half as much
_TEXT_MAX = 400
_PAIRS_MAX = 24
_LINES_KEPT = 1 << 14
_MASK = (1 << 64) - 1
_UNARY = {"add": 1, "sub": -1}
_STEPS = frozenset({*_UNARY, "or", "xor", "and", "mov"})


class Told:
    """The pairs (came, should have come) of a case; false when there are none.

    Args:
        case: with its failed gates.
        values: the constants of the tree by name.
    """

    def __init__(self, case: Case, values: Mapping[str, int]) -> None:
        self._values = values
        self._known: dict[str, int | None] = {}
        self._insertions: dict[str, float] = {}  # what lines earn as insertions
        rows = [row for gate in case.failures for row in gate.evidence.get("violations", ())]
        calls = [
            row["call"] for row in rows if isinstance(row, Mapping) and isinstance(row.get("call"), Mapping)
        ]
        found = [pair for call in calls for pair in pairs(call.get("got"), call.get("expected"))]
        self.pairs = list(dict.fromkeys(found))[:_PAIRS_MAX]
        self._demands: dict[tuple[str, int], list[Demand]] = {}
        for demand in [demand for run in case.runs for demand in run.demands]:
            for key in dict.fromkeys((*demand.gaps, *([demand.made] if demand.made else ()))):
                self._demands.setdefault(key, []).append(demand)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def waiting(self, file: str, line: int) -> Sequence[tuple[Demand, Mapping[str, int]]]:
        """The wrong values that wait in a register before a line, each with all registers there."""
        key = (file, line)
        return [(demand, demand.gaps[key]) for demand in self._demands.get(key, ()) if key in demand.gaps]

    def earned(self, edits: Sequence[Edit]) -> float:
        """Bits that a patch of one place earns, or loses when what it makes is known to be wrong; 0 for any other."""
        if len(edits) != 1 or len(edits[0].old) > 1:
            return 0.0
        edit = edits[0]
        demands = self._demands.get((edit.file, edit.line))
        if demands:
            computed = [bits for demand in demands if (bits := self._computed(edit, demand))]
            if computed:
                return min(computed)
        if len(edit.new) != 1:
            return 0.0
        line = edit.new[0]
        if edit.old:
            return self._replaced(edit.old[0], line)
        known = self._insertions.get(line)
        if known is None:
            if len(self._insertions) >= _LINES_KEPT:
                self._insertions.clear()
            known = self._insertions[line] = self._inserted(line)
        return known

    def _computed(self, edit: Edit, demand: Demand) -> float:
        """What an edit where a wrong value is made or waits to be used earns by the value that it makes."""
        key = (edit.file, edit.line)
        making = bool(edit.old) and key == demand.made
        registers: Mapping[str, int] | None = demand.before if making else demand.gaps.get(key)
        for line in edit.new:
            if registers is not None:
                registers = self._after(line, registers)
        if registers is None or demand.register not in registers:
            return 0.0
        right = registers[demand.register] & demand.mask == demand.wanted
        return _MAKES if right else 0.0 if demand.turned else -_MISSES

    def _after(self, line: str, registers: Mapping[str, int]) -> Mapping[str, int] | None:
        words = strip_comment(line).split(None, 1)
        return after(words[0].lower(), _operands(line), registers, self._value) if words else registers

    def _replaced(self, old: str, new: str) -> float:
        before, after = _operands(old), _operands(new)
        if len(before) != len(after):
            return 0.0
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        if len(changed) != 1:
            return 0.0
        value, other = self._value(changed[0][0]), self._value(changed[0][1])
        if other is None:
            return 0.0
        return max((self._change(value, other, *pair) for pair in self.pairs), default=0.0)

    @staticmethod
    def _change(value: int | None, other: int, came: int, wanted: int) -> float:
        worth = 0.5 if max(abs(came), abs(wanted)) < _SMALL else 1.0
        if value == came and other == wanted:
            return worth * _EXACT
        if value is not None and (other - value) & _MASK == (wanted - came) & _MASK:
            return worth * _SHIFTED
        if value is not None and value ^ other == came ^ wanted:
            return worth * _TOGGLED
        return worth * _RESULT if other == wanted else 0.0

    def _inserted(self, line: str) -> float:
        name, _, _ = line.strip().partition(" ")
        if name not in _STEPS:
            return 0.0
        operands = _operands(line)
        value = self._value(operands[-1]) if len(operands) == 2 else None
        if not value:
            return 0.0
        return max((self._step(name, value, *pair) for pair in self.pairs), default=0.0)

    @staticmethod
    def _step(name: str, value: int, came: int, wanted: int) -> float:
        worth = 0.5 if max(abs(came), abs(wanted)) < _SMALL else 1.0
        if name in _UNARY:
            return worth * _SHIFTED if _UNARY[name] * value & _MASK == (wanted - came) & _MASK else 0.0
        if name == "mov":
            return worth * _RESULT if value == wanted else 0.0
        made = {"or": came | value, "xor": came ^ value, "and": came & value}[name]
        return worth * _TOGGLED if made & _MASK == wanted & _MASK and came != wanted else 0.0

    def _value(self, text: str) -> int | None:
        if text not in self._known:
            self._known[text] = value_of(text, self._values)
        return self._known[text]


def value_of(text: str, values: Mapping[str, int]) -> int | None:
    """What an expression comes to; None when it is none, or when a name of it is not known."""
    try:
        return expr.parse_cached(text).evaluate(values.get)
    except ValueError:
        return None


@lru_cache(maxsize=1 << 13)
def _operands(line: str) -> list[str]:
    """The operands of a line's statement, without what stands before them."""
    code = strip_comment(line).strip()
    _, _, rest = code.partition(" ")
    return [part.text.strip() for part in split_top(rest, ",")]


def pairs(came: object, wanted: object) -> Iterator[tuple[int, int]]:
    """The numbers of two like things that differ."""
    came, wanted = _read(came), _read(wanted)
    if isinstance(came, int) and isinstance(wanted, int):
        if came != wanted:
            yield came, wanted
    elif isinstance(came, tuple | list) and isinstance(wanted, tuple | list) and len(came) == len(wanted):
        for a, b in zip(came, wanted, strict=True):
            yield from pairs(a, b)


def _read(value: object) -> object:
    """A number or a tuple of such out of evidence, where these come as text."""
    if not isinstance(value, str) or len(value) > _TEXT_MAX or value[:1] not in tuple("([0123456789-"):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
