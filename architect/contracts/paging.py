"""Page-table routines against a model of what is mapped.

The model knows each mapping (virtual page -> physical page, flags, size); the tables that the routines leave in RAM
are read back by a walk of its own and must say the same. Rights or translations that are taken away must be
invalidated after the entry has changed, not before (Intel SDM vol. 3, 4.10.4.2): an emulator without a TLB hides that.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from architect.contracts import contract
from architect.contracts.model import EXISTS, INVALID, MASK64, NO_MEMORY, NOT_MAPPED, Session
from architect.contracts.tables import (
    CACHE_DISABLE,
    FLAGS,
    GLOBAL,
    HUGE_SIZE,
    LARGE,
    LARGE_SIZE,
    NX,
    PAT,
    PAT_LARGE,
    PRESENT,
    SMALL_SIZE,
    USER,
    WRITE,
    WRITE_THROUGH,
    Frames,
    Seen,
    canonical,
    walk,
)
from toolchain.harness import Harness
from toolchain.watch import Event, watch

_WATCHED = ("page_unmap", "page_protect", "page_split", "page_drop_empty", "page_map", "page_map_large")
_ALL = sum(FLAGS)


class Leaf(NamedTuple):
    """What one mapping should be: ``flags`` in the places that they have in a 4 KB entry."""

    physical: int
    flags: int
    size: int


class Tables(Session):
    """A kernel with one empty PML4, frames from a counter, and the model beside it."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.leaves: dict[int, Leaf] = {}
        self.flushed: dict[int, Seen] = {}
        self.frames = Frames(harness)
        self.root = self.frames.root()
        watch(harness, _WATCHED, self._note)

    def _note(self, event: Event) -> None:
        """What the tables held when an address was invalidated."""
        if event.kind == "invlpg":
            self.flushed[event.value & ~(SMALL_SIZE - 1)] = walk(self.harness, self.root, event.value)

    # --- the model's view ---

    def leaf(self, address: int) -> tuple[int, Leaf] | None:
        """The page that an address lies in: where it begins, and what it is."""
        for size in (SMALL_SIZE, LARGE_SIZE, HUGE_SIZE):
            start = address & ~(size - 1) & MASK64
            found = self.leaves.get(start)
            if found and found.size >= size:
                return start, found
        return None

    def crowded(self, start: int) -> bool:
        """Whether a small page is mapped where a large one would lie."""
        return any(start <= address < start + LARGE_SIZE for address in self.leaves)

    # --- operations: the routine and the model, side by side ---

    def map(self, address: int, physical: int, flags: int, *, large: bool = False) -> None:
        """Map one page; a refusal must be right, and change nothing."""
        size = LARGE_SIZE if large else SMALL_SIZE
        routine = "page_map_large" if large else "page_map"
        invalid = (
            canonical(address) != address
            or (address | physical) & (size - 1)
            or physical >> 52
            or flags & ~_ALL
        )
        taken = self.leaf(address) is not None or (large and self.crowded(address))
        empty = walk(self.harness, self.root, address)
        self.flushed.clear()
        freed = len(self.frames.freed)
        result = self.call(routine, rdi=address, rsi=physical, rdx=flags)
        what = {"rdi": address, "rsi": physical, "rdx": flags}
        kind = "an argument that is not valid" if invalid else "a page that is mapped" if taken else "a page"
        self.refused(result, INVALID if invalid else EXISTS if taken else 0, routine, kind, **what)
        if not invalid and not taken:
            self.equal(result.registers["rax"], 0, routine, "succeeds with an error code", **what)
            self.leaves[address] = Leaf(physical, flags, size)
            if large and empty.level == 1:  # a table of absent pages was in the way
                promise = "does not give back the table that it takes out"
                self.equal(len(self.frames.freed) - freed, 1, "page_drop_empty", promise, **what)
                gone = [empty.at & ~(SMALL_SIZE - 1)]
                promise = "gives back another frame than the table"
                self.expect(self.frames.freed[freed:] == gone, "page_drop_empty", promise, **what)
                told = [seen for a, seen in self.flushed.items() if address <= a < address + LARGE_SIZE]
                promise = "lets the CPU keep the way to a table that it gives back"
                cut = bool(told) and told[-1].level == 2 and not told[-1].entry
                self.expect(cut, "page_drop_empty", promise, **what)
        if canonical(address) == address:
            self.verify(address & ~(SMALL_SIZE - 1) & MASK64, routine)

    def starve(self, address: int, frames: int, *, large: bool = False) -> None:
        """With too few frames a page must be refused, and nothing be mapped."""
        routine = "page_map_large" if large else "page_map"
        needed = walk(self.harness, self.root, address).level - (2 if large else 1)
        self.frames.left = frames
        result = self.call(routine, rdi=address, rsi=0, rdx=0)
        self.frames.left = None
        error = NO_MEMORY if needed > frames else 0
        self.refused(result, error, routine, "a page for which there is no memory", rdi=address)
        if not error:
            self.leaves[address] = Leaf(0, 0, LARGE_SIZE if large else SMALL_SIZE)
        self.verify(address, routine)

    def unmap(self, address: int) -> None:
        """Unmap a page; the TLB must hear of it."""
        found, whole = self._prepare(address)
        result = self.call("page_unmap", rdi=address)
        error = 0 if whole else INVALID if found else NOT_MAPPED
        self.refused(result, error, "page_unmap", "an address where no page begins", rdi=address)
        if found and whole:
            promise = "does not return what was mapped"
            self.equal(result.registers["rax"], found[1].physical, "page_unmap", promise, rdi=address)
            del self.leaves[address]
            self.told(address, "page_unmap")
        self.verify(address, "page_unmap")

    def protect(self, address: int, flags: int) -> None:
        """Change a page's flags; the TLB must hear of it."""
        found, whole = self._prepare(address)
        result = self.call("page_protect", rdi=address, rsi=flags)
        what = {"rdi": address, "rsi": flags}
        wrong = bool(flags & ~_ALL)
        error = INVALID if wrong or (found and not whole) else 0 if found else NOT_MAPPED
        kind = "flags that there are not" if wrong else "an address where no page begins"
        self.refused(result, error, "page_protect", kind, **what)
        if found and not error:
            self.equal(result.registers["rax"], 0, "page_protect", "succeeds with an error code", **what)
            self.leaves[address] = Leaf(found[1].physical, flags, found[1].size)
            self.told(address, "page_protect")
        self.verify(address, "page_protect")

    def split(self, address: int, *, starved: bool = False) -> None:
        """Split a large page; each smaller one must be what its part was."""
        found, _ = self._prepare(address)
        large = found is not None and found[1].size > SMALL_SIZE
        self.frames.left = 0 if starved else None
        result = self.call("page_split", rdi=address)
        self.frames.left = None
        error = NOT_MAPPED if not found else INVALID if not large else NO_MEMORY if starved else 0
        self.refused(result, error, "page_split", "an address in no large page", rdi=address)
        if found and not error:
            self.equal(result.registers["rax"], 0, "page_split", "succeeds with an error code", rdi=address)
            start, leaf = found
            size = leaf.size >> 9
            physical, flags, whole = leaf
            self.leaves |= {start + at: Leaf(physical + at, flags, size) for at in range(0, whole, size)}
            self.told(address, "page_split")
            for offset in (0, size, leaf.size - size):
                self.verify(start + offset, "page_split")
        self.verify(address, "page_split")

    def plant(self, address: int, physical: int, flags: int) -> None:
        """Write the entry of a 1 GB page into the tables, where those above it are there."""
        seen = walk(self.harness, self.root, address)
        bits = flags & ~PAT | (PAT_LARGE if flags & PAT else 0) | LARGE | PRESENT
        self.harness.write_u64(self.harness.direct_base + seen.at, physical | bits)
        self.leaves[address] = Leaf(physical, flags, HUGE_SIZE)

    def look(self, address: int) -> None:
        """``page_walk`` names the entry at which the walk ends, its level, and whether the address is mapped."""
        seen = walk(self.harness, self.root, address)
        result = self.call("page_walk", rdi=address)
        promise = "is wrong about what is mapped"
        self.expect(result.flag("cf") != seen.mapped, "page_walk", promise, rdi=address)
        self.equal(result.registers["rdx"], seen.level, "page_walk", "names the wrong level", rdi=address)
        place = self.harness.direct_base + seen.at
        self.equal(result.registers["rax"], place, "page_walk", "names the wrong entry", rdi=address)

    def astray(self, address: int) -> None:
        """``page_walk`` of an address that is not canonical."""
        result = self.call("page_walk", rdi=address)
        nowhere = result.flag("cf") and result.registers["rax"] == 0
        self.expect(nowhere, "page_walk", "walks an address that is not canonical", rdi=address)

    def _prepare(self, address: int) -> tuple[tuple[int, Leaf] | None, bool]:
        self.flushed.clear()
        found = self.leaf(address)
        return found, found is not None and found[0] == address

    # --- judgement ---

    def told(self, address: int, routine: str) -> None:
        """The TLB heard of the page after its entry had changed."""
        page = address & ~(SMALL_SIZE - 1)
        self.expect(page in self.flushed, routine, "does not invalidate the translation", rdi=address)
        entry = walk(self.harness, self.root, address).entry
        promise = "invalidates the translation before the entry has changed"
        self.equal(self.flushed[page].entry, entry, routine, promise, rdi=address)

    def verify(self, address: int, routine: str) -> None:
        """The tables say of an address what the model says."""
        found, seen = self.leaf(address), walk(self.harness, self.root, address)
        if found is None or not seen.mapped:
            self.expect(found is None, routine, "leaves no entry for the page in the tables", va=address)
            promise = "leaves an entry for a page that should not be mapped"
            self.expect(not seen.mapped, routine, promise, va=address)
            return
        leaf = found[1]
        self.equal(seen.size, leaf.size, routine, "maps with a page of the wrong size", va=address)
        self.equal(seen.physical, leaf.physical, routine, "maps the wrong physical address", va=address)
        for right, has, flag in (
            ("write", seen.writable, WRITE),
            ("user", seen.user, USER),
            ("execute", seen.no_execute, NX),
        ):
            self.equal(has, bool(leaf.flags & flag), routine, f"gives the wrong {right} right", va=address)
        kept = leaf.flags & ~(WRITE | USER | NX)
        self.equal(seen.flags, kept, routine, "gives the wrong memory type or global bit", va=address)


