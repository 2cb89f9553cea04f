"""Packed streams: every filter, form and codec gives back what went in, and damage is a defined error."""

from __future__ import annotations

import itertools
import lzma
import random
from pathlib import Path

import brotli  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelvm.god import codecs, elfcut, filters, layouts, lossless, predict
from pixelvm.god.codecs import Codec, Damaged, Setting
from pixelvm.god.container import Content
from pixelvm.god.filters import Filter
from pixelvm.god.varint import Reader, number
from tests.unit.god_tiles import code, tile
from toolchain import build
from toolchain.errors import InputError

pytestmark = pytest.mark.long

CODE = st.lists(
    st.sampled_from([b"\xe8", b"\xe9", b"\x0f\x84", b"\0\0\0\0", b"\xff\xff\xff", b"\5", b"\x80"])
).map(b"".join)
SETTINGS = [Setting(Codec.STORED), Setting(Codec.ZSTD), Setting(Codec.BROTLI), codecs.lzma_setting(0, 4, 4)]

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def back(packed: bytes, size: int, width: int = 0, prefix: bytes = b"") -> bytes:
    reader = Reader(packed, "p")
    out = lossless.unpack(reader, size, width, prefix)
    reader.end()
    return out


@given(st.binary(max_size=60) | CODE, st.sampled_from(Filter), st.integers(1, 255))
def test_filters_come_back(data: bytes, kind: Filter, width: int) -> None:
    assert filters.undo(kind, width, filters.apply(kind, width, data)) == data
    assert filters.apply(kind, width, filters.undo(kind, width, data)) == data


def test_branches_to_one_place_look_alike() -> None:
    call = b"".join(b"\xe8" + (100 - at - 5).to_bytes(4, "little", signed=True) for at in range(0, 200, 5))
    assert filters.apply(Filter.X86, 0, call) == b"\xe8\x64\0\0\0" * 40


@pytest.mark.parametrize("place", [5, 50, 95])
@pytest.mark.parametrize("target", [-1, 0, 1, 99, 100, 101])
def test_branches_to_the_ends(place: int, target: int) -> None:
    """The displacements that lead into 100 bytes become their targets; those just outside come back too."""
    code_of = bytearray(b"\x90" * 100)
    code_of[place - 5 : place] = b"\xe9" + (target - place).to_bytes(4, "little", signed=True)
    packed = filters.apply(Filter.X86, 0, bytes(code_of))
    if 0 <= target < 100:
        assert int.from_bytes(packed[place - 4 : place], "little") == target
    assert filters.undo(Filter.X86, 0, packed) == code_of


@pytest.mark.parametrize("number_", range(predict.FORMS_MAX))
def test_pictures_come_back(number_: int) -> None:
    form = predict.form(number_)
    chance = random.Random(number_)
    if form is None:
        assert number_ % 8 == predict.PALETTE
        return
    for width, height in ((1, 1), (7, 3), (1, 9), (12, 12)):
        colours = [chance.randbytes(4) for _ in range(5)]
        pixels = b"".join(chance.choice(colours) for _ in range(width * height))
        data = predict.encode(form, pixels, width)
        assert data is not None
        assert len(data) == predict.encoded_size(form, width, height, data[0])
        assert predict.decode(form, data, width, height) == pixels


def test_a_palette_has_256_colours() -> None:
    pixels = np.arange(257, dtype="<u4").tobytes()
    palette = predict.Form(predict.PALETTE)
    assert predict.encode(palette, pixels, 257) is None
    fits = predict.encode(palette, pixels[:-4], 256)
    assert fits is not None and predict.decode(palette, fits, 256, 1) == pixels[:-4]


@given(st.binary(min_size=1, max_size=300), st.sampled_from(SETTINGS))
def test_codecs_come_back_and_hold_no_more_than_they_should(data: bytes, setting: Setting) -> None:
    packed = codecs.pack(setting, data)
    assert codecs.unpack(setting, packed, len(data)) == data
    for size in {len(data) + 1, max(0, len(data) - 1)} - {len(data)}:
        with pytest.raises(Damaged):
            codecs.unpack(setting, packed, size)
    with pytest.raises(Damaged):
        codecs.unpack(setting, packed + b"x", len(data))


@pytest.mark.parametrize("setting", SETTINGS[1:], ids=lambda setting: setting.codec.name)
def test_nothing_is_stored(setting: Setting) -> None:
    assert lossless.pack(b"").data == bytes([layouts.PLAIN, Codec.STORED, 0])
    with pytest.raises(Damaged):
        codecs.unpack(setting, codecs.pack(setting, b"") + b"x", 0)


@pytest.mark.parametrize("setting", SETTINGS[1:], ids=lambda setting: setting.codec.name)
def test_a_bomb_gives_no_more_than_it_may(setting: Setting) -> None:
    packed = codecs.pack(setting, bytes(8 << 20))
    assert len(packed) < 20_000
    with pytest.raises(Damaged):
        codecs.unpack(setting, packed, 100)


