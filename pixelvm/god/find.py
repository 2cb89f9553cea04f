"""The seed code of a tile, where there is one: each family's parameters read off the tile, then proved by drawing it.

Owns ``exact``. A family's reader offers the few codes that could draw the tile (``family`` names its search and the
bound of it); a code counts only when what it draws is the tile, pixel for pixel. Never tries codes one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from pixelvm.god import family, seed
from pixelvm.god.family import SIDE, Code, Kind
from pixelvm.god.seed import Greys, Words

_WORD = 1 << 32
_PROBE = 16  # side of the corner in which weaves are compared first
_BLACK_WHITE = {0, 255}
_JULIA_PIXELS = 400  # pixels that are asked before a code is drawn
_JULIA_COVERED = 45  # up to this step every pixel begins with |z| <= 2


class Tile:
    """A tile and what its readers ask of it."""

    def __init__(self, words: Words) -> None:
        self.words = words

    @cached_property
    def channels(self) -> npt.NDArray[np.uint8]:
        """128x128x4: R, G, B, A."""
        return np.ascontiguousarray(self.words, "<u4").view(np.uint8).reshape(SIDE, SIDE, 4)

    @cached_property
    def opaque(self) -> bool:
        """A is 255 everywhere."""
        return bool((self.words >= seed.OPAQUE).all())

    @cached_property
    def is_grey(self) -> bool:
        """Opaque, and R, G and B are the same everywhere."""
        if not self.opaque:
            return False
        return bool((self.words == self.levels * np.uint32(0x010101) + np.uint32(seed.OPAQUE)).all())

    @cached_property
    def levels(self) -> Words:
        """R of each pixel."""
        return self.words & np.uint32(255)

    @cached_property
    def values(self) -> set[int]:
        """The different levels."""
        return set(np.flatnonzero(np.bincount(self.levels.reshape(-1), minlength=256)).tolist())

    def at(self, x: int, y: int) -> int:
        """The word of a pixel."""
        return int(self.words[y, x])

    def level(self, x: int, y: int) -> int:
        """R of a pixel."""
        return self.at(x, y) & 255


Offers = Iterator[Code | None]


Mask = npt.NDArray[np.bool_]


def exact(words: Words, asked: Mask | None = None) -> Code | None:
    """The code that draws exactly this tile; None when no code is found.

    Args:
        words: 128x128 words.
        asked: the pixels that matter, at an edge of a picture; None for all.
    """
    tile = Tile(words)
    for code in offers(tile):
        same = seed.expand(code) == words
        if same.all() or (asked is not None and same[asked].all()):
            return code
    return None


def offers(tile: Tile) -> Iterator[Code]:
    """The codes that could draw the tile, family by family."""
    greys = _GREYS if tile.is_grey else ()
    for reader in (*_ANY, *_OPAQUE, *greys, _weave) if tile.opaque else _ANY:
        for code in reader(tile):
            if code is not None:
                yield code


def unmix(word: int) -> int:
    """The word that ``seed.mix`` makes ``word`` of."""
    first, second, third = family.MIX_SHIFTS
    word = _unshift(word, third) * pow(family.MIX_SECOND, -1, _WORD) % _WORD
    word = _unshift(word, second) * pow(family.MIX_FIRST, -1, _WORD) % _WORD
    return _unshift(word, first)


def _unshift(word: int, by: int) -> int:
    """Undo ``word ^= word >> by``."""
    found = word
    for _ in range(32 // by):
        found = word ^ found >> by
    return found


def signed(value: int) -> int:
    """A byte as a number from -128 to 127."""
    return (value + 128 & 255) - 128


def _solid(tile: Tile) -> Offers:
    word = tile.at(0, 0)
    yield family.code(Kind.SOLID, word & 255, word >> 8 & 255, word >> 16 & 255)


def _grey(tile: Tile) -> Offers:
    word = tile.at(0, 0)
    yield family.code(Kind.GREY, word & 255, word >> 24)


def _pair(tile: Tile) -> Offers:
    word = tile.at(0, 0)
    yield family.code(Kind.PAIR, word & 255, word >> 8 & 255)


def _count(tile: Tile) -> Offers:
    yield family.code(Kind.COUNT, tile.at(0, 0), (tile.at(1, 0) - tile.at(0, 0)) % _WORD)


def _gradient(tile: Tile) -> Offers:
    across, down = tile.channels[0, 1], tile.channels[1, 0]
    pairs = (signed(int(axis[channel])) for channel in range(3) for axis in (across, down))
    yield family.code(Kind.GRADIENT, *pairs)


def _slope(tile: Tile) -> Offers:
    start, unit = tile.level(0, 0), 1 << family.SLOPE_FRACTION
    yield family.code(
        Kind.SLOPE, start, signed(tile.level(unit, 0) - start), signed(tile.level(0, unit) - start)
    )


def _first_change(line: Words) -> int:
    """Where a line is no longer what it begins with; its length when nowhere."""
    changes = np.flatnonzero(line != line[0])
    return int(changes[0]) if len(changes) else len(line)


def colour333(word: int) -> int:
    """The colour of 3 bits a channel that begins as the pixel's do."""
    return word >> 5 & 7 | (word >> 13 & 7) << 3 | (word >> 21 & 7) << 6


