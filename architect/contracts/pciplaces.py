"""Giving addresses to PCI functions: each routine alone.

PCI Local Bus 3.0, 6.2.5.1 (a BAR lies on a multiple of its size); PCI-to-PCI Bridge 1.2, 3.2.5 (windows); PCI Firmware
3.3, 4.1.2 (MCFG). The limits (ceilings, floors, a cursor over slots) are those of ``include/pci.inc``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from architect.contracts import contract
from architect.contracts.pcijudge import ROW
from architect.contracts.pcisteps import row, table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_IO, _WIDE, _WINDOW, _FAILED = 1, 4, 16, 32
_SLOTS_AT = 0x18
_MB = 1 << 20
_HIGH = 1 << 32


def _slot(step: Step, number: int, index: int) -> int:
    return step.at("pci_table", number * ROW.size + _SLOTS_AT + 16 * index)


def _function() -> tuple[bytes, ...]:
    """Rows with slots of every state: empty, placed, failed, of no size; on two buses."""
    return (
        row(
            0x0008,
            flags={0: 0, 1: _IO, 5: _FAILED},
            slots={0: (0, 0x1000), 1: (0, 32), 3: (0xFD00_0000, 0x1000), 5: (0, 8)},
        ),
        row(0x0110, flags={5: _WIDE}, slots={0: (0, 0x40), 5: (0, 1 << 24)}),
        row(
            0x0018,
            layout=1,
            secondary=1,
            subordinate=1,
            flags={2: _WINDOW | _IO, 3: _WINDOW},
            slots={2: (0, 0x1000), 3: (0, _MB)},
        ),
        row(0x0020, slots={4: (0, 0x2000)}),
    )


@contract("pci_next_empty", needs=("pci_table", "pci_count"))
def next_empty_alone(harness: Harness) -> None:
    """The slots of a bus and a kind that have a size and no address, in the order of the table."""
    step = Step(harness, "pci_next_empty")
    table(step, *_function())
    for bus, kind, places in (
        (0, 0, ((0, 0), (2, 3), (3, 4))), (0, _IO, ((0, 1), (2, 2))), (1, 0, ((1, 0), (1, 5))), (1, _IO, ()),
        (7, 0, ()),
    ):  # fmt: skip
        cursor = 0
        for number, index in places:
            want = {"rax": number << 3 | index + 1, "rdx": _slot(step, number, index)}
            given = {"rdi": bus, "rsi": kind, "rax": cursor}
            cursor = step.run("finds another slot", cf=False, want=want, **given).registers["rax"]
        step.run("finds a slot that wants no address", cf=True, rdi=bus, rsi=kind, rax=cursor)


@contract("pci_highest_bus", needs=("pci_table", "pci_count"))
def highest_bus_alone(harness: Harness) -> None:
    """The highest of all rows, wherever it stands."""
    step = Step(harness, "pci_highest_bus")
    for buses in ((0,), (0, 3, 2), (9, 1, 0), (0, 0, 255), ()):
        table(step, *(row(bus << 8 | 0xF8) for bus in buses))
        step.run("says another highest bus", want={"eax": max(buses, default=0)})


@contract("pci_bridge_to", needs=("pci_table", "pci_count"))
def bridge_to_alone(harness: Harness) -> None:
    """The bridge with that secondary bus; a device's bytes do not count."""
    step = Step(harness, "pci_bridge_to")
    at = table(
        step, row(0, secondary=3), row(8, layout=1, secondary=1), row(16, layout=1, secondary=3), row(24)
    )
    for bus, number in ((1, 1), (3, 2), (2, None), (255, None)):
        want = {} if number is None else {"rax": at + number * ROW.size}
        step.run("names another bridge", cf=number is None, want=want, rdi=bus)
    step.put32("pci_count", 2)
    step.run("looks beyond the last row", cf=True, rdi=3)


@contract("pci_size_windows", needs=("pci_bridge_to", "pci_size_window"))
def size_windows_alone(harness: Harness) -> None:
    """Memory in megabytes, ports in 4 KB, each in its slot."""
    step = Step(harness, "pci_size_windows")
    step.stand("pci_bridge_to", "edi", answer={"rax": BUFFER, "cf": 0})
    step.stand("pci_size_window", "edi", "esi", "rcx", "rdx", answer={})
    step.run("fails", rdi=3)
    slots = BUFFER + _SLOTS_AT
    windows = [("pci_size_window", 3, 0, _MB, slots + 48), ("pci_size_window", 3, _IO, 0x1000, slots + 32)]
    step.same(sorted(step.asked[1:]), sorted(windows), "sizes other windows")
    step.stand_fails("pci_bridge_to", 0)
    step.run("fails", rdi=3)
    step.same(len(step.asked), 1, "sizes the windows of no bridge")


