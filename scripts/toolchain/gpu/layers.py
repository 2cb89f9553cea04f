"""What is done to each value or each row of a tensor: activations, sums, softmax, norms, embedding.

Owns: the dispatches of ``activations.wgsl`` and ``embedding.wgsl`` and the checks of their shapes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from toolchain.errors import InputError
from toolchain.gpu import wgsl
from toolchain.gpu.device import LOOP_MAX, Buffer, Device
from toolchain.gpu.kernels import Kernel
from toolchain.gpu.linear import ACTIVATIONS
from toolchain.gpu.tensor import STAGE, Tensor, empty

_ACTIVATE, _SWIGLU, _ADD, _MULTIPLY = range(4)
_SOFTMAX, _RMS_NORM, _LAYER_NORM = range(3)
_EACH_THREADS = 64
_ROW_LANES = 8
_VECTORS = 4  # vec4 in a unit of 16 values
_PASSES = 3


class Layers:
    """Layers on one device.

    Args:
        device: where.
        tiled: the workgroup-tiled variant, for GPUs; else the register-tiled one.
    """

    def __init__(self, device: Device, *, tiled: bool) -> None:
        self.device = device
        self.tiled = tiled
        self._zeros = device.buffer(64, "nothing")
        self._threads = min(256, device.limits["max-compute-invocations-per-workgroup"])

    # --- each value --------------------------------------------------------------------------------------

    def activate(self, x: Tensor, name: str) -> Tensor:
        """``relu``, ``gelu`` (erf), ``gelu_tanh`` or ``silu`` of each value.

        Raises:
            InputError: the name is another, or the tensor is not f32.
        """
        if ACTIVATIONS.get(name, 0) == 0:
            names = ", ".join(known for known in ACTIVATIONS if known)
            raise InputError(f"no activation is called '{name}' (there are: {names})", stage=STAGE)
        return self._each("activation", _ACTIVATE, x, None, ACTIVATIONS[name])

    def swiglu(self, gate: Tensor, up: Tensor) -> Tensor:
        """``silu(gate) * up`` (Shazeer, GLU Variants Improve Transformer, 2020)."""
        return self._each("swiglu", _SWIGLU, gate, up)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``, as of a residual connection."""
        return self._each("add", _ADD, x, y)

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``, value by value."""
        return self._each("multiply", _MULTIPLY, x, y)

    def _each(self, name: str, what: int, x: Tensor, other: Tensor | None, activation: int = 0) -> Tensor:
        _f32(name, x, *([other] if other else []))
        if other is not None and other.shape != x.shape:
            raise InputError(f"{name}: {list(x.shape)} and {list(other.shape)}", stage=STAGE)
        out = empty(self.device, x.shape, label=name)
        kernel = self._kernel("activations.wgsl", "each", {"MAP": what, "ACTIVATION": activation})
        vectors = x.units * _VECTORS
        groups = self._spread(-(-x.rows * vectors // _EACH_THREADS))
        shape = struct.pack("<4If", vectors, x.columns, x.rows, groups[0] * _EACH_THREADS, 0.0)
        bound = [x.buffer, (other or x).buffer, self._zeros, self._zeros, out.buffer]
        self.device.dispatch(kernel, [*bound, self.device.uniform(shape)], groups, iterations=0)
        return out

    # --- each row ----------------------------------------------------------------------------------------

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the last dimension."""
        return self._reduce("softmax", _SOFTMAX, x, [], 0.0)

    def rms_norm(self, x: Tensor, gain: Tensor, epsilon: float = 1e-6) -> Tensor:
        """``x / sqrt(mean(x²) + epsilon) * gain`` over the last dimension (Zhang and Sennrich, 2019)."""
        return self._reduce("rms_norm", _RMS_NORM, x, [gain], epsilon)

    def layer_norm(self, x: Tensor, gain: Tensor, shift: Tensor, epsilon: float = 1e-5) -> Tensor:
        """``(x - mean) / sqrt(variance + epsilon) * gain + shift`` over the last dimension (Ba et al., 2016)."""
        return self._reduce("layer_norm", _LAYER_NORM, x, [gain, shift], epsilon)

    def _reduce(self, name: str, what: int, x: Tensor, vectors: Sequence[Tensor], epsilon: float) -> Tensor:
        _f32(name, x, *vectors)
        for vector in vectors:
            if vector.shape != (x.columns,):
                raise InputError(f"{name}: {list(vector.shape)} for rows of {x.columns}", stage=STAGE)
        out = empty(self.device, x.shape, label=name)
        width = x.units * _VECTORS
        bound: list[Buffer] = [x.buffer, self._zeros, *(v.buffer for v in vectors)]
        bound += [self._zeros] * (4 - len(bound))
        alone = not self.tiled and _PASSES * width <= LOOP_MAX
        kernel = self._kernel(
            "activations.wgsl", "rows" if alone else "groups", {"REDUCE": what, "THREADS": self._threads}
        )
        groups = self._spread(-(-x.rows // _ROW_LANES) if alone else x.rows)
        shape = struct.pack("<4If", width, x.columns, x.rows, groups[0], epsilon)
        loops = _PASSES * width
        if not alone:
            loops = _PASSES * -(-width // self._threads) + 2 * self._threads.bit_length()
        self.device.dispatch(
            kernel, [*bound, out.buffer, self.device.uniform(shape)], groups, iterations=loops
        )
        return out

    # --- rows by id --------------------------------------------------------------------------------------

    def embed(self, table: Tensor, ids: Tensor) -> Tensor:
        """The rows of ``table`` [entries, columns] (f32, f16 or i8) that ``ids`` (u32) name: f32 [..., columns].

        An id beyond the table is its last row; ``nn`` refuses ids that come from the host.
        """
        if table.kind == "u32" or len(table.shape) != 2 or ids.kind != "u32" or len(ids.shape) != 1:
            raise InputError(
                f"embed: {ids.kind} {list(ids.shape)} in {table.kind} {list(table.shape)}", stage=STAGE
            )
        out = empty(self.device, (ids.columns, table.columns), label="embedding")
        kernel = self._kernel("embedding.wgsl", "main", {"WEIGHT_BITS": table.bits})
        groups = self._spread(-(-ids.columns * table.units // _EACH_THREADS))
        shape = struct.pack("<4I", table.units, ids.columns, table.rows, groups[0] * _EACH_THREADS)
        scale = table.scale.buffer if table.scale else self._zeros
        bound = [ids.buffer, table.buffer, scale, out.buffer, self.device.uniform(shape)]
        self.device.dispatch(kernel, bound, groups, iterations=0)
        return out

    def _kernel(self, name: str, entry: str, constants: Mapping[str, wgsl.Constant]) -> Kernel:
        return self.device.kernel(wgsl.load(name, constants), entry, checked=False)

    def _spread(self, groups: int) -> tuple[int, int]:
        """That many workgroups, and a few idle ones, within the limit of each direction."""
        most = self.device.limits["max-compute-workgroups-per-dimension"]
        down = -(-groups // most)
        return -(-groups // down), down


def _f32(name: str, *tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.kind != "f32":
            raise InputError(f"{name}: {tensor.kind} {list(tensor.shape)}; f32 is needed", stage=STAGE)
