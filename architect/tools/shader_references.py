"""What the shaders must compute that are no neural network: mailbox runtime and vectors, God Pixel, the Pixel VM.

Owns one reference per file, beside the probes of ``architect.shaders.probes``: random inputs from a fixed seed, the
shader's answer on a device against that of the Python that defines it. Each gives None, or what differs first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from toolchain.gpu.device import Device

ROUNDS, ROWS = 12, 200
HEAP = 1 << 18
CODES = 4  # of each family
_SIZE_BITS = 17
_ODD = 0.05  # share of commands with a field that must be zero set


def runtime(device: Device) -> str | None:
    """``mailbox_runtime.wgsl`` (the device heap's allocator, registers) against ``toolchain.mailbox.model``."""
    import numpy as np

    from toolchain.mailbox import layout as m
    from toolchain.mailbox.gpu import Gpu
    from toolchain.mailbox.model import Model

    chance = random.Random(1)
    looks = (m.OP_PING, m.OP_MMIO_READ)  # a batch of these alone runs all at once
    gpu, model = Gpu(HEAP), Model(HEAP)
    held: list[int] = [0]
    try:
        for number in range(ROUNDS):
            rows = np.zeros((ROWS, m.SLOT_SIZE // 4), np.uint32)
            for row in rows:
                opcode = chance.choice(
                    (m.OP_ALLOC, m.OP_ALLOC, m.OP_FREE, *looks) if number % 2 == 0 else looks
                )
                row[0] = opcode << m.OPCODE_SHIFT
                row[4] = (
                    chance.choice(held) if opcode == m.OP_FREE else int(2 ** chance.uniform(0, _SIZE_BITS))
                )
                row[5] = int(chance.random() < _ODD)
            results, errors = gpu.drain(rows)
            wanted, wrong = model.drain(rows)
            ours = [(int(result), int(error)) for result, error in zip(results, errors, strict=True)]
            model_says = [(int(result), int(error)) for result, error in zip(wanted, wrong, strict=True)]
            for at, (got, want) in enumerate(zip(ours, model_says, strict=True)):
                if got != want:
                    what = f"opcode {int(rows[at][0]) >> m.OPCODE_SHIFT}, argument {int(rows[at][4])}"
                    return f"batch {number}, command {at} ({what}): {got}, the model says {want}"
            taken = rows[:, 0] >> m.OPCODE_SHIFT == m.OP_ALLOC
            held = [int(r) for r, e, t in zip(results, errors, taken, strict=True) if t and not e] or held
    finally:
        gpu.close()
    return None


def vectors(device: Device) -> str | None:
    """``mailbox_vectors.wgsl`` against NumPy."""
    import numpy as np

    from toolchain.gpu import wgsl

    rng = np.random.default_rng(1)
    for size in (1, 63, 64, 1000):
        a, b = (rng.standard_normal(size).astype(np.float32) for _ in range(2))
        for entry, want in (("vector_add", a + b), ("vector_scale", a[0] * b)):
            buffers = [device.upload(a), device.upload(b), device.buffer(4 * size)]
            kernel = device.kernel(wgsl.load("mailbox_vectors.wgsl"), entry)
            device.dispatch(kernel, buffers, (-(-size // 64),), iterations=0)
            got = np.frombuffer(device.download(buffers[2], 4 * size), np.float32)
            if not np.array_equal(got, want):
                at = int(np.argmax(got != want))
                return f"{entry} of {size}: element {at} is {got[at]:g}, NumPy says {want[at]:g}"
    return None


def god_pixel(device: Device) -> str | None:
    """``god_pixel.wgsl`` against the definition of every family."""
    import numpy as np

    from pixelvm.god import family, seed
    from pixelvm.god.gpu import Painter

    chance = random.Random(1)
    painter = Painter(device)
    for kind in family.FAMILIES.values():
        codes: list[family.Code] = []
        while len(codes) < CODES:
            made = family.code(kind.kind, *(chance.randint(f.least, f.greatest) for f in kind.fields))
            if made is not None:
                codes.append(made)
        for code, got in zip(codes, painter.expand(codes), strict=True):
            want = seed.expand(code)
            if not np.array_equal(got, want):
                y, x = map(int, np.argwhere(got != want)[0])
                return f"{kind.name}, pixel ({x}, {y}): {int(got[y, x]):#010x}, NumPy draws {int(want[y, x]):#010x}"
    return None


def pixel_vm(device: Device) -> str | None:
    """``pixel_vm.wgsl`` on the conformance suite of the Pixel VM."""
    from pixelvm import conform

    for case, failures in conform.run(["wgsl"]):
        if failures:
            return f"{case.name}: {failures[0].what}"
    return None


REFERENCES: Mapping[str, Callable[[Device], str | None]] = {
    "mailbox_runtime.wgsl": runtime,
    "mailbox.wgsl": runtime,
    "mailbox_vectors.wgsl": vectors,
    "god_pixel.wgsl": god_pixel,
    "pixel_vm.wgsl": pixel_vm,
}
