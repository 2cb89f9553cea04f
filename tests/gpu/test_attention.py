"""Attention and its cache in both variants, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError
from toolchain.gpu import attention, tensor
from toolchain.gpu.attention import Attention, Cache, CacheKind
from toolchain.gpu.device import LOOP_MAX, Device

Array = np.ndarray[Any, np.dtype[Any]]
VARIANTS = pytest.mark.parametrize("tiled", [False, True], ids=["register", "workgroup"])
# The weights of a row sum to 1, so the error is relative to the largest value; exp and the sums over a head add to it.
TOLERANCE = 1e-5


def drawn(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def reference(q: Array, k: Array, v: Array, causal: bool, scale: float) -> Array:
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    count, heads, _ = q.shape
    keys, groups, _ = k.shape
    out = np.empty_like(q)
    for head in range(heads):
        group = head // (heads // groups)
        s = q[:, head] @ k[:, group].T * scale
        if causal:
            s[np.arange(keys)[None, :] > np.arange(count)[:, None] + keys - count] = -np.inf
        p = np.exp(s - s.max(axis=1, keepdims=True))
        out[:, head] = p / p.sum(axis=1, keepdims=True) @ v[:, group]
    return out


def check(
    device: Device, tiled: bool, shape: tuple[int, int, int, int, int], *,
    causal: bool = True, kind: CacheKind = "f32", scale: float | None = None, sharp: float = 1.0,
) -> Array:  # fmt: skip
    """Queries, keys, heads, groups, size."""
    count, keys, heads, groups, size = shape
    q, k, v = (
        drawn((count, heads, size), 1) * sharp,
        drawn((keys, groups, size), 2),
        drawn((keys, groups, size), 3),
    )
    cache = Cache(device, keys, groups, size, kind)
    cache.append(tensor.upload(device, k), tensor.upload(device, v))
    held = [tensor.download(device, x) for x in (cache.keys, cache.values)]
    if kind == "f16":
        assert (held[0] == k.astype(np.float16)).all() and (held[1] == v.astype(np.float16)).all()
    attended = Attention(device, tiled=tiled).attend(
        tensor.upload(device, q.astype(np.float32)), cache, causal=causal, scale=scale
    )
    found = tensor.download(device, attended)
    expected = reference(q, held[0], held[1], causal, size**-0.5 if scale is None else scale)
    assert found.shape == expected.shape
    worst = float(np.abs(found - expected).max() / np.abs(held[1]).max())
    assert worst <= TOLERANCE * sharp, worst
    laid = np.frombuffer(device.download(attended.buffer), np.float32).reshape(-1, attended.units * 16)
    assert (laid[:, size:] == 0).all()
    return found


@VARIANTS
def test_prefill(device: Device, tiled: bool) -> None:
    for shape in [
        (2, 2, 1, 1, 1),
        (5, 5, 2, 1, 16),
        (9, 40, 2, 2, 7),
        (33, 33, 4, 2, 16),
        (70, 131, 3, 1, 16),
    ]:
        check(device, tiled, shape)


@VARIANTS
def test_queries_that_see_every_key(device: Device, tiled: bool) -> None:
    for shape in [(2, 1, 1, 1, 16), (9, 5, 2, 1, 3), (40, 70, 2, 2, 16)]:
        check(device, tiled, shape, causal=False)


@VARIANTS
@pytest.mark.parametrize(
    "size", [20, *(pytest.param(size, marks=pytest.mark.slow) for size in (40, 64, 90, 128))]
)
def test_sizes_of_a_head(device: Device, tiled: bool, size: int) -> None:
    check(device, tiled, (40, 50, 2, 1, size))
    check(device, tiled, (1, 50, 2, 1, size))


@VARIANTS
def test_a_cache_of_half_precision(device: Device, tiled: bool) -> None:
    for shape in [(9, 20, 2, 1, 16), (1, 300, 4, 2, 24)]:
        check(device, tiled, shape, kind="f16")


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_positions_are_put_behind_each_other(device: Device, kind: CacheKind) -> None:
    cache = Cache(device, 9, 3, 20, kind)
    k, v = drawn((9, 3, 20), 1), drawn((9, 3, 20), 2)
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        cache.append(tensor.upload(device, k[part]), tensor.upload(device, v[part]))
    for held, given in ((cache.keys, k), (cache.values, v)):
        assert (
            tensor.download(device, held) == given.astype("float16" if kind == "f16" else "float32")
        ).all()


def test_decode(device: Device) -> None:
    for shape in [
        (1, 1, 1, 1, 1),
        (1, 255, 2, 1, 16),
        (1, 256, 8, 2, 30),
        (1, 257, 2, 2, 16),
        (1, 1500, 4, 1, 48),
    ]:
        check(device, False, shape)


@VARIANTS
def test_scores_that_would_overflow_an_exponential(device: Device, tiled: bool) -> None:
    check(device, tiled, (17, 30, 2, 1, 16), sharp=300.0)
    check(device, tiled, (17, 30, 2, 1, 16), scale=0.0)
    check(device, tiled, (1, 600, 2, 1, 16), sharp=300.0)


@VARIANTS
def test_one_at_a_time_is_all_at_once(device: Device, tiled: bool) -> None:
    q, k, v = (drawn((12, heads, 16), seed) for heads, seed in ((4, 1), (2, 2), (2, 3)))
    attend = Attention(device, tiled=tiled).attend
    whole, stepwise = Cache(device, 12, 2, 16), Cache(device, 12, 2, 16)
    whole.append(tensor.upload(device, k), tensor.upload(device, v))
    together = tensor.download(device, attend(tensor.upload(device, q), whole))
    for i in range(12):
        step = slice(i, i + 1)
        stepwise.append(tensor.upload(device, k[step]), tensor.upload(device, v[step]))
        alone = tensor.download(device, attend(tensor.upload(device, q[step]), stepwise))
        assert np.allclose(alone[0], together[i], atol=1e-5)
    stepwise.clear()
    assert stepwise.length == 0 and stepwise.capacity == 12


@VARIANTS
def test_a_long_prefill_is_cut_into_dispatches(
    device: Device, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    dispatch = device.dispatch

    def counting(*args: Any, **more: Any) -> None:
        counted.append(args[2])
        dispatch(*args, **more)

    monkeypatch.setattr(device, "dispatch", counting)
    monkeypatch.setattr(attention, "WORK_MAX", 4 * 200 * 16 * 2 * 64)
    check(device, tiled, (200, 200, 2, 1, 16))
    assert len(counted) == 4


@VARIANTS
def test_both_sides_of_the_loop_bound(device: Device, tiled: bool) -> None:
    keys = 30_816 if tiled else 4 * LOOP_MAX  # tiled: a step for 4 keys and 9 loads for 32
    check(device, tiled, (2, keys, 1, 1, 1), causal=False)
    cache = Cache(device, keys + 64, 1, 1)
    cache.length = keys + 64
    with pytest.raises(InputError, match="iterations of one invocation"):
        Attention(device, tiled=tiled).attend(tensor.empty(device, (2, 1, 1)), cache)
    Attention(device, tiled=tiled).attend(tensor.empty(device, (1, 1, 1)), cache)


@VARIANTS
def test_two_runs_give_the_same_bits(device: Device, tiled: bool) -> None:
    for shape in [(40, 70, 2, 2, 16), (1, 300, 4, 2, 24)]:
        first, second = (check(device, tiled, shape) for _ in range(2))
        assert first.tobytes() == second.tobytes()


def test_what_does_not_fit_is_named(device: Device) -> None:
    attend = Attention(device, tiled=False).attend
    cache = Cache(device, 4, 2, 16)
    k = tensor.empty(device, (3, 2, 16))
    with pytest.raises(InputError, match="append keys and values first"):
        attend(tensor.empty(device, (1, 2, 16)), cache)
    cache.append(k, k)
    with pytest.raises(InputError, match="3 of 4 positions are used, 3 more"):
        cache.append(k, k)
    with pytest.raises(InputError, match="for heads of"):
        cache.append(k, tensor.empty(device, (3, 1, 16)))
    with pytest.raises(InputError, match="3 heads of queries share 2"):
        attend(tensor.empty(device, (2, 3, 16)), cache)
    with pytest.raises(InputError, match="heads of 16 values"):
        attend(tensor.empty(device, (2, 2, 17)), cache)
    with pytest.raises(InputError, match="4 queries at the end of 3"):
        attend(tensor.empty(device, (4, 2, 16)), cache)
    with pytest.raises(InputError, match="at most 128 values"):
        Cache(device, 4, 1, 129)


@pytest.mark.slow
@VARIANTS
@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_many_random_shapes(device: Device, tiled: bool, kind: CacheKind) -> None:
    rng = np.random.default_rng(8)
    for _ in range(60):
        groups, times, count = (int(n) for n in rng.integers(1, [4, 4, 80]))
        keys, size = count + int(rng.integers(0, 200)), int(rng.integers(1, 49))
        causal = bool(rng.integers(0, 2))
        check(device, tiled, (count, keys, groups * times, groups, size), causal=causal, kind=kind)
