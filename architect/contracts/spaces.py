"""Address spaces against a model of what ring 3 has mapped, page by page.

Each call does all or nothing, and says why not. The tables are read back by a walk of their own. Frames come from a
pool that knows what is out: nothing leaks, nothing goes back twice, and nothing before the translations are gone
(Intel SDM vol. 3, 4.10.4.2). A kernel mapping that is made later is seen by all spaces.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.extents import OWNED, Extent, Mapped, join, runs
from architect.contracts.model import EXISTS, INVALID, MASK64, NO_MEMORY, NOT_MAPPED, Session
from architect.contracts.tables import (
    CACHE_DISABLE,
    GLOBAL,
    HUGE_SIZE,
    LARGE_SIZE,
    NX,
    PAT,
    SHIFTS,
    SMALL_SIZE,
    USER,
    WRITE,
    WRITE_THROUGH,
    Frames,
    canonical,
    walk,
)
from toolchain.harness import BUFFER_BASE, Harness
from toolchain.watch import Event, watch

BUSY = 10
_FIRST, _END = 1 << 39, (1 << 47) - SMALL_SIZE
_RIGHTS = (NX, WRITE | NX, 0, WRITE | NX | WRITE_THROUGH, NX | PAT | CACHE_DISABLE | WRITE_THROUGH)
_FLUSHERS = ("tlb_flush_here", "page_protect", "page_split", "page_unmap")
_PGE = 1 << 7
_LOWER_HALF = 256


class Pool(Frames):
    """Frames that can be taken again; ``out`` are those in use."""

    def __init__(self, harness: Harness) -> None:
        self.out: set[int] = set()
        self.idle: list[int] = []
        self.twice: int | None = None
        super().__init__(harness)

    @property
    def room(self) -> int:
        """Frames that can still be taken."""
        return len(self.idle) + super().room

    def take(self) -> int:
        """One frame, full of noise."""
        if self.idle:
            frame = self.idle.pop()
            self.harness.write(self.harness.direct_base + frame, b"\xa5" * SMALL_SIZE)
        else:
            frame = super().take()
        self.out.add(frame)
        return frame

    def _free(self, harness: Harness) -> None:
        frame = harness.get("rdi") & MASK64
        if frame not in self.out:
            self.twice = frame
        else:
            self.out.discard(frame)
            self.idle.append(frame)
        super()._free(harness)


class Space(Session):
    """One address space over a pool of frames, and the model of it."""

    def __init__(self, harness: Harness, *, huge: bool = False) -> None:
        super().__init__(harness)
        self.pool = Pool(harness)
        self.kernel = self.pool.root()
        harness.write(harness.address("page_huge_allowed"), bytes((huge,)))
        harness.substitute("heap_alloc_zeroed", self._heap)
        harness.substitute("heap_free", lambda machine: machine.set_flag("cf", False))
        harness.set("cr4", harness.get("cr4") | _PGE)
        self.flushed: list[tuple[int, int, int]] = []
        watch(harness, _FLUSHERS, self._note)
        self.records = 0
        self.model = Mapped()
        self.record, self.root = self.create()

    def _heap(self, harness: Harness) -> None:
        at = BUFFER_BASE + 64 * self.records
        harness.write(at, bytes(64))
        self.records += 1
        harness.set("rax", at)
        harness.set_flag("cf", False)

    def _note(self, event: Event) -> None:
        if event.kind == "invlpg":
            page = event.value & -SMALL_SIZE
            self.flushed.append((page, page + SMALL_SIZE, len(self.pool.freed)))
        elif event.kind == "cr4" and not event.value & _PGE:
            self.flushed.append((0, 1 << 64, len(self.pool.freed)))

    def create(self) -> tuple[int, int]:
        """A space: its record and its PML4."""
        before = set(self.pool.out)
        result = self.call("space_create")
        self.expect(not result.flag("cf"), "space_create", "fails though there is memory")
        new = self.pool.out - before
        self.equal(len(new), 1, "space_create", "takes another number of frames than one")
        return result.registers["rax"], new.pop()

    # --- what the tables say ---

    def seen(self) -> tuple[list[Extent], set[int]]:
        """Everything that is mapped between USER_FIRST and USER_END, and the frames of the space's own tables.

        No table that maps 1 GB or less is empty.
        """
        extents: list[Extent] = []
        tables = set()
        work = [(self.root, 0, 4, WRITE | USER)]
        while work:
            table, base, level, rights = work.pop()
            tables.add(table)
            found = runs(self.harness.read(self.harness.direct_base + table, SMALL_SIZE), level)
            self.expect(bool(found) or level > 2, "page_prune_range", "keeps an empty table", table=table)
            shift = SHIFTS[4 - level]
            for first, count, physical, entry, leaf in found:
                va = base | first << shift
                # What a level allows is what all allow; one that forbids execution is enough (4.6).
                taken = rights & entry & (WRITE | USER) | (rights | entry) & NX
                if leaf:
                    extents.append(
                        Extent(va, va + (count << shift), physical, taken | entry & ~(WRITE | USER | NX))
                    )
                elif level < 4 or 1 <= first < _LOWER_HALF:
                    work.append((physical, va, level - 1, taken))
        return [e for e in join(sorted(extents)) if _FIRST <= e.start < _END], tables

    def verify(self, routine: str, *, kept: int = 0, **what: int) -> None:
        """The tables say what the model says, and every frame that is out is somebody's."""
        (seen, tables), wanted = self.seen(), self.model.joined()
        for got in seen:
            self.expect(got in wanted, routine, "maps something else than it should", va=got.start, **what)
        self.equal(len(seen), len(wanted), routine, "leaves pages unmapped", **what)
        owned = {
            at
            for e in wanted
            if e.flags & OWNED
            for at in range(e.physical, e.physical + e.end - e.start, SMALL_SIZE)
        }
        ours = tables | owned | {self.kernel}
        self.equal(len(self.pool.out - ours), kept, routine, "loses frames", **what)
        self.expect(ours <= self.pool.out, routine, "gives back frames that are in use", **what)
        twice = self.pool.twice
        self.expect(twice is None, routine, "gives back what it does not have", got=twice or 0, **what)

    def told(self, routine: str, start: int, end: int, freed: int) -> None:
        """All of a range was invalidated, and before any frame of the call went back."""
        early = [(low, high) for low, high, count in self.flushed if count == freed]
        missing = [
            page
            for page in {start, end - SMALL_SIZE, (start + end) // 2 & -SMALL_SIZE}
            if not any(low <= page < high for low, high in early)
        ]
        promise = "frees memory, or returns, before translations are gone"
        self.expect(not missing, routine, promise, va=missing[0] if missing else 0)

    # --- the operations ---

    def do(
        self, name: str, va: int, length: int, flags: int = 0, physical: int = 0, left: int | None = None
    ) -> None:
        """One operation, the routine and the model side by side; ``left`` frames are there when given."""
        routine = f"space_{name}"
        what = {"rsi": va, "rcx": length, "r8": flags, "rdx": physical}
        end = va + length
        inside = va >= _FIRST and end <= _END and length > 0 and not (va | length) % SMALL_SIZE
        bad = (
            flags & ~(WRITE | USER | NX | WRITE_THROUGH | CACHE_DISABLE | PAT)
            or (flags & (WRITE | NX)) == WRITE
        )
        wrong = not inside or (bad and name != "unmap")
        wrong = wrong or (name == "map" and bool(physical % SMALL_SIZE or (physical + length - 1) >> 52))
        error = INVALID if wrong else 0
        if not error and name in ("map", "alloc"):
            error = EXISTS if self.model.within(va, end) else 0
        elif not error:
            error = 0 if self.model.whole(va, end) else NOT_MAPPED
        self.flushed.clear()
        freed, self.pool.left = len(self.pool.freed), left
        result = self.call(routine, limit=3_000_000, rdi=self.record, **what)
        self.pool.left = None
        if left is not None and not error and result.flag("cf"):
            error = NO_MEMORY
        self.refused(result, error, routine, "what the model would do", **what)
        if not error:
            self._change(name, Extent(va, end, physical, flags))
            if name in ("unmap", "protect"):
                self.told(f"space_{name}", va, end, freed)
        self.verify(routine, **what)

    def _change(self, name: str, to: Extent) -> None:
        if name == "unmap":
            self.model.remove(to.start, to.end)
        elif name == "map":
            self.model.put(to._replace(flags=to.flags | USER))
        elif name == "protect":
            for part in self.model.within(to.start, to.end):
                self.model.put(part._replace(flags=to.flags | USER | part.flags & OWNED))
        else:
            for page in range(to.start, to.end, SMALL_SIZE):
                frame = walk(self.harness, self.root, page).physical
                clear = not any(self.harness.read(self.harness.direct_base + frame, SMALL_SIZE))
                self.expect(clear, "space_alloc", "maps memory that is not cleared", va=page)
                self.model.put(Extent(page, page + SMALL_SIZE, frame, to.flags | USER | OWNED))

    def step(self, noise: random.Random) -> None:
        """One random operation."""
        table = _FIRST * noise.choice((1, 1, 2)) + noise.choice((0, 1)) * HUGE_SIZE
        base = (
            table
            + noise.choice((0, 0, 1, 2, 511)) * LARGE_SIZE
            + noise.choice((0, 0, 1, 3, 510, 511)) * SMALL_SIZE
        )
        length = noise.choice((1, 1, 2, 3, 8)) * SMALL_SIZE
        name = noise.choice(("map", "map", "alloc", "unmap", "unmap", "protect", "protect", "protect"))
        if name != "alloc" and noise.random() < 0.4:
            length = noise.choice((1, 1, 2)) * LARGE_SIZE
            base &= -LARGE_SIZE if noise.random() < 0.8 else MASK64
        if name in ("unmap", "protect") and self.model.extents and noise.random() < 0.7:
            extent = noise.choice(self.model.extents)
            base = extent.start + noise.choice((0, 0, 1, 5)) * SMALL_SIZE
            length = noise.choice((extent.end - base, SMALL_SIZE, 3 * SMALL_SIZE))
        physical = base & (LARGE_SIZE - 1) | noise.randrange(1, 64) * LARGE_SIZE
        flags = noise.choice(_RIGHTS)
        spoilt = noise.random()
        if spoilt < 0.06:
            base, length, flags = noise.choice(
                ((0, length, flags), (base + 8, length, flags), (base, 0, flags), (base, length | 1, flags),
                 (base, length, WRITE), (base, length, flags | GLOBAL), (_END, SMALL_SIZE, NX), (base, -SMALL_SIZE, NX))
            )  # fmt: skip
        left = noise.randrange(4) if spoilt > 0.94 else None
        self.do(name, base & MASK64, max(length, 0) if length < 0 else length, flags, physical, left)

    def destroy(self) -> None:
        """The space goes, and everything that it had with it."""
        result = self.call("space_destroy", limit=3_000_000, rdi=self.record)
        self.expect(not result.flag("cf"), "space_destroy", "refuses a space that nobody has loaded")
        left = self.pool.out - {self.kernel}
        self.expect(not left, "space_destroy", "keeps frames of a space", got=len(left))
        twice = self.pool.twice
        self.expect(twice is None, "space_destroy", "gives back what it does not have", got=twice or 0)
        again = self.call("space_destroy", rdi=self.record)
        gone = again.flag("cf") and again.registers["rax"] == INVALID
        self.expect(gone, "space_destroy", "takes what is no space any more for one")


@contract(
    "space_map", "space_unmap", "space_protect", "space_alloc", "space_range_check", "user_range_check",
    "page_map_whole", "page_unmap_range", "page_protect_range", "page_alloc_range", "page_span_mapped",
    "page_span_free", "page_span_prepare", "page_split_at", "page_release_range", "page_free_owned", "page_own",
    "page_undo_range", "page_merge", "page_is_uniform", "page_replace_table", "page_prune_range", "page_prune_table",
    "tlb_flush", "tlb_flush_here", "space_begin", "space_end", "space_create", "space_destroy", "space_free_table",
    needs=("page_root", "page_huge_allowed", "heap_alloc_zeroed", "heap_free", "frame_alloc", "frame_free"),
)  # fmt: skip
def address_spaces(harness: Harness) -> None:
    """Split and merge, memory that runs out, whole tables, then random operations."""
    for huge in (False, True):
        harness.renew()
        space, noise = Space(harness, huge=huge), random.Random(11 + huge)
        base = _FIRST + HUGE_SIZE
        reach = HUGE_SIZE if huge else LARGE_SIZE
        space.do("map", base, reach, WRITE | NX, 3 * HUGE_SIZE)
        tables = len(space.seen()[1])
        for flags in (NX, WRITE | NX):
            space.do("protect", base + 5 * SMALL_SIZE, SMALL_SIZE, flags)
        promise = "leaves a table where a large page says the same"
        space.equal(len(space.seen()[1]), tables, "page_merge", promise)
        space.do("unmap", base + reach - SMALL_SIZE, SMALL_SIZE, left=0)
        space.do("unmap", base, MASK64 + 1 - SMALL_SIZE)
        space.do("alloc", base - 2 * SMALL_SIZE, 2 * SMALL_SIZE, WRITE | NX)
        other = 2 * _FIRST
        space.do("map", other, 2 * LARGE_SIZE, NX | PAT, 5 * HUGE_SIZE)
        tables = len(space.seen()[1])
        for flags in (WRITE | NX, NX | PAT):
            space.do("protect", other + LARGE_SIZE - SMALL_SIZE, 2 * SMALL_SIZE, flags)
        space.equal(len(space.seen()[1]), tables, "page_merge", promise)
        for name in ("map", "alloc"):
            for edge in (4 * LARGE_SIZE, HUGE_SIZE, 2 * HUGE_SIZE):  # the second half needs one table, or two
                for left in range(8):
                    space.do(name, other + edge - 2 * SMALL_SIZE, 4 * SMALL_SIZE, NX, SMALL_SIZE, left)
        for _ in range(40):
            space.step(noise)
        space.destroy()


@contract(
    "space_share_entry", "space_create", "space_switch", "space_destroy", "page_descend",
    needs=("page_root", "heap_alloc_zeroed", "heap_free", "frame_alloc", "page_map", "space_count"),
)  # fmt: skip
def shared_kernel(harness: Harness) -> None:
    """What the kernel maps, before and after, is in every space; what CR3 holds is noted, and is not destroyed."""
    space = Space(harness)
    events = watch(harness, ("space_switch",))
    other, other_root = space.create()
    space.equal(harness.read_u64(harness.address("space_count")), 2, "space_create", "counts other spaces")
    vas = (0xFD00_0000, canonical(256 << 39), canonical(0x180 << 39 | 7 << 30), canonical(511 << 39))
    for va in vas:
        result = space.call("page_map", rdi=va, rsi=0x1000, rdx=GLOBAL | NX)
        space.expect(not result.flag("cf"), "page_map", "fails though there is memory", rdi=va)
        for root in (space.kernel, space.root, other_root):
            seen = walk(harness, root, va)
            space.expect(seen.mapped, "space_share_entry", "hides a kernel mapping from a space", va=va)
    result = space.call("page_map", rdi=_FIRST + HUGE_SIZE, rsi=0x1000, rdx=NX)
    hidden = not walk(harness, space.root, _FIRST + HUGE_SIZE).mapped
    space.expect(hidden, "space_share_entry", "shares what is a space's own")
    third, third_root = space.create()
    for va in vas:
        mapped = walk(harness, third_root, va).mapped
        space.expect(mapped, "space_create", "leaves the kernel out of a new space", va=va)
    for record, root in (
        (space.record, space.root),
        (third, third_root),
        (third, third_root),
        (0, space.kernel),
    ):
        events.clear()
        result = space.call("space_switch", rdi=record)
        space.expect(not result.flag("cf"), "space_switch", "refuses a space", rdi=record)
        loaded = [event.value for event in events if event.kind == "cr3"]
        space.expect(loaded in ([root], []), "space_switch", "loads another PML4", rdi=record)
        space.expect(bool(loaded) or record == third, "space_switch", "loads nothing", rdi=record)
        for at in (space.record, other, third):
            mask = harness.read_u64(at + 0x10)
            space.equal(mask, int(at == record), "space_switch", "notes other CPUs", rdi=record, got_of=at)
        if record:
            result = space.call("space_destroy", rdi=record)
            busy = result.flag("cf") and result.registers["rax"] == BUSY
            space.expect(busy, "space_destroy", "takes a space from under a CPU", rdi=record)
    result = space.call("space_switch", rdi=BUFFER_BASE + 0x1000)
    space.expect(result.flag("cf"), "space_switch", "loads what is no space")
    for record in (other, space.record, third):
        result = space.call("space_destroy", limit=3_000_000, rdi=record)
        space.expect(not result.flag("cf"), "space_destroy", "refuses a space that nobody has loaded")
    space.equal(harness.read_u64(harness.address("space_count")), 0, "space_destroy", "counts other spaces")
    space.equal(
        harness.read_u64(harness.address("space_first")), 0, "space_destroy", "keeps a space in the list"
    )


def sequence(harness: Harness, seed: int, steps: int) -> None:
    """One random sequence of operations; raises ``Broken`` at the first violation."""
    space, noise = Space(harness), random.Random(seed)
    for _ in range(steps):
        if space.pool.room < 40:
            break
        space.step(noise)
    space.destroy()
