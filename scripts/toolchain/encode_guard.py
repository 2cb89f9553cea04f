"""Keeps a worker process with Keystone in it alive and answers for it when it dies.

Owns the worker's life: start by fork (cheap, overlaps with what the caller does next) or, in a process with other
threads, by a fresh interpreter; pipes; deadlines; restart. A statement at which the worker dies or falls silent gets
a failure for a reply, every other one its answer. It knows nothing of encodings.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolchain.errors import ToolError
from toolchain.interrupts import uninterrupted

if TYPE_CHECKING:
    import subprocess

# Wall seconds without a sign of life. The worker ends itself after one CPU second in a call; these are for a worker
# that blocks without using the CPU, and for a machine under load.
SILENCE_LIMIT = 10.0
START_LIMIT = 60.0
_READY = b"ready\n"


class Guard:
    """Sends statements to a worker and collects the replies in order.

    Use as a context manager, or call ``close``.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._to = -1
        self._from = -1
        self._owner = os.getpid()
        self._ready = False
        self._deaths_unready = 0
        self._outgoing = b""
        self._incoming = b""
        self._waiting: deque[str] = deque()
        self._replies: deque[str] = deque()
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The worker's process, 0 when there is none that is this process's child."""
        return self._pid

    def start(self) -> None:
        """Start the worker now, so that it loads its libraries while the caller goes on."""
        self._adopt()
        if self._to >= 0:
            return
        self._reap()  # one that was dismissed
        with uninterrupted():
            self._start()

    def _start(self) -> None:
        request_read, reply_write = self._connect()
        if threading.active_count() == 1:
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                _child(request_read, reply_write)
            self._pid = pid
        else:
            import subprocess  # two milliseconds, and rarely needed

            command = [sys.executable, "-m", "toolchain.encode_worker", str(request_read), str(reply_write)]
            self._process = subprocess.Popen(
                command,
                pass_fds=(request_read, reply_write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._pid = self._process.pid
        os.close(request_read)
        os.close(reply_write)

    def start_with(self, twin: Guard) -> None:
        """Start the worker, and for ``twin`` a fork of it that has the libraries loaded already.

        ``twin`` is for a fork of this process, which calls ``claim`` on it; here ``close`` gives it up. When this
        process cannot fork, only this guard is started; the other one starts itself when it is used.
        """
        if self._to >= 0 or threading.active_count() > 1:
            self.start()
            return
        self._reap()
        with uninterrupted():
            ends = self._connect()
            twin_ends = twin._connect()
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                _child(*ends, twin_ends)
            self._pid = pid
            for descriptor in (*ends, *twin_ends):
                os.close(descriptor)

    def claim(self) -> None:
        """In a fork of the process that made it: take this guard over."""
        self._owner = os.getpid()

    def leave(self) -> None:
        """In a fork of the process that owns it: let go of the owner's worker."""
        self._adopt()

    def _connect(self) -> tuple[int, int]:
        """Open the pipes; returns the worker's ends: where it reads requests, where it writes replies."""
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        os.set_blocking(request_write, False)
        self._to, self._from = request_write, reply_read
        self._ready = False
        self._incoming = b""
        return request_read, reply_write

    def submit(self, lines: Sequence[str]) -> None:
        """Queue lines (``MODE STATEMENT``) without waiting for replies."""
        if not lines:
            return
        self.start()
        self._waiting.extend(lines)
        self._outgoing += "".join(f"{line}\n" for line in lines).encode("ascii")
        self._pump(0)

    def collect(self) -> list[str]:
        """Replies to everything submitted so far and not yet collected, in order.

        Raises:
            ToolError: when the worker cannot be started at all.
        """
        while self._waiting:
            self.start()
            limit = SILENCE_LIMIT if self._ready else START_LIMIT
            before = len(self._waiting), self._ready
            deadline = time.monotonic() + limit
            while self._waiting and (len(self._waiting), self._ready) == before:
                left = deadline - time.monotonic()
                if left <= 0 or not self._pump(left):
                    self._recover()
                    break
        replies = list(self._replies)
        self._replies.clear()
        return replies

    def close(self) -> None:
        """End the worker. It may be started again."""
        self.dismiss()
        self._reap()

    def dismiss(self) -> None:
        """End the worker without waiting until it is gone; ``close`` is to follow."""
        self._adopt()
        if self._to < 0:
            return
        with uninterrupted():
            os.close(self._to)
            os.close(self._from)
            self._to = self._from = -1
            self._kill()
            self._outgoing = b""

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _kill(self) -> None:
        if self._pid:  # a twin's worker is no child of ours: it ends when its pipe does
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _reap(self) -> None:
        with uninterrupted():  # it was killed: this does not take long
            if self._process is not None:
                self._process.wait()
                self._process = None
            elif self._pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self._pid, 0)
            self._pid = 0

    def _adopt(self) -> None:
        """In a fork of the owner: leave the owner's worker alone and begin without one."""
        if self._owner == os.getpid():
            return
        self._owner = os.getpid()
        for descriptor in (self._to, self._from):
            if descriptor >= 0:
                os.close(descriptor)
        self._to = self._from = -1
        self._pid, self._process = 0, None
        self._outgoing = b""
        self._waiting.clear()
        self._replies.clear()

    def _pump(self, timeout: float) -> bool:
        """Move bytes both ways, waiting up to ``timeout`` seconds for the first; False when the worker is gone."""
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if self._outgoing:
            poll.register(self._to, select.POLLOUT)
        for descriptor, _ in poll.poll(timeout * 1000):
            if descriptor == self._to:
                try:
                    sent = os.write(self._to, self._outgoing)
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    self._outgoing = b""  # it is dead; what it has answered is still to be read
                    continue
                self._outgoing = self._outgoing[sent:]
            else:
                data = os.read(self._from, 1 << 16)
                if not data:
                    return False
                self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        self._incoming += data
        if not self._ready:
            if not self._incoming.startswith(_READY):
                return
            self._ready = True
            self._deaths_unready = 0
            self._incoming = self._incoming[len(_READY) :]
        *lines, self._incoming = self._incoming.split(b"\n")
        for line in lines:
            self._replies.append(line.decode("ascii", "replace"))
            self._waiting.popleft()

    def _recover(self) -> None:
        """The worker died or hangs: start another one, and find the statement that did it by running it alone."""
        was_ready = self._ready
        self._kill()
        while data := os.read(self._from, 1 << 16):
            self._take(data)
        self.close()
        self.restarts += 1
        if not was_ready:
            self._deaths_unready += 1
            if self._deaths_unready >= 3:
                self._waiting.clear()
                raise ToolError(
                    "the Keystone worker does not start: check that keystone-engine and capstone are installed",
                    stage="encode",
                    command=(sys.executable, "-m", "toolchain.encode_worker"),
                )
        elif self._waiting:
            first = self._waiting.popleft()
            if first.startswith("!"):
                self._replies.append("!Keystone died or hung on this statement")
            else:
                # Whoever killed it is in the chunk that begins here: run each of that chunk alone.
                self._waiting.appendleft(first)
                for index in range(min(len(self._waiting), _CHUNK)):
                    if not self._waiting[index].startswith("!"):
                        self._waiting[index] = "!" + self._waiting[index]
        self._outgoing = "".join(f"{line}\n" for line in self._waiting).encode("ascii")


_CHUNK = 48


def _child(source: int, sink: int, twin: tuple[int, int] | None = None) -> None:
    """The forked worker: drop everything inherited but its descriptors, serve, leave."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        top = os.sysconf("SC_OPEN_MAX")
        kept = sorted((2, source, sink, *(twin or ()), top))
        for low, high in itertools.pairwise(kept):
            os.closerange(low + 1, high)
        from toolchain.encode_worker import serve

        serve(source, sink, twin)
        status = 0
    except BrokenPipeError:
        status = 0
    finally:
        os._exit(status)
