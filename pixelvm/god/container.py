"""Containers: a content as God Pixels and packed streams, with the SHA-256 of what comes out.

Owns the file format (SPEC.md, "Containers") and reading it back: sizes are checked against a limit before anything is
allocated, every byte of the file is covered by a checksum, and nothing is given out whose SHA-256 does not fit. How a
content is best written is ``press``'s.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pixelvm.god import dictionary, family, lossless, seed, surface
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import ADDRESS, RESIDUAL, SIDE, STAGE, TILE_BYTES
from pixelvm.god.seed import Words
from pixelvm.god.surface import Size
from pixelvm.god.varint import Reader
from toolchain.errors import InputError

MAGIC = b"PXGP"
VERSION = 1
LEVELS_MAX = 3
LIMIT = 256 << 20  # bytes of content that are expanded unless more is asked for
SIZE_MAX = 0xFFFFFFFF  # bytes of a file, and pixels along a side
_PICTURE, _BOUND, _TRAINED = 1, 2, 4  # flags
_HEAD = struct.Struct("<4sBBBBII")
DIGEST = hashlib.sha256().digest_size
_CRC = struct.Struct("<I")
HEADER = _HEAD.size + DIGEST + _CRC.size


class Content(NamedTuple):
    """What goes in and comes out: a picture (RGBA, rows from the top), or any bytes (``width`` and ``height`` 0)."""

    data: bytes
    width: int = 0
    height: int = 0

    @property
    def is_picture(self) -> bool:
        """A picture, not a file."""
        return bool(self.width)

    @property
    def size(self) -> Size:
        """As a picture of tiles."""
        return Size(self.width, self.height) if self.is_picture else surface.of_bytes(len(self.data))

    @property
    def digest(self) -> bytes:
        """SHA-256; a picture's takes its width and height in."""
        head = struct.pack("<2I", self.width, self.height) if self.is_picture else b""
        return hashlib.sha256(head + self.data).digest()


class Head(NamedTuple):
    """What a container says of itself.

    Attributes:
        picture: a picture, not a file.
        width: of a picture in pixels; the bytes of a file.
        height: of a picture in pixels; 0 of a file.
        levels: how often God Pixels are expanded; 0 when all is in one packed stream.
        error: greatest difference of any channel from what was compressed; 0 when exact.
        digest: SHA-256 of what comes out.
        identity: of the dictionary that it needs, or empty.
        trained: it needs the trained part of that dictionary.
    """

    picture: bool
    width: int
    height: int
    levels: int
    error: int
    digest: bytes
    identity: bytes = b""
    trained: bool = False

    @property
    def size(self) -> Size:
        """As a picture of tiles."""
        return Size(self.width, self.height) if self.picture else surface.of_bytes(self.width)

    @property
    def row(self) -> int:
        """Pixels of a row for the packed stream of level 0."""
        return self.width if self.picture else 0


def assemble(head: Head, body: bytes) -> bytes:
    """The file."""
    flags = _PICTURE * head.picture | _BOUND * bool(head.identity) | _TRAINED * head.trained
    fields = _HEAD.pack(MAGIC, VERSION, flags, head.levels, head.error, head.width, head.height)
    fields += head.digest
    rest = head.identity + body
    return fields + _CRC.pack(zlib.crc32(rest, zlib.crc32(fields))) + rest


def parse(data: bytes, name: str) -> tuple[Head, Reader]:
    """The head of a container, and a reader at its body.

    Raises:
        InputError: it is no container, or damaged.
    """
    reader = Reader(data, name)
    if data[: len(MAGIC)] != MAGIC:
        raise reader.refuse(
            "neither a God Pixel container nor a PNG of God Pixels; make one with pxos pixel compress"
        )
    fields = reader.take(_HEAD.size + DIGEST)
    _, version, flags, levels, error, width, height = _HEAD.unpack_from(fields)
    if version != VERSION:
        raise reader.refuse(f"a container of version {version}; this pxos reads version {VERSION}")
    (crc,) = _CRC.unpack(reader.take(_CRC.size))
    if crc != zlib.crc32(data[HEADER:], zlib.crc32(fields)):
        raise reader.refuse("the container's CRC does not fit; it was changed or cut off")
    picture, bound, trained = bool(flags & _PICTURE), bool(flags & _BOUND), bool(flags & _TRAINED)
    identity = reader.take(dictionary.ID) if bound else b""
    if flags >> 3 or levels > LEVELS_MAX or (trained and not bound):
        raise reader.refuse(f"is damaged: flags {flags} with {levels} levels")
    if (picture and not (width and height)) or (not picture and height) or (levels and not width):
        raise reader.refuse(f"is damaged: a size of {width}x{height}")
    return Head(picture, width, height, levels, error, fields[_HEAD.size :], identity, trained), reader


