"""Containers: what goes in comes out, every changed byte is noticed, and bombs are refused before they go off."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelvm.god import container, dictionary, family, lossless, seed, surface
from pixelvm.god.container import HEADER, Content, Head
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import ADDRESS, SIDE, TILE_BYTES
from pixelvm.god.press import Mode, NoCode, Pressed, Wish, press
from pixelvm.god.surface import Size
from tests.unit.god_tiles import code, noise, some, tile
from toolchain.errors import InputError


def pressed(content: Content, wish: Wish | None = None) -> Pressed:
    found = press(content, wish or Wish())
    assert isinstance(found, Pressed)
    return found


def back(data: bytes, store: Dictionary | None = None, limit: int = container.LIMIT) -> Content:
    return container.expand(data, "c.pxg", store, limit)[1]


def repeated(word: int, width: int, height: int) -> Content:
    return Content(struct.pack("<I", word) * (width * height), width, height)


def new_store() -> Dictionary:
    return Dictionary("d.pxd", bytes(range(dictionary.ID)))


@settings(max_examples=20)
@given(st.binary(max_size=300), st.sampled_from([Mode.AUTO, Mode.LOSSLESS, Mode.ADDRESS]))
def test_files_come_back(data: bytes, mode: Mode) -> None:
    store = new_store() if mode is Mode.ADDRESS else None
    found = pressed(Content(data), Wish(mode, 0, store))
    assert back(found.data, store) == Content(data)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_pictures_come_back(width: int, height: int, chance: random.Random) -> None:
    content = Content(chance.randbytes(4 * width * height), width, height)
    assert back(pressed(content).data) == content


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 511, 512, 513, 65535, 65536, 65537, 131073])
@pytest.mark.parametrize("unit", [b"\0", b"ab", b"\1\2\3\4\5\6\7"])
def test_sizes(count: int, unit: bytes) -> None:
    content = Content((unit * count)[:count])
    assert back(pressed(content).data) == content


@pytest.mark.parametrize("name", [kind.name for kind in family.FAMILIES.values()])
def test_a_tile_of_a_family_is_one_pixel(name: str) -> None:
    content = tile(some(random.Random(name), family.BY_NAME[name]))
    found = pressed(content)
    assert (found.mode, found.seeds, len(found.data)) == ("seed", 1, HEADER + 7)
    assert back(found.data) == content


def test_edges_of_a_picture_are_tiles_too() -> None:
    picture = np.concatenate([seed.expand(code("xor", 1, 1, 0)), seed.expand(code("clouds", 5, 3))], axis=1)[
        :100, :200
    ]
    content = Content(picture.astype("<u4").tobytes(), 200, 100)
    found = pressed(content, Wish(Mode.SEED))
    assert found.seeds == 2
    assert back(found.data) == content


@pytest.mark.parametrize("count", [4, 30_000, 60_000, 65_533])
def test_what_is_beyond_the_end_need_not_be_of_the_tile(count: int) -> None:
    content = Content(tile(code("clouds", 12, 5)).data[: count // 4 * 4])
    found = pressed(content, Wish(Mode.SEED))
    assert found.seeds == 1
    assert back(found.data) == content


@pytest.mark.long
def test_a_picture_of_several_kinds_of_tiles() -> None:
    store = new_store()
    known, other = (
        Content((words * 9000)[:TILE_BYTES], SIDE, SIDE) for words in (b"one text ", b"another text ")
    )
    store.add(known.data)
    content = Content(tile(code("julia", 5, 50, 20)).data + known.data + other.data + bytes(99))
    found = pressed(content, Wish(store=store))
    assert (found.seeds, found.addresses, found.packed) == (2, 1, 1)
    assert found.mode == "seed+address+lossless"
    assert back(found.data, store) == content


def test_pixels_of_pixels() -> None:
    """A picture of 8x8 tiles whose codes are themselves the pixels of one code's tile."""
    codes = seed.expand(code("solid", family.Kind.XOR, 7, 9))[:8, :8]
    picture = container.grow(codes, Size(1024, 1024), "g", None)
    content = Content(picture.astype("<u4").tobytes(), 1024, 1024)
    found = pressed(content)
    assert (found.head.levels, found.seeds, len(found.data)) == (2, 64, HEADER + 7)
    assert back(found.data) == content


def test_seed_says_how_many_tiles_have_no_code() -> None:
    content = Content(tile(code("xor", 1, 2, 3)).data + noise(SIDE, SIDE).data)
    assert press(content, Wish(Mode.SEED)) == NoCode(1, 2)


def test_lossy_states_its_error() -> None:
    numbers = np.random.default_rng(5)
    words = seed.expand(code("solid", 90, 80, 70)) ^ numbers.integers(0, 4, (SIDE, SIDE), dtype=np.uint32)
    content = Content(words.astype("<u4").tobytes(), SIDE, SIDE)
    exact, lossy = pressed(content), pressed(content, Wish(lossy=4))
    assert exact.head.error == 0 and back(exact.data) == content
    made = back(lossy.data)
    apart = np.frombuffer(made.data, np.uint8).astype(int) - np.frombuffer(content.data, np.uint8)
    assert 0 < np.abs(apart).max() == lossy.head.error <= 4
    assert lossy.content == made != content


