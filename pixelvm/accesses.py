"""Loads and stores that cannot trap, found from the values that addresses are made of.

Owns ranges of values within a basic block: constants, masks, remainders, scaled sums. What comes from outside the
block is anything. Part of the verifier; sound for any words, run or not.
"""

from __future__ import annotations

from typing import NamedTuple

from pixelvm import isa
from pixelvm.isa import INSTRUCTIONS, MASK, Op, Operand
from pixelvm.program import Program


class _Value(NamedTuple):
    """A range of unsigned values, all multiples of ``step`` (a power of two)."""

    low: int = 0
    high: int = MASK
    step: int = 1


_ANY = _Value()
_FLAG = _Value(0, 1)
_STEP_MAX = 1 << 31
_SIZES = {Op.LOAD8: 1, Op.STORE8: 1, Op.LOAD32: 4, Op.STORE32: 4}
_ENDS = (Op.JUMP, Op.JZ, Op.JNZ, Op.CALL, Op.RET, Op.HALT)


class Accesses(NamedTuple):
    """What is known of a program's loads and stores.

    Attributes:
        proved: ``pc`` of those whose address is aligned and inside the program's memory on every path.
        anchors: where nothing is taken to be known of the stack. What is said of an access holds for a machine that
            comes to it from the anchor before it, whatever its stack holds there; not for one that begins in between.
    """

    proved: frozenset[int]
    anchors: frozenset[int]


def proved_accesses(program: Program) -> Accesses:
    """Look at every word of a program."""
    leaders = {program.entry}
    for code in program.code:
        row = INSTRUCTIONS.get(code & 0xFF)
        if row is not None and row.operand is Operand.TARGET:
            leaders.add(code >> 8)
    proved: set[int] = set()
    anchors = leaders | {0}
    stack: list[_Value] = []
    for pc, code in enumerate(program.code):
        if pc in leaders:
            stack = []
        if not isa.is_legal(code, len(program.code)):
            stack = []
            anchors.add(pc + 1)
            continue
        op = Op(code & 0xFF)
        size = _SIZES.get(op)
        if size is not None:
            base = _peek(stack, 0 if op in (Op.LOAD8, Op.LOAD32) else 1)
            if _is_inside(base, code >> 8, size, program.memory):
                proved.add(pc)
        _step(stack, op, code)
        if op in _ENDS:
            stack = []
            anchors.add(pc + 1)
    return Accesses(frozenset(proved), frozenset(anchors))


def _is_inside(base: _Value, offset: int, size: int, memory: int) -> bool:
    """Whether every address of ``base`` + ``offset`` is one that can be accessed."""
    low, high = base.low + offset, base.high + offset
    if low > MASK:  # all of them wrap
        low, high = low - MASK - 1, high - MASK - 1
    return high + size <= memory and base.step % size == 0 and offset % size == 0


def _peek(stack: list[_Value], below: int) -> _Value:
    return stack[-1 - below] if below < len(stack) else _ANY


def _pop(stack: list[_Value]) -> _Value:
    return stack.pop() if stack else _ANY


def _step(stack: list[_Value], op: Op, code: int) -> None:
    """The effect of a legal word on what is known of the stack's top."""
    operand = code >> 8
    if op is Op.PUSH:
        stack.append(_constant(isa.signed_operand(code) & MASK))
    elif op is Op.HIGH:
        value = _pop(stack)
        exact = value.low == value.high
        stack.append(_constant(value.low & 0xFFFFFF | operand << 24) if exact else _ANY)
    elif op is Op.DUP:
        stack.append(_peek(stack, 0))
    elif op is Op.OVER:
        stack.append(_peek(stack, 1))
    elif op is Op.PICK:
        stack.append(_peek(stack, operand))
    elif op is Op.SWAP:
        b, a = _pop(stack), _pop(stack)
        stack += [b, a]
    elif op is Op.ROT:
        c, b, a = _pop(stack), _pop(stack), _pop(stack)
        stack += [b, c, a]
    elif op is Op.LOAD8:
        _pop(stack)
        stack.append(_Value(0, 255))
    else:
        cost = isa.cost(code)
        taken = [_pop(stack) for _ in range(cost.pops)]
        stack += [_binary(op, taken[1], taken[0]) if len(taken) == 2 else _ANY] * cost.pushes


def _constant(value: int) -> _Value:
    return _Value(value, value, value & -value or _STEP_MAX)


def _binary(op: Op, a: _Value, b: _Value) -> _Value:
    """The values of an instruction with two arguments."""
    if op in (Op.EQ, Op.NE, Op.LTU, Op.LTS):
        return _FLAG
    if op is Op.ADD:
        return _ranged(a.low + b.low, a.high + b.high, min(a.step, b.step))
    if op is Op.MUL:
        return _ranged(a.low * b.low, a.high * b.high, min(a.step * b.step, _STEP_MAX))
    if op is Op.AND:
        return _Value(0, min(a.high, b.high), max(a.step, b.step))
    if op is Op.OR:
        top = max(a.high, b.high).bit_length()
        return _Value(max(a.low, b.low), (1 << top) - 1, min(a.step, b.step))
    if b.low != b.high:
        return _ANY
    return _by_constant(op, a, b.low)


def _by_constant(op: Op, a: _Value, n: int) -> _Value:
    if op is Op.SHL:
        return _ranged(a.low << (n & 31), a.high << (n & 31), min(a.step << (n & 31), _STEP_MAX))
    if op is Op.SHR:
        return _Value(a.low >> (n & 31), a.high >> (n & 31))
    if op is Op.DIVU and n:
        return _Value(a.low // n, a.high // n)
    if op is Op.REMU and n:
        return _Value(0, min(a.high, n - 1))
    return _ANY


def _ranged(low: int, high: int, step: int) -> _Value:
    """A range, or anything of the same step where it would wrap (steps divide 2^32)."""
    return _Value(low, high, step) if high <= MASK else _Value(0, MASK, step)
