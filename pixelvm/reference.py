"""The reference engine: the Pixel VM in plain Python, written to be compared with SPEC.md line by line.

Owns the meaning of every instruction; where another engine differs from it, the other one is wrong. Clear before
fast: about a million instructions a second. Never trusts a program: every check is made, every time.
"""

from __future__ import annotations

from collections.abc import Callable

from pixelvm import isa
from pixelvm.host import Host
from pixelvm.isa import MASK, Op, Stop, System
from pixelvm.program import Program
from pixelvm.state import State


class _Trapped(Exception):
    """An instruction that cannot be carried out; nothing of it has happened yet."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop)
        self.stop = stop


def run(program: Program, state: State, host: Host) -> Stop:
    """Run until it halts, traps or wants more fuel than ``state.fuel``.

    A state that has stopped for another reason than fuel stays as it is.

    Args:
        program: within bounds (``program.checked``).
        state: of this program; changed in place.
        host: what its system calls reach.

    Returns:
        Why it stopped, which is ``state.stop`` too.
    """
    if state.stop is Stop.FUEL:
        state.stop = Stop.RUNNING
    while state.stop is Stop.RUNNING:
        step(program, state, host)
    return state.stop


def step(program: Program, state: State, host: Host) -> Stop:
    """One instruction of a state that is ``RUNNING``: it happens whole, or not at all and says why."""
    if state.pc >= len(program.code) or not isa.is_legal(program.code[state.pc], len(program.code)):
        state.stop = Stop.ILLEGAL
        return state.stop
    code = program.code[state.pc]
    cost = isa.cost(code)
    if state.fuel < cost.fuel:
        state.stop = Stop.FUEL
    elif len(state.stack) < cost.needs:
        state.stop = Stop.UNDERFLOW
    elif len(state.stack) - cost.pops + cost.pushes > isa.STACK_SLOTS:
        state.stop = Stop.OVERFLOW
    else:
        try:
            _execute(code, state, host)
            state.fuel -= cost.fuel
        except _Trapped as trapped:
            state.stop = trapped.stop
    return state.stop


def signed(value: int) -> int:
    """A 32-bit value as two's complement."""
    return value - (1 << 32) if value >> 31 else value


def _execute(code: int, state: State, host: Host) -> None:
    """The effect of an instruction that is legal, paid for and has its values."""
    op, operand, stack = Op(code & 0xFF), code >> 8, state.stack
    after = state.pc + 1
    if op in _BINARY:
        value = _BINARY[op](stack[-2], stack[-1])
        stack[-2:] = [value & MASK]
    elif op in _SHUFFLES:
        _SHUFFLES[op](stack)
    elif op is Op.PUSH:
        stack.append(isa.signed_operand(code) & MASK)
    elif op is Op.HIGH:
        stack[-1] = stack[-1] & 0x00FFFFFF | operand << 24
    elif op is Op.PICK:
        stack.append(stack[-1 - operand])
    elif op in _MEMORY:
        _MEMORY[op](state, operand)
    elif op is Op.GET:
        stack.append(state.locals[-1][operand])
    elif op is Op.SET:
        state.locals[-1][operand] = stack.pop()
    elif op is Op.SYS:
        _CALLS[System(operand)](state, host)
    elif op is Op.HALT:
        state.stop, state.result, after = Stop.HALTED, operand, state.pc
    else:
        after = _control(op, operand, state)
    state.pc = after


def _control(op: Op, operand: int, state: State) -> int:
    """Where a program goes on."""
    after = state.pc + 1
    if op is Op.JUMP:
        return operand
    if op is Op.JZ:
        return operand if state.stack.pop() == 0 else after
    if op is Op.JNZ:
        return operand if state.stack.pop() != 0 else after
    if op is Op.CALL:
        if len(state.locals) == isa.FRAMES:
            raise _Trapped(Stop.CALLS)
        state.returns.append(after)
        state.locals.append([0] * isa.LOCALS)
        return operand
    assert op is Op.RET
    if not state.returns:
        raise _Trapped(Stop.RETURN)
    state.locals.pop()
    return state.returns.pop()


def _divisor(value: int) -> int:
    if value == 0:
        raise _Trapped(Stop.DIVISION)
    return value


def _divs(a: int, b: int) -> int:
    quotient = abs(signed(a)) // abs(signed(_divisor(b)))
    return quotient if (a ^ b) >> 31 == 0 else -quotient


