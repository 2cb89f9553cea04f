"""Lays an instruction's bytes out: prefixes, REX, opcode, ModRM, SIB, displacement, immediates.

Owns the mechanics that are the same for every opcode (Intel SDM vol. 2A, chapter 2), in all three modes, with GNU
as's choices where the manual leaves one. Which opcode an instruction has is said by the caller.
"""

from __future__ import annotations

from typing import Final, Literal

from toolchain.expr import Expr
from toolchain.operand_types import Mem
from toolchain.registers import Reg
from toolchain.types import Mode

FieldKind = Literal["pcrel", "signed", "unsigned", "either"]
# "either" for a number: -128..255 in a byte. "mask" is for the operand of an instruction as wide as the field, where
# GNU as also takes -255..-129, so that ~0x80 is a byte.
RangeKind = Literal["pcrel", "signed", "unsigned", "either", "mask"]


class Refusal(ValueError):
    """The statement has no encoding; the message says why, ``expected`` what would have one."""

    def __init__(self, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


class Field:
    """A number in an instruction: its width in bytes, how it may be read, its value.

    ``kind`` matters for a value that the linker writes; a number is checked before it comes here. ``source`` is
    the place of the operand that the value comes from.
    """

    __slots__ = ("kind", "size", "source", "value")

    def __init__(self, size: int, kind: FieldKind, value: int | Expr, source: int = 0) -> None:
        self.size = size
        self.kind: FieldKind = kind
        self.value = value
        self.source = source


# What stands in a field until the value is known: distinct, positive, and different for displacements, so that the
# disassembly shows which number is which.
IMMEDIATE_MARK: Final = {1: 0x22, 2: 0x2233, 4: 0x22334455, 8: 0x2233445566778899}
DISPLACEMENT_MARK: Final = {1: 0x11, 2: 0x1122, 4: 0x11223344, 8: 0x1122334455667788}
SEGMENT_PREFIX: Final = {"es": 0x26, "cs": 0x2E, "ss": 0x36, "ds": 0x3E, "fs": 0x64, "gs": 0x65}
# ModRM.rm of 16-bit addressing: (base, index) by number.
_RM16: Final = {
    (3, 6): 0,
    (3, 7): 1,
    (5, 6): 2,
    (5, 7): 3,
    (6, None): 4,
    (7, None): 5,
    (5, None): 6,
    (3, None): 7,
}
_ADDRESS_KIND: Final = {16: "r16", 32: "r32", 64: "r64"}


def signed(value: int, size: int) -> int:
    """``value`` read as a signed number of ``size`` bytes."""
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if value >> (8 * size - 1) else value


def check_range(value: int, size: int, kind: RangeKind, what: str = "value") -> None:
    """Refuse a number that its field cannot hold."""
    low = 0 if kind == "unsigned" else 1 - (1 << 8 * size) if kind == "mask" else -(1 << 8 * size - 1)
    high = 1 << (8 * size - (kind in ("signed", "pcrel")))
    if not low <= value < high:
        raise Refusal(f"{what} {value:#x} does not fit {8 * size} bits", f"{low:#x} to {high - 1:#x}")


def address_size(mem: Mem, mode: Mode) -> int:
    """Bits of the address computation of ``mem``: those of its registers, else those of the mode."""
    reg = mem.base if mem.base is not None else mem.index
    if reg is None or reg.kind not in ("r16", "r32", "r64", "ip"):
        return mode
    return reg.size * 8


def default_segment(mem: Mem) -> str:
    """The segment that needs no prefix: ss for a base of (e/r)sp or (e/r)bp, else ds."""
    base = mem.base
    return "ss" if base is not None and base.kind != "ip" and base.number in (4, 5) else "ds"


def override(mem: Mem) -> str | None:
    """The segment override that ``mem`` needs, None when it names none or the default."""
    return None if mem.segment is None or mem.segment == default_segment(mem) else mem.segment


def displacement(mem: Mem, mode: Mode, wraps: bool = False) -> Field | None:
    """The displacement field of ``mem``, None when it has none.

    Args:
        mem: the operand.
        mode: 16, 32 or 64.
        wraps: only the low 32 bits of the address count (``lea`` into a register of at most 32 bits).

    Raises:
        Refusal: when the number does not fit the address size.
    """
    disp, base = mem.disp, mem.base
    bits = address_size(mem, mode)
    if base is not None and base.kind == "ip":
        if isinstance(disp, Expr):
            return Field(4, "pcrel", disp)
        check_range(disp, 4, "either" if wraps else "signed", "displacement")
        return Field(4, "signed", disp)
    if wraps:
        bits = 32
    wide = 2 if bits == 16 else 4
    if isinstance(disp, Expr):
        return Field(wide, "signed" if bits == 64 else "unsigned" if wide == 4 else "either", disp)
    if bits == 64:
        # Without registers the address is sign-extended; nothing else wraps in 64-bit mode.
        check_range(disp, 4, "signed", "displacement")
    else:
        check_range(disp, wide, "either", "displacement")
        disp = signed(disp, wide)
    if base is None:
        return Field(wide, "signed", disp)
    if disp == 0:
        return None
    return Field(1 if -128 <= disp < 128 else wide, "signed", disp)


def memory_bytes(reg: int, mem: Mem, mode: Mode) -> tuple[bytes, Field | None]:
    """ModRM, SIB and the marked displacement of ``mem`` with ``reg`` (0 to 7) in ModRM.reg."""
    field = displacement(mem, mode)
    base, index = mem.base, mem.index
    reg <<= 3
    mark = b"" if field is None else DISPLACEMENT_MARK[field.size].to_bytes(field.size, "little")
    if address_size(mem, mode) == 16:
        if base is None:
            return bytes([reg | 6]) + mark, field
        rm = _RM16[base.number, None if index is None else index.number]
        if field is None and rm == 6:
            return bytes([0x46 | reg, 0]), None
        mod = 0 if field is None else 0x40 if field.size == 1 else 0x80
        return bytes([mod | reg | rm]) + mark, field
    if base is not None and base.kind == "ip":
        return bytes([reg | 5]) + mark, field
    if base is None and index is None and mode != 64:
        return bytes([reg | 5]) + mark, field
    scale = {1: 0, 2: 0x40, 4: 0x80, 8: 0xC0}[mem.scale] if index is not None else 0
    sib = scale | ((index.number & 7) << 3 if index is not None else 0x20)
    if base is None:
        return bytes([reg | 4, sib | 5]) + mark, field
    low = base.number & 7
    if field is None and low == 5:
        mod, mark = 0x40, b"\0"
    else:
        mod = 0 if field is None else 0x40 if field.size == 1 else 0x80
    if index is None and low != 4:
        return bytes([mod | reg | low]) + mark, field
    return bytes([mod | reg | 4, sib | low]) + mark, field


def assemble(
    mode: Mode,
    opcode: bytes,
    *,
    reg: Reg | int = 0,
    rm: Reg | Mem | None = None,
    opcode_reg: Reg | None = None,
    wide: bool = False,
    operand_prefix: bool = False,
    mandatory: bytes = b"",
    before: tuple[int, ...] = (),
    byte_regs: tuple[Reg, ...] = (),
) -> tuple[bytes, Field | None]:
    """All bytes before the immediates.

    Args:
        mode: 16, 32 or 64.
        opcode: the opcode bytes, escape bytes included.
        reg: the register or digit in ModRM.reg.
        rm: the operand in ModRM.rm, None for an instruction without ModRM.
        opcode_reg: a register added to the last opcode byte.
        wide: REX.W.
        operand_prefix: emit 66.
        mandatory: F2, F3 or 66 that belongs to the opcode.
        before: repeat, lock and other prefixes asked for by the statement.
        byte_regs: the 8-bit registers among the operands, for REX.

    Returns:
        The bytes and the displacement field that ends them, if any.
    """
    rex = 0x48 if wide else 0
    digit = reg if isinstance(reg, int) else reg.number & 7
    if isinstance(reg, Reg) and reg.number >= 8:
        rex |= 0x44
    prefixes = bytearray()
    field = None
    tail = b""
    if isinstance(rm, Mem):
        segment = override(rm)
        if segment is not None:
            prefixes.append(SEGMENT_PREFIX[segment])
        if address_size(rm, mode) != mode:
            prefixes.append(0x67)
        if rm.base is not None and rm.base.number >= 8:
            rex |= 0x41
        if rm.index is not None and rm.index.number >= 8:
            rex |= 0x42
        tail, field = memory_bytes(digit, rm, mode)
    elif rm is not None:
        if rm.number >= 8:
            rex |= 0x41
        tail = bytes([0xC0 | digit << 3 | rm.number & 7])
    if opcode_reg is not None:
        if opcode_reg.number >= 8:
            rex |= 0x41
        opcode = opcode[:-1] + bytes([opcode[-1] | opcode_reg.number & 7])
    for item in byte_regs:
        if item.only64:
            rex |= 0x40
    if rex and any(item.name in ("ah", "bh", "ch", "dh") for item in byte_regs):
        raise Refusal(
            "ah, bh, ch and dh cannot stand in an instruction that needs a REX prefix", "another register"
        )
    if operand_prefix:
        prefixes.append(0x66)
    lead = bytes(prefixes) + mandatory + bytes(before)
    return lead + (bytes([rex]) if rex else b"") + opcode + tail, field
