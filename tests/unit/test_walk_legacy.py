"""The walks of 32-bit and PAE paging, entry by entry, against tables that are laid out here."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from toolchain import walk
from toolchain.types import MemoryChunk, Walk
from toolchain.walk import CR4_PAE, EFER_NXE, Paging, translate
from toolchain.walk_legacy import CR4_PSE, IGNORED

ROOT, TABLE, LAST = 0x9000, 0xA000, 0xB000
ADDRESS = 0x8040_1ABC  # 32-bit: PD 513, PT 1; PAE: PDPT 2, PD 2, PT 1
PRESENT, WRITE, USER, LARGE = 1, 2, 4, 0x80


def walked(entries: dict[int, int], width: int, address: int = ADDRESS, **paging: Any) -> Walk:
    memory = bytearray(0x10000)
    for at, entry in entries.items():
        struct.pack_into("<I" if width == 4 else "<Q", memory, at, entry)
    read = walk.reader([MemoryChunk(0, bytes(memory))])
    given = {"cr4": 0 if width == 4 else CR4_PAE, "efer": 0, **paging}
    return translate(address, Paging(ROOT, **given), read)


def plain(first: int, second: int = 0, **paging: Any) -> Walk:
    return walked({ROOT + 4 * 513: first, TABLE + 4: second}, 4, **paging)


def pae(first: int, second: int, third: int = 0, **paging: Any) -> Walk:
    return walked({ROOT + 16: first, TABLE + 16: second, LAST + 8: third}, 8, **paging)


def test_a_4_kb_page_through_two_levels() -> None:
    found = plain(TABLE | 3, 0x1234000 | 3)
    assert (found.mapped, found.physical, found.page_size, found.ends_at) == (True, 0x1234ABC, 4096, None)
    assert [(row.level, row.index, row.entry_address) for row in found.levels] == [
        ("PD", 513, ROOT + 4 * 513),
        ("PT", 1, TABLE + 4),
    ]


def test_a_4_mb_page_and_the_upper_bits_of_its_address() -> None:
    found = plain(0x0140_0000 | 3 << 13 | PRESENT | WRITE | LARGE, cr4=CR4_PSE)
    assert (found.physical, found.page_size) == (3 << 32 | 0x0140_0000 | ADDRESS & 0x3F_FFFF, 1 << 22)
    assert "4M" in found.levels[0].flags and len(found.levels) == 1
    reserved = plain(1 << 21 | PRESENT | LARGE, cr4=CR4_PSE)
    assert not reserved.mapped and "reserved bit 21" in reserved.reason


def test_without_pse_a_large_page_is_a_table() -> None:
    found = plain(TABLE | 3 | LARGE)
    assert found.ends_at == "PT" and IGNORED in found.levels[0].flags
    assert "asks for a 4 MB page, and CR4.PSE is clear" in found.reason
    assert plain(TABLE | 3 | LARGE, 0x5000 | 3).physical == 0x5ABC  # by chance a table lies there


@pytest.mark.parametrize(
    ("first", "second", "level", "said"),
    [
        (0, 0, "PD", "PD entry 513 at 0x9804 is empty"),
        (TABLE, 0, "PD", "present bit is clear"),
        (TABLE | 1, 0, "PT", "PT entry 1 at 0xa004 is empty"),
        (0x0F00_0001, 0, "PT", "was not read"),
    ],
)
def test_where_a_walk_of_two_levels_ends(first: int, second: int, level: str, said: str) -> None:
    found = plain(first, second)
    assert (found.mapped, found.ends_at) == (False, level) and said in found.reason


def test_rights_of_two_levels() -> None:
    assert plain(TABLE | 1, 0x5003, access="write").ends_at == "PD"
    assert plain(TABLE | 3, 0x5001, access="write").ends_at == "PT"
    assert plain(TABLE | 3, 0x5001, access="write", cr0=walk.CR0_PG).ends_at is None  # WP is clear
    assert plain(TABLE | 7, 0x5003, user=True).ends_at == "PT"
    assert plain(TABLE | 7, 0x5007, user=True).ends_at is None
    assert plain(TABLE | 3, 0x5003, access="fetch", efer=EFER_NXE).ends_at is None


def test_pae_has_three_levels_of_which_the_first_has_no_rights() -> None:
    found = pae(TABLE | PRESENT, LAST | 3, 0x12_3400_0000 | 3, access="write")
    assert (found.physical, found.page_size, found.ends_at) == (0x12_3400_0ABC, 4096, None)
    assert [(row.level, row.index) for row in found.levels] == [("PDPT", 2), ("PD", 2), ("PT", 1)]
    large = pae(TABLE | PRESENT, 0x0560_0000 | PRESENT | LARGE)
    assert (large.physical, large.page_size) == (0x0560_0000 | ADDRESS & 0x1F_FFFF, 1 << 21)
    assert "2M" in large.levels[1].flags


def test_what_pae_reserves() -> None:
    found = pae(TABLE | PRESENT | WRITE, LAST | 3, 0x5003)
    assert found.ends_at == "PDPT" and "reserved bits" in found.reason
    found = pae(TABLE | PRESENT, LAST | 3, 1 << 63 | 0x5003)
    assert found.ends_at == "PT" and "NX without EFER.NXE" in found.reason
    found = pae(TABLE | PRESENT, LAST | 3, 1 << 63 | 0x5003, access="fetch", efer=EFER_NXE)
    assert found.mapped and found.ends_at == "PT" and "NX" in found.reason


def test_only_32_bits_of_an_address_are_used() -> None:
    assert plain(TABLE | 3, 0x1234003).physical == 0x1234ABC
    high = walked(
        {ROOT + 4 * 513: TABLE | 3, TABLE + 4: 0x1234003}, 4, address=0xFFFF_FFFF_0000_0000 | ADDRESS
    )
    assert high.physical == 0x1234ABC
