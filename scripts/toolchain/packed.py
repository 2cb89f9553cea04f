"""Object files as bytes: how they travel between processes and lie in a file.

Owns: the two ways between ``ObjectFile`` and what ``marshal`` carries. The statements stay behind, which only errors
need: of each, file and line are kept. Never judges where bytes came from: ``marshal`` must be given nobody else's.
"""

from __future__ import annotations

import marshal
from typing import Any

from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol, Relocation
from toolchain.source import SourceFile, Statement


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
    return marshal.dumps((made.file, sections, symbols, sorted(made.weak), made.warnings))


def unpack(data: bytes, sources: dict[str, SourceFile]) -> ObjectFile:
    """What ``pack`` was given, with statements that know file and line and nothing else.

    Args:
        data: from ``pack``.
        sources: the files that statements of other units have, by name; those of this one are added.
    """
    file, sections, symbols, weak, warnings = marshal.loads(data)
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
    return ObjectFile(file, tuple(rebuilt), tuple(named), frozenset(weak), warnings)


Answers = dict[str, str]  # the worker's, by request: see ``encode_worker``


def pack_answers(answers: Answers) -> bytes:
    """``answers`` as bytes."""
    return marshal.dumps(answers)


def unpack_answers(data: bytes) -> Answers:
    """What ``pack_answers`` was given."""
    found: Any = marshal.loads(data)
    return dict(found)
