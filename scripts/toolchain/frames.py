"""Call frame information (``.debug_frame``) for hand-written routines, derived from their instructions.

Owns: following the stack pointer and the saved registers through a routine and along its branches, and writing
after each instruction where the return address and the caller's registers lie. Sources carry no ``.cfi_*``
directives: the house rule (a routine that calls keeps an rbp frame) makes the frame readable from the bytes.
Never guesses beyond that: an instruction it does not know leaves the rules as they were.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

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

Instruction = tuple[int, bytes]


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
    for (start, end), instructions in zip(extents, _bodies(image, lines, extents), strict=True):
        place = start.to_bytes(8, "little") + (end - start).to_bytes(8, "little")
        out += _entry(bytes(4) + place + _program(start, instructions))
    return bytes(out)


def _entry(body: bytes) -> bytes:
    padded = body + bytes(-(len(body) + 4) % 8)  # zero is DW_CFA_nop
    return len(padded).to_bytes(4, "little") + padded


def _bodies(
    image: Image, lines: Sequence[Line], extents: Sequence[tuple[int, int]]
) -> Iterator[list[Instruction]]:
    code = sorted((s for s in image.sections if "x" in s.flags and not s.nobits), key=lambda s: s.address)
    bases = [s.address for s in code]
    starts = [line.address for line in lines]
    for start, end in extents:
        section = code[bisect_right(bases, start) - 1]
        found = []
        for line in lines[bisect_left(starts, start) : bisect_left(starts, end)]:
            at = line.address - section.address
            found.append((line.address, section.data[at : at + line.length]))
        yield found


def _program(start: int, instructions: Sequence[Instruction]) -> bytes:
    out = bytearray()
    written, written_at = _ENTRY, start
    rules: _Rules | None = _ENTRY  # None behind an instruction that does not fall through
    body = _ENTRY  # the rules when the prologue ended
    prologue = True
    arriving: dict[int, _Rules] = {}  # branch target -> the rules there
    for address, data in instructions:
        if rules is None:
            rules = arriving.get(address, body)
        if rules != written:
            out += _advance(address - written_at) + _change(written, rules)
            written, written_at = rules, address
        after = _step(rules, data, prologue)
        if prologue and after == rules and data != _ENDBR64:
            prologue = False
        if prologue:
            body = after
        target = _branch_target(address, data)
        if target is not None:
            arriving.setdefault(target, after)
        rules = None if _ends_flow(data) else after
    return bytes(out)


_ENDBR64 = b"\xf3\x0f\x1e\xfa"
_PUSHFQ, _POPFQ, _LEAVE = b"\x9c", b"\x9d", b"\xc9"
_MOV_RBP_RSP = (b"\x48\x89\xe5", b"\x48\x8b\xec")
_MOV_RSP_RBP = (b"\x48\x89\xec", b"\x48\x8b\xe5")
_SUB_RSP = (b"\x48\x83\xec", b"\x48\x81\xec")
_ADD_RSP = (b"\x48\x83\xc4", b"\x48\x81\xc4")
_AND_RSP = (b"\x48\x83\xe4", b"\x48\x81\xe4")
_LEA_RSP_RBP = (b"\x48\x8d\x65", b"\x48\x8d\xa5")  # lea rsp, [rbp + disp8/disp32]
_RETURNS = (b"\xc3", b"\xcb", b"\x48\xcb", b"\x48\xcf", b"\xcf")  # ret, lret, lretq, iretq, iretd
_UD2 = b"\x0f\x0b"


def _ends_flow(data: bytes) -> bool:
    """Whether control never goes on to the next instruction."""
    first = data[:1]
    indirect_jump = first == b"\xff" and len(data) > 1 and (data[1] >> 3 & 7) in (4, 5)
    return data in _RETURNS or data == _UD2 or first in (b"\xe9", b"\xeb", b"\xc2") or indirect_jump


def _branch_target(address: int, data: bytes) -> int | None:
    """Where a direct ``jmp``, ``jcc`` or ``loop`` goes, else None."""
    if len(data) == 2 and (0x70 <= data[0] <= 0x7F or 0xE0 <= data[0] <= 0xE3 or data[0] == 0xEB):
        return address + 2 + int.from_bytes(data[1:], "little", signed=True)
    if len(data) == 5 and data[0] == 0xE9:
        return address + 5 + int.from_bytes(data[1:], "little", signed=True)
    if len(data) == 6 and data[0] == 0x0F and 0x80 <= data[1] <= 0x8F:
        return address + 6 + int.from_bytes(data[2:], "little", signed=True)
    return None


def _stack_register(data: bytes, opcode: int) -> int | None:
    """The DWARF register of a ``push`` (opcode 0x50) or ``pop`` (0x58), else None."""
    if len(data) == 1 and opcode <= data[0] < opcode + 8:
        return _DWARF_NUMBER[data[0] - opcode]
    if len(data) == 2 and data[0] == 0x41 and opcode <= data[1] < opcode + 8:
        return _DWARF_NUMBER[data[1] - opcode + 8]
    return None


def _growth(data: bytes) -> int:
    """Bytes by which an instruction that moves no register's value grows the stack."""
    head = data[:3]
    if head in _SUB_RSP:
        return int.from_bytes(data[3:], "little", signed=True)
    if head in _ADD_RSP:
        return -int.from_bytes(data[3:], "little", signed=True)
    if data == _PUSHFQ or data[:1] in (b"\x68", b"\x6a"):  # push imm32, push imm8
        return _SLOT
    if data == _POPFQ:
        return -_SLOT
    return 0


