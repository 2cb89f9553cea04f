"""Page-table routines against a model of the walk in Python.

The model knows what is mapped (virtual page -> physical page, flags, size); the tables that the routines leave in
RAM are read back by a walk of its own (Intel SDM vol. 3, 4.5) and must say the same, with rights taken together over
all levels (4.6.1). Rights or translations that are taken away must be invalidated (4.10.4.2).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from architect.contracts import Violation, contract
from architect.contracts.model import MASK64, Broken, Session
from toolchain.harness import Harness

PRESENT, WRITE, USER, WRITE_THROUGH, CACHE_DISABLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
ACCESSED, DIRTY, LARGE, GLOBAL, NX = 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 63
PAT, PAT_LARGE = 1 << 7, 1 << 12
ADDRESS = 0x000F_FFFF_FFFF_F000
SMALL_SIZE, LARGE_SIZE = 1 << 12, 1 << 21
FLAGS = (WRITE, USER, WRITE_THROUGH, CACHE_DISABLE, PAT, GLOBAL, NX)
_LEVELS = ((39, "PML4"), (30, "PDPT"), (21, "PD"), (12, "PT"))
_ROUTINES = ("page_map", "page_map_large", "page_unmap", "page_protect", "page_split", "page_walk")
_STEPS = 90
_FIRST_FRAME = 0x10000


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one mapping should be: ``flags`` in the places that they have in a 4 KB entry."""

    physical: int
    flags: int
    large: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tables say of an address."""

    physical: int
    size: int
    entry: int
    writable: bool
    user: bool
    no_execute: bool


def walk(harness: Harness, root: int, address: int) -> Seen | None:
    """The mapping of an address in the tables in RAM, or None."""
    table, writable, user, no_execute = root, True, True, False
    for shift, level in _LEVELS:
        entry = harness.read_u64(harness.direct_base + table + (address >> shift & 0x1FF) * 8)
        if not entry & PRESENT:
            return None
        writable &= bool(entry & WRITE)
        user &= bool(entry & USER)
        no_execute |= bool(entry & NX)
        table = entry & ADDRESS
        if level == "PT" or (entry & LARGE and level in ("PDPT", "PD")):
            size = 1 << shift
            return Seen(table & ~(size - 1), size, entry, writable, user, no_execute)
    return None


class Tables(Session):
    """A kernel with one empty PML4, frames from a counter, and the model beside it."""

    def __init__(self, harness: Harness, seed: int) -> None:
        super().__init__(harness)
        self.noise = random.Random(seed)
        self.leaves: dict[int, Leaf] = {}
        self.directories: set[int] = set()
        self.next_frame = _FIRST_FRAME
        self.invalidated = harness.watch_invlpg(r for r in ("page_unmap", "page_protect", "page_split"))
        harness.substitute("frame_alloc", self._allocate)
        self.root = self._frame()
        harness.write(harness.direct_base + self.root, bytes(4096))
        harness.write_u64(harness.address("page_root"), self.root)

    def _frame(self) -> int:
        frame = self.next_frame
        self.next_frame += 4096
        # A frame holds whatever it held: whoever wants zeros must write them.
        self.harness.write(self.harness.direct_base + frame, b"\xa5" * 4096)
        return frame

    def _allocate(self, harness: Harness) -> None:
        harness.set("rax", self._frame())
        harness.set_flag("cf", False)

    # --- the model's view ---

    def leaf(self, address: int) -> tuple[int, Leaf] | None:
        """The page that an address lies in: where it begins, and what it is."""
        for size in (SMALL_SIZE, LARGE_SIZE):
            start = address & ~(size - 1) & MASK64
            found = self.leaves.get(start)
            if found and (found.large or size == SMALL_SIZE):
                return start, found
        return None

    def address(self) -> int:
        """An address out of a small pool, so that pages meet in tables."""
        upper, directory = self.noise.choice((0, 256, 511)), self.noise.choice((0, 1, 510))
        address = upper << 39 | directory << 30 | self.noise.choice((0, 1, 511)) << 21
        address |= self.noise.choice((0, 0, 1, 2, 511)) << 12
        return address | 0xFFFF << 48 if upper >= 256 else address

    def flags(self) -> int:
        """A random set of flags."""
        return sum(flag for flag in FLAGS if self.noise.random() < 0.5)

    # --- operations: the routine and the model, side by side ---

    def map(self, large: bool) -> None:
        """Map one page; a refusal must be right, and change nothing."""
        size = LARGE_SIZE if large else SMALL_SIZE
        routine = "page_map_large" if large else "page_map"
        address, flags = self.address() & ~(size - 1) & MASK64, self.flags()
        physical = self.noise.randrange(0, 1 << 46, size)
        fault = self.noise.choice(("", "", "", "", "address", "physical", "canonical"))
        if fault == "address":
            address |= 0x800
        elif fault == "physical":
            physical |= size >> 1
        elif fault == "canonical":
            address ^= 1 << 55
        taken = self.leaf(address) is not None or (large and address >> 21 in self.directories)
        result = self.call(routine, rdi=address, rsi=physical, rdx=flags)
        refuse = bool(fault) or taken
        what = {"rdi": address, "rsi": physical, "rdx": flags}
        why = (
            "a page that is mapped already" if taken else f"an argument whose {fault or 'page'} is not valid"
        )
        self.expect(result.flag("cf") or not refuse, routine, f"accepts {why}", **what)
        self.expect(not result.flag("cf") or refuse, routine, "refuses a page that can be mapped", **what)
        if not refuse:
            self.leaves[address] = Leaf(physical, flags, large)
            if not large:
                self.directories.add(address >> 21)
        self.verify(address & ~(SMALL_SIZE - 1) & MASK64 if fault != "canonical" else self.address(), routine)

    def unmap(self) -> None:
        """Unmap a page; the TLB must hear of it."""
        address = self.pick()
        found = self.leaf(address)
        whole = found is not None and found[0] == address
        self.invalidated.clear()
        result = self.call("page_unmap", rdi=address)
        self.expect(
            result.flag("cf") != whole, "page_unmap", "refuses or accepts the wrong page", rdi=address
        )
        if found and whole:
            promise = "does not return what was mapped"
            self.expect(result.registers["rax"] == found[1].physical, "page_unmap", promise, rdi=address)
            self.expect(
                address in self.invalidated, "page_unmap", "does not invalidate the translation", rdi=address
            )
            del self.leaves[address]
        self.verify(address, "page_unmap")

    def protect(self) -> None:
        """Change a page's flags; the TLB must hear of it."""
        address, flags = self.pick(), self.flags()
        found = self.leaf(address)
        whole = found is not None and found[0] == address
        self.invalidated.clear()
        result = self.call("page_protect", rdi=address, rsi=flags)
        promise = "refuses or accepts the wrong page"
        self.expect(result.flag("cf") != whole, "page_protect", promise, rdi=address, rsi=flags)
        if found and whole:
            promise = "does not invalidate the translation"
            self.expect(address in self.invalidated, "page_protect", promise, rdi=address, rsi=flags)
            self.leaves[address] = Leaf(found[1].physical, flags, found[1].large)
        self.verify(address, "page_protect")

    def split(self) -> None:
        """Split a large page; each small one must be what its part was."""
        address = self.pick()
        found = self.leaf(address)
        large = found is not None and found[1].large
        self.invalidated.clear()
        result = self.call("page_split", rdi=address)
        self.expect(
            result.flag("cf") != large, "page_split", "refuses or accepts the wrong page", rdi=address
        )
        if found and large:
            start, leaf = found
            hit = any(start <= a < start + LARGE_SIZE for a in self.invalidated)
            self.expect(hit, "page_split", "does not invalidate the translation", rdi=address)
            for offset in range(0, LARGE_SIZE, SMALL_SIZE):
                self.leaves[start + offset] = Leaf(leaf.physical + offset, leaf.flags, False)
            self.directories.add(start >> 21)
            for offset in (0, SMALL_SIZE, LARGE_SIZE - SMALL_SIZE):
                self.verify(start + offset, "page_split")

    def look(self) -> None:
        """``page_walk`` says whether and at which level an address is mapped."""
        address = self.pick()
        found = self.leaf(address)
        result = self.call("page_walk", rdi=address)
        self.expect(
            result.flag("cf") == (found is None), "page_walk", "is wrong about what is mapped", rdi=address
        )
        if found:
            level = 2 if found[1].large else 1
            self.expect(result.registers["rdx"] == level, "page_walk", "names the wrong level", rdi=address)

    def pick(self) -> int:
        """Mostly something that is mapped."""
        if self.leaves and self.noise.random() < 0.7:
            return self.noise.choice(list(self.leaves))
        return self.address()

    def verify(self, address: int, routine: str) -> None:
        """The tables say of an address what the model says."""
        found, seen = self.leaf(address), walk(self.harness, self.root, address)
        if found is None or seen is None:
            self.expect(found is None, routine, "leaves no entry for the page in the tables", va=address)
            self.expect(
                seen is None, routine, "leaves an entry for a page that should not be mapped", va=address
            )
            return
        leaf = found[1]
        size = LARGE_SIZE if leaf.large else SMALL_SIZE
        pat = bool(seen.entry & (PAT_LARGE if leaf.large else PAT))
        kept = WRITE_THROUGH | CACHE_DISABLE | GLOBAL
        self.expect(seen.size == size, routine, "maps with a page of the wrong size", va=address)
        self.expect(seen.physical == leaf.physical, routine, "maps the wrong physical address", va=address)
        self.expect(
            seen.writable == bool(leaf.flags & WRITE), routine, "gives the wrong write right", va=address
        )
        self.expect(seen.user == bool(leaf.flags & USER), routine, "gives the wrong user right", va=address)
        self.expect(
            seen.no_execute == bool(leaf.flags & NX), routine, "gives the wrong execute right", va=address
        )
        same = seen.entry & kept == leaf.flags & kept and pat == bool(leaf.flags & PAT)
        self.expect(same, routine, "gives the wrong memory type or global bit", va=address)


def sequence(harness: Harness, seed: int, steps: int = _STEPS) -> Iterator[Violation]:
    """One random sequence of operations; ends at the first violation."""
    tables = Tables(harness, seed)
    operations = (
        lambda: tables.map(False),
        lambda: tables.map(True),
        tables.unmap,
        tables.protect,
        tables.split,
    )
    try:
        for _ in range(steps):
            tables.noise.choices((*operations, tables.look), weights=(6, 3, 3, 3, 1, 3))[0]()
            if tables.next_frame + 8 * 4096 > harness.ram:
                break
        for address in tables.leaves:
            tables.verify(address, "page_map")
    except Broken as broken:
        yield broken.violation


@contract(*_ROUTINES, needs=("frame_alloc", "page_root"))
def page_tables(harness: Harness) -> Iterator[Violation]:
    """Random map, unmap, protect and split against the model."""
    yield from sequence(harness, seed=1)
