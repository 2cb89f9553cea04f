"""Words in, one dispatch, words out: three ways that give the same; errors, a lost device, what is left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError, PxError
from toolchain.gpu import device as devices
from toolchain.gpu import exchange, wgsl
from toolchain.gpu.device import LOOP_MAX, Device, DeviceLost
from toolchain.gpu.exchange import Direct, Exchange, Mapped
from toolchain.gpu.kernels import Kernel

WORDS = 1000
SHADER = """// out = in + FACTOR * other; other grows by one with each dispatch
@group(0) @binding(0) var<storage, read> given: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> other: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x < arrayLength(&out) { out[at.x] = given[at.x] + 10u * other[at.x]; other[at.x] += 1u; }
}
@compute @workgroup_size(64) fn twice(@builtin(global_invocation_id) at: vec3u) {
  if at.x < arrayLength(&out) { out[at.x] = given[at.x] * 2u + 0u * other[at.x]; }
}
"""
WAYS = (Exchange, Direct, Mapped)


@pytest.fixture(params=WAYS, ids=lambda way: str(way.__name__))
def way(request: pytest.FixtureRequest, device: Device) -> type[Exchange]:
    made: type[Exchange] = request.param
    return direct(made, device) if issubclass(made, Direct) else made


@pytest.fixture(scope="module")
def kernels(device: Device) -> tuple[Kernel, Kernel]:
    module = wgsl.compose(SHADER, "grow.wgsl")
    return device.kernel(module), device.kernel(module, "twice")


@pytest.fixture
def made(device: Device, way: type[Exchange]) -> Iterator[Exchange]:
    other = device.upload(np.zeros(WORDS, np.uint32))
    yield way(device, WORDS, WORDS, (other,))
    assert not device._recorded


def test_the_quickest_way_is_taken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(exchange.best(device, 4, 4)) is (Mapped if device.shares_memory else Direct)
    monkeypatch.setattr(device, "features", frozenset[str]())
    assert type(exchange.best(device, 4, 4)) is Direct


def test_a_discrete_card_s_buffers_are_not_mapped(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_SHARED", ())
    assert type(exchange.best(device, 4, 4)) is Direct


def test_a_wgpu_that_is_laid_out_otherwise_goes_through_its_own_objects(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wgpu.backends.wgpu_native import _api

    monkeypatch.delattr(_api, "error_handler")
    assert type(exchange.best(device, 4, 4)) is Exchange


def test_dispatches_one_after_the_other(made: Exchange, kernels: tuple[Kernel, Kernel]) -> None:
    chance = np.random.default_rng(1)
    for turn in range(40):
        used = int(chance.integers(1, WORDS + 1))
        words = chance.integers(0, 1 << 32, used, np.uint32)
        made.inbox[:used] = words
        kernel = kernels[turn % 2]
        found = made.run(kernel, used, -(-WORDS // 64), used, iterations=0)
        wanted = words * np.uint32(2) if turn % 2 else words + np.uint32(10 * (turn // 2))
        assert found.dtype == np.uint32
        assert (found == wanted).all()
        found[:1] = 0  # a copy: the next dispatch does not see it
        assert made.inbox[:1] == words[:1]


def test_what_was_recorded_before_runs_before(
    device: Device, way: type[Exchange], kernels: tuple[Kernel, Kernel]
) -> None:
    other, source = device.upload(np.zeros(64, np.uint32)), device.upload(np.full(64, 7, np.uint32))
    made = way(device, 64, 64, (other,))
    device.copy(source, other, 256)
    assert (made.run(kernels[0], 64, 1, 64, iterations=0) == 70).all()
    assert (np.frombuffer(device.download(other), np.uint32) == 8).all()


def test_the_bounds_are_asserted(made: Exchange, device: Device, kernels: tuple[Kernel, Kernel]) -> None:
    with pytest.raises(InputError, match=f"{LOOP_MAX + 1} iterations"):
        made.run(kernels[0], 4, 1, 4, iterations=LOOP_MAX + 1)
    most = device.limits["max-compute-workgroups-per-dimension"]
    with pytest.raises(InputError, match="workgroups"):
        made.run(kernels[0], 4, most + 1, 4, iterations=0)
    made.inbox[:4] = 5
    assert (made.run(kernels[1], 4, 1, 4, iterations=0) == 10).all()


@pytest.mark.parametrize("before", [False, True], ids=["at the first", "later"])
def test_a_lost_device_says_so_at_once_and_ever_after(way: type[Exchange], before: bool) -> None:
    with Device() as device:
        kernel = device.kernel(wgsl.compose(SHADER, "grow.wgsl"), "twice")
        made = way(device, 64, 64, (device.buffer(256),))
        if before:
            made.inbox[:] = 3
            assert (made.run(kernel, 64, 1, 64, iterations=0) == 6).all()
        else:
            made._group(kernel)
        device.handle.destroy()
        for _ in range(2):
            with pytest.raises(DeviceLost, match="open it again"):
                made.run(kernel, 64, 1, 64, iterations=0)
        assert device.lost


@pytest.mark.parametrize(("used", "wanted"), [(0, 4), (4, 0), (WORDS + 1, 4), (4, WORDS + 1), (-1, 4)])
def test_words_beyond_the_buffers_are_refused(
    made: Exchange, kernels: tuple[Kernel, Kernel], used: int, wanted: int
) -> None:
    with pytest.raises(InputError, match="words in"):
        made.run(kernels[1], used, 1, wanted, iterations=0)


@pytest.mark.parametrize("kind", [Direct, Mapped])
def test_what_wgpu_refuses_is_an_error_and_the_next_dispatch_is_whole(
    device: Device, kind: type[Direct], kernels: tuple[Kernel, Kernel]
) -> None:
    kind = direct(kind, device)
    made = kind(device, 64, 64, (device.buffer(256),))
    made.inbox[:] = np.arange(64)
    fitting = made._group(kernels[1])
    with Device() as other:  # a group of another device cannot be bound
        foreign = kind(other, 64, 64, (other.buffer(256),))
        made._bound[kernels[1]] = foreign._group(other.kernel(wgsl.compose(SHADER, "grow.wgsl"), "twice"))
        with pytest.raises(PxError, match=r"grow\.wgsl, twice"):
            made.run(kernels[1], 64, 1, 64, iterations=0)
    made._bound[kernels[1]] = fitting
    assert not device.lost
    assert (made.run(kernels[1], 64, 1, 64, iterations=0) == np.arange(0, 128, 2)).all()


@pytest.mark.parametrize("kind", [Direct, Mapped])
def test_nothing_is_left_behind(device: Device, kind: type[Direct], kernels: tuple[Kernel, Kernel]) -> None:
    from wgpu.backends.wgpu_native._helpers import generate_report

    made = direct(kind, device)(device, 64, 64, (device.buffer(256),))

    def held() -> Any:
        made.run(kernels[1], 64, 1, 64, iterations=0)
        report = generate_report()["hub"]
        return {
            name: report[name]["allocated"] + report[name]["kept"]
            for name in ("commandBuffers", "buffers", "bindGroups")
        }

    before = held()
    assert before["buffers"] > 0
    calls = made._lib = Counted(made._lib)
    for _ in range(50):
        made.run(kernels[1], 64, 1, 64, iterations=0)
    for begun, ended in (
        ("wgpuDeviceCreateCommandEncoder", "wgpuCommandEncoderRelease"),
        ("wgpuCommandEncoderBeginComputePass", "wgpuComputePassEncoderRelease"),
        ("wgpuCommandEncoderFinish", "wgpuCommandBufferRelease"),
    ):
        assert calls.counted[begun] == calls.counted[ended] == 50
    assert held() == before


def direct(way: type[Direct], device: Device) -> type[Direct]:
    """The way, where this adapter can go it."""
    return way if devices.MAPPABLE in device.features else Direct


class Counted:
    """Functions, counted."""

    def __init__(self, functions: Any) -> None:
        self.functions = functions
        self.counted: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.counted[name] += 1
        return getattr(self.functions, name)