@settings(max_examples=25)
@given(st.binary(max_size=400) | CODE, st.booleans())
def test_anything_comes_back(data: bytes, as_picture: bool) -> None:
    width = 0
    if as_picture:
        data = data[: len(data) // 8 * 8]
        width = 2 if data else 0
    assert back(lossless.pack(data, width).data, len(data), width) == data


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("god")
    return build.build(KERNEL, out, iso=False).elf.read_bytes()


@pytest.mark.slow
def test_the_kernel_is_smaller_than_by_the_others(kernel: bytes) -> None:
    packed = lossless.pack(kernel)
    assert back(packed.data, len(kernel)) == kernel
    assert packed.how.startswith("elf")
    others = (
        zstandard.ZstdCompressor(level=19).compress(kernel),
        lzma.compress(kernel, preset=9 | lzma.PRESET_EXTREME),
        brotli.compress(kernel, quality=11, lgwin=24),
    )
    assert len(packed.data) < 0.96 * min(map(len, others))


def test_the_parts_of_an_elf_file(kernel: bytes) -> None:
    for shift in (0, 2048):
        found = elfcut.ranges(bytes(shift) + kernel)
        assert found[0].start == 0 and found[-1].end == shift + len(kernel)
        assert all(a.end == b.start for a, b in itertools.pairwise(found))
        assert {part.kind for part in found} == {Filter.NONE, Filter.X86, Filter.COLUMN_DELTA}


@given(st.binary(max_size=100), st.integers(0, 200))
def test_a_damaged_elf_file_is_a_file_like_any_other(data: bytes, at: int) -> None:
    head = (b"\x7fELF\x02\x01\x01" + bytes(33) + b"\x40" + bytes(17) + b"\x40\0\3\0\1\0").ljust(
        64 + 3 * 64, b"\1"
    )
    broken = head[:at] + data + head[at + len(data) :]
    found = elfcut.ranges(broken)
    assert b"".join(broken[part.start : part.end] for part in found) == broken


def test_a_trained_dictionary_helps_and_is_asked_for(kernel: bytes) -> None:
    part = kernel[20000:24000]
    packed = lossless.pack(part, prefix=kernel[:60000])
    assert len(packed.data) < 100
    assert back(packed.data, len(part), prefix=kernel[:60000]) == part
    with pytest.raises(InputError, match="trained dictionary"):
        back(packed.data, len(part))


SOLID = tile(code("solid", 1, 2, 3))


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"", "cut off"),
        (bytes([67]), "layout 67"),
        (bytes([15]), "layout 15"),
        (bytes([layouts.PLAIN, 9]), "codec 9"),
        (bytes([layouts.PLAIN, Codec.LZMA, 225]), "codec 1 with parameter 225"),
        (bytes([layouts.PLAIN, Codec.STORED]) + number(5) + b"abc", "cut off"),
        (bytes([layouts.PLAIN, Codec.STORED]) + number(3) + b"abc", "does not hold 65536"),
        (bytes([layouts.PLAIN, Codec.STORED]) + b"\x80\0", "no number"),
        (bytes([layouts.PLAIN, Codec.STORED]) + b"\xff" * 6, "no number"),
        (bytes([layouts.PLAIN, Codec.STORED]) + b"\xff\xff\xff\x7f", "the length of a stream is"),
        (bytes([layouts.PLAIN, Codec.TRAINED, 0]), "needs its trained dictionary"),
        (bytes([layouts.PLAIN, Codec.LZMA, 0, 3]) + b"abc", "damaged"),
        (bytes([layouts.PLAIN, Codec.ZSTD, 3]) + b"abc", "damaged"),
        (bytes([layouts.PLAIN, Codec.BROTLI, 3]) + b"abc", "damaged"),
        (bytes([layouts.CUT]) + number(5000), "number of its segments"),
        (bytes([layouts.CUT, 1, 9]), "cut off"),
        (bytes([layouts.CUT, 1]) + number(65537), "length of a segment"),
        (bytes([layouts.CUT, 1, 9, 0]), "leave 65527 bytes out"),
        (bytes([layouts.CUT, 1, 9, 0x05]), "segment mark 5"),
        (bytes([layouts.CUT, 1, 9, 0x30]), "segment mark 48"),
        (bytes([layouts.CUT, 1, 9, Filter.DELTA, 0]), "records of 0 bytes"),
        (bytes([predict.PALETTE, 0, Codec.STORED]) + number(2052) + bytes(4) + b"\xff" * 2048, "an index"),
        (bytes([predict.BY_ROW, Codec.STORED]) + number(65664) + b"\x07" * 65664, "a row"),
    ],
)  # fmt: skip
def test_a_damaged_stream(packed: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        back(packed, len(SOLID.data), 128)


@pytest.mark.parametrize("content", [SOLID, tile(code("clouds", 77, 4)), tile(code("automaton", 30, 9))])
def test_every_cut_of_a_stream_is_refused(content: Content) -> None:
    packed = lossless.pack(content.data, 128).data
    for end in sorted({*range(min(len(packed), 40)), *range(0, len(packed), 397), len(packed) - 1}):
        with pytest.raises(InputError):
            back(packed[:end], len(SOLID.data), 128)
