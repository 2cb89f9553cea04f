"""Runs ``pxos`` and ends it by SIGKILL at a given event, or tells how many events of each kind there were.

    python -m tests.architect.dying step:N fix --kernel ...

An event is a write of this process to a descriptor, a file that is written where it stands, or one that takes its final
name: where a run can be cut, and independent of the clock. Files of the copy of the tree, by far the most, are events
``copy``, all others ``step``.
At an odd event half of what is written is out. With N = 0 nothing happens but the count, as ``copy=N step=N`` on
standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

OWN = os.getpid()
KINDS = ("copy", "step")
seen: Counter[str] = Counter()


def _event(kind: str, last: tuple[str, int], half: Callable[[], object]) -> None:
    """Count one; at the last one die."""
    if os.getpid() != OWN:
        return
    seen[kind] += 1
    if (kind, seen[kind]) == last:
        if seen[kind] % 2:
            half()
        os.kill(OWN, signal.SIGKILL)


def install(last: tuple[str, int]) -> None:
    """Before anything takes a copy of these functions."""
    write, replace, write_bytes = os.write, Path.replace, Path.write_bytes

    def counted_write(fd: int, data: Any) -> int:
        _event("step", last, lambda: write(fd, bytes(data)[: len(data) // 2]))
        return write(fd, data)

    def kind_of(path: Path) -> str:
        return "copy" if "tree" in path.parts else "step"

    def counted_replace(self: Path, target: Any) -> Path:
        _event(kind_of(Path(target)), last, lambda: replace(self, target))
        return replace(self, target)

    def counted_bytes(self: Path, data: Any) -> int:
        _event(kind_of(self), last, lambda: write_bytes(self, bytes(data)[: len(data) // 2]))
        return write_bytes(self, data)

    os.write = counted_write
    Path.replace = counted_replace  # type: ignore
    Path.write_bytes = counted_bytes  # type: ignore


if __name__ == "__main__":
    kind, _, number = sys.argv[1].partition(":")
    install((kind, int(number)))
    import cli

    sys.argv = ["pxos", *sys.argv[2:]]
    status = cli.main()
    print(*(f"{kind}={seen[kind]}" for kind in KINDS), file=sys.stderr, flush=True)
    sys.exit(status)
