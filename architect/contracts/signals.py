"""How devices reach a CPU: lines through an I/O APIC, messages by MSI and MSI-X.

82093AA, 3.2.4 (redirection table); ACPI 6.5, 5.2.12.5 (polarity and trigger); PCI Local Bus 3.0, 6.8; Intel SDM vol. 3,
10.11 (address and data of a message).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, NOT_FOUND, UNSUPPORTED
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness

_ISA_LINES, _MASKED = 16, 1 << 16
_APIC_ID = 0x0C  # of the per-CPU block
_EXTERNAL = 0xFED0_0000  # where no kernel has anything


def _line(flags: int) -> int | None:
    """Bits 13 and 15 of a redirection entry, or None for what is reserved (table 5.26)."""
    polarity, trigger = flags & 3, flags >> 2 & 3
    return None if 2 in (polarity, trigger) else (polarity == 3) << 13 | (trigger == 3) << 15


@contract("ioapic_compose")
def redirection_entries(harness: Harness) -> None:
    """Every polarity and trigger, every kind of vector and destination."""
    step = Step(harness, "ioapic_compose")
    for flags in range(16):
        for vector in (0, 31, 32, 0x30, 0xFF, 256):
            for target in (0, 7, 0xFF, 0x100):
                line = _line(flags)
                entry = (
                    None
                    if line is None or not 32 <= vector <= 255 or target > 255
                    else vector | line | target << 56
                )
                given = {"rdi": vector, "rsi": flags | 0xF0, "rdx": target}
                want = {"rax": INVALID if entry is None else entry}
                step.run("composes another entry", cf=entry is None, want=want, **given)


class _Ioapic:
    """An I/O APIC behind its two registers; notes whether an entry was ever unmasked while half written."""

    def __init__(self, lines: int) -> None:
        self.index = 0
        self.registers = {1: (lines - 1) << 16 | 0x20}
        self.half = False

    def read(self, offset: int, size: int) -> int:
        return self.index if offset < 4 else self.registers.get(self.index, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset < 4:
            self.index = value
            return
        low = self.registers.get(self.index & ~1, _MASKED)
        self.half |= self.index >= 0x10 and bool(self.index & 1) and not low & _MASKED
        self.registers[self.index] = value


@contract("ioapic_write_entry", "ioapic_read_entry", "ioapic_open", needs=("mmio_map", "ioapic_lock"))
def ioapic_registers(harness: Harness) -> None:
    """Entries are written whole, masked meanwhile; an I/O APIC that is opened has all its lines masked."""
    chip = _Ioapic(24)
    harness.window(_EXTERNAL, 0x1000, chip.read, chip.write)
    step = Step(harness, "ioapic_write_entry")
    for line, old in ((0, 0x0700_0000_0000_0031), (23, _MASKED), (2, 0xA030)):
        chip.registers.update({0x10 + 2 * line: old & 0xFFFF_FFFF, 0x11 + 2 * line: old >> 32})
        entry = 0x1200_0000_0000_A040 + line
        step.routine = "ioapic_write_entry"
        step.run("fails", rdi=_EXTERNAL, rsi=line, rdx=entry)
        got = chip.registers[0x10 + 2 * line] | chip.registers[0x11 + 2 * line] << 32
        step.equal(got, entry, step.routine, "writes another entry", line=line)
        step.expect(
            not chip.half, step.routine, "leaves an entry unmasked while it is half written", line=line
        )
        lock = struct.unpack("<II", step.read(step.at("ioapic_lock"), 8, step.routine))
        step.expect(lock[0] == lock[1] != 0, step.routine, "does not write under the lock", line=line)
        step.routine = "ioapic_read_entry"
        step.run("reads another entry", want={"eax": entry & 0xFFFF_FFFF}, rdi=_EXTERNAL, rsi=line)
    step = Step(harness, "ioapic_open")
    step.stand("mmio_map", "rdi", "rsi", "edx", answer={"rax": _EXTERNAL, "cf": 0})
    for lines, kept in ((24, 24), (240, 240), (1, 1), (256, 0)):
        chip.registers = {1: (lines - 1) << 16 | 0x20}
        step.put(BUFFER, struct.pack("<QII", 0xFEC0_0000, 0, 0))
        step.run("fails", rdi=BUFFER, rbx=lines)
        base, _, count = struct.unpack("<QII", step.read(BUFFER, 16, step.routine))
        step.same((base, count), (_EXTERNAL, kept), "keeps something else", lines=lines)
        masked = [n for n in range(lines) if chip.registers.get(0x10 + 2 * n, 0) & _MASKED]
        step.same(masked, list(range(kept)), "leaves lines unmasked", lines=lines)
    step.stand_fails("mmio_map", INVALID)
    step.put(BUFFER, struct.pack("<QII", 0xFEC0_0000, 0, 0))
    step.run("fails", rdi=BUFFER)
    step.equal(harness.read_u32(BUFFER + 12), 0, step.routine, "uses what is not mapped")


@contract(
    "ioapic_find", "irq_install", "irq_remove", "irq_set_mask", needs=("madt_ioapics", "madt_overrides")
)
def irq_lines(harness: Harness) -> None:
    """A line leads to the I/O APIC that firmware says, with its flags, to the CPU that asks; or is refused."""
    step = Step(harness, "irq_install")
    rows = ((0xFEC0_0000, 0, 24), (0xFEC1_0000, 24, 8), (0xFEC2_0000, 40, 0))
    step.put("madt_ioapics", b"".join(struct.pack("<QII", *row) for row in rows))
    step.put32("madt_ioapic_count", len(rows))
    lines = [(n, 0) for n in range(_ISA_LINES)]
    lines[0], lines[5], lines[9], lines[14], lines[15] = (2, 0), (30, 0xF), (9, 0xD), (33, 0), (40, 0)
    step.put("madt_overrides", b"".join(struct.pack("<II", *line) for line in lines))
    harness.write(PERCPU_PAGE + _APIC_ID, struct.pack("<I", 5))
    step.stand("interrupt_allocate", "rdi", "rsi", answer={"rax": 0x41, "cf": 0})
    step.stand("ioapic_write_entry", "rdi", "esi", "rdx", answer={})
    step.stand("ioapic_read_entry", "rdi", "esi", answer={"rax": 0x1_A041})
    step.stand("interrupt_remove", "edi", answer={})
    for irq in (*range(_ISA_LINES), 16, 200):
        given = {"rdi": irq, "rsi": 0x1234_5678_9ABC, "rdx": 0x77}
        home = None
        if irq < _ISA_LINES:
            gsi, flags = lines[irq]
            home = next(
                ((base, gsi - first) for base, first, count in rows if first <= gsi < first + count), None
            )
        error = INVALID if irq >= _ISA_LINES else NOT_FOUND
        want = {"eax": 0x41 if home else error}
        step.routine = "irq_install"
        step.run("leads a line elsewhere, or refuses it", cf=home is None, want=want, **given)
        if home:
            entry = 0x41 | (_line(flags) or 0) | 5 << 56
            expected = [("interrupt_allocate", 0x1234_5678_9ABC, 0x77), ("ioapic_write_entry", *home, entry)]
            step.were(expected, "does something else", irq=irq)
            _masks(step, irq, home)
        else:
            step.were([], "uses a line that is not there", irq=irq)
    step.put("madt_overrides", struct.pack("<II", 2, 2))
    step.routine = "irq_install"
    step.run("takes reserved flags", cf=1, want={"eax": INVALID}, rdi=0, rsi=0x1234, rdx=0)
    step.equal(
        str(step.asked[-1]), str(("interrupt_remove", 0x41)), step.routine, "keeps the vector of a refusal"
    )
    step.stand_says("interrupt_allocate", {"rax": FULL, "cf": 1})
    step.run("succeeds without a vector", cf=1, want={"eax": FULL}, rdi=4, rsi=0x1234, rdx=0)


def _masks(step: Step, irq: int, home: tuple[int, int]) -> None:
    entry = 0xA041 | 5 << 56
    step.routine = "irq_set_mask"
    for masked in (0, 1):
        step.run("fails", cf=0, want={"eax": 0x41}, rdi=irq, rsi=masked)
        wrote = ("ioapic_write_entry", *home, entry | masked << 16)
        step.same(step.asked[-1], wrote, "writes another entry", irq=irq, masked=masked)
    step.routine = "irq_remove"
    step.run("fails", rdi=irq)
    step.same(step.asked[-1], ("interrupt_remove", 0x41), "leaves the handler", irq=irq)
    step.same(step.asked[-2], ("ioapic_write_entry", *home, entry | _MASKED), "leaves the line open", irq=irq)


def _config(step: Step, capability: int, at: int) -> dict[int, int]:
    """Configuration space of one function behind the access routines."""
    space: dict[int, int] = {}

    def read(bdf: int, offset: int) -> Mapping[str, int]:
        return {"rax": space.get(offset, 0), "cf": 0}

    def write(bdf: int, offset: int, value: int) -> Mapping[str, int]:
        space[offset] = value
        return {"cf": 0}

    def find(bdf: int, wanted: int) -> Mapping[str, int]:
        return {"rax": at, "cf": 0} if wanted == capability else {"cf": 1}

    step.stand("pci_read32", "edi", "esi", answer=read)
    step.stand("pci_write32", "edi", "esi", "edx", answer=write)
    step.stand("pci_find_capability", "edi", "esi", answer=find)
    step.stand("pci_enable", "rdi", "esi", answer={})
    step.stand("interrupt_allocate", "rdi", "rsi", answer={"rax": 0x45, "cf": 0})
    return space


_ROW_AT = BUFFER + 0x2000


def _row(bars: int, slots: tuple[tuple[int, int, int], ...]) -> bytes:
    """A row of pci_table: bdf 0x18; slots of flags, base, length."""
    flags = bytes(flag for flag, _, _ in slots).ljust(6, b"\0")
    places = b"".join(struct.pack("<QQ", base, length) for _, base, length in slots)
    return (
        struct.pack("<HBBHHIIBB", 0x18, 0, bars, 0x1234, 0x11E8, 0, 0, 0, 0) + flags + places.ljust(96, b"\0")
    )


@contract("msi_install", "msi_write", "msi_address", needs=("pci_find_capability", "pci_enable"))
def msi_capability(harness: Harness) -> None:
    """Each form of the capability: address, data, mask, one vector, and on only when all is written."""
    step = Step(harness, "msi_install")
    space = _config(step, 5, 0x50)
    step.put(_ROW_AT, _row(1, ((0, 0xFE00_0000, 0x1000),)))
    for wide, maskable, apic in ((0, 0, 0), (1, 0, 3), (0, 1, 0xFF), (1, 1, 1)):
        harness.write(PERCPU_PAGE + _APIC_ID, struct.pack("<I", apic))
        space.clear()
        space.update(
            {0x50: wide << 23 | maskable << 24 | 0x0005 | 5 << 20 | 1 << 17, 0x50 + 12 + 4 * wide: 1}
        )
        step.run("fails", cf=0, want={"eax": 0x45}, rdi=_ROW_AT, rsi=0x9000, rdx=7)
        data = 0x50 + 8 + 4 * wide
        want = {0x50: wide << 23 | maskable << 24 | 0x0005 | 1 << 16 | 1 << 17, 0x54: 0xFEE0_0000 | apic << 12,
                data: 0x45, data + 4: 0 if maskable else 1, **({0x58: 0} if wide else {})}  # fmt: skip
        step.same(space, want, "writes another capability", wide=wide, maskable=maskable)
        wrote = [call[2:] for call in step.asked if call[0] == "pci_write32"]
        early = [value for offset, value in wrote[:-1] if offset == 0x50 and int(value) & 1 << 16]
        step.expect(not early and wrote[-1][0] == 0x50, step.routine, "switches it on before all is written")
        enabled = [call for call in step.asked if call[0] == "pci_enable"]
        step.same(enabled, [("pci_enable", _ROW_AT, 0x404)], "does not let the device write messages")
    harness.write(PERCPU_PAGE + _APIC_ID, struct.pack("<I", 0x100))
    step.run("aims at a CPU that it cannot reach", cf=1, want={"eax": UNSUPPORTED}, rdi=_ROW_AT, rsi=1)
    step.stand_says("pci_find_capability", {"cf": 1})
    step.run("uses MSI that is not there", cf=1, want={"eax": UNSUPPORTED}, rdi=_ROW_AT, rsi=1)


@contract("msix_entry", "msix_install", needs=("pci_find_capability", "pci_enable", "mmio_map"))
def msix_table(harness: Harness) -> None:
    """The table lies whole in a memory BAR with a place, or is refused; an entry is masked while it is written."""
    step = Step(harness, "msix_entry")
    space = _config(step, 0x11, 0x60)
    step.stand(
        "mmio_map",
        "rdi",
        "rsi",
        "edx",
        answer=lambda pa, length, kind: {"rax": BUFFER + pa % 0x1000, "cf": 0},
    )
    slots = (
        (0, 0xFE00_0000, 0x1000),
        (1, 0xC000, 0x1000),
        (0, 0, 0x1000),
        (4, 0x10_0000_0000, 0x2000),
        (0, 0xFD00_0000, 0x1000),
    )
    step.put(_ROW_AT, _row(4, slots))
    for last, bar, offset, entry, error in (
        (7, 0, 0x800, 0, 0), (7, 0, 0x800, 7, 0), (7, 0, 0x800, 8, INVALID), (7, 0, 0xF80, 3, 0),
        (7, 0, 0xF88, 3, 6), (2047, 3, 0, 5, 6), (127, 3, 0x1800, 100, 0), (7, 1, 0, 0, 6), (7, 2, 0, 0, 6),
        (7, 4, 0, 0, 6), (7, 7, 0, 0, 6),
    ):  # fmt: skip
        space.update({0x60: last << 16 | 0x11, 0x64: offset | bar})
        given = {"rdi": _ROW_AT, "rsi": entry, "rbx": last << 16 | offset | bar}
        want = {"rax": error or BUFFER + offset % 0x1000 + 16 * entry}
        step.run("finds another entry, or refuses it", cf=bool(error), want=want, **given)
        maps = [call[1:] for call in step.asked if call[0] == "mmio_map"]
        right = [(slots[bar][1] + offset, 16 * (last + 1), 0x18)] if not error else []
        step.same(maps, right, "maps another table", **given)
    step.routine = "msix_install"
    space.update({0x60: 1 << 30 | 7 << 16 | 0x11, 0x64: 0x800})
    harness.write(PERCPU_PAGE + _APIC_ID, struct.pack("<I", 6))
    step.put(BUFFER + 0x830, b"\xee" * 16)
    step.run("fails", cf=0, want={"eax": 0x45}, rdi=_ROW_AT, rsi=3, rdx=0x9000, rcx=7)
    written = struct.unpack("<4I", step.read(BUFFER + 0x830, 16, step.routine))
    step.same(written, (0xFEE0_6000, 0, 0x45, 0), "writes another entry")
    step.equal(space[0x60], 1 << 31 | 7 << 16 | 0x11, step.routine, "does not switch MSI-X on, unmasked")
    step.stand_says("pci_find_capability", {"cf": 1})
    step.run("uses MSI-X that is not there", cf=1, want={"eax": UNSUPPORTED}, rdi=_ROW_AT, rsi=0, rdx=1)
