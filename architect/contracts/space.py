"""The kernel's address space as its boot unit builds it: every page of it, and the way it is entered.

Nothing is writable and executable, nothing belongs to ring 3, what is read-only in the image is read-only in the
direct map too, guard pages and page 0 are absent (Intel SDM vol. 3, 4.5, 4.6). On the way in, global translations of
the old tables go before CR3 changes (4.10.4.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.tables import (
    ADDRESS,
    GLOBAL,
    HUGE_SIZE,
    LARGE,
    MEMORY_TYPE,
    NX,
    PAT_LARGE,
    PRESENT,
    SHIFTS,
    SMALL_SIZE,
    USER,
    WRITE,
    Frames,
    canonical,
    walk,
)
from architect.contracts.units import said
from toolchain.harness import Harness
from toolchain.types import Section
from toolchain.watch import Event, watch

_PAGE_MASK = SMALL_SIZE - 1
# The image begins a row of RAM, or lies within one.
_LOW_RAM = {
    False: ((0x1000, 0x9F000), (0x10_0000, 0x60_0000)),
    True: ((0x1000, 0x9F000), (0xF_8000, 0x60_0000)),
}
_HIGH_RAM = {False: (0x1_0000_0000, 0x1_0020_3000), True: (0x1_0000_0000, 0x1_4000_1000)}
_ENTERS = ("paging_init", "space_enter")
_CR0_WP, _CR4_PGE = 1 << 16, 1 << 7
_LEAF_EXTENDED, _EDX_1GB, _EDX_NX, _EDX_LM = 0x8000_0001, 1 << 26, 1 << 20, 1 << 29
_TYPE_SMALL, _TYPE_LARGE = MEMORY_TYPE, MEMORY_TYPE & ~LARGE | PAT_LARGE
TABLE = struct.Struct("<512Q")


class Page(NamedTuple):
    """One leaf of the tables, with rights taken together over all levels."""

    va: int
    size: int
    physical: int
    entry: int
    writable: bool
    user: bool
    no_execute: bool


def pages(harness: Harness, root: int) -> Iterator[Page]:
    """Every page that the tables map, in the order of addresses' indices."""
    work = [(root, 0, 4, True, True, False)]
    while work:
        table, base, level, writable, user, no_execute = work.pop()
        entries = TABLE.unpack(harness.read(harness.direct_base + table, SMALL_SIZE))
        shift = SHIFTS[4 - level]
        for index, entry in enumerate(entries):
            if not entry & PRESENT:
                continue
            va = base | index << shift
            rights = (
                writable and bool(entry & WRITE),
                user and bool(entry & USER),
                no_execute or bool(entry & NX),
            )
            if level == 1 or (entry & LARGE and level < 4):
                size = 1 << shift
                yield Page(canonical(va), size, entry & ADDRESS & ~(size - 1), entry, *rights)
            else:
                work.append((entry & ADDRESS, va, level - 1, *rights))


