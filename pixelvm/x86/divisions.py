"""Divisions in translated code: by zero they leave, by a power of two they are none, and -2^31 / -1 never traps.

Owns ``div`` and ``idiv`` with their fixed registers (Intel SDM volume 2: both raise #DE where the quotient does not
fit, which the tests before them exclude).
"""

from __future__ import annotations

from pixelvm.isa import MASK, Op
from pixelvm.x86 import encode
from pixelvm.x86.accesses import Accesses
from pixelvm.x86.encode import RAX, RDX
from pixelvm.x86.values import CONST, REG, Value

_MINUS_ONE = -1 & MASK


class Divisions(Accesses):
    """Quotients and remainders."""

    def divide(self, pc: int, op: Op) -> None:
        """A division; the divisor 0 leaves before it."""
        values = self.values
        b, a = values.pop(), values.pop()
        constant = b[1] if b[0] == CONST else None
        unsigned = op in (Op.DIVU, Op.REMU)
        if constant and unsigned and constant & (constant - 1) == 0:
            target = values.owned(a)
            if op is Op.REMU:
                self.out += encode.alu_imm(encode.AND, target, constant - 1)
                values.most[target] = constant - 1
            elif constant > 1:
                self.out += encode.shift_imm(encode.SHR, target, constant.bit_length() - 1)
            values.push((REG, target))
            return
        divisor = values.in_register(b)
        a = values.plain(a)
        divisor, a = self._out_of_rdx(divisor), self._out_of_rdx(a)
        values.vacate(RDX)  # the dividend's upper half
        register = values.register(divisor)
        if not constant:
            self.out += encode.test(register, register)
            self.trap(pc, encode.E, (a, divisor))
        values.move(RAX, a)
        if unsigned:
            self.out += encode.alu(encode.XOR, RDX, RDX) + encode.group3(encode.DIV, register)
        else:
            self._divide_signed(op, register, constant)
        values.release(a, divisor)
        target = values.take()
        source = RAX if op in (Op.DIVU, Op.DIVS) else RDX
        if target != source:
            self.out += encode.mov(target, source)
        if op is Op.REMU and constant:
            values.most[target] = constant - 1
        values.push((REG, target))

    def _divide_signed(self, op: Op, register: int, constant: int | None) -> None:
        """``idiv``, but for the divisor -1, with which it traps for -2^31."""
        ends = []
        if constant is None or constant == _MINUS_ONE:
            self.out += encode.alu_imm(encode.CMP, register, -1)
            usual = self.jump(encode.NE)
            if op is Op.DIVS:
                self.out += encode.group3(encode.NEG, RAX)
            else:
                self.out += encode.alu(encode.XOR, RDX, RDX)
            ends.append(self.jump())
            self.fix([usual])
        self.out += encode.cdq() + encode.group3(encode.IDIV, register)
        self.fix(ends)

    def _out_of_rdx(self, value: Value) -> Value:
        if value[0] != REG or value[1] != RDX:
            return value
        return (REG, self.values.elsewhere(RDX))
