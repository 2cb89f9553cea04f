"""What the failed judgements have in common and the passed ones have not (spectrum-based localisation).

Owns the matrix of judgements and what each ran, and Ochiai's measure over it (Abreu et al., 2007): suspicion = failed
runs / sqrt(all failed x runs). Two matrices: contracts and source lines, from recorded runs (``coverage``); in-kernel
tests, boot units and routines, by the call graph. Never runs a judge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

from architect.coverage import Run
from architect.protocols import Case
from architect.slicing import Key
from architect.source import Tree
from architect.statements import names

_UNIT = 0.3  # a boot unit that said ok has proved little
_DEPTH = 8
_DISTANCE = 0.9  # per call away from a failed judgement: the nearer explains it as well and is more
_UNREAD = 0.5  # data that a line names and nothing was seen to read: the CPU itself may, as LGDT does
_IN_SOME = 0.6  # of the measure for what only some failures have, where others have something in common
_MOST = 0.5  # of the weight of kept contracts: what so many ran tells nothing of those that broke
_DEFINITION = 0.9  # a constant is oftener used wrongly than defined wrongly

E = TypeVar("E", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row: its name, whether it failed, its weight, and the routines it runs with their distance in calls."""

    name: str
    failed: bool
    weight: float
    runs: Mapping[str, int]


def judgements(
    case: Case, tree: Tree, entries: Mapping[str, str], tests: Callable[[str], Collection[str]]
) -> Iterator[Judgement]:
    """The in-kernel tests and boot units that a case tells of.

    Args:
        case: with its boot.
        tree: for the call graph.
        entries: boot unit -> entry routine.
        tests: the routines of an in-kernel test by its name.
    """
    for name, passed in (case.boot.tests if case.boot else {}).items():
        yield Judgement(f"test {name}", not passed, 1.0, tree.reachable(sorted(tests(name)), _DEPTH))
    for unit in case.boot.units if case.boot else ():
        if unit.name in entries:
            failed = unit.state in ("start", "fail")
            yield Judgement(f"unit {unit.name}", failed, _UNIT, tree.reachable([entries[unit.name]], _DEPTH))


def suspicion(rows: Collection[Judgement]) -> dict[str, float]:
    """Routine -> Ochiai's measure, 0 to 1, less for routines far from what failed; empty when nothing failed."""
    nearest: dict[str, int] = {}
    for row in rows:
        for routine, distance in row.runs.items() if row.failed else ():
            nearest[routine] = min(nearest.get(routine, distance), distance)
    found = ochiai([(row.failed, row.weight, dict.fromkeys(row.runs, 1.0)) for row in rows])
    return {routine: score * _DISTANCE ** nearest[routine] for routine, score in found.items()}


def suspicious_lines(runs: Collection[Run], tree: Tree) -> dict[Key, float]:
    """Line -> Ochiai's measure over recorded runs, 0 to 1; empty when none failed.

    A line that no failed run executed, read or named by a constant is not in it.
    """
    named = _Named(tree)
    lines = ochiai([(run.failed, run.weight, named.reached(run.lines)) for run in runs])
    turns = ochiai([(run.failed, run.weight, dict.fromkeys(run.turns, 1.0)) for run in runs])
    for (file, line, _), score in turns.items():
        lines[file, line] = max(lines.get((file, line), 0.0), score)
    every = _in_every_failure(runs, named)
    if not telling(every, [(run, named.reached(run.lines)) for run in runs]):
        return lines
    return {key: score if key in every else _IN_SOME * score for key, score in lines.items()}


def _in_every_failure(runs: Collection[Run], named: _Named) -> frozenset[Key]:
    """The lines that all broken contracts have in common: one mistake that explains them all is there."""
    failed: dict[str, set[Key]] = {}
    for run in runs:
        if run.failed:
            failed.setdefault(run.name, set()).update(named.reached(run.lines))
    return frozenset(set.intersection(*failed.values())) if failed else frozenset()


def telling(common: Collection[Key], rows: Collection[tuple[Run, Collection[Key]]]) -> frozenset[Key]:
    """Those of the ``common`` lines of broken contracts that most of the kept ones have not.

    Every routine runs the macros of its frame: that is nothing that broken contracts would have in common.

    Args:
        common: lines.
        rows: every run, with its lines.
    """
    kept = [(run.weight, lines) for run, lines in rows if not run.failed]
    most = _MOST * sum(weight for weight, _ in kept)
    return frozenset(
        key for key in common if not kept or sum(weight for weight, lines in kept if key in lines) < most
    )


def ochiai(rows: Collection[tuple[bool, float, Mapping[E, float]]]) -> dict[E, float]:
    """The measure for each element of the rows: (failed, weight of the row, element -> its part in the row)."""
    failed = sum(weight for bad, weight, _ in rows if bad)
    hit: dict[E, float] = {}
    missed: dict[E, float] = {}
    for bad, weight, elements in rows:
        table = hit if bad else missed
        for element, part in elements.items():
            table[element] = table.get(element, 0.0) + weight * part
    return {
        element: count / sqrt(failed * (count + missed.get(element, 0.0))) for element, count in hit.items()
    }


class _Named:
    """What lines stand for besides themselves: the constants that they name, and data that the CPU reads."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.known: dict[Key, tuple[frozenset[Key], tuple[tuple[Key, ...], ...]]] = {}

    def reached(self, lines: Collection[Key]) -> dict[Key, float]:
        """The lines of a run and what stands behind them, with the part that each has in it."""
        found: dict[Key, float] = {}
        for key in lines:
            constants, data = self._behind(key)
            for other in constants:
                found[other] = _DEFINITION
            for rows in data:
                if not any(row in lines for row in rows):
                    for row in rows:
                        found.setdefault(row, _UNREAD)
        found.update(dict.fromkeys(lines, 1.0))
        return found

    def _behind(self, key: Key) -> tuple[frozenset[Key], tuple[tuple[Key, ...], ...]]:
        """The definitions of the constants that a line names, those behind these too; the data that it names."""
        if key not in self.known:
            constants: set[Key] = set()
            data: list[tuple[Key, ...]] = []
            waiting = [key]
            while waiting:
                for s in self.tree.by_line.get(waiting.pop(), ()):
                    for name in names(s):
                        constant = self.tree.constants.get(name)
                        if constant is None:
                            if name not in self.tree.routines:
                                data.append(tuple(self.tree.data(s.file, name)))
                        elif (constant.file, constant.line) not in constants:
                            constants.add((constant.file, constant.line))
                            waiting.append((constant.file, constant.line))
            self.known[key] = (frozenset(constants), tuple(data))
        return self.known[key]
