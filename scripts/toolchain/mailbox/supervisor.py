"""The service as a whole: one process that holds memory and lines, and a worker in a process of its own that serves.

Owns: starting the worker again when it was killed, hung or lost its device, noticing that it stands still, handing the
lines to a client, ending everything. Nothing here waits without a bound. Never looks at a ring.
"""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from toolchain import launch
from toolchain.errors import ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox import memory as memories
from toolchain.mailbox.transport import Bells, Server, ring
from toolchain.mailbox.worker import EXIT_HALTED, EXIT_NO_DEVICE, Settings

STAGE = "mailbox"
WORKER = "toolchain.mailbox.worker"
START_SECONDS = 60.0  # to import, open a device and compile, on a loaded machine
PATIENCE = 5.0  # seconds without a heartbeat; a client gives up earlier, and is served again if it was wrong
FAILURES_MAX = 3  # workers in a row that end before they are ready
_TICK_MS = 20


@dataclass(frozen=True)
class Options:
    """What a service is asked for.

    Attributes:
        path: of the socket.
        size: bytes of the shared memory.
        device: see ``worker.DEVICES``.
        adapter: a part of the adapter's name, or None.
        heap: bytes of the device heap.
        answer_ms: bound on the time of a batch.
        spin: seconds of looking before sleeping.
        worker: command line of a worker without its settings.
        console: file descriptors of the UART: what is typed (None: nothing), and where it is written (None: nowhere).
    """

    path: Path
    size: int = m.BYTES_DEFAULT
    device: str = "auto"
    adapter: str | None = None
    heap: int = 16 << 20
    answer_ms: int = 5000
    spin: float = 200e-6
    worker: Sequence[str] = field(default=(sys.executable, "-m", WORKER))
    console: tuple[int | None, int | None] = (None, None)


class Supervisor:
    """As a context manager: the worker runs inside, and is ended with the lines at the end.

    Attributes:
        restarts: how often a worker was started again.
        halted: the client ended the session by HALT.
        worker: the process of the worker.
    """

    worker: subprocess.Popen[bytes]

    def __init__(self, options: Options, say: Callable[[str], None] = lambda text: None) -> None:
        self.options = options
        self.say = say
        self.restarts = 0
        self.halted = False
        self._failures = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            handle = memories.create(self.options.size)
            stack.callback(os.close, handle)
            self.memory = memories.Memory.of(handle)
            self._statistics = os.memfd_create("pxos-mailbox-statistics", os.MFD_CLOEXEC)
            stack.callback(os.close, self._statistics)
            os.ftruncate(self._statistics, mmap.PAGESIZE)
            self.counters = memoryview(mmap.mmap(self._statistics, mmap.PAGESIZE)).cast("Q")
            self.bells = Bells.make()
            stack.callback(self.bells.close)
            self.server = stack.enter_context(Server(self.options.path, handle, self.bells))
            self._handle = handle
            stack.callback(self._end)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ready(self) -> bool:
        """Whether the worker that runs now takes clients."""
        return self._ready

    @property
    def epoch(self) -> int:
        """Of the service."""
        return self.memory.words[(m.CONTROL_AT + m.CONTROL_EPOCH) >> 2]

    def wait_ready(self) -> None:
        """Turn until the worker is ready.

        Raises:
            ToolError: it will not be.
        """
        while not self._ready:
            self.turn()

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Turn until HALT or ``stop``.

        Raises:
            ToolError: no worker can be kept running.
        """
        while not (self.halted or stop()):
            self.turn()

    def turn(self) -> None:
        """Wait a moment for whatever can happen, and deal with it.

        Raises:
            ToolError: no worker can be kept running.
        """
        poller = select.poll()
        for handle in (self._pidfd, self.server.listener.fileno()):
            poller.register(handle, select.POLLIN)
        if self.server.client is not None:
            poller.register(self.server.client.fileno(), select.POLLIN)
        poller.poll(_TICK_MS)
        if self.server.gone():
            self.server.drop()
            self._session_over()
            self.say("the client has left")
        if self.server.accept():
            self.say("a client has come")
        self._watch()

    # --- the worker --------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        return Settings(
            memory=self._handle,
            statistics=self._statistics,
            service=self.bells.service,
            client=self.bells.client,
            device=self.options.device,
            adapter=self.options.adapter,
            heap=self.options.heap,
            answer_ms=self.options.answer_ms,
            spin=self.options.spin,
        )

    def _start(self) -> None:
        self._ready = False
        self._epoch_before = self.epoch
        typed, written = self.options.console
        command = [*self.options.worker, self._settings().to_argument()]
        self.worker = launch.spawn(
            command,
            stdin=subprocess.DEVNULL if typed is None else typed,
            stdout=subprocess.DEVNULL if written is None else written,
            stderr=2,
            pass_fds=(self._handle, self._statistics, *self.bells.service, *self.bells.client),
        )
        self._pidfd = os.pidfd_open(self.worker.pid)
        self._beat, self._seen = -1, time.monotonic()

    def _end(self) -> None:
        if hasattr(self, "worker"):
            launch.kill(self.worker)
            os.close(self._pidfd)
            del self.worker

    def _watch(self) -> None:
        """Whether the worker has become ready, stands still, or has ended."""
        now = time.monotonic()
        status = self.worker.poll()
        if status is not None:
            return self._ended(status)
        beat = self.memory.quads[(m.CONTROL_AT + m.CONTROL_HEARTBEAT) >> 3]
        if beat != self._beat:
            self._beat, self._seen = beat, now
        if not self._ready and self.epoch != self._epoch_before:
            said = self.memory.words[(m.CONTROL_AT + m.CONTROL_SERVICE_STATUS) >> 2]
            if said & m.SERVICE_READY:
                self._ready = True
                self._failures = 0
                self.say(f"ready, epoch {self.epoch}")
        if now - self._seen > (PATIENCE if self._ready else START_SECONDS):
            self.say("the worker stands still: ending it")
            launch.kill(self.worker)
            return self._ended(None)
        return None

    def _ended(self, status: int | None) -> None:
        was_ready = self._ready or self.epoch != self._epoch_before  # it may have been quicker than our tick
        if status == EXIT_HALTED:
            self.halted = True
            return
        self._failures = 0 if was_ready else self._failures + 1
        if status == EXIT_NO_DEVICE or self._failures >= FAILURES_MAX:
            raise ToolError("the mailbox's worker does not start: its reason is above", stage=STAGE)
        os.close(self._pidfd)
        launch.kill(self.worker)
        self.restarts += 1
        self.say(f"the worker ended (status {status}): starting it again")
        self._start()

    def _session_over(self) -> None:
        """Write for a client that can no more: its session is over."""
        self.memory.words[(m.CONTROL_AT + m.CONTROL_CLIENT_STATUS) >> 2] = 0
        ring(self.bells.service[0])
