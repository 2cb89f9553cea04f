"""Bytes back to text: instructions with their addresses, and names for what they refer to.

Owns: the calls of Capstone for people's eyes (the encoder's check of its own work is ``encode``'s), and cutting an
image into stretches that are decoded apart, so that data between routines does not garble what follows. Never reads
a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from toolchain.symbols import SymbolTable
from toolchain.types import CodePlace, Mode


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, or one byte that is none (``.byte``).

    ``target`` is the address that it names: of a direct branch, or of a rip-relative operand.
    """

    address: int
    data: bytes
    text: str
    target: int | None = None


def decode(data: bytes, address: int, mode: Mode) -> Iterator[Instruction]:
    """The instructions in ``data``, which lies at ``address``; a byte that begins none becomes ``.byte``."""
    import capstone
    from capstone import x86

    engine = _engine(mode)
    at = 0
    while at < len(data):
        for found in engine.disasm(data[at:], address + at):
            target = None
            for operand in found.operands:
                if operand.type == x86.X86_OP_MEM and operand.mem.base == x86.X86_REG_RIP:
                    target = found.address + found.size + operand.mem.disp
                elif operand.type == x86.X86_OP_IMM and found.group(capstone.CS_GRP_BRANCH_RELATIVE):
                    target = operand.imm & ((1 << 64) - 1)
            text = f"{found.mnemonic} {found.op_str}".rstrip()
            yield Instruction(found.address, bytes(found.bytes), text, target)
            at += found.size
        if at < len(data):
            yield Instruction(address + at, data[at : at + 1], f".byte {data[at]:#04x}")
            at += 1


@cache
def _engine(mode: Mode) -> Any:
    import capstone

    bits = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[mode]
    engine = capstone.Cs(capstone.CS_ARCH_X86, bits)
    engine.detail = True
    return engine


def image(table: SymbolTable, mode: Mode | None = None) -> Iterator[Instruction]:
    """Every instruction in the sections of code, by address.

    Decoding begins anew at each symbol, and where the line rows say that code begins or ends.
    """
    for section in table.sections:
        if "x" in section.flags and not section.nobits:
            yield from stretch(table, section.address, section.address + section.size, mode)


def stretch(table: SymbolTable, start: int, end: int, mode: Mode | None = None) -> Iterator[Instruction]:
    """The instructions in ``[start, end)``, which lies in one section; see ``image``.

    Without a ``mode`` each piece is read in the first of 64, 32 and 16 that agrees with the line rows on where
    instructions begin. Where the file has line rows, a piece that has none is data, unless a function or fill.
    """
    cuts = table.boundaries(start, end)
    for low, high in zip([start, *cuts], [*cuts, end], strict=True):
        data, rows = table.read(low, high - low), table.rows_between(low, high)
        found = list(decode(data, low, mode)) if mode else _in_its_mode(data, low, rows)
        symbol = table.symbol_at(low)
        is_code = rows or not table.files or (symbol is not None and symbol.kind == "func")
        yield from found if is_code or all(i.text.startswith(_FILL) for i in found) else _bytes(data, low)


_FILL = ("nop", "int3", "xchg ax, ax", "data16", "cs nop")  # between routines
_BYTES_A_LINE = 8


def _bytes(data: bytes, address: int) -> Iterator[Instruction]:
    for at in range(0, len(data), _BYTES_A_LINE):
        part = data[at : at + _BYTES_A_LINE]
        text = ", ".join(f"{byte:#04x}" for byte in part)
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield Instruction(address + at, part, f".byte {text}  # {letters}")


def _in_its_mode(data: bytes, address: int, rows: list[int]) -> list[Instruction]:
    modes: tuple[Mode, ...] = (64, 32, 16)
    for mode in modes:
        found = list(decode(data, address, mode))
        starts = {instruction.address for instruction in found}
        if not rows or (starts.issuperset(rows) and not any(i.text.startswith(".byte") for i in found)):
            return found
    return list(decode(data, address, 64))


def named(place: CodePlace) -> str:
    """``symbol+0x12`` for a place with a symbol, else its address."""
    if place.symbol is None:
        return f"{place.address:#x}"
    return f"{place.symbol}+{place.offset:#x}" if place.offset else place.symbol


def comment(instruction: Instruction, name: Callable[[int], CodePlace]) -> str:
    """The name of what ``instruction`` refers to, or "" when it has none."""
    if instruction.target is None:
        return ""
    place = name(instruction.target)
    return named(place) if place.symbol else ""
