"""Finding PCI functions: each routine alone.

PCI Local Bus 3.0, 6.1 (header), 6.2.5.1 (sizing a BAR); PCI-to-PCI Bridge 1.2, 3.2.5 (bus numbers, windows); PCI
Express 5.0, 7.2.2 (ECAM), 7.5.3.2 (port types). Rows of the table are laid out as ``include/pci.inc`` documents.
"""

from __future__ import annotations

from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.pcihost import ADDRESS_PORT, CLASS, HEADER, ID, ONES
from architect.contracts.pcijudge import ROOT_PARENT, ROW, ROWS_MAX
from architect.contracts.steps import Step
from toolchain.harness import Harness


def row(
    bdf: int,
    *,
    layout: int = 0,
    secondary: int = 0,
    subordinate: int = 0,
    flags: Mapping[int, int] | None = None,
    slots: Mapping[int, tuple[int, int]] | None = None,
    klass: int = 0,
) -> bytes:
    """A row of the kernel's table; ``flags`` and ``slots`` (base, size) by index."""
    values = [value for index in range(6) for value in (slots or {}).get(index, (0, 0))]
    marks = bytes((flags or {}).get(index, 0) for index in range(6))
    bars = {0: 6, 1: 2, 2: 1}.get(layout, 0)
    return ROW.pack(bdf, layout, bars, 0x1234, 1, klass, ROOT_PARENT, secondary, subordinate, marks, *values)


def table(step: Step, *rows: bytes) -> int:
    """The kernel's table; its address."""
    step.put("pci_table", b"".join(rows))
    step.put32("pci_count", len(rows))
    return step.at("pci_table")


class Registers:
    """Configuration space as a mapping of (bdf, offset); writes are noted in their order."""

    def __init__(self, step: Step, values: Mapping[tuple[int, int], int]) -> None:
        self.values = dict(values)
        self.written: list[tuple[int, int, int]] = []
        step.stand("pci_read32", "edi", "esi", answer=self.read)
        step.stand("pci_write32", "edi", "esi", "edx", answer=self.write)

    def read(self, bdf: int, offset: int) -> Mapping[str, int]:
        """Stands in for ``pci_read32``."""
        value = self.values.get((bdf, offset), ONES)
        return {"rax": value, "cf": int(value == ONES)}

    def write(self, bdf: int, offset: int, value: int) -> Mapping[str, int]:
        """Stands in for ``pci_write32``."""
        self.written.append((bdf, offset, value))
        self.values[bdf, offset] = value
        return {"cf": 0}


# --- access and rows ----------------------------------------------------------------------------------------


@contract("pci_port_select")
def port_select_alone(harness: Harness) -> None:
    """The address of a dword goes to the address port; what is none does not."""
    step = Step(harness, "pci_port_select")
    for bdf, offset in ((0, 0), (0xFFFF, 0xFC), (0x0108, 0x10), (0x12F3, 0x44)):
        result = step.run("refuses a place that there is", cf=False, rdi=bdf, rsi=offset)
        sent = ((ADDRESS_PORT, 4, 1 << 31 | bdf << 8 | offset),)
        step.same(result.ports, sent, "selects another place", rdi=bdf, rsi=offset)
    for bdf, offset in ((0, 1), (0, 2), (0, 0x100), (0x10000, 0)):
        step.run("selects a place that there is not", cf=True, rdi=bdf, rsi=offset)


@contract("ecam_address", needs=("ecam_base", "ecam_mapped"))
def ecam_address_alone(harness: Harness) -> None:
    """Base, bus, function and offset; buses that are not mapped are none."""
    step = Step(harness, "ecam_address")
    base = 0x5_B000_0000
    step.put64("ecam_base", base)
    step.put("ecam_mapped", bytes((0b101,)) + bytes(30) + b"\x80")
    for bdf, offset in ((0, 0), (0x2FF, 0xFFC), (0xFF08, 0x10), (0x0213, 0x104)):
        want = {"rax": base + (bdf << 12) + offset}
        step.run("makes another address", cf=False, want=want, rdi=bdf, rsi=offset)
    for bdf, offset in ((0x100, 0), (0xFE00, 0), (0, 2), (0, 0x1000), (0x10000, 0)):
        step.run("makes an address of what is not mapped", cf=True, rdi=bdf, rsi=offset)


