"""Children that are tied to our life: by the guard in memory, and by setpriv where that is not to be had."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import launch, launch_guard, machine

SECONDS = 20
PARENT = """
import subprocess, sys
from toolchain import launch, launch_guard
if sys.argv[1] == "setpriv":
    launch_guard.path = lambda: None
child = launch.spawn(["/bin/sleep", "60"], stdout=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture(params=["guard", "setpriv"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "setpriv":
        monkeypatch.setattr(launch_guard, "path", lambda: None)
    return str(request.param)


def test_the_guard_is_used_here() -> None:
    path = launch_guard.path()
    assert path is not None
    assert Path(path).read_bytes() == launch_guard.program(os.getpid())


def test_a_child_gets_its_arguments_environment_and_streams(way: str, tmp_path: Path) -> None:
    child = launch.spawn(
        ["/bin/sh", "-c", 'read line; echo "$0 $line $1 $PLACE $PWD"', "name", "a b"],
        folder=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        environment={"PLACE": "here"},
    )
    output, _ = child.communicate(b"typed\n", timeout=SECONDS)
    assert output.decode() == f"name typed a b here {tmp_path}\n"
    assert child.returncode == 0


def test_a_child_dies_with_its_parent(way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    handle = os.pidfd_open(child)
    try:
        parent.send_signal(signal.SIGKILL)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        assert ended.poll(SECONDS * 1000), "the child outlives its parent"
    finally:
        os.close(handle)
        parent.wait()
        parent.stdout.close()


def test_a_guard_of_another_parent_starts_nothing(tmp_path: Path) -> None:
    guard, made = tmp_path / "guard", tmp_path / "made"
    guard.write_bytes(launch_guard.program(os.getpid() + 1))
    guard.chmod(0o700)
    child = subprocess.run(["/usr/bin/touch", str(made)], executable=guard, timeout=SECONDS)
    assert child.returncode == launch_guard.NOT_STARTED
    assert not made.exists()


def test_a_program_that_is_missing_is_an_exit_status(way: str) -> None:
    child = launch.spawn(["/nowhere/at-all"])
    assert child.wait(SECONDS) == launch_guard.NOT_STARTED


def test_without_an_executable_memory_file_setpriv_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_guard, "path", lambda: "/nowhere/guard")
    assert launch.spawn(["/bin/true"]).wait(SECONDS) == 0


def test_a_person_keeps_the_last_word_on_the_heap() -> None:
    quick = machine.quick_environment({"A": "1"})
    assert quick["A"] == "1"
    tuned = machine.quick_environment({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"})
    assert tuned["GLIBC_TUNABLES"] == quick["GLIBC_TUNABLES"] + ":glibc.malloc.hugetlb=0"
