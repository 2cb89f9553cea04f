"""What a program can reach through system calls: the interface, and a host of plain values that implements it.

Owns the Protocol that every engine calls. A host never fails and never changes the machine: it answers with numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pixelvm import isa
from pixelvm.isa import System


class Indexed(Protocol):
    """Arguments of a call, by index: a list, or memory of another language."""

    def __getitem__(self, index: int, /) -> int:
        """The argument."""


class Host(Protocol):
    """The outside of one machine. All numbers are unsigned and below 2^32; an engine takes answers modulo 2^32."""

    def put(self, at: int, byte: int) -> None:
        """Byte number ``at`` of the console's output: a machine that is replayed writes the same one again."""

    def get(self, at: int) -> int | None:
        """Byte number ``at`` of the console's input; None when it is not there (yet)."""

    def milliseconds(self) -> int:
        """The clock."""

    def size(self) -> tuple[int, int]:
        """Width and height of the screen in pixels; (0, 0) when there is none."""

    def plot(self, x: int, y: int, colour: int) -> None:
        """Set a pixel (R in the low byte); outside the screen nothing happens."""

    def pixel(self, x: int, y: int) -> int:
        """The colour of a pixel; 0 outside the screen."""

    def show(self) -> None:
        """The picture is complete."""

    def send(self, word: int) -> bool:
        """Put a word into the mailbox; False when it is full."""

    def receive(self) -> int | None:
        """Take a word out of the mailbox; None when it is empty."""


class Positions(Protocol):
    """The console's two positions, in a state or in a machine of another engine: bytes so far, modulo 2^32."""

    written: int
    read: int


def answered(host: Host, call: System, at: Positions, taken: Indexed) -> list[int]:
    """Do a system call for an engine in another language; ``reference`` says on its own what each means.

    Args:
        host: what is reached.
        call: which; not ``RANDOM``, which no host has to do with.
        at: where the console stands; moved on.
        taken: its arguments, the top of the stack last.

    Returns:
        What it leaves on the stack, below 2^32 each.
    """
    return [value & isa.MASK for value in _CALLS[call](host, at, taken)]


def _put(host: Host, at: Positions, taken: Indexed) -> tuple[int, ...]:
    host.put(at.written, taken[0] & 0xFF)
    at.written = at.written + 1 & isa.MASK
    return ()


def _get(host: Host, at: Positions, taken: Indexed) -> tuple[int, ...]:
    byte = host.get(at.read)
    if byte is None:
        return (isa.MASK,)
    at.read = at.read + 1 & isa.MASK
    return (byte & 0xFF,)


def _plot(host: Host, at: Positions, taken: Indexed) -> tuple[int, ...]:
    host.plot(taken[0], taken[1], taken[2])
    return ()


def _show(host: Host, at: Positions, taken: Indexed) -> tuple[int, ...]:
    host.show()
    return ()


def _receive(host: Host, at: Positions, taken: Indexed) -> tuple[int, ...]:
    word = host.receive()
    return (0, 0) if word is None else (word, 1)


_CALLS: dict[System, Callable[[Host, Positions, Indexed], tuple[int, ...]]] = {
    System.PUTC: _put,
    System.GETC: _get,
    System.TIME: lambda host, at, taken: (host.milliseconds(),),
    System.SIZE: lambda host, at, taken: host.size(),
    System.PLOT: _plot,
    System.PIXEL: lambda host, at, taken: (host.pixel(taken[0], taken[1]),),
    System.SHOW: _show,
    System.SEND: lambda host, at, taken: (int(host.send(taken[0])),),
    System.RECEIVE: _receive,
}

OUTPUT_MAX = 1 << 20  # bytes of console output that are kept
MAILBOX_MAX = 256  # words that wait in one direction


class PlainHost:
    """Console, clock, screen and mailbox as values: for tests, for batch runs, for comparing engines.

    Attributes:
        output: what the program wrote, its first ``OUTPUT_MAX`` bytes.
        input: what it can read.
        clock: what ``milliseconds`` gives; it stands still.
        width: of the screen, in pixels.
        height: of the screen, in pixels.
        pixels: the screen, row by row, four bytes each, R first.
        shown: how often the picture was complete.
        outbox: words that the program sent.
        inbox: words that it can receive.
    """

    def __init__(
        self, *, input: bytes = b"", clock: int = 0, width: int = 0, height: int = 0, pixels: bytes = b""
    ) -> None:
        self.output = bytearray()
        self._begun = 0
        self.input = input
        self.clock = clock
        self.width, self.height = width, height
        self.pixels = bytearray(pixels or bytes((0, 0, 0, 255)) * (width * height))
        self.shown = 0
        self.outbox: deque[int] = deque()
        self.inbox: deque[int] = deque()

    def begin(self, at: int) -> None:
        """The first byte of ``output`` is byte ``at`` of the console's: for a machine that goes on elsewhere."""
        self._begun = at

    def put(self, at: int, byte: int) -> None:
        """Keep a byte of output; one that is there already is written again where a machine is replayed."""
        place = (at - self._begun) & isa.MASK
        if place == len(self.output) < OUTPUT_MAX:
            self.output.append(byte)

    def get(self, at: int) -> int | None:
        """A byte of ``input``."""
        return self.input[at] if at < len(self.input) else None

    def milliseconds(self) -> int:
        """``clock``."""
        return self.clock & isa.MASK

    def size(self) -> tuple[int, int]:
        """``width`` and ``height``."""
        return self.width, self.height

    def plot(self, x: int, y: int, colour: int) -> None:
        """Set a pixel of ``pixels``."""
        if x < self.width and y < self.height:
            at = 4 * (y * self.width + x)
            self.pixels[at : at + 4] = colour.to_bytes(4, "little")

    def pixel(self, x: int, y: int) -> int:
        """A pixel of ``pixels``."""
        if x < self.width and y < self.height:
            at = 4 * (y * self.width + x)
            return int.from_bytes(self.pixels[at : at + 4], "little")
        return 0

    def show(self) -> None:
        """Count."""
        self.shown += 1

    def send(self, word: int) -> bool:
        """Append to ``outbox`` while there is room."""
        if len(self.outbox) >= MAILBOX_MAX:
            return False
        self.outbox.append(word)
        return True

    def receive(self) -> int | None:
        """The oldest of ``inbox``."""
        return self.inbox.popleft() if self.inbox else None
