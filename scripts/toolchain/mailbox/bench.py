"""``pxos bench mailbox``: what a command costs from the client's processor to the service and back.

Owns: the figures, each of another road: polled in shared memory, woken by a doorbell, through a shader; and how many a
second when many are open. The client is machine code in this process (it does what a kernel's client does), the service
a process of its own; the peers are two C processes on one page, and the same device asked without a mailbox.
"""

from __future__ import annotations

import shutil
import subprocess
from array import array
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolchain import measure, scratch, tools
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.mailbox import bench_alone, bench_guest, native
from toolchain.mailbox import layout as m
from toolchain.mailbox.bench_session import FLIGHT, PATIENCE, Command, Session, session
from toolchain.mailbox.memory import MASK32
from toolchain.mailbox.service import SPIN_SECONDS

STAGE = "bench"
ROUNDS = 5
POLLED, RUNG, SHADER = 20_000, 1_000, 100  # round trips of one round
POSTS = 2_000  # of which the cheapest post counts: the one that finds the service awake
SMALL, DEVICE = 200_000, 256 * 10  # commands of one round
SPIN = 1.0  # seconds: a service that polls
_BRIEF = 200  # looks until the client sleeps, where the answer takes long
_SECONDS = 60.0
ROW_MANY = f"shader command, {FLIGHT} in flight"
ROW_WRITES = f"shader command that writes a register, {FLIGHT} in flight"
_NANO, _MICRO = 1e9, 1e6
_FLOOR = Path(__file__).with_name("floor.c")


_PING = Command(m.OP_PING << m.OPCODE_SHIFT, MASK32)
_SHADER_PING = Command(_PING.header | m.FLAG_DEVICE, MASK32)
_WRITE = Command(m.OP_MMIO_WRITE << m.OPCODE_SHIFT, 0)  # 0 to register 0 of window 0, which holds 0


def run(ui: Ui) -> dict[str, Any]:
    """Measure.

    Args:
        ui: told of the progress.

    Returns:
        ``machine`` and ``rows`` as ``measure.row`` makes them; further keys ``p99`` and ``p999`` beside the median.

    Raises:
        ToolError: this machine cannot run the client, gcc is missing, or there is no adapter.
    """
    if not native.available():
        raise ToolError("the bench's client is machine code for x86-64 Linux", stage=STAGE)
    with scratch.folder("pxos-bench-") as folder:
        floor = _compile(folder)
        with session(folder, "polled", "model", SPIN) as polling:
            rows = [_polled(ui, polling, floor), _small(ui, polling)]
        with session(folder, "rung", "model", 0.0) as sleeping:
            rows.insert(1, _rung(ui, sleeping, floor))
        with session(folder, "shader", "gpu", SPIN_SECONDS) as usual:
            rows[2:2] = _shaders(ui, usual)
        rows += _guest(ui, folder, rows[0])
    return {"machine": measure.machine(), "rows": rows}


def _polled(ui: Ui, session: Session, floor: Path) -> dict[str, Any]:
    ui.step("polled round trip")
    tick = session.tick_seconds()
    samples: list[float] = []

    def ours() -> float:
        found = [ticks * tick for ticks in session.polled(POLLED)]
        samples.extend(found)
        return _at(found, 0.5)

    found = measure.interleave(
        {"ours": ours, "peer": lambda: _at(_floor(floor, "polled", POLLED), 0.5)}, ROUNDS
    )
    peer = "two C processes on a shared page"
    return measure.row(
        "polled round trip", found["ours"], peer, found["peer"], "ns", _NANO, **_tail(samples, _NANO)
    )


def _rung(ui: Ui, session: Session, floor: Path) -> dict[str, Any]:
    ui.step("doorbell round trip")
    samples: list[float] = []

    def ours() -> float:
        found = session.rung(RUNG)
        samples.extend(found)
        return _at(found, 0.5)

    found = measure.interleave(
        {"ours": ours, "peer": lambda: _at(_floor(floor, "doorbell", RUNG), 0.5)}, ROUNDS
    )
    peer = "two C processes, one asleep on an eventfd"
    return measure.row(
        "doorbell round trip", found["ours"], peer, found["peer"], "us", _MICRO, **_tail(samples, _MICRO)
    )


