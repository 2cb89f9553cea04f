"""Seed codes drawn on a GPU: many tiles in one dispatch of shaders/god_pixel.wgsl.

Owns the batches and the buffers. What a family looks like is ``seed``'s and the shader's, word for word the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelvm.god import family
from pixelvm.god.family import SIDE, TILE_BYTES, Code
from pixelvm.god.seed import Words
from pixelvm.god.shader import SHADER
from toolchain.gpu import wgsl
from toolchain.gpu.device import Device
from toolchain.gpu.kernels import Kernel

BATCH = 512  # tiles of one dispatch: 32 MiB
ITERATIONS = SIDE + SIDE * family.JULIA_STEPS  # of all loops of one invocation, at most


class Painter:
    """Draws tiles on one device.

    Args:
        device: where; stays the caller's.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._out = device.buffer(BATCH * TILE_BYTES, "tiles")
        self._kernels: dict[int, Kernel] = {}

    def draw(self, codes: Sequence[Code]) -> None:
        """Record the drawing of up to ``BATCH`` tiles, which stay on the device: a dispatch for each family."""
        families: dict[int, list[tuple[int, int]]] = {}
        for place, code in enumerate(codes):
            families.setdefault(code.family.kind, []).append((code.word, place))
        for kind, rows in families.items():
            given = self.device.upload(np.array(rows, np.uint32), "codes")
            self.device.dispatch(self._kernel(kind), [given, self._out], (len(rows),), iterations=ITERATIONS)

    def _kernel(self, kind: int) -> Kernel:
        if kind not in self._kernels:
            module = wgsl.load(SHADER.name, {"FAMILY": int(kind)})
            self._kernels[kind] = self.device.kernel(module, checked=False)
        return self._kernels[kind]

    def expand(self, codes: Sequence[Code]) -> Words:
        """The tiles of legal codes: an array of n x 128 x 128 words."""
        out = np.empty((len(codes), SIDE, SIDE), np.uint32)
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            self.draw(part)
            data = self.device.download(self._out, len(part) * TILE_BYTES)
            out[start : start + BATCH] = np.frombuffer(data, "<u4").reshape(-1, SIDE, SIDE)
        return out
