"""Cartridges: a program as a picture, and back.

Owns where the bytes of a program lie in a picture. Plain: its serial form (``program.to_bytes``), four bytes a pixel,
the fourth complemented as in every instruction, in a square of up to 128x128 or in a row of such tiles. Covered: in
the two low bits of each channel of a cover picture, a byte a pixel (R holds bits 0 and 1), behind a mark and a SHA-256
that takes in the visible picture too. Everything is in the pixels: what strips metadata takes nothing away, and a
pixel that changes is noticed.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from pixelvm import png, program
from pixelvm.png import Picture
from pixelvm.program import Program
from toolchain.errors import InputError

STAGE = "vm"
TILE = 128  # pixels along the side of a full tile
SIDE_MIN = 8
COVER_MAGIC = b"PXCV"
_FLIP = bytes(255 - byte for byte in range(256))
_CLEAR = bytes(byte & 0xFC for byte in range(256))
_DIGEST = hashlib.sha256().digest_size


class Cartridge(NamedTuple):
    """A program and the picture that carries it."""

    program: Program
    picture: Picture
    covered: bool


def pack(made: Program, cover: Picture | None = None) -> Cartridge:
    """A program (within bounds) as a picture.

    Args:
        made: the program.
        cover: the picture to hide it in; its channels change by 3 of 255 at most.

    Raises:
        InputError: the cover has too few pixels.
    """
    data = program.to_bytes(made)
    return Cartridge(made, _plain(data) if cover is None else _covered(data, cover), cover is not None)


def _plain(data: bytes) -> Picture:
    side = SIDE_MIN
    while side < TILE and 4 * side * side < len(data):
        side *= 2
    tiles = max(1, -(-len(data) // (4 * side * side)))
    raw = bytearray(data.ljust(4 * side * side * tiles, b"\0"))
    raw[3::4] = raw[3::4].translate(_FLIP)
    stride = 4 * side
    rows = (raw[at : at + stride] for y in range(side) for at in range(y * stride, len(raw), side * stride))
    return Picture(side * tiles, side, b"".join(rows))


def _covered(data: bytes, cover: Picture) -> Picture:
    whole = COVER_MAGIC + _seal(cover, data) + data
    pixels = cover.width * cover.height
    if len(whole) > pixels:
        message = f"the cover has {pixels} pixels and the program needs {len(whole)}; take a larger picture"
        raise InputError(message, stage=STAGE)
    hidden = whole.ljust(pixels, b"\0")
    out = bytearray(cover.pixels.translate(_CLEAR))
    for channel in range(4):
        low = hidden.translate(bytes(byte >> 2 * channel & 3 for byte in range(256)))
        out[channel::4] = bytes(a | b for a, b in zip(out[channel::4], low, strict=True))
    return Picture(cover.width, cover.height, bytes(out))


def _seal(cover: Picture, data: bytes) -> bytes:
    """SHA-256 of all that is seen and hidden."""
    size = struct.pack("<2I", cover.width, cover.height)
    return hashlib.sha256(size + cover.pixels.translate(_CLEAR) + data).digest()


def unpack(picture: Picture, name: str) -> Cartridge:
    """The program that a picture carries.

    Args:
        picture: anybody's.
        name: begins the message of an error.

    Raises:
        InputError: it carries none, or a pixel of it was changed.
    """
    raw = _untiled(picture)
    if raw.startswith(program.MAGIC):
        return Cartridge(program.from_bytes(raw, name), picture, False)
    hidden = _hidden(picture)
    if not hidden.startswith(COVER_MAGIC):
        message = f"{name}: this picture carries no program; pack one with pxos vm pack"
        raise InputError(message, stage=STAGE)
    start = len(COVER_MAGIC) + _DIGEST
    found = program.from_bytes(hidden[start:], name)
    if hidden[len(COVER_MAGIC) : start] != _seal(picture, program.to_bytes(found)):
        raise InputError(f"{name}: the picture's SHA-256 does not fit; a pixel was changed", stage=STAGE)
    return Cartridge(found, picture, True)


def _untiled(picture: Picture) -> bytes:
    """The bytes of a plain cartridge in their order; of any other picture something."""
    raw = bytearray(picture.pixels)
    raw[3::4] = raw[3::4].translate(_FLIP)
    side, stride = picture.height, 4 * picture.width
    if picture.width % side:
        return bytes(raw)
    rows = (
        raw[y * stride + x : y * stride + x + 4 * side]
        for x in range(0, stride, 4 * side)
        for y in range(side)
    )
    return b"".join(rows)


def _hidden(picture: Picture) -> bytes:
    channels = (picture.pixels[channel::4] for channel in range(4))
    return bytes(
        r & 3 | (g & 3) << 2 | (b & 3) << 4 | (a & 3) << 6 for r, g, b, a in zip(*channels, strict=True)
    )


def read(data: bytes, name: str) -> Cartridge:
    """``unpack`` the picture of a PNG file.

    Raises:
        InputError: as ``png.read`` and ``unpack``.
    """
    return unpack(png.read(data, name), name)
