"""Mappings as extents: what page tables hold, and the model of what they should hold, in the same form.

Owns how a table is read into runs and how extents are cut and joined. Calls no routine and judges nothing; ``spaces``
does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from architect.contracts.model import MASK64
from architect.contracts.space import TABLE
from architect.contracts.tables import (
    ADDRESS,
    CACHE_DISABLE,
    GLOBAL,
    LARGE,
    NX,
    PAT,
    PAT_LARGE,
    PRESENT,
    SHIFTS,
    USER,
    WRITE,
    WRITE_THROUGH,
)

OWNED = 1 << 9  # the frame of a page belongs to it
KEPT = WRITE | USER | NX | WRITE_THROUGH | CACHE_DISABLE | OWNED
_SAID = MASK64 & ~(1 << 5 | 1 << 6)  # all of an entry but what the CPU notes: accessed, dirty


class Extent(NamedTuple):
    """Pages in a row that lead to memory in a row, all with the same flags (in their places of a 4 KB entry)."""

    start: int
    end: int
    physical: int
    flags: int


class Mapped:
    """What a range of addresses leads to: extents, cut wherever something begins or ends."""

    def __init__(self) -> None:
        self.extents: list[Extent] = []

    def within(self, start: int, end: int) -> list[Extent]:
        """The parts of extents that lie in a range."""
        found = [e for e in self.extents if e.start < end and start < e.end]
        return [
            Extent(max(e.start, start), min(e.end, end), e.physical + max(0, start - e.start), e.flags)
            for e in found
        ]

    def whole(self, start: int, end: int) -> bool:
        """Whether every page of a range is mapped."""
        return sum(e.end - e.start for e in self.within(start, end)) == end - start

    def remove(self, start: int, end: int) -> None:
        """Forget a range."""
        outside = [(0, start), (end, 1 << 64)]
        self.extents = sorted(part for low, high in outside for part in self.within(low, high))

    def put(self, extent: Extent) -> None:
        """Note what a range leads to now."""
        self.remove(extent.start, extent.end)
        self.extents.insert(bisect_right(self.extents, extent), extent)

    def joined(self) -> list[Extent]:
        """The extents with those put together that continue each other."""
        return list(join(self.extents))


def join(extents: list[Extent]) -> Iterator[Extent]:
    """Extents in ascending order, put together where one continues the one before."""
    last: Extent | None = None
    for extent in extents:
        follows = last and (last.end, last.flags) == (extent.start, extent.flags)
        if last and follows and last.physical + last.end - last.start == extent.physical:
            last = last._replace(end=extent.end)
            continue
        if last:
            yield last
        last = extent
    if last:
        yield last


@lru_cache(maxsize=256)
def runs(raw: bytes, level: int) -> tuple[tuple[int, int, int, int, bool], ...]:
    """What a table holds: (index of the first, count, physical address, flags, whether they are pages).

    Pages in a row that lead to memory in a row with the same flags are one; the flags of a page lie as in a 4 KB entry.
    """
    found: list[tuple[int, int, int, int, bool]] = []
    size = 1 << SHIFTS[4 - level]
    expected: tuple[int, int] | None = None  # the index and the entry that would continue the last run
    for index, entry in enumerate(TABLE.unpack(raw)):
        if not entry & PRESENT:
            continue
        if (index, entry & _SAID) == expected:
            first, count, physical, flags, leaf = found[-1]
            found[-1] = first, count + 1, physical, flags, leaf
            expected = index + 1, (entry + size) & _SAID
            continue
        leaf = level == 1 or (level < 4 and bool(entry & LARGE))
        physical = entry & ADDRESS
        flags = entry & KEPT
        if leaf:
            pat = PAT if level == 1 else PAT_LARGE
            physical &= ~(size - 1)
            flags |= entry & GLOBAL | (PAT if entry & pat else 0)
            expected = index + 1, (entry + size) & _SAID
        found.append((index, 1, physical, flags, leaf))
    return tuple(found)
