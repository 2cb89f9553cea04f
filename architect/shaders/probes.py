"""What each shader must compute: the NumPy reference in float64, and how far off it may be.

Owns the probes. Each draws inputs, computes on a device what the shader computes, and says whether it is what NumPy
says. Tolerances are those of ``shaders/README.md``. Never knows which texts the device compiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.gpu.nn import Nn, Variant, WeightKind

Array = np.ndarray[Any, np.dtype[Any]]
Size = tuple[int, int, int]  # rows, columns, inner
# Sizes that the gate asks; odd ones, ones within and beyond a unit of 16 values, more rows than a workgroup has.
SIZES: tuple[Size, ...] = ((1, 1, 1), (5, 37, 19), (17, 64, 70), (3, 300, 33))
# Sizes that no candidate sees before the last proof.
OTHER_SIZES: tuple[Size, ...] = ((2, 15, 4), (9, 129, 16), (70, 18, 131), (1, 513, 257), (33, 5, 600))
# Sizes that no gate asks: whether a repair is right, and not merely plausible.
HELD_OUT_SIZES: tuple[Size, ...] = (
    (4, 31, 48),
    (21, 257, 9),
    (1, 96, 300),
    (130, 3, 17),
    (6, 1030, 40),
    (1, 700, 12),
)
WORD = 1 << 32
_PRODUCT = 2.0**-24
_DRAWS = 12


@dataclass(frozen=True, slots=True)
class Probe:
    """One reference.

    Attributes:
        name: for messages: ``softmax``.
        files: the shaders that it runs.
        variants: of ``Nn``.
        run: device, generator, size -> what was found, what is right, the error that is allowed (of each value).
    """

    name: str
    files: tuple[str, ...]
    variants: tuple[Variant, ...]
    run: Callable[[Nn, np.random.Generator, Size], tuple[Array, Array, Any]]


def problem(probe: Probe, nn: Nn, size: Size, seed: int) -> str | None:
    """What is wrong with one run of a probe, in a sentence; None when every value is within the tolerance."""
    rng = np.random.default_rng([seed, *size])
    found, wanted, allowed = probe.run(nn, rng, size)
    where = f"{probe.name} ({nn.variant}) of {size[0]} x {size[1]}"
    if found.shape != wanted.shape:
        return f"{where} gives {list(found.shape)} values, not {list(wanted.shape)}"
    wrong = ~(np.abs(found.astype(np.float64) - wanted) <= allowed)  # a NaN is wrong
    if not wrong.any():
        return None
    at = tuple(int(n) for n in np.argwhere(wrong)[0])
    place = ", ".join(map(str, at))
    return f"{where}: value ({place}) is {found[at]:g}, the reference has {wanted[at]:g}; {int(wrong.sum())} are wrong"


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * _sigmoid(x),
}


def _activation(name: str) -> Callable[[Nn, np.random.Generator, Size], tuple[Array, Array, Any]]:
    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        x = 4 * _normal(rng, size[0], size[1])
        return nn.activate(x, name), ACTIVATIONS[name](x.astype(np.float64)), 5e-7 * np.abs(x).max() + 1e-6

    return run


def _pair(name: str) -> Callable[[Nn, np.random.Generator, Size], tuple[Array, Array, Any]]:
    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        x, y = (_normal(rng, size[0], size[1]) for _ in range(2))
        a, b = x.astype(np.float64), y.astype(np.float64)
        found = getattr(nn, name)(x, y)
        wanted = {"add": lambda: a + b, "multiply": lambda: a * b, "swiglu": lambda: a * _sigmoid(a) * b}[
            name
        ]()
        return found, wanted, 1e-6 * (1 + np.abs(wanted))

    return run


def _softmax(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
    x = 3 * _normal(rng, size[0], size[1]) - 2
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    wanted = e / e.sum(axis=1, keepdims=True)
    return nn.softmax(x), wanted, 4e-6 * wanted.max(axis=1, keepdims=True)


def _rms_norm(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
    x, gain = _normal(rng, size[0], size[1]) + 1, _normal(rng, size[1])
    a = x.astype(np.float64)
    wanted = a / np.sqrt((a**2).mean(axis=1, keepdims=True) + 1e-2) * gain
    return nn.rms_norm(x, gain, 1e-2), wanted, 4e-6 * (1 + np.abs(wanted).max(axis=1, keepdims=True))


def _layer_norm(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
    x, gain, shift = _normal(rng, size[0], size[1]) + 1, _normal(rng, size[1]), _normal(rng, size[1])
    a = x.astype(np.float64)
    wanted = (a - a.mean(axis=1, keepdims=True)) / np.sqrt(a.var(axis=1, keepdims=True) + 1e-2) * gain + shift
    return nn.layer_norm(x, gain, shift, 1e-2), wanted, 1e-5 * (1 + np.abs(wanted).max(axis=1, keepdims=True))


def _matmul(kind: WeightKind, activation: str | None) -> Callable[..., tuple[Array, Array, Any]]:
    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        m, n, k = size
        a, w, bias = _normal(rng, m, k), _normal(rng, k, n), _normal(rng, n)
        weights = nn.weights(w, kind)
        held = nn.numpy(weights).astype(np.float64)
        wanted = a.astype(np.float64) @ held + bias
        bound = (k + 8) * _PRODUCT * (np.abs(a).astype(np.float64) @ np.abs(held) + np.abs(bias)) + 2e-6
        if activation is not None:
            wanted = ACTIVATIONS[activation](wanted)
        return nn.matmul(a, weights, bias, activation), wanted, 1.2 * bound

    return run


def _attention(kind: Any, *, causal: bool, decode: bool) -> Callable[..., tuple[Array, Array, Any]]:
    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        keys, heads, groups, width = size[1], 4, 2, 16 if size[0] % 2 else 7
        count = 1 if decode else min(size[0], keys)
        q = _normal(rng, count, heads, width)
        k, v = (_normal(rng, keys, groups, width) for _ in range(2))
        cache = nn.cache(keys, groups, width, kind)
        nn.append(cache, k, v)
        if kind == "f16":
            k, v = k.astype(np.float16), v.astype(np.float16)
        wanted = np.empty((count, heads, width))
        for head in range(heads):
            group = head // (heads // groups)
            s = q[:, head].astype(np.float64) @ k[:, group].T.astype(np.float64) / math.sqrt(width)
            if causal:
                s[np.arange(keys)[None, :] > np.arange(count)[:, None] + keys - count] = -np.inf
            p = np.exp(s - s.max(axis=1, keepdims=True))
            wanted[:, head] = p / p.sum(axis=1, keepdims=True) @ v[:, group].astype(np.float64)
        return nn.attention(q, cache, causal=causal), wanted, 1e-5 * np.abs(v).max()

    return run


def _embedding(kind: WeightKind) -> Callable[..., tuple[Array, Array, Any]]:
    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        rows, columns, entries = size
        table = nn.weights(_normal(rng, entries, columns), kind)
        ids = rng.integers(0, entries, rows).astype(np.uint32)
        return nn.numpy(nn.embedding(table, ids)), nn.numpy(table).astype(np.float64)[ids], 1e-6

    return run


def _greedy(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
    logits = rng.integers(-50, 50, (size[0], size[1])).astype(np.float32)
    return nn.sample(logits), logits.argmax(axis=1).astype(np.float64), 0.0


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011, section 4.3)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q % WORD, (p >> 32) ^ c[3] ^ k[1], p % WORD]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return c


def _drawn(top_k: int, top_p: float) -> Callable[..., tuple[Array, Array, Any]]:
    """How far each drawn token lies outside of where its draw falls among the weights, by index; 0 is right."""

    def run(nn: Nn, rng: np.random.Generator, size: Size) -> tuple[Array, Array, Any]:
        columns, seed, step = size[1], int(rng.integers(1 << 60)), int(rng.integers(1 << 30))
        logits = (2 * _normal(rng, _DRAWS, columns)).astype(np.float32)
        tokens = nn.sample(logits, temperature=0.8, top_k=top_k, top_p=top_p, seed=seed, step=step)
        key = [seed % WORD, seed >> 32]
        outside = [
            _outside(logits[row], int(token), top_k, top_p, philox([row, step, 0, 0], key)[0] / WORD)
            for row, token in enumerate(tokens)
        ]
        return np.array(outside), np.zeros(_DRAWS), 1e-6 * columns

    return run


def _outside(logits: Array, token: int, top_k: int, top_p: float, draw: float) -> float:
    order = np.lexsort((np.arange(len(logits)), -logits.astype(np.float64)))[: top_k or None]
    weights = np.exp((logits[order].astype(np.float64) - logits.max()) / 0.8)
    if top_p < 1:
        reach = np.cumsum(weights) / weights.sum()
        count = int(np.searchsorted(reach, top_p * (1 - 1e-12)) + 1)
        order, weights = order[:count], weights[:count]
    by_index = np.argsort(order)
    place = np.flatnonzero(order[by_index] == token)
    if not len(place):
        return 1.0
    reach = np.concatenate([[0.0], np.cumsum(weights[by_index]) / weights.sum()])
    at = int(place[0])
    return float(max(reach[at] - draw, draw - reach[at + 1], 0.0))


def probes() -> Iterator[Probe]:
    """Every probe."""
    both: tuple[Variant, ...] = ("register", "workgroup")
    one: tuple[Variant, ...] = ("register",)
    layers = ("activations.wgsl", "activate.wgsl")
    for name in ACTIVATIONS:
        yield Probe(name, layers, one, _activation(name))
    for name in ("add", "multiply", "swiglu"):
        yield Probe(name, layers, one, _pair(name))
    for name, run in (("softmax", _softmax), ("rms_norm", _rms_norm), ("layer_norm", _layer_norm)):
        yield Probe(name, layers, both, run)
    product = ("matmul.wgsl", "sums.wgsl", "activate.wgsl", "weights.wgsl")
    kinds: tuple[WeightKind, ...] = ("f32", "f16", "i8")
    for kind in kinds:
        yield Probe(f"matmul {kind}", product, both, _matmul(kind, None))
        yield Probe(f"embedding {kind}", ("embedding.wgsl", "weights.wgsl"), one, _embedding(kind))
    for activation in ("relu", "gelu"):
        yield Probe(f"matmul {activation}", product, both, _matmul("f32", activation))
    attention = ("attention.wgsl", "joins.wgsl", "halve.wgsl")
    yield Probe("attention", attention, both, _attention("f32", causal=True, decode=False))
    yield Probe("full attention", attention, both, _attention("f32", causal=False, decode=False))
    yield Probe("attention f16", attention, both, _attention("f16", causal=True, decode=False))
    yield Probe("decode", attention, both, _attention("f32", causal=True, decode=True))
    yield Probe("sample greedy", ("sampling.wgsl",), one, _greedy)
    for top_k, top_p in ((0, 1.0), (7, 1.0), (0, 0.6)):
        yield Probe(f"sample top_k={top_k} top_p={top_p:g}", ("sampling.wgsl",), one, _drawn(top_k, top_p))
