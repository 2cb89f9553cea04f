"""What a source calls its variables, and where they lie while the program runs: the half of the source map for data.

Owns the shapes, which names are known at a word, and how a value is read out of a state. The compiler makes it; the
debugger shows it. Never changes a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pixelvm.state import State
from toolchain.types import Place

WORD = 4  # bytes

Spot = tuple[int, int]  # line and column


class Where(NamedTuple):
    """Where a local lies.

    Attributes:
        slot: a local of the machine's frame; with ``offset`` the one that holds the base of a frame in memory.
        offset: None: the value is the slot's. Else it is in memory, so many bytes behind the base.
        fixed: its base is 0, ``slot`` means nothing.
    """

    slot: int
    offset: int | None = None
    fixed: bool = False


class Local(NamedTuple):
    """A local of a function.

    Attributes:
        name: as written.
        kind: its type.
        begin: where it is declared.
        end: where its block ends.
        where: None where the compiler keeps it nowhere: its value is only ever on the stack, or nobody reads it.
    """

    name: str
    kind: str
    begin: Spot
    end: Spot
    where: Where | None


class Routine(NamedTuple):
    """A function: its words are ``first`` up to ``last`` (not included), its text ``begin`` to ``end`` of ``file``."""

    name: str
    file: str
    begin: Spot
    end: Spot
    first: int
    last: int
    locals: tuple[Local, ...]


class Global(NamedTuple):
    """A word or an array in memory; ``length`` is None for a word, ``size`` the bytes of one element."""

    name: str
    address: int
    size: int = WORD
    length: int | None = None

    @property
    def kind(self) -> str:
        """Its type, as a source says it."""
        return "word" if self.length is None else f"{'byte' if self.size == 1 else 'word'}[{self.length}]"

    def values(self, state: State, first: int = 0, count: int | None = None) -> list[int]:
        """Elements of it, from ``first`` on."""
        length = 1 if self.length is None else self.length
        last = length if count is None else min(length, first + count)
        return [word(state, self.address + self.size * at, self.size) for at in range(first, last)]


class Names(NamedTuple):
    """All of a program's; empty where its source says nothing about variables."""

    routines: tuple[Routine, ...] = ()
    globals: tuple[Global, ...] = ()

    def routine(self, pc: int) -> Routine | None:
        """The function that a word belongs to."""
        return next((one for one in self.routines if one.first <= pc < one.last), None)

    def visible(self, pc: int, places: Sequence[Place]) -> list[Local]:
        """The locals that are known where a word stands, those declared last at the end.

        A word of a function that was put in here has its place elsewhere: then the word before it counts.
        """
        routine = self.routine(pc)
        if routine is None:
            return []
        for at in range(pc, routine.first - 1, -1):
            place = places[at]
            spot = place.line, place.column
            if place.file == routine.file and routine.begin <= spot <= routine.end:
                return [one for one in routine.locals if one.begin <= spot <= one.end]
        return []


def value(where: Where, state: State, frame: int) -> int:
    """What a local of a frame (0 is the entry's) holds."""
    if where.offset is None:
        return state.locals[frame][where.slot]
    base = 0 if where.fixed else state.locals[frame][where.slot]
    return word(state, base + where.offset, WORD)


def word(state: State, address: int, size: int) -> int:
    """Bytes of memory as a number; 0 for those that are not there."""
    return int.from_bytes(state.memory[address : address + size], "little")
