"""Assembling one unit: what an object file holds, and what is said when a unit is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import nops
from toolchain.assemble import Assembler, assemble, assemble_units
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.objectfile import ObjectFile, ObjectSection
from toolchain.pool import Pool
from toolchain.preprocess import Preprocessor, Unit
from toolchain.source import SourceFile
from toolchain.types import Mode

SYNTAX = ".intel_syntax noprefix\n"


def unit(text: str, name: str = "t.s") -> Unit:
    return Preprocessor(Path("/nowhere")).run(SourceFile(name, SYNTAX + text))


def made(text: str, encoder: Encoder) -> ObjectFile:
    return assemble(unit(text), encoder)


def section(item: ObjectFile, name: str = ".text") -> ObjectSection:
    return next(s for s in item.sections if s.name == name)


# --- object files ------------------------------------------------------------------------------------------


def test_sections_symbols_relocations(encoder: Encoder) -> None:
    item = made(
        ".global f\n.type f, @function\nf: call g\nmov eax, [rip + d + 4]\n.size f, . - f\nloc: ret\n"
        ".section .rodata.x, \"a\"\n.balign 8\nd: .quad f, 1f - d\n1:\n.set K, 5\n.global K\n.bss\nb: .skip 16\n",
        encoder,
    )  # fmt: skip
    assert item.file == "t.s"
    assert [(s.name, s.flags, s.nobits, s.align, s.size) for s in item.sections] == [
        (".text", "ax", False, 1, 12),
        (".data", "aw", False, 1, 0),
        (".bss", "aw", True, 1, 16),
        (".rodata.x", "a", False, 8, 16),
    ]
    assert section(item).data.hex() == "e800000000" + "8b0500000000" + "c3"
    assert section(item, ".rodata.x").data.hex() == "0000000000000000" + "1000000000000000"
    fields = [(r.offset, r.size, r.kind, r.target, r.addend) for s in item.sections for r in s.relocations]
    assert fields == [(1, 4, "pcrel", "g", -4), (7, 4, "pcrel", 3, 0), (0, 8, "either", 0, 0)]
    found = {s.name: (s.section, s.value, s.size, s.kind, s.binding) for s in item.symbols}
    assert found == {
        "f": (0, 0, 11, "func", "global"),
        "loc": (0, 11, None, None, "local"),
        "d": (3, 0, None, None, "local"),
        "b": (2, 0, None, None, "local"),
        "K": (None, 5, None, None, "global"),
    }


def test_rows_cover_code_and_data(encoder: Encoder) -> None:
    item = made("x: jmp x\n.byte 1, 2\nnop\n", encoder)
    assert [(at, length, s.line, code) for at, length, s, code in section(item).rows] == [
        (0, 2, 2, True),
        (2, 2, 3, False),
        (4, 1, 4, True),
    ]


def test_weak_stays_a_symbol(encoder: Encoder) -> None:
    item = made(".weak w\nw: jmp w\nnop\n.size w, . - w\n", encoder)
    assert section(item).data.hex() == "e90000000090"
    assert [(r.target, r.addend) for r in section(item).relocations] == [("w", -4)]
    assert item.weak == {"w"}
    assert [(s.name, s.binding, s.size) for s in item.symbols] == [("w", "weak", 6)]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("a: .skip 126\njmp a\n", 128),
        ("a: .skip 127\njmp a\n", 132),
        ("jmp a\n.skip 127\na:\n", 129),
        ("jmp a\n.skip 128\na:\n", 133),
        ("jne a\n.skip 128\na:\n", 134),
        ("jmp a\n.data\na:\n", 5),
        ("jmp u\n", 5),
        ("jmp a\njmp a\n.skip 127\na:\n", 134),
    ],
)
def test_branch_lengths(text: str, size: int, encoder: Encoder) -> None:
    assert section(made(text, encoder)).size == size


def test_mixed_modes(encoder: Encoder) -> None:
    code = section(made(".code32\npush eax\n.code16\npush ax\n.code64\npush rax\n", encoder)).data
    assert code.hex() == "505050"


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_gaps_are_whole_nops(mode: Mode) -> None:
    for count in range(1, 300):
        assert len(nops.fill(count, mode)) == count


def test_gap_that_gas_would_fill_for_the_wrong_mode(encoder: Encoder) -> None:
    text = "nop\n.balign 8\nnop\n.code16\nhlt\n"
    with pytest.raises(InputError) as caught:
        assemble(Preprocessor(Path("/nowhere")).run(SourceFile("t.s", text)), encoder, intel=True)
    assert caught.value.lines()[0] == (
        "t.s:2: error: this gap is 64-bit code, but the file ends in 16-bit mode\n"
        "    .balign 8\n"
        "    ^\n"
        "    expected a file that ends with .code64, as gas fills gaps for the last mode; or a fill value"
    )
    assert section(made(text.replace("8\n", "8, 0xcc\n"), encoder)).data.hex() == "90cccccccccccccc90f4"


def test_encoded_only_when_a_distance_asks_for_it(encoder: Encoder) -> None:
    """A distance between data needs no instruction's size; one over code does."""
    pool = Pool(encoder)
    early = Assembler(unit("nop\n.data\na: .quad 1\nb:\n.text\nadd eax, b - a\n"), pool)
    early.read()
    assert not pool.encodings
    late = Assembler(unit("c: nop\nhlt\nd: add eax, d - c\n"), pool)
    late.read()
    assert pool.encodings
    for item, size in ((early, 4), (late, 5)):
        result = item.finish()
        assert result is not None
        assert section(result).size == size


def test_pool_encodes_each_instruction_once(encoder: Encoder) -> None:
    pool = Pool(encoder)
    units = [unit("push rbp\nmov rbp, rsp\n.set K, 1\nmov eax, K\nmov eax, K\n", f"{n}.s") for n in range(3)]
    assert [section(item).data.hex() for item in assemble_units(units, pool)] == [
        "554889e5b801000000b801000000"
    ] * 3
    assert len(pool.encodings) == 3


def test_same_text_with_other_constants(encoder: Encoder) -> None:
    item = made(".set K, 1\nmov al, K\n.set K, 2\nmov al, K\nmov al, L\n.set L, 3\nmov al, L\n", encoder)
    assert section(item).data.hex() == "b001b002" + "8a042503000000" + "b003"


def test_numeric_labels_keep_their_place_in_shared_statements(encoder: Encoder) -> None:
    assert section(made("1: jmp 1b\n1: jmp 1b\njmp 1f\nnop\n1:\n", encoder)).data.hex() == "ebfeebfeeb0190"


def test_incbin(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(10)))
    (tmp_path / "t.s").write_text('.data\n.incbin "x.bin"\n.incbin "x.bin", 2, 3\n.incbin "x.bin", 8\n')
    preprocessor = Preprocessor(tmp_path)
    item = preprocessor.run(Path("t.s"))
    data = section(assemble(item, encoder), ".data").data
    assert data.hex() == "00010203040506070809" + "020304" + "0809"
    assert preprocessor.is_current(item)
    (tmp_path / "x.bin").write_bytes(b"other")
    assert not preprocessor.is_current(item)