def _rems(a: int, b: int) -> int:
    remainder = abs(signed(a)) % abs(signed(_divisor(b)))
    return -remainder if a >> 31 else remainder


_BINARY: dict[Op, Callable[[int, int], int]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIVU: lambda a, b: a // _divisor(b),
    Op.DIVS: _divs,
    Op.REMU: lambda a, b: a % _divisor(b),
    Op.REMS: _rems,
    Op.AND: lambda a, b: a & b,
    Op.OR: lambda a, b: a | b,
    Op.XOR: lambda a, b: a ^ b,
    Op.SHL: lambda a, n: a << (n & 31),
    Op.SHR: lambda a, n: a >> (n & 31),
    Op.SAR: lambda a, n: signed(a) >> (n & 31),
    Op.EQ: lambda a, b: int(a == b),
    Op.NE: lambda a, b: int(a != b),
    Op.LTU: lambda a, b: int(a < b),
    Op.LTS: lambda a, b: int(signed(a) < signed(b)),
}


def _swap(stack: list[int]) -> None:
    stack[-2:] = [stack[-1], stack[-2]]


def _rot(stack: list[int]) -> None:
    stack[-3:] = [stack[-2], stack[-1], stack[-3]]


_SHUFFLES: dict[Op, Callable[[list[int]], object]] = {
    Op.DUP: lambda stack: stack.append(stack[-1]),
    Op.DROP: lambda stack: stack.pop(),
    Op.SWAP: _swap,
    Op.OVER: lambda stack: stack.append(stack[-2]),
    Op.ROT: _rot,
}


def _address(state: State, base: int, offset: int, size: int) -> int:
    """The address of an access of ``size`` bytes, checked."""
    address = (base + offset) & MASK
    if address % size:
        raise _Trapped(Stop.ALIGNMENT)
    if address + size > len(state.memory):
        raise _Trapped(Stop.BOUNDS)
    return address


def _load(size: int) -> Callable[[State, int], None]:
    def load(state: State, offset: int) -> None:
        at = _address(state, state.stack[-1], offset, size)
        state.stack[-1] = int.from_bytes(state.memory[at : at + size], "little")

    return load


def _store(size: int) -> Callable[[State, int], None]:
    def store(state: State, offset: int) -> None:
        at = _address(state, state.stack[-2], offset, size)
        value = state.stack[-1] & ((1 << 8 * size) - 1)
        state.memory[at : at + size] = value.to_bytes(size, "little")
        del state.stack[-2:]

    return store


_MEMORY: dict[Op, Callable[[State, int], None]] = {
    Op.LOAD8: _load(1),
    Op.STORE8: _store(1),
    Op.LOAD32: _load(4),
    Op.STORE32: _store(4),
}


def _putc(state: State, host: Host) -> None:
    host.put(state.written, state.stack.pop() & 0xFF)
    state.written = (state.written + 1) & MASK


def _getc(state: State, host: Host) -> None:
    byte = host.get(state.read)
    if byte is None:
        state.stack.append(MASK)
        return
    state.stack.append(byte & 0xFF)
    state.read = (state.read + 1) & MASK


def _random(state: State, host: Host) -> None:
    state.seed = isa.next_random(state.seed)
    state.stack.append(state.seed)


def _plot(state: State, host: Host) -> None:
    x, y, colour = state.stack[-3:]
    del state.stack[-3:]
    host.plot(x, y, colour)


def _pixel(state: State, host: Host) -> None:
    x, y = state.stack[-2:]
    state.stack[-2:] = [host.pixel(x, y) & MASK]


def _receive(state: State, host: Host) -> None:
    word = host.receive()
    state.stack += [0, 0] if word is None else [word & MASK, 1]


_CALLS: dict[System, Callable[[State, Host], object]] = {
    System.PUTC: _putc,
    System.GETC: _getc,
    System.TIME: lambda state, host: state.stack.append(host.milliseconds() & MASK),
    System.RANDOM: _random,
    System.SIZE: lambda state, host: state.stack.extend(side & MASK for side in host.size()),
    System.PLOT: _plot,
    System.PIXEL: _pixel,
    System.SHOW: lambda state, host: host.show(),
    System.SEND: lambda state, host: state.stack.append(int(host.send(state.stack.pop()))),
    System.RECEIVE: _receive,
}
