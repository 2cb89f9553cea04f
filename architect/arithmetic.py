"""What plain instructions between registers and numbers make of known registers, without running them.

Owns a small interpreter for 64-bit mode: moves, arithmetic, shifts and the like (Intel SDM vol. 2). Of anything else it
says that it does not know. Flags are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from toolchain.headers import full_register, register_bits

_HIGH_BYTES = frozenset({"ah", "bh", "ch", "dh"})
_WORD = re.compile(r"([A-Za-z_.$][\w.$]*)")
_NOTHING = frozenset({"nop", "cmp", "test", "bt", "mfence", "lfence", "sfence", "clc", "stc", "cmc", "pause"})

Evaluate = Callable[[str], int | None]


def _shift(make: Callable[[int, int, int], int]) -> Callable[[int, int, int], int]:
    """Counts are taken modulo 64, or 32 for narrower operands."""
    return lambda a, b, bits: make(a, b & (63 if bits == 64 else 31), bits)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


_TWO: Mapping[str, Callable[[int, int, int], int]] = {
    "mov": lambda a, b, bits: b,
    "movabs": lambda a, b, bits: b,
    "movzx": lambda a, b, bits: b,
    "add": lambda a, b, bits: a + b,
    "sub": lambda a, b, bits: a - b,
    "and": lambda a, b, bits: a & b,
    "or": lambda a, b, bits: a | b,
    "xor": lambda a, b, bits: a ^ b,
    "imul": lambda a, b, bits: a * b,
    "shl": _shift(lambda a, b, bits: a << b),
    "sal": _shift(lambda a, b, bits: a << b),
    "shr": _shift(lambda a, b, bits: a >> b),
    "sar": _shift(lambda a, b, bits: _signed(a, bits) >> b),
    "rol": _shift(lambda a, b, bits: a << b % bits | a >> (bits - b % bits)),
    "ror": _shift(lambda a, b, bits: a >> b % bits | a << (bits - b % bits)),
    "bts": lambda a, b, bits: a | 1 << b % bits,
    "btr": lambda a, b, bits: a & ~(1 << b % bits),
    "btc": lambda a, b, bits: a ^ 1 << b % bits,
}
_ONE: Mapping[str, Callable[[int, int], int]] = {
    "not": lambda a, bits: ~a,
    "neg": lambda a, bits: -a,
    "inc": lambda a, bits: a + 1,
    "dec": lambda a, bits: a - 1,
    "bswap": lambda a, bits: int.from_bytes(a.to_bytes(bits // 8, "little"), "big"),
}


def after(
    name: str, operands: Sequence[str], registers: Mapping[str, int], value: Evaluate
) -> dict[str, int] | None:
    """The general registers after an instruction; None when it cannot be told.

    Args:
        name: the mnemonic.
        operands: their texts.
        registers: before it, by their 64-bit names.
        value: what a constant expression comes to, or None.
    """
    if name in _NOTHING:
        return dict(registers)
    if name == "xchg" and len(operands) == 2:
        a, b = (_read(text, registers, value) for text in operands)
        if a is None or b is None:
            return None
        found = _written(operands[0], b, registers)
        return _written(operands[1], a, found) if found is not None else None
    bits = register_bits(operands[0]) if operands else None
    if bits is None:
        return None
    if name == "lea" and len(operands) == 2:
        place = _address(operands[1], registers, value)
        return None if place is None else _written(operands[0], place, registers)
    old = _read(operands[0], registers, value)
    if len(operands) == 1 and name in _ONE and old is not None:
        return _written(operands[0], _ONE[name](old, bits), registers)
    if len(operands) == 2 and name in ("movsx", "movsxd"):
        source, width = _read(operands[1], registers, value), register_bits(operands[1])
        if source is None or width is None:
            return None
        return _written(operands[0], _signed(source, width), registers)
    if len(operands) == 2 and name in _TWO and old is not None:
        source = _read(operands[1], registers, value)
        return None if source is None else _written(operands[0], _TWO[name](old, source, bits), registers)
    return None


def _read(text: str, registers: Mapping[str, int], value: Evaluate) -> int | None:
    full, bits = full_register(text), register_bits(text)
    if full is None or bits is None:
        return None if "[" in text else value(text)
    if text.lower() in _HIGH_BYTES or full not in registers:
        return None
    return registers[full] & ((1 << bits) - 1)


def _address(text: str, registers: Mapping[str, int], value: Evaluate) -> int | None:
    """The address that an operand in memory names, by 64-bit registers; nothing is read there."""
    bare = text.strip()
    if not (bare.startswith("[") and bare.endswith("]")):
        return None
    words = _WORD.split(bare[1:-1])  # every second one is a name
    if any(register_bits(word) not in (None, 64) for word in words[1::2]):
        return None
    for n, word in enumerate(words):
        full = full_register(word) if n % 2 else None
        words[n] = str(registers[full]) if full is not None and full in registers else word
    return value("".join(words))


def _written(text: str, result: int, registers: Mapping[str, int]) -> dict[str, int] | None:
    """Registers with one of them given a value in some width: 32 bits clear the upper half, fewer keep the rest."""
    full, bits = full_register(text), register_bits(text)
    if full is None or bits is None or full not in registers or text.lower() in _HIGH_BYTES:
        return None
    result &= (1 << bits) - 1
    if bits < 32:
        result |= registers[full] & ~((1 << bits) - 1)
    return {**registers, full: result}
