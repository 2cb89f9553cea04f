"""Another ``pxos`` as a child with a deadline, for work that should end when its time is up.

Owns: the child's arguments, reading its progress and its JSON, its end whatever happens. The child belongs to a process
group of its own and dies with us (``toolchain.launch``).
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from toolchain import scratch
from toolchain.errors import Timeout, ToolError

STAGE = "tools"
OUTPUT_MAX = 8 << 20  # bytes of JSON
_TAIL = 400  # characters of standard error in a message
_LOOK_SECONDS = 0.2
# What a child needs of our environment; keys and tokens stay here.
_PASSED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYTHONPATH",
    "PXOS_GPU_ADAPTER", "VK_ICD_FILENAMES", "VK_DRIVER_FILES", "LD_LIBRARY_PATH",
)  # fmt: skip


class Done(NamedTuple):
    """How a child ended: its exit status, its standard output, the end of its standard error."""

    status: int
    output: str
    errors: str


def environment() -> dict[str, str]:
    """The part of our environment that a child gets: no key, no token."""
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


def pxos(words: Sequence[str], seconds: float, say: Callable[[str], None]) -> Mapping[str, Any]:
    """Run a subcommand with ``--json``; its object.

    Raises:
        ToolError: it could not be carried out; the message is its own.
        Timeout: it did not end in time.
    """
    done = run([sys.executable, "-m", "cli", *words, "--json"], seconds, say=say)
    try:
        data = json.loads(done.output)
    except ValueError:
        data = {"error": {"message": done.errors.strip()[-_TAIL:] or f"ended with status {done.status}"}}
    if "error" in data:
        raise ToolError(f"pxos {words[0]}: {data['error']['message']}", stage=STAGE, returncode=done.status)
    found: Mapping[str, Any] = data
    return found


def run(
    command: Sequence[str],
    seconds: float,
    *,
    stdin: bytes = b"",
    say: Callable[[str], None] = lambda text: None,
    folder: Path | None = None,
) -> Done:
    """Run a program to its end.

    Args:
        command: argument vector.
        seconds: deadline.
        stdin: what it reads.
        say: gets each line of its standard error.
        folder: its working folder.

    Raises:
        Timeout: it did not end in time, and was ended.
        ToolError: it writes without end.
    """
    from toolchain import launch

    with ExitStack() as stack:
        room = stack.enter_context(scratch.folder("pxos-child-"))
        given = room / "stdin"
        given.write_bytes(stdin)
        source = stack.enter_context(given.open("rb"))
        out = stack.enter_context((room / "stdout").open("w+b"))
        errors = stack.enter_context((room / "stderr").open("w+b"))
        process = launch.spawn(
            command, stdin=source, stdout=out, stderr=errors, folder=folder, environment=environment()
        )
        stack.callback(launch.kill, process)
        handle = os.pidfd_open(process.pid)
        stack.callback(os.close, handle)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        until = time.monotonic() + seconds
        told = 0
        while not poller.poll(_LOOK_SECONDS * 1000):
            told = _tell(room / "stderr", told, say)
            if time.monotonic() >= until:
                raise Timeout(f"{Path(command[0]).name} did not end within {seconds:g} s", stage=STAGE)
            if (room / "stdout").stat().st_size > OUTPUT_MAX:
                raise ToolError(f"{Path(command[0]).name} writes without end", stage=STAGE)
        status = process.wait()
        _tell(room / "stderr", told, say)
        return Done(status, _text(out), _text(errors))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT_MAX).decode("utf-8", "replace")


def _tell(path: Path, told: int, say: Callable[[str], None]) -> int:
    """Pass on whole lines behind ``told``; where they end."""
    with path.open("rb") as file:
        file.seek(told)
        data = file.read(OUTPUT_MAX)
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", "replace").splitlines():
        say(line)
    return told + len(whole)
