"""What the kernel makes of a loader's memory map, held against a model of single pages."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence

import pytest

from tests.contract.kernel import kernel_image
from toolchain.harness import Harness

PAGE = 4096
USABLE, RESERVED, ACPI, NVS, BAD = 1, 2, 3, 4, 5
ENTRY = 24
FLOOR = 0x100000
SPAN = 0x600  # pages that the random maps lie in
Entry = tuple[int, int, int]  # base, length, type
Module = tuple[int, int]  # base, length


@functools.cache
def emulator() -> Harness:
    """One machine for all tests; ``renew`` makes it new."""
    return Harness(kernel_image())


def sets(entries: Sequence[Entry], modules: Sequence[Module] = ()) -> Harness:
    """Run the kernel's own steps from the loader's map to memory_free and memory_ram."""
    machine = emulator()
    machine.renew()
    table = machine.address("bootinfo_memory_map")
    for index, entry in enumerate(entries):
        machine.write(table + index * ENTRY, b"".join(part.to_bytes(8, "little") for part in entry))
    machine.write_u64(machine.address("bootinfo_memory_count"), len(entries))
    for index, module in enumerate(modules):
        place = machine.address("bootinfo_modules") + index * 64
        machine.write(place, b"".join(part.to_bytes(8, "little") for part in module))
    machine.write_u64(machine.address("bootinfo_module_count"), len(modules))
    for kind in (USABLE, ACPI, NVS):
        assert machine.call("memory_add_type", {"rdi": kind}).end == "returned"
    assert machine.call("memory_subtract_taken").end == "returned"
    return machine


def ranges(machine: Harness, name: str) -> list[tuple[int, int]]:
    """The rows of a set, which must be disjoint, ascending, apart, and none lost."""
    place = machine.address(name)
    count, _, lost = (machine.read_u64(place + offset) for offset in (0, 8, 16))
    assert lost == 0
    values = [machine.read_u64(place + 24 + 8 * i) for i in range(2 * count)]
    assert all(low < high for low, high in itertools.pairwise(values))
    return list(zip(values[::2], values[1::2], strict=True))


def pages(machine: Harness, name: str) -> set[int]:
    """The pages of a set."""
    return {page for first, end in ranges(machine, name) for page in range(first // PAGE, end // PAGE)}


def inward(base: int, length: int) -> set[int]:
    """The pages that lie wholly in a range."""
    return set(range(-(-base // PAGE), (base + length) // PAGE))


def outward(base: int, length: int) -> set[int]:
    """The pages that a range touches."""
    return set(range(base // PAGE, -(-(base + length) // PAGE)))


def model(entries: Sequence[Entry], modules: Sequence[Module] = ()) -> tuple[set[int], set[int]]:
    """The pages that are free, and those that are RAM."""
    free: set[int] = set()
    ram: set[int] = set()
    for base, length, kind in entries:
        free |= inward(base, length) if kind == USABLE else set()
        ram |= inward(base, length) if kind in (USABLE, ACPI, NVS) else set()
    for base, length, kind in entries:
        free -= outward(base, length) if kind != USABLE else set()
        ram -= outward(base, length) if kind not in (USABLE, ACPI, NVS) else set()
    sections = kernel_image().sections
    first = min(section.physical for section in sections)
    end = max(section.physical + section.size for section in sections)
    free -= outward(0, FLOOR) | outward(first, end - first)
    for base, length in modules:
        free -= outward(base, length)
    return free, ram


@pytest.mark.parametrize("seed", range(40))
def test_random_maps(seed: int) -> None:
    noise = random.Random(seed)

    def somewhere() -> tuple[int, int]:
        base = noise.randrange(SPAN) * PAGE + noise.choice((0, 0, 0x400, 0xFFF))
        return base, noise.choice((1, PAGE - 1, PAGE, 37 * PAGE, 300 * PAGE)) + noise.choice((0, 0, 0x10))

    kinds = (USABLE, USABLE, USABLE, RESERVED, ACPI, NVS, BAD, 7)
    entries = [(*somewhere(), noise.choice(kinds)) for _ in range(noise.randint(1, 24))]
    modules = [somewhere() for _ in range(noise.randint(0, 3))]
    machine = sets(entries, modules)
    free, ram = pages(machine, "memory_free"), pages(machine, "memory_ram")
    assert (free, ram) == model(entries, modules)
    assert free <= ram
    machine.call("memory_make_regions")
    check_regions(machine, free)


def check_regions(machine: Harness, free: set[int]) -> None:
    """The regions hold the free pages, but for the states of their blocks (a page, for this little memory)."""
    table = machine.address("frame_regions")
    total = 0
    for index in range(machine.read_u64(machine.address("frame_region_count"))):
        first, end, fresh, chunks, blocks = (machine.read_u64(table + 64 * index + 8 * i) for i in range(5))
        assert fresh == first
        assert blocks + (first - PAGE) // PAGE == machine.direct_base + first - PAGE
        assert chunks + (first - PAGE >> 21) == machine.direct_base + first - PAGE + (end - first) // PAGE + 1
        assert set(range((first - PAGE) // PAGE, end // PAGE)) <= free
        total += (end - first) // PAGE
    assert machine.read_u64(machine.address("frame_total")) == total


def test_ranges_beyond_the_direct_map_are_cut() -> None:
    beyond = 1 << 46
    entries = [(FLOOR, 0x10000000, USABLE), (beyond - 2 * PAGE, 1 << 20, USABLE), (beyond, 1 << 30, USABLE)]
    machine = sets(entries[:1])
    assert ranges(machine, "memory_ram") == [(FLOOR, FLOOR + 0x10000000)]
    machine = sets(entries)
    assert ranges(machine, "memory_ram")[-1] == (beyond - 2 * PAGE, beyond)


def test_an_entry_that_wraps_around_ends_at_the_direct_map() -> None:
    machine = sets([(FLOOR, (1 << 64) - FLOOR, USABLE), (0xFFFF_FFFF_FFFF_F000, PAGE, USABLE)])
    assert ranges(machine, "memory_ram") == [(FLOOR, 1 << 46)]


def test_a_large_region_keeps_a_byte_for_each_frame_and_each_two_megabytes() -> None:
    size = 8 << 30
    machine = sets([(4 << 30, size, USABLE)])
    machine.call("memory_make_regions")
    first = machine.read_u64(machine.address("frame_regions"))
    assert first - (4 << 30) == size // PAGE + (size >> 21)
