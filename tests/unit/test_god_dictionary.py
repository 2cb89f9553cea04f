"""Dictionaries: tiles by index and SHA-256, shared by processes that change them at once, refused when damaged."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pixelvm.god import dictionary
from pixelvm.god.dictionary import Dictionary, Entry
from pixelvm.god.family import INDEX_MAX, SIDE
from tests.unit.god_tiles import code, noise, tile
from toolchain.errors import InputError

pytestmark = pytest.mark.long

ONE, TWO = tile(code("xor", 1, 1, 0)).data, tile(code("board", 9, 1, 2)).data


def store(*tiles: bytes) -> Dictionary:
    made = Dictionary("d.pxd", bytes(dictionary.ID))
    for each in tiles:
        made.add(each)
    return made


def again(made: Dictionary) -> Dictionary:
    return dictionary.from_bytes(made.to_bytes(), "d.pxd")


def test_tiles_come_back_by_index_and_by_name() -> None:
    found = again(store(ONE, TWO, ONE))
    assert [found.tile(0), found.tile(1)] == [ONE, TWO]
    assert (found.find(ONE), found.find(TWO), found.find(noise(SIDE, SIDE).data)) == (0, 1, None)
    name = hashlib.sha256(TWO).hexdigest()
    assert found.short(1) == name[:8]
    assert found.named(name[:8]) == found.named(name.upper()) == found.named("#1") == 1


def test_an_index_never_comes_to_mean_another_tile() -> None:
    made = store(ONE, TWO)
    made.drop(1)
    found = again(made)
    assert found.add(noise(SIDE, SIDE).data) == 2
    assert found.add(TWO) == 3
    with pytest.raises(InputError, match="no tile 1 in it"):
        found.tile(1)
    found.next = INDEX_MAX + 1
    with pytest.raises(InputError, match="all 16777216 indexes are used"):
        found.add(noise(SIDE, SIDE, 2).data)


def test_a_collision_is_not_missed() -> None:
    """Another tile under the digest of the one that is looked for: as if SHA-256 had collided."""
    made = store(ONE)
    made._by_digest[hashlib.sha256(TWO).digest()] = 0
    with pytest.raises(InputError, match="have one SHA-256"):
        made.find(TWO)


def test_names_that_begin_alike() -> None:
    made = store(ONE)
    digest = made.entries[0].digest
    made._keep(Entry(1, digest[:6] + bytes(26), b""))
    assert len(made.short(0)) > 12
    with pytest.raises(InputError, match="begins the names of 2 tiles"):
        made.named(digest.hex()[:8])
    for name in ("", "xyz", "#7", "#x"):
        with pytest.raises(InputError):
            made.named(name)


def resealed(data: bytes) -> bytes:
    head, body = data[: dictionary._HEAD.size], data[dictionary._HEAD.size + 32 :]
    return head + hashlib.sha256(head + body).digest() + body


def test_every_changed_byte_is_noticed() -> None:
    data = store(ONE).to_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x41
        with pytest.raises(InputError, match=r"^d\.pxd: "):
            dictionary.from_bytes(bytes(changed), "d.pxd")
    for end in range(len(data)):
        with pytest.raises(InputError, match=r"^d\.pxd: "):
            dictionary.from_bytes(data[:end], "d.pxd")


def test_a_tile_with_a_wrong_hash_is_not_given_out() -> None:
    made = store(ONE)
    made._keep(made.entries[0]._replace(digest=hashlib.sha256(TWO).digest()))
    found = again(made)
    with pytest.raises(InputError, match="does not have the SHA-256 that it is named by"):
        found.tile(0)


def head(following: int, count: int, trained: int = 0) -> bytes:
    return struct.pack("<4sI16sIII", b"PXGD", 1, bytes(16), following, count, trained) + bytes(32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a dictionary"),
        (b"PXGD", "cut off"),
        (resealed(head(INDEX_MAX + 2, 0)), "more indexes or training"),
        (resealed(head(0, 0, 1 << 30)), "more indexes or training"),
        (resealed(head(9, 1 << 31)), "cut off"),
        (resealed(head(1, 2) + struct.pack("<II32s", 0, 0, b"a") * 2), "out of order or there twice"),
        (
            resealed(head(2, 2) + struct.pack("<II32s", 0, 0, b"a") + struct.pack("<II32s", 1, 0, b"a")),
            "there twice",
        ),
        (resealed(head(0, 1) + struct.pack("<II32s", 0, 0, b"a")), "out of order"),
        (resealed(head(1, 1) + struct.pack("<II32s", 0, 0xFFFFFFFF, b"a")), "cut off"),
        (resealed(head(0, 0) + b"x"), "1 bytes follow its end"),
    ],
)
def test_a_hostile_dictionary(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dictionary.from_bytes(data, "d.pxd")


def test_training_is_for_once() -> None:
    made = store()
    made.train([noise(SIDE, SIDE).data + b"some words that come again and again " * 2000] * 4)
    assert again(made).trained == made.trained != b""
    with pytest.raises(InputError, match="trained already"):
        made.train([b"x" * 100_000])
    with pytest.raises(InputError, match="too few bytes"):
        store().train([b"abc"])


ADDER = """
import sys
from pathlib import Path
from pixelvm.god import dictionary
from tests.unit.god_tiles import code, tile
for number in range(8):
    with dictionary.changing(Path(sys.argv[1])) as store:
        store.add(tile(code("solid", int(sys.argv[2]), number, 0)).data)
"""


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.pxd"
    root = Path(__file__).resolve().parents[2]
    adders = [
        subprocess.Popen([sys.executable, "-c", ADDER, str(path), str(number)], cwd=root)
        for number in (1, 2, 3)
    ]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0]
    found = dictionary.read(path)
    assert len(found.entries) == found.next == 24
    assert {found.tile(index)[:2] for index in found.entries} == {
        bytes((red, green)) for red in (1, 2, 3) for green in range(8)
    }


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "d.pxd"
    with dictionary.changing(path) as made:
        made.add(ONE)
    before = path.read_bytes()
    with pytest.raises(InputError), dictionary.changing(path) as made:
        made.add(TWO)
        made.tile(7)
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"d.pxd", ".d.pxd.lock"}
    path.write_bytes(b"PXGDgarbage")
    with pytest.raises(InputError), dictionary.changing(path):
        pass
    assert path.read_bytes() == b"PXGDgarbage"
