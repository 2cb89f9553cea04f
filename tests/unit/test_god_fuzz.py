"""Hostile God Pixel files: whatever is changed in a container or dictionary, with all checksums made to fit again."""

from __future__ import annotations

import random

import pytest

from pixelvm.god import container, dictionary
from pixelvm.god.container import Content
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import TILE_BYTES
from pixelvm.god.press import Mode, Pressed, Wish, press
from tests.unit.god_tiles import code, tile
from tests.unit.test_god_container import sealed
from tests.unit.test_god_dictionary import resealed
from toolchain.errors import InputError

LIMIT = 4 << 20
KNOWN = (b"a tile that no family draws " * 3000)[:TILE_BYTES]
RUNS = [300, pytest.param(20_000, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def store() -> Dictionary:
    made = Dictionary("d.pxd", bytes(dictionary.ID))
    made.train([b"words that come again, %d times and again, " % number * 40 for number in range(60)])
    made.add(KNOWN)
    made.add(tile(code("xor", 1, 2, 3)).data)
    return made


@pytest.fixture(scope="module")
def sound(store: Dictionary) -> list[tuple[bytes, Content]]:
    """Containers of every kind, and what they hold."""
    code_of = bytes(4) + b"\x90\x90\xe8\x10\0\0\0\xc3" * 500
    wishes = [
        (Content(b"words that come again, 7 times"), Wish(store=store)),
        (Content(b"words that come again, 7 times and again" * 9), Wish()),
        (tile(code("board", 9, 1, 2)), Wish()),
        (tile(code("automaton", 30, 3)), Wish(Mode.LOSSLESS)),
        (tile(code("clouds", 9, 5)), Wish(Mode.LOSSLESS)),
        (Content(KNOWN + bytes(70_000) + b"abc" * 99), Wish(store=store)),
        (Content(code_of), Wish()),
    ]
    found = [press(content, wish) for content, wish in wishes]
    return [(one.data, one.content) for one in found if isinstance(one, Pressed)]


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few changes, most of them near the front, where the structure is."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(4, min(len(out), chance.choice((60, 100, len(out)))))
        how = chance.randrange(5)
        if how == 0:
            out[at] = chance.randrange(256)
        elif how == 1:
            out[at] ^= 1 << chance.randrange(8)
        elif how == 2:
            del out[at : at + chance.randrange(1, 9)]
        elif how == 3:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            out[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), b"\0\0\1\0"))
    return bytes(out)


@pytest.mark.long
@pytest.mark.parametrize("runs", RUNS)
def test_a_container_gives_its_content_or_one_line(
    sound: list[tuple[bytes, Content]], store: Dictionary, runs: int
) -> None:
    chance = random.Random(runs)
    refused = 0
    for _ in range(runs):
        data, content = chance.choice(sound)
        try:
            out = container.expand(sealed(changed(data, chance)), "f", store, LIMIT)[1]
        except InputError as error:
            refused += 1
            assert error.message.startswith("f: ") and "\n" not in error.message
        else:
            assert out == content
    assert refused > runs // 2


@pytest.mark.long
@pytest.mark.parametrize("runs", RUNS)
def test_a_dictionary_gives_its_tiles_or_one_line(store: Dictionary, runs: int) -> None:
    chance = random.Random(runs)
    tiles = {store.tile(index) for index in store.entries}
    data = store.to_bytes()
    for _ in range(runs // 3):
        try:
            found = dictionary.from_bytes(resealed(changed(data, chance)), "f")
            assert {found.tile(index) for index in found.entries} <= tiles
        except InputError as error:
            assert error.message.startswith("f: ") and "\n" not in error.message
