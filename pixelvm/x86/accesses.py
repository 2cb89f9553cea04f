"""Loads and stores in translated code, with their checks; and the stubs that lie behind the blocks of a unit.

Owns bounds and alignment: a test is left out only where what stands before it in the block leaves no address that
could fail, as seen here or by the program's verifier. The usual path compares once; an address that wraps around takes
a longer way and comes back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from pixelvm.isa import MASK
from pixelvm.x86 import encode
from pixelvm.x86.encode import R15, RAX, Mem
from pixelvm.x86.values import CONST, LINEAR, REG, Value, Values

_SCALE_MAX = 3
_WORD = 4
_WORD_SHIFT = 2


class Accesses:
    """Code of one unit as it grows.

    Args:
        memory: bytes of the machine's memory.
        homes: the register of each local that has one.
        proved: ``pc`` of the accesses that cannot trap where the block is ``anchored``.

    Attributes:
        out: the code.
        values: the virtual stack of the block.
        steps: ``pc`` and word of the block's instructions.
        refund: fuel that the block has charged for the instruction at hand and those behind it.
        anchored: the block has come by a place from which on ``proved`` holds.
    """

    def __init__(self, memory: int, homes: dict[int, int], proved: frozenset[int]) -> None:
        self.memory, self.homes, self._proved = memory, homes, proved
        self.anchored = False
        self.out = bytearray()
        self.values = Values(self.out, homes)
        self.steps: list[tuple[int, int]] = []
        self.refund = 0
        self._stubs: list[Callable[[], None]] = []

    def begin(self, steps: list[tuple[int, int]]) -> None:
        """A block begins."""
        self.values = Values(self.out, self.homes)
        self.steps = steps
        self.anchored = False

    # --- jumps and stubs -----------------------------------------------------------------------------------

    def jump(self, condition: int | None = None) -> int:
        """A jump to a place that is not known yet; gives where its distance is to be filled in."""
        self.out += encode.JUMP if condition is None else encode.jump_if(condition)
        self.out += bytes(4)
        return len(self.out) - 4

    def fix(self, places: list[int], target: int | None = None) -> None:
        """Fill in the distances to ``target``, or to what follows here."""
        target = len(self.out) if target is None else target
        for place in places:
            struct.pack_into("<i", self.out, place, target - place - 4)

    def later(self, stub: Callable[[], None]) -> None:
        """Code that is to lie behind the blocks."""
        self._stubs.append(stub)

    def stubs(self) -> None:
        """The code that lies behind the blocks."""
        for stub in self._stubs:  # which may ask for more
            stub()
        self._stubs.clear()

    def refuse(self, pc: int, operands: tuple[Value, ...] = ()) -> list[int]:
        """The stub that leaves before the instruction at ``pc``; ``operands`` are off the stack already.

        Gives a list for the jumps to it, which can be added to until the stub is made.
        """
        places: list[int] = []
        values, under, refund = [*self.values.stack, *operands], self.values.under, self.refund

        def stub() -> None:
            if places:
                self.fix(places)
                self.leave_before(pc, refund, values, under)

        self.later(stub)
        return places

    def trap(self, pc: int, condition: int, operands: tuple[Value, ...] = ()) -> None:
        """Leave before the instruction at ``pc`` when the condition holds."""
        self.refuse(pc, operands).append(self.jump(condition))

    def leave_before(self, pc: int, refund: int, values: list[Value], under: int) -> None:
        """Code that leaves with the state as it is before the instruction at ``pc``."""
        raise NotImplementedError

    # --- accesses ------------------------------------------------------------------------------------------

    def load(self, pc: int, offset: int, size: int, local: int | None) -> bool:
        """A load, into ``local`` where that may be; whether it went there."""
        values = self.values
        address = self._address(values.pop())
        if local is not None and values.is_local_pending(local):
            local = None
        emit = encode.load if size == _WORD else encode.load_byte
        target = self.homes[local] if local is not None else values.spare(address)
        self._access(pc, address, offset, size, lambda mem: emit(target, mem), (address,))
        values.release(address)
        if local is None:
            values.count[target] = 1
            values.most[target] = MASK if size == _WORD else 0xFF
            values.push((REG, target))
        return local is not None

    def store(self, pc: int, offset: int, size: int) -> None:
        """A store."""
        values = self.values
        value = values.pop()
        if value[0] != CONST:
            value = values.in_register(value)
        address = self._address(values.pop())

        def access(mem: Mem) -> bytes:
            if value[0] == CONST:
                return (encode.store_imm if size == _WORD else encode.store_byte_imm)(mem, value[1])
            return (encode.store if size == _WORD else encode.store_byte)(mem, values.register(value))

        self._access(pc, address, offset, size, access, (address, value))
        values.release(address, value)

    def _address(self, value: Value) -> Value:
        """An address as CONST, or as LINEAR with a scale that x86 has."""
        if value[0] == CONST or (value[0] == LINEAR and value[2] <= _SCALE_MAX):
            return value
        return (LINEAR, self.values.in_register(value), 0, 0)

    def _access(
        self,
        pc: int,
        address: Value,
        offset: int,
        size: int,
        access: Callable[[Mem], bytes],
        operands: tuple[Value, ...],
    ) -> None:
        """The test of an address, and the access."""
        if address[0] == CONST:
            at = (address[1] + offset) & MASK
            if at % size or at + size > self.memory:
                self.refuse(pc, operands).append(self.jump())
                return
            self.out += access(Mem(R15, at))
            return
        values = self.values
        _, base, shift, addend = address
        addend = (addend + offset) & MASK
        whole = (LINEAR, base, shift, addend)
        limit = self.memory - size - addend
        register = values.register(base)
        aligned = size == 1 or (shift >= _WORD_SHIFT and addend % size == 0)
        most = values.most[register] if base[0] == REG else MASK
        mem = Mem(R15, addend, register, shift)
        if aligned and most << shift <= limit:
            self.out += access(mem)
            return
        if self.anchored and pc in self._proved:
            values.move(RAX, whole)
            self.out += access(Mem(R15, 0, RAX))
            return
        if limit < 0 or addend % size:
            traps = self.refuse(pc, operands)
            self.out += access(self._tested(whole, size, traps))
            return
        if aligned:
            self.out += encode.alu_imm(encode.CMP, register, limit >> shift)
        else:
            values.move(RAX, (LINEAR, base, shift, 0))
            self.out += encode.shift_imm(encode.ROR, RAX, _WORD_SHIFT)
            self.out += encode.alu_imm(encode.CMP, RAX, limit >> _WORD_SHIFT)
            mem = Mem(R15, addend, RAX, _WORD_SHIFT)
        long = self.jump(encode.A)
        self.out += access(mem)
        back = len(self.out)
        self.later(lambda: self._long_way(long, back, whole, size, access, traps))
        traps = self.refuse(pc, operands)

    def _long_way(
        self,
        long: int,
        back: int,
        whole: Value,
        size: int,
        access: Callable[[Mem], bytes],
        traps: list[int],
    ) -> None:
        """The stub of an address that the usual path found too large: it may wrap around."""
        self.fix([long])
        self.out += access(self._tested(whole, size, traps))
        self.fix([self.jump()], back)

    def _tested(self, whole: Value, size: int, traps: list[int]) -> Mem:
        """Code that computes an address modulo 2^32 and tests it; a word's is rotated, so that one test does both."""
        if self.memory < size:
            traps.append(self.jump())
            return Mem(R15)
        self.values.move(RAX, whole)
        if size == 1:
            self.out += encode.alu_imm(encode.CMP, RAX, self.memory - 1)
            traps.append(self.jump(encode.A))
            return Mem(R15, 0, RAX)
        self.out += encode.shift_imm(encode.ROR, RAX, _WORD_SHIFT)
        self.out += encode.alu_imm(encode.CMP, RAX, (self.memory - size) >> _WORD_SHIFT)
        traps.append(self.jump(encode.A))
        return Mem(R15, 0, RAX, _WORD_SHIFT)
