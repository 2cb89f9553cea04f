"""Reading ``.debug_line``: which source line each address came from (DWARF 2 to 5, ours or GNU as's).

Owns: running the line programs of a section that nobody vouches for. Never reads another debug section than the two
string tables that DWARF 5 refers to.
"""

from __future__ import annotations

from typing import NamedTuple

from toolchain.errors import InputError

_DW_LNCT_PATH, _DW_LNCT_DIRECTORY_INDEX = 1, 2
_FORMS_FIXED = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}  # data1, data2, data4, data8, data16
_DW_FORM_STRING, _DW_FORM_BLOCK, _DW_FORM_UDATA = 0x08, 0x09, 0x0F
_DW_FORM_STRP, _DW_FORM_LINE_STRP = 0x0E, 0x1F
_DWARF64 = 0xFFFFFFFF


class Row(NamedTuple):
    """``[address, end)`` came from ``file:line``."""

    address: int
    end: int
    file: str
    line: int


class _Damaged(Exception):
    """The section does not hold together."""


class _Cursor:
    """Reads numbers and strings; every read is checked."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        if self.at + size > self.end:
            raise _Damaged(f"ends in the middle of a value at {self.at:#x}")
        self.at += size
        return self.data[self.at - size : self.at]

    def uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise _Damaged(f"a number of more than 64 bits at {self.at:#x}")

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value

    def text(self) -> str:
        stop = self.data.find(b"\0", self.at, self.end)
        if stop < 0:
            raise _Damaged(f"a string without an end at {self.at:#x}")
        found = self.data[self.at : stop].decode("utf-8", "replace")
        self.at = stop + 1
        return found


def read(section: bytes, name: str, *, line_strings: bytes = b"", strings: bytes = b"") -> list[Row]:
    """Every row of ``.debug_line``, by address.

    Args:
        section: ``.debug_line``.
        name: of the file, for messages.
        line_strings: ``.debug_line_str`` (DWARF 5).
        strings: ``.debug_str``.

    Raises:
        InputError: the section is damaged.

    Source: DWARF 4 section 6.2, DWARF 5 section 6.2.
    """
    rows: list[Row] = []
    at = 0
    try:
        while at + 4 <= len(section):
            cursor = _Cursor(section, at, len(section))
            length = cursor.number(4)
            if length == _DWARF64:
                raise _Damaged("it is 64-bit DWARF")
            at = cursor.at + length
            if at > len(section):
                raise _Damaged(f"a unit ends at {at:#x}, the section at {len(section):#x}")
            cursor.end = at
            rows += _unit(cursor, line_strings, strings)
    except _Damaged as error:
        raise InputError(f"{name}: damaged .debug_line: {error}; build it again", stage="elf") from error
    rows.sort()
    return rows


def _unit(cursor: _Cursor, line_strings: bytes, strings: bytes) -> list[Row]:
    version = cursor.number(2)
    if not 2 <= version <= 5:
        raise _Damaged(f"version {version}")
    if version == 5:
        cursor.take(2)  # address size, segment selector size
    header_length = cursor.number(4)
    program_at = cursor.at + header_length
    step = cursor.number(1)
    if version >= 4:
        cursor.take(1)  # operations per instruction: 1 but on VLIW machines
    cursor.take(1)  # default_is_stmt
    base = int.from_bytes(cursor.take(1), "little", signed=True)
    width, opcode_base = cursor.number(1), cursor.number(1)
    if not width or not opcode_base:
        raise _Damaged("a line range or opcode base of 0")
    operands = cursor.take(opcode_base - 1)
    files = _files_5(cursor, line_strings, strings) if version == 5 else _files_4(cursor)
    if program_at > cursor.end:
        raise _Damaged("a header longer than its unit")
    cursor.at = program_at
    return _run(cursor, files, step, base, width, opcode_base, operands)


def _joined(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder and not file.startswith("/") else file


def _files_4(cursor: _Cursor) -> list[str]:
    """The file table of DWARF 2 to 4, counted from 1; folder 0 is that of the compilation."""
    folders = [""]
    while folder := cursor.text():
        folders.append(folder)
    files = [""]
    while file := cursor.text():
        index = cursor.uleb()
        cursor.uleb()
        cursor.uleb()
        files.append(_joined(folders[index] if index < len(folders) else "", file))
    return files


def _files_5(cursor: _Cursor, line_strings: bytes, strings: bytes) -> list[str]:
    """The file table of DWARF 5, counted from 0; folder 0 is that of the compilation."""
    folders = [path for path, _ in _entries_5(cursor, line_strings, strings)]
    files = []
    for path, index in _entries_5(cursor, line_strings, strings):
        files.append(_joined(folders[index] if 0 < index < len(folders) else "", path))
    return files


def _entries_5(cursor: _Cursor, line_strings: bytes, strings: bytes) -> list[tuple[str, int]]:
    formats = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.number(1))]
    count = cursor.uleb()
    if (count and not formats) or count > cursor.end:
        raise _Damaged(f"{count} names in {cursor.end} bytes")
    found = []
    for _ in range(count):
        path, index = "", 0
        for content, form in formats:
            value: str | int = 0
            if form == _DW_FORM_STRING:
                value = cursor.text()
            elif form in (_DW_FORM_LINE_STRP, _DW_FORM_STRP):
                table = line_strings if form == _DW_FORM_LINE_STRP else strings
                value = _Cursor(table, cursor.number(4), len(table)).text()
            elif form == _DW_FORM_UDATA:
                value = cursor.uleb()
            elif form == _DW_FORM_BLOCK:
                cursor.take(cursor.uleb())
            elif form in _FORMS_FIXED:
                value = cursor.number(_FORMS_FIXED[form])
            else:
                raise _Damaged(f"an unknown form {form:#x}")
            if content == _DW_LNCT_PATH and isinstance(value, str):
                path = value
            elif content == _DW_LNCT_DIRECTORY_INDEX and isinstance(value, int):
                index = value
        found.append((path, index))
    return found


def _run(
    cursor: _Cursor, files: list[str], step: int, base: int, width: int, opcode_base: int, operands: bytes
) -> list[Row]:
    rows: list[Row] = []
    address, file, line = 0, 1, 1
    pending: tuple[int, int, int] | None = None  # the row that the next one ends

    def emit() -> None:
        nonlocal pending
        if pending is not None and address > pending[0]:
            start, index, number = pending
            rows.append(Row(start, address, files[index] if index < len(files) else "", number))
        pending = (address, file, line)

    while cursor.at < cursor.end:
        opcode = cursor.number(1)
        if opcode >= opcode_base:
            address += (opcode - opcode_base) // width * step
            line += base + (opcode - opcode_base) % width
            emit()
        elif opcode == 0:  # extended
            length = cursor.uleb()
            if not length:
                raise _Damaged(f"an empty extended opcode at {cursor.at:#x}")
            body = cursor.take(length)
            if body[0] == 1:  # DW_LNE_end_sequence
                emit()
                pending = None
                address, file, line = 0, 1, 1
            elif body[0] == 2:  # DW_LNE_set_address
                address = int.from_bytes(body[1:9], "little")
        elif opcode == 1:  # DW_LNS_copy
            emit()
        elif opcode == 2:  # DW_LNS_advance_pc
            address += cursor.uleb() * step
        elif opcode == 3:  # DW_LNS_advance_line
            line += cursor.sleb()
        elif opcode == 4:  # DW_LNS_set_file
            file = cursor.uleb()
        elif opcode == 8:  # DW_LNS_const_add_pc
            address += (255 - opcode_base) // width * step
        elif opcode == 9:  # DW_LNS_fixed_advance_pc
            address += cursor.number(2)
        else:  # DW_LNS_set_column, negate_stmt, set_basic_block, prologue/epilogue markers, set_isa, unknown
            for _ in range(operands[opcode - 1]):
                cursor.uleb()
    return rows
