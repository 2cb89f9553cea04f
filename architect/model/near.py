"""Which parts of the sources a model sees: routines near the failure, the likeliest first, until the room is full.

Owns the choice and its order: the evidence of the case (``localise``) ranks lines, lines make routines. Where there is
no such evidence, or the sources are no assembly of ours, the places that a report or a diagnostic names lead.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from architect.protocols import Case
from architect.workers import dies_with
from toolchain.errors import InputError
from toolchain.forked import Forked

AROUND = 30  # lines to each side of a place that belongs to no routine
PART_LINES_MAX = 160  # of one excerpt
REASONS_SHOWN = 2
_ASSEMBLY = (".s", ".inc")
_SHADER = ".wgsl"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines ``first`` to ``last`` (1-based) of a file, and why they are shown."""

    file: str
    first: int
    last: int
    text: str
    why: str = ""

    @property
    def title(self) -> str:
        """What the excerpt is, on a line."""
        reason = f" ({self.why})" if self.why else ""
        return f"{self.file} lines {self.first}-{self.last}{reason}"


class Near:
    """The parts of one case's sources by likelihood; ranked once, however often excerpts are asked for."""

    def __init__(self, case: Case) -> None:
        self.lines = {file: text.split("\n") for file, text in case.sources.items()}
        self._case = case

    @cached_property
    def ranked(self) -> list[tuple[str, int, int, str]]:
        """(file, first, last, why), the likeliest first.

        Found out in a fork: what localising takes, more than all the rest of a run that asks a model, is needed once
        and given back at once. Where other threads run there is no fork.
        """
        if threading.active_count() > 1:
            return self._rank()
        child = Forked(partial(self._rank, os.getpid()))
        try:
            found: Any = child.result()
        finally:
            child.cancel()
        return self._rank() if found is None else found

    def _rank(self, parent: int | None = None) -> list[tuple[str, int, int, str]]:
        if parent is not None and not dies_with(parent):
            return []
        return list(_ranked(self._case, self.lines))


def excerpts(near: Near, room: int) -> list[Excerpt]:
    """Excerpts of at most about ``room`` bytes together, the likeliest first, none twice."""
    shown: list[Excerpt] = []
    lines = near.lines
    taken: dict[str, set[int]] = defaultdict(set)
    for file, first, last, why in near.ranked:
        first, last = max(1, first), min(len(lines[file]), last, first + PART_LINES_MAX - 1)
        if taken[file] & set(range(first, last + 1)):
            continue
        text = "\n".join(lines[file][first - 1 : last])
        size = len(text.encode("utf-8", "replace")) + 80
        if size > room:
            if not shown:  # the likeliest part is shown cut, rather than nothing
                keep = max(1, int((last - first + 1) * room / size))
                shown.append(
                    Excerpt(
                        file,
                        first,
                        first + keep - 1,
                        "\n".join(lines[file][first - 1 : first - 1 + keep]),
                        why,
                    )
                )
                return shown
            continue
        room -= size
        taken[file].update(range(first, last + 1))
        shown.append(Excerpt(file, first, last, text, why))
    return shown


def _ranked(case: Case, lines: dict[str, list[str]]) -> Iterator[tuple[str, int, int, str]]:
    """(file, first, last, why), the likeliest first."""
    yield from _named(case, lines)
    if any(file.endswith(_ASSEMBLY) for file in lines) and case.tree.joinpath("image.toml").is_file():
        yield from _suspected(case)
    if any(file.endswith(_SHADER) for file in lines):
        yield from _functions(case)
    yield from _reported(case, lines)
    for file, rows in sorted(lines.items(), key=lambda item: len(item[1])):
        yield file, 1, len(rows), ""


def _named(case: Case, lines: dict[str, list[str]]) -> Iterator[tuple[str, int, int, str]]:
    """The places that errors of the assembler name."""
    for diagnostic in case.diagnostics:
        file, line = diagnostic.place.file, diagnostic.place.line
        if file in lines and 1 <= line <= len(lines[file]):
            yield file, line - AROUND, line + AROUND, diagnostic.message


def _reported(case: Case, lines: dict[str, list[str]]) -> Iterator[tuple[str, int, int, str]]:
    """Where it died, and who called: all that is known of a tree whose sources we cannot read further."""
    report = case.report
    if report is None:
        return
    for place in (report.place, *report.trace):
        if place is not None and place.file in lines and place.line:
            yield place.file, place.line - AROUND, place.line + AROUND, f"the report names {place.symbol}"


def _suspected(case: Case) -> Iterator[tuple[str, int, int, str]]:
    """Routines by the suspicion of their lines; lines of no routine with what is around them."""
    from architect.localise import localise
    from architect.source import Tree

    try:
        tree = Tree.of(case.tree, case.sources)
        ranked = localise(case, tree).ranked()
    except InputError:  # sources so broken that nothing can be said of them: told by their diagnostics
        return
    owner = {(r.file, n): r for r in tree.routines.values() for n in range(r.first, r.last + 1)}
    score: defaultdict[tuple[str, int, int], float] = defaultdict(float)
    why: dict[tuple[str, int, int], Sequence[str]] = {}
    for suspect in ranked:
        routine = owner.get((suspect.file, suspect.line))
        if routine is not None:
            key = (routine.file, _header(tree.lines[routine.file], routine.first), routine.last)
        else:
            key = (suspect.file, suspect.line - AROUND // 3, suspect.line + AROUND // 3)
        score[key] = max(score[key], suspect.score)
        why.setdefault(key, suspect.reasons)
    for key in sorted(score, key=lambda k: (-score[k], k)):
        yield (*key, "; ".join(why[key][:REASONS_SHOWN]))


def _functions(case: Case) -> Iterator[tuple[str, int, int, str]]:
    """Functions of shaders by the suspicion of their lines, each with the declarations that are suspicious too."""
    from architect.shaders.search import places
    from architect.shaders.source import functions

    owner = {
        (file, n): f
        for file, text in case.sources.items()
        for f in functions(text)
        for n in range(f.first, f.last + 1)
    }
    score: defaultdict[tuple[str, int, int], float] = defaultdict(float)
    why: dict[tuple[str, int, int], str] = {}
    for file, line, weight, reason in places(case):
        function = owner.get((file, line))
        key = (file, function.first, function.last) if function else (file, line - 1, line + 1)
        score[key] = max(score[key], weight)
        why.setdefault(key, reason)
    for key in sorted(score, key=lambda k: (-score[k], k)):
        yield (*key, why[key])


def _header(lines: Sequence[str], first: int) -> int:
    """The first line of the comment that stands above a routine."""
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return first
