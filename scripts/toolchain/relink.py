"""The link of one tree, done again with other units in it: what has not moved is not looked at.

Owns which fields lead from where to where, so that a section that moves changes those alone whose distance changes. The
image is the one that ``link`` makes, byte by byte; what it cannot tell (errors, other sections or names than before) is
left to ``link``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from toolchain import link, link_symbols
from toolchain.layout import CODE_FILL, PAGE, Layout
from toolchain.link_errors import LinkErrors, Refused
from toolchain.objectfile import ObjectFile
from toolchain.resolve import BOUNDS
from toolchain.types import Image, Section, Symbol, Symbols

_ADDRESSES = 1 << 64
_Placed = tuple[int, int]  # a section of a unit
# What moves as a whole: a section of a unit, or one end of an output section, which the layout names.
_Place = _Placed | tuple[str, int]
_NOWHERE: _Place = ("", 0)  # of a value that never moves
_SIGNED = ("pcrel", "signed")
_DISTANCE = 4  # bytes of most fields, which are signed
_put_distance = struct.Struct("<i").pack_into


class Linked(NamedTuple):
    """A variant as ``link`` makes it, and its units."""

    image: Image
    objects: tuple[ObjectFile, ...]


class _Field(NamedTuple):
    """A field of a section: where it stands, its value before it is cut to size, the symbol that it names."""

    position: int
    value: int
    name: str


class _Moves(NamedTuple):
    """How far places have moved, where sections begin in their output sections now, and the output sections."""

    by: dict[_Place, int]
    offsets: dict[_Place, int]
    sections: list[tuple[int, int, int]]  # address, physical address, size


class Relink:
    """The link of some units, without errors.

    Args:
        objects: the units in the order of the image.
        layout: of the image.
        image: what ``link`` made of them.
    """

    def __init__(self, objects: Sequence[ObjectFile], layout: Layout, image: Image) -> None:
        self._objects, self._layout, self._image = tuple(objects), layout, image
        errors = LinkErrors(objects, layout)
        self._outputs = link.place(objects, layout, errors)
        self._homes = link.addresses_of(objects, self._outputs)
        self._values = link.global_symbols(objects, self._outputs, layout, self._homes, errors)
        self._owners = self._owned()
        self._at = {placed[1:3]: (n, placed) for n, o in enumerate(self._outputs) for placed in o.placed}
        self._fields: dict[tuple[_Placed, _Place, str, int], list[_Field]] = {}
        for place, (number, placed) in self._at.items():
            if not self._outputs[number].layout.nobits:
                self._index(place, placed)
        self._symbols = [list(self._placed_symbols(n, made, None)) for n, made in enumerate(objects)]

    def _owned(self) -> dict[str, _Place]:
        """Every name that all units see -> what it moves with."""
        found: dict[str, _Place] = {}
        strong: set[str] = set()
        for unit, made in enumerate(self._objects):
            for symbol in made.symbols:
                if symbol.binding != "local" and (symbol.name not in found or symbol.name not in strong):
                    if symbol.name in found and symbol.binding == "weak":
                        continue
                    found[symbol.name] = _NOWHERE if symbol.section is None else (unit, symbol.section)
                    strong |= {symbol.name} if symbol.binding == "global" else set()
        for number, output in enumerate(self._outputs):
            found[output.layout.start_symbol] = ("start", number)
            found[output.layout.end_symbol] = ("end", number)
        found["__image_end_physical"] = ("end physical", len(self._outputs) - 1)
        return found

    def _index(self, place: _Placed, placed: link.Placed) -> None:
        homes = self._homes[placed.unit]
        for position, size, kind, target, addend, _ in placed.section.relocations:
            to, name = _NOWHERE, ""
            if isinstance(target, int):
                to, value = (placed.unit, target), homes[target] + addend
            elif target is None:
                value = addend
            else:
                to, value, name = self._owners.get(target, _NOWHERE), self._values[target] + addend, target
            relative = kind == "pcrel"
            if relative:
                value -= placed.address + position
            if relative or to != _NOWHERE:
                value &= _ADDRESSES - 1
                value -= _ADDRESSES if value >> 63 and kind in _SIGNED else 0
                row = _Field(position, value, name)
                self._fields.setdefault((place, to, kind, size), []).append(row)

    # --- a variant -----------------------------------------------------------------------------------------

    def variant(self, changed: Mapping[int, ObjectFile]) -> Linked | None:
        """The link with some units (by their place) in place of those that were; None where ``link`` must tell."""
        if not all(_alike(self._objects[unit], made) for unit, made in changed.items()):
            return None
        objects = list(self._objects)
        for unit, made in changed.items():
            objects[unit] = made
        moves = self._moved(changed)
        own = self._own_values(changed, moves)
        data = self._shifted(changed, moves)
        refused = Refused(self._objects, self._layout)
        self._fill_changed(changed, moves, own, data, refused)
        if refused.any or not self._fill_others(changed, moves, own, data):
            return None
        sections = []
        for number, old in enumerate(self._image.sections):
            address, physical, size = moves.sections[number]
            bytes_ = bytes(data[number]) if number in data else old.data
            sections.append(old._replace(address=address, physical=physical, size=size, data=bytes_))
        entry = own.get(self._layout.entry)
        if entry is None:
            entry = self._value(self._layout.entry, moves)
        symbols = Symbols(self._symbols_of(objects, changed, moves, sections))
        warnings = tuple(warning for made in objects for warning in made.warnings)
        return Linked(Image(entry, tuple(sections), symbols, (), (), warnings), tuple(objects))

    def _moved(self, changed: Mapping[int, ObjectFile]) -> _Moves:
        """The same as ``link.place``, of addresses alone."""
        by: dict[_Place, int] = {}
        offsets: dict[_Place, int] = {}
        rows = []
        physical = self._layout.physical_base
        for number, output in enumerate(self._outputs):
            physical += -physical % PAGE
            start = physical if output.layout.identity else physical + self._layout.virtual_base
            at = start
            for placed in output.placed:
                section = placed.section
                if placed.unit in changed:
                    section = changed[placed.unit].sections[placed.number]
                at += -at % section.align
                if at != placed.address or placed.unit in changed:
                    by[placed.unit, placed.number] = at - placed.address
                    offsets[placed.unit, placed.number] = at - start
                at += section.size
            size = at - start
            rows.append((start, physical, size))
            by["start", number] = start - output.address
            by["end", number] = at - output.address - output.size
            by["end physical", number] = physical + size - output.physical - output.size
            physical += size
        return _Moves(by, offsets, rows)

    def _value(self, name: str, moves: _Moves) -> int:
        """Of a name that no changed unit defines."""
        return self._values[name] + moves.by.get(self._owners.get(name, _NOWHERE), 0)

    def _own_values(self, changed: Mapping[int, ObjectFile], moves: _Moves) -> dict[str, int]:
        """The values of what changed units define for all."""
        found = {}
        for unit, made in changed.items():
            for symbol in made.symbols:
                if symbol.binding == "local" or symbol.section is None:
                    continue
                if self._owners[symbol.name] == (unit, symbol.section):
                    home = self._homes[unit][symbol.section] + moves.by.get((unit, symbol.section), 0)
                    found[symbol.name] = home + symbol.value
        return found

    def _shifted(self, changed: Mapping[int, ObjectFile], moves: _Moves) -> dict[int, bytearray]:
        """The bytes of the output sections that may differ: what is of other units in its new place."""
        found: dict[int, bytearray] = {}
        for number, output in enumerate(self._outputs):
            if output.layout.nobits:
                continue
            old, size = self._image.sections[number].data, moves.sections[number][2]
            if not any((p.unit, p.number) in moves.offsets for p in output.placed):
                found[number] = bytearray(old)
                continue
            made = bytearray([CODE_FILL if "x" in output.layout.flags else 0]) * size
            begin = end = by = 0  # a stretch of sections that have moved alike
            for placed in output.placed:
                offset = placed.offset
                if placed.unit in changed:
                    made[begin + by : end + by] = old[begin:end]
                    begin = end = offset + placed.section.size
                    continue
                distance = moves.offsets.get((placed.unit, placed.number), offset) - offset
                if distance != by:
                    made[begin + by : end + by] = old[begin:end]
                    begin, by = offset, distance
                elif begin == end:
                    begin = offset
                end = offset + placed.section.size
            made[begin + by : end + by] = old[begin:end]
            found[number] = made
        return found

    def _fill_changed(
        self,
        changed: Mapping[int, ObjectFile],
        moves: _Moves,
        own: Mapping[str, int],
        data: Mapping[int, bytearray],
        refused: Refused,
    ) -> None:
        """Put the sections of the changed units in their places, fields filled."""
        for unit, made in changed.items():
            homes = [home + moves.by.get((unit, n), 0) for n, home in enumerate(self._homes[unit])]
            names = {r.target for s in made.sections for r in s.relocations if isinstance(r.target, str)}
            values = {n: own[n] if n in own else self._value(n, moves) for n in names if n in self._values}
            for number, section in enumerate(made.sections):
                known = self._at.get((unit, number))
                if known is None or known[0] not in data:
                    continue
                offset = moves.offsets[unit, number]
                output = self._outputs[known[0]]._replace(data=data[known[0]])
                output.data[offset : offset + section.size] = section.data or bytes(section.size)
                placed = link.Placed(section, unit, number, homes[number], offset)
                link.relocate(made, placed, output, homes, values, refused)

    def _fill_others(
        self,
        changed: Mapping[int, ObjectFile],
        moves: _Moves,
        own: Mapping[str, int],
        data: Mapping[int, bytearray],
    ) -> bool:
        """Change the fields of the other units that lead to something else now; False when one does not fit."""
        by = moves.by.get
        for (place, to, kind, size), rows in self._fields.items():
            if place[0] in changed:
                continue
            less = by(place, 0) if kind == "pcrel" else 0
            signed = kind in _SIGNED
            named = to[0] in changed
            more = by(to, 0) - less
            if not named and not more:
                continue
            number, placed = self._at[place]
            offset, made = moves.offsets.get(place, placed.offset), data[number]
            if not named and size == _DISTANCE and signed:
                try:
                    for position, value, _ in rows:
                        _put_distance(made, offset + position, value + more)
                except struct.error:
                    return False
                continue
            for position, value, name in rows:
                now = value + (own[name] - self._values[name] - less if named else more)
                now &= _ADDRESSES - 1
                if now >> 63 and signed:
                    now -= _ADDRESSES
                low, high = BOUNDS[kind, size]
                if not low <= now <= high:
                    return False
                at = offset + position
                made[at : at + size] = (now & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        return True

    # --- symbols -------------------------------------------------------------------------------------------

    def _symbols_of(
        self,
        objects: Sequence[ObjectFile],
        changed: Mapping[int, ObjectFile],
        moves: _Moves,
        sections: Sequence[Section],
    ) -> list[Symbol]:
        """Every symbol by address and name."""
        found: list[Symbol] = []
        make = tuple.__new__
        for unit, made in enumerate(objects):
            if unit in changed:
                found += self._unit_symbols(unit, made, moves)
                continue
            for place, rows in self._symbols[unit]:
                if by := moves.by.get(place, 0):
                    rows = [make(Symbol, (row[0], row[1] + by, *row[2:])) for row in rows]
                found += rows
        outputs = [
            output._replace(address=section.address, physical=section.physical, size=section.size)
            for output, section in zip(self._outputs, sections, strict=True)
        ]
        for name, (value, home) in link.layout_symbols(outputs, self._layout).items():
            found.append(Symbol(name, value, 0, "notype", home, "", 0, True))
        return _ordered(found)

    def _unit_symbols(self, unit: int, made: ObjectFile, moves: _Moves) -> list[Symbol]:
        return [symbol for _, rows in self._placed_symbols(unit, made, moves) for symbol in rows]

    def _placed_symbols(
        self, unit: int, made: ObjectFile, moves: _Moves | None
    ) -> Iterator[tuple[_Place, list[Symbol]]]:
        """The symbols of a unit by what they move with."""
        known = link_symbols.unit_symbols(made)
        yield _NOWHERE, known.fixed
        for number, rows in known.rows.items():
            if (unit, number) in self._at:
                output = self._outputs[self._at[unit, number][0]].layout.name
                home = self._homes[unit][number] + (moves.by.get((unit, number), 0) if moves else 0)
                yield (unit, number), link_symbols.at_address(rows, home, output)


def _ordered(symbols: list[Symbol]) -> list[Symbol]:
    """By address and name; hardly two have one address."""
    symbols.sort(key=itemgetter(1))
    addresses = [symbol[1] for symbol in symbols]
    twins = {one for one, other in pairwise(addresses) if one == other}
    for address in twins:
        first, end = bisect_left(addresses, address), bisect_right(addresses, address)
        symbols[first:end] = sorted(symbols[first:end], key=itemgetter(0))
    return symbols


def _alike(old: ObjectFile, new: ObjectFile) -> bool:
    """Whether two variants of a unit have the same sections, sizes and bytes aside, and show others the same names."""
    if len(old.sections) != len(new.sections) or old.weak != new.weak or _seen(old) != _seen(new):
        return False
    return all(
        (one.name, one.flags, one.nobits, one.align, not one.size)
        == (other.name, other.flags, other.nobits, other.align, not other.size)
        for one, other in zip(old.sections, new.sections, strict=True)
    )


def _seen(unit: ObjectFile) -> set[tuple[str, int | None, str, int]]:
    """What other units see of one: names, the sections that they are in, and the values of constants."""
    return {
        (s.name, s.section, s.binding, s.value if s.section is None else 0)
        for s in unit.symbols
        if s.binding != "local"
    }
