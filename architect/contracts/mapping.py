"""Ranges, device memory and guards: what they map, with which rights and which memory type.

Device memory is never executable, never of two types at once, never RAM (Intel SDM vol. 3, 11.3, 11.12.4); what is not
asked for stays unmapped.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.model import MASK64, Session
from architect.contracts.tables import (
    FLAGS,
    GLOBAL,
    HUGE_SIZE,
    LARGE_SIZE,
    MEMORY_TYPE,
    NX,
    SMALL_SIZE,
    UNCACHEABLE,
    USER,
    WRITE,
    WRITE_THROUGH,
    Frames,
    Seen,
    canonical,
    walk,
)
from toolchain.harness import Harness
from toolchain.watch import watch

_WRITE_COMBINING = WRITE_THROUGH  # PAT entry 1 is programmed to WC
_RAM_END = 0x80_0000
_DIRECT_LIMIT = 1 << 46
_USER_FIRST = 1 << 39


class _Space(Session):
    """An empty address space and some RAM that devices must not touch."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.frames = Frames(harness)
        self.root = self.frames.root()
        if harness.has("memory_ram"):
            self.call("ranges_add", rdi=harness.address("memory_ram"), rsi=0x1000, rdx=_RAM_END)

    def seen(self, address: int) -> Seen:
        """What the tables say of an address."""
        return walk(self.harness, self.root, address)

    def page(self, routine: str, va: int, pa: int, flags: int, **call: int) -> None:
        """The 4 KB at ``va`` lead to ``pa`` with exactly the rights and the type of ``flags``."""
        seen = self.seen(va)
        self.expect(seen.mapped, routine, "leaves a page of the range unmapped", va=va, **call)
        got = seen.physical + (va & (seen.size - 1))
        self.equal(got, pa, routine, "maps the wrong physical address", va=va, **call)
        rights = (
            seen.writable == bool(flags & WRITE),
            seen.user == bool(flags & USER),
            seen.no_execute == bool(flags & NX),
        )
        self.expect(all(rights), routine, "gives the wrong rights", va=va, **call)
        same = seen.flags == flags & (MEMORY_TYPE | GLOBAL)
        self.expect(same, routine, "gives the wrong memory type or global bit", va=va, **call)

    def unmapped(self, routine: str, va: int, **call: int) -> None:
        """Nothing is mapped there."""
        promise = "maps more than the range"
        self.expect(not self.seen(va).mapped, routine, promise, va=va, **call)


