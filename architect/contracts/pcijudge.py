"""The kernel on a PCI host, judged by what the hardware holds.

After the scan and the assignment every function has been found once, every BAR lies on a multiple of its size, where
nothing else is, and within the windows of the bridges above it (PCI Local Bus 3.0, 6.2.5.1; PCI-to-PCI Bridge 1.2,
3.2.5, 5.1). The kernel's own table is read only to see that it says the same.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from architect.contracts.model import Session
from architect.contracts.pcihost import IO, MASTER, MEMORY, Bar, Bridge, Function, Host
from toolchain.harness import Harness

ROOT_PARENT = 0xFFFF_FFFF
RAM_END = 0x800_0000
_RESERVED = (0xFD80_0000, 0x40_0000)
_HIGH_RAM = (0x1_0000_0000, 0x1_4000_0000)
_CHIPSET = 0xFEC0_0000  # interrupt controllers and the firmware's ROM lie from here to 4 GB
ADDRESS_BITS = 40
_LIMIT = 600_000
_PAGE = 0x1000
ROWS_MAX = 64

# A row of the kernel's table: bdf, layout, BARs, vendor, device, class, parent, secondary, subordinate, flags, slots.
ROW = struct.Struct("<HBBHHIIBB6s12Q8x")


class Machine(Session):
    """The kernel on a host."""

    def __init__(self, harness: Harness, root: Mapping[int, Function], *, mapped: bool = True) -> None:
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
        for first, end in ((0x1000, RAM_END), _HIGH_RAM):
            self.call("ranges_add", rdi=harness.address("memory_ram"), rsi=first, rdx=end)
            if mapped:
                self.call("bootinfo_add_memory", rdi=first, rsi=end - first, rdx=1)
        self.call("bootinfo_add_memory", rdi=_RESERVED[0], rsi=_RESERVED[1], rdx=2)

    def _cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return (ADDRESS_BITS | 48 << 8, 0, 0, 0) if leaf == 0x8000_0008 else (0, 0, 0, 0)

    def scan(self) -> None:
        """Find every function."""
        self.call("pci_scan_bus", limit=_LIMIT, rdi=0, rsi=255, rdx=ROOT_PARENT, rcx=0)

    def assign(self) -> None:
        """Give addresses to what has none."""
        self.call("pci_assign", limit=_LIMIT)

    def rows(self) -> list[tuple[int, ...]]:
        """The kernel's table."""
        count = self.harness.read_u32(self.harness.address("pci_count"))
        self.expect(count <= 64, "pci_add_function", "counts more rows than its table has")
        table = self.harness.read(self.harness.address("pci_table"), count * ROW.size)
        return list(ROW.iter_unpack(table))

    # --- judgement ---

    def polite(self, routine: str) -> None:
        """Nothing was done that software must not do."""
        for _, function, _ in self.host.everybody():
            self.host.complaints += function.complaints
        self.expect(not self.host.complaints, routine, "; ".join(self.host.complaints[:1]))

    def found(self, *hidden: Function) -> None:
        """Every function once, in the table and reachable under its number, with what its header says."""
        people = [person for person in self.host.everybody() if person[1] not in hidden]
        rows = {int(row[0]): row for row in self.rows()}
        self.equal(len(self.rows()), len(people), "pci_scan_bus", "finds another number of functions")
        self.equal(len(rows), len(people), "pci_scan_bus", "finds a function twice")
        for place, function, above in people:
            bdf = (above[-1].secondary if above else 0) << 8 | place
            self.expect(self.host.function(bdf) is function, "pci_scan_bus", "loses a function", bdf=bdf)
            self.expect(bdf in rows, "pci_scan_bus", "loses a function", bdf=bdf)
            row = rows[bdf]
            parent = row[6] if row[6] == ROOT_PARENT else self.rows()[row[6]][0] if row[6] < len(rows) else -1
            up = self.bdf(above[-1], above[:-1]) if above else ROOT_PARENT
            self.equal(parent, up, "pci_add_function", "notes another bridge above a function", bdf=bdf)
            told = (row[1], row[3], row[4], row[5])
            says = (function.layout, function.vendor, function.device, function.klass)
            self.expect(
                told == says, "pci_add_function", "notes another header than the function has", bdf=bdf
            )
            self.bars(function, row, bdf)

    def bdf(self, function: Function, above: tuple[Bridge, ...]) -> int:
        """The number under which a function is reached."""
        functions = above[-1].behind if above else self.host.root
        place = next(place for place, one in functions.items() if one is function)
        return (above[-1].secondary if above else 0) << 8 | place

    def bars(self, function: Function, row: tuple[int, ...], bdf: int) -> None:
        """The table holds each BAR's size, address and kind; the register holds what it held."""
        slots = row[10:22]
        for index in range(function.slots):
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

    def assigned(self, *kept: Bridge) -> None:
        """Every BAR has an address of its own, and every bridge passes it on; ``kept`` are firmware's bridges."""
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
        self.windows(self.host.root, kept)

    def free(self, bar: Bar, first: int, end: int, what: Mapping[str, int]) -> None:
        """A BAR lies where neither RAM nor the chipset is."""
        if bar.io:
            self.expect(
                first >= 0xD00 and end <= 0x10000, "pci_limits", "places ports where none can be", **what
            )
            return
        ranges = ((0, RAM_END), (_RESERVED[0], sum(_RESERVED)), (_CHIPSET, 1 << 32), _HIGH_RAM)
        clash = any(first < high and low < end for low, high in ranges)
        self.expect(not clash, "pci_collect_taken", "places a BAR on memory that is taken", **what)
        reach = end <= 1 << (ADDRESS_BITS if bar.wide else 32)
        self.expect(reach, "pci_find_above", "places a BAR where it cannot be reached", **what)

    def windows(self, functions: Mapping[int, Function], kept: Sequence[Bridge]) -> None:
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
            self.expect(high <= low or bridge in kept, "pci_write_windows", promise, low=low, high=high)
            self.windows(bridge.behind, kept)
