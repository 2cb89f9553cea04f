"""ACPI: each routine alone.

ACPI 6.5, 5.2.5 (root pointer: signature, two checksums), 5.2.6 (header: length and checksum),
5.2.7 and 5.2.8 (entries
of 4 and of 8 bytes).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.acpi import root_pointer, table
from architect.contracts.model import MALFORMED
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_PLACE = 0x5_0000


@contract("acpi_sum")
def sum_alone(harness: Harness) -> None:
    """All bytes of a length, and no more, sum to zero."""
    step = Step(harness, "acpi_sum")
    for data, length in (
        (b"\1\xff", 2), (b"\1\xff\1", 2), (b"\1\xff", 1), (b"\1", 0), (bytes(256), 256), (b"\x80" * 512, 512),
        (b"\0" * 255 + b"\1", 256), (b"\0" * 255 + b"\1", 255), (b"\1" * 255, 255), (b"\1" * 256, 256),
    ):  # fmt: skip
        step.put(BUFFER, data.ljust(0x300, b"\x55"))
        right = not sum(data[:length]) & 0xFF
        step.run("is wrong about a checksum", cf=not right, rdi=BUFFER, rsi=length, rdx=sum(data))


def _checks(step: Step) -> None:
    """Stands in for ``acpi_sum``."""

    def total(address: int, length: int) -> Mapping[str, int]:
        return {"cf": int(bool(sum(step.read(address, min(length, 0x1000), step.routine)) & 0xFF))}

    step.stand("acpi_sum", "rdi", "rsi", answer=total)


@contract("acpi_check_rsdp", needs=("acpi_sum",))
def check_rsdp_alone(harness: Harness) -> None:
    """Signature, the checksum of the first 20 bytes, and that of all 36 from revision 2 on."""
    step = Step(harness, "acpi_check_rsdp")
    _checks(step)
    old, new = root_pointer(0x1000, 0, revision=0), root_pointer(0x1000, 0x2000)
    bad = new[:33] + b"\1" + new[34:]
    for number, (data, right) in enumerate((
        (old, True), (new, True), (old + bytes((1,)) * 16, True), (bad, False), (b"RSD PTR_" + new[8:], False),
        (b"rSD PTR " + new[8:], False), (old[:10] + b"?" + old[11:], False), (new[:10] + b"?" + new[11:], False),
    )):  # fmt: skip
        step.put(BUFFER, data.ljust(64, b"\0"))
        step.run("is wrong about a root pointer", cf=not right, rax=BUFFER, rbx=number)


@contract("acpi_search", needs=("page_cover", "acpi_check_rsdp"))
def search_alone(harness: Harness) -> None:
    """Every 16 bytes, up to the last place where a whole one fits; the first that holds."""
    step = Step(harness, "acpi_search")
    base = harness.direct_base
    wrong: set[int] = set()
    cover = {"cf": 0}

    def covered(pa: int, length: int) -> Mapping[str, int]:
        return {"rax": base + pa, **cover}

    step.stand("page_cover", "rdi", "rsi", answer=covered)
    step.stand("acpi_check_rsdp", "rax", answer=lambda place: {"cf": int(place - base in wrong)})
    for offsets, found in (
        ((0,), 0), ((0x10,), 0x10), ((0x3D0,), 0x3D0), ((0x3E0,), None), ((8,), None), ((0x20, 0x40), 0x20), ((),
        None),
        ((0x50, 0x70), 0x70),
    ):  # fmt: skip
        harness.write(base + _PLACE, bytes(0x440))
        wrong.clear()
        wrong.add(_PLACE + 0x50)
        for offset in offsets:
            harness.write(base + _PLACE + offset, b"RSD PTR ")
        want = {} if found is None else {"rax": base + _PLACE + found}
        given = {"rdi": _PLACE, "rsi": 0x3F4, "rbx": sum(offsets)}
        step.run("finds another root pointer, or none", cf=found is None, want=want, **given)
    cover["cf"] = 1
    step.run("searches memory that cannot be read", cf=True, rdi=_PLACE, rsi=0x400)


@contract(
    "acpi_find_rsdp",
    needs=("acpi_search", "acpi_check_rsdp", "page_cover", "bootinfo_rsdp", "bootinfo_rsdp_length"),
)
def find_rsdp_alone(harness: Harness) -> None:
    """The loader's where it holds; else the first kilobyte of the EBDA, else the ROM."""
    step = Step(harness, "acpi_find_rsdp")
    base = harness.direct_base
    holds = {"loader": True, "ebda": True}
    step.stand("page_cover", "rdi", "rsi", answer=lambda pa, length: {"rax": base + pa, "cf": 0})
    step.stand("acpi_check_rsdp", "rax", answer=lambda place: {"cf": int(not holds["loader"])})

    def search(pa: int, length: int) -> Mapping[str, int]:
        return {"rax": base + pa, "cf": int(pa < 0xE0000 and not holds["ebda"])}

    step.stand("acpi_search", "rdi", "rsi", answer=search)
    for length, loader, segment, ebda, place in (
        (36, True, 0x9FC0, True, step.at("bootinfo_rsdp")), (36, False, 0x9FC0, True, base + 0x9FC00),
        (0, True, 0x9FC0, True, base + 0x9FC00), (0, True, 0x9FC0, False, base + 0xE0000),
        (0, True, 0, True, base + 0xE0000),
    ):  # fmt: skip
        step.put64("bootinfo_rsdp_length", length)
        harness.write(base + 0x40E, struct.pack("<HH", segment, 0xFFFF))
        holds.update(loader=loader, ebda=ebda)
        given = {"rbx": segment, "rcx": length}
        step.run("takes another root pointer", cf=False, want={"rax": place}, **given)
        areas = {(0x9FC00, 0x400), (0xE0000, 0x20000)}
        searched = {(int(call[1]), int(call[2])) for call in step.asked if call[0] == "acpi_search"}
        step.expect(searched <= areas, step.routine, "searches other memory", got=repr(searched))


