"""What each instruction between a block's head and its end becomes.

Owns the choice of code: folding of constants, the form of an operand, the local that takes a result directly, shifts,
rotations. Divisions are ``divisions``'s, loads and stores ``accesses``'s. Knows nothing of blocks, fuel or calls.
"""

from __future__ import annotations

from collections.abc import Callable

from pixelvm import isa
from pixelvm.isa import MASK, Op, System
from pixelvm.reference import signed
from pixelvm.x86 import context, encode
from pixelvm.x86.divisions import Divisions
from pixelvm.x86.encode import RAX, RBX, RCX, Mem
from pixelvm.x86.values import CONST, FLAG, LINEAR, LOCAL, REG, Value

_FOLDED: dict[Op, Callable[[int, int], int]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.AND: lambda a, b: a & b,
    Op.OR: lambda a, b: a | b,
    Op.XOR: lambda a, b: a ^ b,
    Op.SHL: lambda a, b: a << (b & 31),
    Op.SHR: lambda a, b: a >> (b & 31),
    Op.SAR: lambda a, b: signed(a) >> (b & 31),
    Op.EQ: lambda a, b: int(a == b),
    Op.NE: lambda a, b: int(a != b),
    Op.LTU: lambda a, b: int(a < b),
    Op.LTS: lambda a, b: int(signed(a) < signed(b)),
}
_ALU = {Op.ADD: encode.ADD, Op.SUB: encode.SUB, Op.AND: encode.AND, Op.OR: encode.OR, Op.XOR: encode.XOR}
_SHIFTS = {Op.SHL: encode.SHL, Op.SHR: encode.SHR, Op.SAR: encode.SAR}
_CONDITIONS = {Op.EQ: encode.E, Op.NE: encode.NE, Op.LTU: encode.B, Op.LTS: encode.L}
_SWAPPED = {encode.E: encode.E, encode.NE: encode.NE, encode.B: encode.A, encode.L: encode.G}
_COMMUTATIVE = frozenset((Op.ADD, Op.MUL, Op.AND, Op.OR, Op.XOR))
_XORSHIFT = ((encode.SHL, 13), (encode.SHR, 17), (encode.SHL, 5))


