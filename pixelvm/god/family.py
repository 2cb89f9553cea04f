"""The families of generators that a God Pixel can name: the single source of their numbers, fields and constants.

Owns what a seed code is (a pixel whose R names the family and whose G, B, A hold 24 bits of parameters), which codes
are legal, and the constants that Python and WGSL share. SPEC.md's tables and the constants of shaders/god_pixel.wgsl
are printed from here. What a family looks like is ``seed``'s, how a code is found is ``find``'s.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from toolchain.errors import InputError

STAGE = "pixel"
VERSION = 1

SIDE = 128  # pixels along the side of a tile
TILE_PIXELS = SIDE * SIDE
PIXEL = 4  # bytes of a pixel: R, G, B, A
TILE_BYTES = PIXEL * TILE_PIXELS
PARAMETER_BITS = 24
RESIDUAL = 0  # the word of a tile that lies in the packed stream of its level
ADDRESS = 0xFE  # R of a tile in a dictionary; G, B, A are its index
INDEX_MAX = (1 << PARAMETER_BITS) - 1
WORD_MAX = 0xFFFFFFFF

GOLDEN = 0x9E3779B9  # 2^32 divided by the golden ratio, odd: steps through all words
MIX_FIRST = 0x7FEB352D  # the two multipliers of the mixer (C. Wellons, "lowbias32")
MIX_SECOND = 0x846CA68B
MIX_SHIFTS = (16, 15, 16)

SLOPE_FRACTION = 4  # bits behind the point
CLOUD_ROW = 64  # words of noise from one row of lattice blocks to the next
AUTOMATON_CELL = 64  # the one cell that is alive in row 0 when the seed is 0
JULIA_FRACTION = 12  # bits behind the point
JULIA_STEPS = 64
JULIA_ESCAPE = 4 << 2 * JULIA_FRACTION  # |z|^2 beyond which a point has escaped
JULIA_UNIT = 1 << JULIA_FRACTION - 6  # c is given in 64ths
JULIA_GREY = 4  # grey levels of a step


class Kind(IntEnum):
    """Numbers of the families: R of the pixel. 0 and 255 are none: erased pixels."""

    SOLID = 0x10
    GREY = 0x11
    PAIR = 0x12
    COUNT = 0x13
    GRADIENT = 0x20
    SLOPE = 0x21
    CHECKER = 0x22
    BOARD = 0x23
    XOR = 0x30
    PRODUCT = 0x31
    QUADRATIC = 0x32
    WEAVE = 0x33
    NOISE = 0x40
    GRAIN = 0x41
    CLOUDS = 0x42
    AUTOMATON = 0x50
    CARPET = 0x51
    JULIA = 0x52


class Field(NamedTuple):
    """A parameter: ``bits`` wide, two's complement when ``signed``, from ``low`` to ``high``."""

    name: str
    bits: int
    signed: bool = False
    low: int | None = None
    high: int | None = None

    @property
    def least(self) -> int:
        """The least legal value."""
        if self.low is not None:
            return self.low
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def greatest(self) -> int:
        """The greatest legal value."""
        if self.high is not None:
            return self.high
        return (1 << self.bits - self.signed) - 1


class Family(NamedTuple):
    """A family: its fields from the low bits up (what they leave of 24 bits is zero), its formula, its search.

    ``search`` says how a code is found: read off the tile, or by a search that is bounded as it says.
    """

    kind: Kind
    fields: tuple[Field, ...]
    formula: str
    search: str

    @property
    def name(self) -> str:
        """As it is written in reports."""
        return self.kind.name.lower()


def _bytes(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, 8) for name in names)


