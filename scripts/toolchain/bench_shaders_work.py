"""The workloads of ``pxos bench shaders``: each as ours, as NumPy's and, where it is installed, as PyTorch's.

Owns: sizes, inputs and what is counted. Operations are those that the task needs (a multiply-add is two; of causal
attention half of the scores), bytes those of its largest operand, whatever an implementation does besides.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.gpu.nn import Nn

if TYPE_CHECKING:
    from toolchain.gpu.tensor import Array

SEED = 1
TOLERANCE = 2e-3  # of the greatest value: two ways in f32, a check of the task and not of the last bit
COMPUTE, MEMORY = "multiply-add", "copy"


@dataclass(frozen=True)
class Workload:
    """One task in up to three ways; each callable does it once, ``ours`` and ``torch`` perhaps without waiting.

    Attributes:
        name: the row's name.
        amount: operations or bytes of one.
        unit: GFLOP/s or GB/s.
        ceiling: ``COMPUTE`` or ``MEMORY``.
        ours: on the device; gives a tensor.
        numpy: with NumPy; gives an array.
        torch: with PyTorch; None where it is not installed.
        torch_title: which PyTorch, on what.
        torch_finish: waits for it.
        nn: whose device ``ours`` runs on.
    """

    name: str
    amount: float
    unit: str
    ceiling: str
    ours: Callable[[], Any]
    numpy: Callable[[], Array]
    torch: Callable[[], Any] | None
    torch_title: str
    torch_finish: Callable[[], object]
    nn: Nn

    def agrees(self) -> bool:
        """True where ours and NumPy's give the same."""
        expected = self.numpy()
        found = self.nn.numpy(self.ours()).reshape(expected.shape)
        return bool(np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max())


class Torch:
    """PyTorch on the GPU where both it and we have one, else on one thread of the CPU."""

    def __init__(self, *, accelerated: bool) -> None:
        self.module: Any = None
        self.title = "PyTorch"
        self.device = "cpu"
        if importlib.util.find_spec("torch") is not None:
            import torch  # type: ignore[import-not-found,unused-ignore]

            torch.set_num_threads(1)
            self.module = torch
            if accelerated and torch.cuda.is_available():
                self.device = "cuda"
            place = torch.cuda.get_device_name() if self.device == "cuda" else "one thread"
            self.title = f"PyTorch {torch.__version__}, {place}"

    def tensor(self, values: Array) -> Any:
        """On its device; None where PyTorch is not installed."""
        return None if self.module is None else self.module.from_numpy(values).to(self.device)

    def task(self, action: Callable[[], Any]) -> Callable[[], Any] | None:
        """The action, without gradients."""
        if self.module is None:
            return None
        return self.module.no_grad()(action)  # type: ignore[no-any-return]

    def finish(self) -> None:
        """Wait for the GPU."""
        if self.device == "cuda":
            self.module.cuda.synchronize()


def workloads(nn: Nn, *, large: bool) -> Iterator[Workload]:
    """All of them, one at a time, so that one's buffers are free when the next begins.

    Args:
        nn: the device.
        large: sizes for a GPU; else for a software rasteriser.
    """
    torch = Torch(accelerated=large)
    yield _matmul(nn, torch, 4096 if large else 512, "f32")
    yield _matmul(nn, torch, 4096 if large else 512, "i8")
    yield _gemv(nn, torch, 16384 if large else 2048)
    yield _attention(nn, torch, *((4096, 16) if large else (512, 4)), 64)
    yield _decode(nn, torch, *((32768, 32) if large else (4096, 4)), 64)
    yield _softmax(nn, torch, *((16384, 4096) if large else (512, 1024)))
    yield _norm(nn, torch, *((16384, 4096) if large else (512, 1024)))
    yield _gelu(nn, torch, *((16384, 4096) if large else (512, 1024)))


def _drawn(*shape: int) -> Array:
    return np.random.default_rng([SEED, *shape]).standard_normal(shape, np.float32)


def _matmul(nn: Nn, torch: Torch, n: int, kind: str) -> Workload:
    a, w = _drawn(n, n), _drawn(n, n) / np.float32(n**0.5)
    weights = nn.weights(w, kind)  # type: ignore[arg-type]
    w = nn.numpy(weights)
    x, ta, tw = nn.tensor(a), torch.tensor(a), torch.tensor(w)
    name = f"matmul {n}x{n}x{n} {'f32' if kind == 'f32' else 'f32 by int8'}"
    return Workload(
        name, 2.0 * n**3, "GFLOP/s", COMPUTE, lambda: nn.matmul(x, weights), lambda: a @ w,
        torch.task(lambda: ta @ tw), torch.title, torch.finish, nn,
    )  # fmt: skip


