"""Names for addresses, from an image, from our ELF, from GNU's, and from damaged files."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

from tests.unit.images import BSS, DATA, MAIN_S, SUB_S, TEXT, program
from toolchain import elf
from toolchain.errors import InputError
from toolchain.symbols import SymbolTable
from toolchain.types import CodePlace


@pytest.fixture(params=["image", "file"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> SymbolTable:
    if request.param == "image":
        return SymbolTable(program())
    path = tmp_path / "a.elf"
    path.write_bytes(elf.write(program()))
    return SymbolTable(path)


def test_place_names_symbol_and_line(table: SymbolTable) -> None:
    assert table.place(TEXT + 5) == CodePlace(TEXT + 5, "start", 5, "main.s", 8)
    assert table.place(TEXT + 6) == CodePlace(TEXT + 6, "start", 6, "main.s", 8)  # inside the call
    assert table.place(TEXT + 0x34) == CodePlace(TEXT + 0x34, "leaf", 5, "sub/sub.s", 17)
    assert table.place(TEXT + 0x16) == CodePlace(TEXT + 0x16, "start", 0x16, None, None)  # alignment


def test_place_outside_the_image_has_no_name(table: SymbolTable) -> None:
    for address in (0, TEXT - 1, TEXT + 0x800, BSS + 0x2000, 1 << 64):
        assert table.place(address) == CodePlace(address)


def test_data_and_absolute_symbols(table: SymbolTable) -> None:
    assert table.place(DATA + 3).symbol == "answer"
    port = table.find("PORT")
    assert port is not None
    assert port.section is None
    assert table.place(port.address).symbol is None
    assert table.find("nothing") is None


def test_extents_and_bytes(table: SymbolTable) -> None:
    def extent(name: str) -> tuple[int, int]:
        symbol = table.find(name)
        assert symbol is not None
        start, end = table.extent(symbol)
        return start - TEXT, end - TEXT

    assert extent("start") == (0, 0x18)
    assert extent("leaf") == (0x2F, 0x3A)
    assert table.read(TEXT + 1, 3) == b"\x48\x89\xe5"
    assert table.read(BSS + 0x1FFE, 8) == b"\0\0"
    assert table.read(0, 8) == b""


def test_addresses_of_a_line(table: SymbolTable) -> None:
    assert table.addresses("sub/sub.s", 20) == [TEXT + 0x36]
    assert table.addresses("sub/sub.s", 1) == []
    assert table.files == ("main.s", "sub/sub.s")


@pytest.mark.parametrize("debug", ["-gdwarf-2", "-gdwarf-4", "-gdwarf-5"])
def test_an_executable_of_gnu_as(tmp_path: Path, debug: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.s").write_text(MAIN_S)
    (tmp_path / "sub/sub.s").write_text(SUB_S)
    for name in ("main", "sub/sub"):
        subprocess.run(["as", debug, f"{name}.s", "-o", f"{name}.o"], cwd=tmp_path, check=True)
    subprocess.run(
        ["ld", "-Ttext=0x401000", "-e", "start", "main.o", "sub/sub.o", "-o", "a.elf"],
        cwd=tmp_path,
        check=True,
    )
    table = SymbolTable(tmp_path / "a.elf")
    middle = table.find("middle")
    assert middle is not None
    place = table.place(middle.address + 0xA)
    assert (place.symbol, place.offset, place.line) == ("middle", 0xA, 8)
    assert place.file is not None
    assert place.file.endswith("sub/sub.s")
    leaf = table.find("leaf")
    assert leaf is not None
    assert not leaf.is_global


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        SymbolTable(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value.message


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = elf.write(program())
    path = tmp_path / "x.elf"
    assert "No such file" in refused(path)
    assert "Is a directory" in refused(tmp_path)
    path.write_bytes(b"")
    assert "not an ELF file" in refused(path)
    path.write_bytes(b"MZ" + bytes(100))
    assert "not an ELF file" in refused(path)
    path.write_bytes(good[:40])
    assert "damaged" in refused(path)
    path.write_bytes(good[: len(good) // 2])
    assert "damaged" in refused(path)
    path.write_bytes(good[:4] + b"\x01" + good[5:])
    assert "not an ELF64 file" in refused(path)
    path.write_bytes(good[:16] + struct.pack("<H", 1) + good[18:])
    assert "link it first" in refused(path)


@pytest.mark.long
def test_damage_anywhere_is_an_input_error_or_harmless(tmp_path: Path) -> None:
    good = elf.write(program())
    path = tmp_path / "x.elf"
    chance = random.Random(7)
    refusals = 0
    header_at = int.from_bytes(good[40:48], "little")
    line = good.index(b"main.s\0\0\0\0sub/sub.s")
    zones = [(0, 400), (header_at, len(good)), (line - 30, line + 120)]
    for _ in range(600):
        damaged = bytearray(good)
        low, high = chance.choice(zones)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(low, high)] = chance.choice(
                [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        path.write_bytes(damaged[: chance.choice([len(damaged)] * 9 + [chance.randrange(len(damaged))])])
        try:
            table = SymbolTable(path)
            table.place(TEXT)
            table.read(TEXT, 16)
        except InputError:
            refusals += 1
    assert refusals > 100
