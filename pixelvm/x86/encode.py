"""The encodings that translated code is made of: a few dozen forms of x86-64 instructions, as bytes.

Owns these forms and nothing else; a translation must not wait for an assembler. They are those that the toolchain's
encoder chooses: a test assembles every form with it, for all registers and sizes of displacement, and compares the
bytes (Intel SDM volume 2, chapter 2: ModRM, SIB, REX). Operands are 32 bits wide unless a name says otherwise.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 = range(16)
NONE = -1  # no base or no index

# Conditions, as in Jcc and SETcc.
B, AE, E, NE, BE, A, S, NS, L, GE, LE, G = 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15

ADD, OR, AND, SUB, XOR, CMP = 0, 1, 4, 5, 6, 7  # bits 5 to 3 of the opcode, and /digit of the immediate form
SHL, SHR, SAR, ROL, ROR = 4, 5, 7, 0, 1  # /digit of the shifts
NEG, DIV, IDIV = 3, 6, 7  # /digit of group 3

_MASK = 0xFFFFFFFF
_REMEMBERED = 1 << 14


class Mem(NamedTuple):
    """An operand in memory: base + register * 2^scale + disp."""

    base: int
    disp: int = 0
    register: int = NONE
    scale: int = 0


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 32) if value >> 31 else value


def _imm32(value: int) -> bytes:
    return struct.pack("<I", value & _MASK)


def _rex(wide: int, reg: int, index: int, base: int, byte: bool = False) -> bytes:
    """The REX prefix when one is needed; ``byte``: ``reg`` is a byte register that could be mistaken for AH to BH."""
    bits = wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3
    return bytes((0x40 | bits,)) if bits or (byte and 4 <= reg < 8) else b""


def _direct(opcode: bytes, reg: int, rm: int, wide: int = 0) -> bytes:
    """An instruction with two registers, ``rm`` in the field of that name."""
    return _rex(wide, reg, 0, rm) + opcode + bytes((0xC0 | (reg & 7) << 3 | rm & 7,))


def _indirect(opcode: bytes, reg: int, mem: Mem, wide: int = 0, byte: bool = False) -> bytes:
    """An instruction with a register (or /digit) and an operand in memory."""
    base, disp, index, scale = mem
    disp = _signed(disp)
    prefix = _rex(wide, reg, max(index, 0), max(base, 0), byte)
    field = (reg & 7) << 3
    if base == NONE:
        sib = scale << 6 | (index & 7 if index != NONE else 4) << 3 | 5
        return prefix + opcode + bytes((field | 4, sib)) + _imm32(disp)
    if disp == 0 and base & 7 != RBP:
        mod, tail = 0, b""
    elif -128 <= disp <= 127:
        mod, tail = 0x40, bytes((disp & 0xFF,))
    else:
        mod, tail = 0x80, _imm32(disp)
    if index == NONE and base & 7 != RSP:
        return prefix + opcode + bytes((mod | field | base & 7,)) + tail
    sib = scale << 6 | (index & 7 if index != NONE else 4) << 3 | base & 7
    return prefix + opcode + bytes((mod | field | 4, sib)) + tail


def _is_byte(value: int) -> bool:
    return -128 <= _signed(value) <= 127


# --- moves -------------------------------------------------------------------------------------------------


@lru_cache(_REMEMBERED)
def mov(to: int, source: int) -> bytes:
    """``mov to, source``."""
    return _direct(b"\x89", source, to)


@lru_cache(_REMEMBERED)
def mov_imm(to: int, value: int) -> bytes:
    """``mov to, value``."""
    return _rex(0, 0, 0, to) + bytes((0xB8 | to & 7,)) + _imm32(value)


@lru_cache(_REMEMBERED)
def load(to: int, mem: Mem) -> bytes:
    """``mov to, dword ptr mem``."""
    return _indirect(b"\x8b", to, mem)


@lru_cache(_REMEMBERED)
def load_byte(to: int, mem: Mem) -> bytes:
    """``movzx to, byte ptr mem``."""
    return _indirect(b"\x0f\xb6", to, mem)


@lru_cache(_REMEMBERED)
def store(mem: Mem, source: int) -> bytes:
    """``mov dword ptr mem, source``."""
    return _indirect(b"\x89", source, mem)


@lru_cache(_REMEMBERED)
def store_byte(mem: Mem, source: int) -> bytes:
    """``mov byte ptr mem``, low byte of ``source``."""
    return _indirect(b"\x88", source, mem, byte=True)


@lru_cache(_REMEMBERED)
def store_imm(mem: Mem, value: int) -> bytes:
    """``mov dword ptr mem, value``."""
    return _indirect(b"\xc7", 0, mem) + _imm32(value)


@lru_cache(_REMEMBERED)
def store_byte_imm(mem: Mem, value: int) -> bytes:
    """``mov byte ptr mem, value``."""
    return _indirect(b"\xc6", 0, mem) + bytes((value & 0xFF,))


@lru_cache(_REMEMBERED)
def store_xmm0(mem: Mem) -> bytes:
    """``movups xmmword ptr mem, xmm0``."""
    return _indirect(b"\x0f\x11", 0, mem)


@lru_cache(_REMEMBERED)
def lea(to: int, mem: Mem) -> bytes:
    """``lea to, mem``."""
    return _indirect(b"\x8d", to, mem)


# --- arithmetic --------------------------------------------------------------------------------------------


@lru_cache(_REMEMBERED)
def alu(op: int, to: int, source: int) -> bytes:
    """``op to, source``; ``op`` is ADD, OR, AND, SUB, XOR or CMP."""
    return _direct(bytes((op << 3 | 1,)), source, to)


@lru_cache(_REMEMBERED)
def alu_mem(op: int, to: int, mem: Mem) -> bytes:
    """``op to, dword ptr mem``."""
    return _indirect(bytes((op << 3 | 3,)), to, mem)


@lru_cache(_REMEMBERED)
def alu_imm(op: int, to: int, value: int, wide: int = 0) -> bytes:
    """``op to, value``."""
    if _is_byte(value):
        return _direct(b"\x83", op, to, wide) + bytes((value & 0xFF,))
    if to == RAX:
        return _rex(wide, 0, 0, 0) + bytes((op << 3 | 5,)) + _imm32(value)
    return _direct(b"\x81", op, to, wide) + _imm32(value)


@lru_cache(_REMEMBERED)
def cmp_wide_mem(to: int, mem: Mem) -> bytes:
    """``cmp to, qword ptr mem``, ``to`` 64 bits wide."""
    return _indirect(b"\x3b", to, mem, wide=1)


@lru_cache(_REMEMBERED)
def test(one: int, other: int) -> bytes:
    """``test one, other``."""
    return _direct(b"\x85", other, one)


@lru_cache(_REMEMBERED)
def imul(to: int, source: int) -> bytes:
    """``imul to, source``."""
    return _direct(b"\x0f\xaf", to, source)


@lru_cache(_REMEMBERED)
def imul_mem(to: int, mem: Mem) -> bytes:
    """``imul to, dword ptr mem``."""
    return _indirect(b"\x0f\xaf", to, mem)


@lru_cache(_REMEMBERED)
def imul_imm(to: int, source: int, value: int) -> bytes:
    """``imul to, source, value``."""
    if _is_byte(value):
        return _direct(b"\x6b", to, source) + bytes((value & 0xFF,))
    return _direct(b"\x69", to, source) + _imm32(value)


@lru_cache(_REMEMBERED)
def shift_imm(op: int, to: int, count: int) -> bytes:
    """``op to, count``; ``op`` is SHL, SHR, SAR, ROL or ROR, ``count`` 1 to 31."""
    if count == 1:
        return _direct(b"\xd1", op, to)
    return _direct(b"\xc1", op, to) + bytes((count,))


@lru_cache(_REMEMBERED)
def shift_cl(op: int, to: int) -> bytes:
    """``op to, cl``."""
    return _direct(b"\xd3", op, to)


@lru_cache(_REMEMBERED)
def group3(op: int, to: int) -> bytes:
    """``op to``; ``op`` is NEG, DIV or IDIV."""
    return _direct(b"\xf7", op, to)


def cdq() -> bytes:
    """``cdq``."""
    return b"\x99"


@lru_cache(_REMEMBERED)
def set_into(condition: int, to: int) -> bytes:
    """``setcc al; movzx to, al``."""
    return bytes((0x0F, 0x90 | condition, 0xC0)) + _direct(b"\x0f\xb6", to, RAX)


# --- branches ----------------------------------------------------------------------------------------------


def jump_mem(mem: Mem) -> bytes:
    """``jmp qword ptr mem``."""
    return _indirect(b"\xff", 4, mem)


def call_mem(mem: Mem) -> bytes:
    """``call qword ptr mem``."""
    return _indirect(b"\xff", 2, mem)


def ret() -> bytes:
    """``ret``."""
    return b"\xc3"


JUMP = b"\xe9"  # each followed by the distance, 32 bits
CALL = b"\xe8"


@lru_cache(_REMEMBERED)
def jump_if(condition: int) -> bytes:
    """``jcc``, to be followed by the distance, 32 bits."""
    return bytes((0x0F, 0x80 | condition))
