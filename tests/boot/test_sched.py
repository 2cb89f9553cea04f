"""The deadline scheduler on the machine: an admitted load without a miss, and what shell and PXSCHED lines say of it.

Under icount an instruction is a nanosecond, so the host's noise is not in the figures. Without it the same load is
reported by the kernel and judged by nobody.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.boot.test_shell import Shell
from toolchain import build, qemu
from toolchain.types import BootConfig

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
THREADS = 8
_LINE = re.compile(r"^PXSCHED v1 (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build(ROOT / "kernel", tmp_path_factory.mktemp("sched"), iso=False).elf


def lines(serial: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The line of the CPU, and those of the threads."""
    found = [dict(pair.split("=", 1) for pair in line.split()) for line in _LINE.findall(serial)]
    return next(line for line in found if "cpu" in line), [line for line in found if "thread" in line]


def judge(serial: str, releases: int) -> None:
    cpu, threads = lines(serial)
    assert len(threads) == THREADS
    assert 690_000 <= int(cpu["load_most_ppm"]) <= 700_000
    assert sum(int(thread["releases"]) for thread in threads) >= releases
    for thread in threads:
        counted = {name: int(value) for name, value in thread.items() if name != "thread"}
        assert counted["misses"] == counted["overruns"] == 0, thread
        assert counted["completed"] == counted["releases"], thread
        assert counted["response_worst_ns"] <= counted["deadline_ns"], thread
        assert counted["jitter_p99_ns"] <= counted["jitter_worst_ns"] <= counted["response_worst_ns"], thread
        assert counted["used_ns"] <= counted["releases"] * counted["budget_ns"], thread
    assert int(cpu["load_ppm"]) == int(cpu["threads"]) == 0  # all have ended


@pytest.mark.parametrize("cpus", [1, 2])
def test_an_admitted_load_misses_no_deadline(kernel: Path, cpus: int) -> None:
    result = qemu.boot(BootConfig(kernel, cmdline="sched-test exit", icount=True, smp=cpus, timeout=120))
    assert result.outcome == "ready", result.serial
    judge(result.serial, 4000)


@pytest.mark.slow
def test_a_million_releases_without_a_miss(kernel: Path) -> None:
    result = qemu.boot(BootConfig(kernel, cmdline="sched-soak exit", icount=True, timeout=900))
    assert result.outcome == "ready", result.serial
    judge(result.serial, 1_000_000)
    cpu, threads = lines(result.serial)
    total = {
        name: sum(int(thread[name]) for thread in threads) for name in ("releases", "misses", "overruns")
    }
    print(f"\n{total} at {int(cpu['load_most_ppm']) / 10_000:.1f} %, overhead {cpu['overhead_ns']} ns")


def test_the_shell_runs_the_load_and_gives_everything_back(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--icount")
    try:
        shell.ask("sched load 100")  # what is measured and made once
        before = shell.ask("mem"), shell.ask("frames")
        found = shell.ask("sched load 1000")
        after = shell.ask("mem"), shell.ask("frames")
        only = shell.ask("threads")["list"]
        refused = [shell.ask(f"sched {words}") for words in ("load 0", "load x", "loads")]
    finally:
        shell.close()
    background, *threads = sorted(found["list"], key=lambda thread: thread["id"])
    assert background == {"cpu": 0, "id": 0, "name": "shell", "state": "running"}
    assert only == [background]
    assert [thread["name"] for thread in threads] == [f"load-{number}" for number in range(THREADS)]
    assert all(thread["state"] == "ended" and not thread["misses"] for thread in threads)
    assert sum(thread["completed"] for thread in threads) >= 1000
    assert before == after
    assert all("sched load JOBS" in answer["error"] for answer in refused)


def test_the_shell_shows_the_threads_of_all_processors(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--smp", "3")
    try:
        before = shell.ask("frames")
        threads, loads = shell.ask("threads")["list"], shell.ask("sched")["cpus"]
        loaded = shell.ask("sched load 100")
        after = shell.ask("frames")
    finally:
        shell.close()
    names = {0: "shell", 1: "idle", 2: "idle"}
    assert threads == [{"cpu": cpu, "id": 0, "name": name, "state": "running"} for cpu, name in names.items()]
    assert [row["cpu"] for row in loads] == [row["cpu"] for row in loaded["cpus"]] == [0, 1, 2]
    assert [row["cpu"] for row in loaded["list"]] == [0] * (THREADS + 1) + [1, 2]
    assert loaded["cpus"][0]["load_most_ppm"] > 0 and not any(
        row["load_most_ppm"] for row in loaded["cpus"][1:]
    )
    assert before["heap_blocks"] == after["heap_blocks"]