class _Built(Session):
    """The space that ``paging_init`` leaves for a machine with some RAM."""

    def __init__(self, harness: Harness, *, huge: bool) -> None:
        super().__init__(harness)
        self.huge = huge
        harness.cpuid = self._cpuid
        ram = harness.address("memory_ram")
        self.ram = (*_LOW_RAM[huge], _HIGH_RAM[huge])
        for first, end in self.ram:
            self.call("ranges_add", rdi=ram, rsi=first, rdx=end)
        self.frames = Frames(harness, first=0x20000)
        self.events = watch(harness, _ENTERS)
        self.before = harness.get("cr4") | _CR4_PGE
        harness.set("cr4", self.before)
        result = self.call("paging_init", rdi=0)
        self.equal(result.registers["rax"], 0, "paging_init", "fails though there is memory")
        notes = said(self, "paging_init")
        kib = str(sum(end - first for first, end in self.ram) >> 10)
        self.equal(notes.get("ram_kib", ""), kib, "space_count_ram", "notes another amount of RAM")
        self.equal(notes.get("huge", ""), str(int(huge)), "page_find_features", "notes another size of pages")
        root = harness.read_u64(harness.address("page_root"))
        self.equal(notes.get("root", ""), f"{root:#x}", "paging_init", "notes another PML4")
        self.root = harness.read_u64(harness.address("page_root"))
        inside = self.frames.first <= self.root < self.frames.next and self.root % SMALL_SIZE == 0
        self.expect(inside, "paging_init", "keeps its PML4 in no frame", got=self.root)

    def _cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        if leaf == _LEAF_EXTENDED:
            return 0, 0, 0, _EDX_NX | _EDX_LM | (_EDX_1GB if self.huge else 0)
        return (0x8000_0008, 0, 0, 0) if leaf == 0x8000_0000 else (0, 0, 0, 0)

    def entered(self) -> None:
        """CR3 holds the new PML4, nothing of the old tables survives, and the kernel obeys read-only pages."""
        kinds = [event.kind for event in self.events]
        self.expect("cr3" in kinds, "space_enter", "does not load CR3")
        at = kinds.index("cr3")
        self.equal(self.events[at].value, self.root, "space_enter", "loads something else than the PML4")
        flushed = any(e.kind == "cr4" and not e.value & _CR4_PGE for e in self.events)
        self.expect(flushed, "space_enter", "lets global translations of the old tables live on")
        self.equal(self.final("cr4"), self.before, "space_enter", "leaves another CR4 than global pages need")
        self.expect(bool(self.final("cr0") & _CR0_WP), "space_enter", "leaves CR0.WP clear")

    def final(self, name: str) -> int:
        """What a control register was given last."""
        found = [event for event in self.events if event.kind == name] or [
            Event(name, self.harness.get(name))
        ]
        return found[-1].value

    def image(self) -> None:
        """Every section at its place with its own rights; the pages under the stacks are absent."""
        guards = self.guards()
        for section in self.sections():
            for offset in range(0, section.size, SMALL_SIZE):
                va = section.address + offset
                seen = walk(self.harness, self.root, va)
                if va in guards:
                    self.expect(not seen.mapped, "space_guard_stacks", "leaves a guard page mapped", va=va)
                    continue
                self.expect(seen.mapped, "space_map_image", "leaves a page of the image unmapped", va=va)
                got = seen.physical + (va & (seen.size - 1))
                place = section.physical + offset
                self.equal(got, place, "space_map_image", "maps the wrong physical address", va=va)
                rights = (seen.writable, not seen.no_execute)
                wanted = ("w" in section.flags, "x" in section.flags)
                self.expect(rights == wanted, "space_map_image", "gives the wrong rights", va=va)

    def sections(self) -> list[Section]:
        """Those that stay when the identity map goes."""
        return [s for s in self.harness.image.sections if s.address != s.physical and s.size]

    def guards(self) -> set[int]:
        """What the kernel says are its guard pages; one right below each stack."""
        table, found = self.harness.address("stack_guards"), set[int]()
        while (address := self.harness.read_u64(table)) and len(found) < 64:
            found.add(address)
            table += 8
        bottom = self.harness.address("boot_stack_bottom")
        self.expect(
            bottom - SMALL_SIZE in found, "space_guard_stacks", "knows no guard page below the boot stack"
        )
        return found

    def everything(self) -> None:
        """What holds for every page, and that the direct map is all RAM and nothing else."""
        frozen = [
            (s.physical & ~_PAGE_MASK, s.physical + s.size)
            for s in self.harness.image.sections
            if "w" not in s.flags or "x" in s.flags
        ]
        virtual = min(s.address - s.physical for s in self.sections())
        covered = 0
        for page in pages(self.harness, self.root):
            wrong = self.wrong(page)
            if wrong is None and page.va < virtual:
                wrong = self.wrong_direct(page, frozen)
                covered += page.size
            if wrong is not None:
                self.fail(*wrong, {"va": page.va, "entry": page.entry})
        total = sum(end - first for first, end in self.ram)
        self.equal(covered, total, "space_map_ram", "leaves RAM out of the direct map")

    def wrong(self, page: Page) -> tuple[str, str] | None:
        """What is wrong with a page, wherever it lies."""
        if page.user:
            return "paging_init", "gives ring 3 access"
        if page.writable and not page.no_execute:
            return "paging_init", "maps a page writable and executable"
        if page.entry & (_TYPE_SMALL if page.size == SMALL_SIZE else _TYPE_LARGE):
            return "paging_init", "maps RAM with another type than write-back"
        if page.size == HUGE_SIZE and not self.huge:
            return "page_find_features", "uses 1 GB pages that the CPU lacks"
        if not page.entry & GLOBAL:
            return "paging_init", "leaves a page of the kernel not global"
        return None

    def wrong_direct(self, page: Page, frozen: Sequence[tuple[int, int]]) -> tuple[str, str] | None:
        """What is wrong with a page that is no part of the image."""
        end = page.physical + page.size
        if page.va != self.harness.direct_base + page.physical:
            return "space_map_ram", "maps what is neither image nor direct map"
        if not any(first <= page.physical and end <= last for first, last in self.ram):
            return "space_map_ram", "maps in the direct map what is no RAM"
        if not page.no_execute:
            return "space_map_ram", "makes the direct map executable"
        alias = page.physical < frozen[-1][1] and any(
            page.physical < last and first < end for first, last in frozen
        )
        if alias and page.writable:
            return "space_map_ram", "makes read-only parts of the image writable"
        # Pages between the read-only parts may be read-only too: they are nobody's.
        inside = frozen[0][0] <= page.physical < frozen[-1][1] + SMALL_SIZE
        if not page.writable and not alias and not inside:
            return "space_map_ram", "makes RAM read-only"
        return None


@contract(
    "paging_init", "space_map_image", "space_map_ram", "space_map_direct", "space_guard_stacks", "space_enter",
    "page_find_features",
    "space_count_ram",
    needs=("memory_ram", "ranges_add", "frame_alloc", "page_root", "stack_guards", "boot_stack_bottom"),
)  # fmt: skip
def address_space(harness: Harness) -> None:
    """Built once for a CPU without 1 GB pages and once for one with them."""
    for huge in (False, True):
        harness.renew()
        built = _Built(harness, huge=huge)
        built.entered()
        built.image()
        built.everything()
