"""Watching a command that is not trusted: its output, its processes, what it takes of memory and disk, its end.

Owns the pipes, the wait with its limits, and the certainty that nothing is left. Never starts anything: ``sandbox``
does, and says what the limits are.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolchain.errors import ToolError

STAGE = "sandbox"
Ending = Literal["exit", "deadline", "output", "disk", "memory"]
KEPT = 64 << 10  # bytes of output kept from its beginning, and as many from its end

_LOOK_SECONDS = 0.2  # between two looks at memory and disk
_CHUNK = 1 << 16
_END_SECONDS = 10.0  # between the kill and the end of a sandbox; only a stuck system takes longer
_CHILD = re.compile(rb'"child-pid":\s*(\d+)')
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512  # bytes that st_blocks counts in


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use.

    Attributes:
        seconds: wall time.
        cpu: CPU seconds of one process.
        address_space: bytes of one process.
        memory: resident bytes of all its processes together.
        file: bytes of one file.
        processes: at one time, threads counted.
        disk: bytes in the writable folders, what was there before included.
        output: bytes on standard output and error.
    """

    seconds: float = 120.0
    cpu: int = 120
    address_space: int = 4 << 30
    memory: int = 2 << 30
    file: int = 512 << 20
    processes: int = 128
    disk: int = 1 << 30
    output: int = 16 << 20


class Pipe:
    """Both ends of a pipe, closed at the end of the block."""

    def __enter__(self) -> Pipe:
        self.read, self.write = os.pipe2(os.O_CLOEXEC)
        return self

    def close_write(self) -> None:
        """Leave the writing to whoever inherited it."""
        os.close(self.write)
        self.write = -1

    def __exit__(self, *exception: object) -> None:
        for handle in (self.read, self.write):
            if handle >= 0:
                os.close(handle)


def first_process(handle: int, seconds: float) -> int | None:
    """A handle to the first process of the sandbox, as bubblewrap tells it; None where there is none (any more)."""
    told = b""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    while poller.poll(seconds * 1000) and (data := os.read(handle, _CHUNK)):
        told += data
    found = _CHILD.search(told)
    with suppress(ProcessLookupError):
        return os.pidfd_open(int(found[1])) if found else None
    return None


def gone(handle: int | None) -> None:
    """Wait until the first process of a sandbox has ended: the system ends all others before it."""
    if handle is None:
        return
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(_END_SECONDS * 1000):
            raise ToolError("the processes of a sandbox do not die", stage=STAGE)
    finally:
        os.close(handle)


class Output:
    """What comes through a pipe: its beginning and its end, and how much it was."""

    def __init__(self, handle: int, most: int) -> None:
        os.set_blocking(handle, False)
        self.handle = handle
        self.most = most
        self.size = 0
        self.open = True
        self._head = bytearray()
        self._tail = bytearray()

    def take(self) -> None:
        """Read what has arrived, at most one pipe's worth, so that a limit is seen soon."""
        for _ in range(16):
            try:
                data = os.read(self.handle, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self.open = False
                return
            self.size += len(data)
            room = max(0, KEPT - len(self._head))
            self._head += data[:room]
            self._tail = (self._tail + data[room:])[-KEPT:]

    def text(self) -> str:
        """The output; what was left out of its middle is said."""
        lost = self.size - len(self._head) - len(self._tail)
        middle = f"\n... {lost} bytes left out ...\n".encode() if lost > 0 else b""
        return (bytes(self._head) + middle + bytes(self._tail)).decode("utf-8", "replace")


def watch(pid: int, said: Output, folders: Sequence[Path], limits: Limits, began: float) -> Ending:
    """Wait for the end of a process, or for the first limit that it breaks."""
    handle = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.register(said.handle, select.POLLIN)
    try:
        look = began + _LOOK_SECONDS
        while True:
            now = time.monotonic()
            if now >= began + limits.seconds:
                return "deadline"
            until = min(began + limits.seconds, look) - now
            ready = poller.poll(max(0.0, until) * 1000 + 1)
            if said.open:
                said.take()
                if not said.open:
                    poller.unregister(said.handle)
            if said.size > limits.output:
                return "output"
            if any(number == handle for number, _ in ready):
                said.take()
                return "exit"
            if time.monotonic() >= look:
                look = time.monotonic() + _LOOK_SECONDS
                if sum(used(folder) for folder in folders) > limits.disk:
                    return "disk"
                if _resident(pid) > limits.memory:
                    return "memory"
    finally:
        os.close(handle)


def used(folder: Path) -> int:
    """Bytes that a folder takes on its disk."""
    total = 0
    for path in below(folder):
        with suppress(OSError):
            total += os.lstat(path).st_blocks * _BLOCK
    return total


def _resident(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    total, waiting = 0, [pid]
    while waiting:
        number = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{number}/statm").read_text().split()[1]) * _PAGE
            for task in Path(f"/proc/{number}/task").iterdir():
                children = (task / "children").read_text()
                waiting += [int(word) for word in children.split()]
    return total


def below(folder: Path) -> Iterator[str]:
    """Every file and folder in a folder; links are not followed."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            yield f"{place}/{name}"
