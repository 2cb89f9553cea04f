"""Bridges and BARs of PCI functions: each routine alone.

PCI Local Bus 3.0, 6.2.5.1 (sizing a BAR); PCI-to-PCI Bridge 1.2, 3.2.5 (bus numbers, windows).
"""

from __future__ import annotations

from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.pcihost import BUSES, COMMAND, ONES
from architect.contracts.pcijudge import ROW
from architect.contracts.pcisteps import Registers, row, table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_IO, _WIDE, _PREFETCH, _WINDOW = 1, 4, 8, 16
_BAR0 = 0x10
_FLAGS_AT, _SLOTS_AT = 0x12, 0x18


# --- bridges ------------------------------------------------------------------------------------------------


@contract("pci_is_numbered")
def is_numbered_alone(harness: Harness) -> None:
    """Secondary above primary, subordinate not below it, nor beyond the limit."""
    step = Step(harness, "pci_is_numbered")
    for bus, secondary, subordinate, limit, right in (
        (0, 1, 1, 255, True), (0, 1, 5, 5, True), (0, 1, 6, 5, False), (2, 2, 3, 255, False), (2, 1, 3, 255, False),
        (0, 3, 2, 255, False), (0, 0, 0, 255, False), (4, 200, 255, 255, True), (254, 255, 255, 255, True),
    ):  # fmt: skip
        step.put(BUFFER, row(bus << 8 | 0x18, layout=1, secondary=secondary, subordinate=subordinate))
        what = {"rdi": BUFFER, "rcx": limit, "rbx": bus << 16 | secondary << 8 | subordinate}
        step.run(
            "is wrong about the numbers of a bridge",
            cf=not right,
            want={"eax": subordinate} if right else {},
            **what,
        )


@contract("pci_highest_given", needs=("pci_is_numbered", "pci_table", "pci_count"))
def highest_given_alone(harness: Harness) -> None:
    """The highest among the bridges of some rows that can be followed."""
    step = Step(harness, "pci_highest_given")
    highest = {0: 9, 1: 4, 3: 7, 4: 12, 5: 200}
    at = table(step, *(row(0x100 | n << 3, layout=int(n != 2)) for n in range(6)))

    def numbered(place: int, limit: int) -> Mapping[str, int]:
        number = (place - at) // ROW.size
        wrong = number == 4 or limit != 100
        return {"rax": highest.get(number, 77), "cf": int(wrong)}

    step.stand("pci_is_numbered", "rdi", "ecx", answer=numbered)
    for first, end, expected in ((0, 5, 9), (1, 5, 7), (1, 3, 4), (2, 3, 1), (3, 3, 1), (2, 6, 200)):
        given = {"rdi": 1, "rsi": first, "rdx": end, "rcx": 100}
        step.run("says another highest number", want={"rax": expected}, **given)


@contract("pci_follow_bridge", needs=("pci_is_numbered", "pci_scan_behind", "pci_write_numbers"))
def follow_bridge_alone(harness: Harness) -> None:
    """A bridge with numbers keeps them; one without gets the next, as wide as can be while it is scanned."""
    step = Step(harness, "pci_follow_bridge")
    numbers: list[tuple[int, int]] = []

    def write(place: int) -> Mapping[str, int]:
        numbers.append((harness.read(place + 0x10, 1)[0], harness.read(place + 0x11, 1)[0]))
        return {}

    step.stand("pci_is_numbered", "rdi", "ecx", answer={"rax": 9, "cf": 0})
    step.stand("pci_scan_behind", "rdi", "esi", "ecx", answer={"rax": 8})
    step.stand("pci_write_numbers", "rbx", answer=write)
    step.put(BUFFER, row(0x18, layout=1, secondary=6, subordinate=9))
    given = {"rdi": BUFFER, "rsi": 4, "rdx": 20, "rcx": 3}
    step.run("says another highest number behind a bridge that has its own", want={"rax": 9}, **given)
    asked = [("pci_is_numbered", BUFFER, 20), ("pci_scan_behind", BUFFER, 9, 3)]
    step.were(asked, "scans a bridge that has its numbers in another way")
    step.same(numbers, [], "numbers a bridge that has its own")
    step.stand_fails("pci_is_numbered", 0)
    step.run("says another highest number behind a bridge that it numbers", want={"rax": 8}, **given)
    step.same(numbers, [(5, 20), (5, 8)], "gives a bridge other numbers")
    asked = [call for call in step.asked if call[0] == "pci_scan_behind"]
    step.same(asked, [("pci_scan_behind", BUFFER, 20, 3)], "scans a bridge that it numbers in another way")
    numbers.clear()
    step.put(BUFFER, row(0x18, layout=1, secondary=6, subordinate=9))
    step.run("gives out a number that there is not", want={"rax": 20}, **{**given, "rsi": 20})
    left = tuple(harness.read(BUFFER + 0x10, 2))
    step.same((left, numbers), ((0, 0), []), "follows a bridge for which no number is left")