class Instructions(Divisions):
    """One instruction after the other; ``step`` is the way in."""

    def step(self, at: int) -> int:
        """Translate the instruction at this place of the block; gives how many it took in, those behind it too."""
        _, word = self.steps[at]
        op, operand = word & 0xFF, word >> 8
        rotation = self._rotation(at) if op in (Op.GET, Op.DUP) else 0
        if rotation:
            return rotation
        binary = op in _FOLDED
        if binary or op in (Op.LOAD8, Op.LOAD32):
            local = self._destination(at + 1)
            if binary:
                stored = self._binary(Op(op), local)
            else:
                stored = self.load(self.steps[at][0], operand, 1 if op == Op.LOAD8 else 4, local)
            return 2 if stored else 1
        _SIMPLE[op](self, at, operand)
        return 1

    def _destination(self, at: int) -> int | None:
        """The local in a register that the next instruction sets."""
        if at < len(self.steps):
            word = self.steps[at][1]
            if word & 0xFF == Op.SET and word >> 8 in self.homes:
                return word >> 8
        return None

    # --- two values ----------------------------------------------------------------------------------------

    def _binary(self, op: Op, local: int | None) -> bool:
        """Whether the result went into ``local``."""
        values = self.values
        b, a = values.pop(), values.pop()
        if a[0] == CONST and (op in _COMMUTATIVE or b[0] == CONST):
            if b[0] == CONST:
                values.push((CONST, _FOLDED[op](a[1], b[1]) & MASK))
                return False
            a, b = b, a
        if op in _CONDITIONS:
            self._compare(_CONDITIONS[op], a, b)
            return False
        if b[0] == CONST and self._with_constant(op, a, b[1]):
            return False
        if local is not None and values.is_local_pending(local):
            local = None
        if op in _SHIFTS:
            if b[0] != CONST:
                self._shift_by_value(op, a, b)
                return False
            target = self._target(a, local)
            self.out += encode.shift_imm(_SHIFTS[op], target, b[1] & 31)
            if op is Op.SHR and local is None:
                values.most[target] = MASK >> (b[1] & 31)
        elif op is Op.ADD and b[0] != CONST and self._sum(a, b, local):
            return local is not None
        elif op is Op.MUL and b[0] == CONST:
            a = values.in_register(a)
            values.release(a)
            target = self.homes[local] if local is not None else values.take()
            self.out += encode.imul_imm(target, values.register(a), b[1])
        else:
            target = self._combine(op, a, b, local)
            if op is Op.AND and b[0] == CONST and local is None:
                values.most[target] = b[1]
        if local is None:
            values.push((REG, target))
        return local is not None

    def _with_constant(self, op: Op, a: Value, b: int) -> bool:
        """What a constant leaves to be done later, or never."""
        values = self.values
        if op is Op.SUB:
            op, b = Op.ADD, -b & MASK
        if op is Op.MUL and b and b & (b - 1) == 0:
            op, b = Op.SHL, b.bit_length() - 1
        if op in _SHIFTS:
            b &= 31
        if b == 0 and op in (Op.ADD, Op.OR, Op.XOR, Op.SHL, Op.SHR, Op.SAR):
            values.push(values.loose(a))
            return True
        if op not in (Op.ADD, Op.SHL):
            return False
        if a[0] != LINEAR:
            a = (LINEAR, values.in_register(a), 0, 0)
        _, base, shift, addend = a
        if op is Op.ADD:
            values.push((LINEAR, base, shift, (addend + b) & MASK))
        elif shift + b <= 31:
            values.push((LINEAR, base, shift + b, addend << b & MASK))
        else:
            values.release(a)
            values.push((CONST, addend << b & MASK))
        return True

    def _target(self, a: Value, local: int | None) -> int:
        """A register that holds ``a`` and takes the result."""
        values = self.values
        if local is None:
            return values.owned(a)
        values.move(self.homes[local], a)
        values.release(a)
        return self.homes[local]

    def _combine(self, op: Op, a: Value, b: Value, local: int | None) -> int:
        values = self.values
        b = values.plain(b)
        if op in _COMMUTATIVE and local is not None and b == (LOCAL, local):
            a, b = b, values.plain(a)
        elif local is not None and b == (LOCAL, local):
            kept = values.take()
            values.move(kept, b)
            b = (REG, kept)
        elif op in _COMMUTATIVE and local is None and self._is_free(b) and not self._is_free(a):
            a, b = b, values.plain(a)
        target = self._target(a, local)
        memory = values.memory(b)
        if b[0] == CONST:
            self.out += encode.alu_imm(_ALU[op], target, b[1])
        elif op is Op.MUL:
            source = values.register(b) if memory is None else 0
            self.out += encode.imul(target, source) if memory is None else encode.imul_mem(target, memory)
        elif memory is not None:
            self.out += encode.alu_mem(_ALU[op], target, memory)
        else:
            self.out += encode.alu(_ALU[op], target, values.register(b))
        values.release(b)
        return target

    def _is_free(self, value: Value) -> bool:
        return value[0] == REG and self.values.count[value[1]] == 1

    def _sum(self, a: Value, b: Value, local: int | None) -> bool:
        """A sum that one ``lea`` computes where neither operand can be given up; whether it was one."""
        values = self.values
        if a[0] != LINEAR and b[0] == LINEAR:
            a, b = b, a
        if local is not None and (LOCAL, local) in (a, b):
            return False
        if a[0] == LINEAR and a[2] > 3:
            return False
        if a[0] != LINEAR and (self._is_free(a) or self._is_free(b)):
            return False
        if a[0] != LINEAR and (values.memory(a) or values.memory(b)):
            return False
        b = values.in_register(b)
        if a[0] != LINEAR:
            a = (LINEAR, values.in_register(a), 0, 0)
        _, base, shift, addend = a
        mem = Mem(values.register(b), addend, values.register(base), shift)
        values.release(a, b)
        if local is not None:
            self.out += encode.lea(self.homes[local], mem)
        else:
            target = values.take()
            self.out += encode.lea(target, mem)
            values.push((REG, target))
        return True

    def _compare(self, condition: int, a: Value, b: Value) -> None:
        values = self.values
        if a[0] == FLAG and b == (CONST, 0) and condition in (encode.E, encode.NE):
            values.push((FLAG, a[1] ^ (condition == encode.E), a[2], a[3]))
            return
        if a[0] == CONST:
            a, b, condition = b, a, _SWAPPED[condition]
        a = values.in_register(a)
        if b[0] != CONST:
            b = values.in_register(b)
        values.push((FLAG, condition, a, b))

    def _shift_by_value(self, op: Op, a: Value, b: Value) -> None:
        values = self.values
        target = values.owned(a)
        if target == RCX:
            target = values.elsewhere(RCX)
        count = values.in_register(b)
        if values.register(count) != RCX:
            values.vacate(RCX)
            self.out += encode.mov(RCX, values.register(count))
        self.out += encode.shift_cl(_SHIFTS[op], target)
        values.release(count)
        values.push((REG, target))

    # --- the others ----------------------------------------------------------------------------------------

    def _rotation(self, at: int) -> int:
        """``x n shr x m shl or`` where n + m is 32, x a local or the top: one rotation; how many it took in."""
        words = [word for _, word in self.steps[at : at + 7]]
        if len(words) < 6 or words[1] & 0xFF != Op.PUSH:
            return 0
        first, second = words[2] & 0xFF, words[5] & 0xFF
        again = words[0] if words[0] & 0xFF == Op.GET else Op.SWAP
        if len(words) < 7 or {first, second} != {Op.SHL, Op.SHR} or words[3] != again:
            return 0
        if words[4] & 0xFF != Op.PUSH or words[6] not in (Op.OR, Op.ADD, Op.XOR):
            return 0
        one, other = words[1] >> 8, words[4] >> 8
        if one + other != 32 or not 0 < one < 32:
            return 0
        value = (LOCAL, words[0] >> 8) if words[0] & 0xFF == Op.GET else self.values.pop()
        target = self.values.owned(value)
        self.out += encode.shift_imm(encode.ROR, target, one if first == Op.SHR else other)
        self.values.push((REG, target))
        return 7

    def _set(self, at: int, local: int) -> None:
        values = self.values
        value = values.pop()
        values.free_local(local)
        if local in self.homes:
            values.move(self.homes[local], value)
        elif value[0] == CONST:
            self.out += encode.store_imm(Mem(encode.RSP, 4 * local), value[1])
        else:
            value = values.in_register(value)
            self.out += encode.store(Mem(encode.RSP, 4 * local), values.register(value))
        values.release(value)

    def _high(self, at: int, operand: int) -> None:
        values = self.values
        value = values.pop()
        if value[0] == CONST:
            values.push((CONST, value[1] & 0xFFFFFF | operand << 24))
            return
        target = values.owned(value)
        self.out += encode.alu_imm(encode.AND, target, 0xFFFFFF)
        if operand:
            self.out += encode.alu_imm(encode.OR, target, operand << 24)
        values.push((REG, target))

    def _swap(self, at: int, operand: int) -> None:
        self.values.lift(2)
        stack = self.values.stack
        stack[-2:] = [stack[-1], stack[-2]]

    def _rot(self, at: int, operand: int) -> None:
        self.values.lift(3)
        stack = self.values.stack
        stack[-3:] = [stack[-2], stack[-1], stack[-3]]

    def _random(self, at: int, operand: int) -> None:
        assert operand == System.RANDOM
        values = self.values
        target = values.take()
        seed = Mem(RBX, context.SEED)
        self.out += encode.load(target, seed)
        for shift, count in _XORSHIFT:
            self.out += encode.mov(RAX, target) + encode.shift_imm(shift, RAX, count)
            self.out += encode.alu(encode.XOR, target, RAX)
        self.out += encode.store(seed, target)
        values.push((REG, target))