@contract(
    "page_map", "page_map_large", "page_unmap", "page_protect", "page_split", "page_walk", "page_descend",
    "page_check", "page_drop_empty", "page_flags_large", "page_size_mask", "frame_alloc_zeroed",
    needs=("frame_alloc", "page_root", "page_map_large", "page_unmap", "page_protect", "page_split", "page_walk"),
)  # fmt: skip
def page_tables(harness: Harness) -> None:
    """Each routine in each situation: what it is asked for, what is there, what is missing."""
    tables = Tables(harness)
    low, high = 0x12_3456_7000, canonical(0x1FE_8040_2000)
    device = WRITE | NX | GLOBAL | WRITE_THROUGH | CACHE_DISABLE
    tables.map(low, 0x7_FEDC_B000, device)
    tables.map(low, 0x1000, WRITE)
    tables.map(high, 0x2000, 0)
    tables.map(low + SMALL_SIZE, 0xF_FFFF_FFFF_F000, USER | PAT)  # user rights are granted on the way
    tables.map(0, 0, USER | WRITE)
    for wrong in (
        (low + 0x800, 0, 0),
        (low | 1 << 50, 0, 0),
        (1 << 47, 0, 0),
        (5 << 39, 0x10, 0),
        (5 << 39, 1 << 52, 0),
    ):
        tables.map(*wrong)
    for bit in (1, 1 << 5, 1 << 6, 1 << 9, 1 << 12, 1 << 52, 1 << 62):
        tables.map(5 << 39, 0, bit)
    base = low & ~(LARGE_SIZE - 1)
    beside, far = base + LARGE_SIZE, canonical(0x155 << 39 | 0x1AA << 30 | 0x155 << 21)
    tables.map(beside, 0x3_FFE0_0000, device, large=True)
    tables.map(far, 0x40_0000, PAT | USER, large=True)
    tables.map(base, 0x40_0000, 0, large=True)  # small pages are there
    tables.map(beside, 0x40_0000, 0, large=True)
    tables.map(beside + 0x5000, 0x1000, 0)
    for wrong in ((far + SMALL_SIZE, 0, 0), (far, SMALL_SIZE, 0), (6 << 39, 0, 1 << 12), (1 << 50, 0, 0)):
        tables.map(*wrong, large=True)
    for address in (low, low + 2 * SMALL_SIZE, beside + 0x1234, far, 7 << 39, base + 3 * LARGE_SIZE, 0, high):
        tables.look(address)
    tables.astray(low | 1 << 50)
    tables.astray(1 << 47)
    for frames in (0, 1, 2):
        tables.starve(canonical(0x101 + frames << 39), frames)
        tables.starve(canonical(0x101 + frames << 39), 3)
    tables.starve(9 << 39, 1, large=True)
    tables.starve(9 << 39, 2, large=True)
    for address, flags in (
        (low, USER | WRITE), (low, PAT), (beside, USER | PAT | NX), (far, device), (high, USER), (high, GLOBAL | NX),
        (low, 1 << 9), (low, 1), (beside + SMALL_SIZE, 0), (8 << 39, 0), (base + 0x9000, 0),
    ):  # fmt: skip
        tables.protect(address, flags)
    for address in (high, high, beside + SMALL_SIZE, 8 << 39, far, far, low):
        tables.unmap(address)
    tables.unmap(low + SMALL_SIZE)
    tables.map(base, 0x1_2340_0000, USER | NX, large=True)  # takes out a table that has become empty
    tables.protect(beside, USER | PAT | GLOBAL)
    tables.split(beside + 0x7123, starved=True)
    for address in (beside + 0x7123, base + SMALL_SIZE, 0, 8 << 39):
        tables.split(address)
    tables.unmap(beside + 0x7000)
    tables.unmap(base + LARGE_SIZE - SMALL_SIZE)
    tables.map(beside + 0x7000, 0x5000, WRITE)
    tables.map(high, 0x2000, 0)
    tables.map(high, 0x3000, WRITE)  # over a page that cannot be written
    tables.map(high & ~(LARGE_SIZE - 1), 0, 0, large=True)
    giant = 2 << 30
    tables.plant(giant, 5 << 30, PAT | GLOBAL)
    for address in (giant + LARGE_SIZE, giant + SMALL_SIZE):
        tables.unmap(address)
        tables.protect(address, 0)
        tables.look(address)
    tables.protect(giant, WRITE | PAT)
    tables.split(giant + 0x1234567)
    tables.plant(giant + HUGE_SIZE, 7 << 30, 0)
    tables.unmap(giant + HUGE_SIZE)
    tables.expect(not tables.frames.soiled, "page_split", "writes beyond a table")


