"""Enumeration and assignment, judged by what the hardware holds afterwards.

A host answers configuration accesses (``pcihost``); after the scan and the assignment every function has been found
once, every BAR lies on a multiple of its size, where nothing else is, and within the windows of the bridges above it
(PCI Local Bus 3.0, 6.2.5.1; PCI-to-PCI Bridge 1.2, 3.2.5, 5.1). What firmware gave stays. The kernel's own table is
read only to see that it says the same.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.pcihost import BUSES, CAPABILITIES, IO, MASTER, MEMORY, Bar, Bridge, Function, Host
from toolchain.harness import Harness

_ROOT_PARENT = 0xFFFF_FFFF
_RAM_END = 0x800_0000
_RESERVED = (0xFD80_0000, 0x40_0000)
_HIGH_RAM = (0x1_0000_0000, 0x1_4000_0000)
_CHIPSET = 0xFEC0_0000  # interrupt controllers and the firmware's ROM lie from here to 4 GB
_ADDRESS_BITS = 40
_LIMIT = 2_000_000
_PAGE = 0x1000

# A row of the kernel's table: bdf, layout, BARs, vendor, device, class, parent, secondary, subordinate, flags, slots.
_ROW = struct.Struct("<HBBHHIIBB6s12Q8x")


class _Machine(Session):
    """The kernel on a host."""

    def __init__(self, harness: Harness, root: Mapping[int, Function]) -> None:
        super().__init__(harness)
        harness.renew()
        self.host = Host(harness, root)
        harness.cpuid = self._cpuid
        self.before = [
            (
                function,
                dict(function.bars),
                {i: bar.base for i, bar in function.bars.items()},
                function.command,
            )
            for _, function, _ in self.host.everybody()
        ]
        for first, end in ((0x1000, _RAM_END), _HIGH_RAM):
            self.call("ranges_add", rdi=harness.address("memory_ram"), rsi=first, rdx=end)
            self.call("bootinfo_add_memory", rdi=first, rsi=end - first, rdx=1)
        self.call("bootinfo_add_memory", rdi=_RESERVED[0], rsi=_RESERVED[1], rdx=2)

    def _cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return (_ADDRESS_BITS | 48 << 8, 0, 0, 0) if leaf == 0x8000_0008 else (0, 0, 0, 0)

    def scan(self) -> None:
        """Find every function."""
        self.call("pci_scan_bus", limit=_LIMIT, rdi=0, rsi=255, rdx=_ROOT_PARENT, rcx=0)

    def assign(self) -> None:
        """Give addresses to what has none."""
        self.call("pci_assign", limit=_LIMIT)

    def rows(self) -> list[tuple[int, ...]]:
        """The kernel's table."""
        count = self.harness.read_u32(self.harness.address("pci_count"))
        self.expect(count <= 64, "pci_add_function", "counts more rows than its table has")
        table = self.harness.read(self.harness.address("pci_table"), count * _ROW.size)
        return list(_ROW.iter_unpack(table))

    # --- judgement ---

    def polite(self, routine: str) -> None:
        """Nothing was done that software must not do."""
        for _, function, _ in self.host.everybody():
            self.host.complaints += function.complaints
        self.expect(not self.host.complaints, routine, "; ".join(self.host.complaints[:1]))

    def found(self) -> None:
        """Every function once, in the table and reachable under its number, with what its header says."""
        people = list(self.host.everybody())
        rows = {int(row[0]): row for row in self.rows()}
        self.equal(len(self.rows()), len(people), "pci_scan_bus", "finds another number of functions")
        self.equal(len(rows), len(people), "pci_scan_bus", "finds a function twice")
        for place, function, above in people:
            bdf = (above[-1].secondary if above else 0) << 8 | place
            self.expect(self.host.function(bdf) is function, "pci_scan_bus", "loses a function", bdf=bdf)
            self.expect(bdf in rows, "pci_scan_bus", "loses a function", bdf=bdf)
            row = rows[bdf]
            told = (row[1], row[3], row[4], row[5])
            says = (function.layout, function.vendor, function.device, function.klass)
            self.expect(
                told == says, "pci_add_function", "notes another header than the function has", bdf=bdf
            )
            self.bars(function, row, bdf)

    def bars(self, function: Function, row: tuple[int, ...], bdf: int) -> None:
        """The table holds each BAR's size, address and kind; the register holds what it held."""
        slots = row[10:22]
        for index in range(6 if function.layout == 0 else 2):
            bar = function.bars.get(index)
            base, size = slots[2 * index], slots[2 * index + 1]
            what = {"bdf": bdf, "index": index}
            self.equal(size, bar.size if bar else 0, "pci_size_bar", "takes a BAR for another size", **what)
            self.equal(base, bar.base if bar else 0, "pci_size_bar", "notes another address of a BAR", **what)
            flags = bytes(row[9])[index] if bar else 0
            kind = bool(flags & 1), bool(flags & 8), bool(flags & 4)
            wanted = (bar.io, bar.prefetch, bar.wide) if bar else (False, False, False)
            self.expect(kind == wanted, "pci_size_bar", "takes a BAR for another kind", **what)

    def restored(self) -> None:
        """Sizing leaves registers as they were."""
        for function, bars, bases, command in self.before:
            same = all(bar.base == bases[index] for index, bar in bars.items())
            self.expect(same, "pci_size_bars", "leaves a BAR with another address", device=function.device)
            promise = "leaves another command register"
            self.equal(function.command, command, "pci_size_bars", promise, device=function.device)

    def numbered(self) -> None:
        """A secondary bus lies behind its primary, within the range of every bridge above."""
        seen = {0}
        for place, bridge, above in self.host.everybody():
            if not isinstance(bridge, Bridge):
                continue
            primary = above[-1].secondary if above else 0
            what = {"bus": primary, "place": place}
            self.equal(
                bridge.primary, primary, "pci_write_numbers", "tells a bridge a wrong primary bus", **what
            )
            behind = primary < bridge.secondary <= bridge.subordinate
            self.expect(behind, "pci_follow_bridge", "gives bus numbers that do not ascend", **what)
            self.expect(bridge.secondary not in seen, "pci_follow_bridge", "gives a bus number twice", **what)
            seen.add(bridge.secondary)
            nested = all(
                up.secondary < bridge.secondary <= bridge.subordinate <= up.subordinate for up in above
            )
            self.expect(nested, "pci_follow_bridge", "gives a number that no bridge above passes on", **what)

    def assigned(self) -> None:
        """Every BAR has an address of its own, and every bridge passes it on."""
        taken: list[tuple[bool, int, int]] = []
        for place, function, above in self.host.everybody():
            for index, bar in function.bars.items():
                what = {"place": place, "index": index, "base": bar.base, "size": bar.size}
                self.expect(bool(bar.base), "pci_place_bus", "leaves a BAR without an address", **what)
                self.expect(bar.base % bar.size == 0, "pci_place_bus", "misaligns a BAR", **what)
                first, end = bar.base, bar.base + max(bar.size, 1 if bar.io else _PAGE)
                self.free(bar, first, end, what)
                clash = any(io == bar.io and first < b and a < end for io, a, b in taken)
                self.expect(not clash, "pci_place_bus", "gives two BARs the same addresses", **what)
                taken.append((bar.io, first, end))
                for bridge in above:
                    low, high = bridge.window(io=bar.io)
                    inside = low <= bar.base and bar.base + bar.size <= high
                    self.expect(
                        inside, "pci_write_windows", "opens a window that does not cover a BAR", **what
                    )
                    passes = bridge.command & (IO | MEMORY | MASTER) == IO | MEMORY | MASTER
                    self.expect(passes, "pci_write_windows", "leaves a bridge that passes nothing on", **what)
        self.windows(self.host.root)

    def free(self, bar: Bar, first: int, end: int, what: Mapping[str, int]) -> None:
        """A BAR lies where neither RAM nor the chipset is."""
        if bar.io:
            self.expect(
                first >= 0xD00 and end <= 0x10000, "pci_limits", "places ports where none can be", **what
            )
            return
        ranges = ((0, _RAM_END), (_RESERVED[0], sum(_RESERVED)), (_CHIPSET, 1 << 32), _HIGH_RAM)
        clash = any(first < high and low < end for low, high in ranges)
        self.expect(not clash, "pci_collect_taken", "places a BAR on memory that is taken", **what)
        reach = end <= 1 << (_ADDRESS_BITS if bar.wide else 32)
        self.expect(reach, "pci_find_above", "places a BAR where it cannot be reached", **what)

    def windows(self, functions: Mapping[int, Function]) -> None:
        """Sibling bridges pass on different addresses, and none that a sibling function has; the rest is closed."""
        bridges = [f for f in functions.values() if isinstance(f, Bridge)]
        for io in (True, False):
            taken = [
                (bar.base, bar.base + bar.size)
                for function in functions.values()
                for bar in function.bars.values()
                if bar.io == io
            ]
            for bridge in bridges:
                low, high = bridge.window(io=io)
                wanted = any(
                    bar.io == io for _, f, _ in self.host.everybody(bridge.behind) for bar in f.bars.values()
                )
                closed = high <= low
                promise = "opens a window with nothing behind it"
                self.expect(closed or wanted, "pci_write_windows", promise, low=low, high=high)
                clash = not closed and any(low < b and a < high for a, b in taken)
                self.expect(
                    not clash, "pci_size_window", "lets two pass the same addresses on", low=low, high=high
                )
                taken.append((low, high))
        for bridge in bridges:
            low, high = bridge.prefetch_window()
            promise = "leaves the prefetchable window open"
            self.expect(high <= low, "pci_write_windows", promise, low=low, high=high)
            self.windows(bridge.behind)


