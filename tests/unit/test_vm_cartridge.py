"""Cartridges: programs as pictures, and PNG files from anybody."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelvm import cartridge, isa, png, program
from pixelvm.isa import Op
from pixelvm.png import Picture
from pixelvm.program import Program
from tests.unit.vm_programs import programs
from toolchain.errors import InputError

NOISE = random.Random(5)
SMALL = Program(tuple(isa.word(Op.PUSH, n) for n in range(20)), b"data!", 512, 3)
COVER = Picture(30, 20, NOISE.randbytes(30 * 20 * 4))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def head(width: int, height: int, depth: int = 8, colour: int = 6, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, interlace))


def file(*chunks: bytes) -> bytes:
    return png.SIGNATURE + b"".join(chunks)


END = chunk(b"IEND", b"")
ONE = chunk(b"IDAT", zlib.compress(b"\0abcd"))


@pytest.mark.long
@given(programs())
def test_a_program_becomes_a_picture_and_back(made: Program) -> None:
    packed = cartridge.pack(made)
    back = cartridge.read(png.write(packed.picture), "c.png")
    assert back == packed
    assert back.program == made


@pytest.mark.parametrize(
    ("count", "size"), [(1, (8, 8)), (50, (8, 8)), (51, (16, 16)), (16000, (128, 128)), (20000, (256, 128))]
)
def test_sizes_and_tiles(count: int, size: tuple[int, int]) -> None:
    made = Program(tuple(range(count)))
    packed = cartridge.pack(made)
    assert (packed.picture.width, packed.picture.height) == size
    assert cartridge.unpack(packed.picture, "c").program == made


def test_an_instruction_is_its_pixel() -> None:
    pixels = cartridge.pack(SMALL).picture.pixels
    at = program.HEADER + 4 * 7
    assert pixels[at : at + 4] == bytes((Op.PUSH, 7, 0, 255))


def test_a_cover_stays_what_it_looks_like() -> None:
    packed = cartridge.pack(SMALL, COVER)
    assert max(abs(a - b) for a, b in zip(packed.picture.pixels, COVER.pixels, strict=True)) <= 3
    back = cartridge.read(png.write(packed.picture), "c.png")
    assert (back.program, back.covered) == (SMALL, True)
    with pytest.raises(InputError, match="the cover has 64 pixels and the program needs"):
        cartridge.pack(SMALL, Picture(8, 8, bytes(256)))


@pytest.mark.parametrize("cover", [None, COVER], ids=["plain", "covered"])
def test_every_changed_bit_is_noticed(cover: Picture | None) -> None:
    picture = cartridge.pack(SMALL, cover).picture
    for at in range(len(picture.pixels)):
        changed = bytearray(picture.pixels)
        changed[at] ^= 1 << NOISE.randrange(8)
        with pytest.raises(InputError, match=r"^c: "):
            cartridge.unpack(picture._replace(pixels=bytes(changed)), "c")


def test_metadata_may_come_and_go() -> None:
    data = png.write(cartridge.pack(SMALL).picture)
    extra = chunk(b"tEXt", b"Title\0x")
    richer = data[:33] + extra + data[33 : -len(END)] + chunk(b"tIME", bytes(7)) + data[-len(END) :]
    assert cartridge.read(richer, "c").program == SMALL


def guess(kind: int, left: int, up: int, corner: int) -> int:
    """What each filter takes off a byte (section 9.2)."""
    paeth = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
    return (0, left, up, (left + up) // 2, paeth)[kind]


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("channels", [3, 4])
def test_filters(kind: int, channels: int) -> None:
    """Rows filtered as the specification says come back."""
    width, height = 5, 4
    plain = NOISE.randbytes(width * height * channels)
    rows, above = b"", bytes(width * channels)
    for y in range(height):
        row = plain[y * width * channels : (y + 1) * width * channels]
        left, corner = bytes(channels) + row, bytes(channels) + above
        rows += bytes(
            (kind, *((row[i] - guess(kind, left[i], above[i], corner[i])) & 0xFF for i in range(len(row))))
        )
        above = row
    packed = zlib.compress(rows)
    data = file(
        head(width, height, colour={3: 2, 4: 6}[channels]),
        chunk(b"IDAT", packed[:9]),
        chunk(b"IDAT", packed[9:]),
        END,
    )
    expected = (
        plain if channels == 4 else b"".join(plain[i : i + 3] + b"\xff" for i in range(0, len(plain), 3))
    )
    assert png.read(data, "c") == Picture(width, height, expected)


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a PNG"),
    "gif": (b"GIF89a", "not a PNG"),
    "signature": (png.SIGNATURE, "cut off"),
    "no end": (file(head(1, 1), ONE), "cut off"),
    "long chunk": (file(b"\xff\xff\xff\xffIHDR" + bytes(20)), "cut off"),
    "crc": (file(head(1, 1)[:-1] + b"x", ONE, END), "CRC of IHDR"),
    "no name": (file(chunk(b"\0\1\2\3", b"")), "without a name"),
    "no header": (file(ONE, END), "IHDR is not its first"),
    "two": (file(head(1, 1), head(1, 1), ONE, END), "IHDR is not"),
    "short header": (file(chunk(b"IHDR", b"x"), ONE, END), "wrong length"),
    "no data": (file(head(1, 1), END), "holds no picture"),
    "16 bits": (file(head(1, 1, 16), ONE, END), "16 bits"),
    "palette": (file(head(1, 1, 8, 3), ONE, END), "colour type 3"),
    "grey": (file(head(1, 1, 8, 0), ONE, END), "colour type 0"),
    "interlaced": (file(head(1, 1, interlace=1), ONE, END), "interlac"),
    "nothing": (file(head(0, 1), ONE, END), "0x1 pixels"),
    "huge": (file(head(1 << 31, 1 << 31), ONE, END), "pixels; expected 1 to"),
    "critical": (file(head(1, 1), chunk(b"ABCD", b""), ONE, END), "chunk ABCD"),
    "trns": (file(head(1, 1, colour=2), chunk(b"tRNS", bytes(6)), ONE, END), "tRNS"),
    "apart": (file(head(1, 1), ONE, chunk(b"tEXt", b""), ONE, END), "follow one another"),
    "trailing": (file(head(1, 1), ONE, END) + b"x", "follows the end"),
    "end": (file(head(1, 1), ONE, chunk(b"IEND", b"x")), "follows"),
    "zlib": (file(head(1, 1), chunk(b"IDAT", b"xxxx"), END), "damaged"),
    "few": (file(head(2, 1), ONE, END), "do not fit its size"),
    "many": (file(head(1, 1), chunk(b"IDAT", zlib.compress(bytes(6))), END), "do not fit its size"),
    "bomb": (file(head(1, 1), chunk(b"IDAT", zlib.compress(bytes(1 << 26))), END), "do not fit its size"),
    "cut stream": (file(head(1, 1), chunk(b"IDAT", zlib.compress(b"\0abcd")[:-4]), END), "do not end"),
    "unused": (file(head(1, 1), chunk(b"IDAT", zlib.compress(b"\0abcd") + b"x"), END), "do not fit its size"),
    "filter": (file(head(1, 1), chunk(b"IDAT", zlib.compress(b"\5abcd")), END), "filter 5"),
    "no program": (file(head(1, 1), ONE, END), "carries no program"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_cartridge(case: str) -> None:
    data, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        cartridge.read(data, "bad.png")
    assert caught.value.message.startswith("bad.png: ")


def test_a_cut_cartridge_is_refused_wherever_it_is_cut() -> None:
    data = png.write(cartridge.pack(SMALL).picture)
    for end in range(len(data)):
        with pytest.raises(InputError):
            cartridge.read(data[:end], "c")


def remade(change: Callable[[Program], Program]) -> bytes:
    return program.to_bytes(change(SMALL))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no program begins"),
        (b"PXVM" + bytes(80), "version 0"),
        (program.to_bytes(SMALL)[:-4], "cut off"),
        (b"PXVM" + struct.pack("<5I", 1, 1 << 30, 0, 0, 0) + bytes(99), "more than a machine holds"),
        (remade(lambda p: p._replace(memory=100)), "100 bytes of memory"),
        (remade(lambda p: p._replace(entry=20)), "its entry 20"),
        (remade(lambda p: p._replace(data=bytes(513))), "513 bytes of data in 512"),
        (remade(lambda p: p._replace(code=())), "0 instructions"),
        (program.to_bytes(SMALL) + b"\1", "SHA-256"),
    ],
)
def test_bytes_that_are_no_program(data: bytes, words: str) -> None:
    assert program.from_bytes(program.to_bytes(SMALL) + bytes(8), "p") == SMALL
    with pytest.raises(InputError, match=words):
        program.from_bytes(data, "p")


@given(st.integers(1, 9), st.integers(1, 9), st.binary(min_size=324, max_size=324))
def test_any_picture_survives_its_file(width: int, height: int, noise: bytes) -> None:
    picture = Picture(width, height, noise[: 4 * width * height])
    assert png.read(png.write(picture), "p") == picture
