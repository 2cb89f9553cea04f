"""The linked kernel as a build gives it, with other bytes in some places: variants that need no link of their own.

Owns the link of a tree as it is, and the variants of it in which every statement takes as many bytes as before, so that
nothing moves: the image is the one that a whole build would make, byte by byte, and may be booted. What cannot be told
so is left to ``session.Session.build``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from toolchain import link
from toolchain.bodies import Bodies
from toolchain.constants import Constants, Ground
from toolchain.layout import Layout
from toolchain.link_errors import LinkErrors
from toolchain.objectfile import ObjectFile
from toolchain.pieces import Bytes, Change
from toolchain.pool import Pool
from toolchain.preprocess import Unit
from toolchain.types import Image


class Spot(NamedTuple):
    """Bytes of a unit (by its place among the units) that differ: within a section of it, by number."""

    unit: int
    section: int
    offset: int


class Patched(NamedTuple):
    """A variant as a build gives it, and where it differs."""

    image: Image
    spots: tuple[Spot, ...]


class Exact:
    """The link of one tree.

    Args:
        units: the units by name, without errors.
        objects: what was assembled of each, in the order of the image.
        layout: of the image.
        image: what ``link`` made of them.
        pool: numbers and encodes instructions.
    """

    def __init__(
        self,
        units: Mapping[str, Unit],
        objects: Sequence[ObjectFile],
        layout: Layout,
        image: Image,
        pool: Pool,
    ) -> None:
        self.image = image
        self._units, self._pool = units, pool
        outputs = link.place(objects, layout, LinkErrors(objects, layout))
        outer = link.layout_symbols(outputs, layout)
        # A constant that all units see stands among the symbols of the image.
        self._fixed = any(s.section is None and s.name not in outer for s in image.symbols)
        self._sections = {placed[1:3]: (n, placed) for n, o in enumerate(outputs) for placed in o.placed}
        self._placed = [
            sorted((p for p in o.placed if p.section.size), key=attrgetter("address")) for o in outputs
        ]
        self._places = {made.file: number for number, made in enumerate(objects)}
        self._made = {made.file: made for made in objects}
        self._ground = Ground(self._made, self._stands)

    def constants(
        self, constants: Constants, file: str, old: Sequence[str], new: Sequence[str]
    ) -> Patched | None:
        """The tree in which assignments of ``file`` are others (``Constants.variant``); None when something moves."""
        if self._fixed:
            return None
        return self._put(constants.variant(file, old, new, self._ground))

    def body(
        self, file: str, lines: Sequence[str], first: int, count: int, new: Sequence[str]
    ) -> Patched | None:
        """The tree in which lines of a macro are others (``Bodies.variant``); None when something moves."""
        return self._put(self._bodies.variant(file, lines, first, count, new))

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(self._units, self._made, self._pool, self._stands, moves=True)

    def _stands(self, unit: str, number: int) -> Bytes | None:
        known = self._sections.get((self._places[unit], number))
        if known is None or not self.image.sections[known[0]].data:
            return None
        output, placed = known
        begin = placed.offset
        return placed.address, self.image.sections[output].data[begin : begin + placed.section.size]

    def _put(self, changes: Sequence[Change] | None) -> Patched | None:
        """The image with other bytes at some addresses."""
        if changes is None:
            return None
        sections = list(self.image.sections)
        changed: dict[int, bytearray] = {}
        spots = []
        for address, data, _ in changes:
            number = next(n for n, s in enumerate(sections) if 0 <= address - s.address < len(s.data))
            begin = address - sections[number].address
            if sections[number].data[begin : begin + len(data)] != data:
                whole = changed.setdefault(number, bytearray(sections[number].data))
                whole[begin : begin + len(data)] = data
                placed = self._placed[number]
                home = placed[bisect_right(placed, address, key=attrgetter("address")) - 1]
                spots.append(Spot(home.unit, home.number, address - home.address))
        for number, whole in changed.items():
            sections[number] = sections[number]._replace(data=bytes(whole))
        image = self.image._replace(sections=tuple(sections)) if changed else self.image
        return Patched(image, tuple(spots))
