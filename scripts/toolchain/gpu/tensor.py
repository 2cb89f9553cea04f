"""Arrays on the device: their layout there, and the way from and to NumPy.

Owns: the padded layout that every shader of ``nn`` relies on. A tensor of shape (..., columns) lies as rows of
``columns`` values, each row padded with zeros to a multiple of 16 values, the number of rows to a multiple of 4.
Shaders keep the padding zero, so that sums over it add nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError
from toolchain.gpu.device import Buffer, Device

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

STAGE = "gpu"
COLUMNS_UNIT = 16
ROWS_UNIT = 4
INT8_MAX = 127
_DTYPES = {"f32": ("float32", 32), "f16": ("float16", 16), "i8": ("int8", 8), "u32": ("uint32", 32)}


@dataclass(frozen=True)
class Tensor:
    """An array on the device.

    Attributes:
        shape: as in NumPy.
        kind: ``"f32"``, ``"f16"``, ``"i8"`` or ``"u32"``.
        buffer: where it lies.
        scale: for i8, f32 of one row: what each column is multiplied by.
    """

    shape: tuple[int, ...]
    kind: str
    buffer: Buffer
    scale: Tensor | None = None

    @property
    def columns(self) -> int:
        """Values in a row."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Rows, over all other dimensions."""
        return math.prod(self.shape[:-1])

    @property
    def units(self) -> int:
        """Units of 16 values in a padded row."""
        return -(-self.columns // COLUMNS_UNIT)

    @property
    def bits(self) -> int:
        """Of one value."""
        return _DTYPES[self.kind][1]

    def reshaped(self, shape: tuple[int, ...]) -> Tensor:
        """The same values under another shape, without a copy.

        Raises:
            InputError: the number of values differs, or rows of another length would be padded differently.
        """
        if min(shape, default=0) < 1 or math.prod(shape) != math.prod(self.shape):
            raise InputError(f"{list(self.shape)} as {list(shape)}: other numbers of values", stage=STAGE)
        whole = self.columns % COLUMNS_UNIT == 0 and shape[-1] % COLUMNS_UNIT == 0
        if shape[-1] != self.columns and (not whole or self.scale is not None):
            raise InputError(
                f"{list(self.shape)} as {list(shape)}: rows are padded to {COLUMNS_UNIT} values, so both must be "
                f"multiples of it; upload the array under the shape that is needed",
                stage=STAGE,
            )
        return replace(self, shape=shape)


def empty(device: Device, shape: tuple[int, ...], kind: str = "f32", label: str = "tensor") -> Tensor:
    """A tensor of zeros.

    Raises:
        InputError: a dimension is below 1, or it is too large for the device.
    """
    if not shape or min(shape) < 1:
        raise InputError(f"{label}: the shape {shape} has no values", stage=STAGE)
    rows = -(-math.prod(shape[:-1]) // ROWS_UNIT) * ROWS_UNIT
    columns = -(-shape[-1] // COLUMNS_UNIT) * COLUMNS_UNIT
    return Tensor(shape, kind, device.buffer(rows * columns * _DTYPES[kind][1] // 8, label))


def upload(device: Device, values: Array, kind: str = "f32", label: str = "tensor") -> Tensor:
    """A NumPy array of at least one dimension, converted to ``kind``; ``"i8"`` is quantised, see ``quantised``.

    Raises:
        InputError: the values are no numbers, are no integers for u32, or do not fit the device.
    """
    import numpy as np

    if not isinstance(values, np.ndarray) or values.ndim < 1 or values.dtype.kind not in "fiub":
        raise InputError(
            f"{label}: a NumPy array of numbers with at least one dimension is needed", stage=STAGE
        )
    if kind == "u32" and (values.dtype.kind not in "iu" or (values.size and int(values.min()) < 0)):
        raise InputError(f"{label}: unsigned integers are needed, not {values.dtype}", stage=STAGE)
    if kind == "i8":
        numbers, scales = quantised(values.reshape(-1, values.shape[-1]))
        scale = upload(device, scales, label=f"{label}, scale")
        return Tensor(values.shape, kind, _placed(device, values.shape, numbers, kind, label), scale)
    return Tensor(values.shape, kind, _placed(device, values.shape, values, kind, label))


def _placed(device: Device, shape: tuple[int, ...], values: Array, kind: str, label: str) -> Buffer:
    import numpy as np

    made = empty(device, shape, kind, label)
    flat = values.reshape(made.rows, made.columns)
    padded = (-(-made.rows // ROWS_UNIT) * ROWS_UNIT, made.units * COLUMNS_UNIT)
    dtype = _DTYPES[kind][0]
    if padded == flat.shape:
        laid: Array = np.ascontiguousarray(flat, dtype)
    else:
        laid = np.zeros(padded, dtype)
        laid[: made.rows, : made.columns] = flat
    device.write(made.buffer, laid)
    return made.buffer


def download(device: Device, tensor: Tensor) -> Array:
    """The tensor as a NumPy array of its shape; i8 multiplied out to float32."""
    import numpy as np

    width = tensor.units * COLUMNS_UNIT
    size = tensor.rows * width * tensor.bits // 8
    flat = np.frombuffer(device.download(tensor.buffer, size), _DTYPES[tensor.kind][0])
    values = flat.reshape(tensor.rows, width)[:, : tensor.columns]
    if tensor.scale is not None:
        values = values.astype(np.float32) * download(device, tensor.scale)
    return np.ascontiguousarray(values).reshape(tensor.shape)


def quantised(weights: Array) -> tuple[Array, Array]:
    """int8 values [rows, columns] and float32 scales [columns], symmetric: the largest of a column becomes 127."""
    import numpy as np

    if not np.isfinite(weights).all():
        raise InputError("weights: not all are finite, int8 cannot hold them", stage=STAGE)
    most = np.abs(weights.astype(np.float64)).max(axis=0)
    scale = np.where(most > 0, most / INT8_MAX, 1.0)
    numbers = np.clip(np.rint(weights / scale), -INT8_MAX, INT8_MAX).astype(np.int8)
    return numbers, scale.astype(np.float32)
