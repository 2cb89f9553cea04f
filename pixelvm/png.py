"""Pictures as PNG files: a strict reader for anybody's files and a small writer.

Owns the part of PNG that a cartridge needs (W3C PNG, third edition): 8-bit RGB and RGBA, not interlaced. What it does
not know it refuses in one line; it never unpacks more than the header promises, and that is bounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from toolchain.errors import InputError

STAGE = "vm"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS_MAX = 1 << 20
FILE_MAX = 16 << 20  # bytes; more than PIXELS_MAX need, with room for metadata
_HEADER = struct.Struct(">2I5B")
_CHANNELS = {2: 3, 6: 4}  # colour type -> bytes of a pixel
_LEVEL = 9


class Picture(NamedTuple):
    """A picture in memory; ``pixels`` row by row from the top, R, G, B, A for each."""

    width: int
    height: int
    pixels: bytes


def write(picture: Picture) -> bytes:
    """The PNG file of a picture: RGBA, no metadata, the same bytes for the same picture and zlib."""
    stride = 4 * picture.width
    rows = (picture.pixels[at : at + stride] for at in range(0, len(picture.pixels), stride))
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), _LEVEL)
    header = _HEADER.pack(picture.width, picture.height, 8, 6, 0, 0, 0)
    return SIGNATURE + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, packed, b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read(data: bytes, name: str) -> Picture:
    """The picture of a PNG file.

    Args:
        data: anybody's bytes.
        name: begins the message of an error.

    Raises:
        InputError: it is no PNG, is damaged, is too large, or of a kind that no cartridge has.
    """
    header: tuple[int, ...] | None = None
    packed: list[bytes] = []
    last = b""
    for kind, body in _chunks(data, name):
        if (header is None) != (kind == b"IHDR"):
            raise _refuse(name, "IHDR is not its first chunk, or not the only one")
        if kind == b"IHDR":
            header = _header(body, name)
        elif kind == b"IDAT":
            if packed and last != b"IDAT":
                raise _refuse(name, "its IDAT chunks do not follow one another")
            packed.append(body)
        elif kind == b"tRNS":
            raise _refuse(name, "one of its colours is transparent (tRNS); save it as RGBA")
        elif not kind[0] & 0x20 and kind not in (b"IEND", b"PLTE"):
            raise _refuse(name, f"a chunk {kind.decode('latin-1')} that is not known; save it as plain RGBA")
        last = kind
    if header is None or not packed:
        raise _refuse(name, "it holds no picture")
    width, height, _, colour, *_ = header
    channels = _CHANNELS[colour]
    flat = _unpacked(b"".join(packed), height * (1 + width * channels), name)
    pixels = _unfiltered(flat, width * channels, channels, name)
    return Picture(width, height, pixels if channels == 4 else _with_alpha(pixels))


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk of a file up to IEND, its CRC checked."""
    if not data.startswith(SIGNATURE):
        raise _refuse(name, "not a PNG file")
    at = len(SIGNATURE)
    while True:
        if len(data) < at + 12:
            raise _refuse(name, "the PNG file is cut off")
        (length,) = struct.unpack_from(">I", data, at)
        if length > len(data) - at - 12:
            raise _refuse(name, "the PNG file is cut off")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if not (kind.isalpha() and kind.isascii()):
            raise _refuse(name, "the PNG file is damaged: a chunk without a name")
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        if crc != zlib.crc32(data[at + 4 : at + 8 + length]):
            raise _refuse(name, f"the PNG file is damaged: the CRC of {kind.decode('latin-1')} does not fit")
        yield kind, body
        at += 12 + length
        if kind == b"IEND":
            break
    if length or at != len(data):
        raise _refuse(name, "something follows the end of the picture")


def _header(body: bytes, name: str) -> tuple[int, ...]:
    if len(body) != _HEADER.size:
        raise _refuse(name, "the PNG file is damaged: its IHDR has the wrong length")
    header = _HEADER.unpack(body)
    width, height, depth, colour, compression, filtering, interlace = header
    if depth != 8 or colour not in _CHANNELS or compression or filtering:
        raise _refuse(name, f"colour type {colour} with {depth} bits; save it as RGB or RGBA with 8 bits")
    if interlace:
        raise _refuse(name, "an interlaced PNG; save it without interlacing")
    if not (width > 0 and height > 0 and width * height <= PIXELS_MAX):
        raise _refuse(name, f"{width}x{height} pixels; expected 1 to {PIXELS_MAX} pixels")
    return header


def _unpacked(packed: bytes, size: int, name: str) -> bytes:
    """Exactly ``size`` bytes from a zlib stream that holds no more."""
    stream = zlib.decompressobj()
    try:
        flat = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise _refuse(name, f"the PNG file is damaged: {error}") from error
    if len(flat) != size or stream.unused_data:
        raise _refuse(name, f"its picture data do not fit its size; expected {size} bytes")
    if not stream.eof:
        raise _refuse(name, "the PNG file is damaged: its picture data do not end")
    return flat


def _unfiltered(flat: bytes, stride: int, channels: int, name: str) -> bytes:
    """Undo the filters of the rows (section 9, "Filtering")."""
    out = bytearray()
    above = bytes(stride)
    for at in range(0, len(flat), stride + 1):
        kind, row = flat[at], bytearray(flat[at + 1 : at + 1 + stride])
        if kind > 4:
            raise _refuse(name, f"the PNG file is damaged: a row with filter {kind}")
        if kind == 2:
            row = bytearray((a + b) & 0xFF for a, b in zip(row, above, strict=True))
        elif kind:
            _unfilter_row(kind, row, above, channels)
        out += row
        above = bytes(row)
    return bytes(out)


def _unfilter_row(kind: int, row: bytearray, above: bytes, channels: int) -> None:
    """Filters that look to the left: Sub, Average, Paeth."""
    for i in range(len(row)):
        left = row[i - channels] if i >= channels else 0
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + above[i]) >> 1
        else:
            guess = _paeth(left, above[i], above[i - channels] if i >= channels else 0)
        row[i] = (row[i] + guess) & 0xFF


def _paeth(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    distances = abs(near - left), abs(near - up), abs(near - corner)
    return (left, up, corner)[distances.index(min(distances))]


def _with_alpha(pixels: bytes) -> bytes:
    out = bytearray(b"\xff" * (len(pixels) // 3 * 4))
    for channel in range(3):
        out[channel::4] = pixels[channel::3]
    return bytes(out)


def _refuse(name: str, message: str) -> InputError:
    return InputError(f"{name}: {message}", stage=STAGE)
