"""Registers of devices in memory: which ranges may be mapped, and what lies there; each routine alone.

Intel SDM vol. 3, 11.12.3 (PAT:PCD:PWT chooses the memory type: 11b is UC, 01b WC here), 10.4.4 (IA32_APIC_BASE holds
bits 35 and up); PCI Express 5.0, 7.2.2 (a bus has 1 MB of ECAM). The mailbox: CMD, STATUS, RESP, DOORBELL.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import EXISTS, INVALID, MALFORMED, NOT_FOUND
from architect.contracts.steps import BUFFER, Step
from architect.contracts.tables import (
    ACCESSED,
    CACHE_DISABLE,
    DIRTY,
    GLOBAL,
    LARGE,
    LARGE_SIZE,
    NX,
    PAT,
    PRESENT,
    UNCACHEABLE,
    WRITE,
    WRITE_THROUGH,
)
from toolchain.harness import Harness
from toolchain.watch import answer_rdmsr, watch

_MB = 1 << 20
_PAGE = 0x1000
_COMBINING = WRITE_THROUGH
_FLAGS = WRITE | NX | GLOBAL


@contract("mmio_check", needs=("ranges_overlap", "memory_ram"))
def mmio_check_alone(harness: Harness) -> None:
    """Uncacheable or write-combining, not page 0, not RAM, within the lower half."""
    step = Step(harness, "mmio_check")
    ram = (_MB, 0x800_0000)

    def overlap(place: int, first: int, end: int) -> Mapping[str, int]:
        step.expect(place == step.at("memory_ram"), step.routine, "looks at another set than RAM's")
        return {"rax": 0, "cf": int(not (first < ram[1] and end > ram[0]))}

    step.stand("ranges_overlap", "rdi", "rsi", "rdx", answer=overlap)
    device = 0xFD00_0000
    for pa, length, kind, right in (
        (device, _PAGE, UNCACHEABLE, True), (device, 1, _COMBINING, True), (_PAGE, _PAGE, UNCACHEABLE, True),
        (device, _PAGE, 0, False), (device, _PAGE, CACHE_DISABLE, False), (device, _PAGE, PAT, False),
        (device, _PAGE, UNCACHEABLE | PAT, False), (0, _PAGE, UNCACHEABLE, False),
        (_PAGE - 1, _PAGE, UNCACHEABLE, False),
        (device, 0, UNCACHEABLE, False), (_MB - 4, 8, UNCACHEABLE, False), (ram[1], _PAGE, UNCACHEABLE, True),
        (ram[1] - 1, _PAGE, UNCACHEABLE, False), (0xA_0000, 0x2_0000, UNCACHEABLE, True),
        ((1 << 64) - _PAGE, 2 * _PAGE, UNCACHEABLE, False), (1 << 47, _PAGE, UNCACHEABLE, False),
        ((1 << 46) - _PAGE, 2 * _PAGE, UNCACHEABLE, False), (1 << 46, _PAGE, UNCACHEABLE, False),
        ((1 << 46) - _PAGE, _PAGE, UNCACHEABLE, True), (1 << 39, _PAGE, UNCACHEABLE, True),
        ((1 << 39) - _PAGE, 2 * _PAGE, UNCACHEABLE, False), ((1 << 39) - _PAGE, _PAGE, UNCACHEABLE, True),
    ):  # fmt: skip
        promise = "refuses what may be mapped" if right else "accepts what must not be mapped"
        step.run(promise, cf=not right, want={"rax": 0 if right else INVALID}, rdi=pa, rsi=length, rdx=kind)


@contract("mmio_is_same", needs=("page_walk", "page_flags_large"))
def mmio_is_same_alone(harness: Harness) -> None:
    """The same address with the same rights and type, in a page of any size, whatever the CPU noted there."""
    step = Step(harness, "mmio_is_same")
    walked: dict[str, int] = {}
    step.stand("page_walk", "rdi", answer=lambda va: walked)
    step.stand("page_flags_large", "rdx", answer=lambda flags: {"rdx": flags | PRESENT | LARGE})
    flags, pa = _FLAGS | UNCACHEABLE, 0xFD00_3000
    large = pa & -LARGE_SIZE | flags | PRESENT | LARGE
    for entry, level, present, right in (
        (pa | flags | PRESENT, 1, True, True), (pa | flags | PRESENT | ACCESSED, 1, True, True),
        (pa | flags | PRESENT | DIRTY | ACCESSED, 1, True, True), (pa | flags | PRESENT | DIRTY, 1, True, True),
        (pa | flags | PRESENT, 1, False, False), (pa + _PAGE | flags | PRESENT, 1, True, False),
        (pa | _FLAGS | _COMBINING | PRESENT, 1, True, False), (pa | flags & ~NX | PRESENT, 1, True, False),
        (pa | flags & ~WRITE | PRESENT, 1, True, False), (large, 2, True, True), (large | DIRTY, 2, True, True),
        (large + LARGE_SIZE, 2, True, False), (large & ~GLOBAL, 2, True, False),
    ):  # fmt: skip
        step.put(BUFFER, struct.pack("<Q", entry))
        walked.update(rax=BUFFER, rdx=level, cf=int(not present))
        given = {"rdi": pa, "rsi": pa, "rdx": flags, "rbx": entry}
        promise = "takes a page for another" if right else "takes another page for the same"
        step.run(promise, cf=not right, want={"rax": 0 if right else EXISTS}, **given)


@contract("ecam_open", needs=("ecam_base", "ecam_bus_first", "ecam_bus_last", "ecam_physical"))
def ecam_open_alone(harness: Harness) -> None:
    """A window on a megabyte, of buses that can be; what is refused changes nothing."""
    step = Step(harness, "ecam_open")
    kept: tuple[int, ...] = (0, 0, 0)
    for base, first, last, right in (
        (0xB000_0000, 0, 255, True), (0x5_E010_0000, 2, 2, True), (0xB000_1000, 0, 255, False), (0, 0, 255, False),
        (0xB000_0000, 3, 2, False), (0xB000_0000, 0, 256, False), (0xB008_0000, 0, 1, False),
        (0xB000_0000, 0, 0, True),
    ):  # fmt: skip
        given = {"rdi": base, "rsi": first, "rdx": last}
        step.run("is wrong about a window", cf=not right, want={"rax": 0 if right else MALFORMED}, **given)
        kept = (base, first, last) if right else kept
        got = (step.get64("ecam_physical"), step.get32("ecam_bus_first"), step.get32("ecam_bus_last"))
        step.same(got, kept, "keeps another window", **given)


@contract(
    "ecam_map_bus", needs=("mmio_map", "ecam_mapped", "ecam_bus_first", "ecam_bus_last", "ecam_physical")
)
def ecam_map_bus_alone(harness: Harness) -> None:
    """Whole buses of the window, uncacheable, each once; a bus beside it is not there."""
    step = Step(harness, "ecam_map_bus")
    for base, bus in (
        (0xB000_0000, 2),
        (0xB000_0000, 3),
        (0xB000_0000, 9),
        (0xB010_0000, 4),
        (0xB000_0000, 10),
    ):
        harness.renew()
        step = Step(harness, "ecam_map_bus")
        step.stand("mmio_map", "rdi", "rsi", "rdx", answer={"rax": base, "cf": 0})
        step.put64("ecam_physical", base)
        step.put32("ecam_bus_first", 3 if bus == 3 else 2)
        step.put32("ecam_bus_last", 10)
        given = {"rdi": bus, "rbx": base & 0xFFFF_FFFF}
        step.run("refuses a bus of the window", cf=False, **given)
        step.expect(len(step.asked) == 1, step.routine, "maps a bus more than once, or not", **given)
        _, pa, length, kind = (int(v) if v != "mmio_map" else 0 for v in step.asked[0])
        first, last = 3 if bus == 3 else 2, 10
        whole = not (pa - base) % _MB and not length % _MB and pa <= base + bus * _MB < pa + length
        step.expect(whole, step.routine, "maps something else than the bus", pa=pa, length=length, **given)
        inside = base + first * _MB <= pa and pa + length <= base + (last + 1) * _MB
        step.expect(inside, step.routine, "maps what lies beside the window", pa=pa, length=length, **given)
        step.equal(kind, UNCACHEABLE, step.routine, "maps registers with another memory type", **given)
        step.run("does not know a bus that it has mapped", cf=False, **given)
        step.same(step.asked, [], "maps a bus again", **given)
        marked = int.from_bytes(harness.read(step.at("ecam_mapped"), 32), "little")
        buses = sum(1 << (pa - base) // _MB + n for n in range(length // _MB))
        step.same(marked, buses, "notes other buses as mapped", **given)
    for bus in (1, 11, 255):
        step.run("maps a bus that is not in the window", cf=True, want={"rax": NOT_FOUND}, rdi=bus)


@contract("mailbox_check")
def mailbox_check_alone(harness: Harness) -> None:
    """All four registers as they were set."""
    step = Step(harness, "mailbox_check")
    for values, right in (
        ((0, 1, 0, 0), True), ((1, 1, 0, 0), False), ((0, 0, 0, 0), False), ((0, 3, 0, 0), False), ((0, 1, 1, 0),
        False),
        ((0, 1, 0, 1), False), ((0xFFFF_FFFF,) * 4, False), ((0, 1, 0, 1 << 31), False),
    ):  # fmt: skip
        step.put(BUFFER, struct.pack("<4I", *values))
        given = {"rdi": BUFFER, "rbx": sum(values)}
        step.run("is wrong about the registers", cf=not right, want={"rax": 0 if right else INVALID}, **given)


@contract("lapic_enable", "lapic_init", needs=("lapic_init", "mmio_map", "unit_note", "unit_note_text"))
def lapic_high_alone(harness: Harness) -> None:
    """Registers above 4 GB are mapped where they are."""
    step = Step(harness, "lapic_init")
    base = 0x12_3456_7000
    step.stand("mmio_map", "rdi", "rsi", "edx", answer={"rax": BUFFER, "cf": 0})
    step.stand("unit_note", "rdi", "rsi")
    step.stand("unit_note_text", "rdi", "rsi")
    step.put(BUFFER + 0x20, struct.pack("<I", 0x0700_0000))
    step.put(BUFFER + 0x360, struct.pack("<I", 0x1_0000))
    harness.cpuid = lambda leaf, subleaf: (1, 0, 0, 0xFFFF_FFFF)
    answer_rdmsr(harness, lambda number: base | 1 << 11 | 1 << 8)
    watch(harness, ("lapic_enable",))
    step.run("fails", want={"rax": 0}, rdi=BUFFER)
    calls = [call for call in step.asked if call[0] == "mmio_map"]
    step.routine = "lapic_enable"
    step.same(calls, [("mmio_map", base, _PAGE, UNCACHEABLE)], "maps its registers in another way")
    spurious, lint1 = harness.read_u32(BUFFER + 0xF0), harness.read_u32(BUFFER + 0x360)
    step.expect(bool(spurious & 1 << 8), step.routine, "leaves the APIC switched off", got=spurious)
    step.expect(lint1 >> 8 & 7 == 4 and not lint1 & 1 << 16, step.routine, "keeps NMIs out", got=lint1)