def _device(number: int, **bars: Bar) -> Function:
    return Function(device=number, bars={int(index[1:]): bar for index, bar in bars.items()})


@contract(
    "pci_size_bars", "pci_size_bar", "pci_probe_register", "pci_add_function", "pci_scan_functions", "pci_scan_bus",
    "pci_row", "pci_find_class",
    needs=("pci_scan_bus", "pci_count", "pci_table", "memory_ram", "ranges_add", "bootinfo_add_memory"),
)  # fmt: skip
def bar_sizes(harness: Harness) -> None:
    """Sizes of all kinds, with decoding on and addresses assigned, are learnt without a trace."""
    vga = _device(0x1111, b0=Bar(1 << 24, prefetch=True, base=0xE000_0000), b2=Bar(0x1000, base=0xFEB0_0000))
    vga.klass, vga.command = 0x030000, IO | MEMORY
    wide = _device(
        2, b0=Bar(1 << 34, wide=True, prefetch=True), b2=Bar(0x4000, wide=True, base=0x12_0000_4000)
    )
    wide.command = MEMORY | MASTER
    ports = _device(
        3, b0=Bar(32, io=True, base=0xC020), b1=Bar(4, io=True), b4=Bar(8, io=True, short=True), b5=Bar(16)
    )
    edge = _device(
        4, b1=Bar(1 << 31), b3=Bar(0x2000, wide=True, base=0x8000_0000), b5=Bar(256, base=0x9000_0000)
    )
    edge.multifunction, edge.command = True, MEMORY
    twin = _device(5, b0=Bar(0x10))
    hidden = _device(6)
    machine = _Machine(harness, {0: vga, 0x18: wide, 0xF8: ports, 0x28: edge, 0x2F: twin, 0x1A: hidden})
    del machine.host.root[0x1A]  # a function that nobody may see: its function 0 is no multifunction device
    machine.scan()
    machine.polite("pci_size_bars")
    machine.found()
    machine.restored()
    for first, klass, mask, expected in (
        (0, 0x030000, 0xFF0000, 0),
        (1, 0x030000, 0xFF0000, None),
        (0, 0xFF00, 0xFFFF00, 1),
    ):
        result = machine.call("pci_find_class", rdi=first, rsi=klass, rdx=mask)
        row = harness.address("pci_table") + (expected or 0) * _ROW.size
        found = None if result.flag("cf") else result.registers["rax"]
        machine.expect(
            found == (None if expected is None else row),
            "pci_find_class",
            "finds another row",
            rdi=first,
            rsi=klass,
        )


