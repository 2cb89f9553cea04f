"""A function run in a fork of this process, so that a second core shares the work of one build.

Owns: the fork, the memory that carries the result, and the child's end. A result is what ``marshal`` carries:
numbers, bytes, text, tuples, lists, dicts. Never retries: a child that fails gives no result, and the caller does
the work itself, where an exception reaches the person.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from toolchain.interrupts import uninterrupted


def available() -> bool:
    """Whether a fork can help: a second core, and no other thread that a fork would cut off."""
    return len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


class Forked:
    """Runs ``function`` in a fork, beginning now. ``cancel`` is to be called in the end, come what may.

    Args:
        function: what the child does; it must leave nothing behind but its result.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._source = self._memory = -1
        self._pid = 0
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            with (
                uninterrupted()
            ):  # in the child too: what interrupts it there must not unwind our caller's frames
                self._source, sink = os.pipe()
                self._memory = os.memfd_create("result")
                self._pid = os.fork()
                if self._pid == 0:
                    os.close(self._source)
                    _serve(function, self._memory, sink)
                os.close(sink)
        except BaseException:
            self.cancel()
            raise

    def result(self) -> object | None:
        """What the function returned, or None when the child failed. Waits for it, but not for the child's end."""
        done = os.read(self._source, 1)
        found: object | None = None
        if done:
            with mmap.mmap(self._memory, 0, prot=mmap.PROT_READ) as data:
                found = marshal.loads(data)
        self._close()
        return found

    def cancel(self) -> None:
        """End the child, if it has not ended, and wait for that."""
        self._close()
        with uninterrupted():
            if self._pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                self._pid = 0

    def _close(self) -> None:
        with uninterrupted():
            for descriptor in (self._source, self._memory):
                if descriptor >= 0:
                    os.close(descriptor)
            self._source = self._memory = -1


def _serve(function: Callable[[], object], memory: int, sink: int) -> None:
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # the parent says that it was interrupted
        found: Any = function()
        data = memoryview(marshal.dumps(found))
        while data:
            data = data[os.write(memory, data) :]
        os.write(sink, b"!")  # the parent goes on while this process is taken apart
        status = 0
    finally:
        os._exit(status)
