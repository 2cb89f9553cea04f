"""Contents as pictures of tiles: cutting into tiles of 128x128 pixels, and growing a picture from God Pixels.

Owns the geometry. A file of bytes is a picture 128 pixels wide, so that a tile is 64 KiB of it in a row; what lies
beyond the end or an edge is filled in and left out again. Knows nothing of codes, dictionaries or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pixelvm.god.family import PIXEL, SIDE
from pixelvm.god.find import Mask
from pixelvm.god.seed import Words


class Size(NamedTuple):
    """A picture's size in pixels; ``tail`` bytes of its last row are more than its content (0 for true pictures)."""

    width: int
    height: int
    tail: int = 0

    @property
    def grid(self) -> Size:
        """The picture that holds a God Pixel for each tile."""
        return Size(-(-self.width // SIDE), -(-self.height // SIDE))

    @property
    def bytes(self) -> int:
        """What the content needs."""
        return PIXEL * self.width * self.height - self.tail

    @property
    def padded(self) -> int:
        """Bytes of all its tiles."""
        return PIXEL * SIDE * SIDE * self.grid.width * self.grid.height


def of_bytes(count: int) -> Size:
    """The size of so many bytes, at least one."""
    row = PIXEL * SIDE
    height = -(-count // row)
    return Size(SIDE, height, height * row - count)


def words(content: bytes, size: Size) -> Words:
    """A content as words; the last pixel is repeated beyond its end."""
    if size.tail:
        last = content[-(len(content) % PIXEL or PIXEL) :].ljust(PIXEL, b"\0")
        whole = len(content) // PIXEL * PIXEL
        content = content[:whole] + last * ((size.bytes + size.tail - whole) // PIXEL)
    return np.frombuffer(content, "<u4").astype(np.uint32).reshape(size.height, size.width)


def content(picture: Words, size: Size) -> bytes:
    """What ``words`` made the picture of."""
    return picture.astype("<u4", copy=False).tobytes()[: size.bytes]


class Piece(NamedTuple):
    """A tile, and which of its pixels are of the picture (None for all)."""

    words: Words
    asked: Mask | None


def tiles(picture: Words, size: Size) -> Iterator[Piece]:
    """The tiles of a picture, row by row, the edge repeated where the picture ends."""
    for top in range(0, size.height, SIDE):
        for left in range(0, size.width, SIDE):
            part = picture[top : top + SIDE, left : left + SIDE]
            height, width = part.shape
            if (height, width) == (SIDE, SIDE) and not (size.tail and top + SIDE >= size.height):
                yield Piece(np.ascontiguousarray(part), None)
                continue
            asked = np.zeros((SIDE, SIDE), np.bool_)
            asked[:height, :width] = True
            if size.tail and top + SIDE >= size.height:
                end = height * SIDE - size.tail // PIXEL
                asked.reshape(-1)[end:] = False
            yield Piece(np.pad(part, ((0, SIDE - height), (0, SIDE - width)), mode="edge"), asked)


def grown(pieces: Iterator[Words], size: Size) -> Words:
    """The picture of these tiles, cut at its edges."""
    picture = np.empty((size.height, size.width), np.uint32)
    for top in range(0, size.height, SIDE):
        for left in range(0, size.width, SIDE):
            part = picture[top : top + SIDE, left : left + SIDE]
            part[:] = next(pieces)[: part.shape[0], : part.shape[1]]
    return picture
