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

BATCH = 512  # tiles of one dispatch: 32 MiB
ITERATIONS = SIDE + SIDE * family.JULIA_STEPS  # of all loops of one invocation, at most


class Painter:
    """Draws tiles on one device.

    Args:
        device: where; stays the caller's.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._kernel = device.kernel(wgsl.load(SHADER.name), checked=False)
        self._out = device.buffer(BATCH * TILE_BYTES, "tiles")

    def draw(self, codes: Sequence[Code]) -> None:
        """Record the drawing of up to ``BATCH`` tiles into ``tiles``, where they stay on the device."""
        words = np.array([code.word for code in codes], np.uint32)
        given = self.device.upload(words, "codes")
        self.device.dispatch(self._kernel, [given, self._out], (len(codes),), iterations=ITERATIONS)

    def expand(self, codes: Sequence[Code]) -> Words:
        """The tiles of legal codes: an array of n x 128 x 128 words."""
        out = np.empty((len(codes), SIDE, SIDE), np.uint32)
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            self.draw(part)
            data = self.device.download(self._out, len(part) * TILE_BYTES)
            out[start : start + BATCH] = np.frombuffer(data, "<u4").reshape(-1, SIDE, SIDE)
        return out
