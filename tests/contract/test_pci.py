"""PCI enumeration and assignment on machines whose firmware left everything empty, bus numbers too."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest

from tests.contract.kernel import kernel_image
from tests.contract.pci_machine import Bar, Bridge, Function, PciMachine

PARENT_ROOT = 0xFFFF_FFFF
ROW_SIZE = 0x80
CEILING, IO_FLOOR = 0xFE00_0000, 0xC000
RAM_END = 0x800_0000
LIMIT = 5_000_000


def enumerate_pci(root: Mapping[int, Function], ram_end: int = RAM_END) -> PciMachine:
    """Scan and assign; every call must return."""
    machine = PciMachine(kernel_image(), root)
    ram = machine.address("memory_ram")
    assert not machine.call("ranges_add", {"rdi": ram, "rsi": 0x1000, "rdx": ram_end}).flag("cf")
    scanned = machine.call("pci_scan_bus", {"rdi": 0, "rsi": 255, "rdx": PARENT_ROOT, "rcx": 0}, limit=LIMIT)
    assert scanned.end == "returned"
    assert machine.call("pci_assign", limit=LIMIT).end == "returned"
    return machine


def counter(machine: PciMachine, name: str) -> int:
    """A 32-bit count that the kernel keeps."""
    return int.from_bytes(machine.read(machine.address(name), 4), "little")


def rows(machine: PciMachine) -> dict[int, bytes]:
    """The rows of pci_table by bdf."""
    table = machine.address("pci_table")
    found = [machine.read(table + i * ROW_SIZE, ROW_SIZE) for i in range(counter(machine, "pci_count"))]
    return {int.from_bytes(row[:2], "little"): row for row in found}


def everybody(
    functions: Mapping[int, Function], above: tuple[Bridge, ...] = ()
) -> Iterator[tuple[Function, tuple[Bridge, ...]]]:
    """Every function with the bridges above it."""
    for function in functions.values():
        yield function, above
        if isinstance(function, Bridge):
            yield from everybody(function.behind, (*above, function))


def check(machine: PciMachine, *, io_may_lack: bool = False) -> None:
    """Everybody is found, and every BAR lies where it may.

    Args:
        machine: after ``enumerate_pci``.
        io_may_lack: ports may have run out (16 KiB, and each bridge takes 4 of them): the kernel has said so then.
    """
    found = rows(machine)
    people = list(everybody(machine.root))
    assert len(found) == len(people)
    assert all(machine.function(bdf) is not None for bdf in found)
    taken: list[tuple[bool, int, int]] = []
    for function, above in people:
        assert function.complaints == []
        for bar in function.bars.values():
            if io_may_lack and bar.io and not bar.base:
                assert counter(machine, "pci_failed")
                continue
            assert bar.base, f"no address for {bar}"
            assert bar.base % bar.size == 0
            first, end = bar.base, bar.base + bar.size
            assert first >= IO_FLOOR if bar.io else (first >= RAM_END and not first < CEILING < end)
            for bridge in above:
                low, high = bridge.io_range() if bar.io else bridge.memory_range()
                assert low <= first and end <= high, "outside of a bridge's window"
                assert bridge.command & 7 == 7
            assert all(io != bar.io or end <= a or b <= first for io, a, b in taken), "overlap"
            taken.append((bar.io, first, end))


def random_machine(noise: random.Random, depth: int = 3) -> dict[int, Function]:
    """A bus with functions, some of them bridges to more."""
    bus: dict[int, Function] = {}
    for device in noise.sample(range(32), noise.randint(1, 4)):
        if depth and noise.random() < 0.4:
            bus[device << 3] = Bridge(behind=random_machine(noise, depth - 1))
        else:
            bus[device << 3] = Function(device=noise.randrange(1, 0xFFFF), bars=random_bars(noise))
    return bus


def random_bars(noise: random.Random) -> dict[int, Bar]:
    """Registers as devices have them."""
    bars: dict[int, Bar] = {}
    index = 0
    while index < 6:
        kind = noise.random()
        if kind < 0.2:
            bars[index] = Bar(1 << noise.randint(2, 8), io=True)
        elif kind < 0.4:
            bars[index] = Bar(1 << noise.randint(4, 22))
        elif kind < 0.6 and index < 5:
            bars[index] = Bar(1 << noise.randint(7, 23), wide=True, prefetch=noise.random() < 0.5)
            index += 1
        index += 1
    return bars


@pytest.mark.parametrize("seed", range(25))
def test_random_machines(seed: int) -> None:
    check(enumerate_pci(random_machine(random.Random(seed))), io_may_lack=True)


def test_vga_lands_below_the_ceiling() -> None:
    vga = Function(klass=0x030000, bars={0: Bar(16 << 20, prefetch=True), 2: Bar(0x1000)})
    check(enumerate_pci({1 << 3: vga, 2 << 3: Function(bars={0: Bar(0x1000)})}))
    assert vga.bars[0].base == 0xFD00_0000


def test_what_firmware_assigned_stays() -> None:
    fixed = Function(bars={0: Bar(16 << 20, base=0xFD00_0000), 1: Bar(32, io=True, base=0xFFE0)}, command=7)
    empty = Function(bars={0: Bar(16 << 20), 1: Bar(32, io=True)})
    check(enumerate_pci({0: fixed, 8: empty}))
    assert (fixed.bars[0].base, fixed.bars[1].base, fixed.command) == (0xFD00_0000, 0xFFE0, 7)


def test_bridges_that_firmware_numbered_stay() -> None:
    numbered = Bridge(behind={0: Function(bars={0: Bar(0x1000)})}, buses=0x0003_0300)
    fresh = Bridge(behind={0: Function(bars={0: Bar(0x2000)})})
    check(enumerate_pci({0: fresh, 8: numbered}))
    assert (numbered.secondary, fresh.secondary) == (3, 4)


@pytest.mark.parametrize("buses", [0x0001_0000, 0x0000_0100, 0x0001_0200, 0x00FF_0001])
def test_numbers_that_make_no_sense_are_given_anew(buses: int) -> None:
    bridge = Bridge(behind={0: Function(bars={0: Bar(0x1000)})}, buses=buses)
    check(enumerate_pci({0: bridge}))
    assert bridge.secondary == 1


def test_multifunction_devices_are_asked_for_all_functions() -> None:
    class Multi(Function):
        header = 0x80

    silent = {8: Function(device=5), 8 + 1: Function(device=6)}  # function 1 behind a single-function device
    machine = enumerate_pci({0: Multi(), 3: Function(device=2), 7: Function(device=3), **silent})
    assert sorted(rows(machine)) == [0, 3, 7, 8]


def test_64_bit_bars_go_above_4_gb_when_they_must() -> None:
    huge = Function(bars={0: Bar(8 << 30, wide=True, prefetch=True), 2: Bar(0x1000)})
    check(enumerate_pci({0: huge}))
    assert huge.bars[0].base >= 1 << 32
    assert huge.bars[2].base < 1 << 32


def test_what_finds_no_room_stays_empty_and_is_counted() -> None:
    machine = enumerate_pci(
        {0: Function(bars={0: Bar(1 << 31), 1: Bar(1 << 31), 2: Bar(0x1000)})}, 0x7000_0000
    )
    function = machine.root[0]
    assert [bar.base for bar in function.bars.values()].count(0) == 2
    assert function.bars[2].base
    assert counter(machine, "pci_failed") == 2


def test_deep_and_wide_trees_end() -> None:
    tree: dict[int, Function] = {0: Function(bars={0: Bar(0x1000)})}
    for _ in range(20):
        tree = {0: Bridge(behind=tree)}
    assert len(rows(enumerate_pci(tree))) == 17  # bus 0 and 16 levels
    full = {device << 3: Bridge(behind={d << 3: Function() for d in range(4)}) for device in range(32)}
    machine = enumerate_pci(full)
    assert len(rows(machine)) == 64
    assert counter(machine, "pci_lost") > 0
