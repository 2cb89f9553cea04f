"""COM1 of a machine: what the guest says is kept in ``serial.log`` and read, what a person types goes to the guest.

Owns the file and its bound, the helpings in which the line is taken, and when the kernel last said anything of the
contract. Never concludes anything from what was said.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from io import RawIOBase
from typing import Protocol

from toolchain import boot_log, files, qemu_args
from toolchain.machine import Machine
from toolchain.serial import Happening, SerialLog
from toolchain.vigil import CHUNK, SERIAL_LIMIT

Progress = Callable[[Happening], None]


class Console(Protocol):
    """A person at the serial line: with one, a boot goes on after PXREADY until the guest or the person ends it."""

    def handles(self) -> list[int]:
        """File descriptors that become readable when the person types."""

    def typed(self, handle: int) -> bytes:
        """What was typed; raises whatever ends the session."""

    def show(self, data: bytes) -> None:
        """What the guest said."""


class Ear:
    """The line of one machine.

    Args:
        machine: started.
        began: when, by the monotonic clock.
        progress: called with every happening on the line as it arrives.
        console: the person at the line.

    Attributes:
        log: what was said, read.
        is_open: whether more can come.
        attended: whether a person is at it.
        moved: when the kernel last said more of the contract.
    """

    def __init__(
        self, machine: Machine, began: float, progress: Progress | None, console: Console | None
    ) -> None:
        self.log = SerialLog()
        self.is_open = True
        self.attended = console is not None
        self.moved = began
        self._machine = machine
        self._progress = progress
        self._console = console
        self._heard = 0  # how much of the contract the kernel has said
        self._written = 0
        self._unsent = b""  # typed, not taken by the guest yet

    def open(self, stack: ExitStack) -> None:
        """Open ``serial.log``, to be closed by ``stack``.

        Raises:
            InputError: it cannot be written.
        """
        path = self._machine.folder / boot_log.SERIAL_NAME
        try:
            # Without a buffer: to be read while it grows, and after a kill -9.
            self._file: RawIOBase = stack.enter_context(path.open("wb", buffering=0))
        except OSError as error:
            raise files.unwritable(path, error, stage=qemu_args.STAGE) from error

    def handles(self) -> list[int]:
        """File descriptors that become readable when a person types."""
        return self._console.handles() if self._console else []

    def type(self, handle: int, poller: select.poll) -> None:
        """Pass on what a person typed; a source that has ended is not asked again."""
        assert self._console is not None
        data = self._console.typed(handle)
        if not data:
            poller.unregister(handle)
        self._unsent += data
        self.send()
        self._unsent = self._unsent[-CHUNK:]

    def send(self) -> None:
        """What was typed and not taken yet."""
        if self._unsent:
            self._unsent = self._unsent[self._machine.write_serial(self._unsent) :]

    def listen(self) -> None:
        """Take one helping of what has arrived."""
        data = self._machine.read_serial(CHUNK)
        if data is None:
            return
        if not data:
            self.is_open = False
            return
        if self._written < SERIAL_LIMIT:
            self._keep(data[: SERIAL_LIMIT - self._written])
            self._written += len(data)
        if self._console:
            self._console.show(data)
        for happening in self.log.feed(data):
            if self._progress:
                self._progress(happening)
        heard = self.log.heard
        if heard > self._heard:
            self._heard, self.moved = heard, time.monotonic()

    def drain(self) -> None:
        """Take all that has arrived; the guest stands still or is gone, so this ends."""
        while self.is_open:
            before = self.log.received
            self.listen()
            if self.log.received == before:
                return

    def _keep(self, data: bytes) -> None:
        try:
            while data:  # a file without a buffer may take a part, on a disk that is nearly full
                data = data[self._file.write(data) :]
        except OSError as error:
            path = self._machine.folder / boot_log.SERIAL_NAME
            raise files.unwritable(path, error, stage=qemu_args.STAGE) from error
