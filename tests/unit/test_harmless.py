"""Nothing that a source, a name or a log holds drives the terminal: what `pxos` prints is text and its own colours."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.unit.pxos import pxos
from toolchain.command import Ui, harmless, paint

HOSTILE = "a\x1b]0;title\x07b\x1b[2J\x9b31mc\x1b[8md\x00\re\u202ef"


def test_what_drives_a_terminal_is_replaced() -> None:
    shown = harmless(HOSTILE)
    assert shown.isprintable() and len(shown) == len(HOSTILE)
    assert all(old == new or not old.isprintable() for old, new in zip(HOSTILE, shown, strict=True))


def test_text_its_lines_and_our_colours_stay() -> None:
    for text in ("", "plain", "two\n\tlines é 日本", paint("red", "red", True) + paint("dim", "dim", True)):
        assert harmless(text) == text
    assert harmless("from\r\nelsewhere\r\n") == "from\nelsewhere\n"


@pytest.mark.parametrize("way", ["step", "note"])
def test_progress_is_text(way: str) -> None:
    stream = io.StringIO()
    getattr(Ui(stream), way)(HOSTILE)
    assert stream.getvalue().endswith(f"{harmless(HOSTILE)}\n")


def test_an_error_is_text(tmp_path: Path) -> None:
    answer = pxos("asm", str(tmp_path / "\x1b]0;owned\x07.s"))
    assert answer.status == 2 and "owned" in answer.errors
    assert not set(answer.errors) & set("\x1b\x07")


def test_an_answer_is_text(tmp_path: Path) -> None:
    tree = tmp_path / "\x1b[2Jk"
    tree.mkdir()
    (tree / "a.s").write_text("    hlt\n")
    answer = pxos("init", str(tree))
    assert answer.status == 0 and "written" in answer.output and "\x1b" not in answer.output + answer.errors
