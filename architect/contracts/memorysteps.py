"""Ranges, the memory map, regions and frames: each routine alone.

Layouts are those that ``include/paging.inc`` and ``include/frame.inc`` document: a set is count, capacity, lost and
rows of first and end; a region is first, end, next, and where the states of chunks and frames are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from architect.contracts import contract
from architect.contracts.frames import frames_of
from architect.contracts.model import FULL, INVALID, MALFORMED, NO_MEMORY, NOT_FOUND
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_PAGE = 0x1000
_DIRECT_LIMIT = 1 << 46
_NOISE = 0x5A5A_5A5A_5A5A_5A5A
_ENTRY = struct.Struct("<3Q")
_MODULE = struct.Struct("<QQ48s")
_REGION = struct.Struct("<8Q")
_FREE, _USED = 0x40, 0x80  # with an order: states of blocks
_ROWS = ((0x2000, 0x5000), (0x8000, 0x9000), (0xC000, 0x1_0000))
Rows = Sequence[tuple[int, int]]


def pack_set(rows: Rows, capacity: int) -> bytes:
    """A set with its unused rows full of noise, and a row more than it has."""
    values = [value for row in rows for value in row]
    values += [_NOISE] * (2 * (capacity + 1) - len(values))
    return struct.pack(f"<3Q{len(values)}Q", len(rows), capacity, 0, *values)


def read_set(step: Step, address: int = BUFFER) -> tuple[list[tuple[int, int]], int]:
    """The rows of a set, and how many were lost."""
    count, _, lost = struct.unpack("<3Q", step.harness.read(address, 24))
    step.expect(count <= 256, step.routine, "leaves a count of rows that cannot be", got=count)
    values = struct.unpack(f"<{2 * count}Q", step.harness.read(address + 24, 16 * count))
    return list(zip(values[::2], values[1::2], strict=True)), lost


@contract("ranges_overlap")
def overlap_alone(harness: Harness) -> None:
    """The lowest row that shares an address; rows end before their end."""
    step = Step(harness, "ranges_overlap")
    step.put(BUFFER, pack_set((*_ROWS, (0x1_8000, 0x1_9000)), 4))
    step.put(BUFFER, len(_ROWS).to_bytes(8, "little"))  # what lies behind the last row is none
    for first, end, row in (
        (0, 0x2000, None), (0, 0x2001, 0), (0x4FFF, 0x5000, 0), (0x5000, 0x8000, None), (0x5000, 0x8001, 1),
        (0x3000, 0x3001, 0), (0, 0x2_0000, 0), (0x8FFF, 0xD000, 1), (0x9000, 0xC000, None), (0xF000, 0x2_0000, 2),
        (0x1_0000, 0x2_0000, None),
    ):  # fmt: skip
        want = {} if row is None else {"rax": BUFFER + 24 + 16 * row}
        step.run("names another row", cf=row is None, want=want, rdi=BUFFER, rsi=first, rdx=end)


@contract("ranges_insert")
def insert_alone(harness: Harness) -> None:
    """A row is opened at each place; a full set is left as it is."""
    step = Step(harness, "ranges_insert")
    for place in range(4):
        step.put(BUFFER, pack_set(_ROWS, 4))
        at = BUFFER + 24 + 16 * place
        behind = harness.read(BUFFER + 24 + 64, 0x400)
        step.run("does not open a row", cf=False, want={"rax": at}, rdi=BUFFER, rax=at, rsi=0x111, rdx=0x222)
        rows = [*_ROWS[:place], (0x111, 0x222), *_ROWS[place:]]
        step.same(read_set(step), (rows, 0), "opens a row elsewhere, or loses one")
        step.same(harness.read(BUFFER + 24 + 64, 0x400), behind, "writes beyond the last row")
    step.put(BUFFER, pack_set(_ROWS, 3))
    step.run("fills a full set", cf=True, want={"rax": FULL}, rdi=BUFFER, rax=BUFFER + 40, rsi=1, rdx=2)
    step.same(read_set(step), (list(_ROWS), 1), "changes a full set, or does not count what is lost")


@contract("ranges_remove")
def remove_alone(harness: Harness) -> None:
    """The gap of a row is closed."""
    step = Step(harness, "ranges_remove")
    for place in range(3):
        step.put(BUFFER, pack_set(_ROWS, 4))
        step.run("fails", rdi=BUFFER, rax=BUFFER + 24 + 16 * place)
        left = [row for number, row in enumerate(_ROWS) if number != place]
        step.same(read_set(step), (left, 0), "removes another row, or loses one")


# --- the memory map -----------------------------------------------------------------------------------------


@contract("memory_entry_range")
def entry_range_alone(harness: Harness) -> None:
    """An entry's addresses, cut to what the direct map reaches."""
    step = Step(harness, "memory_entry_range")
    for base, length, kept in (
        (0x1000, 0x2345, (0x1000, 0x3345)), (0, 1, (0, 1)), (0x5000, 0, None), (_DIRECT_LIMIT, 0x1000, None),
        (_DIRECT_LIMIT - 0x1000, 0x9000, (_DIRECT_LIMIT - 0x1000, _DIRECT_LIMIT)),
        (0x8000, (1 << 64) - 1, (0x8000, _DIRECT_LIMIT)), ((1 << 64) - 0x1000, 0x1000, None),
    ):  # fmt: skip
        step.put(BUFFER, _ENTRY.pack(base, length, 1))
        want = {} if kept is None else {"rsi": kept[0], "rdx": kept[1]}
        step.run("makes other addresses of an entry", cf=kept is None, want=want, rbx=BUFFER)


