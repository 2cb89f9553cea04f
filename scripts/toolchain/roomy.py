"""A unit assembled with room behind each of its routines, and labels that stay where they are.

Owns how much room there is, where it goes, and where each routine begins and ends. What is put into the room is
``pieces``'s business.
"""

from __future__ import annotations

from toolchain import nops
from toolchain.assemble import Assembler
from toolchain.fragment import Datum, Fragment, Label
from toolchain.pool import Pool
from toolchain.preprocess import Unit
from toolchain.source import Statement

ROOM = 32  # bytes behind each routine: a candidate inserts a few instructions
TEXT = ".text"
_NOPS = nops.fill(ROOM, 64)


class Place(Fragment):
    """Where a label outside of a piece lies: it never moves."""

    __slots__ = ()

    def __init__(self, address: int) -> None:
        super().__init__()
        self.address = address
        self.marker = _SEEN  # type: ignore[assignment]


class _Seen:
    """Equal to every mark of a pass: the place has moved as far as it ever will."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


_SEEN = _Seen()


class Roomy(Assembler):
    """Assembles a unit with room behind its routines, and notes where each begins and ends."""

    def __init__(self, unit: Unit, pool: Pool) -> None:
        super().__init__(unit, pool)
        self.routines: list[tuple[str, Label, Label, Statement]] = []
        self.handlers[".size"] = self._sized

    def _sized(self, statement: Statement) -> None:
        name = statement.args.partition(",")[0].strip()
        begin = self.labels.get(name)
        routine = (
            begin is not None
            and self.kinds.get(name) == "func"
            and self.section is begin.section
            and self.section.name == TEXT
            and self.mode == 64
        )
        if routine:
            assert begin is not None
            end = self.labels[self.hidden_label(statement)]
            self.routines.append((name, begin, end, statement))
        self._size(statement)
        if routine:
            self.items.append(Datum(_NOPS, statement))
