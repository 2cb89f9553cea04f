"""Files that a run leaves to later runs of the same user, in a folder of their own.

Owns: whether such a file may be believed, and replacing it. It is a regular file of this user's in a folder of this
user's, neither writable by anybody else; it counts whole or not at all; and its digest is over its bytes and the
maker's mark, so that ``marshal`` sees only what the same maker wrote. What cannot be read is not there, what cannot be
written is not kept: nobody is told. The folder stays small. Never knows what a file says.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
from _blake2 import blake2b as blake2b  # hashlib would load OpenSSL first: two milliseconds in every build
from pathlib import Path
from typing import Any

FILE_MAX = 64 << 20  # bytes of a file; a larger one is neither written nor read
FILES_MAX = 32  # in the folder; those used longest ago go first
DIGEST = 32  # bytes of a digest
_MAGIC = b"pxos kept 1\n"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def digest(data: bytes | memoryview) -> bytes:
    """BLAKE2b of ``data``, 32 bytes."""
    return blake2b(data, digest_size=DIGEST).digest()


class Sealed:
    """The files in ``folder`` that a maker with this ``mark`` (at most 64 bytes) has written.

    Source: BLAKE2 (RFC 7693), keyed with the mark.
    """

    def __init__(self, folder: Path, mark: bytes) -> None:
        self._folder = folder
        self._mark = mark

    def load(self, name: str) -> Any:
        """What ``store`` was given last under ``name``; None when there is nothing that may be believed."""
        data = memoryview(_read(self._folder / name) if _is_ours(self._folder) else b"")
        head = len(_MAGIC) + DIGEST
        if data[:head] != _MAGIC + self._seal(data[head:]):
            return None
        return marshal.loads(data[head:])

    def store(self, name: str, content: Any) -> None:
        """Keep ``content``: numbers, bytes, text, tuples, lists, dicts."""
        body = marshal.dumps(content)
        if len(body) < FILE_MAX:
            with contextlib.suppress(OSError):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if _is_ours(self._folder):
                    _write(self._folder / name, _MAGIC + self._seal(body) + body)
                    _tidy(self._folder)

    def used(self, name: str) -> None:
        """Note that a file was of use, so that others go first."""
        with contextlib.suppress(OSError):
            os.utime(self._folder / name, follow_symlinks=False)

    def _seal(self, body: bytes | memoryview) -> bytes:
        return blake2b(body, key=self._mark, digest_size=DIGEST).digest()


def _is_ours(folder: Path) -> bool:
    """Whether ``folder`` is one that nobody else can write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_mine(status)


def _is_mine(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & _WRITABLE_BY_OTHERS


def _read(path: Path) -> bytes:
    """The bytes of a file of this user's; empty when there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or not _is_mine(status) or status.st_size > FILE_MAX:
            return b""
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(FILE_MAX)
    except OSError:
        return b""
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    """Write a file of this user's, as a whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _tidy(folder: Path) -> None:
    """Drop the files used longest ago, where there are too many."""
    with os.scandir(folder) as entries:
        files = sorted((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path) for entry in entries)
    for _, path in files[: max(0, len(files) - FILES_MAX)]:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - a name from the folder
