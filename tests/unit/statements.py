"""Statements made from operand names (see ``toolchain.encode_table``): one that stands for a form, or random ones."""

from __future__ import annotations

import re
from random import Random

from toolchain.registers import REGISTERS

KINDS = {
    "b": "r8", "w": "r16", "d": "r32", "q": "r64", "s": "seg", "C": "cr", "G": "dr", "t": "st", "M": "mm",
    "x": "xmm", "y": "ymm", "z": "zmm", "k": "k", "B": "bnd",
}  # fmt: skip
SIZES = {
    "1": "byte", "2": "word", "4": "dword", "6": "fword", "8": "qword", "10": "tbyte", "16": "xmmword",
    "32": "ymmword", "64": "zmmword", "f": "far", "n": "near",
}  # fmt: skip
_STANDARD = {
    "b": "bl", "w": "bx", "d": "ebx", "q": "rbx", "s": "fs", "C": "cr3", "G": "dr3", "t": "st(2)", "M": "mm2",
    "x": "xmm2", "y": "ymm2", "z": "zmm2", "k": "k2", "B": "bnd2", "st0": "st(0)", "i": "5",
    "a": "[0x123456789abc]", "f": "8:0x1234",
}  # fmt: skip
_DECORATED = re.compile(r"(.*?)((?:\{.*\})+)$")
NUMBERS = (
    0, 1, 2, 3, 5, -1, 127, 128, -128, -129, 255, 256, 0x1234, 0x7FFF, 0x8000, 0xFFFF, 0x10000, -0x8000, -0x8001,
    0x12345678, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, -0x80000000, -0x80000001, 0x123456789ABC,
    -(2**63), 2**63 - 1, 2**64 - 1, 0xFFFFFFFF80000000, 0xFF80, 0xFFFFFF80,
)  # fmt: skip
DISPLACEMENTS = (
    0, 1, -1, 8, 127, 128, -128, -129, 0x1000, 0x7FFF, 0x8000, 0xFFFF, -0x8000, 0x10000, 0x7FFFFFFF, -0x80000000,
    0x80000000, 0xFFFFFFFF, 0xFEE00000, 0xB8000, 0xFFFFFFFF80000000,
)  # fmt: skip
_SHORT = ("bx+si", "bx+di", "bp+si", "bp+di", "si", "di", "bp", "bx")


def standard(mnemonic: str, form: tuple[str, ...], mode: int) -> str:
    """The statement that stands for a form."""
    return f"{mnemonic} {', '.join(_standard(name, mode) for name in form)}".rstrip()


def _standard(name: str, mode: int) -> str:
    decorated = _DECORATED.match(name)
    if decorated:
        return (_standard(decorated[1], mode) if decorated[1] else "") + decorated[2].replace("{k}", "{k3}")
    if name in _STANDARD:
        return _STANDARD[name]
    base = {64: "rsi", 32: "esi", 16: "si"}[mode]
    if name[0] == "m" and (name[1:] in SIZES or name == "m"):
        return f"{SIZES[name[1:]]} ptr [{base}]" if name[1:] else f"[{base}]"
    if name[0] == "v" and name[1:2] in "xyz":
        return f"{SIZES[name[2:]] + ' ptr ' if name[2:] else ''}[{base}+{KINDS[name[1]]}3]"
    return name


def random_statement(mnemonic: str, form: str, mode: int, random: Random) -> str:
    """A statement of the form with random registers, addresses and numbers, many of them out of range."""
    names = form.split(",") if form else []
    return f"{mnemonic} {', '.join(_random(name, mode, random) for name in names)}".rstrip()


def _random(name: str, mode: int, random: Random) -> str:
    decorated = _DECORATED.match(name)
    if decorated:
        lead = _random(decorated[1], mode, random) if decorated[1] else ""
        return lead + decorated[2].replace("{k}", f"{{k{random.randint(1, 7)}}}")
    if name in KINDS:
        return random.choice(_registers(KINDS[name], mode))
    if name == "i":
        return _number(random.choice(NUMBERS), random)
    if name == "f":
        return f"{_number(random.choice((8, 0x10, 0xFFFF, 0x10000)), random)}:{_number(random.choice(NUMBERS), random)}"
    if name == "a":
        return f"[{random.choice((0x123456789ABCDEF0, 0x1000, 0xFEE00000)):#x}]"
    if name in ("m", "st0") or name[0] in "mv":
        return "st(0)" if name == "st0" else _memory(name, mode, random)
    return name


def _registers(kind: str, mode: int) -> list[str]:
    return [reg.name for reg in REGISTERS.values() if reg.kind == kind and (mode == 64 or not reg.only64)]


def _number(value: int, random: Random) -> str:
    if random.random() < 0.5:
        return str(value)
    return f"-{-value:#x}" if value < 0 else f"{value:#x}"


def _memory(name: str, mode: int, random: Random) -> str:
    vector = KINDS[name[1]] if name[0] == "v" else ""
    size = name[2:] if vector else name[1:]
    keyword = f"{SIZES[size]} ptr " if size else ""
    segment = random.choice(("fs:", "gs:", "cs:", "ds:", "ss:", "es:")) if random.random() < 0.15 else ""
    disp = _number(random.choice(DISPLACEMENTS), random) if random.random() < 0.6 else ""
    where = random.random()
    if (mode == 16 and random.random() < 0.7) or (mode == 32 and random.random() < 0.05):
        inner = random.choice((*_SHORT, ""))
    else:
        kind = "r64" if mode == 64 and random.random() < 0.85 else "r32"
        names = _registers(kind, mode)
        scale = random.choice(("", "*1", "*2", "*4", "*8"))
        if vector:
            inner = f"{random.choice(names)}+{random.choice(_registers(vector, mode))}{scale}"
        elif where < 0.45:
            inner = random.choice(names)
        elif where < 0.75:
            inner = f"{random.choice(names)}+{random.choice(names)}{scale}"
        elif where < 0.85:
            inner = f"{random.choice(names)}{scale or '*2'}"
        else:
            inner = "rip" if mode == 64 and where < 0.92 else ""
    if not inner:
        disp = disp or _number(random.choice(DISPLACEMENTS), random)
    elif disp and disp[0] != "-":
        disp = f"+{disp}"
    return f"{keyword}{segment}[{inner}{disp}]"
