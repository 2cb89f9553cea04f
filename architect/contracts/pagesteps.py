"""Page tables and the address space: each routine alone.

Intel SDM vol. 3, 4.5 (which bits of an address choose an entry, and the bits of an entry), 4.6 (rights are taken
together over all levels), 4.10.4 (what CR3 and CR4.PGE do to the TLB).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise

from architect.contracts import contract
from architect.contracts.model import EXISTS, INVALID, NO_MEMORY
from architect.contracts.steps import BUFFER, Step
from architect.contracts.tables import (
    GLOBAL,
    HUGE_SIZE,
    LARGE,
    LARGE_SIZE,
    NX,
    PAT,
    PAT_LARGE,
    PRESENT,
    SHIFTS,
    SMALL_SIZE,
    USER,
    WRITE,
)
from toolchain.harness import Harness
from toolchain.watch import watch

_ROOT, _FRAME = 0x20000, 0x30000
_VA = 0xFFFF_8123_4567_8000
_PGE, _WP = 1 << 7, 1 << 16


@contract("page_choose_level", needs=("page_huge_allowed",))
def choose_level_alone(harness: Harness) -> None:
    """The largest page that both addresses and the length allow, and the CPU has."""
    step = Step(harness, "page_choose_level")
    high = 0xFFFF_8000_0000_0000
    for huge in (0, 1):
        step.put("page_huge_allowed", bytes((huge,)))
        for va, pa, length in (
            (high, 0, HUGE_SIZE), (high, 0, HUGE_SIZE - SMALL_SIZE), (high, LARGE_SIZE, HUGE_SIZE * 2),
            (high + LARGE_SIZE, HUGE_SIZE, HUGE_SIZE * 2), (high, 0, LARGE_SIZE), (high, 0, LARGE_SIZE - SMALL_SIZE),
            (high, SMALL_SIZE, HUGE_SIZE), (high + SMALL_SIZE, 0, HUGE_SIZE), (high, 0, SMALL_SIZE),
        ):  # fmt: skip
            fits = [
                (size, level)
                for size, level in ((HUGE_SIZE, 3), (LARGE_SIZE, 2), (SMALL_SIZE, 1))
                if not (va | pa) & (size - 1) and length >= size and (size < HUGE_SIZE or huge)
            ]
            want = {"rax": fits[0][1], "rcx": fits[0][0]}
            step.run("chooses another page size", want=want, rdi=va, rsi=pa, rdx=length)


@contract("page_fill_table")
def fill_table_alone(harness: Harness) -> None:
    """Entries one after the other, to the end of the range or of the table."""
    step = Step(harness, "page_fill_table")
    for first, pages, size in (
        (3, 5, SMALL_SIZE),
        (509, 9, LARGE_SIZE),
        (0, 600, SMALL_SIZE),
        (511, 1, HUGE_SIZE),
    ):
        step.put(BUFFER, bytes(0x2000))
        made = min(pages, 512 - first)
        given = {"rax": BUFFER + 8 * first, "rbx": 0x4000_0003, "r10": size, "r8": pages * size}
        want = {"rax": 0, "r8": (pages - made) * size}
        step.run("leaves another length to do", cf=False, want=want, **given)
        got = struct.unpack("<1024Q", harness.read(BUFFER, 0x2000))
        entries = [0x4000_0003 + size * n for n in range(made)]
        step.same(got[first : first + made], tuple(entries), "writes other entries", **given)
        step.expect(
            not any(got[:first] + got[first + made :]), step.routine, "writes beside the range", **given
        )
    step.put(BUFFER, struct.pack("<4Q", 0, 0, PRESENT, 0))
    given = {"rax": BUFFER, "rbx": 0x5003, "r10": SMALL_SIZE, "r8": 4 * SMALL_SIZE}
    step.run("overwrites an entry that is present", cf=True, want={"rax": EXISTS}, **given)
    step.same(harness.read_u64(BUFFER + 16), PRESENT, "overwrites an entry that is present")


@contract("page_check")
def check_alone(harness: Harness) -> None:
    """Canonical, aligned, within 52 bits, no flag that is none."""
    step = Step(harness, "page_check")
    every = WRITE | USER | 1 << 3 | 1 << 4 | PAT | GLOBAL | NX
    for mask in (SMALL_SIZE - 1, LARGE_SIZE - 1):
        for va, pa, flags, right in (
            (0, 0, 0, True), (_VA & ~(LARGE_SIZE - 1), 0x4000_0000, every, True),
            (0x7FFF_FFE0_0000, mask + 1, NX, True),
            ((1 << 47), 0, 0, False), (1 << 63, 0, 0, False), (0xFFFF_7FFF_FFE0_0000, 0, 0, False),
            (mask, 0, 0, False), (1, 0, 0, False), (0, mask, 0, False), (0, 1, 0, False), (mask - 0xFF, 0, 0, False),
            (0, 1 << 52, 0, False), (0, (1 << 52) - mask - 1, 0, True), (0, 1 << 63, 0, False),
            (0, mask + 1 >> 1, 0, False), (0, 0, PRESENT, False), (0, 0, 1 << 5, False), (0, 0, 1 << 12, False),
            (0, 0, 1 << 52, False),
        ):  # fmt: skip
            given = {"rdi": va, "rsi": pa, "rdx": flags, "rcx": mask}
            promise = (
                "refuses what can stand in an entry" if right else "accepts what cannot stand in an entry"
            )
            step.run(promise, cf=not right, want={"rax": 0 if right else INVALID}, **given)


@contract("page_size_mask")
def size_mask_alone(harness: Harness) -> None:
    """A page less one byte, at each level."""
    step = Step(harness, "page_size_mask")
    for level, size in ((1, SMALL_SIZE), (2, LARGE_SIZE), (3, HUGE_SIZE)):
        step.run("makes another mask", want={"rcx": size - 1}, rdx=level)


@contract("page_flags_large")
def flags_large_alone(harness: Harness) -> None:
    """Present and large; the PAT bit goes to bit 12."""
    step = Step(harness, "page_flags_large")
    for flags in (0, WRITE, NX | GLOBAL, PAT, PAT | WRITE | USER | 1 << 3 | 1 << 4 | NX):
        bits = flags & ~PAT | PRESENT | LARGE | (PAT_LARGE if flags & PAT else 0)
        step.run("makes other flags of a large page", want={"rdx": bits}, rdx=flags)


class _Tables(Step):
    """Empty tables, and frames from a counter that hold zeros."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.next = _FRAME
        self.left = 9
        self.put64("page_root", _ROOT)
        self.stand("frame_alloc_zeroed", answer=self._frame)

    def _frame(self) -> Mapping[str, int]:
        if not self.left:
            return {"rax": NO_MEMORY, "cf": 1}
        self.left -= 1
        self.next += SMALL_SIZE
        return {"rax": self.next - SMALL_SIZE, "cf": 0}

    def entry(self, at: int, value: int | None = None) -> int:
        """An entry at a physical address, read or written."""
        if value is not None:
            self.harness.write_u64(self.harness.direct_base + at, value)
        return self.harness.read_u64(self.harness.direct_base + at)

    def slot(self, table: int, va: int, level: int) -> int:
        """Where the entry of an address lies in a table."""
        return table + (va >> SHIFTS[4 - level] & 0x1FF) * 8


