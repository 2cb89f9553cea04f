"""The x86 register names: class, width and number of each, and the modes that know it.

Owns the table and nothing else (Intel SDM vol. 1, 3.4 and vol. 2A, 2.2.1.2 for the numbers).
"""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal[
    "r8", "r16", "r32", "r64", "seg", "cr", "dr", "tr", "st", "mm", "xmm", "ymm", "zmm", "k", "bnd", "ip"
]


def word_set(text: str) -> frozenset[str]:
    """The words of ``text``."""
    return frozenset(text.split())


class Reg:
    """A register operand; one object per register, compare with ``is`` or ``==``.

    Attributes:
        name: in lower case.
        kind: its class.
        size: bytes it holds.
        number: 0 to 31, as the encodings count (``ah`` is 4, ``spl`` is 4 too).
        only64: True when only 64-bit mode knows it.
    """

    __slots__ = ("kind", "name", "number", "only64", "size")

    def __init__(self, name: str, kind: Kind, size: int, number: int, only64: bool) -> None:
        self.name = name
        self.kind: Final = kind
        self.size = size
        self.number = number
        self.only64 = only64

    def __repr__(self) -> str:
        return f"Reg({self.name})"


def _table() -> dict[str, Reg]:
    table: dict[str, Reg] = {}

    def add(kind: Kind, size: int, names: list[str], first64: int, first: int = 0) -> None:
        for index, name in enumerate(names):
            table[name] = Reg(name, kind, size, first + index, first + index >= first64)

    plain = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
    add("r8", 1, ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"], 8)
    add("r8", 1, ["spl", "bpl", "sil", "dil", *(f"r{n}b" for n in range(8, 16))], 0, 4)
    add("r16", 2, [*plain, *(f"r{n}w" for n in range(8, 16))], 8)
    add("r32", 4, [*("e" + name for name in plain), *(f"r{n}d" for n in range(8, 16))], 8)
    add("r64", 8, [*("r" + name for name in plain), *(f"r{n}" for n in range(8, 16))], 0)
    add("seg", 2, ["es", "cs", "ss", "ds", "fs", "gs"], 8)
    add("cr", 8, [f"cr{n}" for n in range(16)], 9)
    add("dr", 8, [f"dr{n}" for n in range(16)], 8)
    add("tr", 4, [f"tr{n}" for n in range(8)], 8)
    add("st", 10, [f"st({n})" for n in range(8)], 8)
    add("mm", 8, [f"mm{n}" for n in range(8)], 8)
    add("xmm", 16, [f"xmm{n}" for n in range(32)], 8)
    add("ymm", 32, [f"ymm{n}" for n in range(32)], 8)
    add("zmm", 64, [f"zmm{n}" for n in range(32)], 8)
    add("k", 8, [f"k{n}" for n in range(8)], 8)
    add("bnd", 16, [f"bnd{n}" for n in range(4)], 8)
    table["rip"] = Reg("rip", "ip", 8, 0, True)
    table["eip"] = Reg("eip", "ip", 4, 0, True)
    return table


REGISTERS: Final = _table()
# What a mode takes for a register name; st alone is st(0) and handled by the operand grammar.
BY_MODE: Final = {
    64: REGISTERS,
    32: {name: reg for name, reg in REGISTERS.items() if not reg.only64},
    16: {name: reg for name, reg in REGISTERS.items() if not reg.only64},
}
