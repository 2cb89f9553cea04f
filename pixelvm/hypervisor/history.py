"""Where a machine has been: checkpoints along its way, from which any earlier instruction is reached by running again.

Owns the checkpoints of machine and host together and how many of them are kept. Going back to instruction N restores
the checkpoint before it and runs on; the host is put back too, so that its answers are the same the second time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from pixelvm import reference, state
from pixelvm.host import PlainHost
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State

INTERVAL = 4096  # instructions between checkpoints, at first
KEPT = 64  # when there are more every second one goes and the interval doubles


class _Point(NamedTuple):
    """Machine and host before instruction number ``at``."""

    at: int
    machine: bytes
    output: int
    pixels: bytes
    shown: int
    outbox: tuple[int, ...]
    inbox: tuple[int, ...]


class History:
    """A machine under way, with its past.

    Attributes:
        at: instructions executed so far.
        state: the machine.
        host: what it reaches; a plain one, whose answers depend on nothing else.
        interval: between checkpoints.
    """

    def __init__(self, program: Program, begin: State, host: PlainHost) -> None:
        self.program, self.state, self.host = program, begin, host
        self.at = 0
        self.interval = INTERVAL
        self._points: list[_Point] = []
        self._keep()

    def step(self) -> bool:
        """One instruction; False when none was executed, because the machine stopped before it."""
        if self.state.stop is not Stop.RUNNING:
            return False
        if self.at >= self._points[-1].at + self.interval:
            self._keep()
        stop = reference.step(self.program, self.state, self.host)
        if stop not in (Stop.RUNNING, Stop.HALTED):
            return False
        self.at += 1
        return True

    def go(self, at: int) -> None:
        """Back to where ``at`` instructions had been executed, or on to there if the machine gets so far."""
        if at < self.at:
            self._restore(
                max((point for point in self._points if point.at <= at), key=lambda point: point.at)
            )
        while self.at < at and self.step():
            pass

    def checkpoint_before(self, at: int) -> int:
        """The last instruction before ``at`` that is reached without running."""
        return max((point.at for point in self._points if point.at < at), default=0)

    def _keep(self) -> None:
        host = self.host
        before = self._points[-1].pixels if self._points else b""
        pixels = before if before == host.pixels else bytes(host.pixels)  # most programs draw seldom
        self._points.append(
            _Point(
                self.at, state.save(self.state, self.program), len(host.output), pixels, host.shown,
                tuple(host.outbox), tuple(host.inbox),
            )
        )  # fmt: skip
        if len(self._points) > KEPT:
            del self._points[1::2]
            self.interval *= 2

    def _restore(self, point: _Point) -> None:
        self._points = [kept for kept in self._points if kept.at <= point.at]
        self.at = point.at
        self.state = state.restore(point.machine, self.program)
        host = self.host
        del host.output[point.output :]
        host.pixels[:] = point.pixels
        host.shown = point.shown
        host.outbox, host.inbox = deque(point.outbox), deque(point.inbox)