@contract("page_descend", needs=("page_root", "frame_alloc_zeroed"))
def descend_alone(harness: Harness) -> None:
    """Tables that lack are made, present and writable; user access is granted on the way and nowhere else."""
    for target, flags in ((1, 0), (2, USER | WRITE), (3, 0)):
        harness.renew()
        step = _Tables(harness, "page_descend")
        result = step.run("fails on empty tables", cf=False, rdi=_VA, rsi=target, rdx=flags)
        table = _ROOT
        for level in range(4, target, -1):
            made = _FRAME + (4 - level) * SMALL_SIZE
            right = made | PRESENT | WRITE | flags & USER
            step.same(
                step.entry(step.slot(table, _VA, level)), right, "makes another entry of a table", level=level
            )
            table = made
        at = harness.direct_base + step.slot(table, _VA, target)
        step.same(result.registers["rax"], at, "leads to another entry", rsi=target)
        step.run(
            "does not take the tables that are there", cf=False, want={"rax": at}, rdi=_VA, rsi=target, rdx=0
        )
        step.same(step.left, 9 - (4 - target), "makes tables that are there already", rsi=target)
        step.same(
            step.entry(step.slot(_ROOT, _VA, 4)) & USER, flags & USER, "takes user access away", rsi=target
        )
    harness.renew()
    step = _Tables(harness, "page_descend")
    step.left = 1
    step.run("goes on without memory", cf=True, want={"rax": NO_MEMORY}, rdi=_VA, rsi=1, rdx=0)
    step.same(step.entry(step.slot(_FRAME, _VA, 3)), 0, "writes an entry for a table that it did not get")
    step.entry(step.slot(_FRAME, _VA, 3), 0x4000_0000 | PRESENT | LARGE)
    step.run("goes through a large page", cf=True, want={"rax": EXISTS}, rdi=_VA, rsi=1, rdx=0)


