"""Differential fuzzing: the same random case on every engine, in slices, and the first difference from the reference.

Owns what a case is, how it runs and when two runs agree: equal bytes of the state, and the same calls to the host in
the same order with the same arguments. Each case is made from a seed and its number alone, so that it can be made
again. What a failing case becomes stands in fuzz_minimise.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from pixelvm import engines, fuzz_programs, reference
from pixelvm import state as states
from pixelvm.host import Host
from pixelvm.isa import MASK, Stop
from pixelvm.program import Program
from pixelvm.state import State

STAGE = "vm"
MIXED = "mixed"  # stands for the run that moves between engines at every slice
BATCH = 2048  # cases that go to an engine together
_MOVES = 4  # one of so many cases is moved about as well
_SLICES = 4
_SMALL, _LARGE = 40, 300  # fuel of a slice

Call = tuple[int | str, ...]
Many = Callable[[Sequence[tuple[Program, State, Host]]], object]


class Talker:
    """A host that answers anything, the same to the same seed and the same calls, and writes down what it was asked."""

    def __init__(self, seed: int) -> None:
        self._seed = seed & MASK or 1
        self.log: list[Call] = []

    def _next(self) -> int:
        x = self._seed
        x ^= x << 13 & MASK
        x ^= x >> 17
        self._seed = x ^ x << 5 & MASK
        return self._seed

    def put(self, at: int, byte: int) -> None:
        """Write down."""
        self.log.append(("put", at, byte))

    def get(self, at: int) -> int | None:
        """A byte, or none."""
        self.log.append(("get", at))
        answer = self._next()
        return None if answer & 0x300 == 0 else answer & 0xFF

    def milliseconds(self) -> int:
        """Any time."""
        self.log.append(("time",))
        return self._next()

    def size(self) -> tuple[int, int]:
        """Any size."""
        self.log.append(("size",))
        return self._next(), self._next() & 0xFF

    def plot(self, x: int, y: int, colour: int) -> None:
        """Write down."""
        self.log.append(("plot", x, y, colour))

    def pixel(self, x: int, y: int) -> int:
        """Any colour."""
        self.log.append(("pixel", x, y))
        return self._next()

    def show(self) -> None:
        """Write down."""
        self.log.append(("show",))

    def send(self, word: int) -> bool:
        """Taken, or full."""
        self.log.append(("send", word))
        return self._next() & 4 != 0

    def receive(self) -> int | None:
        """Any word, or none."""
        self.log.append(("receive",))
        answer = self._next()
        return None if answer & 0x300 == 0 else answer


class Case(NamedTuple):
    """What one run begins with.

    Attributes:
        program: within bounds.
        state: saved bytes of the machine that goes on.
        slices: fuel, given out one after the other.
        talk: seed of the host's answers.
    """

    program: Program
    state: bytes
    slices: tuple[int, ...]
    talk: int


class End(NamedTuple):
    """How a run ended."""

    state: bytes
    log: list[Call]


class Difference(NamedTuple):
    """A case, the engine (or ``MIXED``) whose end was another one, and what differs first."""

    number: int
    case: Case
    engine: str
    what: str


def case(seed: int, number: int) -> Case:
    """Case ``number`` of a seed: an even one is valid, an odd one corrupted."""
    random = Random(seed << 64 | number)
    program = (fuzz_programs.corrupted if number & 1 else fuzz_programs.valid)(random)
    begin = fuzz_programs.state(random, program)
    slices = tuple(
        random.randrange(1, _LARGE if random.random() < 1 / 4 else _SMALL)
        for _ in range(random.randrange(1, _SLICES + 1))
    )
    return Case(program, states.save(begin, program), slices, random.getrandbits(32))


def expected(of: Case) -> End:
    """The end on the reference, with all of the fuel at once."""
    state = states.restore(of.state, of.program)
    host = Talker(of.talk)
    state.add_fuel(sum(of.slices))
    reference.run(of.program, state, host)
    return End(states.save(state, of.program), host.log)


def ends(cases: Sequence[Case], plan: Callable[[int, int], str]) -> list[End]:
    """The ends of cases that run slice by slice, all of a round together.

    Args:
        cases: any number.
        plan: the engine for a case (by its place) and a round. Where it names another one than in the round before,
            the machine is carried over as bytes.
    """
    machines = [(c.program, states.restore(c.state, c.program), Talker(c.talk)) for c in cases]
    last: list[str] = [""] * len(cases)
    for turn in range(max((len(c.slices) for c in cases), default=0)):
        groups: dict[str, list[int]] = {}
        for at, one in enumerate(cases):
            if turn < len(one.slices):
                program, state, host = machines[at]
                name = plan(at, turn)
                if last[at] not in ("", name):
                    state = states.restore(states.save(state, program), program)
                    machines[at] = program, state, host
                last[at] = name
                state.add_fuel(one.slices[turn])
                if state.stop is Stop.RUNNING:
                    groups.setdefault(name, []).append(at)
        for name, members in groups.items():
            many(name)([machines[at] for at in members])
    return [End(states.save(state, program), host.log) for program, state, host in machines]


def many(name: str) -> Many:
    """The engine's way to run many machines: its ``run_many``, or ``run`` for one after the other."""
    run = engines.find(name)
    found: Many | None = getattr(sys.modules[engines.ENGINES[name].module], "run_many", None)
    if found is not None:
        return found

    def each(machines: Sequence[tuple[Program, State, Host]]) -> None:
        for program, state, host in machines:
            run(program, state, host)

    return each