@contract("pci_row", needs=("pci_table",))
def row_alone(harness: Harness) -> None:
    """The rows follow each other."""
    step = Step(harness, "pci_row")
    for index in (0, 1, 5, ROWS_MAX - 1):
        step.run("names another row", want={"rax": step.at("pci_table", index * ROW.size)}, rdi=index)


# --- scan ---------------------------------------------------------------------------------------------------


@contract("pci_devices_behind", needs=("pci_find_capability", "pci_read32", "pci_table", "pci_count"))
def devices_behind_alone(harness: Harness) -> None:
    """A PCI Express link has device 0 only: root ports and downstream ports lead to one."""
    step = Step(harness, "pci_devices_behind")
    table(step, row(0), row(0x0110, layout=1))
    registers = Registers(step, {})
    step.stand("pci_find_capability", "edi", "esi", answer={"rax": 0x50, "cf": 0})
    step.run("counts other devices on a root bus", want={"eax": 32}, rdx=ROOT_PARENT)
    for port, devices in ((4, 1), (6, 1), (5, 32), (0, 32), (7, 32), (8, 32)):
        registers.values[0x0110, 0x50] = 0x0002_0010 | port << 20 | 0xFE00_0000
        step.run("counts other devices behind a bridge", want={"eax": devices}, rdx=1, rcx=port)
        asked = ("pci_find_capability", 0x0110, 0x10)
        step.expect(asked in step.asked, step.routine, "asks for another capability, or another function")
    step.stand_fails("pci_find_capability", 0)
    step.run("counts other devices behind a bridge of old", want={"eax": 32}, rdx=1)


@contract(
    "pci_add_function",
    needs=("pci_read32", "pci_size_bars", "pci_read_bridge", "pci_table", "pci_count", "pci_lost"),
)
def add_function_alone(harness: Harness) -> None:
    """A row with what the header says; bridges have their own read; a full table is left alone."""
    step = Step(harness, "pci_add_function")
    values: dict[tuple[int, int], int] = {}
    for bdf, header in ((0x0008, 0x0000_0010), (0x010F, 0x0081_0010), (0x0210, 0x0002_0000)):
        values |= {
            (bdf, ID): 0xABCD_0000 | bdf,
            (bdf, CLASS): 0x0604_0002 + (bdf << 8),
            (bdf, HEADER): header,
        }
    Registers(step, values)
    step.stand("pci_size_bars", "rdi")
    step.stand("pci_read_bridge", "rdi")
    at = step.at("pci_table")
    for number, bdf in enumerate((0x0008, 0x010F, 0x0210)):
        header = values[bdf, HEADER]
        step.run("says another header", cf=False, want={"eax": header}, rdi=bdf, rdx=7 + number)
        step.same(step.get32("pci_count"), number + 1, "counts another number of rows", rdi=bdf)
        here = at + number * ROW.size
        got = ROW.unpack(harness.read(here, ROW.size))
        layout = header >> 16 & 0x7F
        expected = (bdf, layout, bdf, 0xABCD, values[bdf, CLASS] >> 8, 7 + number)
        step.same((got[0], got[1], *got[3:7]), expected, "records something else of a function", rdi=bdf)
        sized = [name for name, *arguments in step.asked if arguments == [here]]
        wanted = ["pci_size_bars", *(["pci_read_bridge"] if layout == 1 else [])]
        step.same(sized, wanted, "does not look at the BARs, or takes a device for a bridge", rdi=bdf)
    step.run("finds a function that is absent", cf=True, rdi=0x0300, rdx=0)
    step.same(step.get32("pci_count"), 3, "counts a function that is absent")
    step.put32("pci_count", ROWS_MAX - 1)
    step.run("leaves the last row empty", cf=False, rdi=0x0008, rdx=0)
    step.run("goes on in a full table", cf=True, rdi=0x0008, rdx=0)
    step.same(
        (step.get32("pci_count"), step.get32("pci_lost")), (ROWS_MAX, 1), "miscounts when the table is full"
    )