@contract("acpi_entry", needs=("acpi_root", "acpi_entry_size"))
def entry_alone(harness: Harness) -> None:
    """Entries of 8 bytes in the XSDT, of 4 in the RSDT, behind a header of 36."""
    step = Step(harness, "acpi_entry")
    step.put(BUFFER, bytes(36) + bytes(range(1, 65)))
    step.put64("acpi_root", BUFFER)
    for size in (8, 4):
        step.put32("acpi_entry_size", size)
        for index in (0, 1, 5):
            place = int.from_bytes(harness.read(BUFFER + 36 + size * index, size), "little")
            step.run("names another table", want={"rax": place}, rbx=index)


@contract("acpi_map_table", needs=("page_cover", "acpi_sum"))
def map_table_alone(harness: Harness) -> None:
    """The header first, then all that it says; length and checksum must hold."""
    step = Step(harness, "acpi_map_table")
    base = harness.direct_base
    _checks(step)

    def cover(pa: int, length: int) -> Mapping[str, int]:
        return {"rax": base + pa, "cf": 0} if pa + length <= harness.ram else {"rax": 1, "cf": 1}

    step.stand("page_cover", "rdi", "rsi", answer=cover)
    for number, (data, error) in enumerate((
        (table(b"MCFG", bytes(24)), 0), (table(b"TEST"), 0), (table(b"TEST", length=35), MALFORMED),
        (table(b"TEST", length=0), MALFORMED), (table(b"TEST", length=0x0200_0000), MALFORMED),
        (table(b"TEST", length=0x0010_0000), 1), (table(b"TEST", b"x")[:-1] + b"y", MALFORMED),
    )):  # fmt: skip
        harness.write(base + _PLACE, data.ljust(0x100, b"\0"))
        want = {"rax": error or base + _PLACE}
        step.run("is wrong about a table", cf=bool(error), want=want, rdi=_PLACE, rbx=number)
        if error != 1:
            length = struct.unpack_from("<I", data, 4)[0]
            summed = [call[1:] for call in step.asked if call[0] == "acpi_sum"]
            whole = [(base + _PLACE, length)] if 36 <= length <= 0x100 else []
            step.same(summed, whole, "checks another length than the table's", number=number)


