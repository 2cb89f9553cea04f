"""Which routines the failed judgements have in common and the passed ones have not (spectrum-based localisation).

Owns the matrix of judgements and routines: contract models, in-kernel tests and boot units, each with whether it failed
and which routines it can have run (by the call graph), and Ochiai's measure over it (Abreu et al., 2007): suspicion =
failed runs / sqrt(all failed x runs). Never runs a judge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

from architect.protocols import Case
from architect.source import Tree

_UNIT = 0.3  # a boot unit that said ok has proved little
_DEPTH = 8
_DISTANCE = 0.9  # per call away from a failed judgement: the nearer explains it as well and is more


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
    """Every judgement that a case tells of.

    Args:
        case: with its failed gates and its boot.
        tree: for the call graph.
        entries: boot unit -> entry routine.
        tests: the routines of an in-kernel test by its name.
    """
    yield from _contracts(case, tree)
    for name, passed in (case.boot.tests if case.boot else {}).items():
        yield Judgement(f"test {name}", not passed, 1.0, tree.reachable(sorted(tests(name)), _DEPTH))
    for unit in case.boot.units if case.boot else ():
        if unit.name in entries:
            failed = unit.state in ("start", "fail")
            yield Judgement(f"unit {unit.name}", failed, _UNIT, tree.reachable([entries[unit.name]], _DEPTH))


def _contracts(case: Case, tree: Tree) -> Iterator[Judgement]:
    """Failed: each routine that a contract gate names. Passed: each model none of whose routines is named."""
    if case.image is None:
        return
    from architect import contracts

    blamed = {
        str(row["routine"])
        for gate in case.failures
        if gate.gate == "contract"
        for row in gate.evidence.get("violations", ())
    }
    for name in sorted(blamed & set(tree.routines)):
        yield Judgement(f"contract of {name}", True, 1.0, tree.reachable([name], _DEPTH))
    for item in contracts.registry().values():
        if not blamed & set(item.judges):
            runs = tree.reachable([n for n in item.judges if n in tree.routines], _DEPTH)
            yield Judgement(f"contract of {item.judges[0]}", False, 1.0, runs)


def suspicion(rows: Collection[Judgement]) -> dict[str, float]:
    """Routine -> Ochiai's measure, 0 to 1, less for routines far from what failed; empty when nothing failed."""
    failed = sum(row.weight for row in rows if row.failed)
    if not failed:
        return {}
    hit: dict[str, float] = {}
    missed: dict[str, float] = {}
    nearest: dict[str, int] = {}
    for row in rows:
        table = hit if row.failed else missed
        for routine, distance in row.runs.items():
            table[routine] = table.get(routine, 0.0) + row.weight
            if row.failed:
                nearest[routine] = min(nearest.get(routine, distance), distance)
    return {
        routine: count / sqrt(failed * (count + missed.get(routine, 0.0))) * _DISTANCE ** nearest[routine]
        for routine, count in hit.items()
    }
