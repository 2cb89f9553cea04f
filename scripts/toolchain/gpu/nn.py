"""Neural networks on the GPU, with NumPy arrays: the one interface over the shaders.

Owns: the choice of the variant by adapter, and the passage between NumPy arrays and tensors on the device. Every
function takes arrays or tensors; what it returns is an array where its first argument is one, else a tensor. Weights
are uploaded once with ``weights`` and stay on the device.

    with Nn() as nn:
        w = nn.weights(numpy_w, "i8")
        y = nn.matmul(x, w, bias, "gelu")      # x a NumPy array, so is y
        h = nn.matmul(nn.tensor(x), w)         # h stays on the device
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from toolchain.errors import InputError
from toolchain.gpu import tensor as tensors
from toolchain.gpu.attention import Attention, Cache, CacheKind
from toolchain.gpu.device import Device
from toolchain.gpu.layers import Layers
from toolchain.gpu.linear import Linear
from toolchain.gpu.sampling import Sampler
from toolchain.gpu.tensor import Tensor

if TYPE_CHECKING:
    from toolchain.gpu.tensor import Array

    Value = Tensor | Array

STAGE = "gpu"
Variant = Literal["register", "workgroup"]
WeightKind = Literal["f32", "f16", "i8"]


class Nn:
    """The shaders on one device; ``with Nn() as nn`` closes a device that it opened.

    Args:
        device: None opens one.
        variant: ``"register"`` or ``"workgroup"``; None takes register on a software rasteriser, else workgroup.

    Raises:
        InputError: an unknown variant, or an adapter that is not there.
        ToolError: there is no adapter.
    """

    def __init__(self, device: Device | None = None, variant: Variant | None = None) -> None:
        if variant not in (None, "register", "workgroup"):
            raise InputError(
                f"no variant is called '{variant}' (there are: register, workgroup)", stage=STAGE
            )
        self._own = device is None
        self.device = device if device is not None else Device()
        if variant is None:
            variant = "register" if self.device.adapter.software else "workgroup"
        self.variant: Variant = variant
        tiled = variant == "workgroup"
        self._linear = Linear(self.device, tiled=tiled)
        self._layers = Layers(self.device, tiled=tiled)
        self._attention = Attention(self.device, tiled=tiled)
        self._sampler = Sampler(self.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the device, if this object opened it."""
        if self._own:
            self.device.close()

    # --- arrays ------------------------------------------------------------------------------------------

    def tensor(self, values: Array) -> Tensor:
        """The array as f32 on the device."""
        return tensors.upload(self.device, values)

    def weights(self, values: Array, kind: WeightKind = "f32") -> Tensor:
        """Weights [k, n] on the device: f32, f16, or int8 with a scale for each column."""
        return tensors.upload(self.device, values, kind, "weights")

    def numpy(self, value: Tensor) -> Array:
        """The tensor as a NumPy array; waits for the device."""
        return tensors.download(self.device, value)

    def cache(self, capacity: int, groups: int, size: int, kind: CacheKind = "f32") -> Cache:
        """A cache for keys and values of ``capacity`` positions, ``groups`` heads, ``size`` values each."""
        return Cache(self.device, capacity, groups, size, kind)

    def append(self, cache: Cache, keys: Value, values: Value) -> None:
        """Put keys and values f32 [positions, groups, size] behind those in the cache."""
        cache.append(self._in(keys), self._in(values))

    def _in(self, value: Value) -> Tensor:
        return value if isinstance(value, Tensor) else self.tensor(value)

    @overload
    def _out(self, like: Array, value: Tensor) -> Array: ...
    @overload
    def _out(self, like: Tensor, value: Tensor) -> Tensor: ...
    def _out(self, like: Value, value: Tensor) -> Value:
        return value if isinstance(like, Tensor) else self.numpy(value)

    # --- layers ------------------------------------------------------------------------------------------

    @overload
    def matmul(
        self, a: Array, b: Value, bias: Value | None = None, activation: str | None = None
    ) -> Array: ...
    @overload
    def matmul(
        self, a: Tensor, b: Value, bias: Value | None = None, activation: str | None = None
    ) -> Tensor: ...
    def matmul(self, a: Value, b: Value, bias: Value | None = None, activation: str | None = None) -> Value:
        """``activation(a @ b + bias)``; see ``linear.Linear.matmul``."""
        added = None if bias is None else self._in(bias)
        return self._out(a, self._linear.matmul(self._in(a), self._in(b), added, activation))

    @overload
    def activate(self, x: Array, name: str) -> Array: ...
    @overload
    def activate(self, x: Tensor, name: str) -> Tensor: ...
    def activate(self, x: Value, name: str) -> Value:
        """``relu``, ``gelu`` (erf), ``gelu_tanh`` or ``silu`` of each value."""
        return self._out(x, self._layers.activate(self._in(x), name))

    @overload
    def swiglu(self, gate: Array, up: Value) -> Array: ...
    @overload
    def swiglu(self, gate: Tensor, up: Value) -> Tensor: ...
    def swiglu(self, gate: Value, up: Value) -> Value:
        """``silu(gate) * up``."""
        return self._out(gate, self._layers.swiglu(self._in(gate), self._in(up)))

    @overload
    def add(self, x: Array, y: Value) -> Array: ...
    @overload
    def add(self, x: Tensor, y: Value) -> Tensor: ...
    def add(self, x: Value, y: Value) -> Value:
        """``x + y``."""
        return self._out(x, self._layers.add(self._in(x), self._in(y)))

    @overload
    def multiply(self, x: Array, y: Value) -> Array: ...
    @overload
    def multiply(self, x: Tensor, y: Value) -> Tensor: ...
    def multiply(self, x: Value, y: Value) -> Value:
        """``x * y``, value by value."""
        return self._out(x, self._layers.multiply(self._in(x), self._in(y)))

    @overload
    def softmax(self, x: Array) -> Array: ...
    @overload
    def softmax(self, x: Tensor) -> Tensor: ...
    def softmax(self, x: Value) -> Value:
        """Softmax over the last dimension."""
        return self._out(x, self._layers.softmax(self._in(x)))

    @overload
    def rms_norm(self, x: Array, gain: Value, epsilon: float = 1e-6) -> Array: ...
    @overload
    def rms_norm(self, x: Tensor, gain: Value, epsilon: float = 1e-6) -> Tensor: ...
    def rms_norm(self, x: Value, gain: Value, epsilon: float = 1e-6) -> Value:
        """RMSNorm over the last dimension."""
        return self._out(x, self._layers.rms_norm(self._in(x), self._in(gain), epsilon))

    @overload
    def layer_norm(self, x: Array, gain: Value, shift: Value, epsilon: float = 1e-5) -> Array: ...
    @overload
    def layer_norm(self, x: Tensor, gain: Value, shift: Value, epsilon: float = 1e-5) -> Tensor: ...
    def layer_norm(self, x: Value, gain: Value, shift: Value, epsilon: float = 1e-5) -> Value:
        """LayerNorm over the last dimension."""
        return self._out(x, self._layers.layer_norm(self._in(x), self._in(gain), self._in(shift), epsilon))

    @overload
    def attention(
        self, queries: Array, cache: Cache, *, causal: bool = True, scale: float | None = None
    ) -> Array: ...
    @overload
    def attention(
        self, queries: Tensor, cache: Cache, *, causal: bool = True, scale: float | None = None
    ) -> Tensor: ...
    def attention(
        self, queries: Value, cache: Cache, *, causal: bool = True, scale: float | None = None
    ) -> Value:
        """Attention of [queries, heads, size] to the cache; see ``attention.Attention.attend``."""
        return self._out(
            queries, self._attention.attend(self._in(queries), cache, causal=causal, scale=scale)
        )

    # --- tokens ------------------------------------------------------------------------------------------

    def embedding(self, table: Tensor, ids: Array | Tensor) -> Tensor:
        """The rows of the table that ``ids`` (integers, or a u32 tensor) name, on the device.

        Raises:
            InputError: an id of the host's is not in the table.
        """
        if not isinstance(ids, Tensor):
            placed = tensors.upload(self.device, ids.reshape(-1), "u32", "ids")
            if int(ids.max()) >= table.rows:
                raise InputError(f"embedding: id {ids.max()} of {table.rows} rows", stage=STAGE)
            ids = placed
        return self._layers.embed(table, ids)

    def sample(
        self, logits: Value, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0,
        seed: int = 0, step: int = 0,
    ) -> Array:  # fmt: skip
        """One token for each row of logits, as uint32; see ``sampling.Sampler.sample``."""
        drawn = self._sampler.sample(
            self._in(logits), temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, step=step
        )
        return self.numpy(drawn)
