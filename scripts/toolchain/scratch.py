"""Folders for work that nobody keeps.

Owns making one and removing it again, whatever happens in between: an interruption comes before or after, so that none
is left behind. (``tempfile.TemporaryDirectory`` can be interrupted while it makes or removes the folder.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from toolchain.interrupts import uninterrupted


@contextmanager
def folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end of the block with all that lies in it.

    Args:
        prefix: how its name begins; our process number follows.
        parent: where it is made; None for the system's place. Folders of this prefix that a killed process left
            there are removed.

    Raises:
        OSError: it cannot be made.
    """
    import tempfile  # costs 10 ms, and is not needed by whoever says where to write

    if parent is not None:
        _sweep(parent, prefix)
    with ExitStack() as stack:
        with uninterrupted():
            path = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))
            stack.callback(_remove, path)
        yield path


def _sweep(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*-*"):
        owner = path.name.removeprefix(prefix).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            _remove(path)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    import shutil

    with uninterrupted():
        shutil.rmtree(path, ignore_errors=True)