def _shaders(ui: Ui, session: Session) -> list[dict[str, Any]]:
    """One command through the shader, and many at once; the peer asks the same device without a mailbox."""
    import numpy as np

    from toolchain.mailbox.gpu import Gpu

    ui.step("shader round trip")
    device = Gpu()
    samples: list[float] = []

    def direct(rows: int, times: int, command: Command = _SHADER_PING) -> list[float]:
        batch = np.zeros((rows, m.SLOT_SIZE // 4), np.uint32)
        batch[:, 0] = command.header
        return [measure.timed(lambda: device.drain(batch)) for _ in range(times)]

    def one() -> float:
        found = session.slept(SHADER, m.FLAG_DEVICE)
        samples.extend(found)
        return _at(found, 0.5)

    single = measure.interleave({"ours": one, "peer": lambda: _at(direct(1, SHADER), 0.5)}, ROUNDS)
    ui.step("shader commands in flight")
    batches = DEVICE // FLIGHT
    spent: list[float] = []

    def each(command: Command) -> float:
        before = session.spent()
        seconds = session.burst(DEVICE, command, _BRIEF)
        spent.append((session.spent() - before) / DEVICE)
        return seconds / DEVICE

    def peers(command: Command) -> float:
        return _at(direct(FLIGHT, batches, command), 0.5) / FLIGHT

    many = {
        command: measure.interleave(
            {
                "ours": partial(each, command),
                "peer": partial(peers, command),
            },
            ROUNDS,
        )
        for command in (_SHADER_PING, _WRITE)
    }
    alone = bench_alone.Alone(device)
    work = measure.interleave(
        {"ours": lambda: alone.batches(batches, *_SHADER_PING) / (batches * FLIGHT)}, ROUNDS
    )
    name = device.name
    device.close()
    peer = "the same dispatch without a mailbox"
    return [
        measure.row(
            "shader round trip", single["ours"], peer, single["peer"], "us", _MICRO, device=name,
            **_tail(samples, _MICRO),
        ),
        *(
            measure.row(what, found["ours"], peer, found["peer"], "us", _MICRO, device=name)
            for what, found in zip((ROW_MANY, ROW_WRITES), many.values(), strict=True)
        ),
        measure.row(
            f"{ROW_MANY}, processor time of client and service", spent[1 : 1 + ROUNDS], "", [], "us", _MICRO,
            device=name,
        ),
        measure.row(
            f"{ROW_MANY}, processor time in one process", work["ours"], "", [], "us", _MICRO,
            device=name,
        ),
    ]  # fmt: skip


def _guest(ui: Ui, folder: Path, polled: dict[str, Any]) -> list[dict[str, Any]]:
    """What the kernel in QEMU measures itself; the peer of its round trip is the floor measured before."""
    found = bench_guest.ask(ui, folder, [f"mailbox ping {POLLED}"] * ROUNDS, icount=False)
    trips = [answer["p50_ns"] / _NANO for answer in found]
    tail = {name: found[-1][f"{name}_ns"] for name in ("p50", "p99", "p999")}
    floor = [polled["peer_value"] / _NANO]
    posts = bench_guest.ask(ui, folder, [f"mailbox ping {POSTS}"] * ROUNDS, icount=True)
    return [
        measure.row("polled round trip, guest", trips, polled["peer"], floor, "ns", _NANO, **tail),
        measure.row(
            "post of one command", [float(one["post_ticks"]) for one in posts], "", [], "instructions"
        ),
    ]


def _small(ui: Ui, session: Session) -> dict[str, Any]:
    ui.step("small commands")
    found = measure.interleave({"ours": lambda: SMALL / session.burst(SMALL, _PING, PATIENCE)}, ROUNDS)
    return measure.row("small commands per second", found["ours"], "", [], "1/s")


def _tail(samples: Sequence[float], scale: float) -> dict[str, float]:
    return {
        name: float(f"{_at(samples, part) * scale:.{measure.DIGITS}g}")
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    }


def _at(samples: Sequence[float], part: float) -> float:
    """A quantile: the smallest sample that ``part`` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def _compile(folder: Path) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        raise tools.missing("gcc", "gcc", STAGE)
    program = folder / "floor"
    done = subprocess.run(
        [gcc, "-O2", "-o", str(program), str(_FLOOR)], capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise ToolError(f"gcc: {done.stderr.strip()[-300:]}", stage=STAGE, returncode=done.returncode)
    return program


def _floor(program: Path, way: str, count: int) -> list[float]:
    done = subprocess.run([str(program), way, str(count)], capture_output=True, timeout=_SECONDS)
    if done.returncode:
        raise ToolError("the floor's program failed", stage=STAGE, returncode=done.returncode)
    times = array("I")
    times.frombytes(done.stdout)
    return [nanoseconds / _NANO for nanoseconds in times]
