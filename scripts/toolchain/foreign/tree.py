"""A foreign tree held in memory, and copies of it on disk that commands may write.

Owns: reading every file of the tree once, with its time (make compares times), and writing copies without following
anything that a command left there. Never runs a command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import InputError
from toolchain.files import make_folder, unwritable

STAGE = "tree"
BYTES_MAX = 256 << 20
FILES_MAX = 50_000
OURS = ("foreign", "fix", "boot", "chat", "gen")  # folders that our commands make in a tree's ``build``


@dataclass(frozen=True, slots=True)
class File:
    """One file: its bytes, its permission bits, its time in nanoseconds; for a link (``target`` set) no bytes."""

    data: bytes
    mode: int
    mtime: int
    target: str | None = None


def read(tree: Path) -> dict[str, File]:
    """Path relative to the tree -> file; version control, and what we ourselves write into ``build``, is left out.

    Raises:
        InputError: it is no folder, holds a link out of it, or is too large to be one kernel.
    """
    if not tree.is_dir():
        raise InputError(f"{tree}: no such folder; name a kernel tree with --kernel DIR", stage=STAGE)
    found: dict[str, File] = {}
    total, root = 0, tree.resolve()
    for path in _walk(tree):
        name = path.relative_to(tree).as_posix()
        about = path.lstat()
        if path.is_symlink():
            if not path.resolve().is_relative_to(root):
                raise InputError(
                    f"{path}: a link that leads out of the tree; put the file itself there", stage=STAGE
                )
            found[name] = File(b"", 0, about.st_mtime_ns, str(path.readlink()))
            continue
        if not path.is_file():
            continue
        total += about.st_size
        if total > BYTES_MAX or len(found) >= FILES_MAX:
            raise InputError(
                f"{tree}: more than {BYTES_MAX >> 20} MB or {FILES_MAX} files; is this a kernel tree?",
                stage=STAGE,
            )
        found[name] = File(path.read_bytes(), about.st_mode & 0o755, about.st_mtime_ns)
    return found


def _walk(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        ours = OURS if Path(folder) == tree / "build" else ()
        named = (f for f in folders if f not in (".git", ".hg", ".svn", "__pycache__"))
        kept = sorted(f for f in named if f.partition("-")[0] not in ours)
        links = [f for f in kept if (Path(folder) / f).is_symlink()]
        folders[:] = [f for f in kept if f not in links]
        yield from (Path(folder) / name for name in sorted((*names, *links)))


class Copy:
    """A copy of a tree on disk, in which one candidate after another is built.

    Args:
        files: the tree.
        folder: where it lies; what is there goes away.
    """

    def __init__(self, files: Mapping[str, File], folder: Path) -> None:
        self.files = files
        self.folder = folder
        self._changed: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """The tree as it was, and nothing that a build left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.folder, stage=STAGE)
        for name, file in self.files.items():
            self._write(name, file.data, file)
        self._changed.clear()

    def put(self, texts: Mapping[str, str]) -> None:
        """Some files with other texts, and all others as they were; what a build left stays, as make wants it.

        A changed file, and one that is changed back, has the time of now.
        """
        for name in self._changed - texts.keys():
            self._write(name, self.files[name].data)
        for name, text in texts.items():
            self._write(name, text.encode())
        self._changed = set(texts)

    def _write(self, name: str, data: bytes, like: File | None = None) -> None:
        path = self.folder / name
        try:
            if path.parent.resolve() != self.folder.resolve() / Path(name).parent:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise InputError(f"{name}: the build put a link in its way", stage=STAGE)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            if like is not None and like.target is not None:
                path.symlink_to(like.target)
                return
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                os.fchmod(out.fileno(), (self.files[name].mode or 0o644) | 0o600)
            if like is not None:
                os.utime(path, ns=(like.mtime, like.mtime))
        except OSError as error:
            raise unwritable(path, error, stage=STAGE) from error