@contract("pci_scan_behind", needs=("pci_scan_bus", "pci_table"))
def scan_behind_alone(harness: Harness) -> None:
    """The secondary bus, one deeper, with the bridge's row as its parent."""
    step = Step(harness, "pci_scan_behind")
    at = table(step, row(0), row(8), row(0x18, layout=1, secondary=6, subordinate=9))
    step.stand("pci_scan_bus", "edi", "esi", "edx", "ecx", answer={"rax": 8})
    step.run("says another highest number", want={"rax": 8}, rdi=at + 2 * ROW.size, rsi=20, rcx=3)
    step.were([("pci_scan_bus", 6, 20, 2, 4)], "scans another bus, or in another way")


@contract("pci_write_numbers", needs=("pci_read32", "pci_write32"))
def write_numbers_alone(harness: Harness) -> None:
    """Primary, secondary and subordinate; the latency timer stays."""
    step = Step(harness, "pci_write_numbers")
    registers = Registers(step, {(0x0318, BUSES): 0x40_99_88_77})
    step.put(BUFFER, row(0x0318, layout=1, secondary=6, subordinate=9))
    step.run("fails", rbx=BUFFER)
    step.same(registers.written, [(0x0318, BUSES, 0x40_09_06_03)], "tells a bridge other numbers")


@contract("pci_read_memory_window", needs=("pci_read32",))
def read_memory_window_alone(harness: Harness) -> None:
    """Bits 31..20 of base and limit; the low bits tell the width."""
    step = Step(harness, "pci_read_memory_window")
    Registers(step, {(8, 0x20): 0xFEB0_E000, (8, 0x24): 0xFFF1_0011})
    for offset, base, limit in ((0x20, 0xE000_0000, 0xFEB0_0000), (0x24, 0x0010_0000, 0xFFF0_0000)):
        want = {"rax": base, "rdx": limit, "rcx": 0x10_0000}
        step.run("takes a window for another", want=want, rdi=8, rsi=offset)


@contract("pci_read_prefetch_window", needs=("pci_read32", "pci_read_memory_window", "pci_set_window"))
def read_prefetch_window_alone(harness: Harness) -> None:
    """Both halves of base and limit go into the slot of the prefetchable window."""
    step = Step(harness, "pci_read_prefetch_window")
    Registers(step, {(8, 0x28): 0x12, (8, 0x2C): 0x34})
    answer = {"rax": 0xE000_0000, "rdx": 0xFEB0_0000, "rcx": 0x10_0000}
    step.stand("pci_read_memory_window", "edi", "esi", answer=answer)
    step.stand("pci_set_window", "rsi", "rax", "rdx", "rcx", answer={})
    step.run("fails", rbx=BUFFER, rdi=8)
    asked = [call for call in step.asked if call[0] != "pci_read32"]
    slot = ("pci_set_window", BUFFER + _SLOTS_AT + 4 * 16, 0x12_E000_0000, 0x34_FEB0_0000, 0x10_0000)
    step.same(asked, [("pci_read_memory_window", 8, 0x24), slot], "takes a window for another")


@contract(
    "pci_read_bridge",
    needs=("pci_read32", "pci_read_memory_window", "pci_set_window", "pci_read_prefetch_window"),
)
def read_bridge_alone(harness: Harness) -> None:
    """Bus numbers, and the three windows, each in its slot and with its kind."""
    step = Step(harness, "pci_read_bridge")
    for window, high, base, limit in (
        (0x0000_D1C1, 0x0002_0001, 0x1_C000, 0x2_D000),
        (0xFF_F010, 0, 0x1000, 0xF000),
    ):
        harness.renew()
        step = Step(harness, "pci_read_bridge")
        Registers(step, {(8, BUSES): 0x40_09_06_00, (8, 0x1C): window, (8, 0x30): high})
        answer = {"rax": 0xE000_0000, "rdx": 0xFEB0_0000, "rcx": 0x10_0000}
        step.stand("pci_read_memory_window", "edi", "esi", answer=answer)
        step.stand("pci_set_window", "rsi", "rax", "rdx", "rcx", answer={})
        step.stand("pci_read_prefetch_window", "rbx", "edi", answer={})
        step.put(BUFFER, row(8, layout=1))
        step.run("fails", rdi=BUFFER)
        step.same(tuple(harness.read(BUFFER + 0x10, 2)), (6, 9), "takes other bus numbers of a bridge")
        marks = tuple(harness.read(BUFFER + _FLAGS_AT + 2, 3))
        step.same(marks, (_WINDOW | _IO, _WINDOW, _WINDOW | _PREFETCH), "takes a window for another kind")
        slots = sorted(call for call in step.asked if call[0] == "pci_set_window")
        at = BUFFER + _SLOTS_AT + 2 * 16
        memory = ("pci_set_window", at + 16, 0xE000_0000, 0xFEB0_0000, 0x10_0000)
        step.same(slots, [("pci_set_window", at, base, limit, 0x1000), memory], "takes a window for another")
        step.expect(("pci_read_memory_window", 8, 0x20) in step.asked, step.routine, "reads another window")
        step.expect(
            ("pci_read_prefetch_window", BUFFER, 8) in step.asked, step.routine, "leaves a window out"
        )


