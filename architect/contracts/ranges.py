"""Sets of address ranges against a model: disjoint, ascending, joined where they touch."""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.model import FULL, Session
from toolchain.harness import BUFFER_BASE, Harness

_CAPACITY = 6
_HEAD = 24
_UNIT = 0x1000
_SPAN = 24
_STEPS = 45
_SET = struct.Struct(f"<3Q{2 * (_CAPACITY + 1)}Q")
# Unused rows hold noise: a routine that reads beyond the count is found out, and one that writes beyond the capacity.
_NOISE = 0x5A5A_5A5A_5A5A_5A5A


def _rows(covered: set[int]) -> list[tuple[int, int]]:
    """The model: units that are in the set -> rows as they must stand."""
    rows: list[tuple[int, int]] = []
    for unit in sorted(covered):
        if rows and rows[-1][1] == unit:
            rows[-1] = (rows[-1][0], unit + 1)
        else:
            rows.append((unit, unit + 1))
    return rows


class _Set(Session):
    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.empty()

    def empty(self) -> None:
        """Begin with no rows."""
        self.covered: set[int] = set()
        self.harness.write(BUFFER_BASE, _SET.pack(0, _CAPACITY, 0, *[_NOISE] * (2 * _CAPACITY + 2)))

    def change(self, routine: str, first: int, end: int) -> None:
        """Add or subtract one range of units; what finds no row must be said and counted."""
        units = set(range(first, end))
        after = self.covered | units if routine == "ranges_add" else self.covered - units
        where = {"rdi": BUFFER_BASE, "rsi": first * _UNIT, "rdx": end * _UNIT}
        result = self.call(routine, **where)
        count, _, lost, *values = _SET.unpack(self.harness.read(BUFFER_BASE, _SET.size))
        self.expect(values[-2:] == [_NOISE] * 2, routine, "writes beyond the last row", **where)
        full = len(_rows(after)) > _CAPACITY
        self.expect(result.flag("cf") == full, routine, "is wrong about whether a row is left", **where)
        self.equal(lost, int(full), routine, "does not count what found no row", **where)
        error = result.registers["rax"]
        self.equal(error, FULL if full else 0, routine, "gives another reason, or one where none is", **where)
        if full:  # the rest of the set is not promised: begin anew
            self.empty()
            return
        self.covered = after
        bounds = values[: 2 * count]
        rows = list(zip(bounds[::2], bounds[1::2], strict=True)) if count <= _CAPACITY else None
        expected = [(low * _UNIT, high * _UNIT) for low, high in _rows(after)]
        self.expect(rows == expected, routine, "leaves the wrong rows", **where)

    def overlap(self, first: int, end: int) -> None:
        """The lowest row that shares an address with a range."""
        where = {"rdi": BUFFER_BASE, "rsi": first * _UNIT, "rdx": end * _UNIT}
        result = self.call("ranges_overlap", **where)
        rows = _rows(self.covered)
        hits = [index for index, row in enumerate(rows) if row[0] < end and row[1] > first]
        self.expect(result.flag("cf") != bool(hits), "ranges_overlap", "is wrong about an overlap", **where)
        if hits:
            row = BUFFER_BASE + _HEAD + 16 * hits[0]
            self.equal(result.registers["rax"], row, "ranges_overlap", "names the wrong row", **where)


@contract(
    "ranges_add", "ranges_subtract", "ranges_overlap", "ranges_insert", "ranges_remove",
    needs=("ranges_subtract", "ranges_overlap"),
)  # fmt: skip
def range_sets(harness: Harness) -> None:
    """Random additions and subtractions."""
    noise = random.Random(2)
    rows = _Set(harness)
    for number in range(_CAPACITY + 1):  # one more than there are rows, the highest first
        rows.change("ranges_add", _SPAN - 3 * number, _SPAN - 3 * number + 2)
    for number in range(_CAPACITY - 1):
        rows.change("ranges_add", 4 * number + 1, 4 * number + 4)
    for first in (2, 6, 10):  # holes: the second finds no row
        rows.change("ranges_subtract", first, first + 1)
    rows.empty()
    for _ in range(_STEPS):
        first = noise.randrange(1, _SPAN)
        end = first + noise.choice((0, 1, 1, 2, 3, 9))
        routine = noise.choice(("ranges_add", "ranges_add", "ranges_subtract", "ranges_overlap"))
        if routine == "ranges_overlap":
            rows.overlap(first, max(end, first + 1))
        else:
            rows.change(routine, first, end)
