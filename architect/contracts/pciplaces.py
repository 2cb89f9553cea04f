"""Giving addresses to PCI functions: each routine alone.

PCI Local Bus 3.0, 6.2.5.1 (a BAR lies on a multiple of its size); PCI-to-PCI Bridge 1.2, 3.2.5 (windows); PCI Firmware
3.3, 4.1.2 (MCFG). The limits (ceilings, floors, a cursor over slots) are those of ``include/pci.inc``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from architect.contracts import contract
from architect.contracts.acpi import table as acpi_table
from architect.contracts.memorysteps import pack_set
from architect.contracts.pcihost import COMMAND, ONES
from architect.contracts.pcijudge import ROW
from architect.contracts.pcisteps import Registers, row, table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_IO, _WIDE, _WINDOW, _FAILED = 1, 4, 16, 32
_SLOTS_AT = 0x18
_MB = 1 << 20
_CEILING, _HIGH = 0xFE00_0000, 1 << 32
_IO_FLOOR, _IO_CEILING = 0xC000, 0x1_0000


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


# --- room ---------------------------------------------------------------------------------------------------


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
