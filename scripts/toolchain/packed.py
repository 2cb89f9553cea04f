"""Object files as bytes: how they travel between processes and lie in a file.

Owns: the two ways between ``ObjectFile`` and what ``marshal`` carries. The statements stay behind, which only errors
need: of each, file and line are kept. Never judges where bytes came from: ``marshal`` must be given nobody else's.
"""

from __future__ import annotations

import marshal
from typing import Any, NamedTuple

from toolchain.link_symbols import UnitSymbols, unit_symbols
from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol, Relocation
from toolchain.source import SourceFile, Statement
from toolchain.types import Symbol

Answers = dict[str, str]  # the worker's, by request: see ``encode_worker``
Trace = tuple[Any, ...]  # what a unit was made of, as marshal carries it


class Made(NamedTuple):
    """One unit, assembled.

    Attributes:
        symbols: worked out already, if it was carried.
        packed: as ``pack`` has it, if it was carried.
        trace: what it was made of, if that is known.
    """

    object: ObjectFile
    symbols: UnitSymbols | None
    packed: bytes | None
    trace: Trace | None


class Assembly(NamedTuple):
    """Units, assembled: each by its name; the texts of their sources by name; and the worker's answers."""

    made: dict[str, Made]
    texts: dict[str, str]
    answers: Answers


def carried(found: Assembly, answers: bool) -> tuple[Any, ...]:
    """``found`` as marshal carries it; the worker's answers when they are wanted."""
    objects = [(pack(made.object), made.trace) for made in found.made.values()]
    return objects, found.texts, found.answers if answers else {}


def received(result: Any) -> Assembly:
    """What ``carried`` was given."""
    objects, texts, answers = result
    sources: dict[str, SourceFile] = {}
    made = {}
    for data, trace in objects:
        known = unpack(data, sources)
        made[known.unit.file] = Made(known.unit, known, data, trace)
    return Assembly(made, texts, answers)


def pack(made: ObjectFile) -> bytes:
    """``made`` as bytes."""
    sections = [
        (
            s.name, s.flags, s.nobits, s.align, s.size, s.data, s.opened is not None,
            [(r.offset, r.size, r.kind, r.target, r.addend) for r in s.relocations],
            s.lines,
        )
        for s in made.sections
    ]  # fmt: skip
    symbols = [
        (s.name, s.section, s.value, s.size, s.kind, s.binding, *s.statement.origin) for s in made.symbols
    ]
    known = unit_symbols(made)
    rows = [tuple(symbol) for symbol in known.fixed], known.rows
    return marshal.dumps((made.file, sections, symbols, sorted(made.weak), made.warnings, rows))


def unpack(data: bytes, sources: dict[str, SourceFile]) -> UnitSymbols:
    """What ``pack`` was given, with statements that know file and line and nothing else; and its symbols.

    Args:
        data: from ``pack``.
        sources: the files that statements of other units have, by name; those of this one are added.
    """
    file, sections, symbols, weak, warnings, (fixed, placed) = marshal.loads(data)
    make = tuple.__new__

    def at(name: str, line: int) -> Statement:
        source = sources.get(name)
        if source is None:
            source = sources[name] = SourceFile(name, "")
        return make(Statement, ("", "", line, 0, source, (), None))

    nowhere = at(file, 0)
    rebuilt = []
    for name, flags, nobits, align, size, content, opened, relocations, lines in sections:
        fields = tuple([make(Relocation, (*relocation, nowhere)) for relocation in relocations])
        start = nowhere if opened else None
        rebuilt.append(ObjectSection(name, flags, nobits, align, size, content, fields, (), start, lines))
    named = [
        ObjectSymbol(name, section, value, size, kind, binding, at(home, line))
        for name, section, value, size, kind, binding, home, line in symbols
    ]
    made = ObjectFile(file, tuple(rebuilt), tuple(named), frozenset(weak), warnings)
    return UnitSymbols(made, [Symbol(*row) for row in fixed], placed)


def pack_answers(answers: Answers) -> bytes:
    """``answers`` as bytes."""
    return marshal.dumps(answers)


def unpack_answers(data: bytes) -> Answers:
    """What ``pack_answers`` was given."""
    found: Any = marshal.loads(data)
    return dict(found)