def _checker(tile: Tile) -> Offers:
    w, h = _first_change(tile.words[0]), _first_change(tile.words[:, 0])
    if w & w - 1 or h & h - 1 or w == h == SIDE:
        return
    other = tile.at(w, 0) if w < SIDE else tile.at(0, h)
    yield family.code(
        Kind.CHECKER, w.bit_length() - 1, h.bit_length() - 1, colour333(tile.at(0, 0)), colour333(other)
    )


def _board(tile: Tile) -> Offers:
    side = _first_change(tile.words[0])
    if side < SIDE:
        yield family.code(Kind.BOARD, side - 1, tile.level(0, 0), tile.level(side, 0))


def _xor(tile: Tile) -> Offers:
    c = tile.level(0, 0)
    yield family.code(Kind.XOR, tile.level(1, 0) - c & 255, tile.level(0, 1) - c & 255, c)


def _product(tile: Tile) -> Offers:
    b, c = tile.level(1, 0), tile.level(0, 1)
    yield family.code(Kind.PRODUCT, tile.level(1, 1) - b - c & 255, b, c)


def _quadratic(tile: Tile) -> Offers:
    a, c = tile.level(1, 0), tile.level(0, 1)
    yield family.code(Kind.QUADRATIC, a, tile.level(1, 1) - a - c & 255, c)


@cache
def _weaves() -> npt.NDArray[np.uint8]:
    """The corner of every weave of one channel, by op, a, b."""
    every = [seed.weave(n >> 6, n >> 3 & 7, n & 7)[:_PROBE, :_PROBE] for n in range(256)]
    return np.stack(every).reshape(256, -1)


def _weave(tile: Tile) -> Offers:
    if tile.at(0, 0) != seed.OPAQUE:  # each of them begins with 0
        return
    found: list[int] = []
    for channel in range(3):
        corner = tile.channels[:_PROBE, :_PROBE, channel].reshape(-1)
        fits = np.flatnonzero((_weaves() == corner).all(axis=1))
        if not len(fits):
            return
        number = int(fits[0])
        found += (number >> 6, number >> 3 & 7, number & 7)
    yield family.code(Kind.WEAVE, *found)


def _noise(tile: Tile) -> Offers:
    yield family.code(Kind.NOISE, unmix(tile.at(0, 0)))


def _grain(tile: Tile) -> Offers:
    yield family.code(Kind.GRAIN, unmix(sum(tile.level(x, 0) << 8 * x for x in range(4))))


def _clouds(tile: Tile) -> Offers:
    field = family.FAMILIES[Kind.CLOUDS].fields[1]
    for size in range(field.least, field.greatest + 1):
        places = ((x << size, y << size) for y in (0, 1) for x in (0, 1))
        word = sum(tile.level(*place) << 8 * at for at, place in enumerate(places))
        yield family.code(Kind.CLOUDS, unmix(word), size)


def _automaton(tile: Tile) -> Offers:
    if not tile.values <= _BLACK_WHITE:
        return
    cells: Greys = (tile.levels & 1).astype(np.uint8)
    row = int.from_bytes(np.packbits(cells[0], bitorder="little").tobytes(), "little")
    start = 0 if row == seed.first_row(0) else unmix(row % _WORD)
    if start >= 1 << 16 or row != seed.first_row(start):
        return
    before = cells[:-1]
    around = np.roll(before, 1, axis=1) << 2 | before << 1 | np.roll(before, -1, axis=1)
    alive = np.bincount(around[cells[1:] != 0], minlength=8) != 0
    yield family.code(Kind.AUTOMATON, sum(1 << n for n in range(8) if alive[n]), start)


