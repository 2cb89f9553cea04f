"""``pxos vm run`` and its console: output as it is written, input as it comes, a screen of its own."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from unittest import mock

import pexpect
import pytest

from pixelvm import png
from pixelvm.console import ConsoleHost
from tests.unit.pxos import pxos

ECHO = """
use std;
fn main() {
    print("ready\\n");
    while 1 {
        var key = getc();
        if key == -1 || key == 'q' { return; }
        putc('<'); putc(key); putc('>'); putc('\\n');
    }
}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def host(**options: bool) -> ConsoleHost:
    given = {"shows": True, "asks": False, **options}
    return ConsoleHost(**given, input=b"", width=0, height=0, pixels=b"")


def test_a_line_is_shown_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    made = host()
    for at, byte in enumerate(b"one\ntwo"):
        made.put(at, byte)
    assert capsys.readouterr().out == "one\n"
    made.show_output(end=True)
    assert capsys.readouterr().out == "two\n"
    made.show_output(end=True)
    assert capsys.readouterr().out == ""


def test_what_is_replayed_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    made = host()
    made.begin(10)
    for at, byte in [(10, 97), (11, 10), (10, 97), (11, 10), (12, 98), (13, 10)]:
        made.put(at, byte)
    assert capsys.readouterr().out == "a\nb\n"
    assert bytes(made.output) == b"a\nb\n"


def test_a_character_in_two_pieces_and_one_that_a_terminal_must_not_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = host()
    for at, byte in enumerate("é".encode()):
        made.put(at, byte)
        made.show_output()
    for at, byte in enumerate(b"\x1b[2J\xff", 2):
        made.put(at, byte)
    made.show_output(end=True)
    assert capsys.readouterr().out == "é\ufffd[2J\ufffd\n"


def test_output_is_shown_before_input_is_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    class Asked(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            shown.append(capsys.readouterr().out)
            return super().read1(1)

    monkeypatch.setattr(sys, "stdin", mock.Mock(buffer=Asked(b"xy")))
    made = host(asks=True)
    made.put(0, ord("?"))
    assert [made.get(at) for at in (0, 1, 2, 3)] == [ord("x"), ord("y"), None, None]
    assert shown == ["?", "", ""]


def test_a_program_answers_each_line_of_its_input() -> None:
    Path("echo.pxl").write_text(ECHO)
    assert pxos("vm", "run", "echo.pxl", "--input", "-", typed=b"ab").output == "ready\n<a>\n<b>\n"
    assert pxos("vm", "run", "-", typed=b'use std;\nfn main() { print("hi"); }').output == "hi\n"
    refused = pxos("vm", "run", "echo.pxl", "--interactive", "--input", "x")
    assert refused.status == 2 and "leave --input away" in refused.errors


def test_keys_reach_an_interactive_program_as_they_are_pressed() -> None:
    Path("echo.pxl").write_text(ECHO)
    command = Path(sys.executable).with_name("pxos")
    child = pexpect.spawn(
        str(command),
        ["vm", "run", "echo.pxl", "--interactive"],
        timeout=60,
        encoding="utf-8",
        env=dict(os.environ),
    )
    try:
        child.expect_exact("ready")  # from here on keys are read one by one
        for key in "xy":
            child.send(key)  # no Enter
            child.expect_exact(f"<{key}>")
        child.send("q")
        child.expect_exact("halted with 0")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    finally:
        child.close(force=True)


def test_raw_output_goes_into_a_file() -> None:
    Path("bytes.pxl").write_text("fn main() { for var i = 0; i <u 256; i += 1 { putc(i); } }")
    answer = pxos("vm", "run", "bytes.pxl", "--output", "out.bin")
    assert (answer.status, answer.output) == (0, "")
    assert Path("out.bin").read_bytes() == bytes(range(256))


def test_a_screen_of_its_own() -> None:
    Path("dot.pxl").write_text("fn main() { var w, h = size(); plot(w - 1, h - 1, 0xff0000ff); show(); }")
    assert pxos("vm", "run", "dot.pxl", "--screen", "20x10", "--picture", "p.png").status == 0
    shown = png.read(Path("p.png").read_bytes(), "p.png")
    assert (shown.width, shown.height) == (20, 10)
    assert shown.pixels == bytes((0, 0, 0, 255)) * 199 + bytes((255, 0, 0, 255))
    for size in ("0x5", "20", "2000x2000", "x"):
        assert pxos("vm", "run", "dot.pxl", "--screen", size).status == 2


def test_output_that_cannot_be_written_is_told() -> None:
    made = host()
    with mock.patch("pixelvm.console.tell", return_value=OSError(28, "No space left on device")):
        made.put(0, 10)
        made.put(1, 10)
    assert made.failed is not None and made.failed.errno == 28
    with mock.patch("pixelvm.console.tell", return_value=OSError(28, "No space left on device")):
        answer = pxos("vm", "run", "-", typed=b"fn main() { putc('x'); }")
    assert answer.status == 2
    assert answer.errors == "pxos: cannot write to standard output: No space left on device\n"
