"""A service for one boot: ``pxos gpu serve`` as a child, and QEMU's arguments that join it.

Owns: starting it, waiting until it takes clients, ending it with the boot. Never serves.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain import files, launch, scratch
from toolchain.errors import Timeout, ToolError
from toolchain.mailbox import layout as m

STAGE = "gpu"
LOG_NAME = "gpu.log"
UART_NAME = "gpu-uart.log"
SOCKET_NAME = "mailbox"
READY = b"ready\n"
_SECONDS = 90.0  # to be ready: Python, the device, the shaders, on a loaded machine
_CHARDEV = "pxgpu"


def qemu_arguments(socket: Path) -> tuple[str, ...]:
    """What QEMU needs to be the client of the service at ``socket``."""
    path = str(socket).replace(",", ",,")
    return (
        "-chardev", f"socket,path={path},id={_CHARDEV}",
        "-device", f"ivshmem-doorbell,chardev={_CHARDEV},vectors={m.VECTORS}",
    )  # fmt: skip


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, ...]]:
    """A service while the block runs; gives QEMU's arguments.

    Args:
        folder: where its log and what the guest writes to its UART go.

    Raises:
        InputError: the folder cannot be written.
        ToolError: it does not start; the log has the reason.
        Timeout: it is not ready in time.
    """
    log = folder / LOG_NAME
    with scratch.folder("pxos-gpu-") as place:  # a socket's path is short, a build folder's may not be
        try:
            errors, uart = log.open("wb"), (folder / UART_NAME).open("wb")
        except OSError as error:
            raise files.unwritable(log, error, stage=STAGE) from error
        with errors, uart:
            socket = place / SOCKET_NAME
            command = [
                sys.executable, "-m", "cli", "gpu", "serve", "--socket", str(socket), "--tell-ready",
                "--uart", str((folder / UART_NAME).absolute()),
            ]  # fmt: skip
            child = launch.spawn(command, stdout=subprocess.PIPE, stderr=errors)
            try:
                _wait(child, log)
                yield qemu_arguments(socket)
            finally:
                launch.kill(child)
                assert child.stdout is not None
                child.stdout.close()


def _wait(child: subprocess.Popen[bytes], log: Path) -> None:
    assert child.stdout is not None
    ear = select.poll()
    ear.register(child.stdout, select.POLLIN)
    deadline = time.monotonic() + _SECONDS
    said = b""
    while READY not in said:
        if not ear.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Timeout(f"the GPU service is not ready after {_SECONDS:g} s", stage=STAGE, log=log)
        data = child.stdout.read1(64)  # type: ignore[attr-defined]
        if not data:
            tail = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            reason = tail[0] if tail else "it said nothing"
            raise ToolError(f"the GPU service does not start: {reason}", stage=STAGE, log=log)
        said += data