def sequence(harness: Harness, seed: int, steps: int) -> None:
    """One random sequence of operations; raises ``Broken`` at the first violation."""
    tables, noise = Tables(harness), random.Random(seed)

    def somewhere() -> int:
        """An address out of a small pool, so that pages meet in tables."""
        upper, directory = noise.choice((0, 256, 511)), noise.choice((0, 1, 510))
        address = upper << 39 | directory << 30 | noise.choice((0, 1, 511)) << 21
        return canonical(address | noise.choice((0, 0, 1, 2, 511)) << 12)

    def pick() -> int:
        """Mostly something that is mapped."""
        return noise.choice(list(tables.leaves)) if tables.leaves and noise.random() < 0.7 else somewhere()

    def flags() -> int:
        return sum(flag for flag in FLAGS if noise.random() < 0.5)

    def map_(large: bool) -> None:
        size = LARGE_SIZE if large else SMALL_SIZE
        address, physical, bits = somewhere() & -size & MASK64, noise.randrange(0, 1 << 46, size), flags()
        spoilt = (
            (address | 0x800, physical, bits),
            (address, physical | size >> 1, bits),
            (address ^ 1 << 55, 0, 0),
        )
        tables.map(
            *noise.choice((*((address, physical, bits),) * 5, *spoilt, (address, physical, 1 << 9))),
            large=large,
        )

    operations = (
        lambda: map_(False),
        lambda: map_(True),
        lambda: tables.unmap(pick()),
        lambda: tables.protect(pick(), flags()),
        lambda: tables.split(pick()),
        lambda: tables.look(pick()),
        lambda: tables.starve(canonical(noise.randrange(5, 250) << 39), noise.randrange(3)),
    )
    for _ in range(steps):
        noise.choices(operations, weights=(6, 3, 3, 3, 1, 3, 1))[0]()
        if tables.frames.room < 8:
            break
    for address in noise.sample(list(tables.leaves), min(16, len(tables.leaves))):
        tables.verify(address, "page_map")
