"""Which source lines the contracts of a kernel execute and read, call by call: what spectrum-based localisation counts.

Owns the runs: every model and every header that is broken is asked once more on an emulated CPU that records blocks,
transfers and reads, and these become lines. A line that no failing call executed or read cannot be what made it fail,
and neither can a constant that no such line names. Never judges: which contracts are broken is ``contracts``' answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from architect import contracts
from architect.contracts import generic
from architect.origins import Demand, Origins, trace_back
from toolchain.harness import Harness
from toolchain.headers import Routine
from toolchain.link import Origin
from toolchain.steps import stepping
from toolchain.trace import Coverage, recording
from toolchain.types import Image

Key = tuple[str, int]
Turn = tuple[str, int, int]  # file and line of a branch, and the address that it went on to

_LAST = 0.7  # the call that a failing model stopped at tells more than those that led there
_TRACED = 6  # broken models whose last call is followed step by step
_BEFORE = 0.2  # calls of a failing model that it found nothing wrong with


@dataclass(frozen=True, slots=True)
class Run:
    """One row of the spectrum.

    Attributes:
        name: the contract.
        failed: whether it was broken.
        weight: how much the row tells, up to 1.
        lines: what was executed and the data that was read.
        turns: the ways that branches went, of branches that went more than one way in any run.
        origin: of a failed row: the lines that the wrong value came from, the nearest 1.
        demands: of a failed row: which register should have held what, where.
    """

    name: str
    failed: bool
    weight: float
    lines: frozenset[Key]
    turns: frozenset[Turn]
    origin: Mapping[Key, float] = field(default_factory=dict)
    demands: tuple[Demand, ...] = ()


def runs(
    image: Image, origins: Sequence[Origin], headers: Mapping[str, Routine], broken: Collection[str]
) -> tuple[Run, ...]:
    """The rows of the models near to what is broken, and of the headers of the ``broken`` routines.

    A model is near when it answers for a routine that is broken, or that a failing call executed: the rows of others
    would hold no line that can be suspected, for recording takes several times as long as asking.

    Args:
        image: the kernel as it fails.
        origins: where its bytes came from (``build.Session.origins``).
        headers: what its routines promise.
        broken: names of the routines that some violation names.
    """
    asked: list[tuple[str, bool, list[Coverage]]] = []
    broken = frozenset(broken)
    near = [item for item in contracts.registry().values() if not broken.isdisjoint(item.judges)]
    with recording() as recorder, closing(Harness(image)) as harness:

        def ask(item: contracts.Contract) -> None:
            first = len(recorder.runs)
            failed = bool(item.violations(harness))
            asked.append((item.name, failed, recorder.runs[first:]))

        for item in near:
            ask(item)
        ran = _routines(image, [run for _, failed, calls in asked if failed for run in calls])
        for item in contracts.registry().values():
            if item not in near and not ran.isdisjoint(item.judges):
                ask(item)
        for name in sorted(broken & headers.keys()):
            first = len(recorder.runs)
            if harness.has(name) and generic.check(harness, headers[name]):
                asked.append((f"{name}()", True, recorder.runs[first:]))
    places = _Places(image, origins, [run for _, _, calls in asked for run in calls])
    traced = _traced(image, headers, [name for name, failed, _ in asked if failed], places)
    rows: list[Run] = []
    for name, failed, calls in asked:
        if not failed:
            rows.append(places.row(name, False, 1.0, calls))
        elif calls:
            row = places.row(name, True, 1.0, calls)
            found = traced.get(name)
            rows.append(replace(row, origin=found.lines, demands=found.demands) if found else row)
            if len(calls) > 1:
                rows.append(places.row(name, True, _LAST, calls[-1:]))
                rows.append(places.row(name, False, _BEFORE, calls[:-1]))
    return tuple(row for row in rows if row.lines)


def _traced(
    image: Image, headers: Mapping[str, Routine], names: Sequence[str], places: _Places
) -> dict[str, Origins]:
    """What the wrong values of some broken models and headers came from, step by step."""
    known = contracts.registry()
    found: dict[str, Origins] = {}
    for name in names[:_TRACED]:
        with stepping() as stepper, closing(Harness(image)) as harness:
            if name in known:
                violations = known[name].violations(harness)
            else:
                routine = headers[name.removesuffix("()")]
                violations = generic.check(harness, routine, seeds=1)
        if violations and stepper.steps and not stepper.cut:
            made = trace_back(image, stepper.steps, violations[0], places.lines)
            if made is not None:
                found[name] = made
    return found


def _routines(image: Image, calls: Iterable[Coverage]) -> frozenset[str]:
    """The routines that some calls executed."""
    symbols = sorted((s.address, s.address + s.size, s.name) for s in image.symbols if s.size)
    starts = [start for start, _, _ in symbols]
    found = set()
    shifts = _shifts(image)
    for address in {address for call in calls for address in call.blocks}:
        place = _linked(address, shifts)
        start, end, name = symbols[max(0, bisect_right(starts, place) - 1)]
        if start <= place < end:
            found.add(name)
    return frozenset(found)


def _shifts(image: Image) -> list[tuple[int, int, int]]:
    """Where each section lies in physical memory (end exclusive), and how far from there it is linked."""
    return [(s.physical, s.physical + s.size, s.address - s.physical) for s in image.sections]


def _linked(address: int, shifts: Iterable[tuple[int, int, int]]) -> int:
    """The address that code was linked at; before paging it runs at its physical one."""
    return next((address + shift for low, high, shift in shifts if low <= address < high), address)


class _Places:
    """From addresses to lines."""

    def __init__(self, image: Image, origins: Sequence[Origin], calls: Iterable[Coverage]) -> None:
        self.origins = origins
        self.starts = [origin.address for origin in origins]
        self.shifts = _shifts(image)
        self.known: dict[tuple[int, int], frozenset[Key]] = {}
        ways: dict[int, set[int]] = {}
        for call in calls:
            for before, after in call.edges:
                ways.setdefault(before, set()).add(after)
        self.forks = {before for before, found in ways.items() if len(found) > 1}

    def row(self, name: str, failed: bool, weight: float, calls: Iterable[Coverage]) -> Run:
        """One row over some calls."""
        lines: set[Key] = set()
        turns: set[Turn] = set()
        for call in calls:
            for address, size in call.blocks.items():
                lines |= self.lines(address, size)
            for address in call.reads:
                lines |= self.lines(address, 1)
            for before, after in call.edges:
                if before in self.forks:
                    last = self.lines(before + call.blocks[before] - 1, 1)
                    turns |= {(file, line, after) for file, line in last}
        return Run(name, failed, weight, frozenset(lines), frozenset(turns))

    def lines(self, address: int, size: int) -> frozenset[Key]:
        """The lines that some bytes came from."""
        found = self.known.get((address, size))
        if found is None:
            found = self.known[address, size] = frozenset(self._lines(address, size))
        return found

    def _lines(self, address: int, size: int) -> Iterable[Key]:
        address = _linked(address, self.shifts)
        at = max(0, bisect_right(self.starts, address) - 1)
        while at < len(self.origins) and self.origins[at].address < address + size:
            origin = self.origins[at]
            if origin.address + origin.length > address:
                yield from origin.lines
            at += 1
