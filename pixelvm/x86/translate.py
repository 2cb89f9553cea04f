"""From the words that one place leads to, to x86-64 machine code: a unit.

Owns the code of a block's head and end, of calls and returns, and of every way out. What instructions between them do
is ``instructions``'s. A block charges its fuel and checks the stack's depth once, at its head; what a
proof of the program excludes is not checked. An instruction that
cannot be carried out leaves through a stub that puts the state back to what it was before it; the reference then
decides what it is. So does a head whose check fails: somewhere in that block the machine stops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from pixelvm import isa
from pixelvm.isa import Op, System
from pixelvm.verifier import Verdict
from pixelvm.x86 import context, encode
from pixelvm.x86.blocks import Block, Walk
from pixelvm.x86.encode import RBP, RBX, RSI, RSP, Mem
from pixelvm.x86.instructions import Instructions
from pixelvm.x86.values import CONST, FLAG, Value

REGISTERS = (encode.R10, encode.R11, encode.R12, encode.R13, encode.R14, encode.RDI)  # of locals
_CALL_COST = 2  # uses of a local that saving and loading it around a call costs
_RANDOM = isa.word(Op.SYS, System.RANDOM)
_GROUP = 4  # locals that are zeroed by one store


class Slot(NamedTuple):
    """Code in another unit: the block at ``pc``; ``called``: its frame is new and its locals are 0."""

    pc: int
    called: bool


class Unit(NamedTuple):
    """Machine code and where its parts are, as offsets.

    Attributes:
        code: the bytes.
        entries: ``pc`` of each block, and where to go on there with locals in memory.
        calls: ``pc`` of each block that is called, and where to go on there with a new frame.
        returns: where callees return to, and ``pc`` behind the call; a call can be in several blocks.
        missing: the slots that it uses, and the code that leaves for want of theirs.
        cut: where it ends only because it is long enough.
    """

    code: bytes
    entries: dict[int, int]
    calls: dict[int, int]
    returns: dict[int, int]
    missing: dict[Slot, int]
    cut: set[int]


class Scope(NamedTuple):
    """What a unit must know of the program and of other units.

    Attributes:
        code: the words.
        memory: bytes of memory.
        known: whether another unit has a block at a place.
        slot: offset in the context of the address of a slot.
        proof: what need not be checked, for states that it covers; None: everything is.
    """

    code: tuple[int, ...]
    memory: int
    known: Callable[[int], bool]
    slot: Callable[[Slot], int]
    proof: Verdict | None = None


class Translator(Instructions):
    """The translation of one unit."""

    def __init__(self, scope: Scope, start: int) -> None:
        self.walk = Walk(scope.code, start, scope.known)
        homes, self.written = _homes(self.walk)
        proof = scope.proof
        super().__init__(scope.memory, homes, proof.accesses if proof else frozenset())
        self._anchors: frozenset[int] = proof.anchors if proof else frozenset()
        self._stack_proved, self._calls_proved = proof is not None, proof is not None and proof.calls
        self.scope, self.start, self.inside = scope, start, self.walk.inside
        self._heads: dict[int, int] = {}
        self._edges: list[tuple[int, int]] = []  # where a distance is to be filled in, and the block's pc
        self._outside: defaultdict[int, list[int]] = defaultdict(list)  # the same, of blocks of other units
        self._called: defaultdict[int, list[int]] = defaultdict(list)  # the same, of calls within the unit
        self._leaves: list[int] = []  # where a distance to the common way out is to be filled in
        self._todo: list[int] = []
        self._slots: set[Slot] = set()
        self._calls = {start: 0}
        self._returns: dict[int, int] = {}

    def unit(self) -> Unit:
        """Translate."""
        self._call_entry()
        self._todo.append(self.start)
        while self._todo:
            pc = self._todo.pop()
            if pc not in self._heads:
                self._heads[pc] = len(self.out)
                self._block(self.walk.block(pc))
        for pc, places in self._called.items():
            if pc != self.start:
                self._calls[pc] = len(self.out)
                self._call_entry()
                self._edge(self.jump(), pc)
            self.fix(places, self._calls[pc])
        for pc, places in self._outside.items():
            self.fix(places)
            self._spill_locals()
            self._jump_slot(Slot(pc, False))
        self.stubs()
        missing = {slot: self._missing(slot) for slot in sorted(self._slots)}
        entries = {pc: self._entry(pc) for pc in self._heads}
        for place, pc in self._edges:
            self.fix([place], self._heads[pc])
        self.fix(self._leaves)
        self._spill_locals()
        self.out += encode.jump_mem(Mem(RBX, context.EXIT))
        return Unit(bytes(self.out), entries, self._calls, self._returns, missing, self.walk.cut)

    # --- blocks --------------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        self.begin(block.steps)
        if not block.steps:
            self._leave(block.start, context.SLOW)
            return
        heads = []
        self.out += encode.alu_imm(encode.SUB, RBP, block.fuel)
        heads.append(self.jump(encode.B))
        if block.needs > 0 and not self._stack_proved:
            self.out += encode.alu_imm(encode.CMP, RSI, 4 * block.needs)
            heads.append(self.jump(encode.B))
        if block.growth > 0 and not self._stack_proved:
            self.out += encode.alu_imm(encode.CMP, RSI, 4 * (isa.STACK_SLOTS - block.growth))
            heads.append(self.jump(encode.A))
        self.later(lambda: self._refuse(heads, block))
        refund = block.fuel
        last = len(block.steps) - 1
        at = 0
        while at <= last:
            pc, word = block.steps[at]
            self.refund = refund
            self.anchored |= pc in self._anchors
            if at == last and word & 0xFF in _LAST and word != _RANDOM:
                self._last(block, pc, word)
                return
            done = self.step(at)
            for _, spent in block.steps[at : at + done]:
                refund -= isa.cost(spent).fuel
            at += done
        assert block.after is not None
        self._settle()
        self._go(block.after)

    def _refuse(self, heads: list[int], block: Block) -> None:
        self.fix(heads)
        self.out += encode.alu_imm(encode.ADD, RBP, block.fuel)
        self._leave(block.start, context.SLOW)

    def _last(self, block: Block, pc: int, word: int) -> None:
        """An instruction that only ends a block."""
        op, operand = Op(word & 0xFF), word >> 8
        if op in (Op.JZ, Op.JNZ):
            self._branch(op, operand, pc + 1)
        elif op is Op.CALL:
            self._call(pc, operand)
        elif op is Op.RET:
            if not self._stack_proved:
                self.out += encode.cmp_wide_mem(RSP, Mem(RBX, context.BOTTOM))
                self.trap(pc, encode.E)
            self._settle()
            self.out += encode.alu_imm(encode.ADD, RSP, context.FRAME, wide=1)
            self.out += encode.ret()
        else:
            self._settle()
            self._leave(pc, context.HALT if op is Op.HALT else context.SYSTEM)
            if op is Op.SYS and pc + 1 in self.inside:
                self._todo.append(pc + 1)

    def _branch(self, op: Op, target: int, after: int) -> None:
        flag = self.values.pop()
        if flag[0] == CONST:
            self._settle()
            self._go(target if (flag[1] == 0) == (op is Op.JZ) else after)
            return
        if flag[0] != FLAG:
            flag = (FLAG, encode.NE, self.values.in_register(flag), (CONST, 0))
        self._settle()
        self.values.compare(flag)
        condition = flag[1] if op is Op.JNZ else flag[1] ^ 1
        if after in self._heads and target in self.inside and target not in self._heads:
            target, after, condition = after, target, condition ^ 1
        self._edge(self.jump(condition), target)
        self._go(after)

    def _settle(self) -> None:
        """Everything on the stack into its slots, rsi to the depth."""
        grown = self.values.flush()
        if grown:
            self.out += encode.alu_imm(encode.ADD, RSI, grown)

    def _go(self, pc: int) -> None:
        if pc in self.inside and pc not in self._heads:
            self._todo.append(pc)  # the next one taken from there: it follows here
            return
        self._edge(self.jump(), pc)

    def _edge(self, place: int, pc: int) -> None:
        if pc in self.inside:
            self._edges.append((place, pc))
            if pc not in self._heads:
                self._todo.append(pc)
        else:
            self._outside[pc].append(place)

    # --- calls ---------------------------------------------------------------------------------------------

    def _call(self, pc: int, target: int) -> None:
        if not self._calls_proved:
            self.out += encode.cmp_wide_mem(RSP, Mem(RBX, context.LAST))
            self.trap(pc, encode.BE)
        self._settle()
        self._spill_locals()
        if target in self.inside:
            self.out += encode.CALL + bytes(4)
            self._called[target].append(len(self.out) - 4)
            self._todo.append(target)
        else:
            slot = Slot(target, True)
            self._slots.add(slot)
            self.out += encode.call_mem(Mem(RBX, self.scope.slot(slot)))
        self._returns[len(self.out)] = pc + 1
        self._load_locals()
        self._go(pc + 1)

    def _call_entry(self) -> None:
        """What a callee does first; its block follows."""
        self._new_frame()
        for register in self.homes.values():
            self.out += encode.alu(encode.XOR, register, register)

    def _new_frame(self) -> None:
        self.out += encode.alu_imm(encode.SUB, RSP, context.FRAME, wide=1)
        for group in range(isa.LOCALS // _GROUP):
            self.out += encode.store_xmm0(Mem(RSP, 4 * _GROUP * group))

    def _entry(self, pc: int) -> int:
        if not self.homes:
            return self._heads[pc]
        at = len(self.out)
        self._load_locals()
        self._edge(self.jump(), pc)
        return at

    def _spill_locals(self) -> None:
        for local, register in self.homes.items():
            if local in self.written:
                self.out += encode.store(Mem(RSP, 4 * local), register)

    def _load_locals(self) -> None:
        for local, register in self.homes.items():
            self.out += encode.load(register, Mem(RSP, 4 * local))

    # --- ways out ------------------------------------------------------------------------------------------

    def _jump_slot(self, slot: Slot) -> None:
        self._slots.add(slot)
        self.out += encode.jump_mem(Mem(RBX, self.scope.slot(slot)))

    def _missing(self, slot: Slot) -> int:
        at = len(self.out)
        if slot.called:
            self._new_frame()
        self._say(slot.pc, context.MISSING)
        self.out += encode.jump_mem(Mem(RBX, context.EXIT))
        return at

    def _say(self, pc: int, reason: int) -> None:
        self.out += encode.store_imm(Mem(RBX, context.PC), pc)
        self.out += encode.store_imm(Mem(RBX, context.REASON), reason)

    def _leave(self, pc: int, reason: int) -> None:
        self._say(pc, reason)
        self._leaves.append(self.jump())

    def leave_before(self, pc: int, refund: int, values: list[Value], under: int) -> None:
        """The stub of an instruction that cannot be carried out: the state as it is before it."""
        grown = self.values.flush(values, under)
        if grown:
            self.out += encode.alu_imm(encode.ADD, RSI, grown)
        self.out += encode.alu_imm(encode.ADD, RBP, refund)
        self._leave(pc, context.SLOW)


_LAST = frozenset((Op.JZ, Op.JNZ, Op.CALL, Op.RET, Op.HALT, Op.SYS))


def _homes(walk: Walk) -> tuple[dict[int, int], frozenset[int]]:
    """The register of each local that is worth one, and the locals that are written."""
    uses, calls = walk.weights()
    best = sorted(uses, key=lambda local: (-uses[local], local))
    worth = [local for local in best if uses[local] > _CALL_COST * calls][: len(REGISTERS)]
    written = frozenset(word >> 8 for _, word in walk.locals if word & 0xFF == Op.SET)
    return dict(zip(worth, REGISTERS, strict=False)), written
