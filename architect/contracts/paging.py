"""Page-table routines against a model of what is mapped.

The model knows each mapping (virtual page -> physical page, flags, size); the tables that the routines leave in RAM
are read back by a walk of its own and must say the same. Rights or translations that are taken away must be
invalidated after the entry has changed, not before (Intel SDM vol. 3, 4.10.4.2): an emulator without a TLB hides that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from architect.contracts import contract
from architect.contracts.model import MASK64, Session
from architect.contracts.tables import FLAGS, LARGE_SIZE, NX, SMALL_SIZE, USER, WRITE, Frames, canonical, walk
from toolchain.harness import Harness
from toolchain.watch import Event, watch

_STEPS = 32
_WATCHED = ("page_unmap", "page_protect", "page_split", "page_drop_empty", "page_map", "page_map_large")


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one mapping should be: ``flags`` in the places that they have in a 4 KB entry."""

    physical: int
    flags: int
    large: bool


class Tables(Session):
    """A kernel with one empty PML4, frames from a counter, and the model beside it."""

    def __init__(self, harness: Harness, seed: int) -> None:
        super().__init__(harness)
        self.noise = random.Random(seed)
        self.leaves: dict[int, Leaf] = {}
        self.flushed: dict[int, int] = {}
        self.frames = Frames(harness)
        self.root = self.frames.root()
        watch(harness, _WATCHED, self._note)

    def _note(self, event: Event) -> None:
        """What the tables held when an address was invalidated."""
        if event.kind == "invlpg":
            self.flushed[event.value & ~(SMALL_SIZE - 1)] = walk(self.harness, self.root, event.value).entry

    # --- the model's view ---

    def leaf(self, address: int) -> tuple[int, Leaf] | None:
        """The page that an address lies in: where it begins, and what it is."""
        for size in (SMALL_SIZE, LARGE_SIZE):
            start = address & ~(size - 1) & MASK64
            found = self.leaves.get(start)
            if found and (found.large or size == SMALL_SIZE):
                return start, found
        return None

    def crowded(self, start: int) -> bool:
        """Whether a small page is mapped where a large one would lie."""
        return any(start <= address < start + LARGE_SIZE for address in self.leaves)

    def address(self) -> int:
        """An address out of a small pool, so that pages meet in tables."""
        upper, directory = self.noise.choice((0, 256, 511)), self.noise.choice((0, 1, 510))
        address = upper << 39 | directory << 30 | self.noise.choice((0, 1, 511)) << 21
        return canonical(address | self.noise.choice((0, 0, 1, 2, 511)) << 12)

    def flags(self) -> int:
        """A random set of flags."""
        return sum(flag for flag in FLAGS if self.noise.random() < 0.5)

    def pick(self) -> int:
        """Mostly something that is mapped."""
        if self.leaves and self.noise.random() < 0.7:
            return self.noise.choice(list(self.leaves))
        return self.address()

    # --- operations: the routine and the model, side by side ---

    def map(self, large: bool) -> None:
        """Map one page; a refusal must be right, and change nothing."""
        size = LARGE_SIZE if large else SMALL_SIZE
        routine = "page_map_large" if large else "page_map"
        address, flags = self.address() & ~(size - 1) & MASK64, self.flags()
        physical = self.noise.randrange(0, 1 << 46, size)
        fault = self.noise.choice(("", "", "", "", "", "address", "physical", "canonical", "flags"))
        if fault == "address":
            address |= 0x800
        elif fault == "physical":
            physical |= size >> 1
        elif fault == "canonical":
            address ^= 1 << 55
        elif fault == "flags":
            flags |= self.noise.choice((1 << 0, 1 << 13, 1 << 52))
        taken = self.leaf(address) is not None or (large and self.crowded(address))
        result = self.call(routine, rdi=address, rsi=physical, rdx=flags)
        refuse = bool(fault) or taken
        what = {"rdi": address, "rsi": physical, "rdx": flags}
        why = "a page that is mapped already" if taken and not fault else "an argument that is not valid"
        self.expect(result.flag("cf") or not refuse, routine, f"accepts {why}", **what)
        self.expect(not result.flag("cf") or refuse, routine, "refuses a page that can be mapped", **what)
        if not refuse:
            self.leaves[address] = Leaf(physical, flags, large)
        if fault != "canonical":
            self.verify(address & ~(SMALL_SIZE - 1) & MASK64, routine)
        self.verify(self.pick(), routine)

    def starve(self) -> None:
        """Without frames, a page whose tables are missing must be refused, and nothing be mapped."""
        address = canonical(self.noise.choice((5, 300)) << 39 | self.noise.randrange(1 << 18) << 21)
        if walk(self.harness, self.root, address).mapped or self.leaf(address):
            return
        self.frames.left = self.noise.choice((0, 1))
        result = self.call("page_map", rdi=address, rsi=0x5000, rdx=0)
        self.frames.left = None
        needed = walk(self.harness, self.root, address).level > 1
        promise = "says that it mapped a page for which there was no memory"
        self.expect(result.flag("cf") or not needed, "page_map", promise, rdi=address)
        if not result.flag("cf"):
            self.leaves[address] = Leaf(0x5000, 0, False)
        self.verify(address, "page_map")

    def unmap(self) -> None:
        """Unmap a page; the TLB must hear of it."""
        address = self.pick()
        found = self.leaf(address)
        whole = found is not None and found[0] == address
        self.flushed.clear()
        result = self.call("page_unmap", rdi=address)
        self.expect(
            result.flag("cf") != whole, "page_unmap", "refuses or accepts the wrong page", rdi=address
        )
        if found and whole:
            promise = "does not return what was mapped"
            self.equal(result.registers["rax"], found[1].physical, "page_unmap", promise, rdi=address)
            del self.leaves[address]
            self.told(address, "page_unmap")
        self.verify(address, "page_unmap")

    def protect(self) -> None:
        """Change a page's flags; the TLB must hear of it."""
        address, flags = self.pick(), self.flags()
        found = self.leaf(address)
        whole = found is not None and found[0] == address
        self.flushed.clear()
        result = self.call("page_protect", rdi=address, rsi=flags)
        promise = "refuses or accepts the wrong page"
        self.expect(result.flag("cf") != whole, "page_protect", promise, rdi=address, rsi=flags)
        if found and whole:
            self.leaves[address] = Leaf(found[1].physical, flags, found[1].large)
            self.told(address, "page_protect")
        self.verify(address, "page_protect")

    def split(self) -> None:
        """Split a large page; each small one must be what its part was."""
        address = self.pick()
        found = self.leaf(address)
        large = found is not None and found[1].large
        self.flushed.clear()
        result = self.call("page_split", rdi=address)
        self.expect(
            result.flag("cf") != large, "page_split", "refuses or accepts the wrong page", rdi=address
        )
        if found and large:
            start, leaf = found
            del self.leaves[start]
            for offset in range(0, LARGE_SIZE, SMALL_SIZE):
                self.leaves[start + offset] = Leaf(leaf.physical + offset, leaf.flags, False)
            self.told(address, "page_split")
            for offset in (0, SMALL_SIZE, LARGE_SIZE - SMALL_SIZE):
                self.verify(start + offset, "page_split")

    def look(self) -> None:
        """``page_walk`` names the entry at which the walk ends, its level, and whether the address is mapped."""
        address = self.pick()
        seen = walk(self.harness, self.root, address)
        result = self.call("page_walk", rdi=address)
        promise = "is wrong about what is mapped"
        self.expect(result.flag("cf") != seen.mapped, "page_walk", promise, rdi=address)
        self.equal(result.registers["rdx"], seen.level, "page_walk", "names the wrong level", rdi=address)
        place = self.harness.direct_base + seen.at
        self.equal(result.registers["rax"], place, "page_walk", "names the wrong entry", rdi=address)
        result = self.call("page_walk", rdi=address ^ 1 << 55)
        self.expect(result.flag("cf"), "page_walk", "walks an address that is not canonical", rdi=address)

    # --- judgement ---

    def told(self, address: int, routine: str) -> None:
        """The TLB heard of the page after its entry had changed."""
        page = address & ~(SMALL_SIZE - 1)
        self.expect(page in self.flushed, routine, "does not invalidate the translation", rdi=address)
        entry = walk(self.harness, self.root, address).entry
        promise = "invalidates the translation before the entry has changed"
        self.equal(self.flushed[page], entry, routine, promise, rdi=address)

    def verify(self, address: int, routine: str) -> None:
        """The tables say of an address what the model says."""
        found, seen = self.leaf(address), walk(self.harness, self.root, address)
        if found is None or not seen.mapped:
            self.expect(found is None, routine, "leaves no entry for the page in the tables", va=address)
            promise = "leaves an entry for a page that should not be mapped"
            self.expect(not seen.mapped, routine, promise, va=address)
            return
        leaf = found[1]
        size = LARGE_SIZE if leaf.large else SMALL_SIZE
        self.equal(seen.size, size, routine, "maps with a page of the wrong size", va=address)
        self.equal(seen.physical, leaf.physical, routine, "maps the wrong physical address", va=address)
        for right, has, flag in (
            ("write", seen.writable, WRITE),
            ("user", seen.user, USER),
            ("execute", seen.no_execute, NX),
        ):
            self.equal(has, bool(leaf.flags & flag), routine, f"gives the wrong {right} right", va=address)
        kept = leaf.flags & ~(WRITE | USER | NX)
        self.equal(seen.flags, kept, routine, "gives the wrong memory type or global bit", va=address)