def _push(made: Instructions, at: int, operand: int) -> None:
    made.values.push((CONST, isa.signed_operand(made.steps[at][1]) & MASK))


def _drop(made: Instructions, at: int, operand: int) -> None:
    made.values.release(made.values.pop())


def _copied(below: int) -> Callable[[Instructions, int, int], None]:
    return lambda made, at, operand: made.values.push(made.values.copy(below))


def _divided(op: Op) -> Callable[[Instructions, int, int], None]:
    return lambda made, at, operand: made.divide(made.steps[at][0], op)


def _stored(size: int) -> Callable[[Instructions, int, int], None]:
    return lambda made, at, operand: made.store(made.steps[at][0], operand, size)


_SIMPLE: dict[int, Callable[[Instructions, int, int], None]] = {
    Op.PUSH: _push,
    Op.HIGH: Instructions._high,
    Op.DUP: _copied(0),
    Op.OVER: _copied(1),
    Op.PICK: lambda made, at, operand: made.values.push(made.values.copy(operand)),
    Op.DROP: _drop,
    Op.SWAP: Instructions._swap,
    Op.ROT: Instructions._rot,
    Op.GET: lambda made, at, operand: made.values.push((LOCAL, operand)),
    Op.SET: Instructions._set,
    Op.SYS: Instructions._random,
    Op.JUMP: lambda made, at, operand: None,
    Op.STORE8: _stored(1),
    Op.STORE32: _stored(4),
    Op.DIVU: _divided(Op.DIVU),
    Op.DIVS: _divided(Op.DIVS),
    Op.REMU: _divided(Op.REMU),
    Op.REMS: _divided(Op.REMS),
}
