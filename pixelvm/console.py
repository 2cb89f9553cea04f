"""A host whose console is the one of the person: output as it is written, input as it comes.

Owns when output is shown (at the end of a line, before input is waited for, at the end) and what a terminal is spared.
The screen, the clock and the mailbox are those of ``PlainHost``.
"""

from __future__ import annotations

import codecs
import sys

from pixelvm.host import PlainHost
from toolchain.printable import printable
from toolchain.process import tell

INPUT_MAX = 16 << 20  # bytes
_SHOWN = 1 << 12  # bytes that may wait for the end of their line
_CHUNK = 1 << 12


class ConsoleHost(PlainHost):
    """A ``PlainHost`` with the process's standard streams.

    Attributes:
        failed: why output could not be written; None also when its reader has gone.
    """

    def __init__(
        self, *, shows: bool, asks: bool, input: bytes, width: int, height: int, pixels: bytes
    ) -> None:
        """As ``PlainHost``.

        Args:
            shows: output goes to standard output, as text.
            asks: input that is not there yet is read from standard input.
            input: what the program can read at once.
            width: of the screen, in pixels.
            height: of the screen, in pixels.
            pixels: what the screen holds; empty: opaque black.
        """
        super().__init__(input=input, width=width, height=height, pixels=pixels)
        self.failed: OSError | None = None
        self._shows, self._asks = shows, asks
        self._waiting = bytearray()
        self._next = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = "\n"

    def begin(self, at: int) -> None:
        """See ``PlainHost.begin``."""
        super().begin(at)
        self._next = at

    def put(self, at: int, byte: int) -> None:
        """Show a byte when its line ends; one that was there before is not shown again."""
        super().put(at, byte)
        if not self._shows or at != self._next:
            return
        self._next = at + 1 & 0xFFFFFFFF
        self._waiting.append(byte)
        if byte == ord("\n") or len(self._waiting) >= _SHOWN:
            self.show_output()

    def get(self, at: int) -> int | None:
        """A byte of input, waited for where it can come."""
        while self._asks and at >= len(self.input):
            self.show_output()
            chunk = sys.stdin.buffer.read1(_CHUNK)  # type: ignore[union-attr]
            self.input += chunk
            self._asks = bool(chunk) and len(self.input) < INPUT_MAX
        return super().get(at)

    def show_output(self, end: bool = False) -> None:
        """Show what waits; at the ``end`` a line that is open is closed."""
        text = printable(self._decoder.decode(bytes(self._waiting), end))
        self._waiting.clear()
        if end and (text or self._last)[-1] != "\n":
            text += "\n"
        self._last = text[-1:] or self._last
        if text and self._shows and self.failed is None:
            self.failed = tell(text)
