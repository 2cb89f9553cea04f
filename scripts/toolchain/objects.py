"""Object files kept between runs, so that a build assembles only what has changed since the last one.

Owns: the cache file of a tree, whether it may be believed, and which object in it is that of a unit now. An object
counts when all that went into it is the same by content: the unit's text; every file that it included or took with
``.incbin``, generated ones too, and where each was found; and the toolchain: its sources, Python, Keystone, Capstone.
The file is this user's alone and counts whole or not at all: ``marshal`` sees it when its digest is right, and the
digest is over what made it, too. Where it cannot be read or written, the build does without. Never keeps anything of
a build with errors.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain import packed
from toolchain.errors import InputError
from toolchain.objectfile import ObjectFile
from toolchain.source import SourceFile

if TYPE_CHECKING:
    from toolchain.parallel import Assembly, Trace
    from toolchain.preprocess import Preprocessor, Unit

SWITCH = "PXOS_NO_CACHE"  # an environment variable that is not empty: keep nothing, believe nothing
FILE_MAX = 64 << 20  # bytes of a tree's file; a larger one is neither written nor read
TREES_MAX = 16  # files in the folder; those used longest ago go first
VARIANTS = 2  # objects of one unit: what it is now and what it was before, for an edit that is taken back
ANSWERS_MAX = 1 << 15  # of Keystone's worker; the kernel asks 2,700
_MAGIC = b"pxos objects 1\n"
_DIGEST = 32  # bytes
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def folder() -> Path | None:
    """``$XDG_CACHE_HOME/pxos/objects`` (XDG Base Directory: a relative path is no path); None: unwanted, or no home."""
    if os.environ.get(SWITCH):
        return None
    cache, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    if not cache.startswith("/"):
        if not home.startswith("/"):
            return None
        cache = f"{home}/.cache"
    return Path(cache, "pxos", "objects")


class Objects:
    """What is kept of one tree.

    Args:
        folder: where the files of all trees lie; it need not exist.
        tree: the kernel tree, resolved.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self._folder = folder
        self._path = folder / _digest(os.fsencode(tree)).hex()
        self._tree = tree
        self._origin = _origin()
        self._units: dict[str, list[tuple[bytes, Any, bytes]]] = {}
        self._answers = b""
        self._digests: dict[SourceFile, bytes] = {}
        self._same: dict[Any, bool] = {}
        self._found: set[str] = set()
        self._reader: Preprocessor | None = None

    # --- what there is -------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Read the file; False when there is none that may be believed."""
        data = _read(self._path) if _is_ours(self._folder) else b""
        head = len(_MAGIC) + _DIGEST
        body = memoryview(data)[head:]
        if data[:head] != _MAGIC + self._seal(body):
            return False
        self._units, self._answers = marshal.loads(body)
        return True

    def answers(self) -> packed.Answers:
        """What Keystone's worker said in earlier runs."""
        return packed.unpack_answers(self._answers) if self._answers else {}

    def find(
        self, names: Sequence[str], reader: Preprocessor
    ) -> tuple[dict[str, ObjectFile], dict[str, str]]:
        """The objects that the units ``names`` have now, as far as they are kept.

        Returns:
            The objects by unit, and the texts of their sources by name.

        Raises:
            InputError: a unit cannot be read, or is no text.
        """
        self._reader = reader
        found: dict[str, ObjectFile] = {}
        texts: dict[str, str] = {}
        sources: dict[str, SourceFile] = {}
        for name in names:
            variants = self._units.get(name, [])
            own = reader.source(self._tree / name) if variants else None
            for at, (digest, asked, data) in enumerate(variants):
                if own is not None and self._of(own) == digest and all(map(self._is_same, asked)):
                    found[name] = packed.unpack(data, sources)
                    texts[own.name] = own.text
                    texts |= {s.name: s.text for s in self._texts(asked)}
                    variants.insert(0, variants.pop(at))
                    break
        self._found = set(found)
        return found, texts

    def _texts(self, asked: Trace) -> list[SourceFile]:
        """The sources among what a unit asked for."""
        assert self._reader is not None
        paths = [self._reader.find(name) for name, _, _, is_text in asked if is_text]
        return [self._reader.source(path) for path in paths if path is not None]

    def _is_same(self, asked: tuple[str, str, bytes, bool]) -> bool:
        """Whether a file that was asked for is still found in the same place with the same content."""
        known = self._same.get(asked)
        if known is None:
            assert self._reader is not None
            name, where, digest, is_text = asked
            path = self._reader.find(name)
            known = path is not None and self._reader.name_of(path) == where
            if known and path is not None:
                try:
                    known = digest == (
                        self._of(self._reader.source(path)) if is_text else _digest(path.read_bytes())
                    )
                except (InputError, OSError):
                    known = False
            self._same[asked] = known
        return known

    # --- what is added -------------------------------------------------------------------------------------

    def trace(self, unit: Unit) -> Trace | None:
        """What ``unit`` was made of: a digest of its text, and what it asked for; None when that cannot be told."""
        reader = unit.reader
        texts = {source.path: source for source in unit.sources[1:]}
        asked: list[tuple[str, str, bytes, bool]] = []
        for name, path in reader.asked(unit):
            source = texts.get(path)
            digest = self._of(source) if source is not None else _of_binary(path, unit)
            if digest is None:
                return None
            asked.append((name, reader.name_of(path), digest, source is not None))
        if {where for _, where, _, _ in asked} != {
            reader.name_of(p) for p in (*texts, *unit.binaries) if p is not None
        }:
            return None
        return (self._of(unit.sources[0]), tuple(asked))

    def keep(self, names: Iterable[str], new: Assembly | None) -> None:
        """Keep a build without errors: the units ``names``; ``new`` are those that were not kept, if there were any."""
        if new is None:
            with contextlib.suppress(OSError):
                os.utime(self._path)
            return
        units = {name: self._units.get(name, [])[:VARIANTS] for name in names}
        for name, item in new.made.items():
            if item.trace is not None:
                digest, asked = item.trace
                data = packed.pack(item.object) if item.packed is None else item.packed
                units[name] = [(digest, asked, data), *units[name]][:VARIANTS]
        said = {request: reply for request, reply in new.answers.items() if reply}
        body = marshal.dumps((units, marshal.dumps(said if len(said) <= ANSWERS_MAX else {})))
        if len(body) < FILE_MAX and self._origin == _origin():  # nobody has edited the toolchain meanwhile
            with contextlib.suppress(OSError):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if _is_ours(self._folder):
                    _write(self._path, _MAGIC + self._seal(body) + body)
                    _tidy(self._folder)

    def _seal(self, body: bytes | memoryview) -> bytes:
        return blake2b(body, key=self._origin, digest_size=_DIGEST).digest()

    def _of(self, source: SourceFile) -> bytes:
        digest = self._digests.get(source)
        if digest is None:
            digest = self._digests[source] = _digest(source.text.encode())
        return digest


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()


def _of_binary(path: Path, unit: Unit) -> bytes | None:
    """The digest of what ``.incbin`` took from ``path``; None when that has changed since."""
    from toolchain.preprocess import stamp_of

    before = unit.binaries.get(path)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return _digest(data) if before is not None and stamp_of(path) == before else None


def _origin() -> bytes:
    """What made the objects besides the sources: the toolchain's files by content, the libraries, Python."""
    from toolchain.encode_cache import libraries

    made = blake2b(digest_size=_DIGEST)
    made.update(f"{sys.version}\n{sys.implementation.cache_tag}\n{libraries()}\n".encode())
    here = Path(__file__).parent
    for name in sorted(os.listdir(here)):  # noqa: PTH208 - names, not paths
        if name.endswith((".py", ".tsv")):
            with open(f"{here}/{name}", "rb") as file:  # noqa: PTH123 - a third of the time of Path.open
                data = file.read()
            made.update(f"{name} {len(data)}\n".encode())
            made.update(data)
    return made.digest()


# --- files -------------------------------------------------------------------------------------------------


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
    for _, path in files[: max(0, len(files) - TREES_MAX)]:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - a name from the folder
