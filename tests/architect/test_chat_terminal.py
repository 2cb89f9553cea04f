"""The chat in a real terminal: keys, Tab, history, lines of several lines, Ctrl-C, Ctrl-D, resizing, undo."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.architect.chatting import ROOT, copied
from tests.architect.model_server import ModelServer, answer

pytestmark = pytest.mark.long

SECONDS = 60
PROMPT = "pxos>"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


class Terminal:
    """``pxos chat`` on a pseudo-terminal."""

    def __init__(self, folder: Path, *words: str, tree: Path | None = None) -> None:
        self.folder = folder
        environment = {
            **os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"), "COLUMNS": "", "GIT_CEILING_DIRECTORIES": str(folder),
        }  # fmt: skip
        environment.pop("NO_COLOR", None)
        given = ["chat", "--out", str(folder / "out"), "--kernel", str(tree or ROOT / "kernel"), *words]
        self.line: pexpect.spawn[str] = pexpect.spawn(
            sys.executable, ["-m", "cli", *given], cwd=str(ROOT), env=environment, timeout=SECONDS, encoding="utf-8",
            dimensions=(40, 140),
        )  # fmt: skip
        self.line.delaybeforesend = None
        self.line.expect(PROMPT)
        self.greeting = _STYLE.sub("", self.line.before or "")

    def say(self, text: str) -> str:
        """What is answered to a line, without colours."""
        self.line.send(text + "\r")
        self.line.expect(r"\x1b\[\?2004l")  # the editor has let the line go
        self.line.expect(PROMPT)
        return _STYLE.sub("", self.line.before or "")

    def leave(self) -> int:
        """Ctrl-D; the exit status."""
        self.line.sendcontrol("d")
        self.line.expect(pexpect.EOF)
        self.line.close()
        status: int = self.line.exitstatus
        return status


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.line.close(force=True)


def children_of(pid: int) -> set[str]:
    """Names of the processes below one."""
    found, rows = set(), {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "stat").read_text().rpartition(")")
            except OSError:
                continue
            rows[int(folder.name)] = (int(words[2].split()[1]), words[0].partition("(")[2])
    near = {pid}
    while more := {child for child, (parent, _) in rows.items() if parent in near} - near:
        near |= more
        found |= {rows[child][1] for child in more}
    return found


def until_gone(pid: int, name: str) -> None:
    """Wait until no process of that name is left below one."""
    until = time.monotonic() + SECONDS
    while any(child.startswith(name) for child in children_of(pid)):
        assert time.monotonic() < until, f"{name} is left"
        time.sleep(0.02)


def test_questions_colours_and_the_end(terminal: Terminal) -> None:
    terminal.line.send("what is page_map?\r")
    terminal.line.expect(r"\x1b\[32mpush\x1b\[39")  # an instruction in its colour
    terminal.line.expect(PROMPT)
    assert "no symbol" in terminal.say("/explain nothing_of_this_name")
    assert terminal.leave() == 0


def test_tab_completes_commands_symbols_and_files(terminal: Terminal) -> None:
    terminal.line.send("/expl\t")
    terminal.line.expect("ain")
    terminal.line.send(" mmio_m\t")
    terminal.line.expect("ap")
    assert "mmio_map = 0x" in terminal.say("")
    terminal.line.send("/explain mmio_\t")  # several: a menu
    terminal.line.expect("mmio_address")
    terminal.line.send("\x03")
    terminal.line.expect("Ctrl-D or /quit leaves")
    terminal.line.expect(PROMPT)
    assert terminal.leave() == 0


def test_history_goes_on_from_run_to_run(tmp_path: Path) -> None:
    first = Terminal(tmp_path)
    assert "nothing was spent" in first.say("/cost")
    assert "nothing was spent" in first.say("\x1b[A")  # the line before
    first.leave()
    second = Terminal(tmp_path)
    assert "nothing was spent" in second.say("\x1b[A")
    second.leave()
    assert (tmp_path / "data/pxos/chat/history").stat().st_mode & 0o777 == 0o600


def test_a_message_may_have_several_lines(tmp_path: Path) -> None:
    with ModelServer(["I read both."]) as server:
        made = Terminal(
            tmp_path, "--model-url", server.url, "--model", "scripted", "--model-context", "32000"
        )
        made.line.send("one\\\r")  # a backslash at the end
        made.line.send("two\x1b\r")  # Alt-Enter
        assert "I read both." in made.say("three")
        assert server.requests[0].last == "one\ntwo\nthree"
        made.leave()


def test_ctrl_c_at_the_prompt_clears_the_line_and_stays(terminal: Terminal) -> None:
    terminal.line.send("half a li")
    terminal.line.expect("half a li")
    terminal.line.send("\x03")
    terminal.line.expect("Ctrl-D or /quit leaves")
    terminal.line.expect(PROMPT)
    assert "nothing was spent" in terminal.say("/cost")
    terminal.line.send("/quit\r")
    terminal.line.expect(pexpect.EOF)


def test_ctrl_c_ends_an_answer_that_streams(tmp_path: Path) -> None:
    slow = answer("word " * 2000, piece=5, delay=0.05)
    with ModelServer([slow, "Back again."]) as server:
        made = Terminal(
            tmp_path, "--model-url", server.url, "--model", "scripted", "--model-context", "32000"
        )
        made.line.send("tell me everything\r")
        made.line.expect("word word word")
        made.line.send("\x03")
        made.line.expect("interrupted")
        made.line.expect(PROMPT)
        assert "Back again." in made.say("go on")
        assert "(interrupted)" in str(server.requests[1].prompt)
        assert made.leave() == 0


@pytest.mark.qemu
def test_ctrl_c_ends_a_boot_with_its_machine(terminal: Terminal) -> None:
    terminal.line.send("/boot cmdline=sched-test test timeout=50\r")
    terminal.line.expect("booting kernel.elf")
    until = time.monotonic() + SECONDS
    while not any(name.startswith("qemu") for name in children_of(terminal.line.pid)):
        assert time.monotonic() < until
    terminal.line.send("\x03")
    terminal.line.expect(["interrupted", "tests-passed"])
    terminal.line.expect(PROMPT)
    until_gone(terminal.line.pid, "qemu")
    assert "ready after" in terminal.say("/boot")
    assert terminal.leave() == 0


@pytest.mark.qemu
def test_ctrl_c_ends_the_gates_with_all_that_they_started(terminal: Terminal) -> None:
    terminal.line.send("/fix\r")
    terminal.line.expect("building and")
    terminal.line.send("\x03")
    terminal.line.expect("interrupted")
    terminal.line.expect(PROMPT)
    until_gone(terminal.line.pid, "qemu")
    assert "nothing was spent" in terminal.say("/cost")
    assert terminal.leave() == 0


@pytest.mark.qemu
def test_nothing_is_left_when_the_terminal_goes_away(terminal: Terminal) -> None:
    assert '"total_kib"' in terminal.say("/kernel mem")
    pid = terminal.line.pid
    machines = [name for name in children_of(pid) if name.startswith("qemu")]
    assert machines
    terminal.line.close(force=True)  # SIGHUP, as a terminal that is closed
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            assert str(terminal.folder).encode() not in words, words


@pytest.mark.qemu
def test_nothing_is_left_after_kill_9(terminal: Terminal) -> None:
    assert '"total_kib"' in terminal.say("/kernel mem")
    machines = [
        int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal() and _is_below(p, terminal.line.pid)
    ]
    assert machines
    os.kill(terminal.line.pid, signal.SIGKILL)
    terminal.line.close(force=True)
    until = time.monotonic() + SECONDS
    while any(_lives(number) for number in machines):
        assert time.monotonic() < until
        time.sleep(0.02)


def _is_below(folder: Path, pid: int) -> bool:
    try:
        words = (folder / "stat").read_text().rpartition(")")
        return int(words[2].split()[1]) == pid
    except (OSError, IndexError):
        return False


def _lives(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_home_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    made = Terminal(tmp_path)
    assert "cannot write" in made.say("/cost") and "cannot" not in made.say("/cost")
    assert made.leave() == 0


def test_a_resize_does_no_harm(terminal: Terminal) -> None:
    for rows, columns in ((10, 30), (50, 200), (24, 80)):
        terminal.line.setwinsize(rows, columns)
        terminal.line.send("/cost\r")
        terminal.line.expect("nothing was spent")
        terminal.line.expect(PROMPT)
    assert terminal.leave() == 0


def test_a_change_is_shown_applied_and_undone(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    before = (tree / "mm/mmio.s").read_text()
    edit = (
        '/tool propose_edit {"edits": [{"file": "mm/mmio.s", "search": "    call mmio_check",'
        ' "replace": "    nop\\n    call mmio_check"}]}'
    )
    made = Terminal(tmp_path, tree=tree)
    assert "+    nop" in made.say(edit) and (tree / "mm/mmio.s").read_text() == before
    assert "the originals are kept in" in made.say("/apply unproved")
    assert "    nop\n    call mmio_check" in (tree / "mm/mmio.s").read_text()
    assert "the originals are back" in made.say("/undo") and (tree / "mm/mmio.s").read_text() == before
    assert made.leave() == 0


def test_a_conversation_is_kept_without_being_asked(tmp_path: Path) -> None:
    made = Terminal(tmp_path)
    made.say("what is page_map?")
    made.line.close(force=True)  # nobody said /save
    kept = [path.stem for path in (tmp_path / "data/pxos/chat").glob("*.json")]
    assert len(kept) == 1
    again = Terminal(tmp_path, "--load", kept[0])
    assert "> what is page_map?" in again.greeting
    again.leave()
