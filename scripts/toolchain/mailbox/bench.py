"""``pxos bench mailbox``: what a command costs from the client's processor to the service and back.

Owns: the figures, each of another road: polled in shared memory, woken by a doorbell, through a shader; and how many a
second when many are open. The client is machine code in this process (it does what a kernel's client does), the service
a process of its own; the peers are two C processes on one page, and the same device asked without a mailbox.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolchain import measure, scratch, tools
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.mailbox import bench_alone, bench_guest, native
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.service import SPIN_SECONDS
from toolchain.mailbox.supervisor import Options, Supervisor
from toolchain.mailbox.transport import Connection

STAGE = "bench"
ROUNDS = 5
POLLED, RUNG, SHADER = 20_000, 1_000, 100  # round trips of one round
SMALL, DEVICE = 200_000, 256 * 10  # commands of one round
FLIGHT = m.DEPTH
SPIN = 1.0  # seconds: a service that polls
_PATIENCE = 400_000_000  # looks at one completion: ten seconds and more
_BRIEF = 200  # looks until the client sleeps, where the answer takes long
_CALIBRATION = 0.05  # seconds
_SECONDS = 60.0
_NANO, _MICRO = 1e9, 1e6
_FLOOR = Path(__file__).with_name("floor.c")
_PING = m.OP_PING << m.OPCODE_SHIFT


class Session:
    """A client of a running service, on queue 0."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self.supervisor = supervisor
        self.connection = Connection(path)
        self.memory = Memory.of(self.connection.memory)
        self.client = Client(self.memory, self.connection.ring)
        self.client.connect(_SECONDS)
        self.code = native.code()
        self.base = native.address(self.memory)

    def polled(self, count: int, header: int = _PING) -> list[float]:
        """Ticks of ``count`` round trips, one after the other."""
        times = array("Q", bytes(8 * count))
        queue, at, done = self.client.queues[0], times.buffer_info()[0], 0
        deadline = time.monotonic() + _SECONDS
        while done < count:
            made = self.code.ping(self.base, queue.submitted, count - done, at + 8 * done, header, _PATIENCE)
            queue.submitted += made
            queue.consumed += made
            done += made
            self._go_on(deadline)
        return list(times)

    def burst(self, count: int, header: int, patience: int) -> float:
        """Seconds of ``count`` commands with ``FLIGHT`` open at once.

        Args:
            count: how many.
            header: of each.
            patience: looks without an answer until the client sleeps for its message.
        """
        queue = self.client.queues[0]
        state = array("Q", (queue.submitted, queue.consumed))
        end = queue.submitted + count
        deadline = time.monotonic() + _SECONDS
        began = time.perf_counter()
        while True:
            done: int = self.code.burst(self.base, state.buffer_info()[0], end, header, patience, FLIGHT)
            queue.submitted, queue.consumed = state
            if done >= end:
                return time.perf_counter() - began
            self._go_on(deadline)
            self.client.sleep(0, self.connection.wait, m.LIVENESS_MS / 1000)

    def rung(self, count: int) -> list[float]:
        """Seconds of ``count`` round trips with a service that sleeps before each."""
        times = []
        queue = self.client.queues[0]
        asleep = (m.CONTROL_AT + m.CONTROL_NEED_WAKEUP) >> 2
        for _ in range(count):
            deadline = time.monotonic() + _SECONDS
            while not self.memory.words[asleep]:
                self._go_on(deadline)
            began = time.perf_counter()
            self.client.post(m.OP_PING)
            while queue.take() is None:
                pass
            times.append(time.perf_counter() - began)
        return times

    def slept(self, count: int, flags: int) -> list[float]:
        """Seconds of ``count`` round trips, the client asleep until the message comes."""
        queue, times = self.client.queues[0], []
        for _ in range(count):
            deadline = time.monotonic() + _SECONDS
            began = time.perf_counter()
            self.client.post(m.OP_PING, flags=flags)
            while queue.take() is None:
                self.client.sleep(0, self.connection.wait, _SECONDS)
                self._go_on(deadline)
            times.append(time.perf_counter() - began)
        return times

    def _go_on(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise ToolError("the mailbox service does not answer", stage=STAGE)
        self.client.wake()

    def tick_seconds(self) -> float:
        """Seconds of one tick of the time-stamp counter."""
        began, first = time.perf_counter(), self.code.ticks()
        time.sleep(_CALIBRATION)
        ticks: int = self.code.ticks() - first
        return (time.perf_counter() - began) / ticks


@contextmanager
def session(folder: Path, name: str, device: str, spin: float) -> Iterator[Session]:
    """A service and its client."""
    options = Options(path=folder / name, device=device, spin=spin)
    with Supervisor(options) as supervisor:
        supervisor.wait_ready()
        # the supervisor accepts in ``turn``; the connection waits in its socket's queue meanwhile
        import threading

        over = threading.Event()
        turning = threading.Thread(target=supervisor.run, args=(over.is_set,))
        turning.start()
        try:
            made = Session(supervisor, folder / name)
            yield made
            made.memory.close()
            made.connection.close()
        finally:
            over.set()
            turning.join()


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
    header = _PING | m.FLAG_DEVICE
    samples: list[float] = []

    def direct(rows: int, times: int) -> list[float]:
        batch = np.zeros((rows, m.SLOT_SIZE // 4), np.uint32)
        batch[:, 0] = header
        return [measure.timed(lambda: device.drain(batch)) for _ in range(times)]

    def one() -> float:
        found = session.slept(SHADER, m.FLAG_DEVICE)
        samples.extend(found)
        return _at(found, 0.5)

    single = measure.interleave({"ours": one, "peer": lambda: _at(direct(1, SHADER), 0.5)}, ROUNDS)
    ui.step("shader commands in flight")
    many = measure.interleave(
        {
            "ours": lambda: session.burst(DEVICE, header, _BRIEF) / DEVICE,
            "peer": lambda: _at(direct(FLIGHT, DEVICE // FLIGHT), 0.5) / FLIGHT,
        },
        ROUNDS,
    )
    alone = bench_alone.Alone(device)
    batches = DEVICE // FLIGHT
    work = measure.interleave({"ours": lambda: alone.batches(batches, header) / (batches * FLIGHT)}, ROUNDS)
    name = device.name
    device.close()
    peer = "the same dispatch without a mailbox"
    return [
        measure.row(
            "shader round trip", single["ours"], peer, single["peer"], "us", _MICRO, device=name,
            **_tail(samples, _MICRO),
        ),
        measure.row(
            f"shader command, {FLIGHT} in flight", many["ours"], peer, many["peer"], "us", _MICRO, device=name
        ),
        measure.row(
            f"shader command, {FLIGHT} in flight, processor time in one process", work["ours"], "", [], "us", _MICRO,
            device=name,
        ),
    ]  # fmt: skip


def _guest(ui: Ui, folder: Path, polled: dict[str, Any]) -> list[dict[str, Any]]:
    """What the kernel in QEMU measures itself; the peer of its round trip is the floor measured before."""
    found = bench_guest.ask(ui, folder, [f"mailbox ping {POLLED}"] * ROUNDS, icount=False)
    trips = [answer["p50_ns"] / _NANO for answer in found]
    tail = {name: found[-1][f"{name}_ns"] for name in ("p50", "p99", "p999")}
    floor = [polled["peer_value"] / _NANO]
    posts = bench_guest.ask(ui, folder, ["mailbox ping 100"] * ROUNDS, icount=True)
    return [
        measure.row("polled round trip, guest", trips, polled["peer"], floor, "ns", _NANO, **tail),
        measure.row(
            "post of one command", [float(one["post_ticks"]) for one in posts], "", [], "instructions"
        ),
    ]


def _small(ui: Ui, session: Session) -> dict[str, Any]:
    ui.step("small commands")
    found = measure.interleave({"ours": lambda: SMALL / session.burst(SMALL, _PING, _PATIENCE)}, ROUNDS)
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
