"""One machine under the hypervisor: its quotas, its host behind a guard, and what became of it.

Owns the count of what a machine uses and the verdict. The guard is what keeps one machine's trouble its own: a host
that raises, and a program that calls too often, are noted and answered with the numbers for "cannot".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

from pixelvm import isa
from pixelvm.host import Host, PlainHost
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State

T = TypeVar("T")

FUEL = 10_000_000
CALLS = 1_000_000
_SAID_MAX = 500  # characters of what an exception says


def said(error: Exception) -> str:
    """What an exception says, in a line that fits a report."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:_SAID_MAX]


class Quota(NamedTuple):
    """What one machine may use in its life.

    Attributes:
        fuel: all slices together.
        memory: bytes; a program that wants more is not admitted.
        calls: system calls that reach the host (``random`` does not).
    """

    fuel: int = FUEL
    memory: int = isa.MEMORY_MAX
    calls: int = CALLS


class Status(Enum):
    """What a machine is doing, or why it does no more."""

    RUNNING = "running"
    HALTED = "halted"
    TRAPPED = "trapped"
    FUEL = "quota of fuel"
    CALLS = "quota of calls"
    REFUSED = "refused"
    FAILED = "failed"


class GuestHost(PlainHost):
    """A plain host whose mailbox leads nowhere until it is connected.

    Attributes:
        connected: words sent go into ``outbox``, those of ``inbox`` are received.
    """

    connected = False

    @property
    def begun(self) -> int:
        """Number of the first byte of ``output`` on the console."""
        return self._begun

    def send(self, word: int) -> bool:
        """As a full mailbox where nothing is connected."""
        return self.connected and super().send(word)

    def receive(self) -> int | None:
        """As an empty mailbox where nothing is connected."""
        return super().receive() if self.connected else None

    def connect(self, other: GuestHost | None) -> None:
        """Words go to and come from the other machine; None leaves both ends to the hypervisor's user."""
        self.connected = True
        if other is not None:
            other.connected = True
            self.outbox, other.outbox = other.inbox, self.inbox


class Guard:
    """A host as engines see it: counted, and never raising.

    Attributes:
        inner: the host.
        calls: that were made.
        limit: calls beyond it do nothing and are answered with "cannot".
        error: what ``inner`` raised first; after it nothing reaches it any more.
    """

    def __init__(self, inner: Host, limit: int) -> None:
        self.inner = inner
        self.calls = 0
        self.limit = limit
        self.error = ""

    def _ask(self, call: Callable[[], T], otherwise: T) -> T:
        self.calls += 1
        if self.error or self.calls > self.limit:
            return otherwise
        try:
            return call()
        except Exception as error:
            self.error = said(error)
            return otherwise

    def put(self, at: int, byte: int) -> None:
        """Console output."""
        self._ask(lambda: self.inner.put(at, byte), None)

    def get(self, at: int) -> int | None:
        """Console input."""
        return self._ask(lambda: self.inner.get(at), None)

    def milliseconds(self) -> int:
        """The clock."""
        return self._ask(self.inner.milliseconds, 0)

    def size(self) -> tuple[int, int]:
        """The screen."""
        return self._ask(self.inner.size, (0, 0))

    def plot(self, x: int, y: int, colour: int) -> None:
        """A pixel."""
        self._ask(lambda: self.inner.plot(x, y, colour), None)

    def pixel(self, x: int, y: int) -> int:
        """A pixel's colour."""
        return self._ask(lambda: self.inner.pixel(x, y), 0)

    def show(self) -> None:
        """The picture is complete."""
        self._ask(self.inner.show, None)

    def send(self, word: int) -> bool:
        """To the mailbox."""
        return self._ask(lambda: self.inner.send(word), False)

    def receive(self) -> int | None:
        """From the mailbox."""
        return self._ask(self.inner.receive, None)


@dataclass(eq=False)
class Guest:
    """A machine, what it may use and what it has used.

    Attributes:
        name: for reports: its file.
        program: within bounds.
        state: of the machine; its fuel is what is left of the slices given so far.
        guard: its host.
        quota: see there.
        engine: that ran it last, or shall run it first.
        given: fuel of all slices so far.
        slices: how often it ran.
        moves: how often it went on on another engine.
        failure: why it was refused or failed.
    """

    name: str
    program: Program
    state: State
    guard: Guard
    quota: Quota
    engine: str
    given: int = 0
    slices: int = 0
    moves: int = 0
    failure: str = ""
    refused: bool = False

    @property
    def spent(self) -> int:
        """Fuel."""
        return self.given - self.state.fuel

    @property
    def status(self) -> Status:
        """What it does, or why it does not."""
        if self.refused:
            return Status.REFUSED
        if self.failure or self.guard.error:
            return Status.FAILED
        if self.guard.calls > self.quota.calls:
            return Status.CALLS
        if self.state.stop is Stop.HALTED:
            return Status.HALTED
        if self.state.stop >= Stop.ILLEGAL:
            return Status.TRAPPED
        if self.state.stop is Stop.FUEL and self.given >= self.quota.fuel:
            return Status.FUEL
        return Status.RUNNING

    @property
    def why(self) -> str:
        """What was wrong, in words; empty where nothing was."""
        if self.failure or self.guard.error:
            return self.failure or f"its host: {self.guard.error}"
        if self.status is Status.TRAPPED:
            return f"{self.state.stop.name}: {isa.STOPS[self.state.stop]}"
        return ""


def admit(name: str, program: Program, state: State, host: Host, quota: Quota, engine: str) -> Guest:
    """A guest at its first slice; one that wants more memory than its quota is refused, and says so."""
    guest = Guest(name, program, state, Guard(host, quota.calls), quota, engine)
    state.fuel = 0
    if program.memory > quota.memory:
        guest.refused = True
        guest.failure = f"{program.memory} bytes of memory; its quota is {quota.memory}"
    return guest
