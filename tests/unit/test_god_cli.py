"""``pxos pixel``: what is asked comes out, bad input is one line and status 2, and nothing is written half."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pixelvm import png
from pixelvm.god import family
from pixelvm.god.dictionary import MAGIC
from pixelvm.png import Picture
from tests.unit import schemas
from tests.unit.god_tiles import code, noise, tile
from tests.unit.pxos import Answer, pxos

pytestmark = pytest.mark.long

XOR = "0x00010130"
TEXT = b"a file of words, of words, of words\n" * 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text").write_bytes(TEXT)
    Path("xor.png").write_bytes(file(tile(code("xor", 1, 1, 0)).data, 128, 128))
    return tmp_path


def file(pixels: bytes, width: int, height: int) -> bytes:
    return png.write(Picture(width, height, pixels))


def asked(*row: str, status: int = 0) -> Answer:
    answer = pxos("pixel", *row, "--json", "-q")
    assert answer.status == status, answer
    schemas.validate(answer.data, "pixel" if "error" not in answer.data or status < 2 else "error")
    told = pxos("pixel", *row, "-q")
    assert told.status == status and "Traceback" not in told.errors
    assert bool(told.output) == (status < 2)
    return answer


def refused(words: str, *row: str) -> None:
    answer = asked(*row, status=2)
    assert words in answer.data["error"]["message"], answer
    assert answer.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "mode"), [("text", "auto"), ("text", "lossless"), ("xor.png", "auto"), ("empty", "auto")]
)
def test_a_file_comes_back(name: str, mode: str) -> None:
    Path("empty").write_bytes(b"")
    told = asked("compress", name, "c.pxg", "--mode", mode).data
    assert told["bytes_out"] == told["counted"] == Path("c.pxg").stat().st_size
    assert told["file_bytes"] == Path(name).stat().st_size
    assert asked("expand", "c.pxg", "back").data["sha256"] == told["sha256"]
    if name == "xor.png":
        assert png.read(Path("back").read_bytes(), "b") == png.read(Path(name).read_bytes(), "n")
    else:
        assert Path("back").read_bytes() == Path(name).read_bytes()
    assert asked("info", "c.pxg").data["info"]["sha256"] == told["sha256"]


def test_a_png_as_a_file() -> None:
    assert asked("compress", "xor.png", "c.pxg", "--as", "bytes").data["kind"] == "bytes"
    asked("expand", "c.pxg", "back.png")
    assert Path("back.png").read_bytes() == Path("xor.png").read_bytes()


def test_a_png_that_is_read_by_others_only_is_a_file() -> None:
    grey = b"\x89PNG\r\n\x1a\n" + bytes(40)
    Path("grey.png").write_bytes(grey)
    assert asked("compress", "grey.png", "c.pxg").data["kind"] == "bytes"
    refused("grey.png: ", "compress", "grey.png", "c.pxg", "--as", "picture")


def test_one_pixel() -> None:
    told = asked("compress", "xor.png", "god.png").data
    assert told["mode"] == "seed" and told["codes"] == ["xor a=1 b=1 c=0"]
    one = png.read(Path("god.png").read_bytes(), "god.png")
    assert (one.width, one.height, one.pixels) == (1, 1, struct.pack("<I", int(XOR, 16)))
    asked("expand", "god.png", "back.png")
    asked("draw", XOR, "drawn.png")
    assert Path("back.png").read_bytes() == Path("drawn.png").read_bytes() == Path("xor.png").read_bytes()
    assert asked("info", "god.png").data["info"]["codes"] == ["xor a=1 b=1 c=0"]
    assert asked("info", XOR).data["info"]["family"] == "xor"


def test_pixels_of_pixels_have_a_limit() -> None:
    word = code("solid", family.Kind.SOLID, 1, 2).word
    Path("two.png").write_bytes(file(struct.pack("<I", word), 1, 1))
    refused("the limit is 268435456", "expand", "two.png", "big.png", "--levels", "2")
    refused("the limit is", "expand", "two.png", "big.png", "--levels", "3", "--limit", "16384")
    assert not Path("big.png").exists()


def test_no_code() -> None:
    Path("noise.png").write_bytes(file(noise(128, 128).data, 128, 128))
    answer = asked("compress", "noise.png", "c.pxg", "--mode", "seed", status=1)
    assert (answer.data["missing"], answer.data["tiles_in_all"], answer.data["out"]) == (1, 1, None)
    assert not Path("c.pxg").exists()


def test_lossy() -> None:
    pixels = bytearray(tile(code("solid", 90, 90, 90)).data)
    pixels[4 * 77] += 3
    Path("near.png").write_bytes(file(bytes(pixels), 128, 128))
    assert asked("compress", "near.png", "c.pxg").data["error"] == 0
    told = asked("compress", "near.png", "c.pxg", "--lossy", "5").data
    assert told["mode"] == "seed" and 0 < told["error"] <= 5
    assert asked("info", "c.pxg").data["info"]["error"] == told["error"]
    refused("--lossy is for pictures", "compress", "text", "c.pxg", "--lossy", "5")


def test_dictionaries() -> None:
    told = asked("compress", "text", "c.pxg", "--mode", "address", "--dict", "d.pxd").data
    assert told["dictionary_bytes"] == Path("d.pxd").stat().st_size
    assert told["counted"] == told["bytes_out"] + told["dictionary_bytes"]
    refused("name its file with --dict", "expand", "c.pxg", "back")
    asked("expand", "c.pxg", "back", "--dict", "d.pxd")
    assert Path("back").read_bytes() == TEXT
    assert asked("dict", "add", "d.pxd", "xor.png", "text").data["added"] in (0, 1)  # it runs twice
    tiles = asked("dict", "list", "d.pxd").data["tiles_kept"]
    assert len(tiles) == 2
    asked("dict", "get", "d.pxd", tiles[1]["name"], "got.png")
    assert Path("got.png").read_bytes() == Path("xor.png").read_bytes()
    gone = pxos("pixel", "dict", "gc", "d.pxd", "c.pxg", "--json").data
    schemas.validate(gone, "pixel")
    assert gone["dropped"] == 1 and [row["index"] for row in gone["tiles_kept"]] == [0]
    asked("expand", "c.pxg", "back", "--dict", "d.pxd")
    assert asked("info", "d.pxd").data["info"]["tiles"] == 1
    learned = pxos(
        "pixel", "dict", "train", "d.pxd", str(Path(family.__file__).parent / "find.py"), "--json"
    ).data
    schemas.validate(learned, "pixel")
    assert learned["info"]["trained"] > 100
    refused("trained already", "dict", "train", "d.pxd", "text")


def test_a_trained_dictionary_is_used_and_needed() -> None:
    source = Path(family.__file__).with_name("find.py")
    assert pxos("pixel", "dict", "train", "d.pxd", str(source)).status == 0
    alone = asked("compress", str(source), "a.pxg").data["bytes_out"]
    told = asked("compress", str(source), "c.pxg", "--dict", "d.pxd").data
    assert told["bytes_out"] < alone < told["counted"]
    refused("needs dictionary", "expand", "c.pxg", "back")
    asked("expand", "c.pxg", "back", "--dict", "d.pxd")
    assert Path("back").read_bytes() == source.read_bytes()


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asked("table", "text", "xor.png")
    assert [row["mode"] for row in answer.data["rows"]] == ["lossless", "seed"]
    for row in answer.data["rows"]:
        assert row["against_best"] == row["counted"] - min(row["peers"].values())
    refused("build the kernel with pxos build", "table", "--out", "nosuch")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("compress", "nosuch", "o"), "No such file"),
        (("compress", ".", "o"), "Is a directory"),
        (("compress", "/dev/zero", "o"), "a pipe or a device"),
        (("compress", "text", "nosuch/o"), "cannot write"),
        (("compress", "text", "o", "--mode", "address"), "name the dictionary with --dict"),
        (("compress", "text", "o", "--mode", "bogus"), "invalid choice"),
        (("compress", "text", "o.png", "--mode", "lossless"), "a PNG holds seed codes only"),
        (("compress", "text", "o", "--lossy", "256"), "expected a number from 0 to 255"),
        (("compress", "text", "o", "--dict", "nosuch"), "make one with pxos pixel dict add"),
        (("compress", "text", "o", "--dict", "text"), "not a dictionary"),
        (("expand", "text", "o"), "neither a God Pixel container nor a PNG"),
        (("expand", "xor.png", "o", "--limit", "1024"), "no seed code"),
        (("expand", "xor.png", "o", "--levels", "4"), "expected 1 to 3"),
        (("expand", "xor.png", "o", "--limit", "0"), "expected a number from 1"),
        (("expand", "cut.png", "o"), "cut off"),
        (("draw", "0x00", "o"), "names no family"),
        (("draw", "bogus", "o"), "expected a code"),
        (("draw", "0x100000000", "o"), "expected a code"),
        (("draw", "0x-1", "o"), "expected a code"),
        (("info", "text"), "neither"),
        (("info", "bad.pxd"), "cut off"),
        (("dict", "list", "nosuch"), "No such file"),
        (("dict", "gc", "new.pxd", "text"), "neither"),
        (("dict", "get", "text", "x", "o"), "not a dictionary"),
        (("dict",), "ACTION"),
        ((), "ACTION"),
    ],
)
def test_bad_input(row: tuple[str, ...], words: str) -> None:
    Path("cut.png").write_bytes(Path("xor.png").read_bytes()[:-20])
    Path("bad.pxd").write_bytes(MAGIC + b"\1")
    answer = pxos("pixel", *row, "--json", "-q")
    assert answer.status == 2, answer
    schemas.validate(answer.data, "error")
    if words != "No such file":
        assert words in answer.data["error"]["message"], answer
    assert answer.errors.count("\n") == 1
    assert not {Path("o"), Path("o.png"), Path("new.pxd")} & set(Path().iterdir())