@contract("acpi_open_root", needs=("acpi_map_table", "acpi_root", "acpi_count", "acpi_entry_size"))
def open_root_alone(harness: Harness) -> None:
    """The XSDT from revision 2 on, where it holds; else the RSDT; its entries counted."""
    step = Step(harness, "acpi_open_root")
    tables = {
        0x1000: table(b"RSDT", bytes(12)),
        0x2000: table(b"XSDT", bytes(40)),
        0x3000: table(b"FACP", bytes(8)),
    }

    def mapped(pa: int) -> Mapping[str, int]:
        if pa not in tables:
            return {"rax": MALFORMED, "cf": 1}
        step.put(BUFFER + 0x100, tables[pa])
        return {"rax": BUFFER + 0x100, "cf": 0}

    step.stand("acpi_map_table", "rdi", answer=mapped)
    for number, (pointer, size, count) in enumerate((
        (root_pointer(0x1000, 0x2000), 8, 5), (root_pointer(0x1000, 0, revision=0), 4, 3), (root_pointer(0x1000, 0),
        4, 3),
        (root_pointer(0x1000, 0x9000), 4, 3), (root_pointer(0x9000, 0x9000), 0, 0), (root_pointer(0x2000, 0), 0, 0),
        (root_pointer(0x1000, 0x3000), 0, 0), (root_pointer(0x1000, 0x2000)[:20] + bytes(16), 4, 3),
        (root_pointer(0x1000, 0x2000, revision=0) + root_pointer(0x1000, 0x2000)[20:], 4, 3),
    )):  # fmt: skip
        step.put(BUFFER, pointer.ljust(64, b"\0"))
        step.put64("acpi_root", 0)
        step.run("is wrong about whether a root table holds", cf=not size, rax=BUFFER, rbx=number)
        if size:
            got = (step.get64("acpi_root"), step.get32("acpi_entry_size"), step.get32("acpi_count"))
            step.same(got, (BUFFER + 0x100, size, count), "opens another root table", number=number)


@contract("acpi_find", needs=("acpi_entry", "acpi_map_table", "page_cover", "acpi_count"))
def find_alone(harness: Harness) -> None:
    """By signature, in the order of the root table, those refused passed over."""
    step = Step(harness, "acpi_find")
    base = harness.direct_base
    names = (b"FACP", b"SSDT", b"MCFG", b"SSDT", b"BAD!", b"SSDT")
    for number, name in enumerate(names):
        harness.write(base + _PLACE + 0x100 * number, name)
    step.put32("acpi_count", len(names))
    step.stand("acpi_entry", "ebx", answer=lambda number: {"rax": _PLACE + 0x100 * number})
    step.stand("page_cover", "rdi", "rsi", answer=lambda pa, length: {"rax": base + pa, "cf": 0})

    def mapped(pa: int) -> Mapping[str, int]:
        refused = pa in (_PLACE + 0x300, _PLACE + 0x400)
        return {"rax": MALFORMED if refused else base + pa, "cf": int(refused)}

    step.stand("acpi_map_table", "rdi", answer=mapped)
    for name, skip, found in (
        (b"FACP", 0, 0), (b"MCFG", 0, 2), (b"SSDT", 0, 1), (b"SSDT", 1, 5), (b"SSDT", 2, None), (b"BAD!", 0, None),
        (b"HPET", 0, None), (b"FACP", 1, None),
    ):  # fmt: skip
        want = {} if found is None else {"rax": base + _PLACE + 0x100 * found}
        given = {"rdi": int.from_bytes(name, "little"), "rsi": skip}
        step.run("finds another table, or none", cf=found is None, want=want, **given)
