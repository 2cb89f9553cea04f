"""Page tables as the CPU reads them, and a supply of frames for the routines that build them.

The walk is that of the Intel SDM vol. 3, 4.5, with rights taken together over all levels (4.6.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from architect.contracts.model import MASK64
from toolchain.harness import Harness

PRESENT, WRITE, USER, WRITE_THROUGH, CACHE_DISABLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
ACCESSED, DIRTY, LARGE, GLOBAL, NX = 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 63
PAT, PAT_LARGE = 1 << 7, 1 << 12
ADDRESS = 0x000F_FFFF_FFFF_F000
SMALL_SIZE, LARGE_SIZE, HUGE_SIZE = 1 << 12, 1 << 21, 1 << 30
FLAGS = (WRITE, USER, WRITE_THROUGH, CACHE_DISABLE, PAT, GLOBAL, NX)
MEMORY_TYPE = WRITE_THROUGH | CACHE_DISABLE | PAT
UNCACHEABLE = WRITE_THROUGH | CACHE_DISABLE  # PAT entry 3 is UC, as after a reset (SDM vol. 3, 11.12.4)
SHIFTS = (39, 30, 21, 12)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tables say of an address: the last entry read and, where that maps it, the page.

    ``level`` counts from 4 (PML4) down to 1; ``at`` is the entry's physical address. ``flags`` are those of the leaf
    in the places that they have in a 4 KB entry.
    """

    level: int
    at: int
    entry: int
    mapped: bool
    writable: bool
    user: bool
    no_execute: bool

    @property
    def size(self) -> int:
        """Bytes of the page."""
        return 1 << SHIFTS[4 - self.level]

    @property
    def physical(self) -> int:
        """Where the page begins."""
        return self.entry & ADDRESS & ~(self.size - 1)

    @property
    def flags(self) -> int:
        """Memory type and global bit."""
        kept = self.entry & (WRITE_THROUGH | CACHE_DISABLE | GLOBAL)
        return kept | (PAT if self.entry & (PAT if self.level == 1 else PAT_LARGE) else 0)


def walk(harness: Harness, root: int, address: int) -> Seen:
    """Follow an address from the PML4 at physical ``root``."""
    table, writable, user, no_execute = root, True, True, False
    level = 4
    while True:
        at = table + (address >> SHIFTS[4 - level] & 0x1FF) * 8
        entry = harness.read_u64(harness.direct_base + at)
        writable &= bool(entry & WRITE)
        user &= bool(entry & USER)
        no_execute |= bool(entry & NX)
        present = bool(entry & PRESENT)
        if not present or level == 1 or (entry & LARGE and level < 4):
            return Seen(level, at, entry, present, writable, user, no_execute)
        table = entry & ADDRESS
        level -= 1


def canonical(address: int) -> int:
    """Bits 63..48 made equal to bit 47."""
    low = address & (1 << 48) - 1
    return low | (0xFFFF << 48 if low >> 47 else 0)


class Frames:
    """Stands in for the frame allocator: frames from a counter, in memory that holds noise.

    Attributes:
        left: how many may still be taken; None for all.
        freed: what came back, in order.
        soiled: whether a frame held something before it was handed out.
    """

    def __init__(self, harness: Harness, first: int = 0x10000) -> None:
        self.harness = harness
        self.first = self.next = first
        self.left: int | None = None
        self.freed: list[int] = []
        self.soiled = False
        harness.substitute("frame_alloc", self._allocate)
        if harness.has("frame_free"):
            harness.substitute("frame_free", self._free)

    @property
    def room(self) -> int:
        """Frames that RAM still has."""
        return (self.harness.ram - self.next) // SMALL_SIZE

    def take(self) -> int:
        """One frame. It holds whatever it held: whoever wants zeros must write them."""
        frame = self.next
        self.next += SMALL_SIZE
        self.soiled |= any(self.harness.read(self.harness.direct_base + frame, 16))
        self.harness.write(self.harness.direct_base + frame, b"\xa5" * SMALL_SIZE)
        return frame

    def root(self) -> int:
        """An empty PML4, of which the kernel knows."""
        frame = self.take()
        self.harness.write(self.harness.direct_base + frame, bytes(SMALL_SIZE))
        self.harness.write_u64(self.harness.address("page_root"), frame)
        return frame

    def _allocate(self, harness: Harness) -> None:
        refused = self.left == 0 or not self.room
        if self.left:
            self.left -= 1
        harness.set("rax", 2 if refused else self.take())
        harness.set_flag("cf", refused)

    def _free(self, harness: Harness) -> None:
        self.freed.append(harness.get("rdi") & MASK64)
        harness.set("rax", 0)
        harness.set_flag("cf", False)
