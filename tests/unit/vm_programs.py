"""Random programs for the Pixel VM: any words, or mostly legal ones that get somewhere."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from pixelvm import isa
from pixelvm.isa import Op, Operand
from pixelvm.program import Program

_MANY = 40


def _operands(kind: Operand, length: int) -> st.SearchStrategy[int]:
    match kind:
        case Operand.NONE:
            return st.just(0)
        case Operand.TARGET:
            return st.integers(0, length - 1)
        case Operand.SLOT:
            return st.integers(0, 5)
        case Operand.LOCAL:
            return st.integers(0, isa.LOCALS - 1)
        case Operand.SYSTEM:
            return st.sampled_from(list(isa.System))
        case Operand.BYTE:
            return st.integers(0, 255)
        case Operand.OFFSET:
            return st.one_of(st.integers(0, 16).map(lambda n: 4 * n), st.integers(0, isa.OPERAND_MAX))
        case Operand.SIGNED:
            return st.one_of(st.integers(-4, 64), st.integers(-(1 << 23), (1 << 23) - 1))


def words(length: int) -> st.SearchStrategy[int]:
    """Legal words for a program of this length; pushes are frequent, so that the stack is not always empty."""
    ops = st.sampled_from([*Op, *[Op.PUSH] * 12, *[Op.DUP] * 3])
    return ops.flatmap(
        lambda op: _operands(isa.INSTRUCTIONS[op].operand, length).map(lambda n: isa.word(op, n))
    )


@st.composite
def programs(draw: st.DrawFn, broken: bool = True) -> Program:
    """A program of up to ``_MANY`` words; with ``broken`` some of them may be anything."""
    length = draw(st.integers(1, _MANY))
    legal = words(length)
    word = st.one_of(legal, legal, legal, legal, st.integers(0, isa.MASK)) if broken else legal
    code = draw(st.lists(word, min_size=length, max_size=length))
    data = draw(st.binary(max_size=64))
    memory = draw(st.sampled_from([256, 1024]))
    return Program(tuple(code), data, memory, draw(st.integers(0, length - 1)))


@st.composite
def careful_programs(draw: st.DrawFn) -> Program:
    """Programs of which many can be proved: a full stack at first, forward jumps, functions behind the first halt."""
    stack = [isa.word(Op.PUSH, draw(st.integers(0, 300))) for _ in range(draw(st.integers(0, 12)))]
    body = draw(st.lists(words(1), max_size=20))
    length = len(stack) + len(body) + 1
    functions = [draw(st.lists(words(1), max_size=5)) for _ in range(draw(st.integers(0, 3)))]
    starts = []
    for function in functions:
        starts.append(length)
        length += len(function) + 1
    code = [*stack, *body, isa.word(Op.HALT)]
    for function in functions:
        code += [*function, isa.word(Op.RET)]
    for at, word in enumerate(code):
        op = word & 0xFF
        if op == Op.CALL and starts:
            code[at] = isa.word(op, draw(st.sampled_from(starts)))
        elif op in (Op.JUMP, Op.JZ, Op.JNZ, Op.CALL):
            last = max(at + 1, next((s - 1 for s in starts if s > at), length - 1))
            code[at] = isa.word(Op.JZ if op == Op.CALL else op, draw(st.integers(min(at + 1, last), last)))
    return Program(tuple(code), b"", draw(st.sampled_from([256, 1024])))


def quick(random: Random) -> Program:
    """A careful program made fast, for long runs without hypothesis: pushes, a body, functions behind the halt."""
    first = random.randrange(12)
    body = random.randrange(1, 12)
    lengths = [random.randrange(1, 6) for _ in range(random.randrange(4))]
    starts = [first + body + 1 + sum(lengths[:at]) + at for at in range(len(lengths))]
    code = [isa.word(Op.PUSH, random.randrange(4)) for _ in range(first)]
    code += [_word(random, 0, first + body, starts) for _ in range(body)] + [isa.word(Op.HALT)]
    for start, length in zip(starts, lengths, strict=True):
        code += [_word(random, start, start + length + 1, starts) for _ in range(length)] + [isa.word(Op.RET)]
    return Program(tuple(code), b"", random.choice([256, 512]))


_OFTEN = [*Op, *[Op.PUSH] * 6, *[Op.GET] * 4, *[Op.DROP] * 5]


def _word(random: Random, low: int, high: int, starts: list[int]) -> int:
    """A legal word; its jumps stay in ``low`` to ``high``, its calls are of ``starts`` where there are any."""
    op = random.choice(_OFTEN)
    match isa.INSTRUCTIONS[op].operand:
        case Operand.NONE:
            operand = 0
        case Operand.TARGET:
            operand = random.choice(starts) if op is Op.CALL and starts else random.randrange(low, high)
        case Operand.SLOT | Operand.LOCAL:
            operand = random.randrange(4)
        case Operand.SYSTEM:
            operand = random.choice(list(isa.System))
        case Operand.BYTE:
            operand = random.randrange(256)
        case Operand.SIGNED | Operand.OFFSET:
            operand = random.choice([0, 1, 4, random.randrange(300)])
    return isa.word(op, operand)
