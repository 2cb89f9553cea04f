"""``pxos bench shaders``: what is measured is what the peer computes, and the rows are those of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolchain import bench_shaders, bench_shaders_work
from toolchain.bench_shaders import Ceiling
from toolchain.command import Ui
from toolchain.errors import InternalError
from toolchain.gpu.device import Device
from toolchain.gpu.nn import Nn


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_shaders, "RUN_SECONDS", 1e-4)
    monkeypatch.setattr(bench_shaders, "ROUNDS", 2)


@pytest.mark.slow
def test_every_task_is_the_same_as_its_peer_s(device: Device) -> None:
    names = []
    for work in bench_shaders_work.workloads(Nn(device), large=False):
        names.append(work.name)
        assert work.agrees(), work.name
        assert work.amount > 0 and work.unit in ("GB/s", "GFLOP/s")
    assert len(set(names)) == len(names) >= 8


def test_rows_hold_both_peers_and_the_ceiling(device: Device, quick: None) -> None:
    work = next(bench_shaders_work.workloads(Nn(device), large=False))
    rows = bench_shaders._rows(
        work, Ceiling("multiply-add", "GFLOP/s", [100.0, 200.0]), Ui(quiet=True), work.nn
    )
    assert rows[0]["peer"] == "NumPy, one thread" and len(rows) == 2
    own = rows[0]
    assert own["ratio"] == pytest.approx(own["ours"] / own["peer_value"], rel=1e-2)
    assert own["of_ceiling"] == pytest.approx(own["spread"]["ours"][1] / 200, rel=1e-2)
    assert ("cpu_ratio" in own) == device.adapter.software
    if work.torch is None:
        assert rows[1]["note"] == "not installed" and rows[1]["peer_value"] is None


def test_a_task_that_differs_from_its_peer_is_not_measured(device: Device, quick: None) -> None:
    work = next(bench_shaders_work.workloads(Nn(device), large=False))
    wrong: Any = type(work)(**{**vars(work), "numpy": lambda: np.zeros((512, 512), np.float32) + 1})
    with pytest.raises(InternalError, match="differ"):
        bench_shaders._rows(wrong, Ceiling("multiply-add", "GFLOP/s", [1.0]), Ui(quiet=True), work.nn)


def test_numpy_is_held_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with pytest.raises(InternalError, match="one thread"):
        bench_shaders._one_thread()
