"""Matrix products in both variants, against NumPy in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError
from toolchain.gpu import linear, tensor
from toolchain.gpu.device import LOOP_MAX, Device
from toolchain.gpu.linear import Linear

Array = np.ndarray[Any, np.dtype[Any]]
EPSILON = 2.0**-24
KINDS = ("f32", "f16", "i8")
VARIANTS = pytest.mark.parametrize("tiled", [False, True], ids=["register", "workgroup"])


def reference(a: Array, w: Array, bias: Array | None, activation: str | None) -> Array:
    x = a.astype(np.float64) @ w.astype(np.float64) + (0 if bias is None else bias.astype(np.float64))
    if activation == "relu":
        x = np.maximum(x, 0)
    elif activation == "gelu":
        x = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    elif activation == "gelu_tanh":
        x = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    elif activation == "silu":
        x = x / (1 + np.exp(-x))
    return np.asarray(x)


def check(
    device: Device, tiled: bool, shape: tuple[int, int, int], kind: str = "f32", activation: str | None = None,
    *, biased: bool = True, seed: int = 0,
) -> Array:  # fmt: skip
    """Summation in any order is off by at most k epsilon |a| |w| (Higham, Accuracy and Stability, section 3.1)."""
    m, k, n = shape
    rng = np.random.default_rng([seed, m, k, n])
    a, w, bias = (rng.standard_normal(s, np.float32) for s in ((m, k), (k, n), (n,)))
    weights = tensor.upload(device, w, kind)
    held = tensor.download(device, weights)
    product = Linear(device, tiled=tiled).matmul(
        tensor.upload(device, a), weights, tensor.upload(device, bias) if biased else None, activation
    )
    found = tensor.download(device, product)
    expected = reference(a, held, bias if biased else None, activation)
    bound = (k + 8) * EPSILON * (np.abs(a).astype(np.float64) @ np.abs(held) + np.abs(bias)) + 1e-6
    assert found.shape == (m, n) and found.dtype == np.float32
    worst = np.max(np.abs(found - expected) / (1.2 * bound))  # GELU and SiLU are steeper than 1: at most 1.13
    assert worst <= 1, f"{worst:.2f} times the bound"
    return found


def shapes(count: int, largest: int, seed: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(seed)
    drawn = np.exp(rng.uniform(0, np.log(largest), (count, 3))).round().astype(int)
    return [(int(m), int(k), int(n)) for m, k, n in drawn]


@VARIANTS
def test_random_shapes(device: Device, tiled: bool) -> None:
    for shape in [(1, 1, 1), (4, 4, 16), (16, 17, 15), (5, 64, 257), (65, 31, 64), *shapes(12, 150, 1)]:
        check(device, tiled, shape, "f32", "gelu")


@pytest.mark.parametrize("kind", KINDS)
def test_the_large_tile(device: Device, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(linear, "_LARGE", 1)
    for shape in [(5, 3, 2), (128, 16, 128), (131, 37, 200)]:
        check(device, True, shape, kind, "relu")


@VARIANTS
@pytest.mark.parametrize("kind", KINDS)
def test_packed_weights(device: Device, tiled: bool, kind: str) -> None:
    for shape in [(1, 3, 5), (3, 130, 70), (1, 600, 33)]:
        check(device, tiled, shape, kind, "relu")


@VARIANTS
@pytest.mark.parametrize("activation", [name for name in linear.ACTIVATIONS if name not in ("relu", "gelu")])
def test_activations_are_fused(device: Device, tiled: bool, activation: str | None) -> None:
    check(device, tiled, (1, 20, 33), "f32", activation, biased=activation is not None)


@VARIANTS
@pytest.mark.parametrize("over", [0, 1])
def test_both_sides_of_the_loop_bound(device: Device, tiled: bool, over: int) -> None:
    most = LOOP_MAX // 20 * 16 if tiled else 4 * LOOP_MAX
    check(device, tiled, (5 if tiled else 1, most + over, 3), biased=False)


@VARIANTS
def test_rows_are_cut_by_the_work_of_a_dispatch(
    device: Device, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    dispatch = device.dispatch

    def counting(*args: Any, **more: Any) -> None:
        counted.append(args[2])
        dispatch(*args, **more)

    monkeypatch.setattr(device, "dispatch", counting)
    monkeypatch.setattr(linear, "WORK_MAX", 2 * 16 * 20 * 64)
    check(device, tiled, (150, 20, 16), "f32", "gelu")
    assert len(counted) == 3


@VARIANTS
def test_padding_stays_zero(device: Device, tiled: bool) -> None:
    rng = np.random.default_rng(3)
    a, w, bias = (tensor.upload(device, rng.standard_normal(s, np.float32)) for s in ((5, 7), (7, 19), (19,)))
    out = Linear(device, tiled=tiled).matmul(a, w, bias, "silu")
    laid = np.frombuffer(device.download(out.buffer), np.float32).reshape(8, 32)
    assert (laid[:5, :19] != 0).all() and (laid[:, 19:] == 0).all() and (laid[5:] == 0).all()


@VARIANTS
def test_two_runs_give_the_same_bits(device: Device, tiled: bool) -> None:
    first, second = (check(device, tiled, (17, 100, 40), "f32", "gelu") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_leading_dimensions_are_rows(device: Device) -> None:
    rng = np.random.default_rng(4)
    a, w = rng.standard_normal((2, 3, 5), np.float32), rng.standard_normal((5, 4), np.float32)
    out = Linear(device, tiled=False).matmul(tensor.upload(device, a), tensor.upload(device, w))
    assert np.allclose(tensor.download(device, out), a @ w, atol=1e-5)


def test_shapes_that_do_not_fit_are_named(device: Device) -> None:
    product = Linear(device, tiled=False).matmul
    a, w = (tensor.empty(device, s) for s in ((2, 5), (4, 3)))
    with pytest.raises(InputError, match=r"f32 \[2, 5\] by f32 \[4, 3\]"):
        product(a, w)
    with pytest.raises(InputError, match="bias of 3 columns"):
        product(tensor.empty(device, (2, 4)), w, tensor.empty(device, (4,)))
    with pytest.raises(InputError, match="view whose rows are not padded"):
        product(tensor.empty(device, (3, 1)), tensor.empty(device, (4, 16)).reshaped((1, 64)))
    with pytest.raises(InputError, match="no activation is called 'swish'"):
        product(tensor.empty(device, (2, 4)), w, activation="swish")
    with pytest.raises(InputError, match=r"\(0, 3\) has no values"):
        tensor.upload(device, np.zeros((0, 3), np.float32))
    with pytest.raises(InputError, match="unsigned integers"):
        tensor.upload(device, np.array([-1]), "u32")
    with pytest.raises(InputError, match="finite"):
        tensor.upload(device, np.array([[np.nan]]), "i8")


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_come_back_as_they_went(device: Device, kind: str) -> None:
    values = np.random.default_rng(5).integers(-127, 128, (3, 2, 21)).astype(np.float32)
    values[0, 0] = 127  # the scale of every column is 1
    back = tensor.download(device, tensor.upload(device, values, kind))
    assert back.shape == values.shape and (back == values).all()


@pytest.mark.slow
@VARIANTS
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_shapes(device: Device, tiled: bool, kind: str) -> None:
    for number, shape in enumerate(shapes(120, 400, 7)):
        activation = list(linear.ACTIVATIONS)[number % len(linear.ACTIVATIONS)]
        check(device, tiled, shape, kind, activation, biased=number % 3 > 0, seed=number)
