"""The constants of one kernel tree: which statements follow from each, and their bytes when one has another value.

Owns the definitions of constants in include files and units, what hangs on them, and the places in a ``sketch`` whose
bytes they make. Answers where nothing but the bytes of instructions and data follows; all else (a size, a condition, a
repetition, an address) is left to whoever assembles the units. Works on words, as ``reach`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from toolchain.data_directives import INTEGERS
from toolchain.errors import InputError
from toolchain.expr import SyntaxFault, parse_cached
from toolchain.expr_tree import EvaluationError
from toolchain.objectfile import ObjectFile
from toolchain.pieces import Bytes, Change, Pieces
from toolchain.pool import Pool
from toolchain.preprocess import Unit
from toolchain.reach import Index, Names, Reach, names_of
from toolchain.source import BROKEN, SourceFile, Statement
from toolchain.types import Encoding
from toolchain.valued import ASSIGNMENTS, Home, Place, assigned, integers, refilled

_TEXTS = (".ascii", ".asciz")
_PLAIN = (*INTEGERS, *_TEXTS, ".global", ".type", ".size", ".section", ".text", ".data", ".bss", ".include")
_MACRO, _END = ".macro", ".endm"


class Ground(NamedTuple):
    """The linked units that bytes are put into.

    Attributes:
        made: what was assembled of each unit, by name; may get room later.
        stands: unit and number of a section -> where it lies, and the bytes there; None where it has none.
        roomy: gives a unit room behind its routines, or None where that cannot be; None where no byte may move: then an
            instruction becomes one of the same size, as in a link of the whole.
    """

    made: Mapping[str, ObjectFile]
    stands: Callable[[str, int], Bytes | None]
    roomy: Callable[[str], Pieces | None] | None = None


class Constants:
    """The constants of one tree.

    Args:
        units: the units by name, without errors.
        reach: who names what.
        pool: numbers and encodes instructions.
    """

    def __init__(
        self,
        units: Mapping[str, Unit],
        reach: Reach,
        pool: Pool,
    ) -> None:
        self._units, self._reach, self._pool = units, reach, pool
        self._homes: dict[tuple[str, int], Home] = {}  # by name and identity of what was assembled
        self._texts: dict[tuple[str, str], str] = {}  # unit ("" for include files) and name -> expression
        self._lines: dict[tuple[str, str], int] = {}
        self._files: dict[str, str] = {}  # of the constants in include files
        self._twice: set[str] = set()
        sources = {source.name: source for unit in units.values() for source in unit.sources}
        users: list[tuple[str, Names]] = []
        rigid: list[tuple[str, Names]] = []
        macros = _rigid_macros(sources.values())
        for file, source in sources.items():
            scope = file if file in units else ""
            for statement in source.statements:
                if statement.op in ASSIGNMENTS:
                    name, text = assigned(statement)
                    if (scope, name) in self._texts:
                        self._twice.add(name)
                    self._texts[scope, name] = text
                    self._lines[scope, name] = statement.line
                    if not scope:
                        self._files[name] = file
                    users.append((name, names_of(text)))
                elif _is_rigid(statement.op) or statement.op in macros:
                    rigid.append((file, names_of(statement.args)))
        self._twice |= {name for scope, name in self._texts if scope and name in self._files}
        self._users, self._rigid = Index(users), Index(rigid)

    def variant(
        self, file: str, old: Sequence[str], new: Sequence[str], ground: Ground
    ) -> list[Change] | None:
        """What changes in the tree when assignments of ``file`` become others; None when that is not known.

        Args:
            file: an include file or a unit.
            old: the lines as they are.
            new: what they become.
            ground: where the units lie.
        """
        changed = self._changed(file, old, new)
        names = None if changed is None else self._hanging(changed)
        if changed is None or names is None:
            return None
        scope = file if file in self._units else ""
        seeing = frozenset((file,)) if scope else self._reach.naming(names)
        if seeing is None:
            return None
        found: list[Change] = []
        for name in sorted(seeing):
            before = self._evaluated(names, {}, scope, name)
            values = self._evaluated(names, changed, scope, name)
            made = None if before is None or values is None else self._in_unit(name, before, values, ground)
            if made is None:
                return None
            found += made
        return found

    def _changed(self, file: str, old: Sequence[str], new: Sequence[str]) -> dict[str, str] | None:
        """The constants that have another expression; None when anything else changed."""
        before = SourceFile(file, "\n".join(old)).statements
        after = SourceFile(file, "\n".join(new)).statements
        if len(before) != len(after) or not all(s.op in ASSIGNMENTS for s in (*before, *after)):
            return None
        found = {}
        for one, other in zip(before, after, strict=True):
            (name, _), (same, text) = assigned(one), assigned(other)
            if name != same or (file not in self._units and self._files.get(name) != file):
                return None
            if not self._is_known(file, name, text):
                return None
            found[name] = text
        return found

    def _is_known(self, file: str, name: str, text: str) -> bool:
        """Whether all that a new expression names stands in the old one, or is defined above it in its file."""
        scope = file if file in self._units else ""
        line = self._lines.get((scope, name), 0)
        fresh = names_of(text).words - names_of(self._texts.get((scope, name), "")).words
        return all(
            word[0].isdigit()
            or ((scope or self._files.get(word) == file) and self._lines.get((scope, word), line) < line)
            for word in fresh
        )

    def _hanging(self, changed: Mapping[str, str]) -> set[str] | None:
        """Some constants and all that hang on them; None when more than bytes does."""
        names = set(changed)
        fresh = set(names)
        while fresh:
            fresh = self._users.naming(fresh) - names
            names |= fresh
        return None if names & self._twice or self._rigid.naming(names) else names

    def _evaluated(
        self, names: Collection[str], changed: Mapping[str, str], scope: str, unit: str
    ) -> dict[str, int] | None:
        """What constants are worth in a unit when those of ``scope`` have other expressions."""
        values: dict[str, int] = {}

        def look(name: str) -> int | None:
            if name not in values and name not in self._twice:
                home = unit if (unit, name) in self._texts else ""
                text = self._texts.get((home, name))
                text = changed.get(name, text) if home == scope else text
                value = None if text is None else parse_cached(text).evaluate(look)
                if value is not None:
                    values[name] = value
            return values.get(name)

        mine = [name for name in sorted(names) if (unit, name) in self._texts or ("", name) in self._texts]
        try:
            known = [look(name) for name in mine]
        except (SyntaxFault, EvaluationError, RecursionError):
            return None
        return None if None in known else {name: values[name] for name in mine}

    # --- bytes ---------------------------------------------------------------------------------------------

    def _in_unit(
        self, name: str, before: Mapping[str, int], values: Mapping[str, int], ground: Ground
    ) -> list[Change] | None:
        """What stands in one unit with other constants; None when that needs more than the places that name them."""
        home = self._home(name, ground)
        places = {(p.section, p.offset): p for word in values for p in home.places.get(word, ())}
        if not places:
            return []
        if not home.plain or not all(place.settled for place in places.values()):
            return None
        if any(home.values.get(word, was) != was for word, was in before.items()):
            return None
        now = home.values | dict(values)
        made, tight = self._in_place(name, home, list(places.values()), values, now, ground)
        if made is None or not tight:
            return made
        return self._with_room(name, values, now, ground)

    def _home(self, name: str, ground: Ground) -> Home:
        made = ground.made[name]
        home = self._homes.get((name, id(made)))
        if home is None:  # it holds what was assembled, so that nothing else comes to have its identity
            home = self._homes[name, id(made)] = Home(self._units[name], made)
        return home

    def _with_room(
        self, name: str, values: Mapping[str, int], now: Mapping[str, int], ground: Ground
    ) -> list[Change] | None:
        """As ``_in_unit``, where instructions grow: their routines take their room."""
        pieces = None if ground.roomy is None else ground.roomy(name)
        if pieces is None:
            return None
        home = self._home(name, ground)
        places = list(
            {(p.section, p.offset): p for word in values for p in home.places.get(word, ())}.values()
        )
        made, tight = self._in_place(name, home, places, values, now, ground)
        numbers = {pieces.routine_at(place.section, place.offset) for place in tight}
        if made is None or None in numbers:
            return None
        anew = [pieces.with_constants(number, values) for number in numbers if number is not None]
        if None in anew:
            return None
        whole = [change for change in anew if change is not None]
        taken = [(change.address, change.address + len(change.data)) for change in whole]
        return [c for c in made if not any(low <= c.address < high for low, high in taken)] + whole

    def _in_place(
        self,
        name: str,
        home: Home,
        places: Sequence[Place],
        values: Mapping[str, int],
        now: Mapping[str, int],
        ground: Ground,
    ) -> tuple[list[Change] | None, list[Place]]:
        """What changes at the places themselves, and the places that are too small; None where it is not known."""
        lies = {number: ground.stands(name, number) for number in {place.section for place in places}}
        code: list[tuple[Place, int, int]] = []
        made: list[Change] = []
        tight: list[Place] = []
        for place in places:
            stands = lies[place.section]
            if stands is None:
                return None, []
            if place.statement.op in INTEGERS:
                data = integers(place, values, now, stands[1])
                if data is None:
                    return None, []
                made.append(Change(stands[0] + place.offset, data))
            elif place.statement.op not in _TEXTS:
                was, is_ = self._number(place.statement, home.values), self._number(place.statement, now)
                if was is None or is_ is None:
                    return None, []
                code.append((place, was, is_))
        self._pool.flush()
        for place, was, is_ in code:
            stands = lies[place.section]
            old, new = self._pool.encodings[was], self._pool.encodings[is_]
            if stands is None or not isinstance(old, Encoding) or not isinstance(new, Encoding):
                return None, []
            data = refilled(stands[1][place.offset : place.offset + place.length], old, new)
            if data is None or (ground.roomy is None and len(new.data) != place.length):
                tight.append(place)
            else:
                made.append(Change(stands[0] + place.offset, data))
        return made, tight

    def _number(self, statement: Statement, values: Mapping[str, int]) -> int | None:
        text = f"{statement.op} {statement.args}" if statement.args else statement.op
        try:
            return self._pool.number(text, 64, values.get, lambda one, other: None)
        except InputError:
            return None


def _is_rigid(op: str) -> bool:
    """Whether more than bytes follows from the operands of a statement."""
    return op == BROKEN or (op[0] == "." and op not in _PLAIN)


def _rigid_macros(sources: Iterable[SourceFile]) -> set[str]:
    """The macros in which more than bytes follows from what they are given."""
    bodies: dict[str, set[str]] = {}
    for source in sources:
        open_: list[str] = []
        for statement in source.statements:
            if statement.op == _MACRO:
                open_.append(statement.args.split()[0].rstrip(",").lower() if statement.args else "")
            elif statement.op == _END:
                del open_[-1:]
            for name in open_:
                bodies.setdefault(name, set()).add(statement.op)
    rigid = {
        name
        for name, ops in bodies.items()
        if any(_is_rigid(op) and op not in (_MACRO, BROKEN) for op in ops)
    }
    while more := {name for name, ops in bodies.items() if ops & rigid} - rigid:
        rigid |= more
    return rigid
