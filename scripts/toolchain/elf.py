"""The ELF64 executable of an image.

Owns: the file format: program headers with the rights and physical address of each section, the PT_NOTE of the PVH
entry, ``.symtab``, and room for the debug sections of ``dwarf``. Same image, same bytes: no time, no path of the
machine. Never decides an address; that is the linker's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from toolchain import dwarf
from toolchain.types import Image, Section, Symbol

PAGE = 0x1000

# System V ABI (gABI) chapters 4 and 5
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64-bit, little endian, version 1, System V
_ET_EXEC, _EM_X86_64, _EV_CURRENT = 2, 62, 1
_PT_LOAD, _PT_NOTE = 1, 4
_PF = {"x": 1, "w": 2, "a": 4}
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOTE, _SHT_NOBITS = 1, 2, 3, 7, 8
_SHF = {"w": 1, "a": 2, "x": 4}
_SHN_ABS = 0xFFF1
_STB_LOCAL, _STB_GLOBAL = 0, 1
_STT = {"notype": 0, "object": 1, "func": 2}
_STT_FILE = 4
_NOTE_ALIGN = 4
_HEADERS_ALIGN = 8


class _Header:
    """A section header to be; ``offset`` is set when the file is laid out."""

    __slots__ = (
        "address",
        "align",
        "data",
        "entry_size",
        "flags",
        "info",
        "link",
        "name",
        "offset",
        "size",
        "type",
    )

    def __init__(
        self,
        name: str,
        kind: int,
        data: bytes,
        *,
        flags: int = 0,
        address: int = 0,
        size: int = 0,
        align: int = 1,
        link: int = 0,
        info: int = 0,
        entry_size: int = 0,
    ) -> None:
        self.name, self.type, self.data = name, kind, data
        self.flags, self.address, self.size, self.align = flags, address, size, align
        self.link, self.info, self.entry_size = link, info, entry_size
        self.offset = 0


class _Strings:
    """A string table: offset 0 is the empty name."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._known: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        at = self._known.get(text)
        if at is None:
            at = self._known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return at


