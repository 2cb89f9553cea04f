"""A kernel that waits at its shell, to be asked as often as one likes.

Owns: one QEMU from its boot to ``close``, the conversation over its serial line, the deadline of every answer. The
machine is TCG, has no network and no host file but the kernel itself. Whatever ends an answer early (a deadline, a
fault, Ctrl-C) ends the machine: one whose state is not known is not asked again.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from toolchain.errors import GuestFault, InputError, Timeout, ToolError
from toolchain.printable import printable

if TYPE_CHECKING:
    from toolchain.machine import Machine
    from toolchain.walk import Reader

STAGE = "live"
PROMPT = "px> "
LINE_MAX = 255  # characters that the shell's editor takes
START_SECONDS = 20.0
ANSWER_SECONDS = 10.0
SAID_MAX = 1 << 20  # characters of one answer
READ_MAX = 1 << 16  # bytes of physical memory read at once

_T = TypeVar("_T")
_CHUNK = 1 << 16
_TICK = 1000  # milliseconds in a second
_TAIL = 4000  # characters of what a machine said before it ended


class LiveKernel:
    """One kernel at its shell.

    Args:
        elf: the linked kernel.
        folder: an existing folder for QEMU's log.
    """

    def __init__(self, elf: Path, folder: Path) -> None:
        self.elf = elf
        self.folder = folder
        self.machine: Machine | None = None
        self._ends = ExitStack()

    def start(self, seconds: float = START_SECONDS) -> None:
        """Boot up to the first prompt.

        Raises:
            ToolError: QEMU is missing.
            GuestFault: the kernel ended before its shell.
            Timeout: it did not reach it in time.
        """
        from toolchain import qemu_args
        from toolchain.machine import Machine
        from toolchain.types import BootConfig

        config = BootConfig(self.elf)
        qemu_args.check(config)
        arguments = qemu_args.machine_arguments(config, "tcg") + qemu_args.watch_arguments()
        self.machine = self._ends.enter_context(Machine(arguments, self.folder))
        self._until(f"\n{PROMPT}", seconds, "the boot")

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.machine is not None and self.machine.process.poll() is None

    def close(self) -> None:
        """End QEMU."""
        self.machine = None
        self._ends.close()

    def ask(self, line: str, seconds: float = ANSWER_SECONDS) -> str:
        """What the shell prints for a line, without the line itself and without the prompt.

        Raises:
            InputError: the line is none that the shell could read.
            GuestFault: the kernel ended over it; the message holds what it said.
            Timeout: no prompt in time.
        """
        if not line.isascii() or not line.isprintable() or not 0 < len(line) <= LINE_MAX:
            raise InputError(f"give one line of 1 to {LINE_MAX} printable ASCII characters", stage=STAGE)
        self._send(line.encode() + b"\r", seconds)
        said = self._until(f"\n{PROMPT}", seconds, repr(line))
        return said.replace("\r\n", "\n").partition("\n")[2].strip("\n")

    def registers(self) -> dict[str, int]:
        """Registers of the first processor, while the machine stands still for a moment."""
        return self._still(lambda machine: machine.registers())

    def reader(self) -> Reader:
        """Reads physical memory of the machine as it is at that moment."""

        def read(physical: int, size: int) -> bytes | None:
            if not 0 <= size <= READ_MAX:
                return None
            return self._still(lambda machine: machine.read_physical(physical, size))

        return read

    def _still(self, look: Callable[[Machine], _T]) -> _T:
        machine = self._running()
        machine.stop()
        try:
            return look(machine)
        finally:
            machine.resume()

    def _running(self) -> Machine:
        if self.machine is None:
            raise InputError("the live kernel has ended; ask again to boot it anew", stage=STAGE)
        return self.machine

    def _send(self, data: bytes, seconds: float) -> None:
        machine = self._running()
        assert machine.process.stdin is not None
        until = time.monotonic() + seconds
        poller = select.poll()
        poller.register(machine.process.stdin.fileno(), select.POLLOUT)
        while data:
            data = data[machine.write_serial(data) :]
            if data and not poller.poll(max(0.0, until - time.monotonic()) * _TICK):
                self.close()
                raise Timeout("the kernel's serial line takes no more", stage=STAGE)

    def _until(self, mark: str, seconds: float, what: str) -> str:
        """Read up to a mark; whatever else ends the reading ends the machine."""
        try:
            return self._read_until(mark, seconds, what)
        except BaseException:
            self.close()
            raise

    def _read_until(self, mark: str, seconds: float, what: str) -> str:
        from toolchain.machine import process_handle

        machine = self._running()
        until = time.monotonic() + seconds
        said = bytearray()
        ending = mark.encode()
        with ExitStack() as stack:
            ended = process_handle(machine.process)
            stack.callback(_close, ended)
            poller = select.poll()
            for number in (machine.serial_handle, machine.qmp.fileno(), ended):
                poller.register(number, select.POLLIN)
            while not said.endswith(ending):
                ready = poller.poll(max(0.0, until - time.monotonic()) * _TICK)
                data = machine.read_serial(_CHUNK)
                said += data or b""
                if data:
                    continue
                machine.qmp.pump()
                over = any(event.name in ("GUEST_PANICKED", "SHUTDOWN") for event in machine.qmp.events)
                if over or machine.qmp.closed or data == b"" or any(number == ended for number, _ in ready):
                    raise self._ended(said, what)
                machine.qmp.events.clear()
                if time.monotonic() >= until or len(said) > SAID_MAX:
                    raise Timeout(
                        f"no prompt within {seconds:g} s of {what}; the machine was ended."
                        f" The last it said:\n{_tail(said)}",
                        stage=STAGE,
                    )
        return said[: -len(ending)].decode("latin-1")

    def _ended(self, said: bytearray, what: str) -> GuestFault | ToolError:
        machine = self._running()
        if not said and machine.stderr_tail():
            return ToolError(f"QEMU ended: {machine.stderr_tail()}", stage=STAGE)
        return GuestFault(f"the machine ended over {what}. The last it said:\n{_tail(said)}", stage=STAGE)


def _tail(said: bytearray) -> str:
    text = said.decode("latin-1").replace("\r\n", "\n")[-_TAIL:].strip()
    return printable(text, "\n", " ")


def _close(number: int) -> None:
    import os

    os.close(number)
