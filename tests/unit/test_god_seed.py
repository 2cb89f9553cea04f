"""Seed codes: every family drawn as its formula says, found again from its tile, fitted with the error it states."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelvm.god import family, find, near, seed
from pixelvm.god.family import FAMILIES, SIDE, Code, Family, Kind
from tests.unit.god_tiles import code, some
from toolchain.errors import InputError

EVERY = [pytest.param(kind, id=kind.name) for kind in FAMILIES.values()]
WORD = 1 << 32
PLACES = [(0, 0), (1, 0), (0, 1), (5, 3), (63, 64), (64, 63), (126, 2), (17, 127), (127, 127)]


def byte(word: int, at: int) -> int:
    return word >> 8 * at & 255


def mix(word: int) -> int:
    """The mixer in plain numbers."""
    word ^= word >> 16
    word = word * 0x7FEB352D % WORD
    word ^= word >> 15
    word = word * 0x846CA68B % WORD
    return word ^ word >> 16


def chance(number: int, start: int) -> int:
    return mix((start + 0x9E3779B9 * number) % WORD)


def rgb(red: int, green: int, blue: int) -> int:
    return 0xFF000000 | (blue & 255) << 16 | (green & 255) << 8 | red & 255


def grey(level: int) -> int:
    return rgb(level, level, level)


def colour(value: int) -> int:
    return rgb(*(c << 5 | c << 2 | c >> 1 for c in (value & 7, value >> 3 & 7, value >> 6)))


def weave(op: int, p: int, q: int) -> int:
    return (p ^ q, p & q, p | q, p + q)[op]


def cloud(x: int, y: int, start: int, size: int) -> int:
    n = 1 << size

    def lattice(i: int, j: int) -> int:
        return byte(chance((j >> 1) * 64 + (i >> 1), start), (j & 1) * 2 + (i & 1))

    i, j, fx, fy = x // n, y // n, x % n, y % n
    top = lattice(i, j) * (n - fx) + lattice(i + 1, j) * fx
    low = lattice(i, j + 1) * (n - fx) + lattice(i + 1, j + 1) * fx
    return grey((top * (n - fy) + low * fy) >> 2 * size)


def automaton(x: int, y: int, rule: int, start: int) -> int:
    row = [
        byte(chance(c >> 5, start), c >> 3 & 3) >> (c & 7) & 1 if start else int(c == 64) for c in range(SIDE)
    ]
    for _ in range(y):
        row = [rule >> (4 * row[c - 1] + 2 * row[c] + row[(c + 1) % SIDE]) & 1 for c in range(SIDE)]
    return grey(255 * row[x])


def carpet(x: int, y: int, base: int, depth: int, graded: int, mask: int) -> int:
    k, b = 0, base + 2
    while k < depth and mask >> (b * (y // b**k % b) + x // b**k % b) & 1:
        k += 1
    return grey(255 * k // depth if graded else 255 * (k == depth))


def julia(x: int, y: int, cr: int, ci: int, step: int) -> int:
    zr, zi, n = (2 * x - 127) * step, (2 * y - 127) * step, 0
    while n < 64 and zr * zr + zi * zi <= 4 << 24:
        zr, zi, n = (zr * zr - zi * zi >> 12) + 64 * cr, (zr * zi >> 11) + 64 * ci, n + 1
    return grey(4 * n)


FORMULAS: dict[Kind, Callable[..., int]] = {
    Kind.SOLID: lambda x, y, *v: rgb(*v),
    Kind.GREY: lambda x, y, level, alpha: grey(level) & 0xFFFFFF | alpha << 24,
    Kind.PAIR: lambda x, y, low, high: (low | high << 8) * 0x10001,
    Kind.COUNT: lambda x, y, start, step: start + step * (SIDE * y + x),
    Kind.GRADIENT: lambda x, y, *v: rgb(*(v[at] * x + v[at + 1] * y for at in (0, 2, 4))),
    Kind.SLOPE: lambda x, y, start, dx, dy: grey(16 * start + dx * x + dy * y >> 4),
    Kind.CHECKER: lambda x, y, w, h, even, odd: colour(odd if (x >> w) + (y >> h) & 1 else even),
    Kind.BOARD: lambda x, y, side, even, odd: grey(odd if x // (side + 1) + y // (side + 1) & 1 else even),
    Kind.XOR: lambda x, y, a, b, c: grey((a * x ^ b * y) + c),
    Kind.PRODUCT: lambda x, y, a, b, c: grey(a * x * y + b * x + c * y),
    Kind.QUADRATIC: lambda x, y, a, b, c: grey(a * x * x + b * x * y + c * y * y),
    Kind.WEAVE: lambda x, y, *v: rgb(
        *(weave(v[at], (v[at + 1] + 1) * x, (v[at + 2] + 1) * y) for at in (0, 3, 6))
    ),
    Kind.NOISE: lambda x, y, start: chance(SIDE * y + x, start),
    Kind.GRAIN: lambda x, y, start: grey(byte(chance(SIDE * y + x >> 2, start), x & 3)),
    Kind.CLOUDS: cloud,
    Kind.AUTOMATON: automaton,
    Kind.CARPET: carpet,
    Kind.JULIA: julia,
}


@pytest.mark.parametrize("kind", EVERY)
def test_a_tile_is_what_its_formula_says(kind: Family) -> None:
    numbers = random.Random(kind.name)
    for _ in range(4):
        one = some(numbers, kind)
        tile = seed.expand(one)
        for x, y in PLACES + [(numbers.randrange(SIDE), numbers.randrange(24)) for _ in range(60)]:
            assert int(tile[y, x]) == FORMULAS[kind.kind](x, y, *one.values), (one, x, y)


@pytest.mark.parametrize("kind", EVERY)
def test_a_tile_gives_its_code_back(kind: Family) -> None:
    numbers = random.Random(kind.name)
    for _ in range(3 if kind.kind is Kind.JULIA else 12):
        one = some(numbers, kind)
        tile = seed.expand(one)
        assert family.parse(one.word) == one
        found = find.exact(tile)
        assert found is not None, one
        assert np.array_equal(seed.expand(found), tile)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY)
def test_many_tiles_give_their_codes_back(kind: Family) -> None:
    numbers = random.Random(7)
    for _ in range(200):
        one = some(numbers, kind)
        assert find.exact(seed.expand(one)) is not None, one


@pytest.mark.parametrize("kind", EVERY)
def test_one_other_pixel_and_there_is_no_such_code(kind: Family) -> None:
    numbers = random.Random(kind.name)
    for place in (0, 77, 5000, SIDE * SIDE - 1):
        tile = seed.expand(some(numbers, kind))
        tile.reshape(-1)[place] ^= 0x00010000
        found = find.exact(tile)
        assert found is None or np.array_equal(seed.expand(found), tile)


def test_chance_has_no_code() -> None:
    numbers = np.random.default_rng(3)
    for _ in range(5):
        assert find.exact(numbers.integers(0, WORD, (SIDE, SIDE), dtype=np.uint32)) is None


@given(st.integers(0, WORD - 1))
def test_the_mixer_is_undone(word: int) -> None:
    mixed = int(seed.mix(np.array([word], np.uint32))[0])
    assert mixed == mix(word)
    assert find.unmix(mixed) == word


@given(st.integers(0, WORD - 1))
def test_a_word_is_a_legal_code_or_refused(word: int) -> None:
    try:
        one = family.parse(word)
    except InputError as error:
        assert error.message.startswith(f"0x{word:08x}: no seed code: ")
        assert not family.is_legal(word)
    else:
        assert one.word == word
        assert seed.expand(one).shape == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        (0, "R = 0x00 names no family"), (0xFFFFFFFF, "R = 0xff"), (0x000000FE, "R = 0xfe"),
        (0x01000011, "bits above"), (0x80000023, "bits above"), (0x00000042, "size is 0"), (0xE0000042, "size is 7"),
        (0x00000352, "step is 0"), (0x00000B51, "base is 3"), (0x00000051, "depth is 0"), (0x00100451, "mask 0x40"),
    ],
)  # fmt: skip
def test_what_is_no_code(word: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        family.parse(word)


def test_fields_fill_no_more_than_a_pixel_holds() -> None:
    for kind in FAMILIES.values():
        assert sum(field.bits for field in kind.fields) <= family.PARAMETER_BITS, kind.name
        assert FORMULAS.keys() == FAMILIES.keys()
        assert family.code(kind.kind, *(field.greatest + 1 for field in kind.fields)) is None


@pytest.mark.parametrize(
    "one",
    [
        code("solid", 30, 60, 90), code("grey", 100, 200), code("pair", 20, 50), code("gradient", 1, -2, 3, 4, -5, 6),
        code("slope", 40, 20, -13), code("checker", 3, 5, 0o123, 0o654), code("board", 12, 30, 200),
    ],
    ids=str,
)  # fmt: skip
def test_a_noisy_tile_is_fitted_with_a_stated_error(one: Code) -> None:
    tile = seed.expand(one)
    channels = tile.view(np.uint8).astype(int)
    noisy = np.clip(channels + np.random.default_rng(1).integers(-3, 4, channels.shape), 0, 255)
    words = noisy.astype(np.uint8).view(np.uint32)
    assert find.exact(words) is None
    assert near.nearest(words, 0) is None
    found = near.nearest(words, 6)
    assert found is not None
    apart = np.abs(seed.expand(found.code).view(np.uint8).astype(int) - noisy)
    assert apart.max() == found.error <= 6
    assert near.nearest(words, found.error - 1) is None
