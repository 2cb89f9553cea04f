"""Random programs that get somewhere, programs that were damaged, and states that nobody reached by running.

Owns how they are made from a generator of random numbers: the same numbers give the same program. Runs nothing.
"""

from __future__ import annotations

from random import Random

from pixelvm import isa
from pixelvm.isa import Op, Operand, Stop, System
from pixelvm.program import Program
from pixelvm.state import State

MEMORIES = (0, 256, 256, 512)  # bytes
_EDGES = (0, 1, 2, 3, 4, 31, 32, 33, 127, 128, 255, 256, 0xFFFF, 0x7FFFFF, -1, -2, -4, -31, -256, -0x800000)
_TOPS = (0x00, 0x7F, 0x80, 0xFF)
_PLAIN = tuple(
    row.op
    for row in isa.INSTRUCTIONS.values()
    if row.operand is not Operand.TARGET and row.op not in (Op.HALT, Op.RET, Op.SYS)
)
_OFTEN = (*_PLAIN, *(Op.GET, Op.SET) * 2, *(Op.LOAD32, Op.STORE32, Op.LOAD8, Op.STORE8) * 2, Op.DUP, Op.SYS)
_BODY = 14  # most choices in a stretch of code
_ROUNDS = 5  # of a loop, at most
_FUNCTIONS = 3
_DEEP = 1 / 64  # of all programs call or push until that traps
_FREE = 1 / 5  # of all programs are legal words without a plan


def valid(random: Random) -> Program:
    """A program whose words are all legal; most of them run to their end, some trap on the way."""
    choice = random.random()
    if choice < _DEEP:
        return _deep(random)
    if choice < _FREE:
        return _free(random)
    return _Writer(random).program()


def corrupted(random: Random) -> Program:
    """A valid program of which some words were changed, or the end lost, or the entry moved."""
    program = valid(random)
    code = list(program.code)
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(code))
        change = random.randrange(4)
        if change == 0:
            code[at] = random.getrandbits(32)
        elif change == 1:
            code[at] ^= 1 << random.randrange(32)
        elif change == 2:
            code[at] = code[at] & 0xFF | random.choice((0, 1, len(code), 255, 256, isa.OPERAND_MAX)) << 8
        else:
            code[at] = isa.word(random.choice(list(Op)), random.choice((0, at, random.randrange(300))))
    if random.random() < 1 / 8:
        del code[random.randrange(1, len(code) + 1) :]
    moved = random.random() < 1 / 8 or program.entry >= len(code)
    return program._replace(code=tuple(code), entry=random.randrange(len(code)) if moved else program.entry)


def state(random: Random, program: Program) -> State:
    """Where the program begins, or (one of four) any state that ``restore`` takes."""
    made = State(program, seed=random.getrandbits(32))
    if random.random() < 3 / 4:
        return made
    made.pc = random.randrange(len(program.code) + 1)
    full = isa.STACK_SLOTS - random.randrange(3)
    depth = random.choice((0, 1, 2, 3, random.randrange(40), full))
    made.stack = [value(random) & isa.MASK for _ in range(depth)]
    calls = random.choice((0, 0, 1, 2, isa.FRAMES - 2, isa.FRAMES - 1))
    made.returns = [random.randrange(len(program.code) + 1) for _ in range(calls)]
    made.locals = [[value(random) & isa.MASK] * isa.LOCALS for _ in range(calls + 1)]
    made.memory[:] = random.randbytes(len(made.memory))
    made.written, made.read = random.choice((0, isa.MASK)), random.choice((0, 5, isa.MASK))
    if random.random() < 1 / 16:
        made.stop = random.choice(list(Stop))
    return made


