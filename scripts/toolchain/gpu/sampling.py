"""The next token from logits on the device: greedy, temperature, top-k, top-p, reproducible from seed and step.

Owns: the dispatch of ``sampling.wgsl`` and the meaning of its parameters; the shader's header says what is drawn.
"""

from __future__ import annotations

import math
import struct

from toolchain.errors import InputError
from toolchain.gpu import wgsl
from toolchain.gpu.device import LOOP_MAX, Device
from toolchain.gpu.tensor import COLUMNS_UNIT, STAGE, Tensor, empty

PART_ONE = 1 << 16  # of top_p
TEMPERATURE_LEAST = 1e-3
_THREADS = (256, 1024)
_PASSES = 80
_WORD = 1 << 32


class Sampler:
    """Sampling on one device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def sample(
        self, logits: Tensor, *, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0,
        seed: int = 0, step: int = 0,
    ) -> Tensor:  # fmt: skip
        """One token for each row.

        Args:
            logits: f32 [rows, columns] or [columns].
            temperature: 0 is greedy (the lowest index among equals); else at least 0.001.
            top_k: only the k most likely; 0 for all.
            top_p: of these, only the shortest beginning that holds this part of the probability, above 0 to 1; held to
                1 / 65536.
            seed: of the generator, 0 to 2^64 - 1.
            step: of the text, 0 to 2^32 - 1: seed, step and row name a draw, whatever was drawn before.

        Returns:
            u32 [rows].

        Raises:
            InputError: a parameter is outside its range, or a row is longer than the loop bound allows.
        """
        if logits.kind != "f32" or len(logits.shape) > 2:
            raise InputError(f"sample: logits of {logits.kind} {list(logits.shape)}", stage=STAGE)
        if temperature and not (temperature >= TEMPERATURE_LEAST and math.isfinite(temperature)):
            raise InputError(
                f"sample: temperature {temperature:g}: give 0 (greedy) or at least {TEMPERATURE_LEAST:g}",
                stage=STAGE,
            )
        if not 0 < top_p <= 1:
            raise InputError(f"sample: top_p {top_p:g}: give more than 0, at most 1", stage=STAGE)
        if top_k < 0 or not 0 <= seed < _WORD**2 or not 0 <= step < _WORD:
            raise InputError(
                f"sample: top_k {top_k}, seed {seed}, step {step}: none may be negative, a seed has 64 bits, a step 32",
                stage=STAGE,
            )
        rows, columns = logits.rows, logits.columns
        threads, loops = self._threads(columns)
        kernel = self.device.kernel(wgsl.load("sampling.wgsl", {"THREADS": threads}), checked=False)
        out = empty(self.device, (rows,), "u32", "tokens")
        shape = struct.pack(
            "<8If", logits.units * COLUMNS_UNIT, columns, rows, min(top_k or columns, columns), seed % _WORD,
            seed // _WORD, step, max(1, round(top_p * PART_ONE)), 1 / temperature if temperature else 0.0,
        )  # fmt: skip
        bound = [logits.buffer, out.buffer, self.device.uniform(shape)]
        self.device.dispatch(kernel, bound, (rows,), iterations=loops)
        return out

    def _threads(self, columns: int) -> tuple[int, int]:
        """Invocations of a workgroup, and the loops of each."""
        most = self.device.limits["max-compute-invocations-per-workgroup"]
        loops = 0
        for threads in _THREADS:
            loops = _PASSES * (-(-columns // threads) + threads.bit_length()) + 4 * threads
            if threads <= most and loops <= LOOP_MAX:
                return threads, loops
        raise InputError(
            f"sample: {columns} logits make {loops} iterations of one invocation, {LOOP_MAX} at most",
            stage=STAGE,
        )
