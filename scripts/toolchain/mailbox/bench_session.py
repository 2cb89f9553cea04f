"""A client in machine code of a service that runs in a process of its own: what ``pxos bench mailbox`` times.

Owns: starting the service, the session, the round trips one after the other and many at once, and what both
processes' processors spend on them. Never says what a figure means.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from toolchain.errors import ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.client import Client
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.supervisor import Options, Supervisor
from toolchain.mailbox.transport import Connection

STAGE = "bench"
FLIGHT = m.DEPTH
PATIENCE = 400_000_000  # looks at one completion: ten seconds and more
_CALIBRATION = 0.05  # seconds
_SECONDS = 60.0
_PING = m.OP_PING << m.OPCODE_SHIFT
_CPU_CLOCK = 2  # of a process, by its number (Linux, CPUCLOCK_SCHED)


class Command(NamedTuple):
    """A command of which many are open at once.

    Attributes:
        header: of its slot.
        mask: what of its index is its value, and its right result.
    """

    header: int
    mask: int


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
            made = self.code.ping(self.base, queue.submitted, count - done, at + 8 * done, header, PATIENCE)
            queue.submitted += made
            queue.consumed += made
            done += made
            self._go_on(deadline)
        return list(times)

    def burst(self, count: int, command: Command, patience: int) -> float:
        """Seconds of ``count`` commands with ``FLIGHT`` open at once, every answer looked at.

        Args:
            count: how many.
            command: which.
            patience: looks without an answer until the client sleeps for its message.

        Raises:
            ToolError: one was answered wrongly, or not at all.
        """
        queue = self.client.queues[0]
        state = array("Q", (queue.submitted, queue.consumed))
        end = queue.submitted + count
        deadline = time.monotonic() + _SECONDS
        began = time.perf_counter()
        while True:
            at, (header, mask) = state.buffer_info()[0], command
            done: int = self.code.burst(self.base, at, end, header, patience, FLIGHT, mask)
            queue.submitted, queue.consumed = state
            if done == native.WRONG:
                raise ToolError("the mailbox service gave a wrong answer", stage=STAGE)
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

    def spent(self) -> float:
        """Seconds of processor time that this thread and the service's process have had so far."""
        return time.thread_time() + time.clock_gettime(~self.supervisor.worker.pid << 3 | _CPU_CLOCK)

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
