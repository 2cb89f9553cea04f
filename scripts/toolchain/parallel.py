"""The units of a tree assembled by two processes at once.

Owns: sharing units out, and carrying object files from the second process to the first. They come without their
statements, which only errors need: when anything is wrong in a unit, nothing comes, and the caller
assembles everything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolchain.assemble import assemble_units
from toolchain.encode import Encoder
from toolchain.encode_guard import Guard
from toolchain.forked import Forked
from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol, Relocation
from toolchain.pool import Pool
from toolchain.preprocess import Preprocessor
from toolchain.source import SourceFile, Statement

SMALL = 64 << 10  # bytes of sources below which a second process costs more than it saves
# The part of the bytes of all sources that the second process takes: the first has the link to prepare as well.
SHARE = 0.55


class Second:
    """The second process: assembles ``names``, beginning now.

    Args:
        names: units, relative to the tree.
        preprocessor: as the first process will use it.
        guard: a worker for the second process, from ``Guard.start_with``.
        leave: called in the second process first, to let go of what belongs to the first.
    """

    def __init__(
        self, names: Sequence[str], preprocessor: Preprocessor, guard: Guard, leave: Callable[[], None]
    ) -> None:
        def work() -> object:
            leave()
            guard.claim()
            with Encoder(guard=guard) as encoder:
                units = [preprocessor.run(Path(name)) for name in names]
                made = assemble_units(units, Pool(encoder))
                texts = {source.name: source.text for unit in units for source in unit.sources}
                return [_packed(item) for item in made], texts

        self._child = Forked(work)
        guard.close()

    def cancel(self) -> None:
        """End the second process, if its result has not been taken."""
        self._child.cancel()

    def result(self) -> tuple[list[ObjectFile], dict[str, str]] | None:
        """The object files and the texts of the sources, or None when a unit is in error."""
        found: Any = self._child.result()
        if found is None:
            return None
        packed, texts = found
        sources: dict[str, SourceFile] = {}
        return [_unpacked(item, sources) for item in packed], texts


def share(tree: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split ``names`` into what the first and the second process assemble, by size, each in the order given.

    The second part is empty where a second process does not pay.
    """
    sizes = {name: (tree / name).stat().st_size for name in names}
    total = sum(sizes.values())
    second: set[str] = set()
    taken = 0
    if total >= SMALL:
        for name in sorted(names, key=lambda n: (-sizes[n], n)):
            if taken + sizes[name] <= total * SHARE:
                second.add(name)
                taken += sizes[name]
    return [n for n in names if n not in second], [n for n in names if n in second]


# --- object files as what marshal carries -------------------------------------------------------------------


def _origin(statement: Statement) -> tuple[str, int]:
    """File and line that a debugger shows for ``statement``: all that is kept of it."""
    trail = statement[5]
    return (trail[-1].file, trail[-1].line) if trail else (statement[4].name, statement[2])


def _packed(made: ObjectFile) -> tuple[Any, ...]:
    sections = [
        (
            s.name, s.flags, s.nobits, s.align, s.size, s.data, s.opened is not None,
            [(r.offset, r.size, r.kind, r.target, r.addend) for r in s.relocations],
            s.lines,
        )
        for s in made.sections
    ]  # fmt: skip
    symbols = [
        (s.name, s.section, s.value, s.size, s.kind, s.binding, *_origin(s.statement)) for s in made.symbols
    ]
    return made.file, sections, symbols, sorted(made.weak), made.warnings


def _unpacked(packed: tuple[Any, ...], sources: dict[str, SourceFile]) -> ObjectFile:
    file, sections, symbols, weak, warnings = packed
    make = tuple.__new__

    def at(name: str, line: int) -> Statement:
        source = sources.get(name)
        if source is None:
            source = sources[name] = SourceFile(name, "")
        return make(Statement, ("", "", line, 0, source, (), None))

    nowhere = at(file, 0)
    rebuilt = []
    for name, flags, nobits, align, size, data, opened, relocations, lines in sections:
        fields = tuple([make(Relocation, (*relocation, nowhere)) for relocation in relocations])
        start = nowhere if opened else None
        rebuilt.append(ObjectSection(name, flags, nobits, align, size, data, fields, (), start, lines))
    named = [
        ObjectSymbol(name, section, value, size, kind, binding, at(home, line))
        for name, section, value, size, kind, binding, home, line in symbols
    ]
    return ObjectFile(file, tuple(rebuilt), tuple(named), frozenset(weak), warnings)