def sequence(harness: Harness, seed: int, steps: int = _STEPS) -> None:
    """One random sequence of operations; raises ``Broken`` at the first violation."""
    tables = Tables(harness, seed)
    operations = (
        lambda: tables.map(False),
        lambda: tables.map(True),
        tables.unmap,
        tables.protect,
        tables.split,
        tables.look,
        tables.starve,
    )
    for _ in range(steps):
        tables.noise.choices(operations, weights=(6, 3, 3, 3, 1, 3, 1))[0]()
        if tables.frames.room < 8:
            break
    # Split pages leave hundreds of leaves: those that nobody looked at since are sampled.
    for address in tables.noise.sample(list(tables.leaves), min(16, len(tables.leaves))):
        tables.verify(address, "page_map")
    for frame in tables.frames.freed:
        inside = tables.frames.first <= frame < tables.frames.next and frame != tables.root
        tables.expect(inside, "page_map_large", "gives back what was no table", frame=frame)


@contract(
    "page_map", "page_map_large", "page_unmap", "page_protect", "page_split", "page_walk", "page_descend",
    "page_check", "page_drop_empty", "page_flags_large", "page_size_mask", "frame_alloc_zeroed",
    needs=("frame_alloc", "page_root", "page_map_large", "page_unmap", "page_protect", "page_split", "page_walk"),
)  # fmt: skip
def page_tables(harness: Harness) -> None:
    """Random map, unmap, protect and split against the model."""
    sequence(harness, seed=1)
