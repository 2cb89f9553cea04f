"""``pxos boot --gpu``: the service is started, QEMU is wired to it, and both end with the boot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import having
from tests.unit.pxos import pxos
from toolchain.mailbox import attach

pytestmark = pytest.mark.qemu

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


MARK = "PXOS_TEST_FOLDER"


def test_the_kernel_boots_beside_the_service_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MARK, str(tmp_path))
    mark = f"{MARK}={tmp_path}\0"
    script = "print(flush=True); input()"  # once it speaks, its environment can be read
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as probe:
        assert probe.stdout is not None and probe.stdout.readline() == b"\n"
        assert having(mark, "environ") == {probe.pid}, "a process of the test is not found"
        probe.communicate(b"\n", timeout=60)
    answer = pxos("boot", "--gpu", "--json", "-q", "--kernel", str(KERNEL), "--out", "out")
    assert answer.status == 0, answer.errors
    assert answer.data["outcome"] == "ready"
    assert any(word.startswith("ivshmem-doorbell") for word in answer.data["command"])
    pci = next(unit for unit in answer.data["units"] if unit["name"] == "pci")
    alone = pxos("boot", "--json", "-q", "--kernel", str(KERNEL), "--out", "out2")
    without = next(unit for unit in alone.data["units"] if unit["name"] == "pci")
    assert int(pci["values"]["functions"], 0) == int(without["values"]["functions"], 0) + 1
    log = (tmp_path / "out/boot" / attach.LOG_NAME).read_text()
    assert "ready, epoch 1" in log
    assert "a client has come" in log
    assert having(mark, "environ") == set()


def test_a_service_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PXOS_GPU_ADAPTER", "no such adapter")
    monkeypatch.setattr(attach, "SOCKET_NAME", "x" * 200)
    answer = pxos("boot", "--gpu", "-q", "--kernel", str(KERNEL), "--out", "out")
    assert answer.status == 2
    assert answer.errors.count("\n") == 1
    assert "the GPU service does not start" in answer.errors
    assert "longer than a socket's path may be" in answer.errors
