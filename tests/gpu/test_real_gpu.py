"""What only a real GPU can be asked: sizes that lavapipe takes minutes for, and the watchdog of a driver."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain import bench_shaders_work
from toolchain.gpu.device import Device
from toolchain.gpu.nn import Nn

pytestmark = pytest.mark.gpu


def test_every_task_of_the_bench_is_right_at_its_large_size(device: Device) -> None:
    nn = Nn(device)
    assert nn.variant == "workgroup"
    for work in bench_shaders_work.workloads(nn, large=True):
        assert work.agrees(), work.name


def test_work_of_many_seconds_is_not_ended_by_the_watchdog(device: Device) -> None:
    nn = Nn(device)
    n = 8192
    ones = nn.weights(np.ones((n, n), np.float32))
    x = ones
    for _ in range(40):
        x = nn.matmul(ones, ones)
    assert (nn.numpy(x)[:: n // 7] == n).all()


def test_both_variants_give_the_same_to_the_rounding(device: Device) -> None:
    rng = np.random.default_rng(1)
    a, w = rng.standard_normal((700, 1500), np.float32), rng.standard_normal((1500, 900), np.float32)
    found = [Nn(device, "register").matmul(a, w), Nn(device, "workgroup").matmul(a, w)]
    bound = 1500 * 2.0**-23 * (np.abs(a).astype(np.float64) @ np.abs(w))
    assert (np.abs(found[0] - found[1]) <= bound).all()