@contract("page_drop_empty", needs=("frame_free",))
def drop_empty_alone(harness: Harness) -> None:
    """A table of absent pages is given back; one page in it, wherever, keeps it."""
    step = Step(harness, "page_drop_empty")
    step.stand("frame_free", "rdi", answer={"rax": 0, "cf": 0})
    table, entry = harness.direct_base + _FRAME, harness.direct_base + _ROOT + 0x88

    def given(value: int) -> Mapping[str, int]:
        harness.write_u64(entry, value)
        return {"rax": entry, "rdi": _VA & -LARGE_SIZE}

    step.run("refuses an empty entry", cf=False, want={"rax": entry}, **given(0))
    step.run("takes out a large page", cf=True, want={"rax": EXISTS}, **given(0x20_0000 | PRESENT | LARGE))
    for place in (0, 1, 300, 511):
        harness.write_u64(table + 8 * place, 0x7000 | PRESENT)
        step.run(
            "takes out a table with a page", cf=True, want={"rax": EXISTS}, **given(_FRAME | PRESENT | WRITE)
        )
        step.were([], "gives a table with a page back", place=place)
        harness.write_u64(table + 8 * place, 0x7000 & ~PRESENT)
    step.run(
        "keeps a table of absent pages", cf=False, want={"rax": entry}, **given(_FRAME | PRESENT | WRITE)
    )
    step.same(harness.read_u64(entry), 0, "leaves the entry of a table that it gives back")
    step.were([("frame_free", _FRAME)], "gives back another frame than the table")


# --- the kernel's own address space -------------------------------------------------------------------------