def _map(step: Step, rows: Sequence[tuple[int, int, int]]) -> None:
    """A memory map, and a stand-in that reads its entries: addresses are small, none is cut."""
    step.put("bootinfo_memory_map", b"".join(_ENTRY.pack(*row) for row in rows))
    step.put64("bootinfo_memory_count", len(rows))

    def entry(at: int) -> dict[str, int]:
        base, length = struct.unpack("<2Q", step.read(at, 16, step.routine))
        return {"rsi": base, "rdx": base + length, "cf": int(not length)}

    step.stand("memory_entry_range", "rbx", answer=entry)


_MAP = (
    (0x1800, 0x3000, 1), (0x10000, 0x4000, 3), (0x20000, 0, 1), (0x30000, 0x5001, 1), (0x40000, 0x1000, 2),
    (0x50000, 0x2000, 4), (0x60010, 0x1000, 5),
)  # fmt: skip


@contract(
    "memory_add_type",
    needs=("memory_entry_range", "ranges_add", "memory_ram", "memory_free", "bootinfo_memory_map"),
)
def add_type_alone(harness: Harness) -> None:
    """The whole pages of each entry of a type; usable ones go into both sets."""
    step = Step(harness, "memory_add_type")
    _map(step, _MAP)
    step.stand("ranges_add", "rdi", "rsi", "rdx")
    names = {step.at("memory_ram"): "ram", step.at("memory_free"): "free"}
    for kind in (1, 3, 4):
        step.run("fails", rdi=kind)
        got = sorted((names.get(int(a[1]), "?"), *a[2:]) for a in step.asked if a[0] == "ranges_add")
        pages = [
            (-(-base // _PAGE) * _PAGE, (base + length) // _PAGE * _PAGE)
            for base, length, found in _MAP
            if found == kind and length
        ]
        sets = ("free", "ram") if kind == 1 else ("ram",)
        expected = sorted((name, *row) for name in sets for row in pages)
        step.same(got, expected, "adds other pages to the sets", rdi=kind)


@contract(
    "memory_subtract_taken",
    needs=("memory_entry_range", "memory_subtract_pages", "memory_ram", "memory_free", "bootinfo_modules"),
)
def subtract_taken_alone(harness: Harness) -> None:
    """What is not usable, the first megabyte, the image and the modules."""
    step = Step(harness, "memory_subtract_taken")
    _map(step, _MAP)
    modules = ((0x200000, 0x1234), (0x300000, 0x10))
    step.put("bootinfo_modules", b"".join(_MODULE.pack(*row, b"m") for row in modules))
    step.put64("bootinfo_module_count", len(modules))
    step.stand("memory_subtract_pages", "rdi", "rsi", "rdx")
    step.run("fails")
    names = {step.at("memory_ram"): "ram", step.at("memory_free"): "free"}
    got = {(names.get(int(a[1]), "?"), *a[2:]) for a in step.asked if a[0] == "memory_subtract_pages"}
    sections = harness.image.sections
    first, end = min(s.physical for s in sections), max(s.physical + s.size for s in sections)
    image = {row for row in got if row[0] == "free" and row[1] == first and end <= int(row[2]) < end + _PAGE}
    step.expect(bool(image), step.routine, "leaves the image free")
    expected = {("free", 0, 0x10_0000), *(("free", base, base + length) for base, length in modules)}
    expected |= {("free", base, base + length) for base, length, kind in _MAP if length and kind != 1}
    expected |= {
        ("ram", base, base + length) for base, length, kind in _MAP if length and kind not in (1, 3, 4)
    }
    step.same(sorted(got - image), sorted(expected - image), "takes other ranges out of the sets")


@contract("memory_subtract_pages", needs=("ranges_subtract",))
def subtract_pages_alone(harness: Harness) -> None:
    """Every page that a range touches."""
    step = Step(harness, "memory_subtract_pages")
    step.stand("ranges_subtract", "rdi", "rsi", "rdx")
    for first, end in ((0x1000, 0x2000), (0x1001, 0x2001), (0x1FFF, 0x2000), (0, 0x10_0000)):
        step.run("fails", rdi=BUFFER, rsi=first, rdx=end)
        pages = (first // _PAGE * _PAGE, -(-end // _PAGE) * _PAGE)
        step.were([("ranges_subtract", BUFFER, *pages)], "takes other pages out", rsi=first, rdx=end)


# --- regions and frames -------------------------------------------------------------------------------------


@contract(
    "memory_make_regions", needs=("memory_make_region", "memory_free"),
)  # fmt: skip
def regions_alone(harness: Harness) -> None:
    """One region for each row; a row across 4 GB becomes two."""
    step = Step(harness, "memory_make_regions")
    step.stand("memory_make_region", "rdi", "rsi")
    four = 1 << 32
    rows = (
        (0x20_0000, 0x28_0000),
        (0x30_0000, four),
        (four + _PAGE, four + 9 * _PAGE),
    )
    across = ((0x10_0000, 0x20_0000), (four - 5 * _PAGE, four + 3 * _PAGE), (9 * four, 10 * four))
    for given in ((), rows, across):
        step.put("memory_free", pack_set(given, 8)[: 24 + 64])
        step.run("fails")
        cut = [
            part
            for first, end in given
            for part in ([(first, four), (four, end)] if first < four < end else [(first, end)])
        ]
        step.were([("memory_make_region", *part) for part in cut], "makes other regions")


@contract(
    "memory_make_region", needs=("frame_regions", "frame_region_count", "frame_total"),
)  # fmt: skip
def region_alone(harness: Harness) -> None:
    """A byte for each frame, then one for each 2 MB, in whole pages; the rest are frames; too little is left out."""
    step = Step(harness, "memory_make_region")
    rows = (
        (0x20_0000, 0x28_0000),
        (0x30_0000, 0x30_1000),
        (0x40_0000, 0x40_0000 + _PAGE * _PAGE),
        (0x7F_F000, 0x7F_F000 + _PAGE * (_PAGE - 8)),
        (0x9000_0000, 0x9000_2000),
        (1 << 32, (1 << 32) + (8 << 30)),
    )
    expected, total = [], 0
    for first, end in rows:
        step.run("fails", rdi=first, rsi=end)
        frames = frames_of(first, end)
        if frames:
            blocks = harness.direct_base + first - first // _PAGE
            chunks = harness.direct_base + first + (end - first) // _PAGE - (first >> 21)
            begin = frames.start * _PAGE
            expected.append((begin, end, begin, chunks, blocks, 0, 0, 0))
            total += len(frames)
    step.same(step.get64("frame_region_count"), len(expected), "makes another number of regions")
    data = harness.read(step.at("frame_regions"), _REGION.size * len(expected))
    step.same(list(_REGION.iter_unpack(data)), expected, "makes other regions")
    step.same(step.get64("frame_total"), total, "counts another number of frames")


_REGIONS = (
    (0x1_0000, 0x1_3000), (0x3_0000, 0x7_6000), (0x9_0000, 0x9_1000), (1 << 32, 3 << 32), (0xF << 32, 0x10 << 32),
)  # fmt: skip


@contract("frame_region_find", needs=("frame_regions", "frame_region_count"))
def region_find_alone(harness: Harness) -> None:
    """The region of an address; none beside them, however many there are."""
    step = Step(harness, "frame_region_find")
    for count in range(len(_REGIONS) + 1):
        rows = b"".join(_REGION.pack(first, end, first, 0, 0, 0, 0, 0) for first, end in _REGIONS)
        step.put("frame_regions", rows)
        step.put64("frame_region_count", count)
        edges = {0, (1 << 64) - 1, *(edge + n for row in _REGIONS for edge in row for n in (-1, 0, 1))}
        for address in sorted(edges):
            found = [n for n, (first, end) in enumerate(_REGIONS[:count]) if first <= address < end]
            want = {"rax": step.at("frame_regions", found[0] * _REGION.size)} if found else {}
            step.run("names another region", cf=not found, want=want, rdi=address)


@contract("frame_carve_order")
def carve_order_alone(harness: Harness) -> None:
    """The largest block that is aligned, fits, and has an order."""
    step = Step(harness, "frame_carve_order")
    for first, end in (
        (0x1000, 0x2000), (0x1000, 1 << 40), (0x20_0000, 0x40_0000), (0x20_0000, 0x3F_F000), (1 << 32, 2 << 32),
        (1 << 36, (1 << 36) + 0x5000), (0x40_0000, 0x50_0000), (0x3F_F000, 0x40_1000),
    ):  # fmt: skip
        step.put(BUFFER, _REGION.pack(0x1000, end, first, 0, 0, 0, 0, 0))
        sizes = (n for n in range(19) if not first % (_PAGE << n) and first + (_PAGE << n) <= end)
        given = {"rdi": first, "rbx": BUFFER}
        step.run("makes a block of another order", want={"rsi": max(sizes)}, **given)


@contract(
    "frame_give",
    needs=(
        "frame_state_find", "frame_state_at", "frame_buddy_free", "frame_list_push", "frame_is_within_free",
        "frame_double_frees", "frame_bad_frees",
    ),
)  # fmt: skip
def give_alone(harness: Harness) -> None:
    """A block's state says that it is free, by the order that it was joined to; what cannot be freed is counted."""
    step = Step(harness, "frame_give")
    region, states, most = BUFFER, BUFFER + 0x100, 18
    places: dict[int, int] = {}
    joined = 0  # the order up to which buddies are free

    def at(place: int, size: int, above: int) -> Mapping[str, int]:
        step.expect(above == region, step.routine, "looks for a state in another region")
        return {"rax": states + places.setdefault(place, len(places))}

    def buddy(place: int, size: int, above: int) -> Mapping[str, int]:
        step.expect(above == region, step.routine, "looks for a buddy in another region")
        return {"rax": place ^ _PAGE << size, "cf": int(size >= joined)}

    step.stand("frame_state_find", "rdi")
    step.stand("frame_state_at", "rdi", "esi", "rbx", answer=at)
    step.stand("frame_buddy_free", "rdi", "esi", "rbx", answer=buddy)
    step.stand("frame_list_push", "rdi", "esi")
    step.stand("frame_is_within_free", "rdi")
    for order, joins in ((0, 0), (4, 0), (0, 3), (9, 1), (17, 1), (18, 0)):
        block, joined = (1 << 36) + 7 * (_PAGE << order), order + joins
        places.clear()
        step.put(states, b"\xff" * 16)
        step.stand_says("frame_state_find", {"rax": _USED | order, "rdx": region, "cf": 0})
        given = {"rdi": block, "rsi": order}
        step.run("refuses a block that is in use", cf=0, want={"rax": 0}, **given)
        whole = block & -(_PAGE << joined)
        pushed = [call[1:] for call in step.asked if call[0] == "frame_list_push"]
        step.same(pushed, [(whole, joined)], "lists another block as free", **given)
        left = {place: harness.read(states + n, 1)[0] for place, n in places.items()}
        state = left.pop(whole, 0xFF)
        step.equal(state, _FREE | joined, step.routine, "notes another state of a free block", **given)
        step.expect(not any(left.values()), step.routine, "leaves a block that begins none any more", **given)
    for state, order, known, free, error in (
        (_FREE | 3, 3, True, True, NOT_FOUND), (0, 3, True, True, NOT_FOUND), (_USED | 4, 3, True, False, INVALID),
        (_USED | 3, 3, False, False, INVALID), (_USED | most + 1, most + 1, True, False, INVALID),
    ):  # fmt: skip
        step.stand_says("frame_state_find", {"rax": state, "rdx": region, "cf": int(not known)})
        step.stand_says("frame_is_within_free", {"cf": int(not free)})
        before = step.get64("frame_double_frees"), step.get64("frame_bad_frees")
        given = {"rdi": 0x8000, "rsi": order, "rbx": state}
        step.run("frees what cannot be freed", cf=1, want={"rax": error}, **given)
        counted = step.get64("frame_double_frees") - before[0], step.get64("frame_bad_frees") - before[1]
        step.same(counted, (int(free), int(not free)), "counts a refusal otherwise", **given)


@contract("frame_alloc_zeroed", needs=("frame_alloc",))
def zeroed_alone(harness: Harness) -> None:
    """All bytes of the frame, and none beside it; a refusal is passed on with its reason."""
    step = Step(harness, "frame_alloc_zeroed")
    frame = 0x5000
    around = harness.direct_base + frame - _PAGE
    step.put(around, b"\x5a" * 3 * _PAGE)
    step.stand("frame_alloc", answer={"rax": frame, "cf": 0})
    step.run("gives another frame", cf=0, want={"rax": frame})
    left = harness.read(around, 3 * _PAGE)
    step.expect(not any(left[_PAGE : 2 * _PAGE]), step.routine, "leaves bytes of the frame as they were")
    beside = left[:_PAGE] + left[2 * _PAGE :]
    step.expect(beside == b"\x5a" * len(beside), step.routine, "writes beside the frame")
    for error in (NO_MEMORY, MALFORMED):
        step.stand_fails("frame_alloc", error)
        step.run("hides that there is no frame", cf=1, want={"rax": error})
