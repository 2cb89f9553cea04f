"""A linked kernel in which code has room to grow: variants of a unit take its place, and nothing else moves.

Owns links for questions to single routines, where many variants of one kernel follow each other. A sketch holds the
bytes that the real link would, at other addresses; nobody boots it. What does not fit in place is left to ``link``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter

from toolchain import link, link_symbols
from toolchain.blanks import Blank
from toolchain.layout import CODE_FILL, Layout
from toolchain.link_errors import LinkErrors, Refused
from toolchain.objectfile import ObjectFile, ObjectSection
from toolchain.pieces import Pieces
from toolchain.roomy import ROOM
from toolchain.types import Image, Section, Symbol, Symbols

# Bytes behind the code of each unit: a candidate inserts a few instructions. Data has none: a buffer that grew into its
# room would give the bytes of the unpatched kernel.
_ROOM = 64


class Sketch:
    """The sketch of one kernel.

    Args:
        objects: its units.
        layout: its layout.

    Attributes:
        objects: as given.
        image: of these units.

    Raises:
        InputError: the units do not link.
    """

    def __init__(self, objects: Sequence[ObjectFile], layout: Layout) -> None:
        self.objects = list(objects)
        self.layout = layout
        errors = LinkErrors(self.objects, layout)
        # Room for each routine besides: ``pieces`` takes it.
        routines = {
            id(made.sections[index]): count
            for made in self.objects
            for index, count in Counter(s.section for s in made.symbols if s.kind == "func").items()
            if index is not None
        }
        self._rooms = {
            id(section): _ROOM + ROOM * routines.get(id(section), 0)
            for made in self.objects
            for section in made.sections
            if "x" in section.flags and section.size
        }
        self._outputs = link.place(self.objects, layout, errors, self._room)
        self._homes = link.addresses_of(self.objects, self._outputs)
        self._values = link.global_symbols(self.objects, self._outputs, layout, self._homes, errors)
        self._at: dict[tuple[int, int], tuple[int, link.Placed]] = {}
        self._users: dict[str, list[tuple[int, link.Placed]]] = {}
        for number, output in enumerate(self._outputs):
            for placed in output.placed:
                link.relocate(
                    self.objects[placed.unit], placed, output, self._homes[placed.unit], self._values, errors
                )
                self._at[placed.unit, placed.number] = number, placed
                for name in {r.target for r in placed.section.relocations}:
                    if isinstance(name, str):
                        self._users.setdefault(name, []).append((number, placed))
        if layout.entry not in self._values:
            errors.no_entry()
        errors.raise_all()
        self._sections = link.sections_of(self._outputs)
        self._symbols = [self._symbols_of(unit, made) for unit, made in enumerate(self.objects)]
        outer = link.layout_symbols(self._outputs, layout).items()
        self._outer = [
            Symbol(name, value, 0, "notype", section, "", 0, True) for name, (value, section) in outer
        ]
        self.image = self._image(self._sections, self._symbols)

    def variant(self, changed: Mapping[int, ObjectFile]) -> Image | None:
        """The image with some units (by their place) changed; None when they do not fit where the old ones stood.

        Raises:
            InputError: an undefined symbol, or a value out of range.
        """
        if not all(self._fits(self.objects[unit], made) for unit, made in changed.items()):
            return None
        values = self._values_with(changed)
        errors = LinkErrors(self.objects, self.layout)
        data: dict[int, link.Output] = {}
        for number, placed in self._touched(changed, values):
            if number not in data:
                output = self._outputs[number]
                data[number] = output._replace(data=bytearray(output.data))
            owner = changed.get(placed.unit, self.objects[placed.unit])
            now = placed._replace(section=owner.sections[placed.number])
            _fill(data[number], placed.section.size, now)
            link.relocate(owner, now, data[number], self._homes[placed.unit], values, errors)
        errors.raise_all()
        sections = list(self._sections)
        for number, section in zip(data, link.sections_of(list(data.values())), strict=True):
            sections[number] = section
        symbols = list(self._symbols)
        for unit, made in changed.items():
            symbols[unit] = self._symbols_of(unit, made)
        return self._image(sections, symbols)

    def _room(self, section: ObjectSection) -> int:
        """What a section takes in the sketch."""
        return section.size + self._rooms.get(id(section), 0)

    def _values_with(self, changed: Mapping[int, ObjectFile]) -> dict[str, int]:
        values = dict(self._values)
        for unit, made in changed.items():
            for symbol in made.symbols:
                if symbol.binding != "local":
                    at = self._homes[unit][symbol.section] if symbol.section is not None else 0
                    values[symbol.name] = symbol.value + at
        return values

    def put(self, taken: Mapping[int, Pieces]) -> Image | None:
        """The image with units that have room in place of the units as they are; None where they do not fit.

        Each is told where it lies, and how its fields are filled there.
        """
        changed = {unit: one.made for unit, one in taken.items() if one.made is not None}
        image = self.variant(changed) if len(changed) == len(taken) else None
        if image is not None:
            values = self._values_with(changed)
            for unit, made in changed.items():
                rows = [
                    self.stands(image, unit, number, section.size)
                    for number, section in enumerate(made.sections)
                ]
                data = [b"" if row is None else row[1] for row in rows]
                taken[unit].put(self._homes[unit], data, partial(self._filled, unit, made, values))
        return image

    def _filled(
        self, unit: int, made: ObjectFile, values: dict[str, int], section: ObjectSection, number: int
    ) -> bytes | None:
        """A section of a unit with its fields filled; None when a value is missing or does not fit."""
        errors = Refused(self.objects, self.layout)
        output = self._outputs[0]._replace(data=bytearray(section.data))
        homes = self._homes[unit]
        link.relocate(
            made, link.Placed(section, unit, number, homes[number], 0), output, homes, values, errors
        )
        return None if errors.any else bytes(output.data)

    def stands(self, image: Image, unit: int, number: int, size: int) -> tuple[int, bytes] | None:
        """Where a section of a unit lies, and what stands there; None where it has no bytes in the file."""
        known = self._at.get((unit, number))
        if known is None or not size:
            return None
        section = image.sections[known[0]]
        at = known[1].address - section.address
        return (known[1].address, section.data[at : at + size]) if section.data else None

    def blanks(self, unit: int) -> list[Blank]:
        """Where the code of a unit lies, with its room."""
        return [
            Blank(self.objects[unit].file, placed.address, self._room(placed.section))
            for (owner, _), (_, placed) in self._at.items()
            if owner == unit and "x" in placed.section.flags and placed.section.size
        ]

    def _fits(self, old: ObjectFile, new: ObjectFile) -> bool:
        """The same sections with no more than their room, and the same names for other units."""
        if len(old.sections) != len(new.sections) or old.weak != new.weak or _seen(old) != _seen(new):
            return False
        for one, other in zip(old.sections, new.sections, strict=True):
            alike = one.name == other.name and one.flags == other.flags and one.nobits == other.nobits
            fits = other.size <= self._room(one) if id(one) in self._rooms else other.size == one.size
            if not alike or not fits or other.align > one.align:
                return False
        return True

    def _touched(
        self, changed: Mapping[int, ObjectFile], values: Mapping[str, int]
    ) -> Iterable[tuple[int, link.Placed]]:
        """The sections of the changed units, and those of others that name what has moved."""
        found = {(unit, number) for unit in changed for number in range(len(self.objects[unit].sections))}
        moved = [name for name, _ in values.items() ^ self._values.items()]
        for name in dict.fromkeys(moved):
            found |= {(placed.unit, placed.number) for _, placed in self._users.get(name, ())}
        return [self._at[key] for key in sorted(found) if key in self._at]

    def _symbols_of(self, unit: int, made: ObjectFile) -> list[Symbol]:
        known = link_symbols.unit_symbols(made)
        found = list(known.fixed)
        for index, rows in known.rows.items():
            if (unit, index) in self._at:
                number, placed = self._at[unit, index]
                found += link_symbols.at_address(rows, placed.address, self._outputs[number].layout.name)
        return found

    def _image(self, sections: Sequence[Section], symbols: Sequence[Sequence[Symbol]]) -> Image:
        ordered = sorted(chain(self._outer, *symbols), key=attrgetter("address", "name"))
        return Image(self._values[self.layout.entry], tuple(sections), Symbols(ordered), (), (), ())


def _seen(unit: ObjectFile) -> set[tuple[str, bool, str]]:
    """What other units see of one."""
    return {(s.name, s.section is None, s.binding) for s in unit.symbols if s.binding != "local"}


def _fill(output: link.Output, size: int, placed: link.Placed) -> None:
    """Put a section where one of ``size`` bytes was."""
    if output.layout.nobits:
        return
    section = placed.section
    data = section.data or bytes(section.size)
    fill = bytes([CODE_FILL if "x" in output.layout.flags else 0]) * max(0, size - section.size)
    output.data[placed.offset : placed.offset + len(data) + len(fill)] = data + fill
