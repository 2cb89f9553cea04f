"""What a statement does, without to what: shapes and sorts of statements, for counting and comparing.

Owns two abstractions. A shape keeps prefix, mnemonic, constants and numbers, and of registers the width, of local
labels nothing; a sort keeps the mnemonic and what kind of operand each is.
"""

from __future__ import annotations

from functools import lru_cache

from architect.statements import Statement, is_register, is_symbol, tokens
from toolchain import headers


def shape(statement: Statement) -> str:
    """The statement with registers and local labels as their sorts, constants by name: what it does, not to what."""
    known = statement.shape
    if known is None:
        operands = ",".join([_shape_of(o.text) for o in statement.operands])
        known = f"{statement.prefix} {statement.name} {operands}"
        object.__setattr__(statement, "shape", known)
    return known


@lru_cache(maxsize=1 << 14)
def _shape_of(operand: str) -> str:
    parts = []
    for token in tokens(operand):
        text = token.text
        bits = headers.register_bits(text)
        if bits is not None and headers.full_register(text) != "rsp":
            parts.append(f"r{bits}")
        elif text.startswith(".L") or (text[0].isdigit() and text[-1] in "bf" and text[:-1].isdigit()):
            parts.append("L")
        else:
            parts.append(text)
    return "".join(parts)


@lru_cache(maxsize=1 << 14)
def coarse(operand: str) -> str:
    """The sort of an operand alone: register of a width, memory, number, symbol."""
    if "[" in operand:
        return "mem"
    bits = headers.register_bits(operand)
    if bits is not None:
        return f"r{bits}"
    if is_register(operand):
        return operand.lower()
    return "name" if any(is_symbol(t.text) for t in tokens(operand)) else "number"


def sort_of(statement: Statement) -> str:
    """Mnemonic and sorts of operands."""
    known = statement.sort
    if known is None:
        known = f"{statement.name} " + ",".join([coarse(o.text) for o in statement.operands])
        object.__setattr__(statement, "sort", known)
    return known