def _step(rules: _Rules, data: bytes, prologue: bool) -> _Rules:
    """The rules after one instruction."""
    depth, saved = rules.depth, rules.saved
    register = _stack_register(data, 0x50)
    if register is not None:
        if depth is None:
            return rules
        if register not in saved and (prologue or register == _RBP):
            saved = {**saved, register: depth + _SLOT}
        return _Rules(rules.base, depth + _SLOT, saved)
    register = _stack_register(data, 0x58)
    if register is not None:
        if register == _RBP and rules.base == _RBP:
            return _ENTRY
        if depth is None or depth <= _SLOT:
            return rules
        if saved.get(register) == depth:
            saved = {number: where for number, where in saved.items() if number != register}
        return _Rules(rules.base, depth - _SLOT, saved)
    if data in _MOV_RBP_RSP:
        return rules._replace(base=_RBP) if saved.get(_RBP) == _FRAME == depth else rules
    if rules.base == _RBP:
        if data == _LEAVE:
            return _ENTRY
        if data in _MOV_RSP_RBP:
            return rules._replace(depth=_FRAME)
        if data[:3] in _LEA_RSP_RBP:
            return rules._replace(depth=_FRAME - int.from_bytes(data[3:], "little", signed=True))
        if data[:3] in _AND_RSP:
            return rules._replace(depth=None)
    growth = _growth(data)
    if growth and depth is not None and depth + growth >= _SLOT:
        return rules._replace(depth=depth + growth)
    return rules


def _advance(delta: int) -> bytes:
    if delta < 0x40:
        return bytes([_DW_CFA_ADVANCE_LOC | delta])
    if delta < 0x100:
        return bytes([_DW_CFA_ADVANCE_LOC1, delta])
    if delta < 0x10000:
        return bytes([_DW_CFA_ADVANCE_LOC2]) + delta.to_bytes(2, "little")
    return bytes([_DW_CFA_ADVANCE_LOC4]) + delta.to_bytes(4, "little")


def _change(before: _Rules, after: _Rules) -> bytes:
    from toolchain.dwarf import uleb

    out = b""
    if before.base != after.base and before.offset != after.offset:
        out += bytes([_DW_CFA_DEF_CFA, after.base]) + uleb(after.offset)
    elif before.base != after.base:
        out += bytes([_DW_CFA_DEF_CFA_REGISTER, after.base])
    elif before.offset != after.offset:
        out += bytes([_DW_CFA_DEF_CFA_OFFSET]) + uleb(after.offset)
    for number, offset in after.saved.items():
        if before.saved.get(number) != offset:
            out += bytes([_DW_CFA_OFFSET | number]) + uleb(offset // _SLOT)
    out += bytes(_DW_CFA_RESTORE | number for number in before.saved if number not in after.saved)
    return out
