"""Variants of which only some units are assembled: the code of the others is taken out, and who runs into it is told.

Owns which units an edit of an include file leaves with nothing but other code, and the image in which breakpoints stand
in the place of that. What came of an image whose blanks were met counts for nothing: the units that were met have to be
assembled (``Strayed``). Never decides who runs what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from toolchain.layout import CODE_FILL
from toolchain.objectfile import ObjectFile
from toolchain.preprocess import Unit
from toolchain.roomy import TEXT
from toolchain.source import BROKEN, SourceFile
from toolchain.types import Image
from toolchain.valued import ASSIGNMENTS

_MACRO, _END = ".macro", ".endm"


class Blank(NamedTuple):
    """The code of a unit that is not there: ``size`` bytes at ``address``, each of them a breakpoint (INT3)."""

    unit: str
    address: int
    size: int


class Strayed(Exception):
    """Code ran that is not there; carries the units that it belongs to."""

    def __init__(self, units: Collection[str]) -> None:
        super().__init__(", ".join(sorted(units)))
        self.units = frozenset(units)


class Blanked(Image):
    """An image with blanks; equal to another when its bytes are.

    Attributes:
        blanks: what is not there.
        met: the units into whose blanks code ran.
    """

    blanks: Sequence[Blank]
    met: set[str]

    def meet(self, address: int) -> None:
        """A breakpoint was run, and the next instruction lies at ``address``."""
        self.met.update(b.unit for b in self.blanks if b.address <= address <= b.address + b.size)


def blanked(image: Image, blanks: Sequence[Blank]) -> Blanked:
    """An image with breakpoints in place of some of its code."""
    sections = list(image.sections)
    for number, section in enumerate(sections):
        own = [b for b in blanks if 0 <= b.address - section.address < len(section.data)]
        if own:
            data = bytearray(section.data)
            for blank in own:
                at = blank.address - section.address
                data[at : at + blank.size] = bytes([CODE_FILL]) * blank.size
            sections[number] = section._replace(data=bytes(data))
    made = Blanked(*image._replace(sections=tuple(sections)))
    made.blanks, made.met = blanks, set()
    return made


def check(image: Image) -> None:
    """After something ran: raise ``Strayed`` where it ran into a blank."""
    if isinstance(image, Blanked) and image.met:
        raise Strayed(image.met)


class Codes:
    """What of the units of one tree is nothing but code.

    Args:
        units: the units by name, without errors.
        made: what was assembled of each.
    """

    def __init__(self, units: Mapping[str, Unit], made: Mapping[str, ObjectFile]) -> None:
        self._bodies = _bodies({source.name: source for unit in units.values() for source in unit.sources})
        self._loud = _loud(self._bodies)
        self._fixed = {name for name, unit in made.items() if not _is_plain(unit)}
        # Units in whose data a macro stands.
        self._data = {
            (name, step.name.lower())
            for name, unit in made.items()
            for section in unit.sections
            if "x" not in section.flags
            for row in section.rows
            for step in row[2].trail
        }

    def needed(self, seen: Collection[str], owners: Collection[str], lines: Iterable[str]) -> set[str] | None:
        """The units of ``seen`` in which an edit may change more than code; None when that may be any.

        That is known where instructions of macros become others. Where a constant has another value, instructions of
        any unit may no longer be encoded, and a candidate with errors is no candidate.

        Args:
            seen: the units that an edit of an include file may change.
            owners: the constants and macros that it changes.
            lines: the lines that it takes out and brings in.
        """
        macros = {name.lower() for name in owners}
        if not macros <= self._bodies.keys() or macros & self._loud:
            return None
        statements = SourceFile("", "\n".join(lines)).statements
        if any(_is_directive(s.op) or s.op in self._loud for s in statements):
            return None
        return {name for name in seen if name in self._fixed or any((name, m) in self._data for m in macros)}


def _is_directive(op: str) -> bool:
    """Whether a statement is neither instruction nor label (a macro's use looks like an instruction)."""
    return op == BROKEN or op[:1] == "." or op in ASSIGNMENTS


def _is_plain(unit: ObjectFile) -> bool:
    """Whether all code of a unit is in sections that nothing counts on the size of, and no symbol is a number."""
    return all(s.name.startswith(TEXT) for s in unit.sections if "x" in s.flags and s.size) and not any(
        s.section is None and s.binding != "local" for s in unit.symbols
    )


def _bodies(sources: Mapping[str, SourceFile]) -> dict[str, set[str]]:
    """The statements that each macro is made of, by its name."""
    found: dict[str, set[str]] = {}
    for source in sources.values():
        open_: list[str] = []
        for statement in source.statements:
            if statement.op == _MACRO:
                open_.append(statement.args.split()[0].rstrip(",").lower() if statement.args else "")
                found.setdefault(open_[-1], set())
                continue
            if statement.op == _END:
                del open_[-1:]
            for name in open_:
                found[name].add(statement.op)
    return found


def _loud(bodies: Mapping[str, set[str]]) -> set[str]:
    """The macros in which there is anything else than instructions, and those that use them."""
    found = {n for n, ops in bodies.items() if any(map(_is_directive, ops))}
    while more := {name for name, ops in bodies.items() if ops & found} - found:
        found |= more
    return found