@contract(
    "pci_scan_bus", "pci_scan_functions", "pci_devices_behind", "pci_follow_bridge", "pci_scan_behind",
    "pci_is_numbered", "pci_highest_given", "pci_write_numbers", "pci_read_bridge", "pci_open_bus",
    needs=("pci_count", "pci_table", "memory_ram", "ranges_add", "bootinfo_add_memory"),
)  # fmt: skip
def bus_numbers(harness: Harness) -> None:
    """Bridges that firmware numbered, bridges that it forgot, numbers that make no sense, bridges behind bridges."""
    leaf = {0: _device(1, b0=Bar(0x1000))}
    for buses in (0x0003_0300, 0x0001_0200, 0x00FF_0001):
        inner = Bridge(device=0x21, behind=dict(leaf))
        fresh = Bridge(device=0x22, behind={0: inner, 8: _device(2)})
        given = Bridge(device=0x23, behind=dict(leaf), registers={BUSES: buses | 0x40 << 24})
        machine = _Machine(harness, {0: fresh, 8: given})
        machine.scan()
        machine.polite("pci_scan_bus")
        machine.numbered()
        machine.found()
        machine.equal(
            given.registers[BUSES] >> 24, 0x40, "pci_write_numbers", "changes a bridge's latency timer"
        )
        if buses == 0x0003_0300:
            machine.equal(
                given.registers[BUSES] & 0xFFFFFF, buses, "pci_follow_bridge", "renumbers what firmware gave"
            )
    link = Bridge(device=0x24, behind={d << 3: _device(7) for d in range(4)})
    link.extra = {
        CAPABILITIES: 0x40,
        0x40: 0x0042_00_10,
    }  # a root port: one device, which answers to every number
    machine = _Machine(harness, {0: link})
    machine.scan()
    machine.equal(
        len(machine.rows()), 2, "pci_devices_behind", "finds a link's one device under several numbers"
    )