@contract(
    "page_map_range", "page_fill_table", "page_choose_level", "page_check", "page_descend", "page_flags_large",
    needs=("frame_alloc", "page_root", "page_huge_allowed"),
)  # fmt: skip
def ranges_of_pages(harness: Harness) -> None:
    """Ranges that need pages of every size, with and without 1 GB pages, and ranges that must be refused."""
    space, noise = _Space(harness), random.Random(4)
    allowed = harness.address("page_huge_allowed")
    cases = (
        (0, SMALL_SIZE, 3 * SMALL_SIZE),
        (LARGE_SIZE - SMALL_SIZE, LARGE_SIZE - SMALL_SIZE, 2 * LARGE_SIZE),
        (0x1000, 0x2000, LARGE_SIZE + SMALL_SIZE),  # never on the same offset: no large page fits
        (HUGE_SIZE - LARGE_SIZE, 3 * HUGE_SIZE - LARGE_SIZE, 2 * HUGE_SIZE + 3 * LARGE_SIZE),
        (HUGE_SIZE, 5 * HUGE_SIZE, HUGE_SIZE),
        (0, 7 * LARGE_SIZE, HUGE_SIZE + LARGE_SIZE),
    )
    for number, (offset, pa, length) in enumerate(cases):
        harness.write(allowed, bytes((number & 1,)))
        va = canonical((number * 37 + 3) << 39) + offset
        flags = sum(flag for flag in FLAGS if noise.random() < 0.5)
        what = {"rdi": va, "rsi": pa, "rdx": length, "rcx": flags}
        result = space.call("page_map_range", **what)
        promise = "refuses a range that can be mapped"
        space.expect(not result.flag("cf"), "page_map_range", promise, **what)
        middle = noise.randrange(length // SMALL_SIZE) * SMALL_SIZE
        steps = [s for s in (0, SMALL_SIZE, LARGE_SIZE - SMALL_SIZE, LARGE_SIZE, HUGE_SIZE) if s < length]
        for at in (*steps, middle, length - SMALL_SIZE):
            space.page("page_map_range", va + at, pa + at, flags, **what)
            huge = space.seen(va + at).size == HUGE_SIZE
            promise = "uses a 1 GB page on a CPU that has none"
            space.expect(not huge or number & 1 == 1, "page_map_range", promise, **what)
        for at in (-SMALL_SIZE, length):
            space.unmapped("page_map_range", (va + at) & MASK64, **what)
        again = space.call("page_map_range", rdi=va + middle, rsi=pa, rdx=SMALL_SIZE, rcx=0)
        promise = "accepts a page that is mapped already"
        space.expect(again.flag("cf"), "page_map_range", promise, rdi=va + middle)
        space.page("page_map_range", va + middle, pa + middle, flags, **what)
    good = {"rdi": 0x77 << 39, "rsi": 0, "rdx": SMALL_SIZE, "rcx": 0}
    for wrong in (
        {"rdi": 0x801},
        {"rsi": 0x10},
        {"rdx": 0x1800},
        {"rcx": 1 << 52},
        {"rdi": 1 << 50},
        {"rsi": 1 << 53},
    ):
        result = space.call("page_map_range", **{**good, **wrong})
        promise = "accepts an argument that is not valid"
        space.expect(result.flag("cf"), "page_map_range", promise, **{**good, **wrong})
    space.unmapped("page_map_range", good["rdi"])


@contract(
    "mmio_map", "mmio_check", "mmio_is_same",
    needs=("frame_alloc", "page_root", "memory_ram", "ranges_add", "page_map"),
)  # fmt: skip
def device_memory(harness: Harness) -> None:
    """Registers and framebuffers: mapped as asked, refused where that would be wrong."""
    space = _Space(harness)
    base: int | None = None
    mapped: list[tuple[int, int, int]] = []
    for pa, length, kind, refuse in (
        (0xFEE00000, 0x1000, UNCACHEABLE, False),
        (0xFEBF0500, 0x20, UNCACHEABLE, False),  # within a page
        (0xFEBF1FF0, 0x20, UNCACHEABLE, False),  # over the edge of one
        (0xFD001000, 0xFFF000, _WRITE_COMBINING, False),  # a framebuffer behind its first page
        (0xFD000000, 0x1000, UNCACHEABLE, False),  # that page, of another type
        (0xFEE00000, 0x1000, UNCACHEABLE, False),  # the same again
        (0xFD400000, 0x3000, _WRITE_COMBINING, False),  # a part of what large pages map
        (0xFEBF0000, 0x3000, UNCACHEABLE, False),  # several pages, all of them mapped
        (0xFEC00000, 0x1000, UNCACHEABLE, False),
        (0xFEBFF000, 0x4000, UNCACHEABLE, False),  # the second of four mapped already: the others follow
        (0xFEC00000, 0x5000, UNCACHEABLE, False),  # all but the last
        (0xFEE00000, 0x1000, _WRITE_COMBINING, True),  # the same of another type
        (0xFD400000, 0x1000, UNCACHEABLE, True),
        (0xFD000000, 0x2000, UNCACHEABLE, True),  # the second page of another type
        (0, 0x1000, UNCACHEABLE, True),  # page 0
        (0xFED00000, 0, UNCACHEABLE, True),  # nothing
        (0xFED00000, 0x1000, 0, True),  # write-back
        (0xFED00000, 0x1000, UNCACHEABLE | WRITE, True),  # no type
        (_RAM_END - 0x1000, 0x1000, UNCACHEABLE, True),  # RAM
        (0x5000, 0x10, UNCACHEABLE, True),
        (MASK64 - 0xFFF, 0x2000, UNCACHEABLE, True),  # around the end
        ((1 << 46) - 0x1000, 0x2000, UNCACHEABLE, True),  # out of what the direct map reaches
        ((1 << 39) - 0x1000, 0x2000, UNCACHEABLE, True),  # on both sides of where ring 3 begins
        (_RAM_END, 0x1000, UNCACHEABLE, False),  # right behind RAM
        (0x38_0000_0000, 0x60_0000, _WRITE_COMBINING, False),  # above 4 GB
        (0x3800_0000_0000, 0x20_1000, _WRITE_COMBINING, False),  # where the lower half is ring 3's
    ):
        what = {"rdi": pa, "rsi": length, "rdx": kind}
        result = space.call("mmio_map", **what)
        promise = "maps what must be refused" if refuse else "refuses what can be mapped"
        space.expect(result.flag("cf") == refuse, "mmio_map", promise, **what)
        if refuse:
            continue
        base = (result.registers["rax"] - pa) & MASK64 if base is None else base
        at = harness.direct_base if pa >= _USER_FIRST else base
        space.equal(
            result.registers["rax"], (at + pa) & MASK64, "mmio_map", "returns the wrong address", **what
        )
        mapped.append((pa & ~(SMALL_SIZE - 1), -(-(pa + length) // SMALL_SIZE) * SMALL_SIZE, kind))
        for first, end, type_ in mapped:
            for page in {first, (first + end) // 2 & ~(SMALL_SIZE - 1), end - SMALL_SIZE}:
                at = harness.direct_base if page >= _USER_FIRST else base
                space.page("mmio_map", at + page, page, WRITE | NX | GLOBAL | type_, **what)
    for page in (
        0xFEE01000, 0xFED00000, 0xFCFFF000, 0xFE000000, 0xFEBF3000, 0xFEBFE000, 0xFEC05000, 0, 0x5000,
    ):  # fmt: skip
        space.unmapped("mmio_map", (base or 0) + page)


@contract("page_cover", needs=("frame_alloc", "page_root", "page_map_range"))
def firmware_memory(harness: Harness) -> None:
    """Tables of the firmware: readable through the direct map, nothing more; what is mapped stays as it is."""
    space = _Space(harness)
    direct = harness.direct_base
    kept = WRITE | NX | GLOBAL
    space.call("page_map", rdi=direct + 0x0F_E000, rsi=0x0F_E000, rdx=kept)
    for pa, length in ((0x7FE_0123, 0x24), (0x0F_DFF0, 0x2010), (0xBFFD_FFFF, 2), (0x1_2345_6000, 0x3000)):
        what = {"rdi": pa, "rsi": length}
        result = space.call("page_cover", **what)
        promise = "refuses memory that can be mapped"
        space.expect(not result.flag("cf"), "page_cover", promise, **what)
        space.equal(result.registers["rax"], direct + pa, "page_cover", "returns the wrong address", **what)
        for page in range(pa & ~(SMALL_SIZE - 1), pa + length, SMALL_SIZE):
            flags = kept if page == 0x0F_E000 else NX | GLOBAL
            space.page("page_cover", direct + page, page, flags, **what)
        space.unmapped("page_cover", direct + ((pa + length + SMALL_SIZE - 1) & ~(SMALL_SIZE - 1)), **what)
    for pa, length in ((0x9000, 0), (MASK64 - 0xFF, 0x200), (_DIRECT_LIMIT - 1, 2), (_DIRECT_LIMIT, 1)):
        result = space.call("page_cover", rdi=pa, rsi=length)
        promise = "accepts what the direct map does not reach"
        space.expect(result.flag("cf"), "page_cover", promise, rdi=pa, rsi=length)


@contract("page_guard", needs=("frame_alloc", "page_root", "page_map_range", "page_huge_allowed"))
def guard_pages(harness: Harness) -> None:
    """One page is taken out of whatever maps it; its neighbours stay."""
    space = _Space(harness)
    events = watch(harness, ("page_guard", "page_unmap", "page_split"))
    harness.write(harness.address("page_huge_allowed"), b"\1")
    flags = WRITE | NX | GLOBAL
    for number, size in enumerate((SMALL_SIZE, LARGE_SIZE, HUGE_SIZE)):
        va = canonical(300 + number << 39) + size
        space.call("page_map_range", rdi=va - size, rsi=8 * size, rdx=2 * size, rcx=flags)
        hole = va - size + (size >> 1 & ~(SMALL_SIZE - 1))
        events.clear()
        result = space.call("page_guard", rdi=hole)
        promise = "refuses a page that is mapped"
        space.expect(not result.flag("cf"), "page_guard", promise, rdi=hole)
        space.expect(not space.seen(hole).mapped, "page_guard", "leaves the page mapped", rdi=hole)
        told = any(event.kind == "invlpg" and event.value & ~(SMALL_SIZE - 1) == hole for event in events)
        space.expect(told, "page_guard", "does not invalidate the translation", rdi=hole)
        for page in {va - size, hole - SMALL_SIZE, hole + SMALL_SIZE, va} - {hole}:
            if page >= va - size:
                space.page("page_guard", page, 8 * size + page - (va - size), flags, rdi=hole)
        result = space.call("page_guard", rdi=hole)
        space.expect(result.flag("cf"), "page_guard", "accepts a page that is not mapped", rdi=hole)


@contract("gpu_map_bar0", needs=("frame_alloc", "page_root", "memory_ram", "page_map"))
def mailbox_page(harness: Harness) -> None:
    """The page of the mailbox: its own, uncacheable, writable, not executable; never RAM."""
    space = _Space(harness)
    for bar in (0xFD00_0000, 0xE000_0000, 0x38_0000_0000):
        result = space.call("gpu_map_bar0", rdi=bar)
        space.expect(not result.flag("cf"), "gpu_map_bar0", "refuses a BAR that can be mapped", rdi=bar)
        address = result.registers["rax"]
        space.page("gpu_map_bar0", address, bar, WRITE | NX | GLOBAL | UNCACHEABLE, rdi=bar)
        space.unmapped("gpu_map_bar0", address + SMALL_SIZE, rdi=bar)
    for wrong in (0, _RAM_END - SMALL_SIZE):
        result = space.call("gpu_map_bar0", rdi=wrong)
        space.expect(result.flag("cf"), "gpu_map_bar0", "maps what must be refused", rdi=wrong)
