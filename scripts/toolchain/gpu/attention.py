"""Attention on the device, and the cache of keys and values that it reads.

Owns: which entry of ``attention.wgsl`` is used, its bounds, and the cache, to which a step appends.
"""

from __future__ import annotations

import math
import struct
from typing import Literal

from toolchain.errors import InputError
from toolchain.gpu import wgsl
from toolchain.gpu.device import LOOP_MAX, WORK_MAX, Buffer, Device
from toolchain.gpu.kernels import Kernel
from toolchain.gpu.linear import LANES
from toolchain.gpu.tensor import COLUMNS_UNIT, STAGE, Tensor, empty

UNITS_MAX = 8  # of 16 values in a head
PART = 256  # keys of a workgroup in `decode`
_DECODE_LOOPS = 300  # of one invocation: 8 keys, 12 steps of reductions, up to 256 values, up to 15 ways
_ROWS = (1, 4)  # queries of one invocation in `rows`
_TILE_QUERIES = 64
_TILE_LOADS = 9  # loops of one invocation for each tile of keys, besides those over keys
_THREADS = 64
_KEYS = 4  # that one step of a loop takes

CacheKind = Literal["f32", "f16"]


class Cache:
    """Keys and values of the positions so far, on the device.

    Attributes:
        length: positions in it.
        keys: [capacity, groups, size].
        values: the same.
    """

    def __init__(
        self, device: Device, capacity: int, groups: int, size: int, kind: CacheKind = "f32"
    ) -> None:
        if kind not in ("f32", "f16"):
            raise InputError(f"cache: the kind '{kind}' is neither f32 nor f16", stage=STAGE)
        if min(capacity, groups, size) < 1 or size > UNITS_MAX * COLUMNS_UNIT:
            raise InputError(
                f"cache: {capacity} positions, {groups} heads of {size} values "
                f"(each at least 1, a head at most {UNITS_MAX * COLUMNS_UNIT} values)",
                stage=STAGE,
            )
        self.device = device
        self.length = 0
        self.keys = empty(device, (capacity, groups, size), kind, "keys")
        self.values = empty(device, (capacity, groups, size), kind, "values")

    @property
    def capacity(self) -> int:
        """Positions that it has room for."""
        return self.keys.shape[0]

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Put f32 [positions, groups, size] behind what is there.

        Raises:
            InputError: the shapes do not fit, or there is no room.
        """
        expected = self.keys.shape[1:]
        for tensor in (keys, values):
            if tensor.kind != "f32" or tensor.shape != (keys.shape[0], *expected):
                raise InputError(
                    f"cache: {tensor.kind} {list(tensor.shape)} for heads of {list(expected)}", stage=STAGE
                )
        count = keys.shape[0]
        if self.length + count > self.capacity:
            raise InputError(
                f"cache: {self.length} of {self.capacity} positions are used, {count} more do not fit",
                stage=STAGE,
            )
        for source, target in ((keys, self.keys), (values, self.values)):
            self._put(source, target)
        self.length += count

    def _put(self, source: Tensor, target: Tensor) -> None:
        units = source.rows * source.units
        offset = self.length * target.shape[1] * target.units
        size = COLUMNS_UNIT * 4
        if target.kind == "f32":
            self.device.copy(source.buffer, target.buffer, units * size, 0, offset * size)
            return
        kernel = self.device.kernel(wgsl.load("halve.wgsl"), checked=False)
        most = self.device.limits["max-compute-workgroups-per-dimension"]
        groups = -(-units // _THREADS)
        down = -(-groups // most)
        across = -(-groups // down)
        shape = self.device.uniform(struct.pack("<3I", units, offset, across * _THREADS))
        self.device.dispatch(kernel, [source.buffer, target.buffer, shape], (across, down), iterations=0)

    def clear(self) -> None:
        """Forget all positions."""
        self.length = 0


class Attention:
    """Attention on one device.

    Args:
        device: where.
        tiled: the workgroup-tiled variant, for GPUs; else the register-tiled one.
    """

    def __init__(self, device: Device, *, tiled: bool) -> None:
        self.device = device
        self.tiled = tiled

    def attend(
        self, queries: Tensor, cache: Cache, *, causal: bool = True, scale: float | None = None
    ) -> Tensor:
        """``softmax(Q Kᵀ scale + mask) V`` for each head.

        Args:
            queries: f32 [queries, heads, size]; with ``causal`` they are the last positions of the cache.
            cache: keys and values; ``heads`` is a multiple of its groups.
            causal: a query sees the keys up to its own position; else all.
            scale: None for 1 / sqrt(size).

        Returns:
            f32 [queries, heads, size].

        Raises:
            InputError: the shapes do not fit, the cache is empty, or there are more keys than one loop may take.
        """
        groups, size = cache.keys.shape[1:]
        if queries.kind != "f32" or len(queries.shape) != 3 or queries.shape[2] != size:
            raise InputError(
                f"attention: queries of {queries.kind} {list(queries.shape)}, heads of {size} values",
                stage=STAGE,
            )
        count, heads, _ = queries.shape
        if heads % groups:
            raise InputError(f"attention: {heads} heads of queries share {groups} of keys", stage=STAGE)
        if cache.length < (count if causal else 1):
            raise InputError(
                f"attention: {count} queries at the end of {cache.length} positions: append keys and values first",
                stage=STAGE,
            )
        out = empty(self.device, queries.shape, label="attention")
        by = 1 / math.sqrt(size) if scale is None else scale
        if count == 1:
            self._decode(queries, cache, out, by)
        else:
            self._prefill(queries, cache, out, by, causal)
        return out

    def _prefill(self, queries: Tensor, cache: Cache, out: Tensor, scale: float, causal: bool) -> None:
        count, heads, size = queries.shape
        rows = next((n for n in _ROWS if n * LANES >= count), _ROWS[-1])
        width = _TILE_QUERIES if self.tiled else LANES * rows
        tile = 32 // -(-queries.units // 4)
        loops = -(-cache.length // _KEYS)
        if self.tiled:
            loops += _TILE_LOADS * -(-cache.length // tile)
        if loops > LOOP_MAX:
            raise InputError(
                f"attention: {cache.length} keys make {loops} iterations of one invocation, {LOOP_MAX} at most: "
                "attend one query at a time",
                stage=STAGE,
            )
        constants: dict[str, wgsl.Constant] = {"ROWS": rows, "LANES": LANES, "CAUSAL": causal}
        kernel = self._kernel("tiles" if self.tiled else "rows", cache, constants)
        work = 4 * cache.length * size * heads * width  # of a block of queries
        most = max(1, WORK_MAX // work)
        start = cache.length - count if causal else 0
        blocks = -(-count // width)
        for block in range(0, blocks, most):
            shape = self._shape(queries, cache, start, block * width, 0, scale)
            bound = [queries.buffer, cache.keys.buffer, cache.values.buffer, out.buffer, shape]
            taken = min(most, blocks - block)
            self.device.dispatch(kernel, bound, (taken, heads), iterations=loops, work=taken * work)

    def _decode(self, queries: Tensor, cache: Cache, out: Tensor, scale: float) -> None:
        _, heads, _ = queries.shape
        parts = -(-cache.length // PART)
        held = empty(self.device, (heads * parts, (queries.units + 1) * COLUMNS_UNIT), label="parts")
        kernel = self._kernel("decode", cache, {})
        shape = self._shape(queries, cache, cache.length - 1, 0, parts, scale)
        bound = [queries.buffer, cache.keys.buffer, cache.values.buffer, held.buffer, shape]
        self.device.dispatch(kernel, bound, (parts, heads), iterations=_DECODE_LOOPS)
        joined = self.device.kernel(wgsl.load("joins.wgsl"), checked=False)
        sizes = self.device.uniform(struct.pack("<3I", heads, parts, queries.units))
        groups = (-(-heads * queries.units * 4 // _THREADS),)
        self.device.dispatch(joined, [held.buffer, out.buffer, sizes], groups, iterations=2 * parts)

    def _kernel(self, entry: str, cache: Cache, constants: dict[str, wgsl.Constant]) -> Kernel:
        given = {"UNITS": cache.keys.units, "WEIGHT_BITS": cache.keys.bits, **constants}
        return self.device.kernel(wgsl.load("attention.wgsl", given), entry, checked=False)

    def _shape(
        self, queries: Tensor, cache: Cache, start: int, first: int, parts: int, scale: float
    ) -> Buffer:
        """``Shape`` of attention.wgsl."""
        count, heads, _ = queries.shape
        groups = cache.keys.shape[1]
        return self.device.uniform(
            struct.pack("<7If", count, cache.length, heads, groups, start, first, parts, scale)
        )
