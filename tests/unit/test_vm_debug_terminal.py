"""``pxos vm debug`` at a terminal: a prompt, Ctrl-C, the end of the input."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect

SECONDS = 60


def spawned(folder: Path, source: str) -> pexpect.spawn[str]:
    (folder / "p.pxa").write_text(source)
    words = ["-m", "cli", "vm", "debug", "p.pxa"]
    return pexpect.spawn(
        sys.executable, words, cwd=str(folder), timeout=SECONDS, encoding="utf-8", echo=False
    )


def test_ctrl_c_interrupts_a_long_continue_and_nothing_else(tmp_path: Path) -> None:
    person = spawned(tmp_path, "main: push 1\n drop\n jump main\n")
    person.expect_exact("(pixel) ")
    person.sendline("watch 0")
    person.expect_exact("watch 1: 4 bytes at 0")
    person.expect_exact("(pixel) ")
    person.sendline("continue")
    person.expect_exact("running; Ctrl-C interrupts")
    person.sendintr()
    person.expect_exact("interrupted")
    person.expect_exact("(pixel) ")
    person.sendline("panes")
    person.expect(r"[0-9]+ instructions, fuel [0-9]+, stop running")
    person.expect_exact("(pixel) ")
    person.sendline("back")
    person.expect_exact("(pixel) ")
    person.sendeof()
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0


def test_quit(tmp_path: Path) -> None:
    person = spawned(tmp_path, "halt 3\n")
    person.expect_exact("(pixel) ")
    person.sendline("step")
    person.expect_exact("halted with 3")
    person.expect_exact("(pixel) ")
    person.sendline("quit")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0
