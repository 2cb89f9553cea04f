"""What a subcommand of ``pxos`` is: the shape that ``cli.py`` and every ``commands/*.py`` agree on.

A command module has a docstring, ``HELP`` (one line), ``EXAMPLE`` (a command line), ``configure(parser)`` that
adds its arguments, and ``run(args, ui) -> Outcome``. It never prints to stdout and never exits: ``cli.py`` does
both, so that ``--json`` and the exit statuses are the same everywhere.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from toolchain.printable import printable

STATUS_OK = 0
STATUS_NO = 1
STATUS_INVALID = 2
STATUS_SPENT = 3
STATUS_INTERNAL = 4
STATUS_INTERRUPTED = 130


class Outcome(NamedTuple):
    """What a command has to say.

    Attributes:
        status: exit status of the contract (see ARCHITECTURE.md).
        data: the JSON object of ``--json``.
        text: the same for people, without a final newline; printed when ``--json`` is not given.
        spared: what the command has made and nobody needs any more. A process that ends with it leaves it to the
            system: to free many objects one by one takes longer.
    """

    status: int
    data: Mapping[str, Any] = MappingProxyType({})
    text: str = ""
    spared: object = None


class Ui:
    """Progress and colour: everything that is for the person's eyes while a command runs goes to stderr."""

    def __init__(
        self, stream: TextIO | None = None, *, quiet: bool = False, colour: bool | None = None
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.quiet = quiet
        self.terminal = self.stream.isatty()
        self.colour = colour if colour is not None else wants_colour(self.stream)
        self._began = time.monotonic()
        self._open_line = False

    def step(self, text: str) -> None:
        """One finished or begun step on a line of its own, with the seconds since the command began."""
        self._print(f"[{time.monotonic() - self._began:6.2f}s] {harmless(text)}")

    def note(self, text: str) -> None:
        """A line without a time."""
        self._print(harmless(text))

    def progress(self, text: str) -> None:
        """A line that the next one replaces (on a terminal; elsewhere nothing is printed)."""
        if self.quiet or not self.terminal:
            return
        self._write(f"\r\x1b[K{harmless(text)}")
        self._open_line = True

    def _print(self, text: str) -> None:
        if self.quiet:
            return
        clear = "\r\x1b[K" if self._open_line else ""
        self._open_line = False
        self._write(f"{clear}{text}\n")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self.quiet = True  # nobody reads it any more, or its disk is full: the work goes on


def wants_colour(stream: TextIO) -> bool:
    """True on a terminal unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


_SGR = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bold": 1, "dim": 2}


def paint(text: str, style: str, enabled: bool) -> str:
    """``text`` in an ANSI style (``"red"``, ``"bold"``, ...) when ``enabled``, else unchanged."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if enabled else text


_STYLE = re.compile(r"(\x1b\[(?:0|[12]|3[1-6])m)")  # what ``paint`` writes


def harmless(text: str) -> str:
    """``text`` without what drives a terminal or turns its order around; line ends, tabs and our styles stay.

    Sources, logs and names are of whoever wrote them: an escape sequence in a comment is no command to the terminal.
    """
    if text.isprintable():
        return text
    parts = _STYLE.split(text.replace("\r\n", "\n"))
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))
