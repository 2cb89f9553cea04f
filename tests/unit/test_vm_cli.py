"""``pxos vm``: the examples run, programs go into pictures and back, and the end of a run is told as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import png
from pixelvm.isa import Stop
from tests.unit import schemas
from tests.unit.pxos import pxos

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"
LOOP = "main: push 1\n add\n jump main\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source(text: str, name: str = "p.pxa") -> str:
    Path(name).write_text(text)
    return name


def test_hello() -> None:
    answer = pxos("vm", "run", str(EXAMPLES / "hello.pxa"))
    assert (answer.status, answer.output) == (0, "Hello from a picture.\n")
    assert "halted with 0, fuel spent " in answer.errors


def test_fib() -> None:
    numbers = [int(line) for line in pxos("vm", "run", str(EXAMPLES / "fib.pxa")).output.split()]
    assert numbers[:2] == [0, 1] and len(numbers) == 15
    assert all(c == a + b for a, b, c in zip(numbers, numbers[1:], numbers[2:], strict=False))


def test_the_painter_paints_over_its_own_picture() -> None:
    assert pxos("vm", "pack", str(EXAMPLES / "painter.pxa"), "painter.png").status == 0
    assert pxos("vm", "run", "painter.png", "--picture", "painted.png").status == 0
    before, after = (png.read(Path(name).read_bytes(), name) for name in ("painter.png", "painted.png"))
    assert (after.width, after.height) == (before.width, before.height) == (16, 16)
    expected = [(16 * x ^ 16 * y, 16 * x, 16 * y, 255) for y in range(16) for x in range(16)]
    assert after.pixels == bytes(channel for pixel in expected for channel in pixel)


def test_life() -> None:
    answer = pxos("vm", "run", str(EXAMPLES / "life.pxa"), "--picture", "after.png")
    assert answer.status == 0
    pxos("vm", "pack", str(EXAMPLES / "life.pxa"), "before.png")
    before, after = (png.read(Path(name).read_bytes(), name) for name in ("before.png", "after.png"))
    assert (before.width, before.height) == (16, 16)
    cells = [before.pixels[4 * i + 1] & 1 for i in range(256)]
    for _ in range(8):
        around = [sum(cells[(i + d) % 256] for d in (-17, -16, -15, -1, 1, 15, 16, 17)) for i in range(256)]
        cells = [int(n == 3 or (n == 2 and cell)) for n, cell in zip(around, cells, strict=True)]
    colours = {1: bytes((0x80, 0xFF, 0x40, 0xFF)), 0: bytes((0x08, 0x18, 0x30, 0xFF))}
    assert after.pixels == b"".join(colours[cell] for cell in cells)
    assert 5 < sum(cells) < 250
    accesses = pxos("vm", "verify", str(EXAMPLES / "life.pxa"), "--json").data
    assert accesses["calls"] and len(accesses["accesses"]) == 5  # all of them


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.pxa")), ids=lambda path: path.stem)
def test_every_example_is_proved_and_survives_the_way_into_a_picture(example: Path) -> None:
    assert pxos("vm", "verify", str(example)).status == 0
    digest = pxos("vm", "asm", str(example), "--json").data["program"]["sha256"]
    assert pxos("vm", "pack", str(example), "c.png", "--json").data["program"]["sha256"] == digest
    assert pxos("vm", "unpack", "c.png", "c.pxa", "--json").data["program"]["sha256"] == digest
    assert pxos("vm", "pack", "c.pxa", "d.png").status == 0
    assert Path("c.png").read_bytes() == Path("d.png").read_bytes()
    assert pxos("vm", "disasm", "c.png").output == Path("c.pxa").read_text()


def test_a_cover() -> None:
    Path("cover.png").write_bytes(png.write(png.Picture(40, 30, bytes(range(240)) * 20)))
    answer = pxos("vm", "pack", str(EXAMPLES / "hello.pxa"), "c.png", "--cover", "cover.png", "--json")
    assert (answer.data["covered"], answer.data["width"], answer.data["height"]) == (True, 40, 30)
    assert pxos("vm", "run", "c.png", "-q").output == "Hello from a picture.\n"


def test_a_boot_module_is_no_picture() -> None:
    answer = pxos("vm", "pack", str(EXAMPLES / "hello.pxa"), "hello.pxvm", "--json")
    assert answer.data["out"] == "hello.pxvm"
    assert not {"width", "height", "covered"} & answer.data.keys()
    assert Path("hello.pxvm").read_bytes().startswith(b"PXVM")
    assert pxos("vm", "run", "hello.pxvm", "-q").output == "Hello from a picture.\n"


@pytest.mark.parametrize(
    ("text", "status", "stop"),
    [
        ("halt", 0, "halted"), ("halt 3", 1, "halted"), (LOOP.replace("add", "drop"), 3, "fuel"),
        ("drop\nhalt", 1, "underflow"), (LOOP.replace("add", "dup"), 1, "overflow"),
        ("push 1\npush 0\ndivu\nhalt", 1, "division"), ("push -1\nload8\nhalt", 1, "bounds"),
        ("push 1\nload32\nhalt", 1, "alignment"), ("main: call main\n halt", 1, "calls"), ("ret", 1, "return"),
        (".pixel 0", 1, "illegal"),
    ],
)  # fmt: skip
def test_the_end_of_a_run(text: str, status: int, stop: str) -> None:
    answer = pxos("vm", "run", source(text), "--fuel", "2000", "--json", "-q")
    schemas.validate(answer.data, "vm")
    assert (answer.status, answer.data["stop"]) == (status, stop)
    told = pxos("vm", "run", "p.pxa", "--fuel", "2000")
    assert told.status == status
    if stop not in ("halted", "fuel"):
        assert f"p.pxa:{answer.data['pc'] + 1}: trap {stop.upper()} at `" in told.errors
        assert answer.data["spent"] <= 2000


def test_every_stop_has_its_name_in_the_schema() -> None:
    names = schemas.every()["vm.json"]["properties"]["stop"]["enum"]
    assert set(names) == {stop.name.lower() for stop in Stop if stop is not Stop.RUNNING}


def test_input_seed_and_what_a_terminal_must_not_obey() -> None:
    echo = "main: sys getc\n dup\n push -1\n eq\n jnz .end\n sys putc\n jump main\n.end: sys random\n sys putc\n halt"
    Path("in").write_bytes(b"a\x1b[31mb\n")
    first = pxos("vm", "run", source(echo), "--input", "in", "--seed", "1")
    assert first.output.startswith("a\ufffd[31mb\n")
    assert pxos("vm", "run", "p.pxa", "--input", "-", "--seed", "1", typed=b"a\x1b[31mb\n") == first
    assert pxos("vm", "run", "-", "--seed", "2", typed=echo.encode()).status == 0


def test_a_run_in_two_parts_is_the_run() -> None:
    run = ("vm", "run", str(EXAMPLES / "hello.pxa"), "--json", "-q")
    whole = pxos(*run, "--save", "whole.pxst")
    first = pxos(*run, "--fuel", "200", "--save", "part.pxst")
    rest = pxos(*run, "--resume", "part.pxst", "--save", "rest.pxst")
    assert (first.status, rest.status) == (3, 0)
    assert 0 < len(first.data["output"]) < len(whole.data["output"])
    assert first.data["output"] + rest.data["output"] == whole.data["output"]
    assert first.data["spent"] + rest.data["spent"] == whole.data["spent"]
    after, once = Path("rest.pxst").read_bytes(), Path("whole.pxst").read_bytes()
    fuel = slice(16, 20)  # the second part had less to do with as much
    assert after[: fuel.start] + after[fuel.stop :] == once[: fuel.start] + once[fuel.stop :]


def test_what_cannot_be_proved_is_named() -> None:
    answer = pxos("vm", "verify", source("main:\n  push 1\n  jump main\n"))
    assert answer.status == 1
    assert answer.output.startswith("p.pxa:3: the stack can grow over 256 values")


def test_a_source_in_error() -> None:
    answer = pxos("vm", "run", source("push\nbogus\nhalt\n"))
    assert (answer.status, answer.output) == (2, "")
    assert [line[:8] for line in answer.errors.splitlines() if "error" in line] == ["p.pxa:1:", "p.pxa:2:"]
