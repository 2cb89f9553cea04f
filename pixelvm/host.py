"""What a program can reach through system calls: the interface, and a host of plain values that implements it.

Owns the Protocol that every engine calls. A host never fails and never changes the machine: it answers with numbers.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from pixelvm import isa


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
