"""One unit whose routines have room to grow: a few statements of it assembled anew, and their bytes put in place.

Owns the unit as it stands in a ``sketch`` (its bytes, where its labels lie, which lines each stretch came from) and the
assembly of a piece of it: what is around the piece neither moves nor is read again. A piece of the unit as it is gives
the bytes that stand there, or it is none. What cannot be judged so (errors, labels that others use, other sizes than
there is room for) is left to whoever assembles the whole unit. Never decides which lines are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from toolchain import nops
from toolchain.assemble import Assembler
from toolchain.data_directives import INTEGERS
from toolchain.finish import sections
from toolchain.fragment import Fragment, Label, SectionBuilder
from toolchain.objectfile import ObjectFile, ObjectSection
from toolchain.pool import Pool
from toolchain.preprocess import Unit
from toolchain.roomy import ROOM, Place, Roomy
from toolchain.source import LABEL, SourceFile, Statement
from toolchain.types import Mode
from toolchain.unit_state import HIDDEN

_LOCAL = re.compile(r"\.L[\w.$]+")
_MACRO = re.compile(r"^[ \t]*\.macro\s+([\w.$]+)", re.MULTILINE | re.IGNORECASE)
_FIXED = (*INTEGERS, ".ascii", ".asciz")  # directives that stand for bytes, wherever they are
_BLOCK = re.compile(r"^\s*\.(?:if|else|endif|rept|irp|endr|macro|endm|include|set|equ)", re.IGNORECASE)

Bytes = tuple[int, bytes]  # an address, and what stands there
# Fills the fields of a section, given its number in the unit; None where a value is missing or does not fit.
Relocate = Callable[[ObjectSection, int], bytes | None]


class Routine(NamedTuple):
    """One routine of the unit: its statements lie between the indices, its bytes between the offsets of ``.text``."""

    name: str
    first: int
    last: int
    begin: int
    end: int


class Grown(NamedTuple):
    """A routine that has another size now."""

    name: str
    size: int


class Change(NamedTuple):
    """Other bytes at an address, and the routine there that has another size."""

    address: int
    data: bytes
    grown: Grown | None = None


class Pieces:
    """A unit with room.

    Args:
        unit: preprocessed, without errors.
        pool: numbers and encodes instructions.

    Attributes:
        made: the unit with room; None when it cannot be taken apart.
    """

    def __init__(self, unit: Unit, pool: Pool) -> None:
        self.unit = unit
        self._pool = pool
        self.made: ObjectFile | None = None
        self._relocate: Relocate | None = None
        self._homes: Sequence[int] = ()
        self._data: list[bytes] = []
        own = unit.sources[0]
        equations = any(s.op in (".set", ".equ", "=") for s in unit.statements)
        if equations or "/*" in own.text or "\\\n" in own.text:
            return
        assembler = Roomy(unit, pool)
        assembler.read()
        made = assembler.finish()
        if made is None or not assembler.intel:
            return
        self.made = made
        self._weak = set(assembler.weak)
        builders = [
            SectionBuilder(s.name, s.index, s.flags, s.kind, s.opened) for s in assembler.sections.values()
        ]
        self._sections = builders
        self._labels: dict[str, Label] = {}
        for name, label in assembler.labels.items():
            if not name.startswith(HIDDEN):
                copy = Label(name, builders[label.section.index], label.statement)
                copy.fragment = Place(label.address)
                self._labels[name] = copy
        self._lines = [self._own_line(statement) for statement in unit.statements]
        self._index(assembler)
        self.macros = {name.lower() for source in unit.sources for name in _MACRO.findall(source.text)}
        self._rows: dict[int, list[tuple[int, int, int, Statement]]] | None = None

    def _own_line(self, statement: Statement) -> int:
        """The line of the unit's own file that a statement came from; 0 when it came from an include file."""
        file, line = statement.origin
        return line if file == self.unit.file else 0

    def _index(self, assembler: Roomy) -> None:
        """Where things stand in the list of statements: routines, constants, modes."""
        places = {id(statement): at for at, statement in enumerate(self.unit.statements)}
        self._routines: list[Routine] = []
        for name, begin, end, statement in assembler.routines:
            first, last = places.get(id(begin.statement)), places.get(id(statement))
            if first is not None and last is not None and first < last:
                self._routines.append(Routine(name, first, last, begin.address, end.address))
        self._constants: list[tuple[int, dict[str, int]]] = [(0, dict(self.unit.reader.defines))]
        self._modes: list[tuple[int, Mode]] = [(0, 64)]
        uses: dict[str, set[int]] = {}
        homes: dict[str, int] = {}
        numeric = False
        owners = [-1] * len(self.unit.statements)
        for number, routine in enumerate(self._routines):
            owners[routine.first : routine.last] = [number] * (routine.last - routine.first)
        for at, statement in enumerate(self.unit.statements):
            op = statement[0]
            if statement[6] is not None:
                self._constants.append((at, self._constants[-1][1] | statement[6].values))
            elif op == LABEL:
                numeric = numeric or statement[1][0].isdigit()
                homes[statement[1]] = owners[at]
            elif op in (".code16", ".code32", ".code64"):
                self._modes.append((at, 64 if op == ".code64" else 32 if op == ".code32" else 16))
            elif ".L" in statement[1]:
                for name in _LOCAL.findall(statement[1]):
                    uses.setdefault(name, set()).add(owners[at])
        shared = {homes[name] for name, users in uses.items() if name in homes and users - {homes[name]}}
        self._open = shared | (set(range(len(self._routines))) if numeric else set())
        self._proved: dict[int, bool] = {}
        self._standing: dict[tuple[int, int, int], bool] = {}
        self._outside: dict[int, dict[str, Label]] = {}

    def put(self, homes: Sequence[int], data: Sequence[bytes], relocate: Relocate) -> None:
        """Tell where the unit with room lies.

        Args:
            homes: the address of each of its sections.
            data: the bytes of each, its fields filled.
            relocate: fills the fields of a section of it.
        """
        self._homes, self._data, self._relocate = homes, list(data), relocate

    # --- what is asked -------------------------------------------------------------------------------------

    def variant(self, first: int, count: int, new: Sequence[str]) -> Change | None:
        """What changes when ``count`` lines from line ``first`` (from 1) on are replaced; None when unknown."""
        if self.made is None:
            return None
        made = SourceFile(self.unit.file, "\n".join(new)).statements if new else []
        if not all(self._is_plain(statement) for statement in made):
            return None
        return self._same_size(first, count, made) or self._in_routine(first, count, made)

    def _is_plain(self, statement: Statement) -> bool:
        op, name = statement[0], statement[1]
        if op == LABEL:
            return not name[0].isdigit()
        if op[:1] in ".=":  # a directive, an assignment, or no statement at all
            return op in _FIXED
        return op not in self.macros and statement[6] is None and op.isidentifier()

    def _same_size(self, first: int, count: int, made: Sequence[Statement]) -> Change | None:
        """Statements in place of others that take as many bytes, labels left aside."""
        rows = self._of_lines(first, count)
        old = [i for i in range(len(self._lines)) if first <= self._lines[i] < first + count]
        while made and old and made[0][:2] == self.unit.statements[old[0]][:2] and made[0][0] == LABEL:
            made, old = made[1:], old[1:]
        if not rows or not made or any(s[0] == LABEL for s in made):
            return None
        section, begin = rows[0][0], rows[0][1]
        at = begin
        for number, offset, length, _ in rows:
            if number != section or offset != at:
                return None
            at += length
        if len(old) != len(rows) or not all(self._is_plain(self.unit.statements[i]) for i in old):
            return None
        data = self._assembled(section, begin, made, old[0], self._labels, at - begin)
        if data is None or len(data) != at - begin:
            return None
        if not self._stands(section, begin, at, old):
            return None
        return Change(self._homes[section] + begin, data)

    def _stands(self, section: int, begin: int, end: int, old: Sequence[int]) -> bool:
        """Whether some statements of the unit give the bytes that stand in their place."""
        known = self._standing.get((section, begin, end))
        if known is None:
            statements = [self.unit.statements[i] for i in old]
            data = self._assembled(section, begin, statements, old[0], self._labels, 0)
            known = data == self._data[section][begin:end]
            self._standing[section, begin, end] = known
        return known

    def _in_routine(self, first: int, count: int, made: Sequence[Statement]) -> Change | None:
        """Statements within a routine that takes its room."""
        if any(s[0] == LABEL and not s[1].startswith(".L") for s in made):
            return None
        lines, statements = self._lines, self.unit.statements
        for number, routine in enumerate(self._routines):
            if lines[routine.first] < first and first + count <= lines[routine.last]:
                body = range(routine.first + 1, routine.last)
                kept = [statements[i] for i in body if lines[i] < first]
                rest = [statements[i] for i in body if lines[i] >= first + count]
                return self._anew(number, [*kept, *made, *rest])
        return None

    def routine_at(self, section: int, offset: int) -> int | None:
        """The number of the routine that lies at an offset of a section."""
        if section == 0:
            for number, routine in enumerate(self._routines):
                if routine.begin <= offset < routine.end:
                    return number
        return None

    def with_constants(self, number: int, constants: Mapping[str, int]) -> Change | None:
        """What changes in a routine when constants have other values."""
        routine = self._routines[number]
        return self._anew(number, self.unit.statements[routine.first + 1 : routine.last], constants)

    def _anew(
        self, number: int, statements: Sequence[Statement], constants: Mapping[str, int] | None = None
    ) -> Change | None:
        """A routine of these statements in its place."""
        if not self._holds(number):
            return None
        routine = self._routines[number]
        room = routine.end + ROOM - routine.begin
        data = self._assembled(
            0, routine.begin, statements, routine.first, self._outside[number], room, constants
        )
        if data is None or len(data) > room:
            return None
        filled = data + nops.fill(room - len(data), 64)
        return Change(self._homes[0] + routine.begin, filled, Grown(routine.name, len(data)))

    def _holds(self, number: int) -> bool:
        """Whether a routine can be taken apart: put together again it must be what it was."""
        known = self._proved.get(number)
        if known is None:
            known = self._proved[number] = number not in self._open and self._is_whole(number)
        return known

    def _is_whole(self, number: int) -> bool:
        routine = self._routines[number]
        body = self.unit.statements[routine.first + 1 : routine.last]
        lines = self._lines[routine.first : routine.last + 1]
        text = self.unit.sources[0].lines[lines[0] - 1 : lines[-1]]
        if 0 in lines or sorted(lines) != lines or any(map(_BLOCK.match, text)):
            return False
        if not all(self._is_plain(s) or s[0] == ".balign" for s in body):
            return False
        inner = {s[1] for s in body if s[0] == LABEL}
        if not all(name.startswith(".L") for name in inner):
            return False
        self._outside[number] = {n: label for n, label in self._labels.items() if n not in inner}
        data = self._assembled(0, routine.begin, body, routine.first, self._outside[number], 0)
        return data == self._data[0][routine.begin : routine.end]

    def _of_lines(self, first: int, count: int) -> list[tuple[int, int, int, Statement]]:
        """Section, offset, length and statement of what came from some lines, in order."""
        if self._rows is None:
            self._rows = {}
            assert self.made is not None
            for number, section in enumerate(self.made.sections):
                for offset, length, statement, _ in section.rows if not section.nobits else ():
                    line = self._own_line(statement)
                    if statement[0] != ".size" and not statement[5]:
                        self._rows.setdefault(line, []).append((number, offset, length, statement))
        return [row for line in range(first, first + count) for row in self._rows.get(line, ())]

    # --- assembling a piece --------------------------------------------------------------------------------

    def _assembled(
        self,
        section: int,
        offset: int,
        statements: Sequence[Statement],
        at: int,
        outside: Mapping[str, Label],
        most: int,
        others: Mapping[str, int] | None = None,
    ) -> bytes | None:
        """The bytes of some statements at an offset of a section; None when they have errors.

        Args:
            section: number of the section.
            offset: where they begin.
            statements: what is assembled.
            at: index in the unit of the first.
            outside: the labels around them.
            most: more bytes than this need not be filled; 0 for any.
            others: constants with other values, or None.
        """
        constants = next(values for index, values in reversed(self._constants) if index <= at)
        if others:
            constants = constants | {name: value for name, value in others.items() if name in constants}
        mode = next(mode for index, mode in reversed(self._modes) if index <= at)
        piece = Assembler(
            Unit(self.unit.file, list(statements), (), (), (), {}, self.unit.reader), self._pool, mode, True
        )
        piece.constants, piece.first_constants = constants, constants
        piece.labels = dict(outside)
        piece.weak = self._weak
        home = self._sections[section]
        home.items, home.fragments = [], [Fragment()]
        first = home.fragments[0]
        first.parts, first.size = [bytes(offset)], offset
        piece.sections, piece.section, piece.items = {home.name: home}, home, home.items
        piece.read()
        piece.flush()
        made = None if piece.errors else sections(piece)
        if made is None or piece.errors or (most and made[0].size - offset > most):
            return None
        assert self._relocate is not None
        filled = self._relocate(made[0], section)
        return None if filled is None else filled[offset:]