@contract("space_map_image", needs=("page_map_range",))
def map_image_alone(harness: Harness) -> None:
    """Each section of the image with the rights of its kind, whole pages, each once."""
    step = Step(harness, "space_map_image")
    step.stand("page_map_range", "rdi", "rsi", "rdx", "rcx", answer={"rax": 0, "cf": 0})
    step.run("fails", cf=False)
    offset = max(s.address - s.physical for s in harness.image.sections)
    wanted = {}
    for section in harness.image.sections:
        if section.address - section.physical == offset and section.size:
            rights = GLOBAL | (0 if "x" in section.flags else NX) | (WRITE if "w" in section.flags else 0)
            wanted[section.address] = (section.physical, -(-section.size // SMALL_SIZE) * SMALL_SIZE, rights)
    got = {int(a[1]): tuple(int(v) for v in a[2:]) for a in step.asked}
    for address, expected in wanted.items():
        step.expect(address in got, step.routine, "leaves a section unmapped", va=address)
        for name, value, right in zip(("pa", "length", "flags"), got[address], expected, strict=True):
            promise = f"maps a section with another {name}"
            step.equal(value, right, step.routine, promise, va=address, place=_table(step))
    step.same(len(step.asked), len(wanted), "maps what is no section")
    step.stand_fails("page_map_range", NO_MEMORY)
    step.run("goes on after a failure", cf=True, want={"rax": NO_MEMORY})
    step.same(len(step.asked), 1, "goes on after a failure")


def _table(step: Step) -> str:
    return step.source("section_map")


@contract("space_map_direct", needs=("page_map_range",))
def map_direct_alone(harness: Harness) -> None:
    """A range of RAM at its place in the direct map."""
    step = Step(harness, "space_map_direct")
    step.stand("page_map_range", "rdi", "rsi", "rdx", "rcx", answer={"rax": 0, "cf": 0})
    for first, end in ((0, 0x1000), (0x20_0000, 0x4000_0000)):
        given = {"rsi": first, "rdx": end, "rcx": NX | WRITE}
        step.run("fails", cf=False, want=None, **given)
        expected = ("page_map_range", harness.direct_base + first, first, end - first, NX | WRITE)
        step.were([expected], "maps another range", **given)


@contract("space_map_ram", needs=("space_map_direct", "memory_ram"))
def map_ram_alone(harness: Harness) -> None:
    """All RAM; what is read-only in the image is so in the direct map, and nothing else is."""
    step = Step(harness, "space_map_ram")
    step.stand("space_map_direct", "rsi", "rdx", "rcx", answer={"rax": 0, "cf": 0})
    sections = sorted((s for s in harness.image.sections if s.size), key=lambda s: s.physical)
    first = sections[0].physical & -SMALL_SIZE
    late = [s for s in sections if "w" in s.flags and s.address != s.physical]
    data = late[0].physical
    for rows in (
        ((0x1000, 0x9F000), (0x10_0000, 0x800_0000), (1 << 32, 5 << 30)), ((0x1000, 0x4000_0000),),
        ((first, data + SMALL_SIZE),),
    ):  # fmt: skip
        values = [value for row in rows for value in row]
        step.put(step.at("memory_ram"), struct.pack("<Q", len(rows)))
        step.put(step.at("memory_ram", 24), struct.pack(f"<{len(values)}Q", *values))
        step.run("fails", cf=False)
        expected: list[tuple[str | int, ...]] = []
        for low, high in rows:
            cuts = sorted({low, high, *(cut for cut in (first, data) if low < cut < high)})
            for begin, end in pairwise(cuts):
                rights = GLOBAL | NX | (0 if first <= begin < data else WRITE)
                expected.append(("space_map_direct", begin, end, rights))
        got = [row for row in step.asked if row[1] != row[2]]
        step.same(got, expected, "maps RAM with other ranges or rights")


@contract("space_guard_stacks", needs=("page_guard", "boot_stack_bottom", "ist_stack_tops"))
def guard_stacks_alone(harness: Harness) -> None:
    """The page below every stack is unmapped, and no page of one."""
    step = Step(harness, "space_guard_stacks")
    step.stand("page_guard", "rdi", answer={"rax": 0, "cf": 0})
    step.run("fails", cf=False)
    got = sorted(int(row[1]) for row in step.asked)
    bottom = step.at("boot_stack_bottom")
    tops = struct.unpack("<4Q", harness.read(step.at("ist_stack_tops"), 32))
    where = {"place": step.source("stack_guards")}
    step.expect(bottom - SMALL_SIZE in got, step.routine, "leaves the boot stack without a guard", **where)
    step.equal(len(got), len(set(got)), step.routine, "guards one page twice", **where)
    step.equal(len(got), 1 + len(tops), step.routine, "guards another number of stacks", **where)
    nearest = [max((page for page in got if page < top), default=top) for top in tops]
    step.equal(
        len({bottom - SMALL_SIZE, *nearest}), 1 + len(tops), step.routine, "leaves a stack unguarded", **where
    )
    for top, guard in zip(tops, nearest, strict=True):
        step.expect(top - guard > SMALL_SIZE, step.routine, "leaves a stack no page of its own", **where)
    step.stand_fails("page_guard", NO_MEMORY)
    step.run("goes on after a failure", cf=True, want={"rax": NO_MEMORY})


@contract("space_enter", needs=("page_root",))
def enter_alone(harness: Harness) -> None:
    """Global pages are off while CR3 changes, and on after; read-only pages bind the kernel."""
    step = Step(harness, "space_enter")
    step.put64("page_root", _ROOT)
    events = watch(harness, ("space_enter",))
    for global_pages in (0, _PGE):
        events.clear()
        harness.set("cr4", harness.get("cr4") & ~_PGE | global_pages)
        step.run("fails")
        kinds = [event.kind for event in events]
        step.expect("cr3" in kinds, step.routine, "does not load CR3")
        at = kinds.index("cr3")
        step.equal(events[at].value, _ROOT, step.routine, "loads CR3 with another table")
        before = [event.value for event in events[:at] if event.kind == "cr4"] or [global_pages]
        promise = "keeps global translations over the change of CR3"
        step.expect(not before[-1] & _PGE, step.routine, promise)
        after = [event.value for event in events[at:] if event.kind == "cr4"] or before
        step.expect(bool(after[-1] & _PGE), step.routine, "leaves global pages off")
        cr0 = [event.value for event in events if event.kind == "cr0"]
        written = bool(cr0) and bool(cr0[-1] & _WP)
        step.expect(written, step.routine, "lets the kernel write to read-only pages")


@contract("space_count_ram", needs=("memory_ram",))
def count_ram_alone(harness: Harness) -> None:
    """The sum of all rows."""
    step = Step(harness, "space_count_ram")
    rows = ((0x1000, 0x9F000), (0x10_0000, 0x800_0000), (1 << 32, 5 << 30))
    step.put("memory_ram", struct.pack("<Q", 3))
    step.put(step.at("memory_ram", 24), struct.pack("<6Q", *(value for row in rows for value in row)))
    step.run("counts other bytes", want={"rax": sum(end - first for first, end in rows)})