def check_dictionary(head: Head, store: Dictionary | None, name: str) -> None:
    """The dictionary that a container needs is here.

    Raises:
        InputError: it is not.
    """
    if not head.identity:
        return
    if store is None:
        raise InputError(
            f"{name}: needs dictionary {head.identity.hex()}; name its file with --dict", stage=STAGE
        )
    if store.identity != head.identity:
        message = f"needs dictionary {head.identity.hex()}; {store.name} is {store.identity.hex()}"
        raise InputError(f"{name}: {message}", stage=STAGE)
    if head.trained and not store.trained:
        raise InputError(f"{name}: needs the trained part of {store.name}, which has none", stage=STAGE)


def grids(size: Size, levels: int) -> list[Size]:
    """The sizes of the pictures from the topmost grid down to the content."""
    found = [size]
    for _ in range(levels):
        found.append(found[-1].grid)
    return found[::-1]


def expand(
    data: bytes, name: str, store: Dictionary | None = None, limit: int = LIMIT
) -> tuple[Head, Content]:
    """The content of a container.

    Args:
        data: anybody's bytes.
        name: begins the message of an error.
        store: the dictionary that a person named.
        limit: most bytes that may come out.

    Raises:
        InputError: it is damaged, needs more than ``limit``, or another dictionary.
    """
    head, reader = parse(data, name)
    check_limit(head.size, limit, name)
    if head.levels and head.size.padded > limit:  # a picture one pixel wide has 128 times its bytes in tiles
        tiles = head.size.padded
        raise reader.refuse(f"its tiles have {tiles} bytes, the limit is {limit}; raise it with --limit MIB")
    check_dictionary(head, store, name)
    prefix = store.trained if store is not None and head.trained else b""
    if head.levels:
        picture = _top(reader, grids(head.size, head.levels), prefix, store)
        out = surface.content(picture, head.size)
    else:
        out = lossless.unpack(reader, head.size.bytes, head.row, prefix)
    reader.end()
    made = Content(out, head.width, head.height) if head.picture else Content(out)
    if made.digest != head.digest:
        raise reader.refuse(
            "what it expands to does not have the SHA-256 that it names; it or its dictionary changed"
        )
    return head, made


def check_limit(size: Size, limit: int, name: str) -> None:
    """A content that may be expanded.

    Raises:
        InputError: it is larger.
    """
    if size.bytes > limit:
        message = f"{name}: expands to {size.bytes} bytes, the limit is {limit}; raise it with --limit MIB"
        raise InputError(message, stage=STAGE)


def _top(reader: Reader, sizes: list[Size], prefix: bytes, store: Dictionary | None) -> Words:
    """Grid after grid, until the content."""
    top = sizes[0]
    picture = surface.words(lossless.unpack(reader, top.bytes, top.width, prefix), top)
    for size in sizes[1:]:
        count = int((picture == RESIDUAL).sum())
        residual = lossless.unpack(reader, count * TILE_BYTES, SIDE, prefix) if count else b""
        picture = grow(picture, size, reader.name, store, residual)
    return picture


def grow(grid: Words, size: Size, name: str, store: Dictionary | None, residual: bytes = b"") -> Words:
    """The picture of a grid of God Pixels.

    Args:
        grid: a word for each tile.
        size: of the picture.
        name: begins the message of an error.
        store: where addresses lead.
        residual: the tiles of the words that are 0, in their order.

    Raises:
        InputError: a word is no God Pixel, or its tile is not in the dictionary.
    """
    return surface.grown(_tiles(grid, name, store, residual), size)


def _tiles(grid: Words, name: str, store: Dictionary | None, residual: bytes) -> Iterator[Words]:
    at, last, drawn = 0, -1, np.empty((SIDE, SIDE), np.uint32)
    for place, word in enumerate(grid.reshape(-1).tolist()):
        if word == RESIDUAL and at < len(residual):
            yield _words(residual[at : at + TILE_BYTES])
            at += TILE_BYTES
            continue
        if word != last:
            try:
                drawn = _tile(word, store)
            except InputError as error:
                raise InputError(f"{name}: tile {place}: {error.message}", stage=STAGE) from error
            last = word
        yield drawn


def _tile(word: int, store: Dictionary | None) -> Words:
    if word & 0xFF != ADDRESS:
        return seed.expand(family.parse(word))
    if store is None:
        raise InputError(f"0x{word:08x} is an address, and there is no dictionary", stage=STAGE)
    return _words(store.tile(word >> 8))


def _words(tile: bytes) -> Words:
    return np.frombuffer(tile, "<u4").astype(np.uint32).reshape(SIDE, SIDE)
