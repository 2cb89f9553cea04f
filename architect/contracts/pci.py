"""Enumeration and assignment of PCI functions, on hosts of every kind (``pcihost``, ``pcijudge``).

PCI Local Bus 3.0, 6.2.5.1; PCI-to-PCI Bridge 1.2, 3.2.5, 5.1; PCI Express 5.0, 7.3.1. What firmware gave stays.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.pcihost import (
    BUSES,
    CAPABILITIES,
    IO,
    IO_WINDOW,
    IO_WINDOW_HIGH,
    MASTER,
    MEMORY,
    MEMORY_WINDOW,
    PREFETCH_BASE_HIGH,
    PREFETCH_LIMIT_HIGH,
    PREFETCH_WINDOW,
    Bar,
    Bridge,
    Function,
)
from architect.contracts.pcijudge import ADDRESS_BITS, RAM_END, ROW, ROWS_MAX, Machine
from toolchain.harness import Harness


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
    hidden = _device(
        6
    )  # function 2 of a device whose function 0 says that there are no others: a mirror of it
    card = Function(device=7, layout=2, bars={0: Bar(0x1000)}, klass=0x060700)
    odd = Function(device=8, layout=5, klass=0x0B4000)
    cut = _device(9, b0=Bar(64), b5=Bar(0x1000))
    cut.extra = {0x28: 0xFFFF_FFFF}  # behind the last BAR lies something else
    machine = Machine(
        harness,
        {
            0: vga,
            0x18: wide,
            0x1A: hidden,
            0x28: edge,
            0x2F: twin,
            0x30: card,
            0x38: odd,
            0x40: cut,
            0xF8: ports,
        },
    )
    machine.scan()
    machine.polite("pci_size_bars")
    machine.found(hidden)
    machine.restored()
    for first, klass, mask, expected in (
        (0, 0x030000, 0xFF0000, 0),
        (1, 0x030000, 0xFF0000, None),
        (0, 0xFF00, 0xFFFF00, 1),
    ):
        result = machine.call("pci_find_class", rdi=first, rsi=klass, rdx=mask)
        row = harness.address("pci_table") + (expected or 0) * ROW.size
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
    for buses in (0x0005_0200, 0x0001_0100, 0x0001_0200):
        inner = Bridge(device=0x21, behind=dict(leaf))
        fresh = Bridge(device=0x22, behind={0: inner, 8: _device(2)})
        given = Bridge(device=0x23, behind=dict(leaf), registers={BUSES: buses | 0x40 << 24})
        machine = Machine(harness, {0: fresh, 8: given})
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
    greedy = Bridge(device=0x25, behind=dict(leaf), registers={BUSES: 0x00FF_0200})
    lost = Bridge(device=0x26, behind=dict(leaf))
    machine = Machine(harness, {0: link, 8: greedy, 0x10: lost})
    machine.scan()
    rows = [row for row in machine.rows() if row[4] == 7]
    machine.expect(
        len(rows) == 0, "pci_follow_bridge", "gives a bus number where none is left", got=len(rows)
    )
    machine.equal(lost.secondary, 0, "pci_follow_bridge", "gives a bus number where none is left")
    machine = Machine(harness, {0: link})
    link.registers = {}
    machine.scan()
    machine.equal(
        len(machine.rows()), 2, "pci_devices_behind", "finds a link's one device under several numbers"
    )


@contract(
    "pci_add_function",
    "pci_scan_functions",
    needs=("pci_count", "pci_lost", "pci_table", "pci_scan_bus", "memory_ram"),
)
def full_table(harness: Harness) -> None:
    """More functions than the table has rows: the rest is counted, nothing is written behind the table."""
    many = {d << 3 | f: _device(d << 3 | f) for d in range(12) for f in range(8)}
    for place, function in many.items():
        function.multifunction = not place & 7
    machine = Machine(harness, many)
    machine.scan()
    rows, lost = len(machine.rows()), harness.read_u32(harness.address("pci_lost"))
    machine.equal(rows, ROWS_MAX, "pci_add_function", "leaves rows of its table empty")
    machine.expect(lost > 0, "pci_add_function", "loses functions without counting them")


@contract(
    "pci_read_bridge", "pci_read_memory_window", "pci_read_prefetch_window", "pci_set_window", "pci_collect_taken",
    "pci_limits", "pci_write_windows", "pci_assign", "pci_may_go_high", "pci_find_below", "pci_find_above",
    needs=("pci_scan_bus", "pci_count", "pci_table", "memory_ram", "ranges_add", "bootinfo_add_memory"),
)  # fmt: skip
def given_windows(harness: Harness) -> None:
    """Windows that firmware opened are read as they are, kept, filled from inside and left alone from outside."""
    inner = {
        0: _device(1, b0=Bar(1 << 20, base=0xFC00_0000), b1=Bar(32, io=True, base=0xC000)),
        8: _device(2, b0=Bar(1 << 20), b1=Bar(64, io=True)),
    }
    opened = Bridge(
        behind=dict(inner), command=IO | MEMORY | MASTER,
        registers={
            BUSES: 0x0001_0100, IO_WINDOW: 0xC0C0, MEMORY_WINDOW: 0xFC30_FC00,
            PREFETCH_WINDOW: 0x8FF0_8000, PREFETCH_BASE_HIGH: 1, PREFETCH_LIMIT_HIGH: 1,
        },
    )  # fmt: skip
    closed = Bridge(
        behind={0: _device(3, b0=Bar(1 << 20), b1=Bar(32, io=True))},
        registers={
            MEMORY_WINDOW: 0x0000_FFF0,
            IO_WINDOW: 0x00F0,
            IO_WINDOW_HIGH: 0x0001_0001,
            PREFETCH_WINDOW: 0xFFF0,
        },
    )
    outside = _device(4, b0=Bar(1 << 23), b1=Bar(64, io=True), b2=Bar(1 << 31, wide=True, prefetch=True))
    outside.bars[4] = Bar(1 << 31, wide=True, prefetch=True)
    outside.command = IO | MEMORY  # left on by firmware, though its BARs hold no address
    machine = Machine(harness, {0: opened, 8: closed, 0x10: outside})
    before = {offset: value for offset, value in opened.registers.items() if value}
    machine.scan()
    windows = {2: (0xC000, 0x1000), 3: (0xFC00_0000, 0x40_0000), 4: (0x1_8000_0000, 0x1000_0000)}
    slots = machine.rows()[0][10:22]
    for slot, (base, size) in windows.items():
        got = (slots[2 * slot], slots[2 * slot + 1])
        machine.expect(
            got == (base, size), "pci_read_bridge", "takes a window for another", slot=slot, got=repr(got)
        )
    machine.assign()
    machine.polite("pci_write_bar")
    after = {offset: value for offset, value in opened.registers.items() if value}
    machine.expect(after == before, "pci_write_windows", "changes a window that firmware opened")
    machine.assigned(opened)
    machine.found()
    ranges = [(base, base + size, slot == 2) for slot, (base, size) in windows.items()]
    for bar in (*outside.bars.values(), *closed.behind[0].bars.values()):
        clash = any(
            bar.io == io and bar.base < end and first < bar.base + bar.size for first, end, io in ranges
        )
        machine.expect(
            not clash, "pci_collect_taken", "places a BAR in a window that leads elsewhere", base=bar.base
        )
    machine.equal(outside.command, IO | MEMORY, "pci_write_bar", "leaves another command register")


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
    vga.command = IO | MEMORY
    fixed = _device(2, b0=Bar(1 << 20, base=0xFDF0_0000), b1=Bar(32, io=True, base=0xFFE0))
    fixed.command = IO | MEMORY
    huge = _device(3, b0=Bar(1 << 33, wide=True, prefetch=True), b2=Bar(0x20), b3=Bar(0x20))
    bridge = Bridge(
        behind={0: _device(4, b0=Bar(1 << 22), b1=Bar(64, io=True)), 8: Bridge(behind={8: _random(noise)})}
    )
    empty = Bridge(behind={0: _device(5)})
    machine = Machine(
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
    # Three of 1 GB: the last has no room, for interrupt controllers and RAM take parts of the other two gigabytes;
    # and one that no CPU of this kind can address.
    crowd = _device(6, b0=Bar(1 << 30), b1=Bar(1 << 30), b2=Bar(1 << 30), b3=Bar(0x1000))
    crowd.bars[4] = Bar(1 << ADDRESS_BITS + 1, wide=True)
    machine = Machine(harness, {0: crowd})
    machine.scan()
    machine.assign()
    machine.polite("pci_write_bar")
    bases = [bar.base for bar in crowd.bars.values()]
    fits = sorted(bases[:3]) == [0, 0x4000_0000, 0x8000_0000] and bases[3] > 0xC000_0000 and bases[4] == 0
    machine.expect(fits, "pci_place_bus", "gives up more than what finds no room, or less", got=repr(bases))
    failed = harness.read_u32(harness.address("pci_failed"))
    machine.equal(failed, 2, "pci_place_bus", "counts other BARs as failed")
    placed = harness.read_u32(harness.address("pci_placed"))
    machine.equal(placed, 3, "pci_place_bus", "counts other BARs as placed")
    floor = _device(7, b0=Bar(1 << 30), b1=Bar(1 << 30), b2=Bar(1 << 30))
    machine = Machine(harness, {0: floor}, mapped=False)
    machine.scan()
    machine.assign()
    low = [bar.base for bar in floor.bars.values() if bar.base and bar.base < RAM_END]
    machine.expect(not low, "pci_root_floor", "places a BAR on RAM", got=repr(low))


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
