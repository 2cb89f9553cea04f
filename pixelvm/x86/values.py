"""The values of a block while it is translated: where each one is, and the code that moves it.

Owns the virtual stack, the registers for values, and where locals are kept. A value on the virtual stack is put where
the machine has it as late as possible: constants, sums with a constant, scaled values and comparisons are code only
once they are used. Decides nothing about instructions; ``translate`` does.

A value is a tuple whose first element is its kind:
``(CONST, number)``, ``(HOME, place)``: in its slot of the stack, counted from the top at the block's start,
``(REG, register)``, ``(LOCAL, number)``, ``(LINEAR, REG or LOCAL in a register, shift, addend)``,
``(FLAG, condition, left, right)``: 1 when it holds, else 0; left is REG or LOCAL in a register, right those or CONST.
"""

from __future__ import annotations

from typing import Any

from pixelvm.isa import MASK
from pixelvm.x86 import encode
from pixelvm.x86.encode import NONE, R8, R9, RAX, RBX, RCX, RDX, RSI, RSP, Mem

CONST, HOME, REG, LOCAL, LINEAR, FLAG = range(6)
TEMPORARIES = (RCX, RDX, R8, R9)
_SCALE_MAX = 3  # of an address, as a power of two

Value = tuple[Any, ...]


class Values:
    """The virtual stack of one block, and the code as far as it is emitted.

    Args:
        out: where code goes.
        homes: the register of each local that has one.

    Attributes:
        stack: values above those that were not yet looked at, the top last.
        under: how many of the values at the block's start ``stack`` has taken over.
        count: of each register the values that use it.
        most: of each register the greatest value that it can hold.
    """

    def __init__(self, out: bytearray, homes: dict[int, int]) -> None:
        self.out, self.homes = out, homes
        self.stack: list[Value] = []
        self.under = 0
        self.count = [0] * 16
        self.most = [MASK] * 16

    # --- the stack -----------------------------------------------------------------------------------------

    def pop(self) -> Value:
        """Take the top; its registers stay taken until ``release``."""
        if self.stack:
            return self.stack.pop()
        self.under += 1
        return (HOME, -self.under)

    def push(self, value: Value) -> None:
        """Push a value whose registers are taken already; one that has its slot must be at that place."""
        self.stack.append(value)

    def reach(self, depth: int) -> None:
        """Take over values until ``stack`` holds ``depth``."""
        while len(self.stack) < depth:
            self.under += 1
            self.stack.insert(0, (HOME, -self.under))

    def copy(self, below: int) -> Value:
        """A second one of the value that many below the top, for the top."""
        self.reach(below + 1)
        at = len(self.stack) - 1 - below
        value = self.stack[at]
        if value[0] == FLAG:
            self._to_slot(at)
            value = self.stack[at]
        if value[0] == HOME:
            value = self.stack[at] = self.in_register(value)
        self.retain(value)
        return value

    def lift(self, depth: int) -> None:
        """The top ``depth`` values (three at most) out of their slots, so that they can change places."""
        self.reach(depth)
        top = range(len(self.stack) - depth, len(self.stack))
        for at in top:
            if self.stack[at][0] == FLAG:  # it may use two registers
                self._to_slot(at)
        for at in top:
            if self.stack[at][0] == HOME:
                self.stack[at] = self.in_register(self.stack[at])

    def loose(self, value: Value) -> Value:
        """The value, no longer in a slot: it can be pushed at another place."""
        return self.in_register(value) if value[0] == HOME else value

    # --- registers -----------------------------------------------------------------------------------------

    def retain(self, value: Value) -> None:
        """One more value uses these registers."""
        for register in _registers(value):
            self.count[register] += 1

    def release(self, *values: Value) -> None:
        """Values that are used no more."""
        for value in values:
            for register in _registers(value):
                self.count[register] -= 1

    def take(self) -> int:
        """A register for a new value, which may hold anything."""
        while True:
            for register in TEMPORARIES:
                if not self.count[register]:
                    self.count[register] = 1
                    self.most[register] = MASK
                    return register
            self._spill()

    def vacate(self, register: int) -> None:
        """Move the values of the stack out of a register, so that an instruction can use it."""
        if not self.count[register]:
            return
        for at, value in enumerate(self.stack):
            if register in _registers(value):
                self._to_slot(at)
        assert not self.count[register]

    def _spill(self) -> None:
        for at, value in enumerate(self.stack):
            if _registers(value):
                self._to_slot(at)
                return
        raise AssertionError("every register is taken by the operands of one instruction")

    def _to_slot(self, at: int) -> None:
        value, place = self.stack[at], at - self.under
        self.store_slot(place, value)
        self.release(value)
        self.stack[at] = (HOME, place)

    def spare(self, value: Value) -> int:
        """A register for what is made of a value that is still needed until then; its own where it can be."""
        for register in _registers(value):
            if self.count[register] == 1:
                return register
        return self.take()

    def in_register(self, value: Value) -> Value:
        """The same value in a register, as REG or LOCAL; not to be written to."""
        kind = value[0]
        if kind == REG or (kind == LOCAL and value[1] in self.homes):
            return value
        register = self._result(value)
        self.move(register, value)
        return (REG, register)

    def plain(self, value: Value) -> Value:
        """A value that can be an operand of an instruction as it is: a constant, in a register or in memory."""
        return self.in_register(value) if value[0] in (LINEAR, FLAG) else value

    def elsewhere(self, register: int) -> int:
        """Move an operand, which is off the stack, to another register."""
        target = self.take()
        self.out += encode.mov(target, register)
        self.count[register] -= 1
        return target

    def _result(self, value: Value) -> int:
        """A register for what is computed from a value, one of its own where nobody else uses that."""
        used = _registers(value)
        while True:
            free = [r for r in used if self.count[r] == used.count(r)]
            free = free or [r for r in TEMPORARIES if not self.count[r]]
            if free:
                self.release(value)
                self.count[free[0]] = 1
                self.most[free[0]] = MASK
                return free[0]
            self._spill()

    def owned(self, value: Value) -> int:
        """The register of a value that nobody else uses and that may be written to."""
        if value[0] == REG and self.count[value[1]] == 1:
            register: int = value[1]
            self.most[register] = MASK
            return register
        if value[0] in (LINEAR, FLAG):
            value = self.in_register(value)
            if self.count[value[1]] == 1:
                self.most[value[1]] = MASK
                return int(value[1])
        register = self.take()
        self.move(register, value)
        self.release(value)
        return register

    def register(self, value: Value) -> int:
        """The register of what ``in_register`` gave."""
        return int(value[1]) if value[0] == REG else self.homes[value[1]]

    def free_local(self, local: int) -> None:
        """Before a local changes: values of the stack that it stands for are kept elsewhere."""
        for at, value in enumerate(self.stack):
            if _uses_local(value, local):
                if value[0] == LOCAL:
                    register = self.take()
                    self.move(register, value)
                    self.stack[at] = (REG, register)
                else:
                    self._to_slot(at)

    def is_local_pending(self, local: int) -> bool:
        """Whether a value of the stack stands for this local."""
        return any(_uses_local(value, local) for value in self.stack)

    # --- code ----------------------------------------------------------------------------------------------

    def slot(self, place: int) -> Mem:
        """A slot of the machine's stack, as long as the depth in rsi is that of the block's start."""
        return Mem(RBX, 4 * place, RSI)

    def memory(self, value: Value) -> Mem | None:
        """Where in memory a value is, if it is there."""
        if value[0] == HOME:
            return self.slot(value[1])
        if value[0] == LOCAL and value[1] not in self.homes:
            return Mem(RSP, 4 * value[1])
        return None

    def move(self, to: int, value: Value) -> None:
        """Code that brings a value into a register; flags and rax may change."""
        kind = value[0]
        if kind == CONST:
            self.out += encode.mov_imm(to, value[1]) if value[1] else encode.alu(encode.XOR, to, to)
        elif kind == LINEAR:
            self._linear(to, value)
        elif kind == FLAG:
            self.compare(value)
            self.out += encode.set_into(value[1], to)
        else:
            memory = self.memory(value)
            if memory is not None:
                self.out += encode.load(to, memory)
            elif self.register(value) != to:
                self.out += encode.mov(to, self.register(value))

    def _linear(self, to: int, value: Value) -> None:
        _, base, shift, addend = value
        register = self.register(base)
        if shift == 0:
            if register == to or not addend:
                if register != to:
                    self.out += encode.mov(to, register)
                if addend:
                    self.out += encode.alu_imm(encode.ADD, to, addend)
            else:
                self.out += encode.lea(to, Mem(register, addend))
        elif shift == 1 and register != to:
            self.out += encode.lea(to, Mem(register, addend, register))
        elif shift <= _SCALE_MAX and addend:
            self.out += encode.lea(to, Mem(NONE, addend, register, shift))
        else:
            if register != to:
                self.out += encode.mov(to, register)
            self.out += encode.shift_imm(encode.SHL, to, shift)
            if addend:
                self.out += encode.alu_imm(encode.ADD, to, addend)

    def compare(self, value: Value) -> None:
        """Set the flags for a FLAG."""
        left, right = self.register(value[2]), value[3]
        if right[0] == CONST:
            if right[1] == 0 and value[1] in (encode.E, encode.NE):
                self.out += encode.test(left, left)
            else:
                self.out += encode.alu_imm(encode.CMP, left, right[1])
        else:
            self.out += encode.alu(encode.CMP, left, self.register(right))

    def store_slot(self, place: int, value: Value) -> None:
        """Put a value into a slot; only rax and the flags change."""
        kind = value[0]
        if kind == CONST:
            self.out += encode.store_imm(self.slot(place), value[1])
            return
        if kind == REG or (kind == LOCAL and value[1] in self.homes):
            source = self.register(value)
        else:
            self.move(RAX, value)
            source = RAX
        self.out += encode.store(self.slot(place), source)

    def flush(self, values: list[Value] | None = None, under: int | None = None) -> int:
        """Put all values into their slots; gives the bytes that the stack has grown. Nothing is released."""
        values = self.stack if values is None else values
        under = self.under if under is None else under
        for at, value in enumerate(values):
            if value[0] != HOME:
                self.store_slot(at - under, value)
        return 4 * (len(values) - under)


def _registers(value: Value) -> tuple[int, ...]:
    """The registers for values that a value uses."""
    kind = value[0]
    if kind == REG:
        return (value[1],)
    if kind == LINEAR:
        return _registers(value[1])
    if kind == FLAG:
        return _registers(value[2]) + _registers(value[3])
    return ()


def _uses_local(value: Value, local: int) -> bool:
    kind = value[0]
    if kind == LOCAL:
        return bool(value[1] == local)
    if kind == LINEAR:
        return _uses_local(value[1], local)
    return kind == FLAG and (_uses_local(value[2], local) or _uses_local(value[3], local))
