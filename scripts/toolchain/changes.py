"""What differs between two variants of a kernel: the routines whose code changed, the units whose data did.

Compares assembled units, in which distances to other units are still names. Code whose distances within its own unit
changed counts as changed. Never says what a change means.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from toolchain.exact import Spot
from toolchain.objectfile import ObjectFile, Relocation

# Of a relocation: where it stands in its routine, size, kind, target, addend.
_Field = tuple[int, int, str, str | None, int]


class Changes(NamedTuple):
    """Names of routines whose code differs or that came or went, and files of units with other differences."""

    routines: frozenset[str]
    files: frozenset[str]


class Original:
    """A variant that others are compared with.

    Args:
        units: its units.
        routines: the names that begin a routine; code before the first one in a section counts as data.
    """

    def __init__(self, units: Sequence[ObjectFile], routines: Collection[str]) -> None:
        self.units = tuple(units)
        self.routines = routines
        self._read: dict[str, dict[tuple[str, str], tuple[object, ...]]] = {}

    def changes(self, units: Sequence[ObjectFile]) -> Changes | None:
        """What differs in ``units``; None when it may be anywhere: other units, names or values that all units see.

        A unit that is the same object is taken to be equal without a look.
        """
        if [unit.file for unit in self.units] != [unit.file for unit in units]:
            return None
        names: set[str] = set()
        files: set[str] = set()
        for one, other in zip(self.units, units, strict=True):
            if one is other:
                continue
            if _shared(one) != _shared(other):
                return None
            if one.file not in self._read:
                self._read[one.file] = _pieces(one, self.routines)
            before, after = self._read[one.file], _pieces(other, self.routines)
            for section, name in before.keys() | after.keys():
                if before.get((section, name)) != after.get((section, name)):
                    names |= {name} if name else set()
                    files |= set() if name else {one.file}
        return Changes(frozenset(names), frozenset(files))

    def at(self, spots: Iterable[Spot]) -> Changes:
        """What differs in a variant in which nothing moved and these bytes are others."""
        names: set[str] = set()
        files: set[str] = set()
        for spot in spots:
            unit = self.units[spot.unit]
            section = unit.sections[spot.section]
            starts = sorted(
                (s.value, s.name)
                for s in unit.symbols
                if s.section == spot.section and s.name in self.routines and "x" in section.flags
            )
            name = next((name for first, name in reversed(starts) if first <= spot.offset), "")
            names |= {name} if name else set()
            files |= set() if name else {unit.file}
        return Changes(frozenset(names), frozenset(files))


def _shared(unit: ObjectFile) -> tuple[object, ...]:
    """What other units see besides places in this one: names, and the values of constants."""
    symbols = {
        (s.name, s.section is None, s.value if s.section is None else 0, s.binding)
        for s in unit.symbols
        if s.binding != "local"
    }
    return symbols, unit.weak


def _pieces(unit: ObjectFile, routines: Collection[str]) -> dict[tuple[str, str], tuple[object, ...]]:
    """(section, routine) -> its code, (section, "") -> the rest of the section."""
    found: dict[tuple[str, str], tuple[object, ...]] = {}
    named: list[list[tuple[int, str]]] = [[] for _ in unit.sections]
    for symbol in unit.symbols:
        if symbol.section is not None:
            named[symbol.section].append((symbol.value, symbol.name))
    for symbols in named:
        symbols.sort()
    for section, symbols in zip(unit.sections, named, strict=True):
        if "x" not in section.flags:
            fields = _fields(unit, named, section.relocations, 0)
            found[section.name, ""] = (
                section.flags, section.align, section.size, section.data, fields, tuple(symbols)
            )  # fmt: skip
            continue
        for name, first, end in _ranges([row for row in symbols if row[1] in routines], section.size):
            inside = [r for r in section.relocations if first <= r.offset < end]
            fields = _fields(unit, named, inside, first)
            found[section.name, name] = (
                *found.get((section.name, name), ()),
                section.data[first:end],
                fields,
            )
    return found


def _ranges(starts: list[tuple[int, str]], size: int) -> Iterator[tuple[str, int, int]]:
    yield "", 0, starts[0][0] if starts else size
    for number, (first, name) in enumerate(starts):
        yield name, first, starts[number + 1][0] if number + 1 < len(starts) else size


def _fields(
    unit: ObjectFile, named: list[list[tuple[int, str]]], relocations: Sequence[Relocation], base: int
) -> tuple[_Field, ...]:
    """Fields with places in this unit by the name before them, which may have moved; all else as it is."""
    found = []
    for r in relocations:
        target, addend = r.target, r.addend
        if isinstance(target, int):
            at = bisect_right(named[target], (addend, "\x7f")) - 1
            place, label = named[target][at] if at >= 0 else (0, "")
            target, addend = f"{unit.sections[target].name}:{label}", addend - place
        found.append((r.offset - base, r.size, r.kind, target, addend))
    return tuple(found)
