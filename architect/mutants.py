"""Bugs that nobody chose: one-edit mutations of assembly, drawn by chance.

Owns the sources as mutations look things up in them, and the drawing, which a seed determines on any host. What can
become of a statement is ``mutations``'. Independent of the architect's repairs on purpose: neither module imports
anything of ``architect.operators``, and lines are read by themselves, so that no mutation is the inverse of what the
search proposes by construction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from architect.mutations import CLASSES, LABEL, NAME, ROUTINE, is_label, read

_T = TypeVar("_T")

NEAR_LINES = 40  # how far from a branch its mutated target may lie
TRIES = 64  # draws behind each other that may give nothing new, before a tree counts as drawn out


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutation: lines ``old`` that stand at ``line`` (1-based) of ``file`` become ``new``.

    Attributes:
        cls: a name of ``CLASSES``.
        file, line, old, new: the edit.
        routine: the routine that it stands in, by its ``function`` line; None where there is none.
    """

    cls: str
    file: str
    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    routine: str | None

    def told(self) -> str:
        """For a person."""
        first = " / ".join(line.strip() for line in self.old)
        return (
            f"{self.file}:{self.line}: {self.cls}: `{first}` -> `{' / '.join(x.strip() for x in self.new)}`"
        )


class Sources:
    """Some sources with what mutations look up in them.

    Args:
        texts: file -> text of every source that may be mutated.
        syntax: ``gas-intel``, ``gas-att`` or ``nasm``.
    """

    def __init__(self, texts: Mapping[str, str], syntax: str = "gas-intel") -> None:
        self.syntax = syntax
        self.lines = {file: text.split("\n") for file, text in sorted(texts.items())}
        self.rows = {
            file: {n: row for n, line in enumerate(lines) if (row := read(line, syntax)) is not None}
            for file, lines in self.lines.items()
        }
        self.files = [file for file, rows in self.rows.items() if rows]
        everything = [row for rows in self.rows.values() for row in rows.values()]
        self.names = sorted({name for row in everything for name in NAME.findall(row.rest)})
        self.called = sorted(
            {row.rest for row in everything if row.name.lower() == "call" and is_label(row.rest)}
        )

    def routine(self, file: str, line: int) -> str | None:
        """The routine that a line (0-based) stands in."""
        for text in reversed(self.lines[file][: line + 1]):
            if found := ROUTINE.match(text):
                return found[1]
        return None

    def labels(self, file: str, line: int, like: str) -> list[str]:
        """Labels near a line of the sort of ``like``; local ones of the same routine only."""
        lines, found, local = self.lines[file], [], like.startswith(".")
        for step in (
            range(line, max(-1, line - NEAR_LINES), -1),
            range(line + 1, min(len(lines), line + NEAR_LINES)),
        ):
            for at in step:
                label = LABEL.match(lines[at])
                if local and (ROUTINE.match(lines[at]) or (label and not label[1].startswith("."))):
                    break
                if label and label[1].startswith(".") == local and label[1] != like:
                    found.append(label[1])
        return sorted(set(found))

    def variants(self, file: str, line: int) -> dict[str, list[Mutant]]:
        """Every mutation of the statement at a line (0-based), by class; classes without one are left out."""
        row = self.rows[file][line]
        found = {}
        for cls, make in CLASSES.items():
            made = [
                new for new in dict.fromkeys(make(self, file, line, row)) if new != self._old(file, line, new)
            ]
            if made:
                where = self.routine(file, line)
                found[cls] = [
                    Mutant(cls, file, line + 1, self._old(file, line, new), new, where) for new in made
                ]
        return found

    def _old(self, file: str, line: int, new: Sequence[str]) -> tuple[str, ...]:
        """The lines that a mutation takes the place of: two where it swaps them, else one."""
        pair = tuple(self.lines[file][line : line + 2])
        return pair if len(new) == 2 and new == pair[::-1] else pair[:1]


def draws(sources: Sources, seed: int) -> Iterator[Mutant]:
    """Mutants in the order of a seed, each once; ends when a tree seems drawn out.

    Source, statement of it, class that the statement has, variant of it: each is chosen evenly, one after the other.
    Only ``random()`` is asked, whose sequence Python promises to keep.
    """
    chance = random.Random(seed)
    known: set[tuple[str, int, tuple[str, ...]]] = set()
    idle = 0
    while sources.files and idle < TRIES:
        file = _one(chance, sources.files)
        line = _one(chance, list(sources.rows[file]))
        by_class = sources.variants(file, line)
        idle += 1
        if not by_class:
            continue
        mutant = _one(chance, by_class[_one(chance, list(by_class))])
        key = (mutant.file, mutant.line, mutant.new)
        if key not in known:
            known.add(key)
            idle = 0
            yield mutant


def _one(chance: random.Random, among: Sequence[_T]) -> _T:
    return among[int(chance.random() * len(among))]
