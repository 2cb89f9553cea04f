"""External programs: missing, failing, too slow, interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from toolchain.errors import ToolError
from toolchain.tools import GnuAs, GrubMkrescue, Tool


class Shell(Tool):
    name = "sh"
    package = "dash"
    timeout: ClassVar[float] = 20.0


def ends(pid: int, limit: float = 10.0) -> bool:
    """Whether a killed process is gone within ``limit`` seconds (a zombie is)."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_a_program_that_succeeds() -> None:
    result = Shell("test").run(["-c", "echo out; echo err >&2; echo $EXTRA"], env={"EXTRA": "more"})
    assert (result.stdout, result.stderr) == ("out\nmore\n", "err\n")


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    expected: list[tuple[Tool, str]] = [(GnuAs("test"), "binutils"), (GrubMkrescue("test"), "grub-common")]
    for tool, package in expected:
        with pytest.raises(ToolError, match=f"{tool.name}: not found; install the Debian package {package}"):
            tool.find()
        assert not tool.present()


def test_missing_helpers_of_grub_mkrescue_are_named_before_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "grub-mkrescue"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="xorriso: not found; install the Debian package xorriso"):
        GrubMkrescue("test").check(["i386-pc"])
    for name in ("xorriso", "mformat"):
        (tmp_path / name).symlink_to(fake)
    monkeypatch.setattr(GrubMkrescue, "modules_folder", tmp_path)
    with pytest.raises(
        ToolError, match="x86_64-efi: not found; install the Debian package grub-efi-amd64-bin"
    ):
        GrubMkrescue("test").check(["x86_64-efi"])


def test_a_failing_program_is_quoted() -> None:
    with pytest.raises(ToolError) as caught:
        Shell("test").run(["-c", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; exit 7"])
    error = caught.value
    assert error.message == "sh: exit status 7: line 9"
    assert (error.returncode, error.command[1]) == (7, "-c")
    assert error.output_tail.splitlines() == [f"line {i}" for i in range(2, 10)]


def test_a_full_disk_is_said_whatever_came_after() -> None:
    with pytest.raises(ToolError, match="x: No space left on device; free some space"):
        Shell("test").run(["-c", "echo 'x: No space left on device'; echo other; exit 1"])


def test_too_slow_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 100 & echo $! > {pids}; wait"
    with pytest.raises(ToolError, match=r"no end after 0\.5 s"):
        Shell("test").run(["-c", script], timeout=0.5)
    assert ends(int(pids.read_text()))


def test_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    found: list[int] = []

    def interrupt() -> None:
        found.append(int(pids.read_text()))  # returns when the child runs
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Shell("test").run(["-c", f"sleep 100 & echo $! > {pids}; wait"])
    thread.join()
    assert ends(found[0])
