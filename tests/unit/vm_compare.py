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


class _Structured:
    """Programs as a compiler makes them: statements over locals, loops that end, calls, memory by index."""

    _BINARY = (
        Op.ADD,
        Op.SUB,
        Op.MUL,
        Op.AND,
        Op.OR,
        Op.XOR,
        Op.SHL,
        Op.SHR,
        Op.SAR,
        Op.EQ,
        Op.NE,
        Op.LTU,
        Op.LTS,
    )
    _DIVISIONS = (Op.DIVU, Op.DIVS, Op.REMU, Op.REMS)

    def __init__(self, random: Random) -> None:
        self.random = random
        self.code: list[int] = []
        self.calls: list[tuple[int, int]] = []  # place and function
        self.memory = random.choice([256, 4096])

    def program(self) -> Program:
        """Some functions, the first of them the entry."""
        count = self.random.randrange(1, 4)
        starts = []
        for number in range(count):
            starts.append(len(self.code))
            for _ in range(self.random.randrange(1, 5)):
                self._statement(number, count, 2)
            self._emit(Op.RET if number else Op.HALT)
        for at, function in self.calls:
            self.code[at] = isa.word(Op.CALL, starts[function])
        return Program(tuple(self.code), self.random.randbytes(64), self.memory)

    def _emit(self, op: Op, operand: int = 0) -> int:
        self.code.append(isa.word(op, operand))
        return len(self.code) - 1

    def _statement(self, function: int, count: int, depth: int) -> None:
        random = self.random
        kind = random.randrange(9)
        if kind == 0 and depth:
            counter = random.randrange(8, 12)
            self._emit(Op.PUSH, random.randrange(1, 6))
            self._emit(Op.SET, counter)
            start = len(self.code)
            for _ in range(random.randrange(1, 4)):
                self._statement(function, count, depth - 1)
            for op, operand in ((Op.GET, counter), (Op.PUSH, 1), (Op.SUB, 0), (Op.DUP, 0), (Op.SET, counter)):
                self._emit(op, operand)
            self._emit(Op.JNZ, start)
        elif kind == 1 and depth:
            self._expression(3)
            jump = self._emit(random.choice([Op.JZ, Op.JNZ]))
            self._statement(function, count, depth - 1)
            self.code[jump] |= len(self.code) << 8
            self._emit(Op.GET, 0)
            self._emit(Op.DROP)
        elif kind == 2 and function + 1 < count:
            self.calls.append((self._emit(Op.CALL), random.randrange(function + 1, count)))
        elif kind in (3, 4):
            self._address()
            self._expression(3)
            self._emit(random.choice([Op.STORE8, Op.STORE32]), random.choice([0, 0, 4, 64]))
        else:
            self._expression(4)
            self._emit(Op.SET, random.randrange(8))

    def _address(self) -> None:
        """Mostly one inside of memory."""
        random = self.random
        self._expression(2)
        self._emit(Op.PUSH, random.choice([15, 31, 60]))
        self._emit(Op.AND)
        if random.random() < 0.6:
            self._emit(Op.PUSH, random.choice([1, 2, 2, 2, 3]))
            self._emit(Op.SHL)
        if random.random() < 0.1:
            self._emit(Op.PUSH, random.choice([-4, -64, 4, self.memory]))
            self._emit(Op.ADD)

    def _expression(self, depth: int) -> None:
        """One value more."""
        random = self.random
        kind = random.randrange(12)
        if depth == 0 or kind < 2:
            if random.random() < 0.6:
                self._emit(Op.GET, random.randrange(12))
            else:
                self._emit(Op.PUSH, random.choice([0, 1, 2, 3, 4, 31, -1, 255, random.randrange(1 << 23)]))
        elif kind < 8:
            self._expression(depth - 1)
            self._expression(depth - 1)
            self._emit(random.choice(self._BINARY))
        elif kind == 8:
            self._expression(depth - 1)
            self._expression(1)
            self._emit(Op.PUSH, 1)
            self._emit(Op.OR)
            self._emit(random.choice(self._DIVISIONS))
        elif kind == 9:
            self._address()
            self._emit(random.choice([Op.LOAD8, Op.LOAD32]), random.choice([0, 0, 4, 64]))
        elif kind == 10:
            value, count = random.randrange(12), random.randrange(1, 32)
            for op, operand in ((Op.GET, value), (Op.PUSH, count), (Op.SHR, 0), (Op.GET, value)):
                self._emit(op, operand)
            self._emit(Op.PUSH, 32 - count)
            self._emit(Op.SHL)
            self._emit(random.choice([Op.OR, Op.ADD, Op.XOR]))
        else:
            self._shuffled(depth)

    def _shuffled(self, depth: int) -> None:
        random = self.random
        self._expression(depth - 1)
        self._expression(depth - 1)
        for _ in range(random.randrange(1, 4)):
            self._expression(1)
            self._emit(random.choice([Op.SWAP, Op.ROT, Op.OVER, Op.DUP]))
            if self.code[-1] in (isa.word(Op.OVER), isa.word(Op.DUP)):
                self._emit(Op.XOR)
            self._emit(random.choice(self._BINARY))
        if random.random() < 0.3:
            self._emit(Op.PICK, random.randrange(2))
            self._emit(Op.HIGH, random.randrange(256))
            self._emit(Op.ADD)
        if random.random() < 0.2:
            self._emit(Op.SYS, isa.System.RANDOM)
            self._emit(Op.XOR)
        self._emit(random.choice(self._BINARY))


def structured(random: Random) -> Program:
    """A program as a compiler makes them; most of its runs halt after some thousand instructions."""
    return _Structured(random).program()


def any_program(random: Random) -> Program:
    """A program of one kind or another."""
    return random.choice([vm_programs.quick, wild, structured, structured])(random)


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