class _Slots(Step):
    """Slots of chosen sizes that want an address, handed out by a stand-in for ``pci_next_empty``."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.sizes: Sequence[int] = ()
        self.stand("pci_next_empty", "edi", "esi", "rax", answer=self._next)

    def _next(self, bus: int, kind: int, cursor: int) -> Mapping[str, int]:
        if cursor >= len(self.sizes):
            return {"cf": 1}
        place = BUFFER + 0x100 + 16 * cursor
        self.put(place, struct.pack("<QQ", 0, self.sizes[cursor]))
        return {"rax": cursor + 1, "rdx": place, "cf": 0}


@contract("pci_size_window", needs=("pci_next_empty", "pci_span"))
def size_window_alone(harness: Harness) -> None:
    """The sum of what stands behind, made a power of two; a window that firmware opened stays."""
    step = _Slots(harness, "pci_size_window")
    step.stand("pci_span", "rdi", "esi", answer=lambda size, kind: {"rdi": max(size, 0x1000)})
    for sizes, unit, base, size in (
        ((0x1000, 0x40), _MB, 0, _MB), ((_MB, 0x1000), _MB, 0, 2 * _MB), ((), _MB, 0, 0x77), ((32,),
        0x1000, 0, 0x1000),
        ((4 * _MB, 4 * _MB, 1), _MB, 0, 16 * _MB), ((_MB,), _MB, 0xE000_0000, 0x77), ((3 * _MB,), _MB, 0, 4 * _MB),
    ):  # fmt: skip
        step.sizes = sizes
        step.put(BUFFER, struct.pack("<QQ", base, 0x77))
        step.run("fails", rdi=1, rsi=0, rcx=unit, rdx=BUFFER)
        got = struct.unpack("<QQ", harness.read(BUFFER, 16))
        step.same(got, (base, size), "makes another window", sum=sum(sizes), rcx=unit)


@contract("pci_span")
def span_alone(harness: Harness) -> None:
    """A page at least for memory, what it is for ports."""
    step = Step(harness, "pci_span")
    for size, kind, room in (
        (16, 0, 0x1000), (0xFFF, 0, 0x1000), (0x1000, 0, 0x1000), (0x2000, 0, 0x2000), (32, _IO, 32),
        (1 << 34, 0, 1 << 34),
    ):  # fmt: skip
        step.run("takes another room", want={"rdi": room}, rdi=size, rsi=kind)


@contract(
    "pci_assign",
    needs=("pci_highest_bus", "pci_size_windows", "pci_place_bus", "pci_write_windows", "pci_table"),
)
def assign_alone(harness: Harness) -> None:
    """Windows are sized from the highest bus down; then all buses are placed, then all bridges opened."""
    step = Step(harness, "pci_assign")
    at = table(step, row(0), row(8, layout=1), row(16), row(0x100, layout=1))
    step.stand("pci_highest_bus", answer={"rax": 2})
    step.stand("pci_size_windows", "edi", answer={})
    step.stand("pci_place_bus", "edi", "esi", answer={})
    step.stand("pci_write_windows", "rdi", answer={})
    step.run("fails")
    names = ("pci_size_windows", "pci_place_bus", "pci_write_windows")
    order = [names.index(str(call[0])) for call in step.asked if call[0] in names]
    step.same(order, sorted(order), "does its steps in another order")
    by_name = {name: [call[1:] for call in step.asked if call[0] == name] for name in names}
    step.same(
        by_name["pci_size_windows"], [(2,), (1,)], "sizes the windows of other buses, or in another order"
    )
    placed = by_name["pci_place_bus"]
    step.same(
        sorted(placed), [(bus, kind) for bus in (0, 1, 2) for kind in (0, _IO)], "places other buses or kinds"
    )
    step.same([bus for bus, _ in placed], [0, 0, 1, 1, 2, 2], "places a bus before the one above it")
    bridges = [(at + number * ROW.size,) for number in (1, 3)]
    step.same(by_name["pci_write_windows"], bridges, "opens other bridges")


@contract("pci_largest_empty", needs=("pci_next_empty",))
def largest_empty_alone(harness: Harness) -> None:
    """The largest; of equals the first."""
    step = _Slots(harness, "pci_largest_empty")
    for sizes in ((0x1000,), (1, 9, 3), (9, 1, 9), (1, 2, 1 << 40), ()):
        step.sizes = sizes
        first = sizes.index(max(sizes)) if sizes else 0
        want = {"rdx": BUFFER + 0x100 + 16 * first, "eax": first + 1} if sizes else {}
        step.run("finds another slot", cf=not sizes, want=want, rdi=1, rsi=0)


@contract("pci_slot_of", needs=("pci_table",))
def slot_of_alone(harness: Harness) -> None:
    """Row and index before a cursor."""
    step = Step(harness, "pci_slot_of")
    for number, index in ((0, 0), (0, 5), (3, 4), (63, 0)):
        want = {"rdi": step.at("pci_table", number * ROW.size), "rsi": index}
        step.run("names another slot", want=want, rdi=number << 3 | index + 1)


@contract("pci_commit", needs=("pci_slot_of", "pci_write_bar"))
def commit_alone(harness: Harness) -> None:
    """BARs are written at once, windows are not."""
    step = Step(harness, "pci_commit")
    step.stand("pci_slot_of", "edi", answer={"rdi": BUFFER, "rsi": 3})
    step.stand("pci_write_bar", "rdi", "esi", answer={})
    for flags, written in ((_WIDE, True), (_IO, True), (_WINDOW | _IO, False), (_WINDOW, False)):
        step.put(BUFFER, row(8, flags={3: flags}))
        step.run("fails", rdi=12)
        bars = [call for call in step.asked if call[0] == "pci_write_bar"]
        expected = [("pci_write_bar", BUFFER, 3)] if written else []
        step.same(bars, expected, "writes another BAR, or a window as one", flags=flags)


@contract("pci_place_bus", needs=(
    "pci_next_empty", "pci_limits", "pci_collect_taken", "pci_largest_empty", "pci_span", "pci_find_below",
    "ranges_add",
    "pci_may_go_high", "pci_find_above", "pci_commit", "pci_slot_of", "pci_placed", "pci_failed", "pci_taken",
))  # fmt: skip
def place_bus_alone(harness: Harness) -> None:
    """Slots below, above, and without room: each gets its place or its mark, and is counted."""
    step = Step(harness, "pci_place_bus")
    table(step, row(0x0308))
    at = BUFFER + _SLOTS_AT
    step.put(BUFFER, row(0x0308, slots={n: (0, 0x100 << n) for n in range(4)}))
    left: Iterator[int] = iter(())

    def largest(bus: int, kind: int) -> Mapping[str, int]:
        number = next(left, None)
        return {"cf": 1} if number is None else {"rdx": at + 16 * number, "rax": 8 + number + 1, "cf": 0}

    step.stand("pci_next_empty", "edi", "esi", "rax", answer={"rdx": at, "rax": 1, "cf": 0})
    step.stand("pci_limits", "edi", "esi", answer={})
    step.stand("pci_collect_taken", "edi", "esi", answer={})
    step.stand("pci_largest_empty", "edi", "esi", answer=largest)
    step.stand("pci_span", "rdi", "esi", answer=lambda size, kind: {"rdi": size + 0x10})
    step.stand("pci_find_below", "rdi", answer=lambda size: {"rax": 0xC000 + size, "cf": int(size != 0x110)})
    step.stand("pci_may_go_high", "r14d", "r12d", answer=lambda cursor, bus: {"cf": int(cursor == 12)})
    step.stand("pci_find_above", "rdi", answer=lambda size: {"rax": _HIGH + size, "cf": int(size == 0x410)})
    step.stand("ranges_add", "rdi", "rsi", "rdx")
    step.stand("pci_commit", "edi", answer={})
    step.stand("pci_slot_of", "edi", answer=lambda cursor: {"rdi": BUFFER, "rsi": cursor - 9})
    left = iter((0, 1, 2, 3))
    step.run("fails", rdi=3, rsi=_IO)
    got = ROW.unpack(harness.read(BUFFER, ROW.size))
    bases = (0xC110, _HIGH + 0x210, 0, 0)
    step.same(got[10:18:2], bases, "gives slots other addresses")
    step.same(tuple(got[9][:4]), (0, 0, _FAILED, _FAILED), "marks other slots as failed")
    counts = (step.get32("pci_placed"), step.get32("pci_failed"))
    step.same(counts, (2, 2), "counts other slots as placed or failed")
    wanted = {
        "pci_limits": [(3, _IO)], "pci_collect_taken": [(3, _IO)], "pci_commit": [(9,), (10,)],
        "ranges_add": [
            (step.at("pci_taken"), 0xC110, 0xC220), (step.at("pci_taken"), _HIGH + 0x210, _HIGH + 0x420),
        ],
        "pci_may_go_high": [(10, 3), (11, 3), (12, 3)], "pci_largest_empty": [(3, _IO)] * 5,
    }  # fmt: skip
    for name, calls in wanted.items():
        asked = [call[1:] for call in step.asked if call[0] == name]
        step.same(asked, calls, f"uses {name} in another way")
    left = iter((0,))
    step.stand_says("pci_next_empty", {"cf": 1})
    step.run("fails", rdi=3, rsi=_IO)
    step.same(len(step.asked), 1, "goes on where no slot is empty")
