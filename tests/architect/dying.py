"""Runs ``pxos`` and ends it by SIGKILL at a given event, or tells how many events there were.

    python -m tests.architect.dying N fix --kernel ...

An event is a write of this process to a descriptor, or a file that takes its final name: where a run can be cut, and
independent of the clock. At an odd event half of what is written is out. With N = 0 nothing happens but the count, on
standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OWN = os.getpid()
LAST = int(sys.argv[1]) if len(sys.argv) > 1 else 0
seen = 0


def _event(half: Callable[[], object]) -> None:
    """Count one; at the last one die."""
    global seen
    if os.getpid() != OWN:
        return
    seen += 1
    if seen == LAST:
        if seen % 2:
            half()
        os.kill(OWN, signal.SIGKILL)


def install() -> None:
    """Before anything takes a copy of these functions."""
    write, replace = os.write, Path.replace

    def counted_write(fd: int, data: Any) -> int:
        _event(lambda: write(fd, bytes(data)[: len(data) // 2]))
        return write(fd, data)

    def counted_replace(self: Path, target: Any) -> Path:
        _event(lambda: replace(self, target))
        return replace(self, target)

    os.write = counted_write
    Path.replace = counted_replace  # type: ignore


if __name__ == "__main__":
    install()
    import cli

    sys.argv = ["pxos", *sys.argv[2:]]
    status = cli.main()
    print(f"events={seen}", file=sys.stderr, flush=True)
    sys.exit(status)