_READ = "read off the tile"
_RGB = ("red", "green", "blue")
FAMILIES: dict[int, Family] = {
    family.kind: family
    for family in (
        Family(Kind.SOLID, _bytes(*_RGB), "rgba(red, green, blue, 255)", _READ),
        Family(Kind.GREY, _bytes("level", "alpha"), "rgba(level, level, level, alpha)", _READ),
        Family(Kind.PAIR, _bytes("low", "high"), "rgba(low, high, low, high)", _READ),
        Family(Kind.COUNT, (Field("start", 16), Field("step", 8)), "word(start + step * i)", _READ),
        Family(
            Kind.GRADIENT,
            tuple(Field(f"{c}_{d}", 4, True) for c in _RGB for d in "xy"),
            "each channel c: c_x * x + c_y * y; A = 255",
            _READ,
        ),
        Family(
            Kind.SLOPE,
            (Field("start", 8), Field("dx", 8, True), Field("dy", 8, True)),
            "grey((16 * start + dx * x + dy * y) >> 4)",
            _READ,
        ),
        Family(
            Kind.CHECKER,
            (Field("w", 3), Field("h", 3), Field("even", 9), Field("odd", 9)),
            "rgb333(((x >> w) + (y >> h)) & 1 ? odd : even)",
            _READ,
        ),
        Family(
            Kind.BOARD,
            (Field("side", 7), Field("even", 8), Field("odd", 8)),
            "grey((x / (side + 1) + y / (side + 1)) & 1 ? odd : even)",
            _READ,
        ),
        Family(Kind.XOR, _bytes("a", "b", "c"), "grey(((a * x) ^ (b * y)) + c)", _READ),
        Family(Kind.PRODUCT, _bytes("a", "b", "c"), "grey(a * x * y + b * x + c * y)", _READ),
        Family(Kind.QUADRATIC, _bytes("a", "b", "c"), "grey(a * x * x + b * x * y + c * y * y)", _READ),
        Family(
            Kind.WEAVE,
            tuple(Field(f"{c}_{p}", n) for c in _RGB for p, n in (("op", 2), ("a", 3), ("b", 3))),
            "each channel c, p = (c_a + 1) * x, q = (c_b + 1) * y: p ^ q, p & q, p | q, p + q "
            "for c_op = 0, 1, 2, 3; A = 255",
            "256 parameters a channel",
        ),
        Family(Kind.NOISE, (Field("seed", 24),), "word(mix(seed + GOLDEN * i))", "the mixer undone"),
        Family(
            Kind.GRAIN,
            (Field("seed", 24),),
            "grey(byte i & 3 of mix(seed + GOLDEN * (i >> 2)))",
            "the mixer undone",
        ),
        Family(
            Kind.CLOUDS,
            (Field("seed", 21), Field("size", 3, False, 1, 6)),
            "n = 1 << size; grey of lattice(x / n .. x / n + 1, y / n .. y / n + 1), bilinear, >> 2 * size",
            "the mixer undone; 6 sizes",
        ),
        Family(
            Kind.AUTOMATON,
            (Field("rule", 8), Field("seed", 16)),
            "row 0 from the seed, row y + 1 by Wolfram's rule on a ring of 128 cells; grey(255 * cell)",
            "read off the tile; rules that differ in no row are equal, the least is taken",
        ),
        Family(
            Kind.CARPET,
            (Field("base", 2, False, 0, 2), Field("depth", 3, False, 1), Field("graded", 1), Field("mask", 16)),
            "k = digits of (x, y) in base b = base + 2, from the last, before the first whose mask bit "
            "b * y_digit + x_digit is 0, at most depth; graded: grey(255 * k / depth), else grey(k = depth ? 255 : 0)",
            "42 shapes, the mask read off the tile",
        ),
        Family(
            Kind.JULIA,
            (Field("cr", 8, True), Field("ci", 8, True), Field("step", 8, False, 1)),
            "n = steps of z = z * z + c, at most 64, until |z| > 2, from z = (2 * x - 127, 2 * y - 127) * step; "
            "grey(4 * n)",
            "2^16 values of c for each step that fits",
        ),
    )
}  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES.values()}


class Code(NamedTuple):
    """A seed code taken apart."""

    family: Family
    values: tuple[int, ...]

    @property
    def word(self) -> int:
        """The pixel as a 32-bit word, R in its low byte."""
        at, word = 8, int(self.family.kind)
        for field, value in zip(self.family.fields, self.values, strict=True):
            word |= (value & (1 << field.bits) - 1) << at
            at += field.bits
        return word

    def __str__(self) -> str:
        pairs = (f"{f.name}={v}" for f, v in zip(self.family.fields, self.values, strict=True))
        return " ".join((self.family.name, *pairs))


def code(kind: Kind, *values: int) -> Code | None:
    """The code with these parameters; None when one of them is out of its field."""
    made = Code(FAMILIES[kind], values)
    return made if _fault(made) is None else None


def _fault(given: Code) -> str | None:
    """What makes a code illegal."""
    for field, value in zip(given.family.fields, given.values, strict=True):
        if not field.least <= value <= field.greatest:
            return f"{field.name} is {value}; expected {field.least} to {field.greatest}"
    if given.family.kind is Kind.CARPET:
        base, _, _, mask = given.values
        if mask >> (base + 2) ** 2:
            return f"mask 0x{mask:x} has more than {(base + 2) ** 2} bits"
    return None


def parse(word: int) -> Code:
    """Take a code apart.

    Raises:
        InputError: the word is no seed code, with what is wrong in it.
    """
    name = f"0x{word:08x}"
    family = FAMILIES.get(word & 0xFF)
    if family is None:
        raise InputError(
            f"{name}: no seed code: R = 0x{word & 0xFF:02x} names no family (pixelvm/god/SPEC.md)",
            stage=STAGE,
        )
    rest, values = word >> 8, []
    for field in family.fields:
        value = rest & (1 << field.bits) - 1
        if field.signed and value >> field.bits - 1:
            value -= 1 << field.bits
        values.append(value)
        rest >>= field.bits
    found = Code(family, tuple(values))
    wrong = "bits above its parameters are set" if rest else _fault(found)
    if wrong:
        raise InputError(f"{name}: no seed code: {family.name}: {wrong}", stage=STAGE)
    return found


def is_legal(word: int) -> bool:
    """True for a seed code."""
    try:
        parse(word)
    except InputError:
        return False
    return True
