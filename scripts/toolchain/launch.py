"""Starting a child that cannot outlive us, and ending it with everything it started.

Owns: a session (process group) of its own for the child, the parent-death signal, the kill. The signal is set by
``launch_guard`` rather than between fork and exec: a fork of a Python with a few tens of megabytes costs 7 ms, a third
of QEMU's own start. Where a file in memory cannot be executed ``setpriv`` sets it, and a shell compares its parent
afterwards, because a parent that died before the signal was set sends none. Never waits without a bound.

The kernel sends the signal when the *thread* that started the child ends, so that thread must wait for it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from toolchain import launch_guard, tools
from toolchain.errors import ToolError

_REAP_SECONDS = 10.0  # between SIGKILL and the end of a process; only a stuck kernel takes longer
_GUARD = '[ "$PPID" = "$0" ] && exec "$@"'


@cache
def _guard() -> tuple[str, str]:
    found = shutil.which("setpriv"), shutil.which("sh")
    if found[0] is None or found[1] is None:
        raise tools.missing("setpriv", "util-linux", "boot")
    return found[0], found[1]


def spawn(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a process group of its own; it is killed when this thread or process dies.

    Args:
        command: argument vector; the program by its path.
        folder: its working folder.
        stdin: as for ``subprocess.Popen``.
        stdout: likewise.
        stderr: likewise.
        pass_fds: file descriptors that it inherits under the same numbers.
        environment: all its variables; None for ours.

    Raises:
        ToolError: ``setpriv`` is needed and missing.
    """

    def start(guarded: Sequence[str], executable: str | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            guarded,
            executable=executable,
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    guard = launch_guard.path()
    if guard is not None:
        with suppress(OSError):  # a security policy; whatever else it is, the other way meets it again
            return start(command, guard)
    setpriv, shell = _guard()
    return start([setpriv, "--pdeathsig", "KILL", shell, "-c", _GUARD, str(os.getpid()), *command], None)


def spawn_bare(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start ``command`` without the guard, output on a pipe: for a peer whose time is taken, whoever starts it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> int | None:
    """End the whole group of a process that ``spawn`` started.

    Returns:
        Its own exit status when it had ended by itself before, else None.
    """
    status = process.poll()
    if status is not None:
        return status
    handle = os.pidfd_open(process.pid)  # Popen.wait with a timeout would sleep in steps of milliseconds
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        if not ended.poll(_REAP_SECONDS * 1000):
            raise ToolError(f"process {process.pid} does not die", stage="boot")
    finally:
        os.close(handle)
    process.wait()
    return None
