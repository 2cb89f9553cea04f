"""Engines on a foreign tree: what they propose for our words comes out in the tree's own, and C has its own search.

Owns ``Translated`` (any engine of assembly) and ``Together`` (searches merged by what their proposals cost). Never
judges a proposal.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import NamedTuple, Protocol

from architect.foreign.tongue import Translation
from architect.protocols import Case, Edit, Engine, Evaluation, Patch
from architect.search import SearchEngine
from toolchain.files import make_folder, write_atomic

STAGE = "fix"
WINDOW, GROWTH = 300, 3  # proposals looked through for smaller ones, and how soon it becomes so many
_DIED = 0.6  # the part of the suspicion that stays with the language in which it died
_LEAST = 0.02  # the share of files of which no line ran
_LINE = 1.5  # bits for each line beyond the first
_INSERTION = 1.0
_SCRIPT_MAX = 1 << 20

MakeTranslation = Callable[[Case], Translation]


class Search(Engine, Protocol):
    """An engine whose proposals become likelier by what was observed since they were made."""

    def earned(self, patch: Patch) -> float:
        """What the verdicts so far have earned the place of a proposal, in bits."""


class Translated:
    """An engine that works on our own words.

    Args:
        engine: it.
        translate: the translation for the sources of a case.
        empty: a folder without sources: what the engine looks for beside the case is not there.
    """

    def __init__(self, engine: Engine, translate: MakeTranslation, empty: Path) -> None:
        self.name = engine.name
        self.engine = engine
        self.translate = translate
        self.empty = empty
        self._given: dict[tuple[Edit, ...], Patch] = {}
        self._translation: Translation | None = None

    def propose(self, case: Case) -> Iterator[Patch]:
        """What the engine proposes and can be written in the tree's syntax."""
        self._translation = self.translate(case)
        if not self._translation.sources:
            return
        editable = set(case.sources)
        _tell_entries(self.empty, case, self._translation)
        seen: set[tuple[Edit, ...]] = set()
        for patch in self.engine.propose(self._translation.case(case, self.empty)):
            if any(edit.file not in editable for edit in patch.edits):
                continue
            back = self._translation.back(patch)
            if back is not None and back.edits not in seen:
                seen.add(back.edits)
                self._given[back.edits] = patch
                yield back

    def observe(self, evaluation: Evaluation) -> None:
        """Told in the words of the proposal; what others proposed is translated."""
        if self._translation is None:
            return
        patch = self._given.get(evaluation.patch.edits)
        if patch is None:
            patch = self._translation.forward(evaluation.patch)
        if patch is not None:
            report = evaluation.report
            told = self._translation.report(report) if report is not None else None
            self.engine.observe(
                replace(evaluation, patch=replace(patch, engine=evaluation.patch.engine), report=told)
            )

    def earned(self, patch: Patch) -> float:
        """As the engine says of it, where it says anything."""
        given = self._given.get(patch.edits)
        return (
            self.engine.earned(given) if given is not None and isinstance(self.engine, SearchEngine) else 0.0
        )


def _tell_entries(folder: Path, case: Case, translation: Translation) -> None:
    """Write down which names something outside the assembly uses: C, a linker script, whoever jumps to the entry."""
    make_folder(folder, stage=STAGE)
    found = (
        {s.name for s in case.image.symbols if s.address == case.image.entry}
        if case.image is not None
        else set()
    )
    for name, text in case.sources.items():
        if name not in translation.texts:
            found |= set(re.findall(r"[A-Za-z_]\w*", text))
    for path in case.tree.rglob("*.ld"):
        if path.is_file() and path.stat().st_size < _SCRIPT_MAX:
            found |= set(re.findall(r"[A-Za-z_]\w*", path.read_text("utf-8", "replace")))
    write_atomic(folder / "exports.inc", translation.exports, stage=STAGE)
    names = ", ".join(f'"{name}"' for name in sorted(found))
    write_atomic(folder / "image.toml", f"entries = [{names}]\n", stage=STAGE)


def _size(patch: Patch) -> float:
    """What a patch pays for its size, in bits."""
    lines = sum(max(len(edit.old), len(edit.new)) for edit in patch.edits)
    return _LINE * (lines - 1) + (_INSERTION if any(len(e.new) > len(e.old) for e in patch.edits) else 0.0)


def _share(case: Case, owns: Callable[[str], bool]) -> float:
    """The part of what may be wrong that lies in some files: by the lines that ran, else by all."""
    ran = [file for run in case.runs if run.failed for file, _ in run.lines if file in case.sources]
    pointed = [d.place.file for d in case.diagnostics if d.place.file in case.sources]
    lines = pointed or ran or [file for file, text in case.sources.items() for _ in text.split("\n")]
    place = case.report.place if case.report is not None and case.report.chain else None
    share = sum(map(owns, lines)) / max(1, len(lines))
    few = _LEAST if any(map(owns, case.sources)) else 0.0
    home = place.file if place is not None else None
    if home is not None and home in case.sources:  # where it died says more than what ran
        share = (_DIED if owns(home) else 0.0) + (1 - _DIED) * share
    return max(few, share)


class _Ready(NamedTuple):
    """A proposal that waits for cheaper ones: its cost but for what it has earned, and who made it."""

    cost: float
    number: int
    patch: Patch
    engine: Search

    def now(self) -> tuple[float, int]:
        """Its place among others, by what it has earned by now."""
        return self.cost - self.engine.earned(self.patch), self.number


class Together:
    """Searches side by side, their proposals in the order of their costs.

    Args:
        engines: each with the question which files are its own.
    """

    def __init__(self, engines: Sequence[tuple[Search, Callable[[str], bool]]]) -> None:
        self.name = engines[0][0].name
        self.engines = [engine for engine, _ in engines]
        self.owns = [owns for _, owns in engines]

    def propose(self, case: Case) -> Iterator[Patch]:
        """The cheapest first; a boot costs much and tells little, so that small edits come sooner than large ones."""
        shares = [_share(case, owns) for owns in self.owns]
        streams = [
            self._dearer(engine, case, -log2(share))
            for engine, share in zip(self.engines, shares, strict=True)
            if share > 0
        ]
        ready: list[_Ready] = []
        wanted = 1
        for number, (patch, engine) in enumerate(heapq.merge(*streams, key=lambda made: made[0].cost)):
            ready.append(_Ready(patch.cost + engine.earned(patch) + _size(patch), number, patch, engine))
            if len(ready) >= wanted:
                yield self._taken(ready)
                wanted = min(WINDOW, wanted + GROWTH)
        while ready:
            yield self._taken(ready)

    @staticmethod
    def _taken(ready: list[_Ready]) -> Patch:
        """The cheapest by now: a verdict may have spoken for proposals that were made before it."""
        best = min(range(len(ready)), key=lambda number: ready[number].now())
        ready[best], ready[-1] = ready[-1], ready[best]
        return ready.pop().patch

    @staticmethod
    def _dearer(engine: Search, case: Case, bits: float) -> Iterator[tuple[Patch, Search]]:
        """What an engine proposes, each for more."""
        for patch in engine.propose(case):
            yield replace(patch, cost=patch.cost + bits), engine

    def observe(self, evaluation: Evaluation) -> None:
        """Told to all."""
        for engine in self.engines:
            engine.observe(evaluation)
