"""The shaders that GPU_EXECUTE can run: name, source, bindings, and what bounds their loops.

Owns: the table. A row is only here when the iterations of its loops follow from its buffers, so that they can be
asserted before each dispatch. Never compiles or runs one; ``mailbox.gpu`` does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Shader(NamedTuple):
    """One entry point.

    Attributes:
        name: what SHADER_FIND looks for; the id is the place in ``SHADERS``.
        file: under shaders/.
        entry: the function.
        writes: the bindings that the shader writes; all others it reads.
        bindings: how many there are, from 0.
        iterations: most iterations of one invocation, from the bytes of the buffers that come from the shared memory
            (b"" for others) and the lengths of all; None when they do not allow it to run.
    """

    name: str
    file: str
    entry: str
    writes: frozenset[int]
    bindings: int
    iterations: Callable[[Sequence[bytes], Sequence[int]], int | None]


_SHAPE = struct.Struct("<4I")


def _no_loop(data: Sequence[bytes], lengths: Sequence[int]) -> int | None:
    return 0


def _product(data: Sequence[bytes], lengths: Sequence[int]) -> int | None:
    if len(data[0]) != _SHAPE.size:
        return None
    rows, columns, inner, reserved = _SHAPE.unpack(data[0])
    wanted = [4 * rows * inner, 4 * inner * columns, 4 * rows * columns]
    return inner if list(lengths[1:]) == wanted and not reserved else None


SHADERS = (
    Shader("vector_add", "mailbox_vectors.wgsl", "vector_add", frozenset({2}), 3, _no_loop),
    Shader("vector_scale", "mailbox_vectors.wgsl", "vector_scale", frozenset({2}), 3, _no_loop),
    Shader("matrix_product", "mailbox_product.wgsl", "matrix_product", frozenset({3}), 4, _product),
)