def value(random: Random) -> int:
    """A number as programs have them: near an edge, or small, or any."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(_EDGES)
    return random.randrange(64) if kind < 3 else random.getrandbits(23)


def _free(random: Random) -> Program:
    """Pushes, then legal words in any order, functions behind the halt."""
    first, body = random.randrange(12), random.randrange(1, 12)
    lengths = [random.randrange(1, 6) for _ in range(random.randrange(_FUNCTIONS + 1))]
    starts = [first + body + 1 + sum(lengths[:at]) + at for at in range(len(lengths))]
    code = [isa.word(Op.PUSH, random.randrange(4)) for _ in range(first)]
    code += [_word(random, 0, first + body, starts) for _ in range(body)] + [isa.word(Op.HALT)]
    for start, length in zip(starts, lengths, strict=True):
        code += [_word(random, start, start + length + 1, starts) for _ in range(length)]
        code.append(isa.word(Op.RET))
    return Program(tuple(code), b"", random.choice(MEMORIES))


_ANY = (*Op, *[Op.PUSH] * 6, *[Op.GET] * 4, *[Op.DROP] * 5)


def _word(random: Random, low: int, high: int, starts: list[int]) -> int:
    """A legal word; its jumps stay in ``low`` to ``high``, its calls are of ``starts`` where there are any."""
    op = random.choice(_ANY)
    kind = isa.INSTRUCTIONS[op].operand
    if kind is Operand.TARGET:
        return isa.word(
            op, random.choice(starts) if op is Op.CALL and starts else random.randrange(low, high)
        )
    return isa.word(op, _operand(random, kind))


def _operand(random: Random, kind: Operand) -> int:
    """A legal operand that is no target."""
    match kind:
        case Operand.SLOT | Operand.LOCAL:
            return random.randrange(5) if random.random() < 7 / 8 else random.randrange(isa.LOCALS)
        case Operand.SYSTEM:
            return random.randrange(len(System))
        case Operand.BYTE:
            return random.randrange(256)
        case Operand.SIGNED:
            return value(random)
        case Operand.OFFSET:
            return random.choice((0, 0, 4, 1, random.randrange(300)))
        case _:
            return 0


def _deep(random: Random) -> Program:
    """Calls or pushes without end, by a step that is random."""
    middle = [_word(random, 0, 1, [0]) for _ in range(random.randrange(3))]
    ends = (isa.word(Op.CALL, 0), isa.word(Op.JUMP, 0))
    push = [isa.word(Op.PUSH, value(random)), isa.word(Op.SET, random.randrange(isa.LOCALS))]
    code = [*push, isa.word(random.choice((Op.DUP, Op.PUSH)), 0), *middle, random.choice(ends)]
    return Program(tuple(code[random.randrange(2) * 2 :]), b"", random.choice(MEMORIES))


class _Writer:
    """Writes a program that knows how many values lie on the stack, so that it seldom traps at once."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.code: list[int] = []
        self.depth = 0
        self.calls: list[int] = []  # words whose operand becomes a function

    def program(self) -> Program:
        random = self.random
        self._stretch(loops=2)
        self._say(Op.HALT, random.randrange(4))
        functions = []
        for _ in range(random.randrange(_FUNCTIONS) if self.calls else 0):
            functions.append(len(self.code))
            self.depth = random.randrange(3)
            self._stretch(loops=1)
            self._say(Op.RET)
        for at in self.calls:
            self.code[at] = isa.word(Op.CALL, random.choice(functions)) if functions else isa.word(Op.PUSH, 1)
        data = random.randbytes(random.randrange(64))
        return Program(tuple(self.code), data, random.choice(MEMORIES[1:]))

    def _say(self, op: Op, operand: int = 0) -> None:
        self.code.append(isa.word(op, operand))

    def _push(self, number: int) -> None:
        self._say(Op.PUSH, number)
        if self.random.random() < 1 / 8:
            self._say(Op.HIGH, self.random.choice(_TOPS))
        self.depth += 1

    def _stretch(self, loops: int) -> None:
        random = self.random
        for _ in range(random.randrange(1, _BODY)):
            kind = random.random()
            if kind < 1 / 12 and loops:
                self._loop(loops - 1)
            elif kind < 1 / 8:
                self._branch()
            elif kind < 1 / 6:
                self.calls.append(len(self.code))
                self._say(Op.CALL)
            else:
                self._plain()

    def _loop(self, loops: int) -> None:
        """A counted one; its counter lies in a high local, that the rest seldom uses."""
        counter = 8 + loops
        self._say(Op.PUSH, self.random.randrange(1, _ROUNDS))
        self._say(Op.SET, counter)
        top, before = len(self.code), self.depth
        self._stretch(loops)
        while self.depth > before:
            self._say(Op.DROP)
            self.depth -= 1
        for op, operand in ((Op.GET, counter), (Op.PUSH, 1), (Op.SUB, 0), (Op.DUP, 0), (Op.SET, counter)):
            self._say(op, operand)
        self._say(Op.JNZ, top)

    def _branch(self) -> None:
        """Over a few words that leave the depth alone."""
        random = self.random
        if not self.depth:
            self._push(random.randrange(2))
        self.depth -= 1
        count = random.randrange(1, 4)
        self._say(random.choice((Op.JZ, Op.JNZ)), len(self.code) + 1 + 2 * count)
        for _ in range(count):
            self._say(Op.GET, random.randrange(8))
            self._say(Op.SET, random.randrange(8))

    def _plain(self) -> None:
        random = self.random
        op = random.choice(_OFTEN)
        operand = _operand(random, isa.INSTRUCTIONS[op].operand)
        if op is Op.PICK:
            operand %= max(self.depth, 1)
        cost = isa.cost(isa.word(op, operand))
        while self.depth < cost.needs and random.random() < 63 / 64:
            self._push(value(random))
        if op in (Op.LOAD32, Op.STORE32, Op.LOAD8, Op.STORE8) and random.random() < 15 / 16:
            self._say(Op.DROP)
            self._say(Op.PUSH, 4 * random.randrange(48))
            if op in (Op.STORE32, Op.STORE8):
                self._say(Op.GET, random.randrange(8))
                self.depth += 1
            operand &= ~3 if op in (Op.LOAD32, Op.STORE32) else isa.OPERAND_MAX
        self._say(op, operand)
        self.depth = max(self.depth + cost.pushes - cost.pops, 0)
