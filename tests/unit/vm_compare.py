"""Engines beside the reference: programs at random, states that anybody could have made, hosts that answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pixelvm import isa, reference
from pixelvm.engines import Run
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Operand
from pixelvm.program import Program
from pixelvm.state import State, save
from tests.unit import vm_programs

_OFTEN = [*Op, *[Op.PUSH] * 8, *[Op.GET] * 5, *[Op.SET] * 3, Op.DUP, Op.DUP]
_VALUES = (0, 1, 3, 4, 31, 32, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def wild(random: Random) -> Program:
    """Legal words in any order, and some that are not: most of its programs trap soon, all in different ways."""
    length = random.choice([5, 20, 60, 200])
    code = tuple(
        random.randrange(1 << 32) if random.random() < 0.01 else _word(random, length) for _ in range(length)
    )
    memory = random.choice([0, 256, 1024])
    return Program(code, random.randbytes(min(memory, 32)), memory, random.randrange(length))


def any_program(random: Random) -> Program:
    """A program of one kind or the other."""
    return vm_programs.quick(random) if random.random() < 0.3 else wild(random)


def _word(random: Random, length: int) -> int:
    op = random.choice(_OFTEN)
    choices = {
        Operand.NONE: [0],
        Operand.TARGET: [random.randrange(length)],
        Operand.SLOT: [0, 1, 2, 3, random.randrange(isa.STACK_SLOTS)],
        Operand.LOCAL: [0, 1, 2, 3, 0, 1, 2, 3, random.randrange(isa.LOCALS)],
        Operand.SYSTEM: list(range(len(isa.System))),
        Operand.BYTE: [random.randrange(256)],
        Operand.SIGNED: [0, 1, -1, 4, 8, 31, 32, random.randrange(300), -random.randrange(300), 1 << 22],
        Operand.OFFSET: [0, 4, 1, 8, 252, 256, isa.OPERAND_MAX, random.randrange(300)],
    }
    return isa.word(op, random.choice(choices[isa.INSTRUCTIONS[op].operand]))


def hostile(random: Random, program: Program) -> State:
    """A state that a file could hold: any stack, any frames, any ``pc``."""
    state = State(program, seed=random.randrange(1, 1 << 32))
    depth = random.choice([0, 1, 3, 10, 250, isa.STACK_SLOTS - 1, isa.STACK_SLOTS])
    state.stack = [random.choice([*_VALUES, random.randrange(1 << 32)]) for _ in range(depth)]
    frames = random.choice([1, 1, 2, 10, isa.FRAMES - 1, isa.FRAMES])
    state.locals = [
        [random.choice([0, 0, 1, 4, random.randrange(1 << 32)]) for _ in range(isa.LOCALS)]
        for _ in range(frames)
    ]
    state.returns = [random.randrange(len(program.code) + 1) for _ in range(frames - 1)]
    state.pc = random.randrange(len(program.code) + 1)
    state.memory[:] = random.randbytes(program.memory)
    return state


def _host() -> PlainHost:
    host = PlainHost(input=b"abc", clock=77, width=3, height=2)
    host.inbox.extend([5, 6])
    return host


def trail(program: Program, state: bytes, engines: Sequence[Run], fuels: Sequence[int]) -> list[object]:
    """What is left after each engine in turn has run a state for some fuel, and what the host saw.

    Args:
        program: what runs.
        state: from ``save``.
        engines: one for each of ``fuels``.
        fuels: given before each run.
    """
    from pixelvm.state import restore

    machine, host = restore(state, program), _host()
    left: list[object] = []
    for engine, fuel in zip(engines, fuels, strict=True):
        machine.add_fuel(fuel)
        stop = engine(program, machine, host)
        assert stop is machine.stop
        left.append(save(machine, program))
    return [*left, bytes(host.output), bytes(host.pixels), host.shown, list(host.outbox), list(host.inbox)]


def differs(seed: int, engine: Run) -> str:
    """A program and a state of this number on ``engine`` alone, and on it and the reference in turn; "" when alike."""
    random = Random(seed)
    program = any_program(random)
    start = hostile(random, program) if random.random() < 0.4 else State(program)
    state = save(start, program)
    fuels = [random.choice([0, 1, 5, 17, 100, 1000, 3000]) for _ in range(3)]
    python = reference.run
    expected = trail(program, state, [python] * 3, fuels)
    for order in ([engine] * 3, [engine, python, engine], [python, engine, python]):
        if trail(program, state, order, fuels) != expected:
            return f"seed {seed}: {program}"
    return ""
