"""The debug sections, as pyelftools and gdb understand them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tests.unit.images import MAIN_S, SUB_S, TEXT, program, symbol
from toolchain import elf, leb128
from toolchain.types import Line, Section


def info() -> Any:
    return ELFFile(io.BytesIO(elf.write(program()))).get_dwarf_info()


def test_line_rows_are_those_of_the_image() -> None:
    found = info()
    (unit,) = found.iter_CUs()
    program_ = found.line_program_for_CU(unit)
    names = [entry.name.decode() for entry in program_["file_entry"]]
    rows = [e.state for e in program_.get_entries() if e.state is not None]
    got = [(r.address, names[r.file - 1], r.line) for r in rows if not r.end_sequence]
    assert got == [(line.address, line.file, line.line) for line in program().lines]
    ends = [r.address for r in rows if r.end_sequence]
    assert ends == [TEXT + 0x15, TEXT + 0x39]


def test_unit_and_subprograms() -> None:
    (unit,) = info().iter_CUs()
    top = unit.get_top_DIE()
    assert top.attributes["DW_AT_language"].value == 0x8001  # DW_LANG_Mips_Assembler
    assert top.attributes["DW_AT_comp_dir"].value == b"kernel"
    routines = {
        die.attributes["DW_AT_name"].value.decode(): (
            die.attributes["DW_AT_low_pc"].value,
            die.attributes["DW_AT_high_pc"].value,
            die.attributes["DW_AT_decl_line"].value,
        )
        for die in top.iter_children()
    }
    assert routines == {
        "start": (TEXT, 0x18, 4),
        "middle": (TEXT + 0x18, 0x17, 3),
        "leaf": (TEXT + 0x2F, 0xA, 13),
    }


def frame_rows(start: int) -> list[tuple[int, int, int, dict[int, int]]]:
    return rows_of(info(), start)


def rows_of(found: Any, start: int) -> list[tuple[int, int, int, dict[int, int]]]:
    """(address - start, CFA register, CFA offset, saved registers) of the routine at ``start``."""
    for entry in found.CFI_entries():
        if entry.header.get("initial_location") == start:
            out = []
            for row in entry.get_decoded().table:
                saved = {k: v.arg for k, v in row.items() if isinstance(k, int) and v.type == "OFFSET"}
                out.append((row["pc"] - start, row["cfa"].reg, row["cfa"].offset, saved))
            return out
    raise AssertionError("no entry")


RBP, RSP, RBX, R12, RA = 6, 7, 3, 12, 16


def test_frames_follow_an_rbp_frame() -> None:
    rows = frame_rows(TEXT + 0x18)
    assert rows[0] == (0, RSP, 8, {RA: -8})
    assert rows[1] == (1, RSP, 16, {RA: -8, RBP: -16})
    assert rows[2] == (4, RBP, 16, {RA: -8, RBP: -16})
    assert rows[3] == (6, RBP, 16, {RA: -8, RBP: -16, R12: -24})
    assert rows[-1] == (0x16, RSP, 8, {RA: -8})


def test_frames_follow_a_branch_over_an_early_return() -> None:
    rows = frame_rows(TEXT + 0x2F)
    assert rows == [
        (0, RSP, 8, {RA: -8}),
        (1, RSP, 16, {RA: -8, RBX: -16}),
        (6, RSP, 8, {RA: -8}),
        (7, RSP, 16, {RA: -8, RBX: -16}),
        (9, RSP, 8, {RA: -8}),
    ]


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 300, 1 << 40])
def test_leb128_reads_back(value: int) -> None:
    def decode(data: bytes, signed: bool) -> int:
        out = sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(data))
        return out - (1 << 7 * len(data)) if signed and data[-1] & 0x40 else out

    assert decode(leb128.uleb(value), False) == value
    assert decode(leb128.sleb(value), True) == value
    assert decode(leb128.sleb(-value), True) == -value


def test_gdb_breaks_lists_and_walks_the_stack(tmp_path: Path) -> None:
    """Gdb breaks at file:line, lists the source, and ``bt`` names callers across files."""
    (tmp_path / "kernel/sub").mkdir(parents=True)
    (tmp_path / "kernel/main.s").write_text(MAIN_S)
    (tmp_path / "kernel/sub/sub.s").write_text(SUB_S)
    path = tmp_path / "a.elf"
    path.write_bytes(elf.write(program()))
    path.chmod(0o755)
    steps = ["break sub.s:17", "run", "bt", "list", "up", "p $rip", "info line middle", "continue"]
    command = ["gdb", "-nx", "-batch", *(x for step in steps for x in ("-ex", step)), "a.elf"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    out = result.stdout
    assert "Breakpoint 1 at 0x401034: file sub/sub.s, line 17." in out
    assert "#0  leaf () at sub/sub.s:17" in out
    assert "in middle () at sub/sub.s:8" in out
    assert "in start () at main.s:8" in out
    assert "#3" not in out
    assert "16\t    jne .Lother" in out
    assert "(void (*)()) 0x401027 <middle+15>" in out
    assert "exited normally" in out


def frame_of(*code: str) -> list[tuple[int, int, int, dict[int, int]]]:
    """The rows of a routine at TEXT made of these instructions."""
    lines, data = [], b""
    for i, text in enumerate(code):
        raw = bytes.fromhex(text)
        lines.append(Line(TEXT + len(data), len(raw), "a.s", i + 1))
        data += raw
    image = program()._replace(
        sections=(Section(".text", TEXT, TEXT, len(data), data, "ax", 16),),
        symbols=(symbol("routine", TEXT),),
        lines=tuple(lines),
        files=("a.s",),
    )
    found = ELFFile(io.BytesIO(elf.write(image))).get_dwarf_info()
    return rows_of(found, TEXT)


@pytest.mark.parametrize("way_out", ["c3", "48cf", "48cb", "0f0b", "ebf0", "ff25 00000000"])
def test_code_behind_a_way_out_has_the_rules_of_the_body(way_out: str) -> None:
    rows = frame_of("55", "4889e5", "53", "5b", "c9", way_out, "90", "5b", "5d", "c3")
    at = sum(len(bytes.fromhex(x)) for x in ("55", "4889e5", "53", "5b", "c9", way_out))
    assert (at, RBP, 16, {RA: -8, RBP: -16, RBX: -24}) in rows


def test_stack_moved_by_numbers_flags_and_alignment() -> None:
    assert [r[:3] for r in frame_of("9c", "6a05", "4883ec20", "4881ec00010000", "90", "4883c420", "9d", "c3")] == [
        (0, RSP, 8), (1, RSP, 16), (3, RSP, 24), (7, RSP, 56), (14, RSP, 312), (19, RSP, 280), (20, RSP, 272),
    ]  # fmt: skip
    rows = frame_of("55", "4889e5", "4883e4f0", "53", "488d65f8", "415c", "5d", "c3")
    assert rows[-1][:3] == (16, RSP, 8)
    assert all(row[1:3] == (RBP, 16) for row in rows if 4 <= row[0] < 16)


def test_a_frame_is_not_taken_for_one_when_rbp_was_not_saved() -> None:
    assert all(row[1] == RSP for row in frame_of("4889e5", "90", "c3"))
