"""Pictures made easier to compress, and back: predictors, green taken off, planes, palettes.

Owns bijections between RGBA pictures and byte strings. Rows are predicted as PNG does (W3C PNG, section 9), with the
gradient predictor of LOCO-I (ITU-T T.87) besides; arithmetic is modulo 256. Undoing walks the diagonals of a picture,
whose pixels depend only on diagonals before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

NONE, SUB, UP, AVERAGE, PAETH, GRADIENT = range(6)
PREDICTORS = (NONE, SUB, UP, AVERAGE, PAETH, GRADIENT)
BY_ROW = 6  # a predictor for each row, in front of all pixels
PALETTE = 7
_FORMS = 8
_GREEN, _PLANES = 8, 16  # bits of a form beside the predictor
FORMS_MAX = 32
_COLOURS_MAX = 256


class Form(NamedTuple):
    """How a picture is laid out."""

    predictor: int
    green: bool = False
    planes: bool = False

    @property
    def number(self) -> int:
        """As it stands in containers."""
        return self.predictor | _GREEN * self.green | _PLANES * self.planes


def form(number: int) -> Form | None:
    """The form of a number; None when it is none."""
    found = Form(number % _FORMS, bool(number & _GREEN), bool(number & _PLANES))
    return found if number < FORMS_MAX and not (found.predictor == PALETTE and number != PALETTE) else None


def encoded_size(how: Form, width: int, height: int, first: int) -> int:
    """Bytes of an encoded picture; ``first`` is its first byte."""
    if how.predictor == PALETTE:
        return 1 + 4 * (first + 1) + height * -(-width * _depth(first + 1) // 8)
    return 4 * width * height + (height if how.predictor == BY_ROW else 0)


def _depth(colours: int) -> int:
    """Bits of an index: 1, 2, 4 or 8."""
    return next(bits for bits in (1, 2, 4, 8) if colours <= 1 << bits)


def encode(how: Form, pixels: bytes, width: int) -> bytes | None:
    """A picture laid out; None when it has too many colours for a palette.

    Args:
        how: the form.
        pixels: RGBA, rows from the top.
        width: pixels of a row, at least 1.
    """
    picture = np.frombuffer(pixels, np.uint8).reshape(-1, width, 4)
    if how.predictor == PALETTE:
        return _indexed(picture)
    picture = picture.copy()
    if how.green:
        picture[:, :, 0] -= picture[:, :, 1]
        picture[:, :, 2] -= picture[:, :, 1]
    kinds, rest = _predicted(picture, how.predictor)
    planes = rest.transpose(2, 0, 1) if how.planes else rest
    return (kinds.tobytes() if how.predictor == BY_ROW else b"") + planes.tobytes()


def decode(how: Form, data: bytes, width: int, height: int) -> bytes | None:
    """What ``encode`` laid out; None when a row's predictor or an index is none.

    Args:
        how: the form.
        data: ``encoded_size`` bytes, anybody's.
        width: pixels of a row.
        height: rows.
    """
    if how.predictor == PALETTE:
        return _colours(data, width, height)
    kinds = np.full(height, how.predictor, np.uint8)
    if how.predictor == BY_ROW:
        kinds, data = np.frombuffer(data[:height], np.uint8), data[height:]
        if kinds.max() not in PREDICTORS:
            return None
    rest = np.frombuffer(data, np.uint8)
    if how.planes:
        rest = rest.reshape(4, height, width).transpose(1, 2, 0)
    picture = _summed(kinds, rest.reshape(height, width, 4))
    if how.green:
        picture[:, :, 0] += picture[:, :, 1]
        picture[:, :, 2] += picture[:, :, 1]
    return picture.tobytes()


def _guess(kind: int, left: Bytes, up: Bytes, corner: Bytes) -> Bytes:
    """What a predictor expects; arrays of one shape."""
    if kind == NONE:
        return np.zeros_like(left)
    if kind == SUB:
        return left
    if kind == UP:
        return up
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    if kind == AVERAGE:
        return (a + b >> 1).astype(np.uint8)
    if kind == GRADIENT:
        clipped: npt.NDArray[np.int16] = np.minimum(np.maximum(a + b - c, np.minimum(a, b)), np.maximum(a, b))
        return clipped.astype(np.uint8)
    near = a + b - c
    to_left, to_up, to_corner = np.abs(near - a), np.abs(near - b), np.abs(near - c)
    best = np.where((to_left <= to_up) & (to_left <= to_corner), a, np.where(to_up <= to_corner, b, c))
    return best.astype(np.uint8)


def _predicted(picture: Bytes, predictor: int) -> tuple[Bytes, Bytes]:
    """The predictor of each row, and what is left of the pixels."""
    around = np.pad(picture, ((1, 0), (1, 0), (0, 0)))
    left, up, corner = around[1:, :-1], around[:-1, 1:], around[:-1, :-1]
    if predictor != BY_ROW:
        kinds = np.full(len(picture), predictor, np.uint8)
        return kinds, picture - _guess(predictor, left, up, corner)
    every = np.stack([picture - _guess(kind, left, up, corner) for kind in PREDICTORS])
    cost = np.minimum(every, 0 - every).astype(np.int64).sum(axis=(2, 3))  # as PNG encoders judge a row
    kinds = cost.argmin(axis=0).astype(np.uint8)
    return kinds, every[kinds, np.arange(len(picture))]


def _summed(kinds: Bytes, rest: Bytes) -> Bytes:
    height, width, _ = rest.shape
    out = np.zeros((height + 1, width + 1, 4), np.uint8)
    used = [int(kind) for kind in np.unique(kinds)]
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = out[y + 1, x], out[y, x + 1], out[y, x]
        guess = _guess(used[0], left, up, corner)
        for kind in used[1:]:
            guess = np.where((kinds[y] == kind)[:, None], _guess(kind, left, up, corner), guess)
        out[y + 1, x + 1] = rest[y, x] + guess
    return out[1:, 1:].copy()


def _indexed(picture: Bytes) -> bytes | None:
    height, width, _ = picture.shape
    words = np.ascontiguousarray(picture).view("<u4").reshape(-1)
    colours, places = np.unique(words, return_inverse=True)
    if len(colours) > _COLOURS_MAX:
        return None
    depth = _depth(len(colours))
    bits = np.unpackbits(places.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    rows = np.packbits(bits.reshape(height, width * depth), axis=1)
    return bytes([len(colours) - 1]) + colours.astype("<u4").tobytes() + rows.tobytes()


def _colours(data: bytes, width: int, height: int) -> bytes | None:
    count = data[0] + 1
    depth = _depth(count)
    colours = np.frombuffer(data[1 : 1 + 4 * count], "<u4")
    rows = np.frombuffer(data[1 + 4 * count :], np.uint8).reshape(height, -1)
    bits = np.unpackbits(rows, axis=1)[:, : width * depth].reshape(-1, depth)
    places = bits @ (1 << np.arange(depth - 1, -1, -1))
    if places.max() >= count:
        return None
    return colours[places].tobytes()
