"""Seed codes drawn: the tile of a code, in NumPy, 32-bit wrap-around integers only.

Owns the meaning of each family (``family`` holds their numbers; shaders/god_pixel.wgsl says the same in WGSL). A tile
is an array of 128x128 32-bit words, R in the low byte, rows from the top. Draws, never looks for a code. Where many
tiles of a family that arrays draw slowly are asked for, ``native`` draws the same by machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import numpy as np
import numpy.typing as npt

from pixelvm.god import family, native
from pixelvm.god.family import SIDE, TILE_PIXELS, Code, Kind

Words = npt.NDArray[np.uint32]
Greys = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.integer]

OPAQUE = 0xFF000000
_GREY = 0x010101
_HIGH_BITS = 0x80808080  # of each channel
_LOW = np.arange(SIDE, dtype=np.uint8)
_X, _Y = _LOW[None, :], _LOW[:, None]


def expand(code: Code, out: Words | None = None) -> Words:
    """The tile of a code.

    Args:
        code: a legal one.
        out: 128x128 words to draw into; None for new ones.
    """
    tile = np.empty((SIDE, SIDE), np.uint32) if out is None or not out.flags.c_contiguous else out
    if code.family.kind in native.KINDS and native.pays():
        by_machine_code(code, tile)
    else:
        by_arrays(code, tile)
    if out is None or out is tile:
        return tile
    out[:] = tile
    return out


def by_arrays(code: Code, tile: Words) -> None:
    """Draw into a contiguous tile with NumPy: the definition of every family."""
    _DRAW[code.family.kind](tile, *code.values)


def by_machine_code(code: Code, tile: Words) -> None:
    """Draw into a contiguous tile with the code of ``native``; the family is one of its."""
    at = tile.ctypes.data
    if code.family.kind is Kind.JULIA:
        native.julia(at, *code.values)
    else:
        rule, start = code.values
        native.automaton(at, rule, first_row(start))


def mix(words: Words) -> Words:
    """A bijection of 32-bit words that looks like chance, in place."""
    first, second, third = family.MIX_SHIFTS
    words ^= words >> np.uint32(first)
    words *= np.uint32(family.MIX_FIRST)
    words ^= words >> np.uint32(second)
    words *= np.uint32(family.MIX_SECOND)
    words ^= words >> np.uint32(third)
    return words


@cache
def _steps(count: int) -> Words:
    """``GOLDEN * i`` for each i."""
    return np.arange(count, dtype=np.uint32) * np.uint32(family.GOLDEN)


def noise(seed: int, count: int) -> Words:
    """The first words of a noise."""
    return mix(_steps(count) + np.uint32(seed))


def grey(tile: Words, levels: Greys) -> None:
    """Each level as an opaque grey pixel."""
    np.multiply(levels, np.uint32(_GREY), out=tile, dtype=np.uint32)
    tile |= np.uint32(OPAQUE)


def _channels(tile: Words, channels: list[Greys]) -> None:
    view = tile.view(np.uint8).reshape(SIDE, SIDE, 4)
    for at, channel in enumerate(channels):
        view[:, :, at] = channel
    view[:, :, 3] = 255


def _solid(tile: Words, red: int, green: int, blue: int) -> None:
    tile.fill(OPAQUE | blue << 16 | green << 8 | red)


def _grey(tile: Words, level: int, alpha: int) -> None:
    tile.fill(level * _GREY | alpha << 24)


def _pair(tile: Words, low: int, high: int) -> None:
    tile.fill((low | high << 8) * 0x10001)


def _count(tile: Words, start: int, step: int) -> None:
    flat = tile.reshape(-1)
    np.multiply(_indexes(), np.uint32(step), out=flat)
    flat += np.uint32(start)


@cache
def _indexes() -> Words:
    return np.arange(TILE_PIXELS, dtype=np.uint32)


def _times(axis: Greys, factor: int) -> Greys:
    """Products modulo 256."""
    return axis * np.uint8(factor & 0xFF)


def _gradient(tile: Words, *values: int) -> None:
    """``values``: dx and dy of each channel; four channels are added at once, carries kept apart."""
    across, down = (_slopes(values[at::2]) for at in (0, 1))
    high = np.uint32(_HIGH_BITS)
    np.add((across & ~high)[None, :], (down & ~high)[:, None], out=tile)
    tile ^= (across & high)[None, :]
    tile ^= (down & high | np.uint32(OPAQUE))[:, None]


def _slopes(factors: tuple[int, ...]) -> Words:
    """A word for each place on an axis: three products modulo 256, A = 0."""
    word = np.zeros((SIDE, 4), np.uint8)
    for at, factor in enumerate(factors):
        word[:, at] = _times(_LOW, factor)
    return word.view("<u4").reshape(SIDE).astype(np.uint32)


def _slope(tile: Words, start: int, dx: int, dy: int) -> None:
    across = np.arange(SIDE, dtype=np.int32) * dx + (start << family.SLOPE_FRACTION)
    levels = across.astype(np.int16)[None, :] + (np.arange(SIDE, dtype=np.int16) * np.int16(dy))[:, None]
    grey(tile, (levels >> family.SLOPE_FRACTION).astype(np.uint8))


def rgb333(colour: int) -> int:
    """The opaque pixel of a colour of 3 bits a channel: each repeated to 8 bits."""
    channels = (colour >> at & 7 for at in (0, 3, 6))
    red, green, blue = (value << 5 | value << 2 | value >> 1 for value in channels)
    return OPAQUE | blue << 16 | green << 8 | red


def _two(tile: Words, odd_x: Places, odd_y: Places, even: int, odd: int) -> None:
    """A board of two pixels; ``odd_x`` and ``odd_y`` tell the parity of each column and row."""
    row = np.where(odd_x, np.uint32(odd), np.uint32(even))
    other = np.where(odd_x, np.uint32(even), np.uint32(odd))
    tile[:] = row
    tile[odd_y != 0] = other


def _checker(tile: Words, w: int, h: int, even: int, odd: int) -> None:
    _two(tile, _LOW >> np.uint8(w) & 1, _LOW >> np.uint8(h) & 1, rgb333(even), rgb333(odd))


def _board(tile: Words, side: int, even: int, odd: int) -> None:
    parity = _LOW // np.uint8(side + 1) & 1
    _two(tile, parity, parity, even * _GREY | OPAQUE, odd * _GREY | OPAQUE)


def _xor(tile: Words, a: int, b: int, c: int) -> None:
    grey(tile, (_times(_X, a) ^ _times(_Y, b)) + np.uint8(c))


def _product(tile: Words, a: int, b: int, c: int) -> None:
    grey(tile, _times(_X, a) * _Y + _times(_X, b) + _times(_Y, c))


def _quadratic(tile: Words, a: int, b: int, c: int) -> None:
    grey(tile, _times(_X, a) * _X + _times(_X, b) * _Y + _times(_Y, c) * _Y)


_WEAVES: tuple[Callable[[Greys, Greys], Greys], ...] = (
    np.bitwise_xor,
    np.bitwise_and,
    np.bitwise_or,
    np.add,
)


def weave(op: int, a: int, b: int) -> Greys:
    """One channel of a weave."""
    return _WEAVES[op](_times(_X, a + 1), _times(_Y, b + 1))


def _weave(tile: Words, *values: int) -> None:
    _channels(tile, [weave(*values[at : at + 3]) for at in (0, 3, 6)])


def _noise(tile: Words, seed: int) -> None:
    flat = tile.reshape(-1)
    np.add(_steps(TILE_PIXELS), np.uint32(seed), out=flat)
    mix(flat)


def _grain(tile: Words, seed: int) -> None:
    words = noise(seed, TILE_PIXELS // 4)
    grey(tile, words.astype("<u4", copy=False).view(np.uint8).reshape(SIDE, SIDE))


def _clouds(tile: Words, seed: int, size: int) -> None:
    count = (SIDE >> size) + 2  # an even number of lattice points, one beyond the edge among them
    blocks = count + 1 >> 1
    place = np.arange(blocks, dtype=np.uint32)
    places: Words = (place * np.uint32(family.CLOUD_ROW))[:, None] + place
    words = mix(places * np.uint32(family.GOLDEN) + np.uint32(seed)).astype("<u4", copy=False)
    lattice = words.view(np.uint8).reshape(blocks, blocks, 2, 2).transpose(0, 2, 1, 3)
    points = lattice.reshape(2 * blocks, 2 * blocks)[: SIDE // (1 << size) + 1].astype(np.uint16)
    cells = np.arange(SIDE) >> size
    part = (np.arange(SIDE) & (1 << size) - 1).astype(np.uint16)
    across = points.take(cells, 1) * ((1 << size) - part) + points.take(cells + 1, 1) * part
    down = part[: 1 << size].astype(np.uint32)[:, None]
    bands = tile.reshape(SIDE >> size, 1 << size, SIDE)  # the rows between two rows of lattice points
    np.multiply(across[:-1, None], np.uint32(1 << size) - down, out=bands)
    bands += across[1:, None] * down
    tile >>= np.uint32(2 * size)
    tile *= np.uint32(_GREY)
    tile |= np.uint32(OPAQUE)


def first_row(seed: int) -> int:
    """Row 0 of an automaton as a 128-bit number, cell x its bit x."""
    if not seed:
        return 1 << family.AUTOMATON_CELL
    return int.from_bytes(noise(seed, SIDE // 32).astype("<u4").tobytes(), "little")


def _automaton(tile: Words, rule: int, seed: int) -> None:
    every = (1 << SIDE) - 1
    row, rows = first_row(seed), []
    terms = [number for number in range(8) if rule >> number & 1]
    for _ in range(SIDE):
        rows.append(row)
        left = (row << 1 | row >> SIDE - 1) & every
        right = row >> 1 | (row & 1) << SIDE - 1
        new = 0
        for number in terms:
            new |= (
                (left if number & 4 else ~left)
                & (row if number & 2 else ~row)
                & (right if number & 1 else ~right)
            )
        row = new & every
    data = b"".join(row.to_bytes(SIDE // 8, "little") for row in rows)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(SIDE, SIDE)
    grey(tile, bits * np.uint8(255))


def _carpet(tile: Words, base: int, depth: int, graded: int, mask: int) -> None:
    counted = carpet_depth(base, depth, mask)
    levels = counted.astype(np.uint16) * 255 // depth if graded else (counted == depth) * np.uint8(255)
    grey(tile, levels.astype(np.uint8))


def carpet_depth(base: int, depth: int, mask: int) -> Greys:
    """How many digits of each pixel are in the mask before one is not."""
    number = np.uint8(base + 2)
    allowed = np.array([mask >> bit & 1 for bit in range(int(number) ** 2)], np.uint8).reshape(number, number)
    counted = np.zeros((SIDE, SIDE), np.uint8)
    alive = np.ones((SIDE, SIDE), np.uint8)
    rest = _LOW
    for _ in range(depth):
        digit = rest % number
        alive &= allowed[:, digit][digit]
        counted += alive
        rest = rest // number
    return counted


def julia_steps(zr: Ints, zi: Ints, cr: Ints, ci: Ints, most: int = family.JULIA_STEPS) -> Greys:
    """Steps until each point escapes, at most ``most``; the arrays are of one length and are used up."""
    counted = np.full(zr.shape, most, np.uint8)
    alive = np.arange(len(zr))
    for step in range(most):
        square_r: Ints = zr * zr
        square_i: Ints = zi * zi
        stay = square_r + square_i <= family.JULIA_ESCAPE
        if not stay.all():
            counted[alive[~stay]] = step
            alive, zr, zi, cr, ci = alive[stay], zr[stay], zi[stay], cr[stay], ci[stay]
            square_r, square_i = square_r[stay], square_i[stay]
            if not len(alive):
                break
        zr, zi = (
            (square_r - square_i >> family.JULIA_FRACTION) + cr,
            (zr * zi >> family.JULIA_FRACTION - 1) + ci,
        )
    return counted


def _julia(tile: Words, cr: int, ci: int, step: int) -> None:
    axis = (np.arange(SIDE, dtype=np.int32) * 2 - (SIDE - 1)) * np.int32(step)
    half = SIDE // 2  # the picture is its own under a turn by 180 degrees
    zr, zi = np.tile(axis, half), np.repeat(axis[:half], SIDE)
    real, imaginary = (np.full(len(zr), value * family.JULIA_UNIT, np.int32) for value in (cr, ci))
    upper = julia_steps(zr, zi, real, imaginary).reshape(half, SIDE)
    levels = np.concatenate((upper, upper[::-1, ::-1])) * np.uint8(family.JULIA_GREY)
    grey(tile, levels)


_DRAW = cast(
    "dict[Kind, Callable[..., None]]",
    {
        Kind.SOLID: _solid,
        Kind.GREY: _grey,
        Kind.PAIR: _pair,
        Kind.COUNT: _count,
        Kind.GRADIENT: _gradient,
        Kind.SLOPE: _slope,
        Kind.CHECKER: _checker,
        Kind.BOARD: _board,
        Kind.XOR: _xor,
        Kind.PRODUCT: _product,
        Kind.QUADRATIC: _quadratic,
        Kind.WEAVE: _weave,
        Kind.NOISE: _noise,
        Kind.GRAIN: _grain,
        Kind.CLOUDS: _clouds,
        Kind.AUTOMATON: _automaton,
        Kind.CARPET: _carpet,
        Kind.JULIA: _julia,
    },
)
