"""The deadline scheduler on the machine: an admitted load without a miss, and what shell and PXSCHED lines say of it.

Under icount an instruction is a nanosecond, so the host's noise is not in the figures. Without it the same load is
reported by the kernel and judged by nobody.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
