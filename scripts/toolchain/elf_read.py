"""Reading ELF64 executables, ours or anybody's, whole or damaged.

Owns: sections, symbols and loaded bytes of a file that nobody vouches for: every offset and size is checked against
the file before it is used. Never runs, relocates or trusts anything; debug information is ``line_table``'s.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolchain.errors import InputError
from toolchain.files import open_regular

STAGE = "elf"
FILE_MAX = 256 << 20  # bytes; a kernel is a thousandth of that

# System V ABI (gABI) chapters 4 and 5
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_CLASS64, _LITTLE_ENDIAN = 2, 1
_ET_REL, _EM_X86_64 = 1, 62
_PT_LOAD = 1
_SHT_SYMTAB, _SHT_NOBITS = 2, 8
_SHF_COMPRESSED = 0x800
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_STT: dict[int, Literal["func", "object", "notype"]] = {0: "notype", 1: "object", 2: "func"}
_STT_FILE = 4
_SHF_LETTERS = ((2, "a"), (1, "w"), (4, "x"))


@dataclass(frozen=True, slots=True)
class ElfSection:
    """A section header and its bytes (empty for ``nobits``). ``flags`` in the letters of ``types.Section``."""

    name: str
    address: int
    size: int
    flags: str
    data: bytes
    nobits: bool


@dataclass(frozen=True, slots=True)
class ElfSegment:
    """A PT_LOAD: ``memory_size`` bytes at ``address``, of which ``data`` come from the file."""

    address: int
    physical: int
    memory_size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ElfSymbol:
    """A named symbol. ``section`` is None for an absolute one; ``file`` is "" for a global one."""

    name: str
    address: int
    size: int
    kind: Literal["func", "object", "notype"]
    section: str | None
    file: str
    is_global: bool


@dataclass(frozen=True, slots=True)
class ElfFile:
    """What was read from an ELF64 executable."""

    entry: int
    sections: tuple[ElfSection, ...]
    segments: tuple[ElfSegment, ...]
    symbols: tuple[ElfSymbol, ...]

    def section(self, name: str) -> ElfSection | None:
        """The first section called ``name``."""
        return next((s for s in self.sections if s.name == name), None)


def is_elf(data: bytes) -> bool:
    """Whether ``data`` begins as an ELF file does."""
    return data[:4] == b"\x7fELF"


def read(path: Path) -> ElfFile:
    """Read the executable at ``path``.

    Raises:
        InputError: it cannot be read, is no ELF64 executable for x86-64, or is damaged.
    """
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of ``path``, at most ``FILE_MAX``.

    Raises:
        InputError: no such file, not readable, a folder, too large.
    """
    with open_regular(path, stage=STAGE) as file:
        try:
            data = file.read(FILE_MAX + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot read: {error.strerror}", stage=STAGE) from error
    if len(data) > FILE_MAX:
        raise InputError(f"{path}: larger than {FILE_MAX >> 20} MiB; not a kernel", stage=STAGE)
    return data


def parse(data: bytes, name: str) -> ElfFile:
    """Read an executable from its bytes; ``name`` is for messages.

    Raises:
        InputError: as for ``read``.
    """
    if not is_elf(data):
        raise InputError(f"{name}: not an ELF file (it does not begin with 7f 45 4c 46)", stage=STAGE)
    if len(data) < _EHDR.size:
        raise _corrupt(name, f"the ELF header needs {_EHDR.size} bytes, the file has {len(data)}")
    header = _EHDR.unpack_from(data)
    ident, kind, machine, entry = header[0], header[1], header[2], header[4]
    if ident[4] != _CLASS64 or ident[5] != _LITTLE_ENDIAN or machine != _EM_X86_64:
        raise InputError(
            f"{name}: not an ELF64 file for x86-64; expected what `pxos build` makes", stage=STAGE
        )
    if kind == _ET_REL:
        raise InputError(f"{name}: a relocatable object; link it first (ld -o FILE.elf {name})", stage=STAGE)
    sections, raw = _sections(data, name, header)
    return ElfFile(entry, sections, _segments(data, name, header), _symbols(data, name, sections, raw))


def _corrupt(name: str, problem: str) -> InputError:
    return InputError(f"{name}: damaged ELF file: {problem}; build it again", stage=STAGE)


def _slice(data: bytes, name: str, what: str, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        end = offset + size
        raise _corrupt(name, f"{what} ends at {end:#x}, the file at {len(data):#x}")
    return data[offset : offset + size]


def _text(table: bytes, at: int) -> str:
    end = table.find(b"\0", at)
    return table[at : end if end >= 0 else len(table)].decode("utf-8", "replace")


def _table(
    data: bytes, name: str, what: str, at: int, count: int, entry_size: int, shape: struct.Struct
) -> list[tuple[int, ...]]:
    if count and entry_size != shape.size:
        raise _corrupt(name, f"{what} entries of {entry_size} bytes instead of {shape.size}")
    return list(shape.iter_unpack(_slice(data, name, f"the {what} table", at, count * shape.size)))


def _sections(
    data: bytes, name: str, header: tuple[int, ...]
) -> tuple[tuple[ElfSection, ...], list[tuple[int, ...]]]:
    at, entry_size, count, names_index = header[6], header[11], header[12], header[13]
    rows = _table(data, name, "section header", at, count, entry_size, _SHDR)
    names = b""
    if names_index < len(rows):
        names = _slice(data, name, "the section name table", rows[names_index][4], rows[names_index][5])
    found = []
    for i, (name_at, kind, flags, address, offset, size, *_) in enumerate(rows):
        empty = kind in (0, _SHT_NOBITS)
        body = b"" if empty else _slice(data, name, f"section {i}", offset, size)
        letters = "".join(letter for bit, letter in _SHF_LETTERS if flags & bit)
        if flags & _SHF_COMPRESSED:
            body = b""  # compressed debug information: read as if there were none
        found.append(ElfSection(_text(names, name_at), address, size, letters, body, kind == _SHT_NOBITS))
    return tuple(found), rows


def _segments(data: bytes, name: str, header: tuple[int, ...]) -> tuple[ElfSegment, ...]:
    rows = _table(data, name, "program header", header[5], header[10], header[9], _PHDR)
    found = []
    for i, (kind, _, offset, address, physical, file_size, memory_size, _) in enumerate(rows):
        if kind == _PT_LOAD:
            body = _slice(data, name, f"segment {i}", offset, file_size)
            found.append(ElfSegment(address, physical, max(memory_size, file_size), body))
    return tuple(found)


def _symbols(
    data: bytes, name: str, sections: tuple[ElfSection, ...], rows: list[tuple[int, ...]]
) -> tuple[ElfSymbol, ...]:
    found = []
    for row in rows:
        if row[1] != _SHT_SYMTAB:
            continue
        offset, size, link, entry_size = row[4], row[5], row[6], row[9]
        entries = _table(data, name, "symbol", offset, size // _SYM.size, entry_size, _SYM)
        if link >= len(sections):
            raise _corrupt(name, f"the symbol names are in section {link} of {len(sections)}")
        strings, file = sections[link].data, ""
        for name_at, info, _, index, value, length in entries:
            kind, is_global = info & 0xF, bool(info >> 4)
            if kind == _STT_FILE:
                file = _text(strings, name_at)
                continue
            text = _text(strings, name_at)
            if not text or kind not in _STT or index == _SHN_UNDEF:
                continue
            if index < _SHN_LORESERVE and index >= len(sections):
                raise _corrupt(name, f"symbol '{text}' is in section {index} of {len(sections)}")
            home = sections[index].name if index < _SHN_LORESERVE else None
            found.append(
                ElfSymbol(text, value, length, _STT[kind], home, "" if is_global else file, is_global)
            )
    return tuple(found)
