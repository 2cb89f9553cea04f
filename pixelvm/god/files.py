"""What lies in the files that a person names: contents to compress, containers and pictures of God Pixels to expand.

Owns how kinds of files are told apart and the bounds on them. Reads; what is written, the commands write.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import numpy as np

from pixelvm import png
from pixelvm.god import container, family
from pixelvm.god.container import LEVELS_MAX, Content
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import SIDE, STAGE
from pixelvm.god.surface import Size
from pixelvm.png import Picture
from toolchain.errors import InputError
from toolchain.files import read_bounded

FILE_MAX = container.LIMIT  # bytes of a file to compress
_NUMBER = 16  # base of a code


class Kind(StrEnum):
    """How a file is taken."""

    AUTO = "auto"
    BYTES = "bytes"
    PICTURE = "picture"


def content(path: Path, kind: Kind) -> tuple[Content, int]:
    """What is to be compressed, and the bytes of the file that it came from.

    Args:
        path: the file.
        kind: ``AUTO`` takes a PNG that ``png`` reads for its picture, everything else for its bytes.

    Raises:
        InputError: it cannot be read, or is not the picture that it is said to be.
    """
    data = read_bounded(path, FILE_MAX, stage=STAGE)
    if kind is Kind.BYTES or (kind is Kind.AUTO and not data.startswith(png.SIGNATURE)):
        return Content(data), len(data)
    try:
        return of_picture(png.read(data, str(path))), len(data)
    except InputError:
        if kind is Kind.PICTURE:
            raise
        return Content(data), len(data)  # a PNG of another kind is a file like any other


def of_picture(picture: Picture) -> Content:
    """A picture as a content."""
    return Content(picture.pixels, picture.width, picture.height)


def file_of(made: Content) -> bytes:
    """The file that an expanded content is written as: a PNG, or its bytes."""
    return png.write(Picture(made.width, made.height, made.data)) if made.is_picture else made.data


def expand(path: Path, levels: int | None, store: Dictionary | None, limit: int) -> Content:
    """The content of a container, or the picture that a PNG of God Pixels grows to.

    Args:
        path: the file.
        levels: for a PNG, how often each pixel is taken for a seed code (None: once).
        store: for a container that needs a dictionary.
        limit: most bytes that may come out.

    Raises:
        InputError: it is neither, is damaged, or grows beyond the limit.
    """
    name = str(path)
    data = read_bounded(path, FILE_MAX, stage=STAGE)
    if not data.startswith(png.SIGNATURE):
        if levels is not None:
            raise InputError(f"{name}: --levels is for a PNG; a container knows its own", stage=STAGE)
        return container.expand(data, name, store, limit)[1]
    picture = png.read(data, name)
    words = np.frombuffer(picture.pixels, "<u4").astype(np.uint32).reshape(picture.height, picture.width)
    return grow(words, levels or 1, name, limit)


def grow(
    words: np.ndarray[tuple[int, ...], np.dtype[np.uint32]], levels: int, name: str, limit: int
) -> Content:
    """The picture that a picture of seed codes grows to.

    Raises:
        InputError: a pixel on the way is no seed code, or the picture grows beyond the limit.
    """
    height, width = words.shape
    if not 1 <= levels <= LEVELS_MAX:
        raise InputError(f"{name}: {levels} levels; expected 1 to {LEVELS_MAX}", stage=STAGE)
    size = Size(width, height)
    for _ in range(levels):
        size = Size(size.width * SIDE, size.height * SIDE)
    container.check_limit(size, limit, name)
    for _ in range(levels):
        size = Size(words.shape[1] * SIDE, words.shape[0] * SIDE)
        words = container.grow(words, size, name, None)
    return Content(words.astype("<u4", copy=False).tobytes(), size.width, size.height)


def number(text: str) -> int:
    """A code as a person writes it: ``0x`` and 8 hexadecimal digits, R the last two.

    Raises:
        InputError: it is no such number, or no legal code.
    """
    try:
        word = int(text, _NUMBER) if text.lower().startswith("0x") else -1
    except ValueError:
        word = -1
    if not 0 <= word <= family.WORD_MAX:
        raise InputError(f"'{text}': expected a code, 0x and up to 8 hexadecimal digits", stage=STAGE)
    return family.parse(word).word
