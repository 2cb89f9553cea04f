"""The seed code that comes nearest to a tile, when that is asked for: with the greatest error of any channel stated.

Owns ``nearest``. Fits solid, grey, pair, gradient, slope, checker and board to the whole tile; of the other families it
tries only what ``find`` reads off it. So it may miss the best code, but never understates an error: each code is drawn
and compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pixelvm.god import family, find, seed
from pixelvm.god.family import SIDE, Code, Kind
from pixelvm.god.find import Mask, Offers, Tile
from pixelvm.god.seed import Words


class Near(NamedTuple):
    """A code and the greatest difference of any channel of any pixel, 0 to 255."""

    code: Code
    error: int


def nearest(words: Words, limit: int, asked: Mask | None = None) -> Near | None:
    """The code with the least error; None when each is above ``limit``.

    Args:
        words: 128x128 words.
        limit: greatest error, 0 to 255.
        asked: the pixels that matter, at an edge of a picture; None for all.
    """
    found = find.exact(words, asked)
    if found is not None:
        return Near(found, 0)
    if not limit:
        return None
    tile = Tile(words)
    best: Near | None = None
    for code in _offers(tile):
        error = difference(words, seed.expand(code), asked)
        if error <= limit and (best is None or error < best.error):
            best = Near(code, error)
    return best


def difference(one: Words, other: Words, asked: Mask | None = None) -> int:
    """The greatest difference of any channel of any pixel that is asked."""
    a, b = (Tile(words).channels.astype(np.int16) for words in (one, other))
    apart = np.abs(a - b)
    return int((apart if asked is None else apart[asked]).max())


def _offers(tile: Tile) -> Iterator[Code]:
    for reader in (_plain, _gradient, _slope, _board, _checker):
        for code in reader(tile):
            if code is not None:
                yield code
    yield from find.offers(tile)


def _middle(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    return (int(values.min()) + int(values.max())) // 2


def _plain(tile: Tile) -> Offers:
    channels = tile.channels
    middles = [_middle(channels[:, :, at]) for at in range(4)]
    yield family.code(Kind.SOLID, *middles[:3])
    yield family.code(Kind.GREY, _middle(channels[:, :, :3]), middles[3])
    yield family.code(Kind.PAIR, _middle(channels[:, :, 0::2]), _middle(channels[:, :, 1::2]))


def _gradient(tile: Tile) -> Offers:
    pairs = []
    for channel in range(3):
        plane = tile.channels[:, :, channel].astype(np.int16)
        pairs += [_step(plane[:, 1:] - plane[:, :-1]), _step(plane[1:] - plane[:-1])]
    yield family.code(Kind.GRADIENT, *pairs)


def _step(changes: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> int:
    """The median of differences modulo 256."""
    return int(np.median((changes + 128 & 255) - 128))


def _slope(tile: Tile) -> Offers:
    unit = 1 << family.SLOPE_FRACTION
    plane = tile.channels[:, :, :3].mean(axis=2).round().astype(np.int16)
    dx, dy = _step(plane[:, unit:] - plane[:, :-unit]), _step(plane[unit:] - plane[:-unit])
    place = np.arange(SIDE)
    for right in (dx - 1, dx, dx + 1):
        for down in (dy - 1, dy, dy + 1):
            rise = place * right + (place * down)[:, None] >> family.SLOPE_FRACTION
            rest = plane - rise
            first = int(rest[0, 0])
            off = (rest - first + 128 & 255) - 128
            start = first + (int(off.min()) + int(off.max())) // 2
            yield family.code(Kind.SLOPE, start & 255, right, down)


def _halves(tile: Tile, odd: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[list[int], list[int]]:
    """The middle of R, G and B of the even and of the odd cells."""
    even, other = tile.channels[~odd], tile.channels[odd]
    return tuple([_middle(half[:, at]) if len(half) else 0 for at in range(3)] for half in (even, other))  # type: ignore[return-value]


def _board(tile: Tile) -> Offers:
    place = np.arange(SIDE)
    for side in range(1, SIDE):
        parity = place // side & 1
        even, odd = _halves(tile, parity[:, None] != parity)
        yield family.code(Kind.BOARD, side - 1, *((min(half) + max(half)) // 2 for half in (even, odd)))


def _checker(tile: Tile) -> Offers:
    place = np.arange(SIDE)
    for w in range(8):
        for h in range(8):
            halves = _halves(tile, (place >> h & 1)[:, None] != (place >> w & 1))
            yield family.code(Kind.CHECKER, w, h, *map(_nearest333, halves))


def _nearest333(channels: list[int]) -> int:
    """The colour of 3 bits a channel whose levels lie nearest."""
    return sum(round(value * 7 / 255) << 3 * at for at, value in enumerate(channels))
