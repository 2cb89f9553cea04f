"""The page walk: each level, each size, each right, against tables that are built here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tables import NX, USER, WRITE, Tables
from toolchain import walk
from toolchain.walk import Paging, translate

VA = 0xFFFF_8080_4020_1000  # index 257, 1, 1, 1


def paging(tables: Tables, **more: object) -> Paging:
    return Paging(tables.root, **more)  # type: ignore[arg-type]


def test_a_4_kb_page_through_four_levels() -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE)
    found = translate(VA + 0x56, paging(tables), tables.read)
    assert (found.mapped, found.physical, found.page_size, found.ends_at) == (True, 0x1234056, 4096, None)
    assert [level.level for level in found.levels] == ["PML4", "PDPT", "PD", "PT"]
    assert [level.index for level in found.levels] == [257, 1, 1, 1]
    assert found.levels[-1].flags == ("present", "write")


@pytest.mark.parametrize(("size", "levels"), [(1 << 21, 3), (1 << 30, 2)])
def test_large_pages_end_early(size: int, levels: int) -> None:
    tables = Tables()
    base = VA & ~(size - 1)
    tables.map(base, 3 * size, WRITE, size=size)
    found = translate(base + 0x12345, paging(tables), tables.read)
    assert (found.physical, found.page_size, len(found.levels)) == (3 * size + 0x12345, size, levels)
    assert ("2M" if levels == 3 else "1G") in found.levels[-1].flags


def test_the_pat_bit_of_a_large_page_is_no_part_of_its_address() -> None:
    tables = Tables()
    tables.map(VA & ~0x1FFFFF, 0x40000000 | 1 << 12, WRITE, size=1 << 21)
    found = translate(VA, paging(tables), tables.read)
    assert found.physical == 0x40000000 | VA & 0x1FFFFF and "pat" in found.levels[-1].flags


@pytest.mark.parametrize("level", ["PML4", "PDPT", "PD", "PT"])
def test_an_empty_entry_is_named_by_its_level(level: str) -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE)
    tables.edit(VA, level, 0)
    found = translate(VA, paging(tables), tables.read)
    assert (found.mapped, found.ends_at, found.physical) == (False, level, None)
    assert found.levels[-1].flags == ("empty",)
    assert f"{level} entry" in found.reason and "empty" in found.reason


def test_an_entry_that_is_not_present_shows_its_value() -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE)
    tables.edit(VA, "PT", 0x1234002)
    found = translate(VA, paging(tables), tables.read)
    assert "0x1234002" in found.reason and found.levels[-1].flags == ("not present", "write")


def test_nx_is_reserved_until_nxe() -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE | NX)
    assert translate(VA, paging(tables), tables.read).ends_at is None
    found = translate(VA, paging(tables, efer=walk.EFER_LMA), tables.read)
    assert not found.mapped and found.ends_at == "PT" and "EFER.NXE" in found.reason


@pytest.mark.parametrize(("bit", "level"), [(45, "PT"), (51, "PD"), (7, "PML4"), (14, "PD")])
def test_reserved_bits(bit: int, level: str) -> None:
    tables = Tables()
    if level == "PD":
        tables.map(VA & ~0x1FFFFF, 0x40000000, WRITE, size=1 << 21)
    else:
        tables.map(VA, 0x1234000, WRITE)
    tables.edit(VA, level, tables.entry(VA, level) | 1 << bit)
    found = translate(VA, paging(tables), tables.read)
    assert not found.mapped and found.ends_at == level and "reserved" in found.reason


@pytest.mark.parametrize(
    ("flags", "options", "denied"),
    [
        (0, {"access": "write"}, True),
        (0, {"access": "write", "cr0": walk.CR0_PG}, False),  # WP clear
        (0, {"access": "read"}, False),
        (WRITE | NX, {"access": "fetch"}, True),
        (WRITE | NX, {"access": "write"}, False),
        (WRITE, {"user": True}, True),
        (WRITE | USER, {"user": True}, False),
        (USER, {"user": True, "access": "write", "cr0": walk.CR0_PG}, True),
        (WRITE | USER, {"access": "fetch", "cr4": walk.CR4_PAE | walk.CR4_SMEP}, True),
        (WRITE | USER, {"access": "read", "cr4": walk.CR4_PAE | walk.CR4_SMAP}, True),
        (
            WRITE | USER,
            {"access": "read", "cr4": walk.CR4_PAE | walk.CR4_SMAP, "rflags": walk.RFLAGS_AC},
            False,
        ),
    ],
)
def test_rights(flags: int, options: dict[str, object], denied: bool) -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, flags)
    found = translate(VA, paging(tables, **options), tables.read)
    assert found.mapped  # a translation exists, whether the access is allowed or not
    assert (found.ends_at is not None) == denied


def test_the_level_that_denies_is_named() -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE)
    tables.edit(VA, "PD", tables.entry(VA, "PD") & ~WRITE)
    assert translate(VA, paging(tables, access="write"), tables.read).ends_at == "PD"


def test_addresses_that_are_not_canonical_and_tables_that_were_not_read() -> None:
    tables = Tables()
    assert translate(0x8000_0000_0000, paging(tables), tables.read).ends_at == "address"
    found = translate(VA, Paging(0x7777000), tables.read)
    assert found.levels[0].entry is None and "not read" in found.reason


def test_modes_without_a_four_level_walk() -> None:
    tables = Tables()
    assert translate(0x123, paging(tables, cr0=0x11), tables.read).physical == 0x123
    assert not translate(VA, paging(tables, efer=0), tables.read).mapped
    assert "LA57" in translate(VA, paging(tables, cr4=walk.CR4_PAE | walk.CR4_LA57), tables.read).reason


def test_a_table_of_the_wrong_level_gives_itself_away() -> None:
    tables = Tables()
    tables.map(VA, 0x1234000, WRITE)
    pdpt = tables.entry(VA, "PML4") & ~0xFFF
    pd = tables.entry(VA, "PDPT") & ~0xFFF
    assert walk.level_of_table(tables.root, VA, 0x1234000, tables.read) is None
    assert walk.level_of_table(pdpt, VA, 0x1234000, tables.read) == "PDPT"
    assert walk.level_of_table(pd, VA, 0x1234000, tables.read) == "PD"
    assert walk.level_of_table(pd, VA, 0x9999000, tables.read) is None


CANONICAL = st.integers(0, (1 << 47) - 1) | st.integers(0xFFFF_8000_0000_0000, (1 << 64) - 1)


@given(CANONICAL, st.integers(0, (1 << 40) - 1), st.sampled_from([1 << 12, 1 << 21, 1 << 30]))
def test_whatever_is_mapped_is_found(address: int, physical: int, size: int) -> None:
    tables = Tables()
    tables.map(address & ~(size - 1), physical & ~(size - 1), WRITE, size=size)
    found = translate(address, paging(tables), tables.read)
    assert found.physical == physical & ~(size - 1) | address & size - 1
    other = translate(address ^ size, paging(tables), tables.read)
    assert not other.mapped


@given(st.integers(0, (1 << 64) - 1), st.binary(min_size=8, max_size=8), st.integers(0, (1 << 64) - 1))
def test_no_tables_make_it_raise(address: int, entry: bytes, cr3: int) -> None:
    found = translate(address, Paging(cr3), lambda physical, size: entry[:size])
    assert len(found.levels) <= 4 and found.reason
