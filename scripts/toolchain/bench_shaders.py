"""``pxos bench shaders``: the shaders beside NumPy and PyTorch, and beside what the device does at most.

Owns: how the workloads are measured, and the ceilings. Every workload is checked against its NumPy peer before that.
NumPy computes on one thread; PyTorch, where it is installed, on a GPU where both of us have one, else on one thread.
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolchain import measure
from toolchain.command import Ui
from toolchain.errors import InternalError
from toolchain.gpu import wgsl
from toolchain.gpu.device import Device

if TYPE_CHECKING:
    from toolchain.bench_shaders_work import Workload
    from toolchain.gpu.nn import Nn

STAGE = "bench"
ROUNDS = 9
RUN_SECONDS = 0.03  # of one measure: enough repetitions that waiting for the device is small beside it
GIGA = 1e9
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NOT_INSTALLED = "not installed"
_COPY_BYTES = 64 << 20
_CEILING_ROUNDS = 256
_CEILING_OPERATIONS = 1024  # of an invocation in a round (ceiling.wgsl)
_CEILING_GROUPS = {True: 64, False: 8192}  # by software adapter


@dataclass(frozen=True)
class Ceiling:
    """What the device does at most.

    Attributes:
        name: ``"copy"`` or ``"multiply-add"``.
        unit: GB/s or GFLOP/s.
        values: the measures.
    """

    name: str
    unit: str
    values: list[float]


def run(ui: Ui, adapter: str | None = None, only: Sequence[str] = ()) -> dict[str, Any]:
    """Measure.

    Args:
        ui: told of the progress.
        adapter: see ``toolchain.gpu.adapter.choose``.
        only: words: workloads whose name holds none of them are left out; all when empty.

    Returns:
        ``machine`` (with the adapter's name as ``gpu``) and ``rows`` as ``measure.row`` makes them, with ``ceiling``
        and ``of_ceiling``: the name of the ceiling, and which part of it was reached; on a software rasteriser
        ``cpu_ratio``: the peer's CPU time over ours, which other work on the machine disturbs less than wall time.

    Raises:
        InputError: no adapter is called so.
        InternalError: a workload computes something else than its peer.
        ToolError: there is no adapter.
    """
    _one_thread()
    from toolchain.bench_shaders_work import workloads
    from toolchain.gpu.nn import Nn

    with Device(adapter) as device:
        nn = Nn(device)
        ui.step(f"{device.adapter}, {nn.variant}-tiled: ceilings")
        ceilings = {c.name: c for c in (_copy(nn, ui), _multiply_add(nn, ui))}
        rows = [measure.row(f"ceiling: {c.name}", c.values, "", [], c.unit) for c in ceilings.values()]
        for work in workloads(nn, large=not device.adapter.software):
            if only and not any(word in work.name for word in only):
                continue
            ui.step(work.name)
            rows += _rows(work, ceilings[work.ceiling], ui, nn)
        machine = measure.machine() | {"gpu": str(device.adapter)}
    return {"machine": machine, "rows": rows}


def _one_thread() -> None:
    if "numpy" in sys.modules and any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        raise InternalError("NumPy was loaded before it was held to one thread", stage=STAGE)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def _rows(work: Workload, ceiling: Ceiling, ui: Ui, nn: Nn) -> list[dict[str, Any]]:
    """One row for each peer, all of the same rounds."""
    if not work.agrees():
        raise InternalError(f"{work.name}: the shader and NumPy differ", stage=STAGE)
    cpu: dict[str, list[float]] = {"ours": [], "NumPy": [], "PyTorch": []}
    runs = {
        "ours": _repeated(work.ours, nn.device.finish, cpu["ours"]),
        "NumPy": _repeated(work.numpy, _nothing, cpu["NumPy"]),
    }
    if work.torch is not None:
        runs["PyTorch"] = _repeated(work.torch, work.torch_finish, cpu["PyTorch"])
    seconds = measure.interleave(runs, ROUNDS, tick=ui.progress)
    found = {name: [work.amount / GIGA / s for s in taken] for name, taken in seconds.items()}
    best = max(ceiling.values)
    extra: dict[str, Any] = {"ceiling": ceiling.name, "of_ceiling": float(f"{max(found['ours']) / best:.4g}")}
    rows = []
    for peer, title in (("NumPy", "NumPy, one thread"), ("PyTorch", work.torch_title)):
        values = found.get(peer, [])
        rows.append(measure.row(work.name, found["ours"], title, values, work.unit, **extra))
        if values and nn.device.adapter.software:
            ratio = statistics.median(cpu[peer]) / statistics.median(cpu["ours"])
            rows[-1]["cpu_ratio"] = float(f"{ratio:.4g}")
        if not values:
            rows[-1]["note"] = NOT_INSTALLED
    return rows


def _repeated(
    action: Callable[[], object], finish: Callable[[], object], cpu: list[float] | None = None
) -> Callable[[], float]:
    """Seconds of one ``action``, taken over as many as last ``RUN_SECONDS``; ``cpu`` takes those of all threads."""
    finish()
    action()
    finish()
    once = measure.timed(lambda: (action(), finish()))
    count = max(1, round(RUN_SECONDS / max(once, 1e-7)))

    def several() -> None:
        for _ in range(count):
            action()
        finish()

    def measured() -> float:
        began = time.process_time()
        seconds = measure.timed(several) / count
        if cpu is not None:
            cpu.append((time.process_time() - began) / count)
        return seconds

    return measured


def _nothing() -> None:
    return None


def _copy(nn: Nn, ui: Ui) -> Ceiling:
    device = nn.device
    source, target = device.buffer(_COPY_BYTES, "source"), device.buffer(_COPY_BYTES, "target")
    run = _repeated(lambda: device.copy(source, target, _COPY_BYTES), device.finish)
    seconds = measure.interleave({"copy": run}, ROUNDS, tick=ui.progress)["copy"]
    return Ceiling("copy", "GB/s", [2 * _COPY_BYTES / GIGA / s for s in seconds])


def _multiply_add(nn: Nn, ui: Ui) -> Ceiling:
    device = nn.device
    groups = _CEILING_GROUPS[device.adapter.software]
    out = device.buffer(4 * 64 * groups, "ceiling")
    kernel = device.kernel(wgsl.load("ceiling.wgsl"), checked=False)
    shape = device.uniform(struct.pack("<If", _CEILING_ROUNDS, 0.5))
    run = _repeated(
        lambda: device.dispatch(kernel, [out, shape], [groups], iterations=_CEILING_ROUNDS), device.finish
    )
    seconds = measure.interleave({"ours": run}, ROUNDS, tick=ui.progress)["ours"]
    amount = 64 * groups * _CEILING_ROUNDS * _CEILING_OPERATIONS
    return Ceiling("multiply-add", "GFLOP/s", [amount / GIGA / s for s in seconds])
