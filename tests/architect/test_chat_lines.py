"""Lines in and out of a conversation: what is shown, colours, pipes, leaving, interruptions."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from architect.chat import terminal
from architect.chat.piped import converse, lines_of
from architect.chat.talk import LINE_MAX
from architect.chat.view import ColourView, View, clean, highlight
from tests.architect.chatting import ROOT, chat


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize("line", ["exit", "quit", "/exit", "/q", "/cost\n/quit\n/nope"])
def test_who_wants_to_leave_leaves(tmp_path: Path, line: str) -> None:
    with chat(tmp_path) as made:
        assert made.talk.handle(line) is False and made.talk.ok


def test_a_message_that_is_too_long_says_where_a_log_belongs(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        assert "/fault FILE" in made.say("x" * 70_000)


def test_ctrl_c_while_an_interruption_is_told_ends_no_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    lines = iter(["/boot", "/quit"])
    stops = iter([True, True, False, False])

    def note(text: str) -> None:
        if text.startswith("interrupted") and next(stops):
            raise KeyboardInterrupt
        said.append(text)

    def handle(line: str) -> bool:
        if line == "/boot":
            raise KeyboardInterrupt
        return False

    with chat(tmp_path) as made:
        monkeypatch.setattr(made.talk.view, "note", note)
        monkeypatch.setattr(made.talk, "handle", handle)
        terminal.read_lines(made.talk, lambda: next(lines))
        turns = [(turn.role, turn.text) for turn in made.talk.session.turns]
    assert said == [terminal.ENDED] and turns == [("note", "(interrupted by the person)")]


def test_an_answer_that_comes_in_pieces_is_the_same_as_one_at_once() -> None:
    text = "See `mm/page.s`:\n\n```asm\n    mov rax, 1 # one\n```\nand\n~~~wgsl\nfn f() {}\n~~~\nend"
    for size in (1, 3, 7, len(text)):
        stream = io.StringIO()
        prose = View(stream).stream_prose()
        for at in range(0, len(text), size):
            prose.feed(text[at : at + size])
        prose.close()
        assert stream.getvalue() == text + "\n"


def test_piped_lines_have_one_answer_each_and_a_status(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        lines = lines_of(io.BytesIO(b"/cost\r\n\n/nope\n/model"))
        assert converse(made.talk, lines) is False
        assert made.stream.getvalue().count("\n") == 3
        assert converse(made.talk, ["/cost", "/quit", "/nope"]) is True  # what follows /quit is not read


def test_who_has_read_enough_may_go(tmp_path: Path) -> None:
    lines = "/help\n" * 200
    command = [sys.executable, "-m", "cli", "chat", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chatting:
        assert chatting.stdin and chatting.stdout and chatting.stderr
        chatting.stdin.write("/help\n")
        chatting.stdin.flush()
        assert chatting.stdout.readline().startswith("/boot")
        chatting.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            chatting.stdin.write(lines)
            chatting.stdin.close()
        said = chatting.stderr.read()
    assert (chatting.returncode, said) == (0, "")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO(b"a" * (LINE_MAX * 3) + b"\n/cost\n")
    with chat(tmp_path) as made:
        assert converse(made.talk, lines_of(data)) is False
        assert "at most" in made.stream.getvalue() and "nothing was spent" in made.stream.getvalue()


def test_nothing_that_drives_a_terminal_gets_through() -> None:
    stream = io.StringIO()
    for view in (View(stream), ColourView(stream)):
        for show in (view.text, view.note, view.heading, view.bad, view.good, view.diff, view.prose):
            show("x\x1b]0;title\x07\x1b[2J\x9b31m\r\x00y")
        view.code("mov eax, 1 # \x1b[2J", "gas")
    shown = stream.getvalue()
    assert not any(c in shown for c in "\x07\r\x00\x9b") and "\x1b]" not in shown and "\x1b[2J" not in shown
    assert clean("tab\tline\n") == "tab\tline\n"


@pytest.mark.parametrize("language", ["gas", "nasm", "wgsl", "diff", "json", "python", "klingon"])
def test_colours_change_no_character(language: str) -> None:
    text = 'page_map: # "x" # y\n    mov rax, [rip + page_root]\n+ fn main() { let x = 3u; }\n- @group(0)\n'.rstrip(
        "\n"
    )
    assert re.sub(r"\x1b\[[0-9;]*m", "", highlight(text, language)) == text


def test_numbers_of_lines_are_no_code() -> None:
    code = 'say_more: # "x"\n    mov rax, [rip + page_root]'
    first, second = highlight(code, "gas").split("\n")
    excerpt = highlight("    99  " + code.replace("\n", "\n>  100  "), "gas").split("\n")
    assert [row.partition("\x1b[0m")[0] for row in excerpt] == ["\x1b[2m    99  ", "\x1b[2m>  100  "]
    assert [row.partition("\x1b[0m")[2] for row in excerpt] == [first, second]
    assert highlight("    99  nop\n… to line 120", "gas").endswith("\n\x1b[2m… to line 120\x1b[0m")
