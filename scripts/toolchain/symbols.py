"""Names for addresses: the symbols and line rows of a linked image, or of an ELF file read back.

Owns: which routine an address lies in, which ``file:line`` it came from, where a name is, and the bytes there.
Never decodes an instruction and never reads a source file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from pathlib import Path

from toolchain import elf_read, line_table
from toolchain.dwarf import symbol_rank
from toolchain.types import CodePlace, Image, Section, Symbol


class SymbolTable:
    """Symbols, lines and bytes of one kernel.

    Args:
        source: a linked image, or the path of an ELF64 executable, ours or foreign. A file names no line for
            its symbols: they get that of their first instruction, and 0 for data.
        loaded: name code by the physical address that it is loaded at, too: a kernel that is linked high and enters
            low runs there before it turns paging on.

    Attributes:
        entry: the entry address.
        symbols: by address; absolute ones (``.set``) last.
        sections: the sections that are loaded, by address.
        files: the source files that the line rows name, sorted.

    Raises:
        InputError: the file cannot be read or is damaged.
    """

    def __init__(self, source: Image | Path, *, loaded: bool = False) -> None:
        if isinstance(source, Image):
            self.entry = source.entry
            sections = source.sections
            symbols = source.symbols
            rows = [line_table.Row(r.address, r.address + r.length, r.file, r.line) for r in source.lines]
            rows.sort()
        else:
            file = elf_read.read(source)
            self.entry = file.entry
            rows = _rows(file, str(source))
            sections = _sections(file)
            symbols = _symbols(file, rows)
        self.sections = tuple(sorted((s for s in sections if "a" in s.flags), key=lambda s: s.address))
        self._loaded = [s for s in self.sections if s.physical != s.address] if loaded else []
        self.symbols = tuple(sorted(symbols, key=lambda s: (s.section is None, s.address, *symbol_rank(s))))
        self._rows = rows
        self._row_starts = [row.address for row in rows]
        self.files = tuple(sorted({row.file for row in rows}))
        self._by_name: dict[str, Symbol] = {}
        for symbol in self.symbols:
            known = self._by_name.get(symbol.name)
            if known is None or (symbol.is_global and not known.is_global):
                self._by_name[symbol.name] = symbol
        # by section: one symbol for each address, the best name of it
        self._homes: dict[str, tuple[list[int], list[Symbol]]] = {}
        for symbol in self.symbols:
            if symbol.section is None:
                continue
            starts, members = self._homes.setdefault(symbol.section, ([], []))
            if not starts or starts[-1] != symbol.address:
                starts.append(symbol.address)
                members.append(symbol)

    def find(self, name: str) -> Symbol | None:
        """The symbol called ``name``; a global one before a local one of the same name."""
        return self._by_name.get(name)

    def section_at(self, address: int) -> Section | None:
        """The section that ``address`` lies in."""
        at = bisect_right(self.sections, address, key=lambda s: s.address) - 1
        for section in reversed(self.sections[: at + 1]):
            if address < section.address + section.size:
                return section
        return None

    def symbol_at(self, address: int) -> Symbol | None:
        """The symbol that ``address`` belongs to: the nearest one before it in its section, within its size."""
        section = self.section_at(address)
        if section is None or section.name not in self._homes:
            return None
        starts, members = self._homes[section.name]
        at = bisect_right(starts, address) - 1
        if at < 0 or (members[at].size and address >= members[at].address + members[at].size):
            return None
        return members[at]

    def extent(self, symbol: Symbol) -> tuple[int, int]:
        """``[start, end)`` of ``symbol``: its size, else up to the next symbol or its section's end."""
        section = self.section_at(symbol.address)
        if symbol.size or symbol.section is None or section is None:
            return symbol.address, symbol.address + symbol.size
        starts, _ = self._homes[symbol.section]
        at = bisect_right(starts, symbol.address)
        end = starts[at] if at < len(starts) else section.address + section.size
        return symbol.address, end

    def place(self, address: int) -> CodePlace:
        """``address`` with whatever names it has."""
        linked = self.linked(address)
        symbol = self.symbol_at(linked)
        row = self._row(linked)
        return CodePlace(
            address,
            symbol.name if symbol else None,
            linked - symbol.address if symbol else 0,
            row.file if row else None,
            row.line if row else None,
        )

    def addresses(self, file: str, line: int) -> list[int]:
        """Where the code of ``file:line`` begins; more than one for a line whose macro emits apart."""
        return [row.address for row in self._rows if row.line == line and row.file == file]

    def boundaries(self, start: int, end: int) -> list[int]:
        """Addresses strictly between ``start`` and ``end`` where a symbol or a run of line rows begins or ends."""
        points = {symbol.address for symbol in self.symbols if symbol.section is not None}
        previous = None
        low, high = bisect_right(self._row_starts, start), bisect_right(self._row_starts, end)
        for row in self._rows[max(low - 1, 0) : high]:
            if row.address != previous and previous is not None:
                points |= {previous, row.address}
            previous = row.end
        if previous is not None:
            points.add(previous)
        return sorted(point for point in points if start < point < end)

    def rows_between(self, start: int, end: int) -> list[int]:
        """Where the line rows that begin in ``[start, end)`` begin."""
        low, high = bisect_left(self._row_starts, start), bisect_left(self._row_starts, end)
        return self._row_starts[low:high]

    def read(self, address: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``address`` as they are in the file; fewer at a section's end, none outside."""
        section = self.section_at(address)
        if section is None:
            return b""
        at = address - section.address
        if section.nobits:
            return bytes(min(length, section.size - at))
        return section.data[at : at + length]

    def linked(self, address: int) -> int:
        """Where the code at an address was linked to run: there, unless only its physical address is meant."""
        if self._loaded and self.section_at(address) is None:
            for section in self._loaded:
                if section.physical <= address < section.physical + section.size:
                    return address - section.physical + section.address
        return address

    def _row(self, address: int) -> line_table.Row | None:
        at = bisect_right(self._row_starts, address) - 1
        return self._rows[at] if at >= 0 and address < self._rows[at].end else None


def _rows(file: elf_read.ElfFile, name: str) -> list[line_table.Row]:
    def data(section_name: str) -> bytes:
        section = file.section(section_name)
        return section.data if section else b""

    return line_table.read(
        data(".debug_line"), name, line_strings=data(".debug_line_str"), strings=data(".debug_str")
    )


def _sections(file: elf_read.ElfFile) -> tuple[Section, ...]:
    found = []
    for section in file.sections:
        home = next(
            (s for s in file.segments if s.address <= section.address < s.address + s.memory_size), None
        )
        physical = section.address - home.address + home.physical if home else section.address
        found.append(
            Section(
                section.name,
                section.address,
                physical,
                section.size,
                section.data,
                section.flags,
                1,
                section.nobits,
            )
        )
    return tuple(found)


def _symbols(file: elf_read.ElfFile, rows: list[line_table.Row]) -> tuple[Symbol, ...]:
    lines = {row.address: row for row in rows}
    found = []
    for s in file.symbols:
        row = lines.get(s.address) if s.section is not None else None
        home, number = (row.file, row.line) if row else (s.file, 0)
        found.append(Symbol(s.name, s.address, s.size, s.kind, s.section, home, number, s.is_global))
    return tuple(found)
