"""Writing files so that nothing half-written is ever seen under its final name.

Owns: atomic writes (a temporary file beside the target, then renamed) and the one clear line for a folder that
cannot be written or a disk that is full. Never decides where anything belongs.
"""

from __future__ import annotations

import os
from pathlib import Path

from toolchain.errors import InputError


def make_folder(path: Path, *, stage: str) -> None:
    """Create ``path`` and its parents.

    Raises:
        InputError: it cannot be created, with the reason and the mend.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, stage=stage) from error


def write_atomic(path: Path, data: bytes | str, *, stage: str) -> bool:
    """Write ``data`` to ``path`` as a whole or not at all; a file that holds ``data`` already is left alone.

    Returns:
        True when the file was (re)written, False when its content was already right.

    Raises:
        InputError: the folder cannot be written or the disk is full; no partial file is left behind.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return False
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error, stage=stage) from error
    return True


def unwritable(path: Path, error: OSError, *, stage: str) -> InputError:
    """The error for a ``path`` that could not be written, e.g. ``ENOSPC``, ``EACCES``, ``ENOTDIR``."""
    reason = error.strerror or str(error)
    return InputError(
        f"{path}: cannot write: {reason}; choose a writable folder with free space (--out DIR)", stage=stage
    )
