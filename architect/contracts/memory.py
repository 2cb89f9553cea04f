"""From the loader's memory map to free memory, held against a model of single pages.

Usable entries count inward to whole pages, all others outward; the first megabyte, the image and the modules are not
free (ACPI 6.5, 15.1: types 1 usable, 3 ACPI reclaimable, 4 NVS; where entries contradict each other, the one that is
not usable memory wins).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from architect.contracts import contract
from architect.contracts.frames import frames_of
from architect.contracts.model import Session
from architect.contracts.units import said
from toolchain.harness import BUFFER_BASE, PAGE, Harness

_USABLE, _RESERVED, _ACPI, _NVS, _BAD = 1, 2, 3, 4, 5
_RAM = (_USABLE, _ACPI, _NVS)
_KINDS = (_USABLE, _USABLE, _USABLE, _RESERVED, _ACPI, _NVS, _BAD, 7)
_FLOOR = 0x10_0000
_DIRECT_LIMIT = 1 << 46
_ENTRY = struct.Struct("<QQI4x")
_MODULE = struct.Struct("<QQ48s")
_MAPS = 8
Entry = tuple[int, int, int]


def _inward(base: int, length: int) -> set[int]:
    return set(range(-(-base // PAGE), (base + length) // PAGE))


def _outward(base: int, length: int) -> set[int]:
    return set(range(base // PAGE, -(-(base + length) // PAGE)))


def model(
    entries: Sequence[Entry], modules: Sequence[tuple[int, int]], image: tuple[int, int]
) -> tuple[set[int], set[int]]:
    """The pages that are free, and those that are RAM."""
    free, ram = set[int](), set[int]()
    for base, length, kind in entries:
        free |= _inward(base, length) if kind == _USABLE else set()
        ram |= _inward(base, length) if kind in _RAM else set()
    for base, length, kind in entries:
        free -= _outward(base, length) if kind != _USABLE else set()
        ram -= _outward(base, length) if kind not in _RAM else set()
    for base, length in (*modules, (0, _FLOOR), image):
        free -= _outward(base, length)
    return free, ram


class _Maps(Session):
    def image(self) -> tuple[int, int]:
        """Physical base and length of the whole image."""
        sections = self.harness.image.sections
        first = min(section.physical for section in sections)
        return first, max(section.physical + section.size for section in sections) - first

    def given(self, entries: Sequence[Entry], modules: Sequence[tuple[int, int]]) -> int:
        """Run the boot unit on a memory map; its result."""
        harness = self.harness
        harness.reset()
        harness.write(harness.address("bootinfo_memory_map"), b"".join(_ENTRY.pack(*e) for e in entries))
        harness.write_u64(harness.address("bootinfo_memory_count"), len(entries))
        rows = b"".join(_MODULE.pack(base, length, b"m") for base, length in modules)
        harness.write(harness.address("bootinfo_modules"), rows)
        harness.write_u64(harness.address("bootinfo_module_count"), len(modules))
        result = self.call("frames_init", rdi=BUFFER_BASE).registers["rax"]
        self.expect(result in (0, 1, 2), "frames_init", "returns no result of a boot unit", got=result)
        return result

    def rows(self, name: str) -> list[tuple[int, int]]:
        """The rows of a set, none lost."""
        at = self.harness.address(name)
        count, capacity, lost = struct.unpack("<3Q", self.harness.read(at, 24))
        self.expect(count <= capacity and not lost, "memory_add_type", f"overfills {name}", got=count)
        values = struct.unpack(f"<{2 * count}Q", self.harness.read(at + 24, 16 * count))
        return list(zip(values[::2], values[1::2], strict=True))

    def compare(self, entries: Sequence[Entry], modules: Sequence[tuple[int, int]]) -> None:
        """Both sets are what the model says."""
        result = self.given(entries, modules)
        free, ram = model(entries, modules, self.image())
        for name, expected, routine in (
            ("memory_ram", ram, "memory_add_type"),
            ("memory_free", free, "memory_subtract_taken"),
        ):
            rows = self.rows(name)
            aligned = all(not (first | end) % PAGE for first, end in rows)
            self.expect(aligned, routine, f"puts parts of pages into {name}")
            top = (
                max(expected, default=0) + 1
            )  # a row of garbage may hold more pages than there is memory for
            got = {page for low, end in rows for page in range(low // PAGE, min(end // PAGE, top))}
            beyond = [max(low // PAGE, top) for low, end in rows if end // PAGE > max(low // PAGE, top)]
            more, less = sorted({*(got - expected), *beyond}), sorted(expected - got)
            evidence = {"map": repr(entries), "modules": repr(modules)}
            promise = f"puts into {name} what does not belong there"
            self.expect(not more, routine, promise, **evidence, page=more[0] if more else 0)
            promise = f"leaves out of {name} what belongs there"
            self.expect(not less, routine, promise, **evidence, page=less[0] if less else 0)
        if result == 0:
            self.expect(bool(free), "frames_init", "succeeds without a free frame")
        elif any(end - first > 2 * PAGE for first, end in self.rows("memory_free")):
            self.fail("frames_init", "fails though there is memory")


@contract(
    "frames_init", "memory_entry_range", "memory_add_type", "memory_subtract_taken", "memory_subtract_pages",
    "memory_make_regions", "memory_make_region",
    needs=("bootinfo_memory_map", "bootinfo_modules", "memory_ram", "memory_free", "frame_regions", "frame_total"),
)  # fmt: skip
def memory_map(harness: Harness) -> None:
    """Random maps of overlapping entries, and what no map of a sane loader holds."""
    maps, noise = _Maps(harness), random.Random(6)

    def somewhere() -> tuple[int, int]:
        base = noise.randrange(0x280) * PAGE + noise.choice((0, 0, 0x400, 0xFFF))
        return base, noise.choice((1, PAGE - 1, PAGE, 37 * PAGE, 300 * PAGE)) + noise.choice((0, 0, 0x10))

    for _ in range(_MAPS):
        entries = [(*somewhere(), noise.choice(_KINDS)) for _ in range(noise.randint(1, 14))]
        maps.compare(entries, [somewhere() for _ in range(noise.randint(0, 2))])
    maps.compare([], [])
    large = 0x1_0000_0000
    maps.given([(large, 8 << 30, _USABLE)], [])
    region = harness.read_u64(harness.address("frame_regions"))
    promise = "keeps other memory back than a byte for each frame and each 2 MB"
    maps.equal(region, frames_of(large, large + (8 << 30)).start * PAGE, "memory_make_regions", promise)
    notes = said(maps, "frames_init")
    maps.equal(notes.get("regions", ""), "1", "frames_init", "notes another number of regions")
    total = str(harness.read_u64(harness.address("frame_total")))
    maps.equal(notes.get("frames", ""), total, "frames_init", "notes another number of frames")
    first = 0x4000_0000
    for entry in ((first, (1 << 64) - first, _USABLE), (first, _DIRECT_LIMIT, _USABLE)):
        maps.given([entry, (0xFFFF_FFFF_FFFF_F000, PAGE, _USABLE)], [])
        promise = "does not cut the map to what the direct map reaches"
        maps.expect(maps.rows("memory_ram") == [(first, _DIRECT_LIMIT)], "memory_entry_range", promise)
