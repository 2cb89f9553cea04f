"""The interface as a whole: a transformer block step by step, and what it takes and gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError
from toolchain.gpu.device import Device
from toolchain.gpu.nn import Nn, Variant
from toolchain.gpu.tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
VARIANTS: list[Variant] = ["register", "workgroup"]
WIDTH, HEADS, SIZE, TOKENS, LENGTH = 32, 2, 16, 40, 9


def silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


def norm(x: Array, gain: Array) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * gain)


def parameters() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    shapes = {
        "table": (TOKENS, WIDTH), "g1": (WIDTH,), "q": (WIDTH, WIDTH), "k": (WIDTH, SIZE), "v": (WIDTH, SIZE),
        "o": (WIDTH, WIDTH), "g2": (WIDTH,), "gate": (WIDTH, 64), "up": (WIDTH, 64), "down": (64, WIDTH),
        "head": (WIDTH, TOKENS),
    }  # fmt: skip
    return {
        name: rng.standard_normal(shape, np.float32) / math.sqrt(shape[0]) for name, shape in shapes.items()
    }


def reference(ids: Array) -> Array:
    p = {name: value.astype(np.float64) for name, value in parameters().items()}
    x = p["table"][ids]
    h = norm(x, p["g1"])
    q, k, v = (h @ p[name] for name in "qkv")
    out = np.empty_like(q)
    for head in range(HEADS):
        s = q[:, head * SIZE : (head + 1) * SIZE] @ k.T / math.sqrt(SIZE)
        s[np.triu_indices(len(ids), 1)] = -np.inf
        e = np.exp(s - s.max(axis=1, keepdims=True))
        out[:, head * SIZE : (head + 1) * SIZE] = e / e.sum(axis=1, keepdims=True) @ v
    x = x + out @ p["o"]
    h = norm(x, p["g2"])
    return np.asarray((x + (silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]) @ p["head"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_transformer_block_on_the_device(device: Device, variant: Variant) -> None:
    ids = np.random.default_rng(2).integers(0, TOKENS, LENGTH)
    nn = Nn(device, variant)
    w = {name: nn.weights(value) for name, value in parameters().items()}
    cache = nn.cache(LENGTH, 1, SIZE)
    logits = []
    for part in (ids[:5], *ids[5:].reshape(-1, 1)):
        x = nn.embedding(w["table"], part)
        h = nn.rms_norm(x, w["g1"])
        q, k, v = (nn.matmul(h, w[name]) for name in "qkv")
        count = len(part)
        nn.append(cache, k.reshaped((count, 1, SIZE)), v.reshaped((count, 1, SIZE)))
        attended = nn.attention(q.reshaped((count, HEADS, SIZE)), cache)
        x = nn.add(x, nn.matmul(attended.reshaped((count, WIDTH)), w["o"]))
        h = nn.rms_norm(x, w["g2"])
        x = nn.add(x, nn.matmul(nn.swiglu(nn.matmul(h, w["gate"]), nn.matmul(h, w["up"])), w["down"]))
        logits.append(nn.numpy(nn.matmul(x, w["head"])))
    found = np.concatenate(logits)
    assert np.allclose(found, reference(ids), atol=2e-5)
    assert nn.sample(found).tolist() == found.argmax(axis=1).tolist()


def test_arrays_give_arrays_and_tensors_give_tensors(device: Device) -> None:
    nn = Nn(device)
    x = np.random.default_rng(3).standard_normal((3, 20), np.float32)
    ones, zeros = np.ones(20, np.float32), np.zeros(20, np.float32)
    on_device = nn.tensor(x)
    for name, arguments in {
        "matmul": (np.eye(20, dtype=np.float32),), "add": (x,), "multiply": (x,), "swiglu": (x,), "softmax": (),
        "rms_norm": (ones,), "layer_norm": (ones, zeros), "activate": ("relu",),
    }.items():  # fmt: skip
        as_array = getattr(nn, name)(x, *arguments)
        as_tensor = getattr(nn, name)(on_device, *arguments)
        assert isinstance(as_array, np.ndarray) and isinstance(as_tensor, Tensor)
        assert (nn.numpy(as_tensor) == as_array).all()
    cache = nn.cache(4, 1, 20)
    nn.append(cache, x.reshape(3, 1, 20), x.reshape(3, 1, 20))
    assert isinstance(nn.attention(x.reshape(3, 1, 20), cache), np.ndarray)


def test_a_view_needs_heads_of_whole_units(device: Device) -> None:
    nn = Nn(device)
    x = nn.tensor(np.arange(96, dtype=np.float32).reshape(2, 48))
    assert (nn.numpy(x.reshaped((2, 3, 16))) == np.arange(96).reshape(2, 3, 16)).all()
    with pytest.raises(InputError, match="16"):
        x.reshaped((2, 6, 8))
    with pytest.raises(InputError, match="values"):
        x.reshaped((2, 2, 16))


def test_the_variant_follows_the_adapter(device: Device) -> None:
    assert Nn(device).variant == ("register" if device.adapter.software else "workgroup")
    with pytest.raises(InputError, match="no variant is called 'fast'"):
        Nn(device, "fast")  # type: ignore[arg-type]


def test_ids_outside_the_table_are_refused(device: Device) -> None:
    nn = Nn(device)
    table = nn.weights(np.zeros((5, 4), np.float32))
    with pytest.raises(InputError, match="id 5 of 5 rows"):
        nn.embedding(table, np.array([1, 5]))
    with pytest.raises(InputError, match="unsigned integers"):
        nn.embedding(table, np.array([-1]))


def test_it_closes_the_device_that_it_opened() -> None:
    with Nn() as nn:
        assert not nn.device.lost
    assert nn.device.lost