_ASSIGNS = (
    "pci_assign", "pci_place_bus", "pci_slot_of", "pci_commit", "pci_largest_empty", "pci_limits", "pci_root_floor",
    "pci_find_below", "pci_may_go_high", "pci_find_above", "pci_highest_bus", "pci_bridge_to", "pci_size_windows",
    "pci_size_window", "pci_span", "pci_next_empty", "pci_collect_taken", "pci_take_memory_map", "pci_write_bar",
    "pci_enable", "pci_write_windows", "pci_window_ends", "pci_set_window", "pci_read_bridge",
    "pci_read_memory_window", "pci_read_prefetch_window",
)  # fmt: skip


@contract(
    *_ASSIGNS,
    needs=("pci_scan_bus", "pci_count", "pci_table", "memory_ram", "ranges_add", "bootinfo_add_memory"),
)
def bar_addresses(harness: Harness) -> None:
    """Machines without firmware, with one that did half, and with BARs that fit nowhere below 4 GB."""
    noise = random.Random(9)
    vga = _device(1, b0=Bar(1 << 24, prefetch=True), b2=Bar(0x1000), b4=Bar(32, io=True))
    fixed = _device(2, b0=Bar(1 << 20, base=0xFDF0_0000), b1=Bar(32, io=True, base=0xFFE0))
    fixed.command = IO | MEMORY
    huge = _device(3, b0=Bar(1 << 33, wide=True, prefetch=True), b2=Bar(0x20), b3=Bar(0x20))
    bridge = Bridge(
        behind={0: _device(4, b0=Bar(1 << 22), b1=Bar(64, io=True)), 8: Bridge(behind={8: _random(noise)})}
    )
    empty = Bridge(behind={0: _device(5)})
    machine = _Machine(
        harness, {8: vga, 0x10: fixed, 0x18: huge, 0x20: bridge, 0x28: empty, 0x30: _random(noise)}
    )
    machine.scan()
    machine.assign()
    machine.polite("pci_write_bar")
    machine.numbered()
    machine.assigned()
    machine.found()
    kept = (fixed.bars[0].base, fixed.bars[1].base, fixed.command)
    machine.expect(kept == (0xFDF0_0000, 0xFFE0, IO | MEMORY), "pci_assign", "moves what firmware assigned")
    # Three of 1 GB: the last has no room, for interrupt controllers and RAM take parts of the other two gigabytes.
    crowd = _device(6, b0=Bar(1 << 30), b1=Bar(1 << 30), b2=Bar(1 << 30), b3=Bar(0x1000))
    machine = _Machine(harness, {0: crowd})
    machine.scan()
    machine.assign()
    machine.polite("pci_write_bar")
    bases = sorted(bar.base for bar in crowd.bars.values())
    fits = bases[0] == 0 and bases[1:3] == [0x4000_0000, 0x8000_0000] and bases[3] > 0xC000_0000
    machine.expect(fits, "pci_place_bus", "gives up more than what finds no room, or less", got=repr(bases))


def _random(noise: random.Random) -> Function:
    """A function with registers as devices have them."""
    bars: dict[int, Bar] = {}
    index = 0
    while index < 6:
        kind = noise.random()
        if kind < 0.25:
            bars[index] = Bar(1 << noise.randint(2, 8), io=True)
        elif kind < 0.5:
            bars[index] = Bar(1 << noise.randint(4, 22))
        elif kind < 0.7 and index < 5:
            bars[index] = Bar(1 << noise.randint(7, 23), wide=True, prefetch=noise.random() < 0.5)
            index += 1
        index += 1
    return Function(device=noise.randrange(0x10, 0xFFFF), bars=bars)
