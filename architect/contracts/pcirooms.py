"""Room for PCI functions, and the way to them: each routine alone.

PCI Local Bus 3.0, 6.2.5.1 (a BAR lies on a multiple of its size); PCI-to-PCI Bridge 1.2, 3.2.5 (windows); PCI Firmware
3.3, 4.1.2 (MCFG). The limits (ceilings, floors) are those of ``include/pci.inc``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from architect.contracts import contract
from architect.contracts.acpi import table as acpi_table
from architect.contracts.memorysteps import pack_set
from architect.contracts.pcihost import COMMAND, ONES
from architect.contracts.pcisteps import Registers, row, table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_IO, _WIDE = 1, 4
_MB = 1 << 20
_CEILING, _HIGH = 0xFE00_0000, 1 << 32
_IO_FLOOR, _IO_CEILING = 0xC000, 0x1_0000


# --- room ---------------------------------------------------------------------------------------------------


@contract("pci_limits", needs=("pci_bridge_to", "pci_root_floor", "pci_floor", "pci_ceiling"))
def limits_alone(harness: Harness) -> None:
    """The root bus from the end of RAM to the chipset, other buses in the window of their bridge."""
    step = Step(harness, "pci_limits")
    step.stand("pci_bridge_to", "edi", answer={"rax": BUFFER, "cf": 0})
    step.stand("pci_root_floor", answer={"rax": 0x800_0000})
    step.put(BUFFER, row(8, layout=1, slots={2: (0xD000, 0x2000), 3: (0xFD00_0000, 4 * _MB)}))

    def check(bus: int, kind: int, floor: int, ceiling: int) -> None:
        step.run("fails", rdi=bus, rsi=kind)
        got = (step.get64("pci_floor"), step.get64("pci_ceiling"))
        step.same(got, (floor, ceiling), "sets other limits", rdi=bus, rsi=kind)

    check(0, 0, 0x800_0000, _CEILING)
    check(0, _IO, _IO_FLOOR, _IO_CEILING)
    check(3, 0, 0xFD00_0000, 0xFD40_0000)
    check(3, _IO, 0xD000, 0xF000)
    step.put(BUFFER, row(8, layout=1, slots={3: (0, 4 * _MB)}))
    check(3, 0, 0, 0)
    step.put(BUFFER, row(8, layout=1, slots={2: (0xD000, 0x2000), 3: (0xFD00_0000, 4 * _MB)}))
    step.stand_says("pci_bridge_to", {"rax": BUFFER, "cf": 1})
    check(3, 0, 0, 0)


@contract("pci_root_floor", needs=("memory_ram",))
def root_floor_alone(harness: Harness) -> None:
    """The end of the last RAM below the ceiling; the first megabyte at least."""
    step = Step(harness, "pci_root_floor")
    low, high = (0x1000, 0x9_F000), (1 << 32, 5 << 30)
    for rows, floor in (
        ((low, (_MB, 0x800_0000), high), 0x800_0000), ((high,), _MB), ((), _MB), (((_MB, _CEILING),), _CEILING),
        ((low, (_MB, 0xFF00_0000)), low[1]), ((low, (_MB, 0x800_0000), (0x900_0000, 0xA00_0000)), 0xA00_0000),
    ):  # fmt: skip
        step.put("memory_ram", pack_set(rows, 8)[: 24 + 64])
        step.run("sets another floor", want={"rax": floor})


class _Room(Step):
    """Ranges that have an owner, found by a stand-in for ``ranges_overlap``."""

    def __init__(self, harness: Harness, routine: str, *taken: tuple[int, int]) -> None:
        super().__init__(harness, routine)
        self.taken = taken
        self.stand("ranges_overlap", "rdi", "rsi", "rdx", answer=self._overlap)
        self.put(BUFFER, struct.pack(f"<{2 * len(taken)}Q", *(value for row_ in taken for value in row_)))
        harness.cpuid = lambda leaf, subleaf: (40 if leaf == 0x8000_0008 else 0, 0, 0, 0)

    def _overlap(self, place: int, first: int, end: int) -> Mapping[str, int]:
        self.expect(place == self.at("pci_taken"), self.routine, "looks at another set")
        hits = [n for n, (low, high) in enumerate(self.taken) if low < end and high > first]
        return {"rax": BUFFER + 16 * hits[0], "cf": 0} if hits else {"rax": 0, "cf": 1}


@contract("pci_find_below", needs=("ranges_overlap", "pci_floor", "pci_ceiling", "pci_taken"))
def find_below_alone(harness: Harness) -> None:
    """The highest free multiple of the size between floor and ceiling."""
    step = _Room(harness, "pci_find_below", (0x5_0000, 0x6_0000), (0xE_0000, 0xF_8000))
    step.put64("pci_floor", 0x4_0000)
    step.put64("pci_ceiling", 0x10_1000)
    for size in (0x1000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000):
        places = [
            base
            for base in range(0, 0x10_1000, size)
            if base >= 0x4_0000 and base + size <= 0x10_1000
            and not any(low < base + size and high > base for low, high in step.taken)
        ]  # fmt: skip
        want = {"rax": max(places)} if places else {}
        step.run("finds another place", cf=not places, want=want, rdi=size)
    step.put64("pci_floor", 0)
    step.put64("pci_ceiling", 0)
    step.run("finds room where there is none", cf=True, rdi=0x1000)


@contract("pci_find_above", needs=("ranges_overlap", "pci_taken"))
def find_above_alone(harness: Harness) -> None:
    """The lowest free multiple of the size above 4 GB that the CPU can address."""
    step = _Room(harness, "pci_find_above", (_HIGH, 5 << 30), ((5 << 30) + 0x10_0000, (5 << 30) + 0x18_0000))
    base = 5 << 30
    for size, place in (
        (0x10_0000, base), (0x20_0000, base + 0x20_0000), (0x8_0000, base), (1 << 30, 6 << 30), (1 << 39, 1 << 39),
        (1 << 40, None),
    ):  # fmt: skip
        want = {} if place is None else {"rax": place}
        step.run("finds another place", cf=place is None, want=want, rdi=size)
    step.taken = ()
    step.run("does not begin at 4 GB", cf=False, want={"rax": _HIGH}, rdi=0x1000)


@contract("pci_may_go_high", needs=("pci_slot_of",))
def may_go_high_alone(harness: Harness) -> None:
    """64-bit BARs of the root bus alone."""
    step = Step(harness, "pci_may_go_high")
    step.stand("pci_slot_of", "edi", answer={"rdi": BUFFER, "rsi": 2})
    for flags, bus, right in (
        (_WIDE, 0, True),
        (_WIDE | 8, 0, True),
        (8, 0, False),
        (_WIDE, 1, False),
        (_IO, 0, False),
    ):
        step.put(BUFFER, row(8, flags={2: flags}))
        step.run("is wrong about who may lie above 4 GB", cf=not right, r14=11, r12=bus, rbx=flags)


# --- what is taken ------------------------------------------------------------------------------------------


@contract(
    "pci_collect_taken", needs=("pci_take_memory_map", "ranges_add", "pci_table", "pci_count", "pci_taken")
)
def collect_taken_alone(harness: Harness) -> None:
    """Every slot of the kind that has an address; on the root bus those of all buses, and the memory map."""
    step = Step(harness, "pci_collect_taken")
    table(
        step,
        row(0x0008, flags={1: _IO}, slots={0: (0xFD00_0000, 0x1000), 1: (0xC000, 32), 2: (0, 0x1000),
        5: (0xFC00_0000, 0x10)}),
        row(0x0110, flags={5: _IO}, slots={0: (0xFB00_0000, 0x40), 5: (0xD000, 8)}),
    )  # fmt: skip
    step.stand("ranges_add", "rdi", "rsi", "rdx")
    step.stand("pci_take_memory_map")
    for bus, kind, ranges in (
        (0, 0, ((0xFD00_0000, 0x1000), (0xFC00_0000, 0x10), (0xFB00_0000, 0x40))), (0, _IO, ((0xC000, 32),
        (0xD000, 8))),
        (1, 0, ((0xFB00_0000, 0x40),)), (1, _IO, ((0xD000, 8),)), (2, 0, ()),
    ):  # fmt: skip
        step.put64("pci_taken", 3)
        step.run("fails", rdi=bus, rsi=kind)
        expected = sorted((step.at("pci_taken"), base, base + size) for base, size in ranges)
        got = sorted(call[1:] for call in step.asked if call[0] == "ranges_add")
        step.same(got, expected, "takes other ranges for taken", rdi=bus, rsi=kind)
        mapped = ("pci_take_memory_map",) in step.asked
        step.same(mapped, bus == kind == 0, "is wrong about where the memory map counts", rdi=bus, rsi=kind)
        step.same(step.get64("pci_taken"), 0, "keeps what was taken before", rdi=bus, rsi=kind)


@contract("pci_take_memory_map", needs=(
    "memory_entry_range", "ranges_add", "bootinfo_memory_map", "ecam_physical", "ecam_bus_last", "pci_taken",
))  # fmt: skip
def take_memory_map_alone(harness: Harness) -> None:
    """Every entry that is not empty, and ECAM where it is in use."""
    step = Step(harness, "pci_take_memory_map")
    entries = ((0x1000, 0x9E000, 1), (_MB, 0, 1), (0xFD80_0000, 0x40_0000, 2))
    step.put("bootinfo_memory_map", b"".join(struct.pack("<3Q", *entry) for entry in entries))
    step.put64("bootinfo_memory_count", len(entries))

    def entry(place: int) -> Mapping[str, int]:
        base, length = struct.unpack("<QQ", step.read(place, 16, step.routine))
        return {"rsi": base, "rdx": base + length, "cf": int(not length)}

    step.stand("memory_entry_range", "rbx", answer=entry)
    step.stand("ranges_add", "rdi", "rsi", "rdx")
    taken = step.at("pci_taken")
    owned = [(taken, base, base + length) for base, length, _ in entries if length]
    for ecam, last in ((0, 0), (0xB000_0000, 255), (0xE000_0000, 7)):
        step.put64("ecam_physical", ecam)
        step.put32("ecam_bus_last", last)
        step.run("fails")
        got = [call[1:] for call in step.asked if call[0] == "ranges_add"]
        window = [(taken, ecam, ecam + (last + 1 << 20))] if ecam else []
        step.same(sorted(got), sorted(owned + window), "takes other ranges for taken", ecam=ecam)


# --- windows and access -------------------------------------------------------------------------------------


@contract("pci_write_windows", needs=("pci_window_ends", "pci_write32", "pci_read32", "pci_enable"))
def write_windows_alone(harness: Harness) -> None:
    """Bits 31..20 and 15..12 of base and limit; base above limit where nothing is to pass."""
    step = Step(harness, "pci_write_windows")
    registers = Registers(step, {(8, COMMAND): 0})
    step.stand("pci_enable", "rdi", "esi", answer={})

    def ends(place: int) -> Mapping[str, int]:
        base, size = struct.unpack("<QQ", step.read(place, 16, step.routine))
        return {"rax": base, "rcx": base + size - 1, "cf": 0} if base and size else {"cf": 1}

    step.stand("pci_window_ends", "rsi", answer=ends)
    opened = {2: (0xD000, 0x2000), 3: (0xFD00_0000, 4 * _MB), 4: (0x12_0000_0000, _MB)}
    for slots, values in (
        (opened, {0x20: 0xFD30_FD00, 0x1C: 0xE0D0, 0x30: 0}), ({}, {0x20: 0xFFF0, 0x1C: 0xF0, 0x30: 0, 0x24: 0xFFF0}),
    ):  # fmt: skip
        registers.written.clear()
        step.put(BUFFER, row(8, layout=1, slots=slots))
        step.run("fails", rdi=BUFFER)
        got = {offset: value for _, offset, value in registers.written}
        step.same(got, values, "writes other windows")
        step.expect(all(w[0] == 8 for w in registers.written), step.routine, "writes to another function")
        step.expect(
            ("pci_enable", BUFFER, 7) in step.asked, step.routine, "does not let the bridge pass accesses on"
        )


@contract(
    "pci_try_ecam",
    needs=("ecam_open", "ecam_map_bus", "pci_port_read32", "ecam_read32", "ecam_base", "ecam_bus_first"),
)
def try_ecam_alone(harness: Harness) -> None:
    """ECAM is used where it says of the root bus what the ports say."""
    for opens, maps, ports, memory in (
        (0, 0, 0x29C0_8086, 0x29C0_8086), (1, 0, 1, 1), (0, 1, 1, 1), (0, 0, 0x29C0_8086, ONES), (0, 0, 1, 2),
    ):  # fmt: skip
        harness.renew()
        step = Step(harness, "pci_try_ecam")

        def opened(
            base: int, first: int, last: int, step: Step = step, fails: int = opens
        ) -> Mapping[str, int]:
            step.put64("ecam_base", 0 if fails else base)
            step.put32("ecam_bus_first", first)
            return {"rax": 0, "cf": fails}

        step.stand("ecam_open", "rdi", "esi", "edx", answer=opened)
        step.stand("ecam_map_bus", "edi", answer={"rax": 0, "cf": maps})
        step.stand("pci_port_read32", "edi", "esi", answer={"rax": ports, "cf": 0})
        step.stand("ecam_read32", "edi", "esi", answer={"rax": memory, "cf": int(memory == ONES)})
        used = not opens and not maps and ports == memory
        given = {"rdi": 0xB000_0000, "rsi": 2, "rdx": 9, "rbx": memory}
        step.run("is wrong about whether ECAM can be used", cf=not used, **given)
        step.same(
            step.get64("ecam_base"), 0xB000_0000 if used else 0, "leaves ECAM in use, or out of it", **given
        )
        places = {call[1:] for call in step.asked if str(call[0]).endswith("read32")}
        step.expect(places <= {(0x200, 0)}, step.routine, "compares another place than the root bus's first")


@contract("pci_find_ecam", needs=("acpi_find", "pci_try_ecam"))
def find_ecam_alone(harness: Harness) -> None:
    """The allocation of segment 0, wherever it stands in a table; none beyond its end."""
    step = Step(harness, "pci_find_ecam")
    places = [(0xA000_0000, 1, 0, 9), (0xB000_0000, 0, 2, 200), (0xC000_0000, 0, 3, 255)]
    body = bytes(8) + b"".join(struct.pack("<QHBBI", *place, 0) for place in places)
    step.stand("acpi_find", "edi", "esi", answer={"rax": BUFFER, "cf": 0})
    step.stand("pci_try_ecam", "rdi", "esi", "edx")

    def check(size: int, name: bytes, tried: Sequence[tuple[int, ...]], **given: int) -> None:
        step.put(BUFFER, acpi_table(b"MCFG", body[:size]).ljust(256, b"\0"))
        result = step.run("fails")
        got = step.read(result.registers["rax"], 8, step.routine).split(b"\0")[0]
        step.same(got, name, "names another way to the bus", length=size, **given)
        asked = [call[1:] for call in step.asked if call[0] == "pci_try_ecam"]
        step.same(asked, list(tried), "tries other allocations", length=size, **given)

    check(len(body), b"ecam", [(0xB000_0000, 2, 200)])
    check(len(body) - 16, b"ecam", [(0xB000_0000, 2, 200)])
    check(len(body) - 17, b"ports", [])
    step.expect(step.asked[0] == ("acpi_find", 0x4746434D, 0), step.routine, "looks for another table")
    step.stand_fails("pci_try_ecam", 0)
    check(len(body), b"ports", [(0xB000_0000, 2, 200), (0xC000_0000, 3, 255)])
    step.stand_fails("acpi_find", 0)
    check(len(body), b"ports", [])