@pytest.mark.parametrize(
    "content", [Content(b"some bytes, some bytes"), tile(code("board", 9, 1, 2)), noise(3, 3)]
)
def test_every_changed_byte_is_noticed(content: Content) -> None:
    data = pressed(content).data
    chance = random.Random(1)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= chance.randrange(1, 256)
        with pytest.raises(InputError, match=r"^c\.pxg: "):
            back(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(InputError, match=r"^c\.pxg: "):
            back(data[:end])
    with pytest.raises(InputError):
        back(data + b"x")


def test_what_is_noticed_without_the_crc() -> None:
    """Damage that carries a right CRC: a hostile file, not a broken disk."""
    content = tile(code("board", 9, 1, 2))
    data = pressed(content).data
    chance = random.Random(2)
    for at in (*range(8, HEADER - 4), *range(HEADER, len(data))):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        try:  # a byte may mean the same as another, a stored stream's layout for one; it never means something else
            assert back(sealed(bytes(changed)), limit=1 << 20) == content
        except InputError as error:
            assert error.message.startswith("c.pxg: ")


def sealed(data: bytes) -> bytes:
    """A container with the CRC that its bytes need."""
    crc = zlib.crc32(data[HEADER:], zlib.crc32(data[: HEADER - 4]))
    return data[: HEADER - 4] + struct.pack("<I", crc) + data[HEADER:]


def hostile(width: int, height: int, levels: int, top: bytes, grid: Size, **more: object) -> bytes:
    """A container that says what a compressor never would."""
    head = Head(True, width, height, levels, 0, bytes(32))._replace(**more)  # type: ignore[arg-type]
    return container.assemble(head, lossless.pack(top, grid.width).data)


SOLID = struct.pack("<I", code("solid", 1, 2, 3).word)
ONE = Size(1, 1)
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "neither a God Pixel container"),
    "text": (b"hello", "neither a God Pixel container"),
    "magic": (container.MAGIC, "cut off"),
    "version": (container.MAGIC + bytes(60), "version 0"),
    "flags": (sealed(container.MAGIC + b"\1\x08" + bytes(60)), "flags 8"),
    "levels": (sealed(container.MAGIC + b"\1\1\4" + bytes(60)), "with 4 levels"),
    "trained": (sealed(container.MAGIC + b"\1\4" + bytes(60)), "flags 4"),
    "no size": (hostile(0, 5, 0, b"", ONE), "a size of 0x5"),
    "huge": (hostile(0xFFFFFFFF, 0xFFFFFFFF, 3, SOLID, ONE), "the limit is"),
    "large": (hostile(1 << 14, 1 << 14, 1, SOLID, ONE), "expands to 1073741824 bytes, the limit is 268435456"),
    "thin": (hostile(1, 1 << 16, 1, SOLID * 512, Size(1, 512)), "does not have the SHA-256"),
    "thin and long": (hostile(1, 1 << 24, 1, SOLID, ONE), "its tiles have 8589934592 bytes, the limit is"),
    "large file": (container.assemble(Head(False, 1 << 31, 0, 0, 0, bytes(32)), b""), "the limit is"),
    "no code": (hostile(128, 128, 1, b"\0\0\0\1", ONE), "tile 0: 0x01000000: no seed code"),
    "residual": (hostile(128, 128, 1, bytes(4), ONE), "cut off"),
    "address": (hostile(128, 128, 1, bytes([ADDRESS, 0, 0, 0]), ONE), "there is no dictionary"),
    "no dictionary": (hostile(128, 128, 1, SOLID, ONE, identity=b"x" * 16), "name its file with --dict"),
    "wrong": (hostile(128, 128, 1, SOLID, ONE), "does not have the SHA-256"),
    "deep": (hostile(128, 128, 3, SOLID, ONE), "no seed code"),
    "stream": (container.assemble(Head(True, 9, 9, 0, 0, bytes(32)), b"\xff"), "layout 255"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_hostile_container(case: str) -> None:
    data, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        back(data)
    assert caught.value.message.startswith("c.pxg: ") and "\n" not in caught.value.message


@pytest.mark.long
def test_a_bomb_costs_no_memory() -> None:
    row = repeated(code("solid", 1, 2, 3).word, 1000, 1000)
    bomb = hostile(128_000, 128_000, 1, row.data, Size(1000, 1000))
    assert len(bomb) < 1000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="the limit is"):
            back(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_another_dictionary_is_not_taken() -> None:
    store, other = new_store(), Dictionary("other.pxd", bytes(dictionary.ID))
    content = noise(SIDE, SIDE)
    data = pressed(content, Wish(Mode.ADDRESS, 0, store)).data
    other.add(content.data)
    with pytest.raises(InputError, match=r"needs dictionary 00010203.*; other\.pxd is 0000"):
        back(data, other)
    forked = new_store()
    forked.add(noise(SIDE, SIDE, 9).data)
    with pytest.raises(InputError, match="does not have the SHA-256"):
        back(data, forked)
    store.drop(0)
    with pytest.raises(InputError, match="no tile 0 in it"):
        back(data, store)


def test_words_and_contents() -> None:
    for count in (1, 2, 5, 600, 65537):
        data = bytes(range(256)) * (count // 256 + 1)
        size = surface.of_bytes(count)
        assert size.bytes == count
        assert surface.content(surface.words(data[:count], size), size) == data[:count]