def differences(cases: Sequence[tuple[int, Case]], names: Sequence[str]) -> Iterator[Difference]:
    """Run numbered cases on each engine by itself, and some of them moving between all; give what differs."""
    wanted = [expected(one) for _, one in cases]
    only = [one for _, one in cases]
    for name in names:
        found = ends(only, alone(name))
        yield from _compared(cases, found, wanted, name)
    some = [at for at, (number, one) in enumerate(cases) if number // 2 % _MOVES == 0 and len(one.slices) > 1]
    if len(names) > 1 and some:
        found = ends([only[at] for at in some], mover(names))
        yield from _compared([cases[at] for at in some], found, [wanted[at] for at in some], MIXED)


def alone(name: str) -> Callable[[int, int], str]:
    """The plan of a run that stays on one engine."""
    return lambda at, turn: name


def mover(names: Sequence[str]) -> Callable[[int, int], str]:
    """The plan of a run that changes the engine with every slice."""
    return lambda at, turn: names[(at + turn) % len(names)]


def _compared(
    cases: Iterable[tuple[int, Case]], found: Sequence[End], wanted: Sequence[End], name: str
) -> Iterator[Difference]:
    for (number, one), got, want in zip(cases, found, wanted, strict=True):
        if got != want:
            yield Difference(number, one, name, difference(one, got, want))


def difference(of: Case, got: End, want: End) -> str:
    """The first thing in which an end is not the expected one, for a person."""
    if got.log != want.log:
        at = next((n for n, (a, b) in enumerate(zip(got.log, want.log, strict=False)) if a != b), None)
        at = min(len(got.log), len(want.log)) if at is None else at
        calls = [log[at] if at < len(log) else "nothing" for log in (got.log, want.log)]
        return f"call {at} to the host is {calls[0]}; expected {calls[1]}"
    ours, theirs = (states.restore(end.state, of.program) for end in (got, want))
    for name in State.__slots__:
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            return f"{name} is {_shown(a, b)}; expected {_shown(b, a)}"
    raise AssertionError("bytes that differ restore to equal states")


def _shown(value: object, other: object) -> str:
    """A value; of a long one the place where it differs."""
    if isinstance(value, (list, bytearray)) and isinstance(other, (list, bytearray)):
        if len(value) != len(other):
            return f"{len(value)} values"
        at = next(n for n, (a, b) in enumerate(zip(value, other, strict=True)) if a != b)
        return f"{value[at]} at {at}"
    return value.name if isinstance(value, Stop) else str(value)


def run(seed: int, first: int, count: int, names: Sequence[str]) -> Iterator[tuple[int, list[Difference]]]:
    """Run cases ``first`` to ``first + count - 1``; gives after each batch how many are done and what differed.

    Args:
        seed: of all cases.
        first: number of the first one.
        count: how many.
        names: engines that are compared with the reference.
    """
    for at in range(first, first + count, BATCH):
        numbers = range(at, min(at + BATCH, first + count))
        cases = [(number, case(seed, number)) for number in numbers]
        yield numbers.stop - first, list(differences(cases, names))