@contract("pci_set_window")
def set_window_alone(harness: Harness) -> None:
    """Base and size; a window at 0, or whose base is above its limit, is closed."""
    step = Step(harness, "pci_set_window")
    for base, limit, size in (
        (0xE000_0000, 0xE010_0000, 0x20_0000), (0x1000, 0x1000, 0x10_0000), (0, 0x1000, 0), (0x2000, 0x1000, 0),
        (0x12_0000_0000, 0x12_FFF0_0000, 0x1_0000_0000),
    ):  # fmt: skip
        step.put(BUFFER, bytes(16))
        step.run("fails", rsi=BUFFER, rax=base, rdx=limit, rcx=0x10_0000)
        got = (harness.read_u64(BUFFER), harness.read_u64(BUFFER + 8))
        step.same(got, (base if size else 0, size), "makes another window", rax=base, rdx=limit)


@contract("pci_window_ends")
def window_ends_alone(harness: Harness) -> None:
    """First and last byte; a window without a place or a size is closed."""
    step = Step(harness, "pci_window_ends")
    for base, size in ((0xE000_0000, 0x20_0000), (0, 0x1000), (0xC000, 0), (0xC000, 0x1000)):
        step.put(BUFFER, base.to_bytes(8, "little") + size.to_bytes(8, "little"))
        opened = bool(base and size)
        want = {"rax": base, "rcx": base + size - 1} if opened else {}
        step.run("says other ends of a window", cf=not opened, want=want, rsi=BUFFER)


# --- BARs ---------------------------------------------------------------------------------------------------


@contract("pci_probe_register", needs=("pci_read32", "pci_write32"))
def probe_register_alone(harness: Harness) -> None:
    """All ones are written and read back; then the register holds what it held."""
    step = Step(harness, "pci_probe_register")
    registers = Registers(step, {(8, 0x14): 0x8123_4008})
    plain = registers.write

    def write(bdf: int, offset: int, value: int) -> Mapping[str, int]:
        return plain(bdf, offset, 0xFFFF_0008 if value == ONES else value)

    step.stand_says("pci_write32", write)
    step.run("learns another size", want={"eax": 0x8123_4008, "edx": 0xFFFF_0008}, rdi=8, rsi=0x14)
    step.same(registers.values[8, 0x14], 0x8123_4008, "leaves another value in the register")
    step.same([w[2] for w in registers.written], [0xFFFF_0008, 0x8123_4008], "writes something else")


