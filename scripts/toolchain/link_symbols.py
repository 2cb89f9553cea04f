"""The symbols of linked units: their kinds and sizes, worked out once for each unit, and their places in an image.

Owns: what a symbol is when its source does not say so (a routine or a place), and how far a routine reaches. Where
sections lie is ``link``'s.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol
from toolchain.types import Symbol

_MODULE_VERB_NOUN = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")


# name, offset in its section, size, kind, file, line, whether all units see it
SymbolRow = tuple[str, int, int, Literal["func", "object", "notype"], str, int, bool]


class UnitSymbols(NamedTuple):
    """The symbols of a unit: those with fixed values, and those of its sections by index."""

    unit: ObjectFile
    fixed: list[Symbol]
    rows: dict[int, list[SymbolRow]]


def unit_symbols(made: ObjectFile) -> UnitSymbols:
    """The symbols of a unit, their places still within its sections."""
    fixed: list[Symbol] = []
    of_section: dict[int, list[ObjectSymbol]] = {}
    for symbol in made.symbols:
        if symbol.section is None:
            file, line = symbol.statement.origin
            kind = symbol.kind or "notype"
            fixed.append(Symbol(symbol.name, symbol.value, symbol.size or 0, kind, None, file, line, True))
        else:
            of_section.setdefault(symbol.section, []).append(symbol)
    rows = {index: _section_symbols(symbols, made.sections[index]) for index, symbols in of_section.items()}
    return UnitSymbols(made, fixed, rows)


def _section_symbols(symbols: list[ObjectSymbol], section: ObjectSection) -> list[SymbolRow]:
    code = {line[0] for line in section.lines} if "x" in section.flags else set()
    kinds: dict[str, Literal["func", "object", "notype"]] = {}
    for symbol in symbols:
        named = symbol.binding != "local" or _MODULE_VERB_NOUN.fullmatch(symbol.name) is not None
        kinds[symbol.name] = symbol.kind or ("func" if symbol.value in code and named else "notype")
    starts = sorted(symbol.value for symbol in symbols if kinds[symbol.name] == "func")
    following = dict(zip(starts, [*starts[1:], section.size], strict=False))
    found: list[SymbolRow] = []
    for symbol in symbols:
        kind = kinds[symbol.name]
        size = symbol.size
        if size is None:
            size = following[symbol.value] - symbol.value if kind == "func" else 0
        is_global = symbol.binding != "local"
        found.append((symbol.name, symbol.value, size, kind, *symbol.statement.origin, is_global))
    return found


def at_address(rows: list[SymbolRow], base: int, section: str) -> list[Symbol]:
    """The symbols of a section of a unit that lies at ``base``."""
    return [
        Symbol(name, base + value, size, kind, section, file, line, is_global)
        for name, value, size, kind, file, line, is_global in rows
    ]
