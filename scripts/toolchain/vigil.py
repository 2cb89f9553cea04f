"""What every watch over a running machine has, whatever kernel runs in it.

Owns: the handle by which the end of QEMU is noticed, the seconds without a core that a deadline makes up for, the bound
of QEMU's log and the reading of it, what has been concluded so far. Never decides how a boot ended: ``qemu`` does for
our kernel, ``foreign.watch`` for any other.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack
from math import inf
from typing import Self

from toolchain import boot_log, qemu_args, qemulog
from toolchain.machine import Machine, process_handle
from toolchain.types import OutcomeName, Snapshot

LOG_LIMIT = 64 << 20  # bytes of QEMU's log; a guest that faults for ever writes 150 MB a second
LOG_TEXT = 1 << 20  # bytes of QEMU's log kept in the result, from its end
SERIAL_LIMIT = 16 << 20  # bytes that are kept of what the guest says
CHUNK = 1 << 16  # bytes that are taken of it at once
GRACE_SECONDS = 1.0  # from the end of a report to what must follow it, on a loaded machine
PAUSE_SECONDS = 0.001  # between two looks: the UART writes single bytes, and each would wake us from a poll
TICK = 1000  # milliseconds in a second, for ``poll``


class Vigil:
    """The watch over one boot, as a context manager.

    Args:
        machine: started.
        began: when, by the monotonic clock.
        most_starved: seconds without a core that are made up for at most.

    Attributes:
        outcome: how the boot ended, once that is known; ``ended`` is when.
        snapshot: the machine as it stood then.
        status: QEMU's exit status, where it ended by itself.
        handle: becomes readable when QEMU ends.
    """

    def __init__(self, machine: Machine, began: float, most_starved: float = inf) -> None:
        self.machine = machine
        self.began = began
        self.ended = began
        self.outcome: OutcomeName | None = None
        self.snapshot: Snapshot | None = None
        self.status: int | None = None
        self._starved = 0.0
        self._most_starved = most_starved
        self._logging = True

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.handle = process_handle(self.machine.process)
            stack.callback(os.close, self.handle)
            self.open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def open(self, stack: ExitStack) -> None:
        """What else is open while the watch lasts."""

    def newly_starved(self) -> float:
        """Seconds without a core for the machine since this was last asked: they are no silence of the kernel."""
        starved = min(self.machine.starved_seconds(), self._most_starved)
        more, self._starved = starved - self._starved, starved
        return more

    def limit_log(self) -> None:
        """No more records once QEMU's log is as long as it may be."""
        if self._logging and self.machine.log_size() > LOG_LIMIT:
            self.machine.stop_log()
            self._logging = False

    def log_tail(self) -> bytes:
        """The end of QEMU's log."""
        return boot_log.tail(self.machine.folder / qemu_args.LOG_NAME, LOG_TEXT)

    def parsed_log(self) -> qemulog.QemuLog:
        """The records in the end of QEMU's log."""
        return qemulog.parse(self.log_tail())

    def await_exit(self, seconds: float) -> None:
        """Wait a while for QEMU to end by itself, and note its status."""
        poller = select.poll()
        poller.register(self.handle, select.POLLIN)
        if poller.poll(seconds * TICK):
            self.status = self.machine.process.wait()
