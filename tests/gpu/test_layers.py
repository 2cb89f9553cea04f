"""Activations, softmax, norms and embedding in both variants, against NumPy in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError
from toolchain.gpu import tensor
from toolchain.gpu.device import LOOP_MAX, Device
from toolchain.gpu.layers import Layers

Array = np.ndarray[Any, np.dtype[Any]]
SHAPES = [(1, 1), (1, 16), (3, 5), (9, 63), (2, 3, 257), (70, 64)]
VARIANTS = pytest.mark.parametrize("tiled", [False, True], ids=["register", "workgroup"])
# Relative to the largest value of the row: exp is the least accurate of what drivers build in.
TOLERANCE = 4e-6


def silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": silu,
}


def drawn(shape: tuple[int, ...], seed: int = 0, scale: float = 3.0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32) * np.float32(scale)


def close(
    device: Device,
    found: tensor.Tensor,
    expected: Array,
    tolerance: float = TOLERANCE,
    x: Array | None = None,
) -> None:
    values = tensor.download(device, found)
    assert values.shape == expected.shape
    scale = np.maximum(np.abs(expected if x is None else x).max(axis=-1, keepdims=True), 1e-30)
    worst = float(np.max(np.abs(values - expected) / scale))
    assert worst <= tolerance, worst
    laid = np.frombuffer(device.download(found.buffer), np.float32).reshape(-1, found.units * 16)
    assert (laid[:, found.columns :] == 0).all() and (laid[found.rows :] == 0).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(device: Device, name: str) -> None:
    layers = Layers(device, tiled=False)
    for shape in SHAPES:
        x = drawn(shape)
        found = layers.activate(tensor.upload(device, x), name)
        close(device, found, ACTIVATIONS[name](x.astype(np.float64)), 5e-7, x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_extreme_values_are_finite_and_right(device: Device, name: str) -> None:
    x = np.array([-1e30, -1e4, -88, -1e-20, 0, 1e-20, 88, 1e4], np.float32)
    found = tensor.download(device, Layers(device, tiled=False).activate(tensor.upload(device, x), name))
    wide = np.clip(x.astype(np.float64), -500, None)
    expected = np.where(x < -80, 0, ACTIVATIONS[name](wide))
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-30)


def test_two_operands(device: Device) -> None:
    layers = Layers(device, tiled=False)
    for shape in SHAPES:
        x, y = drawn(shape, 1), drawn(shape, 2)
        a, b = tensor.upload(device, x), tensor.upload(device, y)
        close(device, layers.add(a, b), x.astype(np.float64) + y)
        close(device, layers.multiply(a, b), x.astype(np.float64) * y)
        close(device, layers.swiglu(a, b), silu(x.astype(np.float64)) * y)


@VARIANTS
def test_softmax(device: Device, tiled: bool) -> None:
    layers = Layers(device, tiled=tiled)
    for shape in SHAPES:
        x = drawn(shape, scale=20)
        e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
        close(device, layers.softmax(tensor.upload(device, x)), e / e.sum(axis=-1, keepdims=True))
    hostile = np.array([[-1e38, -1e38, -3e38], [1e38, -1e38, 0], [-5, -5, -5]], np.float32)
    found = tensor.download(device, layers.softmax(tensor.upload(device, hostile)))
    assert np.allclose(found, np.array([[0.5, 0.5, 0], [1, 0, 0], [1 / 3] * 3]))


@VARIANTS
def test_norms(device: Device, tiled: bool) -> None:
    layers = Layers(device, tiled=tiled)
    for shape in SHAPES:
        x, gain, shift = drawn(shape, 3) + 2, drawn(shape[-1:], 4), drawn(shape[-1:], 5)
        a, g, s = (tensor.upload(device, v) for v in (x, gain, shift))
        wide = x.astype(np.float64)
        rms = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + 1e-6) * gain
        close(device, layers.rms_norm(a, g), rms)
        norm = (wide - wide.mean(axis=-1, keepdims=True)) / np.sqrt(wide.var(axis=-1, keepdims=True) + 1e-5)
        close(device, layers.layer_norm(a, g, s), norm * gain + shift, 2e-5 if shape[-1] > 1 else 1e-3)


@pytest.mark.parametrize("over", [0, 1])
def test_rows_on_both_sides_of_the_loop_bound(device: Device, over: int) -> None:
    columns = LOOP_MAX // 3 // 4 * 16 + 16 * over
    x = drawn((2, columns))
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    close(
        device,
        Layers(device, tiled=False).softmax(tensor.upload(device, x)),
        e / e.sum(axis=-1, keepdims=True),
    )


def test_more_rows_than_one_direction_of_a_dispatch_takes(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(device.limits, "max-compute-workgroups-per-dimension", 13)
    for tiled in (False, True):
        layers = Layers(device, tiled=tiled)
        x = drawn((150, 20))
        e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
        close(device, layers.softmax(tensor.upload(device, x)), e / e.sum(axis=-1, keepdims=True))
        close(device, layers.activate(tensor.upload(device, x), "relu"), np.maximum(x, 0).astype(np.float64))


@pytest.mark.parametrize("kind", ["f32", "f16", "i8"])
def test_embedding(device: Device, kind: str) -> None:
    layers = Layers(device, tiled=False)
    for entries, columns, count in [(1, 1, 1), (50, 33, 7), (300, 64, 20)]:
        table = tensor.upload(device, drawn((entries, columns)), kind)
        ids = np.random.default_rng(6).integers(0, entries, count)
        found = layers.embed(table, tensor.upload(device, ids, "u32"))
        close(device, found, tensor.download(device, table)[ids].astype(np.float64), 1e-7)


def test_an_id_beyond_the_table_is_its_last_row(device: Device) -> None:
    table = drawn((5, 3))
    ids = tensor.upload(device, np.array([4, 5, 2**32 - 1]), "u32")
    found = tensor.download(device, Layers(device, tiled=False).embed(tensor.upload(device, table), ids))
    assert (found == table[4]).all()


def test_two_runs_give_the_same_bits(device: Device) -> None:
    for tiled in (False, True):
        layers = Layers(device, tiled=tiled)
        x = tensor.upload(device, drawn((20, 100)))
        first, second = (tensor.download(device, layers.softmax(x)) for _ in range(2))
        assert first.tobytes() == second.tobytes()


def test_what_does_not_fit_is_named(device: Device) -> None:
    layers = Layers(device, tiled=False)
    x, y = tensor.empty(device, (2, 3)), tensor.empty(device, (2, 4))
    with pytest.raises(InputError, match=r"add: \[2, 3\] and \[2, 4\]"):
        layers.add(x, y)
    with pytest.raises(InputError, match=r"rms_norm: \[4\] for rows of 3"):
        layers.rms_norm(x, tensor.empty(device, (4,)))
    with pytest.raises(InputError, match="softmax: f16"):
        layers.softmax(tensor.empty(device, (2, 3), "f16"))
    with pytest.raises(InputError, match="no activation is called 'mish'"):
        layers.activate(x, "mish")
    with pytest.raises(InputError, match="embed: f32"):
        layers.embed(x, y)


@pytest.mark.slow
@VARIANTS
def test_many_random_shapes(device: Device, tiled: bool) -> None:
    layers = Layers(device, tiled=tiled)
    rng = np.random.default_rng(9)
    for number in range(150):
        shape = (int(rng.integers(1, 200)), int(np.exp(rng.uniform(0, 8))))
        x, gain = drawn(shape, number), drawn(shape[-1:], number + 1)
        wide = x.astype(np.float64)
        e = np.exp(wide - wide.max(axis=-1, keepdims=True))
        a, g = tensor.upload(device, x), tensor.upload(device, gain)
        close(device, layers.softmax(a), e / e.sum(axis=-1, keepdims=True))
        rms = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + 1e-6) * gain
        close(device, layers.rms_norm(a, g), rms)
