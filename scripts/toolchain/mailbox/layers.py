"""The layers of neural networks that GPU_EXECUTE offers by name: ``toolchain.gpu.nn`` behind buffers.

Owns: the table: which buffers a layer has and how large they must be. Buffer 0 is its shape, four 32-bit words; then
come the inputs, f32, row by row without padding; the last is the result. A layer chooses its own workgroups, and its
dispatches assert the bounds on their loops. Never computes; ``nn`` does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from toolchain.mailbox import registry

if TYPE_CHECKING:
    import numpy as np

    from toolchain.gpu.nn import Nn

    Array = np.ndarray[Any, np.dtype[Any]]

Shape = tuple[int, int, int, int]
SHAPE = struct.Struct("<4I")


class Layer(NamedTuple):
    """One layer.

    Attributes:
        name: what SHADER_FIND looks for.
        words: what the four words of its shape are, for people.
        arrays: from the shape, the dimensions of the inputs and, last, of the result.
        run: computes the result.
    """

    name: str
    words: str
    arrays: Callable[[Shape], Sequence[tuple[int, ...]]]
    run: Callable[[Nn, Sequence[Array]], Array]

    def fits(self, shape: Shape, lengths: Sequence[int]) -> bool:
        """Whether buffers of these lengths (in bytes, the shape's left out) are what the shape asks for."""
        return [4 * prod(each) for each in self.arrays(shape)] == list(lengths)


def _each(shape: Shape) -> list[tuple[int, ...]]:
    return [shape[:2]] * 2


def _pair(shape: Shape) -> list[tuple[int, ...]]:
    return [shape[:2]] * 3


def _norm(shape: Shape) -> list[tuple[int, ...]]:
    return [shape[:2], shape[1:2], shape[:2]]


def _product(shape: Shape) -> list[tuple[int, ...]]:
    rows, columns, inner, _ = shape
    return [(rows, inner), (inner, columns), (rows, columns)]


def _attention(shape: Shape) -> list[tuple[int, ...]]:
    positions, heads, groups, size = shape
    return [(positions, heads, size), *[(positions, groups, size)] * 2, (positions, heads, size)]


def _attend(nn: Nn, arrays: Sequence[Array]) -> Array:
    """Causal attention of a whole sequence."""
    queries, keys, values = arrays
    cache = nn.cache(keys.shape[0], keys.shape[1], keys.shape[2])
    nn.append(cache, keys, values)
    return nn.attention(queries, cache)


_ROWS = "rows, columns, 0, 0"
LAYERS = (
    *(
        Layer(name, _ROWS, _each, lambda nn, a, name=name: nn.activate(a[0], name))  # type: ignore[misc]
        for name in ("relu", "gelu", "gelu_tanh", "silu")
    ),
    Layer("softmax", _ROWS, _each, lambda nn, a: nn.softmax(a[0])),
    Layer("swiglu", _ROWS, _pair, lambda nn, a: nn.swiglu(a[0], a[1])),
    Layer("rms_norm", _ROWS, _norm, lambda nn, a: nn.rms_norm(a[0], a[1])),
    Layer("matmul", "rows, columns, inner, 0", _product, lambda nn, a: nn.matmul(a[0], a[1])),
    Layer(
        "attention",
        "positions, heads, groups (heads of keys and values), size of a head",
        _attention,
        _attend,
    ),
)


def names() -> tuple[str, ...]:
    """Everything that GPU_EXECUTE runs: the id is the place."""
    return (*(shader.name for shader in registry.SHADERS), *(layer.name for layer in LAYERS))