def write(image: Image, *, debug: bool = True, symbols: bool = True) -> bytes:
    """The ELF64 file of ``image``.

    Args:
        image: the linked image. Sections of no size get a section header and no program header.
        debug: with the DWARF sections.
        symbols: with ``.symtab``; a candidate that is only booted needs neither.

    Returns:
        The file. File offsets are congruent to addresses modulo a page, the first loaded byte lies at
        0x1000, so that a Multiboot2 header in the first section lies in the first 32 KiB.

    Source: System V ABI, generic part, chapters 4 and 5.
    """
    headers = [_Header("", 0, b"")]
    headers += [_section_header(section) for section in image.sections]
    loads = [
        (section, header)
        for section, header in zip(image.sections, headers[1:], strict=True)
        if section.size and "a" in section.flags
    ]
    notes = [pair for pair in loads if pair[1].type == _SHT_NOTE]

    at = _EHDR.size + _PHDR.size * (len(loads) + len(notes))
    at += -at % PAGE
    for section, header in loads:
        at += (section.address - at) % PAGE
        header.offset = at
        at += len(header.data)
    if symbols:
        headers += _symbol_tables(image, len(headers))
    if debug:
        headers += [_Header(name, _SHT_PROGBITS, data) for name, data in dwarf.sections(image).items()]
    names = _Strings()
    for header in headers:
        names.add(header.name)
    headers.append(_Header(".shstrtab", _SHT_STRTAB, b""))
    names.add(".shstrtab")
    headers[-1].data = bytes(names.data)

    loaded = {id(header) for _, header in loads}
    for header in headers[1:]:
        if id(header) not in loaded:
            at += -at % header.align
            header.offset = at
            at += len(header.data)
            header.size = header.size or len(header.data)
    table = at + -at % _HEADERS_ALIGN

    out = bytearray(table)
    program = [_program_header(_PT_LOAD, PAGE, *pair) for pair in loads]
    program += [_program_header(_PT_NOTE, _NOTE_ALIGN, *pair) for pair in notes]
    out[: _EHDR.size] = _EHDR.pack(
        _IDENT, _ET_EXEC, _EM_X86_64, _EV_CURRENT, image.entry, _EHDR.size if program else 0, table, 0,
        _EHDR.size, _PHDR.size, len(program), _SHDR.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    flat = b"".join(program)
    out[_EHDR.size : _EHDR.size + len(flat)] = flat
    for header in headers:
        out[header.offset : header.offset + len(header.data)] = header.data
    for header in headers:
        out += _SHDR.pack(
            names.add(header.name), header.type, header.flags, header.address, header.offset, header.size,
            header.link, header.info, header.align if header.type else 0, header.entry_size,
        )  # fmt: skip
    return bytes(out)


def _section_header(section: Section) -> _Header:
    if section.nobits:
        kind = _SHT_NOBITS
    elif section.name.startswith(".note"):
        kind = _SHT_NOTE
    else:
        kind = _SHT_PROGBITS
    return _Header(
        section.name,
        kind,
        b"" if section.nobits else section.data,
        flags=sum(_SHF[flag] for flag in section.flags),
        address=section.address,
        size=section.size,
        align=max(section.align, 1),
    )


def _program_header(kind: int, align: int, section: Section, header: _Header) -> bytes:
    rights = sum(_PF[flag] for flag in section.flags)
    return _PHDR.pack(
        kind, rights, header.offset, section.address, section.physical, len(header.data), section.size, align
    )


def _symbol_tables(image: Image, first_index: int) -> list[_Header]:
    """``.symtab`` and ``.strtab``, whose numbers as sections begin with ``first_index``."""
    table, first_global, strings = _packed(image)
    symbols = _Header(
        ".symtab", _SHT_SYMTAB, table, align=8, link=first_index + 1, info=first_global, entry_size=_SYM.size
    )
    return [symbols, _Header(".strtab", _SHT_STRTAB, strings)]


_Packed = tuple[bytes, int, bytes]
_PACKED_KEPT = 2  # those of the tree as it is, which variants share, and of the variant that was linked last
_last: list[tuple[Sequence[Symbol], tuple[str, ...], _Packed]] = []


def _packed(image: Image) -> _Packed:
    """The symbols, the number of the first global one, and their names; of images that share them worked out once."""
    names = tuple(section.name for section in image.sections)
    for at, (symbols, sections, known) in enumerate(_last):
        if symbols is image.symbols and sections == names:
            _last.insert(0, _last.pop(at))
            return known
    made = _pack_symbols(image.symbols, names)
    _last.insert(0, (image.symbols, names, made))
    del _last[_PACKED_KEPT:]
    return made


def _pack_symbols(symbols: Sequence[Symbol], sections: Sequence[str]) -> _Packed:
    """For each source file its name and its local symbols, then the global ones."""
    strings = _Strings()
    index = {name: i for i, name in enumerate(sections, 1)}
    entries = [bytes(_SYM.size)]

    def add(symbol: Symbol, binding: int) -> None:
        home = index[symbol.section] if symbol.section is not None else _SHN_ABS
        info = binding << 4 | _STT[symbol.kind]
        entries.append(_SYM.pack(strings.add(symbol.name), info, 0, home, symbol.address, symbol.size))

    for file, members in _by_file([s for s in symbols if not s.is_global]):
        if file:
            entries.append(_SYM.pack(strings.add(file), _STB_LOCAL << 4 | _STT_FILE, 0, _SHN_ABS, 0, 0))
        for symbol in members:
            add(symbol, _STB_LOCAL)
    first_global = len(entries)
    for symbol in sorted((s for s in symbols if s.is_global), key=lambda s: (s.address, s.name)):
        add(symbol, _STB_GLOBAL)
    return b"".join(entries), first_global, bytes(strings.data)


def _by_file(symbols: Sequence[Symbol]) -> list[tuple[str, list[Symbol]]]:
    groups: dict[str, list[Symbol]] = {}
    for symbol in sorted(symbols, key=lambda s: (s.file, s.address, s.name)):
        groups.setdefault(symbol.file, []).append(symbol)
    return list(groups.items())