@contract("pci_scan_functions", needs=("pci_open_bus", "pci_devices_behind", "pci_add_function"))
def scan_functions_alone(harness: Harness) -> None:
    """Function 0 of each device; the other seven where it says that there are any."""
    step = Step(harness, "pci_scan_functions")
    many, absent = {2, 31}, {5}

    def add(bdf: int, parent: int) -> Mapping[str, int]:
        device, function = bdf >> 3 & 0x1F, bdf & 7
        gone = device in absent or function in (3, 7)
        return {
            "rax": ONES if gone else 0x80_0000 if device in many and not function else 0x10,
            "cf": int(gone),
        }

    step.stand("pci_open_bus", "edi")
    step.stand("pci_add_function", "edi", "edx", answer=add)
    step.stand("pci_devices_behind", "edx", answer={"rax": 32})
    for devices, bus in ((32, 3), (1, 255)):
        step.stand_says("pci_devices_behind", {"rax": devices})
        step.run("fails", rdi=bus, rdx=9)
        numbers = [d << 3 | f for d in range(devices) for f in range(8 if d in many else 1)]
        asked = [call for call in step.asked if call[0] == "pci_add_function"]
        expected: list[tuple[str | int, ...]] = [("pci_add_function", bus << 8 | n, 9) for n in numbers]
        step.same(asked, expected, "asks other functions of a bus", rdi=bus)
    step.stand_fails("pci_open_bus", 1)
    step.run("fails", rdi=3, rdx=9)
    left = [call for call in step.asked if call[0] == "pci_add_function"]
    step.same(left, [], "asks functions of a bus that cannot be reached")


@contract(
    "pci_scan_bus",
    needs=("pci_scan_functions", "pci_highest_given", "pci_follow_bridge", "pci_table", "pci_count"),
)
def scan_bus_alone(harness: Harness) -> None:
    """The bridges of the bus are followed in their order, each told which numbers are taken."""
    step = Step(harness, "pci_scan_bus")

    def functions(bus: int, parent: int) -> Mapping[str, int]:
        table(step, row(0x100, layout=1), *(row(bus << 8 | n, layout=int(n in (1, 3))) for n in range(5)))
        return {}

    step.stand("pci_scan_functions", "edi", "edx", answer=functions)
    step.stand("pci_highest_given", "edi", "esi", "edx", "ecx", answer={"rax": 6})
    step.stand(
        "pci_follow_bridge", "rdi", "esi", "edx", "ecx", answer=lambda at, taken, *_: {"rax": taken + 2}
    )
    at = step.at("pci_table")
    for depth, followed in ((0, 2), (15, 2), (16, 0)):
        step.put32("pci_count", 1)
        want = {"rax": 6 + 2 * followed}
        step.run("says another highest bus", want=want, rdi=2, rsi=40, rdx=9, rcx=depth)
        calls = [call for call in step.asked if call[0] == "pci_follow_bridge"]
        rows = (2, 4)[:followed]
        expected = [
            ("pci_follow_bridge", at + n * ROW.size, 6 + 2 * i, 40, depth) for i, n in enumerate(rows)
        ]
        step.same(calls, expected, "follows other bridges, or in another way", rcx=depth)
        given = [call for call in step.asked if call[0] in ("pci_highest_given", "pci_scan_functions")]
        right = [("pci_scan_functions", 2, 9), ("pci_highest_given", 2, 1, 6, 40)]
        step.same(given, right, "looks at other rows for the numbers that firmware gave", rcx=depth)
