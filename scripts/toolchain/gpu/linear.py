"""Matrix products on the device: ``activation(A B + bias)`` in dispatches that stay within every bound.

Owns: which entry of ``matmul.wgsl`` is used, and how a product is cut: k by the loop bound, rows by the work that one
dispatch may be, so that no driver's watchdog ends it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from toolchain.errors import InputError
from toolchain.gpu import wgsl
from toolchain.gpu.device import LOOP_MAX, WORK_MAX, Buffer, Device
from toolchain.gpu.kernels import Kernel
from toolchain.gpu.tensor import COLUMNS_UNIT, STAGE, Tensor, empty

ACTIVATIONS = {None: 0, "relu": 1, "gelu": 2, "gelu_tanh": 3, "silu": 4}
ROWS = (1, 4, 16)  # of one invocation: few, because each is compiled by itself
LANES = 8  # of lavapipe's 256-bit vectors
_K = 4  # values of k in a unit of the shader's loops
_TILE_LOOPS = 20  # of one invocation for 16 values of k: the outer one, up to 2 loads, 16 steps, rounded up
_TILE_UNITS = 4  # units of k for each of these
_SLICE_ROWS = 4
_SLICE_UNITS = 64
_SLICE_GROUPS = 1024  # workgroups that fill a large GPU
_SLICE_LEAST = 32  # units of k below which a slice is not worth a workgroup
_SUM_THREADS = 64
_LARGE = 128  # workgroups of the large tile that fill a GPU


@dataclass(frozen=True)
class Cut:
    """A part of k, in units of 4."""

    begin: int
    end: int
    first: bool
    last: bool


def cuts(units: int, most: int) -> list[Cut]:
    """K in parts of at most ``most`` units, in order."""
    begins = range(0, units, most)
    return [Cut(b, min(b + most, units), b == 0, b + most >= units) for b in begins]


class Linear:
    """Matrix products on one device.

    Args:
        device: where.
        tiled: the workgroup-tiled variant, for GPUs; else the register-tiled one.
    """

    def __init__(self, device: Device, *, tiled: bool) -> None:
        self.device = device
        self.tiled = tiled
        self._zeros: Buffer | None = None

    def matmul(
        self, a: Tensor, b: Tensor, bias: Tensor | None = None, activation: str | None = None
    ) -> Tensor:
        """``activation(a @ b + bias)``.

        Args:
            a: f32 [..., k].
            b: f32, f16 or i8 [k, n].
            bias: f32 [n].
            activation: None, ``"relu"``, ``"gelu"`` (erf), ``"gelu_tanh"`` or ``"silu"``.

        Returns:
            f32 [..., n].

        Raises:
            InputError: the shapes or kinds do not fit.
        """
        if activation not in ACTIVATIONS:
            names = ", ".join(name for name in ACTIVATIONS if name)
            raise InputError(
                f"matmul: no activation is called '{activation}' (there are: {names})", stage=STAGE
            )
        if a.kind != "f32" or b.kind == "u32" or len(b.shape) != 2 or a.columns != b.rows:
            raise InputError(f"matmul: {_said(a)} by {_said(b)}", stage=STAGE)
        if b.buffer.size * 8 < -(-b.rows // _K) * _K * b.units * COLUMNS_UNIT * b.bits:
            raise InputError(
                f"matmul: {_said(b)} is a view whose rows are not padded: upload it", stage=STAGE
            )
        if bias is not None and (bias.kind != "f32" or bias.shape != (b.columns,)):
            raise InputError(f"matmul: {_said(bias)} as the bias of {b.columns} columns", stage=STAGE)
        out = empty(self.device, (*a.shape[:-1], b.columns), label="product")
        constants: dict[str, wgsl.Constant] = {
            "WEIGHT_BITS": b.bits, "ACTIVATION": ACTIVATIONS[activation], "HAS_BIAS": bias is not None,
        }  # fmt: skip
        zeros = self._nothing()
        buffers = [a.buffer, b.buffer, b.scale.buffer if b.scale else zeros, bias.buffer if bias else zeros]
        if not self.tiled:
            self._rows(a, b, out, buffers, constants)
        elif a.rows <= _SLICE_ROWS:
            for row in range(a.rows):
                self._slices(a, b, out, buffers, constants, row)
        else:
            self._tiles(a, b, out, buffers, constants)
        return out

    def _rows(
        self, a: Tensor, b: Tensor, out: Tensor, buffers: list[Buffer], constants: dict[str, wgsl.Constant]
    ) -> None:
        rows = next((n for n in ROWS if n >= a.rows), ROWS[-1])
        for cut in cuts(-(-a.columns // _K), LOOP_MAX):
            kernel = self._kernel("rows", {**constants, "ROWS": rows, "LANES": LANES}, cut)
            for row, count in self._chunks(a.rows, b.columns, cut, rows):
                shape = self.device.uniform(_shape(a, b, out, cut, row))
                groups = (-(-b.units // LANES), -(-count // rows))
                self.device.dispatch(
                    kernel, [*buffers, out.buffer, shape], groups, iterations=cut.end - cut.begin,
                    work=_work(count, b, cut),
                )  # fmt: skip

    def _tiles(
        self, a: Tensor, b: Tensor, out: Tensor, buffers: list[Buffer], constants: dict[str, wgsl.Constant]
    ) -> None:
        tile = 128 if -(-a.rows // 128) * -(-b.columns // 128) >= _LARGE else 64
        for cut in cuts(-(-a.columns // _K), LOOP_MAX // _TILE_LOOPS * _TILE_UNITS):
            kernel = self._kernel("tiles", {**constants, "TILE": tile}, cut)
            loops = -(-(cut.end - cut.begin) // _TILE_UNITS) * _TILE_LOOPS
            for row, count in self._chunks(a.rows, b.columns, cut, tile):
                shape = self.device.uniform(_shape(a, b, out, cut, row))
                groups = (-(-b.columns // tile), -(-count // tile))
                self.device.dispatch(
                    kernel, [*buffers, out.buffer, shape], groups, iterations=loops, work=_work(count, b, cut)
                )

    def _slices(
        self, a: Tensor, b: Tensor, out: Tensor, buffers: list[Buffer],
        constants: dict[str, wgsl.Constant], row: int,
    ) -> None:  # fmt: skip
        units = b.units * b.bits // 8
        across = -(-units // _SLICE_UNITS)
        total = -(-a.columns // _K)
        wanted = max(1, min(_SLICE_GROUPS // across, total // _SLICE_LEAST))
        length = min(-(-total // wanted), (LOOP_MAX - 2 * _SLICE_ROWS) * _SLICE_ROWS)
        slices = -(-total // length)
        if slices > LOOP_MAX:
            raise InputError(f"matmul: {a.columns} values in a row are too many", stage=STAGE)
        cut = Cut(0, total, True, True)
        partial = empty(self.device, (slices, b.columns), label="partial sums")
        product = self._kernel("slices", constants, cut)
        shape = self.device.uniform(_shape(a, b, out, cut, row, length, slices))
        loops = -(-length // _SLICE_ROWS) + 2 * _SLICE_ROWS
        self.device.dispatch(product, [*buffers, partial.buffer, shape], (across, slices), iterations=loops)
        added = self.device.kernel(
            wgsl.load("sums.wgsl", {
                "ACTIVATION": constants["ACTIVATION"], "HAS_BIAS": constants["HAS_BIAS"],
                "HAS_SCALE": b.scale is not None,
            }), checked=False)  # fmt: skip
        vectors = 4 * b.units
        sums = self.device.uniform(struct.pack("<5I", vectors, slices, 1, 1, row * vectors))
        bound = [partial.buffer, buffers[2], buffers[3], out.buffer, sums]
        self.device.dispatch(added, bound, (-(-vectors // _SUM_THREADS),), iterations=slices)

    def _chunks(self, rows: int, columns: int, cut: Cut, step: int) -> list[tuple[int, int]]:
        """(first row, rows) of dispatches that are at most ``WORK_MAX`` each."""
        most = self.device.limits["max-compute-workgroups-per-dimension"]
        each = WORK_MAX // (2 * columns * _K * (cut.end - cut.begin))
        each = max(step, min(each, most * step) // step * step)
        return [(row, min(each, rows - row)) for row in range(0, rows, each)]

    def _kernel(self, entry: str, constants: dict[str, wgsl.Constant], cut: Cut) -> Kernel:
        module = wgsl.load("matmul.wgsl", {**constants, "FIRST": cut.first, "LAST": cut.last})
        return self.device.kernel(module, entry, checked=False)

    def _nothing(self) -> Buffer:
        """What is bound where there is no bias or scale."""
        if self._zeros is None:
            self._zeros = self.device.buffer(64, "nothing")
        return self._zeros


def _shape(a: Tensor, b: Tensor, out: Tensor, cut: Cut, row: int, length: int = 0, slices: int = 0) -> bytes:
    """``Shape`` of matmul.wgsl."""
    return struct.pack(
        "<10I", a.rows, b.columns, cut.begin, cut.end, 4 * a.units, b.units, out.units, row, length, slices
    )  # fmt: skip


def _work(rows: int, b: Tensor, cut: Cut) -> int:
    return 2 * rows * b.columns * _K * (cut.end - cut.begin)


def _said(tensor: Tensor) -> str:
    return f"{tensor.kind} {list(tensor.shape)}"
