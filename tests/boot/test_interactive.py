"""``pxos run`` and ``pxos debug`` as a person uses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.boot import kernels

pytestmark = pytest.mark.qemu

SECONDS = 60


def run(folder: Path, kind: str) -> pexpect.spawn[str]:
    image = kernels.outcome_kernel(folder, kind)
    words = ["-m", "cli", "run", "--kernel", str(image), "--out", str(folder / "build")]
    return pexpect.spawn(
        sys.executable, words, cwd=str(folder), timeout=SECONDS, encoding="latin-1", echo=True
    )


def test_keys_reach_the_guest_and_its_answers_the_terminal(tmp_path: Path) -> None:
    person = run(tmp_path, "echo")
    person.expect("PXREADY v1 tsc=50")
    person.expect("\n")
    person.send("abc")
    person.expect_exact("abc")  # the guest's echo: the terminal's own is off
    person.send("q")
    person.expect("the guest ended the machine")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0


def test_the_escape_key_leaves(tmp_path: Path) -> None:
    person = run(tmp_path, "echo")
    person.expect("PXREADY")
    person.send("\x1d")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 0


def test_ctrl_c_interrupts_and_the_terminal_is_itself_again(tmp_path: Path) -> None:
    person = run(tmp_path, "echo")
    person.expect("PXREADY")
    person.sendintr()
    person.expect("interrupted")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 130


def test_a_death_ends_in_the_report(tmp_path: Path) -> None:
    person = run(tmp_path, "triple")
    person.expect("#UD")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 1


def test_input_from_a_pipe(tmp_path: Path) -> None:
    image = kernels.outcome_kernel(tmp_path, "echo")
    words = [
        sys.executable,
        "-m",
        "cli",
        "run",
        "-q",
        "--kernel",
        str(image),
        "--out",
        str(tmp_path / "build"),
    ]
    done = subprocess.run(words, input=b"hello q", capture_output=True, timeout=SECONDS, check=False)
    assert b"hello q" in done.stdout and done.returncode == 0, done


def debug(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    image = kernels.build("bar0.s", folder / "bar0.elf", IDT=1)
    command = [
        sys.executable,
        "-m",
        "cli",
        "debug",
        "--batch",
        "--kernel",
        str(image),
        "--out",
        str(folder / "build"),
    ]
    return subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_gdb_stops_at_a_routine_and_shows_its_source(tmp_path: Path) -> None:
    done = debug(
        tmp_path, "--execute", f"directory {kernels.FOLDER}", "--execute", "hbreak mailbox_reset",
        "--execute", "continue", "--execute", "print/x $rdi", "--execute", "list mailbox_reset",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mailbox_reset" in done.stdout and "0xfd000000" in done.stdout, done.stdout
    assert "mov dword ptr [rdi], 0" in done.stdout
    assert "PXBOOT v1 mailbox start" in (tmp_path / "build/debug/serial.log").read_text("latin-1")


def test_a_qemu_that_refuses(tmp_path: Path) -> None:
    done = debug(tmp_path, "--cpu", "no-such-cpu")
    assert done.returncode == 2 and "no-such-cpu" in done.stderr and "Traceback" not in done.stderr
