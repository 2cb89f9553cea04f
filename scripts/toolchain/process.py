"""This process as the system sees it: its standard streams, and the signals that ask it to end.

Owns: streams that exist and can say every character, Ctrl-C, SIGTERM and SIGHUP as exceptions that unwind (so that
every clean-up runs), output whose reader has gone. Used by the ``pxos`` command alone: a library leaves its process
as it is. Never decides an exit status.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

ASKED_TO_END = (signal.SIGTERM, signal.SIGHUP)
_ONCE_SECONDS = 1.0  # a second Ctrl-C so soon is the same wish, and must not break the clean-up off
_LATER_SECONDS = 0.005
_STREAMS = ((0, "stdin", "r", os.O_RDONLY), (1, "stdout", "w", os.O_WRONLY), (2, "stderr", "w", os.O_WRONLY))


class Ended(SystemExit):
    """SIGTERM or SIGHUP came: unwind and leave with 128 plus its number, as a shell says it.

    Attributes:
        name: of the signal.
        status: the exit status.
    """

    def __init__(self, number: int) -> None:
        self.status = 128 + number
        super().__init__(self.status)
        self.name = signal.Signals(number).name


class Process:
    """As a context manager around a whole command: streams and signals in order, and at its end nothing interrupts.

    A launcher may start Python with SIGINT blocked (``env --block-signal=INT``), so that none comes before there is
    somebody to take it: ``listen`` lets it through.

    Attributes:
        spared: an ``Outcome``'s; where there is any, ``leave`` ends the process.
    """

    def __init__(self) -> None:
        self.spared: object = None
        self._last = -_ONCE_SECONDS
        self._asked = False

    def __enter__(self) -> Process:
        _repair_streams()
        sys.unraisablehook = self._unraisable
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # ignored: a shell's background job
            signal.signal(signal.SIGINT, self._interrupt)
        for number in ASKED_TO_END:
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
                signal.signal(number, self._end)
        return self

    def listen(self) -> None:
        """From here on a wish to end is an exception: one that came earlier, at once."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, *ASKED_TO_END))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """From here to the end of the process an interruption could only garble what was said."""
        for number in (signal.SIGINT, *ASKED_TO_END):
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= _ONCE_SECONDS:
            self._last = now
            self._asked = True
            raise KeyboardInterrupt

    def _end(self, number: int, frame: FrameType | None) -> None:
        for other in ASKED_TO_END:
            signal.signal(other, signal.SIG_IGN)
        self._asked = True
        raise Ended(number)

    def _unraisable(self, what: sys.UnraisableHookArgs) -> None:
        """A wish to end that came inside a destructor or a callback is asked again where it can be heard.

        What else goes wrong there once somebody asked (a C library's callback that was cut off) is no news.
        """
        wish = what.exc_value
        if not isinstance(wish, KeyboardInterrupt | Ended):
            if not self._asked:
                sys.__unraisablehook__(what)
            return

        def again(number: int, frame: FrameType | None) -> None:
            raise wish

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)


def leave(status: int) -> NoReturn:
    """End this process with a status, at once after its exit handlers.

    For a command that was interrupted: tearing the interpreter down takes milliseconds in which the signal has its
    default meaning again for a part of the time; seen once in some hundred interruptions: the line was said, and the
    process had died of SIGINT. And for one that has nothing open and much in memory.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _repair_streams() -> None:
    """A stream that is closed becomes /dev/null; a character that a stream's encoding lacks is escaped.

    With a closed one, the next file that is opened would take its number and be written to by every child.
    """
    for number, name, mode, flags in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def say(text: str) -> OSError | None:
    """Print ``text`` and the end of a line on standard output; as ``tell``."""
    return tell(text + "\n")


def tell(text: str) -> OSError | None:
    """Write ``text`` to standard output, at once.

    Returns:
        None, also when the reader has gone (it has what it wanted); else why it could not be written. What was not
        written is dropped then, so that the end of the process does not try again.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        nobody_reads()
        return None if isinstance(error, BrokenPipeError) else error
    return None


def nobody_reads() -> None:
    """Let what standard output still holds go nowhere, so that the end of the process does not fail at it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
