"""Verified programs run without the checks that the proof excludes, and end alike whoever made their state."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from pixelvm import isa, reference, verifier
from pixelvm.assembler import assemble
from pixelvm.host import PlainHost
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State, is_sound, save
from pixelvm.x86 import engine, translation
from tests.unit.vm_compare import any_program, differs, trail
from tests.unit.vm_programs import quick

ROUNDS = 150


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs are verified before they run for the first time."""
    monkeypatch.setattr(translation.kept, "trial", 0)
    translation.kept.clear()
    yield
    translation.kept.clear()


def proved_programs(count: int) -> Iterator[tuple[Program, verifier.Verdict, Random]]:
    for seed in range(count):
        random = Random(seed)
        program = quick(random) if seed % 2 else any_program(random)
        verdict = verifier.verify(program)
        if verdict.proved:
            yield program, verdict, random


def alike(program: Program, state: State, *fuels: int) -> None:
    start = save(state, program)
    expected = trail(program, start, [reference.run] * len(fuels), fuels)
    assert trail(program, start, [engine.run] * len(fuels), fuels) == expected


@pytest.mark.long
def test_programs_and_states_at_random() -> None:
    assert not [found for seed in range(300) if (found := differs(seed, engine.run))]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_many_programs_and_states_at_random(part: int) -> None:
    start = 2_000_000 + part * 10_000
    assert not [found for seed in range(start, start + 10_000) if (found := differs(seed, engine.run))]


def test_what_a_run_from_the_entry_comes_to_is_covered() -> None:
    """Else the checks would come back in the midst of a run; and the proof would not be one."""
    steps = 0
    for program, verdict, _ in proved_programs(ROUNDS):
        state = State(program, fuel=300)
        while state.stop is Stop.RUNNING:
            assert verdict.covers(program, state)
            reference.step(program, state, PlainHost(input=b"\0\1a"))
            steps += 1
    assert steps > 4000


def made(state: State, program: Program, random: Random) -> None:
    """Change a state as anybody could; it stays one of the program."""
    for _ in range(random.randint(1, 3)):
        match random.randrange(6):
            case 0:
                state.pc = random.randrange(len(program.code) + 1)
            case 1:
                state.stack = [
                    random.getrandbits(32) for _ in range(random.choice((0, 1, 2, 5, 254, 255, 256)))
                ]
            case 2 if state.stack:
                state.stack.pop()
            case 3 if len(state.stack) < isa.STACK_SLOTS:
                state.stack.append(random.getrandbits(32))
            case 4:
                frames = random.choice((0, 1, 2, isa.FRAMES - 1))
                state.returns = [random.randrange(len(program.code) + 1) for _ in range(frames)]
                state.locals = [
                    [random.getrandbits(32) for _ in range(isa.LOCALS)] for _ in range(frames + 1)
                ]
            case 5:
                state.stack = [random.getrandbits(32) for _ in state.stack]
            case _:
                state.seed = random.getrandbits(32) or 1
    state.stop = Stop.RUNNING


def test_states_made_by_anybody_end_alike() -> None:
    covered = others = 0
    for program, verdict, random in proved_programs(ROUNDS):
        for _ in range(4):
            state = State(program, fuel=random.randrange(200))
            reference.run(program, state, PlainHost())
            made(state, program, random)
            assert is_sound(state, program)
            if verdict.covers(program, state):
                covered += 1
            else:
                others += 1
            state.fuel = 0
            alike(program, state, 7, 300)
    assert covered > 50 and others > 50


DEEP = "main: push 1\ncall f\ndrop\nhalt\nf: drop\npush 2\nret"


def test_frames_must_be_those_of_the_proof() -> None:
    program = assemble(DEEP, "test").program
    verdict = verifier.verify(program)
    inside = State(program, fuel=9)
    inside.pc, inside.returns, inside.locals, inside.stack = 4, [2], [[0] * isa.LOCALS] * 2, [1]
    assert verdict.covers(program, inside)
    for returns in ([1], [3], [0], [len(program.code)], [2, 2]):
        inside.returns, inside.locals = returns, [[0] * isa.LOCALS] * (len(returns) + 1)
        assert not verdict.covers(program, inside)
        alike(program, inside, 9)
    inside.returns, inside.locals, inside.stack = [2], [[0] * isa.LOCALS] * 2, []
    assert not verdict.covers(program, inside)
    alike(program, inside, 9)


def code_of(program: Program, verdict: verifier.Verdict | None) -> int:
    """Bytes of the entry's unit."""
    from pixelvm.x86.translate import Scope, Translator

    scope = Scope(program.code, program.memory, lambda pc: False, lambda slot: 0, verdict)
    return len(Translator(scope, program.entry).unit().code)


@pytest.mark.parametrize(
    "source",
    [
        "push 1\nx: dup\njnz x\nhalt",  # the stack's depth
        "call f\nhalt\nf: ret",  # frames
        "sys random\npush 63\nand\npush 2\nshl\nget 0\nadd\npush 63\nand\npush 2\nshl\nload32\nhalt",  # an address
    ],
)
def test_a_check_that_is_proved_is_not_made(source: str) -> None:
    program = assemble(".memory 256\n" + source, "test").program
    verdict = verifier.verify(program)
    assert verdict.proved
    assert code_of(program, verdict) < code_of(program, None)


def test_an_access_is_taken_at_its_proof_only_behind_its_anchor() -> None:
    """A state that stands between the mask and the load may hold any address."""
    program = assemble(".memory 256\nsys random\npush 63\nand\nload8\nhalt", "test").program
    state = State(program, fuel=50)
    state.pc, state.stack = 3, [0xFFFFFFF0]
    assert 3 in verifier.verify(program).accesses
    assert verifier.verify(program).covers(program, state)
    alike(program, state, 50)
    assert engine.run(program, state, PlainHost()) is Stop.BOUNDS


@pytest.mark.long
def test_a_long_run_changes_over_in_its_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation.kept, "trial", 1 << 12)
    program = assemble("push 100000\nx: push 1\nsub\ndup\njnz x\nhalt", "test").program
    state = State(program, fuel=1 << 22)
    assert engine.run(program, state, PlainHost()) is Stop.HALTED
    now = translation.kept.find(program, State(program))
    assert now.proof is not None and now.spent > 0
    alike(program, State(program), 1 << 22)
