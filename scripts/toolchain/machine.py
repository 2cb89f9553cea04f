"""One running QEMU: its process, its serial line and its QMP monitor, as a context manager.

Owns: starting QEMU on two pipes and a socket pair, ending it with its whole process group whatever happens, and
reading the machine while it stands still (registers, physical memory, BARs, screen). Never judges what the guest
does: ``qemu.boot`` does.

The serial line is a pipe and not a socket, because the UART writes single bytes: a socket buffer holds 277 of them,
a pipe as many as it has bytes.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from toolchain import files, launch, qemu_args, qemulog
from toolchain.errors import ToolError
from toolchain.interrupts import uninterrupted
from toolchain.qmp import Qmp, QmpClosed, QmpError
from toolchain.types import PciBar, Screen

STDERR_NAME = "qemu.err"
_MEMORY_NAME = "memory.tmp"
_SCREEN_NAME = "screen.tmp"
_PIPE_BYTES = 1 << 20  # the most that an unprivileged user may have
_STDERR_TAIL = 2000  # characters
_PPM = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
NANOSECONDS = 1_000_000_000  # in a second
_TERMINATED = 128 + signal.SIGTERM
# QEMU makes 10 MB of small objects while it starts: in huge pages that is 3,000 page faults less, 6 ms of 36. The
# variable is glibc's; what a version of it or another C library does not know is ignored.
_TUNABLES = "GLIBC_TUNABLES"
_QUICK_HEAP = "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=33554432:glibc.malloc.arena_max=1"


class Machine:
    """QEMU with COM1 and QMP at hand.

    Args:
        arguments: QEMU's argument vector without its lines to the host (``qemu_args``).
        folder: an existing folder: QEMU's working folder, where its log and standard error go.
        handles: file descriptors that the arguments name, inherited under the same numbers.

    Attributes:
        command: the whole argument vector.
        qmp: the monitor.
        process: QEMU's process; it leads a process group of its own.
    """

    qmp: Qmp
    process: subprocess.Popen[bytes]

    def __init__(self, arguments: Sequence[str], folder: Path, handles: Sequence[int] = ()) -> None:
        self.arguments = tuple(arguments)
        self.handles = tuple(handles)
        self.command: tuple[str, ...] = self.arguments
        self.folder = folder
        self._prefix = ""  # what leads from QEMU's working folder to ``folder``
        self._stack = ExitStack()

    def __enter__(self) -> Machine:
        """Start QEMU.

        Raises:
            InputError: the folder cannot be written.
            ToolError: QEMU is missing, or setpriv where it is needed.
        """
        with ExitStack() as stack:
            stack.enter_context(terminable())
            control, control_there = socket.socketpair()
            stack.callback(control.close)
            with control_there, self._open_stderr() as errors:
                number = control_there.fileno()
                self.command = self.arguments + tuple(qemu_args.line_arguments(number))
                with uninterrupted():
                    self.process = launch.spawn(
                        self.command,
                        folder=self.folder,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        pass_fds=(number, *self.handles),
                        environment=quick_environment(os.environ),
                    )
                    stack.callback(self._end)
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            with suppress(OSError):  # the user's allowance for pipes may be used up
                fcntl.fcntl(self.serial_handle, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self.qmp = Qmp(control)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End QEMU and everything it started."""
        self._stack.close()

    def kill(self) -> int | None:
        """End QEMU now; its exit status when it had ended by itself, else None."""
        return launch.kill(self.process)

    @property
    def serial_handle(self) -> int:
        """The file descriptor to poll for serial output."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def read_serial(self, size: int) -> bytes | None:
        """What COM1 has sent, up to ``size`` bytes: ``b""`` when QEMU has gone, None when nothing waits."""
        try:
            return os.read(self.serial_handle, size)
        except BlockingIOError:
            return None

    def write_serial(self, data: bytes) -> int:
        """Type into COM1; how many bytes were taken (fewer while the guest does not read)."""
        assert self.process.stdin is not None
        try:
            return os.write(self.process.stdin.fileno(), data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)  # QEMU has gone, the watch on its process tells

    def stop(self) -> None:
        """Hold the processors, so that what is read belongs to one moment."""
        self.qmp.execute("stop")

    def resume(self) -> None:
        """Let the guest go on."""
        self.qmp.execute("cont")

    def registers(self) -> dict[str, int]:
        """Registers of the first processor, as ``qemulog.parse_registers`` names them."""
        return qemulog.parse_registers(self.qmp.monitor("info registers"))

    def read_physical(self, address: int, size: int) -> bytes:
        """``size`` bytes of guest physical memory (at most a few megabytes); zeros where nothing answers."""
        path = self.folder / _MEMORY_NAME
        try:
            self.qmp.execute("pmemsave", val=address, size=size, filename=self._prefix + _MEMORY_NAME)
            return path.read_bytes()
        except QmpClosed:
            raise
        except QmpError as error:
            text = f"{path}: {error.message}; choose a writable folder with free space"
            raise ToolError(text, stage=qemu_args.STAGE) from error
        finally:
            path.unlink(missing_ok=True)

    def bars(self) -> tuple[PciBar, ...]:
        """The BARs of every PCI function behind every bridge, in bus order."""
        return tuple(_bars(self.qmp.execute("query-pci")))

    def screenshot(self) -> Screen | None:
        """What the display shows, or None without a display."""
        path = self.folder / _SCREEN_NAME
        try:
            self.qmp.execute("screendump", filename=self._prefix + _SCREEN_NAME)
            return parse_ppm(path.read_bytes())
        except QmpClosed:
            raise
        except QmpError:
            return None  # no console to take a picture of
        finally:
            path.unlink(missing_ok=True)

    def log_size(self) -> int:
        """Bytes that QEMU has logged so far."""
        try:
            return (self.folder / qemu_args.LOG_NAME).stat().st_size
        except FileNotFoundError:
            return 0

    def stop_log(self) -> None:
        """No more records: a guest that faults for ever would fill the disk."""
        self.qmp.monitor("log none")

    def starved_seconds(self) -> float:
        """How long QEMU's busiest thread was ready to run and had no core; 0 where the scheduler does not count it."""
        return self.scheduled()[1]

    def scheduled(self) -> tuple[float, float]:
        """Seconds that QEMU's busiest thread was on a core, and the longest that one was ready to run and had none."""
        return scheduled(self.tasks())

    def tasks(self) -> Path:
        """Where the system tells of QEMU's threads: the process that was started, or what a sandbox started in it."""
        number = self.process.pid
        with suppress(OSError, ValueError, IndexError):  # it ends, or the system does not tell
            while children := Path(f"/proc/{number}/task/{number}/children").read_text().split():
                number = int(children[0])
        return Path(f"/proc/{number}/task")

    def stderr_tail(self) -> str:
        """QEMU's own last lines."""
        with suppress(FileNotFoundError):
            return (self.folder / STDERR_NAME).read_text("utf-8", "replace")[-_STDERR_TAIL:].strip()
        return ""

    def _end(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _open_stderr(self) -> Any:
        path = self.folder / STDERR_NAME
        try:
            (self.folder / qemu_args.LOG_NAME).unlink(missing_ok=True)
            return path.open("wb")
        except OSError as error:
            raise files.unwritable(path, error, stage=qemu_args.STAGE) from error


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that QEMU and temporary folders go with us.

    Only where nobody else handles it, and only in the main thread (Python allows no other).
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def counted(tasks: Path) -> dict[str, tuple[float, float]]:
    """How long, in seconds, each thread of those in ``tasks`` ran and waited for a core; none where none tells.

    Source: Linux ``Documentation/scheduler/sched-stats.rst``, ``/proc/PID/schedstat``.
    """
    found = {}
    for path in tasks.glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # the thread has ended
            times = [int(word) for word in path.read_text().split()]
            found[path.parent.name] = (times[0] / NANOSECONDS, times[1] / NANOSECONDS)
    return found


def scheduled(tasks: Path, before: Mapping[str, tuple[float, float]] | None = None) -> tuple[float, float]:
    """The longest times, in seconds, that threads of those in ``tasks`` ran and waited for a core; 0 where none tells.

    Args:
        tasks: as for ``counted``.
        before: what had been counted when the time began that is asked for.
    """
    ran = waited = 0.0
    for name, times in counted(tasks).items():
        was = (before or {}).get(name, (0.0, 0.0))
        ran, waited = max(ran, times[0] - was[0]), max(waited, times[1] - was[1])
    return ran, waited


def quick_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment for QEMU: ``ours``, and a heap in huge pages unless the person has tuned it otherwise."""
    theirs = ours.get(_TUNABLES)
    return {**ours, _TUNABLES: f"{_QUICK_HEAP}:{theirs}" if theirs else _QUICK_HEAP}


def process_handle(process: subprocess.Popen[bytes]) -> int:
    """A file descriptor that becomes readable when ``process`` ends; the caller closes it (``pidfd_open``)."""
    return os.pidfd_open(process.pid)


def parse_ppm(data: bytes) -> Screen | None:
    """A binary PPM with 8 bits a channel, as ``screendump`` writes it; None for anything else."""
    found = _PPM.match(data)
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    pixels = data[found.end() :]
    return Screen(width, height, pixels) if len(pixels) == width * height * 3 else None


def _bars(buses: Any) -> Iterator[PciBar]:
    for bus in buses or ():
        for device in bus.get("devices", ()):
            slot = f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
            about, identity = device.get("class_info", {}), device.get("id", {})
            for region in device.get("regions", ()):
                address = region["address"]
                yield PciBar(
                    slot,
                    identity.get("vendor", 0),
                    identity.get("device", 0),
                    about.get("class", 0),
                    region["bar"],
                    address if 0 < address < (1 << 64) - 1 else None,  # -1: not mapped
                    region["size"],
                    "io" if region["type"] == "io" else "memory",
                )
            yield from _bars([device["pci_bridge"]] if "pci_bridge" in device else ())
