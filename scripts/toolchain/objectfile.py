"""An assembled unit, ready to be linked any number of times.

Owns the types between ``assemble`` and ``link``. Everything that could be computed without addresses has been;
what remains are relocations against a section of the unit or a symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from toolchain.source import Statement


class Relocation(NamedTuple):
    """A field to write once addresses are known: value = address of ``target`` + ``addend``.

    Attributes:
        offset: of the field in its section.
        size: 1, 2, 4 or 8 bytes.
        kind: as in ``types.Fixup``; for ``pcrel`` the address of the field is subtracted.
        target: a section of this unit by index, a symbol by name, or None for an absolute value.
        addend: constant part.
        statement: where it was written.
    """

    offset: int
    size: int
    kind: str
    target: int | str | None
    addend: int
    statement: Statement


# (offset, length, statement, is_code): ``length`` bytes at ``offset`` of a section came from ``statement``, an
# instruction when ``is_code``.
Row = tuple[int, int, Statement, bool]


# (offset, length, file, line) of an instruction: the line that a debugger shows.
CodeLine = tuple[int, int, str, int]


class ObjectSection(NamedTuple):
    """An input section.

    Attributes:
        data: empty for ``nobits``, whose length is ``size``.
        rows: what its bytes came from.
        lines: the instructions of ``rows``.
    """

    name: str
    flags: str
    nobits: bool
    align: int
    size: int
    data: bytes
    relocations: Sequence[Relocation]
    rows: Sequence[Row]
    opened: Statement | None
    lines: Sequence[CodeLine]


class ObjectSymbol(NamedTuple):
    """A symbol of a unit. ``section`` is None for an absolute value; ``size`` is None when no ``.size`` gave it."""

    name: str
    section: int | None
    value: int
    size: int | None
    kind: Literal["func", "object", "notype"] | None
    binding: Literal["local", "global", "weak"]
    statement: Statement


class ObjectFile(NamedTuple):
    """One unit, assembled.

    Attributes:
        file: its name, relative to the tree.
        sections: in the order in which they were opened; ``.text``, ``.data``, ``.bss`` first.
        symbols: labels and global constants; no ``.L`` and no numeric ones.
        weak: names declared weak; one that nobody defines is 0.
        warnings: what ``.warning`` said, ready to be shown.
    """

    file: str
    sections: Sequence[ObjectSection]
    symbols: Sequence[ObjectSymbol]
    weak: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
