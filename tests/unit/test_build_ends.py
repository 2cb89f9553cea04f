"""Builds that cannot be: no tree, sources in error, no tool, a full disk, Ctrl-C; nothing half-made is left."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import cli
from tests.small_tree import START, plant
from tests.unit.pxos import PXOS
from toolchain import build
from toolchain.errors import ToolError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree")


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["build", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_no_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in failing(capsys, "--kernel", str(tmp_path / "none"))
    assert "no image.toml" in failing(capsys, "--kernel", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("start.s", b"", "start.s:1: error: the file is empty"),
        ("start.s", b"\x7fELF\0\0\0", "start.s:1: error: this is a binary file"),
        ("start.s", b"\xff\xfe", "is not UTF-8"),
        ("start.s", START.replace("other", "othr").encode(), "undefined symbol `othr'"),
        ("image.toml", b"[image", "image.toml"),
        ("boot.toml", b"[[unit]]\n", "unit[0].name: missing"),
    ],
)
def test_bad_sources_leave_the_last_products_alone(
    tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    out = tmp_path / "out"
    build.build(tree, out, iso=False)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tree / name).write_bytes(content)
    assert words in failing(capsys, "--kernel", str(tree), "--out", str(out), "--no-iso")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_no_sources(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "start.s").unlink()
    (tree / "cpu/other.s").unlink()
    assert "no source fits **/*.s" in failing(capsys, "--kernel", str(tree), "--no-iso")


def test_out_that_cannot_be_written(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    err = failing(capsys, "--kernel", str(tree), "--no-iso", "--out", str(tmp_path / "file"))
    assert "cannot write: File exists" in err
    assert err.count("\n") == 1


def test_missing_grub_is_told_before_anything_is_built(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="install the Debian package grub-common"):
        build.build(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert build.build(tree, tmp_path / "out", iso=False).elf.is_file()


@pytest.mark.parametrize("option", ["--no-iso", "--json"])
def test_full_disk(tmp_path: Path, tree: Path, option: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    inside = f'mount -t tmpfs -o size=16k none {out} && "$@"; status=$?; ls -A {out} >&3; exit $status'
    listing = tmp_path / "left"
    command = ["unshare", "-rm", "sh", "-c", f"exec 3>{listing}; {inside}", "sh"]
    probe = subprocess.run([*command, "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("no right to mount a small disk here")
    result = subprocess.run(
        [*command, *PXOS, "build", "--kernel", str(tree), "--out", str(out), option],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    left = listing.read_text().split()
    assert not [name for name in left if name.startswith(".") or name == "pxos.iso"]


def processes_of(group: int) -> list[int]:
    """Processes of a process group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def interrupted(process: subprocess.Popen[str], whole_group: bool) -> str:
    """Ctrl-C, as a terminal sends it (to the group) or as ``kill -INT`` does; returns what it said."""
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    return err


def opened_by_reader(pipe: Path, process: subprocess.Popen[str]) -> IO[bytes]:
    """The writing end of ``pipe``, once ``process`` has opened it for reading."""
    while process.poll() is None:
        try:
            return os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            assert error.errno == errno.ENXIO  # nobody reads yet
            time.sleep(0.005)
    raise AssertionError(process.communicate()[1])


# The command, but it waits at what it would refuse: at a pipe. A signal that comes between Python's look for signals
# and a read(2) does not end that read; select(2) on the wakeup descriptor cannot miss it.
PATIENT = [
    sys.executable,
    "-c",
    """
import os, select, signal, sys, cli
from toolchain import files

def patient(path, **_):
    file = open(path, "rb")
    while file not in select.select([file, woken], [], [])[0]:
        os.read(woken, 1)
    return file

woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
files.open_regular = patient
sys.exit(cli.main())
""",
]


@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupt_while_sources_are_read(tmp_path: Path, tree: Path, whole_group: bool) -> None:
    """boot.toml is a pipe that the build reads when its worker runs already."""
    (tree / "boot.toml").unlink()
    os.mkfifo(tree / "boot.toml")
    command = [*PATIENT, "build", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--no-iso"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with opened_by_reader(tree / "boot.toml", process):
        assert interrupted(process, whole_group) == "pxos: interrupted\n"
    assert not (tmp_path / "out").exists()
    gone(process.pid)


@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupt_while_the_iso_is_made(tmp_path: Path, tree: Path, whole_group: bool) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tools / "grub-mkrescue").write_text(f"#!/bin/sh\necho > {pipe}\nsleep 100\n")
    (tools / "grub-mkrescue").chmod(0o755)
    process = subprocess.Popen(
        [*PXOS, "build", "-q", "--kernel", str(tree), "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )  # fmt: skip
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    while process.poll() is None and not select.select([reader], [], [], 0.1)[0]:
        pass
    os.close(reader)
    assert interrupted(process, whole_group) == "pxos: interrupted\n"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["gen", "pxos.elf", "pxos.lst", "pxos.map"]
    gone(process.pid)


def gone(group: int) -> None:
    """Nothing of the build runs on (its processes are killed, and may take a moment to go)."""
    until = time.monotonic() + 10
    while processes_of(group) and time.monotonic() < until:
        time.sleep(0.01)
    assert processes_of(group) == []
