"""Many variants of one kernel tree, each for a few questions: only what an edit can have changed is made anew.

Joins ``reach`` (which units may see an edit) with ``sketch`` (a link in which they take their places), whose images are
asked, never booted, and with ``exact`` for those that are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from toolchain.blanks import Blank, Codes, blanked
from toolchain.bodies import Bodies
from toolchain.build import GENERATED, Session
from toolchain.constants import Constants, Ground
from toolchain.exact import Exact, Patched
from toolchain.pieces import Bytes, Change, Pieces
from toolchain.reach import Reach
from toolchain.relink import Linked, Relink
from toolchain.sketch import Sketch
from toolchain.types import Image, Symbols

_ASSIGNMENT = re.compile(r"\s*(?:\.(?:set|equ)\b|[\w.$]+\s*=)", re.IGNORECASE)
_FEW = 8  # units in other places than before; of more a link of all is as quick
_WHOLE = ("image.toml", "boot.toml")  # what concerns the kernel as a whole


class _Edit(NamedTuple):
    """Lines of a file, from ``first`` (0 is the first), that become others."""

    file: str
    lines: list[str]
    first: int
    removed: int
    new: Sequence[str]

    @property
    def old(self) -> list[str]:
        return self.lines[self.first : self.first + self.removed]

    @property
    def shared(self) -> bool:
        """Whether other lines may change with it: an include file's, or one that assigns a constant."""
        return self.file.endswith(".inc") or any(_ASSIGNMENT.match(line) for line in self.old)