def _gemv(nn: Nn, torch: Torch, n: int) -> Workload:
    a, w = _drawn(1, n), _drawn(n, n)
    x, weights, ta, tw = nn.tensor(a), nn.weights(w), torch.tensor(a), torch.tensor(w)
    return Workload(
        f"vector by matrix {n}x{n} f32", 4.0 * n * n, "GB/s", MEMORY, lambda: nn.matmul(x, weights),
        lambda: a @ w, torch.task(lambda: ta @ tw), torch.title, torch.finish, nn,
    )  # fmt: skip


def attend(q: Array, k: Array, v: Array) -> Array:
    """Causal attention of [queries, heads, size] at the end of [keys, heads, size], with NumPy, head by head."""
    queries, heads, size = q.shape
    keys = k.shape[0]
    out = np.empty_like(q)
    mask = np.triu(np.full((queries, keys), -np.inf, np.float32), keys - queries + 1)
    for head in range(heads):
        s = q[:, head] @ k[:, head].T
        s *= np.float32(size**-0.5)
        s += mask
        s -= s.max(axis=1, keepdims=True)
        np.exp(s, out=s)
        s /= s.sum(axis=1, keepdims=True)
        out[:, head] = s @ v[:, head]
    return out


def _attended(
    nn: Nn, torch: Torch, name: str, amount: float, unit: str, ceiling: str, q: Array, k: Array, v: Array
) -> Workload:
    cache = nn.cache(k.shape[0], k.shape[1], k.shape[2])
    nn.append(cache, k, v)
    x = nn.tensor(q)
    tq, tk, tv = (torch.tensor(np.ascontiguousarray(part.transpose(1, 0, 2))[None]) for part in (q, k, v))

    def theirs() -> Any:
        function = torch.module.nn.functional.scaled_dot_product_attention
        return function(tq, tk, tv, is_causal=q.shape[0] > 1)

    return Workload(
        name, amount, unit, ceiling, lambda: nn.attention(x, cache), lambda: attend(q, k, v), torch.task(theirs),
        torch.title, torch.finish, nn,
    )  # fmt: skip


def _attention(nn: Nn, torch: Torch, length: int, heads: int, size: int) -> Workload:
    q, k, v = (_drawn(length, heads, size) for _ in range(3))
    name = f"causal attention {length} positions, {heads} heads of {size}"
    operations = 2.0 * length * (length + 1) * heads * size
    return _attended(nn, torch, name, operations, "GFLOP/s", COMPUTE, q, k, v)


def _decode(nn: Nn, torch: Torch, keys: int, heads: int, size: int) -> Workload:
    q, k, v = _drawn(1, heads, size), _drawn(keys, heads, size), _drawn(keys, heads, size) + np.float32(1)
    name = f"attention of one query to {keys} keys, {heads} heads of {size}"
    return _attended(nn, torch, name, 8.0 * keys * heads * size, "GB/s", MEMORY, q, k, v)


def _softmax(nn: Nn, torch: Torch, rows: int, columns: int) -> Workload:
    a = _drawn(rows, columns)
    x, t = nn.tensor(a), torch.tensor(a)

    def plain() -> Array:
        e = np.exp(a - a.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    return Workload(
        f"softmax {rows}x{columns}", 8.0 * rows * columns, "GB/s", MEMORY, lambda: nn.softmax(x), plain,
        torch.task(lambda: torch.module.softmax(t, 1)), torch.title, torch.finish, nn,
    )  # fmt: skip


def _norm(nn: Nn, torch: Torch, rows: int, columns: int) -> Workload:
    a, g = _drawn(rows, columns), _drawn(columns)
    x, gain, t, tg = nn.tensor(a), nn.tensor(g), torch.tensor(a), torch.tensor(g)

    def plain() -> Array:
        return np.asarray(a * (1 / np.sqrt((a * a).mean(axis=1, keepdims=True) + np.float32(1e-6))) * g)

    return Workload(
        f"RMSNorm {rows}x{columns}", 8.0 * rows * columns, "GB/s", MEMORY, lambda: nn.rms_norm(x, gain), plain,
        torch.task(lambda: torch.module.nn.functional.rms_norm(t, (columns,), tg, 1e-6)), torch.title,
        torch.finish, nn,
    )  # fmt: skip


def _gelu(nn: Nn, torch: Torch, rows: int, columns: int) -> Workload:
    a = _drawn(rows, columns)
    x, t = nn.tensor(a), torch.tensor(a)

    def plain() -> Array:
        inner = np.float32(0.7978845608) * (a + np.float32(0.044715) * a * a * a)
        return np.asarray(np.float32(0.5) * a * (1 + np.tanh(inner)))

    return Workload(
        f"GELU (tanh) {rows}x{columns}", 8.0 * rows * columns, "GB/s", MEMORY,
        lambda: nn.activate(x, "gelu_tanh"), plain,
        torch.task(lambda: torch.module.nn.functional.gelu(t, approximate="tanh")), torch.title, torch.finish, nn,
    )  # fmt: skip