@contract("pci_size_bar", needs=("pci_probe_register",))
def size_bar_alone(harness: Harness) -> None:
    """Base, size and kind of BARs of every kind."""
    step = Step(harness, "pci_size_bar")
    held: dict[int, Mapping[str, int]] = {}
    step.stand(
        "pci_probe_register", "edi", "esi", answer=lambda bdf, offset: held.get(offset, {"rax": 0, "rdx": 0})
    )
    for index, low, high, slot, kind in (
        (0, (0xFD00_0008, 0xFF00_0008), None, (0xFD00_0000, 1 << 24), _PREFETCH),
        (5, (0xFEB0_0000, 0xFFFF_F000), None, (0xFEB0_0000, 0x1000), 0),
        (1, (0x0000_C021, 0xFFFF_FFE1), None, (0xC020, 32), _IO),
        (2, (0x0000_C021, 0x0000_FFF9), None, (0xC020, 8), _IO),
        (3, (0x0000_0000, 0), None, (0, 0), 0),
        (2, (0x4000_000C, 0xC000_000C), (0x12, ONES), (0x12_4000_0000, 1 << 30), _PREFETCH | _WIDE),
        (0, (0x0000_0004, 0x0000_0004), (0x5, 0xFFFF_FFFC), (0x5_0000_0000, 1 << 34), _WIDE),
        (5, (0xFEB0_0004, 0xFFFF_F004), None, (0xFEB0_0000, 0x1000), 0),
    ):  # fmt: skip
        at = _BAR0 + 4 * index
        held.clear()
        held[at] = {"rax": low[0], "rdx": low[1]}
        if high:
            held[at + 4] = {"rax": high[0], "rdx": high[1]}
        step.put(BUFFER, row(8))
        step.run("fails", rbx=BUFFER, rdi=8, rcx=index)
        got = ROW.unpack(harness.read(BUFFER, ROW.size))
        base, size = got[10 + 2 * index], got[11 + 2 * index]
        step.same(
            (base, size), slot, "takes a BAR for another place or size", rcx=index, eax=low[0], edx=low[1]
        )
        step.same(got[9][index], kind, "takes a BAR for another kind", rcx=index, eax=low[0], edx=low[1])
        asked = [("pci_probe_register", 8, at), *([("pci_probe_register", 8, at + 4)] if high else [])]
        step.were(asked, "probes other registers", rcx=index)


@contract("pci_size_bars", needs=("pci_size_bar", "pci_read32", "pci_write32"))
def size_bars_alone(harness: Harness) -> None:
    """As many BARs as the header's layout has, two registers for a wide one; nothing decodes meanwhile."""
    step = Step(harness, "pci_size_bars")
    registers = Registers(step, {})
    decoding: list[int] = []

    def size(place: int, bdf: int, index: int) -> Mapping[str, int]:
        decoding.append(registers.values.get((8, COMMAND), 0) & 3)
        step.put(place + _FLAGS_AT + index, bytes((_WIDE if index in (1, 4) else 0,)))
        return {}

    step.stand("pci_size_bar", "rbx", "edi", "ecx", answer=size)
    for layout, indices in ((0, (0, 1, 3, 4)), (1, (0, 1)), (2, (0,)), (3, ()), (5, ())):
        registers.values[8, COMMAND] = 0x0010_0507
        registers.written.clear()
        decoding.clear()
        step.put(BUFFER, row(8, layout=layout))
        step.run("fails", rdi=BUFFER)
        asked = [call for call in step.asked if call[0] == "pci_size_bar"]
        expected = [("pci_size_bar", BUFFER, 8, index) for index in indices]
        step.same(asked, expected, "looks at other BARs", layout=layout)
        step.expect(not any(decoding), step.routine, "sizes a BAR that the function decodes", layout=layout)
        left = registers.values[8, COMMAND] & 0xFFFF
        step.same(left, 0x0507, "leaves another value in the command register", layout=layout)
        ones = [value for _, _, value in registers.written if value >> 16]
        step.same(ones, [], "writes ones to status bits", layout=layout)


@contract("pci_write_bar", needs=("pci_read32", "pci_write32"))
def write_bar_alone(harness: Harness) -> None:
    """The base goes into the BAR, both halves of a wide one; nothing decodes meanwhile."""
    step = Step(harness, "pci_write_bar")
    for index, flags, base in ((0, _PREFETCH, 0xFD00_0000), (1, _WIDE, 0x12_4000_0000), (5, _IO, 0xC020)):
        harness.renew()
        step = Step(harness, "pci_write_bar")
        registers = Registers(step, {(8, COMMAND): 0x0010_0507})
        step.put(BUFFER, row(8, flags={index: flags}, slots={index: (base, 0x1000)}))
        step.run("fails", rdi=BUFFER, rsi=index)
        off = 0x0504
        at = _BAR0 + 4 * index
        expected = [(8, COMMAND, off), (8, at, base & ONES)]
        expected += [(8, at + 4, base >> 32)] if flags & _WIDE else []
        expected.append((8, COMMAND, 0x0507))
        step.same(registers.written, expected, "writes other registers or values", rsi=index)


@contract("pci_enable", needs=("pci_read32", "pci_write32"))
def enable_alone(harness: Harness) -> None:
    """Bits are added to the command register; ones in the status half would clear what they stand for."""
    step = Step(harness, "pci_enable")
    registers = Registers(step, {(0x0318, COMMAND): 0xFFF0_0401})
    step.put(BUFFER, row(0x0318))
    step.run("fails", rdi=BUFFER, rsi=6)
    step.same(registers.written, [(0x0318, COMMAND, 0x0407)], "sets other bits of the command register")
