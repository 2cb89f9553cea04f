"""DWARF 4 for an image: what gdb needs to break at ``file.s:line``, list sources and walk the stack.

Owns: ``.debug_line`` (the line program), ``.debug_info`` and ``.debug_abbrev`` (one compile unit of assembly with a
subprogram per routine), ``.debug_ranges``, and ``.debug_frame`` (made by ``frames``). Never reads a file: paths are
those of the image, relative to the kernel tree, so that builds in different folders are the same bytes; a debugger
is told where the tree lies (``directory DIR`` in gdb) or runs beside a folder ``kernel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from toolchain.frames import debug_frame
from toolchain.leb128 import sleb, uleb
from toolchain.types import Image, Line, Section, Symbol

COMPILE_FOLDER = "kernel"  # DW_AT_comp_dir
PRODUCER = "pxOS assembler"

# DWARF 4, section 7: tags, attributes, forms, languages
_DW_TAG_COMPILE_UNIT, _DW_TAG_SUBPROGRAM = 0x11, 0x2E
_DW_AT_NAME, _DW_AT_STMT_LIST, _DW_AT_LOW_PC, _DW_AT_HIGH_PC = 0x03, 0x10, 0x11, 0x12
_DW_AT_LANGUAGE, _DW_AT_COMP_DIR, _DW_AT_PRODUCER = 0x13, 0x1B, 0x25
_DW_AT_DECL_FILE, _DW_AT_DECL_LINE, _DW_AT_EXTERNAL, _DW_AT_RANGES = 0x3A, 0x3B, 0x3F, 0x55
_DW_FORM_ADDR, _DW_FORM_DATA2, _DW_FORM_DATA8, _DW_FORM_STRING = 0x01, 0x05, 0x07, 0x08
_DW_FORM_FLAG, _DW_FORM_UDATA, _DW_FORM_SEC_OFFSET = 0x0C, 0x0F, 0x17
_DW_LANG_MIPS_ASSEMBLER = 0x8001

# DWARF 4, section 6.2: the line program
_OPCODE_BASE, _LINE_BASE, _LINE_RANGE = 13, -5, 14
_STANDARD_OPCODE_LENGTHS = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
_DW_LNS_COPY, _DW_LNS_ADVANCE_PC, _DW_LNS_ADVANCE_LINE, _DW_LNS_SET_FILE = 1, 2, 3, 4
_DW_LNE_END_SEQUENCE, _DW_LNE_SET_ADDRESS = 1, 2


class Routine(NamedTuple):
    """A stretch of code with a name: ``[start, end)``."""

    symbol: Symbol
    start: int
    end: int


def sections(image: Image) -> dict[str, bytes]:
    """The debug sections of ``image`` as section name -> bytes, in a fixed order.

    Source: DWARF Debugging Information Format, version 4.
    """
    lines = sorted(image.lines, key=itemgetter(0))  # by address
    names = _file_table(image, lines)
    subprograms = routines(image)
    runs = _runs(lines)
    return {
        ".debug_abbrev": _debug_abbrev(),
        ".debug_info": _debug_info(subprograms, names),
        ".debug_line": _debug_line(runs, names),
        ".debug_ranges": _debug_ranges(runs),
        ".debug_frame": debug_frame(image, lines, [(r.start, r.end) for r in subprograms]),
    }


def routines(image: Image) -> list[Routine]:
    """The routines of ``image`` by address: symbols of code that start an instruction.

    A symbol without a size reaches to the next one or to the end of its section.
    """
    starts = {line[0] for line in image.lines}
    by_section: dict[str, list[Symbol]] = {}
    for symbol in image.symbols:
        if symbol.section is not None and symbol.kind != "object" and symbol.address in starts:
            by_section.setdefault(symbol.section, []).append(symbol)
    found = []
    for section in image.sections:
        if "x" not in section.flags:
            continue
        members = sorted(by_section.get(section.name, ()), key=lambda s: (s.address, *symbol_rank(s)))
        firsts = [s for i, s in enumerate(members) if i == 0 or members[i - 1].address != s.address]
        for i, symbol in enumerate(firsts):
            limit = firsts[i + 1].address if i + 1 < len(firsts) else section.address + section.size
            end = min(limit, symbol.address + symbol.size) if symbol.size else limit
            found.append(Routine(symbol, symbol.address, end))
    return found


def symbol_rank(symbol: Symbol) -> tuple[int, bool, bool, str]:
    """Sort key of symbols at one address: the first one names it.

    One with a type goes before one without, a name of the source before a bracket of the linker (``__text_start``),
    a global one before a local one.
    """
    return (
        ("func", "object", "notype").index(symbol.kind),
        symbol.name.startswith("__"),
        not symbol.is_global,
        symbol.name,
    )


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _file_table(image: Image, lines: Sequence[Line]) -> dict[str, int]:
    """File name -> its 1-based number: translation units first, then what else code came from."""
    names = dict.fromkeys(image.files)
    names.update(dict.fromkeys(map(itemgetter(2), lines)))
    names.update(dict.fromkeys(symbol.file for symbol in image.symbols if symbol.file))
    return {name: number for number, name in enumerate(names, 1)}


def _runs(lines: Sequence[Line]) -> list[list[Line]]:
    """``lines`` cut where addresses are not contiguous: one sequence of the line program each."""
    runs: list[list[Line]] = []
    run: list[Line] = []
    end = None
    for line in lines:
        address, length, _, _ = line
        if address != end:
            run = []
            runs.append(run)
        run.append(line)
        end = address + length
    return runs


def _debug_line(runs: Sequence[Sequence[Line]], names: dict[str, int]) -> bytes:
    program = bytearray()
    for run in runs:
        program += b"\x00" + uleb(9) + bytes([_DW_LNE_SET_ADDRESS]) + _u64(run[0].address)
        address, line_number, file_number = run[0].address, 1, 1
        previous_file, previous_number = "", 0
        for line_address, _, file, number in run:
            if number == previous_number and file == previous_file:
                continue
            if file != previous_file:
                named = names[file]
                if named != file_number:
                    program.append(_DW_LNS_SET_FILE)
                    program += uleb(named)
                    file_number = named
            previous_file, previous_number = file, number
            step, climb = line_address - address, number - line_number
            address, line_number = line_address, number
            special = climb - _LINE_BASE + _LINE_RANGE * step + _OPCODE_BASE
            if _LINE_BASE <= climb < _LINE_BASE + _LINE_RANGE and special <= 0xFF:
                program.append(special)
                continue
            if step:
                program.append(_DW_LNS_ADVANCE_PC)
                program += uleb(step)
            if climb:
                program.append(_DW_LNS_ADVANCE_LINE)
                program += sleb(climb)
            program.append(_DW_LNS_COPY)
        program.append(_DW_LNS_ADVANCE_PC)
        program += uleb(run[-1].address + run[-1].length - address)
        program += b"\x00\x01" + bytes([_DW_LNE_END_SEQUENCE])
    files = b"".join(_text(name) + b"\0\0\0" for name in names)  # folder 0, no time, no length
    tail = (
        bytes([1, 1, 1, _LINE_BASE & 0xFF, _LINE_RANGE, _OPCODE_BASE])
        + _STANDARD_OPCODE_LENGTHS
        + b"\0"  # no include_directories
        + files
        + b"\0"
    )
    body = _u16(4) + _u32(len(tail)) + tail + bytes(program)
    return _u32(len(body)) + body


def _debug_abbrev() -> bytes:
    def entry(code: int, tag: int, children: int, *pairs: tuple[int, int]) -> bytes:
        flat = b"".join(uleb(attribute) + uleb(form) for attribute, form in pairs)
        return uleb(code) + uleb(tag) + bytes([children]) + flat + b"\0\0"

    return (
        entry(
            1,
            _DW_TAG_COMPILE_UNIT,
            1,
            (_DW_AT_PRODUCER, _DW_FORM_STRING),
            (_DW_AT_LANGUAGE, _DW_FORM_DATA2),
            (_DW_AT_NAME, _DW_FORM_STRING),
            (_DW_AT_COMP_DIR, _DW_FORM_STRING),
            (_DW_AT_LOW_PC, _DW_FORM_ADDR),
            (_DW_AT_RANGES, _DW_FORM_SEC_OFFSET),
            (_DW_AT_STMT_LIST, _DW_FORM_SEC_OFFSET),
        )
        + entry(
            2,
            _DW_TAG_SUBPROGRAM,
            0,
            (_DW_AT_NAME, _DW_FORM_STRING),
            (_DW_AT_EXTERNAL, _DW_FORM_FLAG),
            (_DW_AT_DECL_FILE, _DW_FORM_UDATA),
            (_DW_AT_DECL_LINE, _DW_FORM_UDATA),
            (_DW_AT_LOW_PC, _DW_FORM_ADDR),
            (_DW_AT_HIGH_PC, _DW_FORM_DATA8),
        )
        + b"\0"
    )


def _debug_info(subprograms: Sequence[Routine], names: dict[str, int]) -> bytes:
    out = bytearray(uleb(1))
    out += _text(PRODUCER) + _u16(_DW_LANG_MIPS_ASSEMBLER) + _text(COMPILE_FOLDER) + _text(COMPILE_FOLDER)
    out += _u64(0) + _u32(0) + _u32(0)
    for routine in subprograms:
        symbol = routine.symbol
        out += uleb(2) + _text(symbol.name) + bytes([symbol.is_global])
        out += uleb(names.get(symbol.file, 0)) + uleb(max(symbol.line, 0))
        out += _u64(routine.start) + _u64(routine.end - routine.start)
    out.append(0)
    body = _u16(4) + _u32(0) + bytes([8]) + bytes(out)  # version, .debug_abbrev offset, address size
    return _u32(len(body)) + body


def _debug_ranges(runs: Sequence[Sequence[Line]]) -> bytes:
    out = b"".join(_u64(run[0].address) + _u64(run[-1].address + run[-1].length) for run in runs)
    return out + bytes(16)


def code_sections(image: Image) -> list[Section]:
    """The sections of ``image`` that hold code."""
    return [section for section in image.sections if "x" in section.flags and not section.nobits]
