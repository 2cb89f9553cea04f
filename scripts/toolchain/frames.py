"""Call frame information (``.debug_frame``) for hand-written routines, derived from their instructions.

Owns: following the stack pointer and the saved registers through a routine and along its branches, and writing
after each instruction where the return address and the caller's registers lie. Sources carry no ``.cfi_*``
directives: the house rule (a routine that calls keeps an rbp frame) makes the frame readable from the bytes.
Never guesses beyond that: an instruction it does not know leaves the rules as they were.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

from toolchain.leb128 import uleb
from toolchain.types import Image, Line

# DWARF 4, 7.23: call frame instructions
_DW_CFA_ADVANCE_LOC, _DW_CFA_OFFSET, _DW_CFA_RESTORE = 0x40, 0x80, 0xC0
_DW_CFA_ADVANCE_LOC1, _DW_CFA_ADVANCE_LOC2, _DW_CFA_ADVANCE_LOC4 = 2, 3, 4
_DW_CFA_DEF_CFA, _DW_CFA_DEF_CFA_REGISTER, _DW_CFA_DEF_CFA_OFFSET = 0x0C, 0x0D, 0x0E

# System V ABI, AMD64 supplement, figure 3.36: DWARF numbers of registers 0-15 in the encoding of instructions
_DWARF_NUMBER = (0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)
_RBP, _RSP, _RETURN_ADDRESS = 6, 7, 16
_SLOT = 8  # bytes of a stack slot; the data alignment factor is its negative
_FRAME = 2 * _SLOT  # return address and the caller's rbp: what lies above an rbp frame's base


class _Rules(NamedTuple):
    """The rules at one address.

    The canonical frame address (CFA) is the stack pointer before the call pushed the return address.

    Attributes:
        base: the register that the CFA is counted from: rsp, or rbp once the frame stands.
        depth: CFA - rsp in bytes, None where the stack was aligned by hand.
        saved: DWARF register -> bytes below the CFA where the caller's value lies.
    """

    base: int = _RSP
    depth: int | None = _SLOT
    saved: Mapping[int, int] = MappingProxyType({})

    @property
    def offset(self) -> int:
        """CFA - base."""
        return _FRAME if self.base == _RBP else self.depth or _SLOT


_ENTRY = _Rules()


def debug_frame(image: Image, lines: Sequence[Line], extents: Sequence[tuple[int, int]]) -> bytes:
    """``.debug_frame`` with one entry for each routine.

    Args:
        image: the image; its code bytes are read.
        lines: its line rows by address: the instruction boundaries.
        extents: ``[start, end)`` of the routines by address.

    Source: DWARF 4, section 6.4.
    """
    # CIE: version 4, no augmentation, 8-byte addresses, no segments, code alignment 1, data alignment -8
    header = b"\xff\xff\xff\xff\x04\0\x08\0\x01\x78" + bytes([_RETURN_ADDRESS])
    header += bytes([_DW_CFA_DEF_CFA, _RSP, _SLOT, _DW_CFA_OFFSET | _RETURN_ADDRESS, 1])
    out = bytearray(_entry(header))
    code = sorted((s for s in image.sections if "x" in s.flags and not s.nobits), key=attrgetter("address"))
    bases = [section.address for section in code]
    starts = [line[0] for line in lines]
    memory = _Memory()
    for start, end in extents:
        section = code[bisect_right(bases, start) - 1]
        rows = lines[bisect_left(starts, start) : bisect_left(starts, end)]
        place = start.to_bytes(8, "little") + (end - start).to_bytes(8, "little")
        out += _entry(bytes(4) + place + _program(start, rows, section.data, section.address, memory))
    return bytes(out)


class _Memory:
    """What was worked out for one routine and happens in most: all begin alike. Keys are objects kept alive here.

    Attributes:
        steps: (id of the rules before, instruction, in the prologue) -> the rules behind it, and those before.
        changes: (id of the rules written, id of those that hold) -> the instructions from the first to the second,
            None where both say the same; and both rules.
        flows: a branch -> how far behind itself it goes, if that is known, and whether control may go on behind it.
    """

    __slots__ = ("_rules", "changes", "flows", "steps")

    def __init__(self) -> None:
        self.steps: dict[tuple[int, bytes, bool], tuple[_Rules, _Rules]] = {}
        self.changes: dict[tuple[int, int], tuple[bytes | None, _Rules, _Rules]] = {}
        self.flows: dict[bytes, tuple[int | None, bool]] = {}
        self._rules: dict[tuple[object, ...], _Rules] = {}

    def shared(self, after: _Rules, before: _Rules) -> _Rules:
        """The object that stands for all rules that say what ``after`` does; not ``before``, unless it is ``after``."""
        if after is before:
            return after
        found = self._rules.setdefault((after.base, after.depth, *after.saved.items()), after)
        return after if found is before else found


def _entry(body: bytes) -> bytes:
    padded = body + bytes(-(len(body) + 4) % 8)  # zero is DW_CFA_nop
    return len(padded).to_bytes(4, "little") + padded


def _program(start: int, rows: Sequence[Line], code: bytes, base: int, memory: _Memory) -> bytes:
    """The call frame instructions of one routine; ``rows`` are its instructions, ``code`` lies at ``base``."""
    out = bytearray()
    written, written_at = _ENTRY, start
    rules = body = _ENTRY  # ``body``: the rules when the prologue ended
    prologue, falls_through = True, True
    arriving: dict[int, _Rules] = {}  # branch target -> the rules there
    settled = True  # what holds here is written
    steps, changes, flows = memory.steps, memory.changes, memory.flows
    by_first, rex_w = _STEPS, _rex_w
    for address, length, _, _ in rows:
        at = address - base
        step = by_first[code[at]]
        if step is rex_w and code[at : at + 3] not in _REX_W_HEADS and code[at + 1] not in _REX_W_RETURNS:
            step = None
        if not settled:
            if not falls_through:
                rules, falls_through = arriving.get(address, body), True
            if rules is not written:
                pair = (id(written), id(rules))
                found = changes.get(pair)
                if found is None:
                    change = _change(written, rules) if rules != written else None
                    found = changes[pair] = (change, written, rules)
                if found[0] is not None:
                    out += _advance(address - written_at)
                    out += found[0]
                    written, written_at = rules, address
            settled = True
        if step is None:  # hardly any instruction moves the stack or branches
            prologue = False
            continue
        data = code[at : at + length]
        before = rules
        if step is _branch or (step is _rex_w and data[1] in _REX_W_RETURNS):
            flow = flows.get(data)
            if flow is None:
                flow = flows[data] = (_displacement(data), not _ends_flow(data))
            displacement, falls_through = flow
            if displacement is not None:
                arriving.setdefault(address + length + displacement, rules)
        else:
            case = (id(rules), data, prologue)
            known = steps.get(case)
            if known is None:
                known = steps[case] = (memory.shared(step(rules, data, prologue), rules), rules)
            rules = known[0]
        settled = falls_through and rules is before
        grows = rules is not before and (rules.depth or 0) >= (before.depth or 0)
        if prologue and (grows or data == _ENDBR64):
            body = rules
        else:
            prologue = False
    return bytes(out)


# --- what single instructions do (Intel SDM vol. 2) ----------------------------------------------------------

_ENDBR64 = b"\xf3\x0f\x1e\xfa"
_MOV_RBP_RSP = (b"\x48\x89\xe5", b"\x48\x8b\xec")
_MOV_RSP_RBP = (b"\x48\x89\xec", b"\x48\x8b\xe5")
_SUB_RSP = (b"\x48\x83\xec", b"\x48\x81\xec")
_ADD_RSP = (b"\x48\x83\xc4", b"\x48\x81\xc4")
_AND_RSP = (b"\x48\x83\xe4", b"\x48\x81\xe4")
_LEA_RSP_RBP = (b"\x48\x8d\x65", b"\x48\x8d\xa5")  # lea rsp, [rbp + disp8/disp32]
_REX_W_HEADS = frozenset((*_MOV_RBP_RSP, *_MOV_RSP_RBP, *_SUB_RSP, *_ADD_RSP, *_AND_RSP, *_LEA_RSP_RBP))
_REX_W_RETURNS = (0xCB, 0xCF)  # lretq, iretq, behind 48
_UD2 = b"\x0f\x0b"


def _branch(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """Marks an instruction that may go elsewhere: jumps, returns, ud2."""
    return rules


def _displacement(data: bytes) -> int | None:
    """How far behind itself a direct ``jmp``, ``jcc`` or ``loop`` goes, else None."""
    first = data[0]
    if len(data) == 2 and (0x70 <= first <= 0x7F or 0xE0 <= first <= 0xE3 or first == 0xEB):
        return int.from_bytes(data[1:], "little", signed=True)
    if first == 0xE9:
        return int.from_bytes(data[1:], "little", signed=True)
    if first == 0x0F and 0x80 <= data[1] <= 0x8F:
        return int.from_bytes(data[2:], "little", signed=True)
    return None


def _ends_flow(data: bytes) -> bool:
    """Whether control never goes on to the next instruction."""
    first = data[0]
    if first == 0xFF:
        return len(data) > 1 and (data[1] >> 3 & 7) in (4, 5)  # jmp through memory or a register
    return (
        first in (0xC2, 0xC3, 0xCB, 0xCF, 0xE9, 0xEB)
        or data == _UD2
        or (first == 0x48 and data[1] in _REX_W_RETURNS)
    )


def _push(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    if len(data) > 2 or rules.depth is None:
        return rules
    return _pushed(rules, _DWARF_NUMBER[data[-1] - 0x50 + 8 * (len(data) - 1)], prologue)


def _pushed(rules: _Rules, register: int, prologue: bool) -> _Rules:
    depth, saved = (rules.depth or 0) + _SLOT, rules.saved
    if register not in saved and (prologue or register == _RBP):
        saved = {**saved, register: depth}
    return _Rules(rules.base, depth, saved)


def _pop(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    register = _DWARF_NUMBER[data[-1] - 0x58 + 8 * (len(data) - 1)]
    depth, saved = rules.depth, rules.saved
    if register == _RBP and rules.base == _RBP:
        return _ENTRY
    if depth is None or depth <= _SLOT:
        return rules
    if saved.get(register) == depth:
        saved = {number: where for number, where in saved.items() if number != register}
    return _Rules(rules.base, depth - _SLOT, saved)


def _rex_b(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """``push`` and ``pop`` of r8 to r15."""
    if len(data) == 2 and 0x50 <= data[1] <= 0x57:
        return _push(rules, data, prologue)
    if len(data) == 2 and 0x58 <= data[1] <= 0x5F:
        return _pop(rules, data, prologue)
    return rules


def _rex_w(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """The 64-bit instructions that move rsp or rbp."""
    head = data[:3]
    if head in _SUB_RSP:
        return _grown(rules, int.from_bytes(data[3:], "little", signed=True))
    if head in _ADD_RSP:
        return _grown(rules, -int.from_bytes(data[3:], "little", signed=True))
    if data in _MOV_RBP_RSP:
        return rules._replace(base=_RBP) if rules.saved.get(_RBP) == _FRAME == rules.depth else rules
    if rules.base == _RBP:
        if data in _MOV_RSP_RBP:
            return rules._replace(depth=_FRAME)
        if head in _LEA_RSP_RBP:
            return rules._replace(depth=_FRAME - int.from_bytes(data[3:], "little", signed=True))
        if head in _AND_RSP:
            return rules._replace(depth=None)
    return rules


def _grown(rules: _Rules, growth: int) -> _Rules:
    if rules.depth is None or rules.depth + growth < _SLOT:
        return rules
    return rules._replace(depth=rules.depth + growth)


def _push_other(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """``pushfq`` and ``push imm``."""
    return _grown(rules, _SLOT)


def _popfq(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    return _grown(rules, -_SLOT)


def _leave(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    return _ENTRY if rules.base == _RBP else rules


def _nothing(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """``endbr64`` begins with F3, as many others do."""
    return rules


_Step = Callable[[_Rules, bytes, bool], _Rules]
_STEPS: list[_Step | None] = [None] * 256  # by the first byte
_STEPS[0x50:0x58] = [_push] * 8
_STEPS[0x58:0x60] = [_pop] * 8
_STEPS[0x70:0x80] = [_branch] * 16
for _opcode in (0x0F, 0xC2, 0xC3, 0xCB, 0xCF, 0xE0, 0xE1, 0xE2, 0xE3, 0xE9, 0xEB, 0xFF):
    _STEPS[_opcode] = _branch
_STEPS[0x41], _STEPS[0x48], _STEPS[0x9C], _STEPS[0x9D] = _rex_b, _rex_w, _push_other, _popfq
_STEPS[0x68], _STEPS[0x6A], _STEPS[0xC9], _STEPS[0xF3] = _push_other, _push_other, _leave, _nothing


# --- call frame instructions --------------------------------------------------------------------------------


def _advance(delta: int) -> bytes:
    if delta < 0x40:
        return bytes([_DW_CFA_ADVANCE_LOC | delta])
    if delta < 0x100:
        return bytes([_DW_CFA_ADVANCE_LOC1, delta])
    if delta < 0x10000:
        return bytes([_DW_CFA_ADVANCE_LOC2]) + delta.to_bytes(2, "little")
    return bytes([_DW_CFA_ADVANCE_LOC4]) + delta.to_bytes(4, "little")


def _change(before: _Rules, after: _Rules) -> bytes:
    out = bytearray()
    if before.base != after.base and before.offset != after.offset:
        out += bytes([_DW_CFA_DEF_CFA, after.base]) + uleb(after.offset)
    elif before.base != after.base:
        out += bytes([_DW_CFA_DEF_CFA_REGISTER, after.base])
    elif before.offset != after.offset:
        out += bytes([_DW_CFA_DEF_CFA_OFFSET]) + uleb(after.offset)
    if before.saved is not after.saved:
        for number, offset in after.saved.items():
            if before.saved.get(number) != offset:
                out += bytes([_DW_CFA_OFFSET | number]) + uleb(offset // _SLOT)
        out += bytes(_DW_CFA_RESTORE | number for number in before.saved if number not in after.saved)
    return bytes(out)
