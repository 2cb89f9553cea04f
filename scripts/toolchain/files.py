"""Reading and writing files so that nothing half-written is ever seen under its final name, and nothing endless read.

Owns: atomic writes (a temporary file beside the target, then renamed), reads with a bound, and the one clear line for
a folder that cannot be written, a disk that is full, a file that cannot be read. Never decides where anything belongs.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from toolchain.errors import InputError
from toolchain.interrupts import uninterrupted

LOCK_NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def make_folder(path: Path, *, stage: str) -> None:
    """Create ``path`` and its parents.

    Raises:
        InputError: it cannot be created, with the reason and the mend.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, stage=stage) from error


@contextmanager
def claimed(folder: Path, *, stage: str) -> Iterator[Path]:
    """``folder`` for us alone while the block runs; where another process works in it, ``folder-2`` and so on.

    It is made if need be. Where the file system knows no locks (some network shares) it is shared.

    Raises:
        InputError: it cannot be created or written.
    """
    import fcntl

    with ExitStack() as stack:
        for number in itertools.count(1):
            path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            make_folder(path, stage=stage)
            try:
                handle = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise unwritable(path, error, stage=stage) from error
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise unwritable(path, error, stage=stage) from error
            yield path
            return


def write_atomic(path: Path, data: bytes | str, *, stage: str) -> bool:
    """Write ``data`` to ``path`` as a whole or not at all; a file that holds ``data`` already is left alone.

    A link is followed, a file that was there keeps its mode, and what is no file (``/dev/stdout``) is written to.

    Returns:
        True when the file was (re)written, False when its content was already right.

    Raises:
        InputError: the folder cannot be written or the disk is full; no partial file is left behind.
    """
    return bool(write_together({path: data}, stage=stage))


def write_together(contents: Mapping[Path, bytes | str], *, stage: str) -> int:
    """As ``write_atomic``, several files: a full disk leaves all of them as they were; returns how many it wrote."""
    staged: list[tuple[Path, Path]] = []
    written = 0
    path = Path()
    try:
        for path, data in contents.items():
            content = data.encode() if isinstance(data, str) else data
            target = Path(os.path.realpath(path)) if path.is_symlink() else path
            there = target.stat() if target.exists() else None
            if there is not None and not stat.S_ISREG(there.st_mode):
                path.write_bytes(content)
                written += 1
                continue
            if there is not None and there.st_size == len(content) and target.read_bytes() == content:
                continue
            temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            staged.append((temporary, target))
            temporary.write_bytes(content)
            if there is not None:
                temporary.chmod(stat.S_IMODE(there.st_mode))
        with uninterrupted():
            for temporary, target in staged:
                temporary.replace(target)
    except BaseException as error:
        for temporary, _ in staged:
            with suppress(OSError):  # what it stands in may be no folder: the first error tells
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error, stage=stage) from error
        raise
    return written + len(staged)


def open_regular(path: Path, *, stage: str, missing: str = "") -> BinaryIO:
    """``path`` opened for reading, when it is a file: a pipe or a terminal would be waited for, a device has no end.

    Args:
        path: the file.
        stage: for errors.
        missing: what to do about a file that does not exist.

    Raises:
        InputError: it cannot be opened, or is no regular file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError):
            raise InputError(f"{path}: no such file; {missing}", stage=stage) from error
        raise InputError(f"{path}: cannot read: {error.strerror}", stage=stage) from error
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: cannot read: {os.strerror(errno.EISDIR)}", stage=stage)
    raise InputError(f"{path}: a pipe or a device; name a file", stage=stage)


def read_bounded(path: Path, limit: int, *, stage: str, missing: str = "") -> bytes:
    """The bytes of ``path``, which may be anybody's: a pipe that nobody writes, a file as large as the disk.

    Args:
        path: the file.
        limit: most bytes that make sense.
        stage: for errors.
        missing: what to do about a file that does not exist.

    Raises:
        InputError: it cannot be read, is no regular file, or is larger.
    """
    with open_regular(path, stage=stage, missing=missing) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot read: {error.strerror}", stage=stage) from error
    if len(data) > limit:
        raise InputError(
            f"{path}: more than {limit >> 20} MiB, which is too large for what it should be", stage=stage
        )
    return data


def unwritable(path: Path, error: OSError, *, stage: str) -> InputError:
    """The error for a ``path`` that could not be written, e.g. ``ENOSPC``, ``EACCES``, ``ENOTDIR``."""
    reason = error.strerror or str(error)
    return InputError(
        f"{path}: cannot write: {reason}; choose a writable folder with free space", stage=stage
    )