def _carpet(tile: Tile) -> Offers:
    if not 2 <= len(tile.values) <= 8:
        return
    bases, depths = family.FAMILIES[Kind.CARPET].fields[:2]
    for base in range(bases.least, bases.greatest + 1):
        for depth in range(depths.least, depths.greatest + 1):
            for graded in (0, 1):
                steps = [k * 255 // depth for k in range(depth + 1)] if graded else [0, 255]
                if tile.values <= set(steps):
                    yield family.code(Kind.CARPET, base, depth, graded, _mask(tile, base + 2, depth, steps))


def _mask(tile: Tile, number: int, depth: int, steps: list[int]) -> int:
    """The pairs of digits that pixels of each depth need to have."""
    mask, place = 0, np.arange(SIDE)
    for level in range(depth):
        digit = place // number**level % number
        pairs = number * digit[:, None] + digit[None, :]
        needs = steps[level + 1] if len(steps) > 2 else steps[-1]
        mask |= sum(1 << int(pair) for pair in np.unique(pairs[tile.levels >= needs]))
    return mask


def _julia(tile: Tile) -> Offers:
    if any(value % family.JULIA_GREY for value in tile.values) or len(tile.values) < 2:
        return
    if not np.array_equal(tile.levels, tile.levels[::-1, ::-1]):
        return
    counts = tile.levels // family.JULIA_GREY
    counts[(counts == 0) & _inside(tile)] = family.JULIA_STEPS
    for step in _julia_steps(tile):
        yield from _julia_constants(counts, step)


def _inside(tile: Tile) -> npt.NDArray[np.bool_]:
    """Black pixels that are not outside the circle |z| = 2: they have another black pixel nearer to the middle."""
    axis = np.abs(np.arange(SIDE) * 2 - (SIDE - 1))
    distance = axis[:, None] ** 2 + axis[None, :] ** 2
    lit = distance[tile.levels != 0]
    near: Mask = distance <= (int(lit.max()) if len(lit) else 0)
    return near


def _julia_steps(tile: Tile) -> range:
    """The steps whose circle |z| = 2 lies between the outermost pixel that is lit and the next."""
    axis = np.abs(np.arange(SIDE) * 2 - (SIDE - 1))
    distance = axis[:, None] ** 2 + axis[None, :] ** 2
    furthest = int(distance[tile.levels != 0].max())
    greatest = min(255, int((family.JULIA_ESCAPE / furthest) ** 0.5))
    beyond = distance[(distance > furthest)]
    least = int((family.JULIA_ESCAPE / int(beyond.min())) ** 0.5) + 1 if len(beyond) else 1
    return range(max(1, least), greatest + 1)


def _julia_constants(counts: Words, step: int) -> Offers:
    """Every c that fits pixel after pixel, those that ask for the fewest steps first."""
    every = np.arange(-128, 128, dtype=np.int32)
    cr, ci = np.repeat(every, 256), np.tile(every, 256)
    flat = counts.reshape(-1)
    order = np.argsort(flat[: flat.size // 2], kind="stable")
    order = order[np.searchsorted(flat[order], 1) :]
    chosen = order[:: max(1, len(order) // _JULIA_PIXELS)]
    for place in chosen:
        count, (y, x) = int(flat[place]), divmod(int(place), SIDE)
        zr, zi = (np.full(len(cr), (2 * at - SIDE + 1) * step, np.int32) for at in (x, y))
        unit = np.int32(family.JULIA_UNIT)
        most = min(count + 1, family.JULIA_STEPS)
        fits = seed.julia_steps(zr, zi, cr * unit, ci * unit, most) == count
        cr, ci = cr[fits], ci[fits]
        if len(cr) <= 1:
            break
    for r, i in zip(cr.tolist(), ci.tolist(), strict=True):
        yield family.code(Kind.JULIA, r, i, step)


Reader = Callable[[Tile], Offers]
_ANY: tuple[Reader, ...] = (_grey, _pair, _count, _noise)
_OPAQUE: tuple[Reader, ...] = (_solid, _gradient, _checker)
_GREYS: tuple[Reader, ...] = (
    _slope,
    _board,
    _xor,
    _product,
    _quadratic,
    _grain,
    _clouds,
    _automaton,
    _carpet,
    _julia,
)