class Variants:
    """Variants of the tree of a session, which builds it as it is first.

    Raises:
        InputError: the tree has errors.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        whole = session.build(lines=False)
        units = session.units()
        self._places = {made.file: number for number, made in enumerate(session.objects())}
        texts = {name: unit.sources[0].text for name, unit in units.items()}
        included = {s.name: s.text for unit in units.values() for s in unit.sources[1:]}
        self._reach = Reach(included, texts)
        self._sketch = Sketch(session.objects(), session.layout())
        self._units = units
        self._lines = {name: text.split("\n") for name, text in {**texts, **included}.items()}
        self._made = {made.file: made for made in session.objects()}
        self._left_out: dict[str, Sequence[Blank]] = {}
        self._exact = Exact(units, session.objects(), session.layout(), whole, session.pool)
        self._objects = session.objects()
        self._roomy: dict[str, Pieces | None] = {}
        self._base = self._sketch.image  # with room in the units that were asked for

    @property
    def original(self) -> Image:
        """Of the tree as it is."""
        return self._sketch.image

    def image(self, overrides: Mapping[str, str], wanted: Collection[str] | None = None) -> Image | None:
        """Of a variant; None when it has to be built as a whole.

        Args:
            overrides: name relative to the tree -> text that stands in for that file.
            wanted: the units whose code is expected to run, where the others' may be left out (``blanks.Blanked``); all
                when None.

        Raises:
            InputError: every error of the units that were assembled, or of their link.
        """
        quick = self._in_place(overrides)
        if quick is not None:
            return quick
        seen = self.seen(overrides)
        if seen is None:
            return None
        some = seen if wanted is None else self._some(overrides, seen, wanted)
        made = self._session.some(sorted(some), overrides)
        image = self._sketch.variant({self._places[name]: unit for name, unit in made.items()})
        if image is None or some == seen:
            return image
        return blanked(image, [b for name in sorted(seen - some) for b in self._blanks(name)])

    def _some(
        self, overrides: Mapping[str, str], seen: frozenset[str], wanted: Collection[str]
    ) -> frozenset[str]:
        """The units of those that a variant may change that cannot be left out."""
        edit = self._edit(overrides)
        owners = self._reach.owners(overrides) if edit is not None and edit.file.endswith(".inc") else None
        if edit is None or not owners:
            return seen
        needed = self._codes.needed(seen, owners, (*edit.old, *edit.new))
        return seen if needed is None else seen & (needed | set(wanted))

    def _blanks(self, unit: str) -> Sequence[Blank]:
        if unit not in self._left_out:
            self._left_out[unit] = self._sketch.blanks(self._places[unit])
        return self._left_out[unit]

    def whole(self, overrides: Mapping[str, str]) -> Image | Patched | Linked:
        """What a build makes of a variant, without its lines: bytes put in place where nothing moves.

        Raises:
            InputError: every error of the units that were assembled, or of the link.
        """
        quick = self._patched(overrides)
        if quick is not None:
            return quick
        seen = self.seen(overrides)
        if seen is not None and len(seen) <= _FEW:
            made = self._session.some(sorted(seen), overrides)
            linked = self._relink.variant({self._places[name]: unit for name, unit in made.items()})
            if linked is not None:
                return linked
        return self._session.build(overrides, lines=False, only=seen)

    def _patched(self, overrides: Mapping[str, str]) -> Patched | None:
        """A variant that differs in the bytes of constants or of macros' bodies; None where it has to be linked."""
        edit = self._edit(overrides)
        if edit is None or not edit.shared:
            return None
        file, lines, first, count, new = edit
        found = self._exact.constants(self._constants, file, edit.old, new)
        if found is None and file.endswith(".inc"):
            found = self._exact.body(file, lines, first, count, new)
        return found

    def _in_place(self, overrides: Mapping[str, str]) -> Image | None:
        """Of a variant that differs in a few statements, or in constants; None where that cannot be told."""
        edit = self._edit(overrides)
        if edit is None:
            return None
        file, lines, first, count, new = edit
        if not count and not new:
            return self.original
        if edit.shared:
            found = self._constants.variant(file, edit.old, new, self._ground)
            if found is None and file.endswith(".inc"):
                found = self._bodies.variant(file, lines, first, count, new)
            return None if found is None else self._put(found)
        pieces = self._with_room(file)
        made = None if pieces is None else pieces.variant(first + 1, count, new)
        return None if made is None else self._put([made])

    def _edit(self, overrides: Mapping[str, str]) -> _Edit | None:
        """How a variant differs from the tree; None where that is in several files, or in one that is not known."""
        if len(overrides) != 1:
            return None
        ((file, text),) = overrides.items()
        lines = self._lines.get(file)
        return None if lines is None else _Edit(file, lines, *differing(lines, text.split("\n")))

    def _stands(self, unit: str, number: int) -> Bytes | None:
        """Where a section of a unit lies, and what stands there."""
        return self._sketch.stands(
            self._base, self._places[unit], number, self._made[unit].sections[number].size
        )

    @cached_property
    def _constants(self) -> Constants:
        return Constants(self._units, self._reach, self._session.pool)

    @cached_property
    def _relink(self) -> Relink:
        return Relink(self._objects, self._session.layout(), self._exact.image)

    @cached_property
    def _ground(self) -> Ground:
        return Ground(self._made, self._stands, self._with_room)

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self._units, {made.file: made for made in self._objects})

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(self._units, self._made, self._session.pool, self._stands)

    def _with_room(self, file: str) -> Pieces | None:
        """A unit with room behind its routines, which stands in the image from now on; None where it cannot."""
        if file not in self._roomy:
            pieces = Pieces(self._units[file], self._session.pool)
            taken = {self._places[name]: known for name, known in self._roomy.items() if known is not None}
            image = self._sketch.put({**taken, self._places[file]: pieces})
            self._roomy[file] = None if image is None else pieces
            if image is not None and pieces.made is not None:
                self._base, self._made[file] = image, pieces.made
        return self._roomy[file]

    def _put(self, changes: Sequence[Change]) -> Image:
        """The image with other bytes at some addresses; the original where they stand there already."""
        sections = list(self._base.sections)
        changed: dict[int, bytearray] = {}
        for address, data, _ in changes:
            number = next(n for n, s in enumerate(sections) if 0 <= address - s.address < len(s.data))
            begin = address - sections[number].address
            if sections[number].data[begin : begin + len(data)] != data:
                if number not in changed:
                    changed[number] = bytearray(sections[number].data)
                changed[number][begin : begin + len(data)] = data
        if not changed:
            return self.original
        for number, whole in changed.items():
            sections[number] = sections[number]._replace(data=bytes(whole))
        symbols = self._base.symbols
        for address, _, grown in changes:
            if grown is not None:
                assert isinstance(symbols, Symbols)
                index = next(n for n in symbols.places[grown.name] if symbols[n].address == address)
                symbols = symbols.resized(index, grown.size)
        return self._base._replace(sections=tuple(sections), symbols=symbols)

    def seen(self, overrides: Mapping[str, str]) -> frozenset[str] | None:
        """The units that a variant may change; None when it may be any, or others than there are."""
        own = frozenset(name for name in overrides if name in self._places)
        others = {name: text for name, text in overrides.items() if name not in own}
        if any(name in _WHOLE or name.startswith(f"{GENERATED}/") for name in others):
            return None
        seeing = self._reach.units(others) if others else frozenset[str]()
        return None if seeing is None else own | seeing


def differing(old: Sequence[str], new: Sequence[str]) -> tuple[int, int, Sequence[str]]:
    """The lines between what two texts begin and end with alike: the first (from 0), how many, and what they became."""
    first = _alike(old, new)
    end = _alike(old[first:][::-1], new[first:][::-1])
    return first, len(old) - end - first, new[first : len(new) - end]


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines are the same from the beginning on."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
