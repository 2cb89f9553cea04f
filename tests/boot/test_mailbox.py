"""Kernel and GPU service through the mailbox in QEMU: a session, round trips, a service that is killed under load."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.boot.test_shell import Shell
from tests.unit.pxos import pxos
from toolchain.mailbox import attach
from toolchain.mailbox import layout as m

pytestmark = pytest.mark.qemu

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
SECONDS = 90
PINGS = 20_000  # of one command of the shell
MOMENTS = 8  # the worker is killed at so many different times behind the command


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started, and those that they have."""
    found = []
    for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(name), *children(int(name))]
    return found


def worker(shell: Shell) -> int:
    """The service's worker."""
    for pid in children(shell.line.pid):
        if b"pixelvm.mailbox" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no worker")


def epochs(folder: Path) -> int:
    """How often the service has become ready."""
    return len(re.findall(r"ready, epoch", (folder / "build/boot" / attach.LOG_NAME).read_text()))


def wait_for(folder: Path, epoch: int) -> None:
    """Until the service has become ready so often."""
    end = time.monotonic() + SECONDS
    while epochs(folder) < epoch:
        assert time.monotonic() < end
        time.sleep(0.05)


def killed_under_load(folder: Path, times: int) -> None:
    """Round trips while the worker is killed; each ping has one outcome, and in the end the session is open.

    Prints what became of the commands (``pytest -s``).
    """
    shell = Shell(folder, "--gpu")
    answered = lost = hit = 0
    for number in range(times):
        before = epochs(folder)
        shell.line.send(f"mailbox ping {PINGS} -j\r")
        time.sleep(number % MOMENTS / 100)
        os.kill(worker(shell), signal.SIGKILL)
        shell.line.expect_exact("\r\npx> ", timeout=SECONDS)
        answer = shell.line.before or ""
        said = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
        assert said["asked"] == PINGS == said["answered"] + said["lost"], answer
        answered, lost, hit = answered + said["answered"], lost + said["lost"], hit + (said["lost"] > 0)
        wait_for(folder, before + 1)
    assert shell.ask("mailbox ping 100")["answered"] == 100
    said = shell.ask("mailbox")
    assert said["session"] == "open" and said["strays"] == 0
    assert said["epoch"] == times + 1
    assert (
        2 <= said["sessions"] <= times + 1
    )  # a worker that was killed before anything was asked of it had none
    print(
        f"{times} workers killed, {hit} with a command in flight: {answered + lost} commands, {answered} answered, "
        f"{lost} given up, none without an outcome"
    )
    shell.close()


def test_a_session_and_its_round_trips(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--gpu")
    said = shell.ask("mailbox")
    assert said["session"] == "open" and said["epoch"] == 1 and said["aborted"] == 0
    assert int(said["features"], 16) & m.FEATURE_VERSION_1
    answer = shell.ask("mailbox ping 600")  # more than two passes of the ring
    assert answer["asked"] == answer["answered"] == 600
    assert 0 < answer["p50_ns"] <= answer["p99_ns"] <= answer["slowest_ns"]
    for line in ("mailbox pong", "mailbox ping 0", "mailbox ping x", "mailbox ping 1 2"):
        assert "expected" in shell.ask(line)["error"]
    shell.close()


@pytest.mark.parametrize("cpus", [1, 4])
def test_every_cpu_has_a_queue_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: int) -> None:
    monkeypatch.chdir(tmp_path)
    answer = pxos(
        "boot", "--gpu", "--json", "-q", "--kernel", str(KERNEL), "--out", "out", "--smp", str(cpus),
        "--cmdline", "test=session",
    )  # fmt: skip
    said = (tmp_path / "out/boot/serial.log").read_text()
    assert answer.data["outcome"] == "tests-passed", said[said.find("KTAP") :] or answer.errors
    assert answer.data["tests"] == {"session_serves_a_queue_of_each_cpu": True}
    assert re.search(r"ok 1 session_serves_a_queue_of_each_cpu\s*$", said, re.M), "skipped"


def test_without_a_service_the_kernel_says_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.ask("mailbox")["session"] == "none"
    assert "no GPU service" in shell.ask("mailbox ping")["error"]
    assert "no GPU service" in shell.ask("messages")["error"]
    shell.close()


def test_the_kernel_sleeps_until_the_message(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--gpu")
    assert int(shell.ask("mailbox")["features"], 16) & m.FEATURE_INTERRUPT
    said = shell.ask("messages 300")
    assert said["answered"] == 300
    assert 0 < said["messages"] <= 300 and said["halts"] > 0
    assert shell.ask("mailbox ping 600")["answered"] == 600  # polled as before
    for line in ("messages 0", "messages x", "messages 1 2", "messages 100001"):
        assert "expected" in shell.ask(line)["error"]
    os.kill(worker(shell), signal.SIGKILL)  # what sleeps is awake again in bounded time
    assert "no GPU service" in shell.ask("messages 100000")["error"]
    wait_for(tmp_path, 2)
    answers = [shell.ask("messages 5") for _ in range(3)]  # the first may find the session lost
    assert answers[-1].get("answered") == 5, answers
    shell.close()


def test_the_worker_is_killed_under_load(tmp_path: Path) -> None:
    killed_under_load(tmp_path, 2)


@pytest.mark.slow
def test_the_worker_is_killed_a_hundred_times(tmp_path: Path) -> None:
    killed_under_load(tmp_path, 100)
