"""Sets of address ranges against a model: disjoint, ascending, joined where they touch."""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, Harness

_CAPACITY = 12
_HEAD = 24
_UNIT = 0x1000
_SPAN = 40
_STEPS = 120


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
        self.covered: set[int] = set()
        head = (0).to_bytes(8, "little") + _CAPACITY.to_bytes(8, "little") + bytes(8)
        # Unused rows hold noise: a routine that reads beyond the count is found out.
        harness.write(BUFFER_BASE, head + b"\x5a" * (16 * (_CAPACITY + 1)))

    def change(self, routine: str, first: int, end: int) -> None:
        """Add or subtract one range of units."""
        units = set(range(first, end))
        after = self.covered | units if routine == "ranges_add" else self.covered - units
        if len(_rows(after)) > _CAPACITY:
            return
        where = {"rdi": BUFFER_BASE, "rsi": first * _UNIT, "rdx": end * _UNIT}
        result = self.call(routine, **where)
        self.covered = after
        self.expect(not result.flag("cf"), routine, "fails though a row is left", **where)
        self.expect(self._read() == _rows(after), routine, "leaves the wrong rows", **where)

    def overlap(self, first: int, end: int) -> None:
        """The lowest row that shares an address with a range."""
        where = {"rdi": BUFFER_BASE, "rsi": first * _UNIT, "rdx": end * _UNIT}
        result = self.call("ranges_overlap", **where)
        rows = _rows(self.covered)
        hits = [index for index, row in enumerate(rows) if row[0] < end and row[1] > first]
        self.expect(result.flag("cf") != bool(hits), "ranges_overlap", "is wrong about an overlap", **where)
        if hits:
            row = BUFFER_BASE + _HEAD + 16 * hits[0]
            self.expect(result.registers["rax"] == row, "ranges_overlap", "names the wrong row", **where)

    def _read(self) -> list[tuple[int, int]]:
        count = min(self.harness.read_u64(BUFFER_BASE), _CAPACITY + 1)
        at = BUFFER_BASE + _HEAD
        pairs = [
            (self.harness.read_u64(at + 16 * i), self.harness.read_u64(at + 16 * i + 8)) for i in range(count)
        ]
        return [(first // _UNIT, end // _UNIT) for first, end in pairs]


@contract("ranges_add", "ranges_subtract", "ranges_overlap", "ranges_insert", "ranges_remove")
def range_sets(harness: Harness) -> None:
    """Random additions and subtractions."""
    noise = random.Random(2)
    rows = _Set(harness)
    for _ in range(_STEPS):
        first = noise.randrange(1, _SPAN)
        end = first + noise.randrange(0, 9)
        routine = noise.choice(("ranges_add", "ranges_subtract", "ranges_overlap"))
        if routine == "ranges_overlap":
            rows.overlap(first, max(end, first + 1))
        else:
            rows.change(routine, first, end)
