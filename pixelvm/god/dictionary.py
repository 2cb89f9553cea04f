"""Dictionaries of tiles: one file, each tile found by its index or its SHA-256, checked whenever it is read.

Owns the file (SPEC.md, "Dictionaries") and its changes: under a lock, so that two processes at once lose nothing, and
whole or not at all. Indexes are given once and never again, also after a tile has gone: an index never comes to mean
another tile. What refers to tiles is ``container``'s.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pixelvm.god import lossless
from pixelvm.god.family import INDEX_MAX, SIDE, STAGE, TILE_BYTES
from pixelvm.god.varint import Reader
from toolchain.errors import InputError
from toolchain.files import make_folder, read_bounded, unwritable, write_atomic

MAGIC = b"PXGD"
VERSION = 1
FILE_MAX = 256 << 20  # bytes
ID = 16  # bytes of chance that tell one dictionary from another
DIGEST = hashlib.sha256().digest_size
TRAINED_MAX = 1 << 20
_HEAD = struct.Struct(f"<4sI{ID}sIII")
_ENTRY = struct.Struct(f"<II{DIGEST}s")
_SHORT = 8  # hexadecimal digits of a short name, more where two begin alike
_SAMPLE = 1 << 9  # bytes of a sample for training
_TRAINED_SIZE = 1 << 15
_MAKE = "make one with pxos pixel dict add"


class Entry(NamedTuple):
    """A tile in its packed form."""

    number: int
    digest: bytes
    packed: bytes


class Dictionary:
    """The tiles of a file, in memory."""

    def __init__(self, name: str, identity: bytes) -> None:
        self.name = name
        self.identity = identity
        self.next = 0
        self.trained = b""
        self.entries: dict[int, Entry] = {}
        self.size = 0  # bytes of the file that it was read from
        self._by_digest: dict[bytes, int] = {}

    def find(self, tile: bytes) -> int | None:
        """The index of a tile; None when it is not here.

        Raises:
            InputError: another tile with the same SHA-256 is here.
        """
        index = self._by_digest.get(hashlib.sha256(tile).digest())
        if index is not None and self.tile(index) != tile:
            raise self._refuse(f"tile {index} and another have one SHA-256; keep them in two dictionaries")
        return index

    def tile(self, index: int) -> bytes:
        """The bytes of a tile, checked against its SHA-256.

        Raises:
            InputError: there is none with this index, or it is damaged.
        """
        entry = self.entries.get(index)
        if entry is None:
            raise self._refuse(f"no tile {index} in it (any more)")
        reader = Reader(entry.packed, f"{self.name}: tile {index}")
        tile = lossless.unpack(reader, TILE_BYTES, SIDE)
        reader.end()
        if hashlib.sha256(tile).digest() != entry.digest:
            raise self._refuse(
                f"tile {index} does not have the SHA-256 that it is named by; the file was changed"
            )
        return tile

    def add(self, tile: bytes) -> int:
        """The index of a tile, which is put in when it is not here.

        Raises:
            InputError: there is no index left.
        """
        index = self.find(tile)
        if index is None:
            if self.next > INDEX_MAX:
                raise self._refuse(f"all {INDEX_MAX + 1} indexes are used; begin another dictionary")
            index, self.next = self.next, self.next + 1
            self._keep(Entry(index, hashlib.sha256(tile).digest(), lossless.pack(tile, SIDE).data))
        return index

    def _keep(self, entry: Entry) -> None:
        self.entries[entry.number] = entry
        self._by_digest[entry.digest] = entry.number

    def drop(self, index: int) -> None:
        """Forget a tile; its index is not used again."""
        del self._by_digest[self.entries.pop(index).digest]

    def train(self, files: Iterable[bytes]) -> None:
        """Make the trained part from samples of these files, once.

        Raises:
            InputError: it has one already, or the files are too small to learn from.
        """
        import zstandard

        if self.trained:
            raise self._refuse("it is trained already, and files may need that; train a new dictionary")
        samples: list[bytes | bytearray | memoryview] = [
            data[at : at + _SAMPLE] for data in files for at in range(0, len(data), _SAMPLE)
        ]
        try:
            self.trained = zstandard.train_dictionary(_TRAINED_SIZE, samples).as_bytes()
        except (zstandard.ZstdError, ValueError) as error:
            raise self._refuse(f"too few bytes to train with; give more or larger files ({error})") from error

    def short(self, index: int) -> str:
        """The first digits of a tile's SHA-256, as many as tell it from all others here, at least 8."""
        own = self.entries[index].digest.hex()
        others = [entry.digest.hex() for entry in self.entries.values() if entry.number != index]
        length = _SHORT
        while any(other.startswith(own[:length]) for other in others):
            length += 1
        return own[:length]

    def named(self, name: str) -> int:
        """The index of the tile that a person means: ``#`` and its index, or the first digits of its SHA-256.

        Raises:
            InputError: none is called that, or several are.
        """
        if name.startswith("#") and name[1:].isdecimal():
            self.tile(int(name[1:]))
            return int(name[1:])
        wanted = name.lower()
        found = [entry.number for entry in self.entries.values() if entry.digest.hex().startswith(wanted)]
        if len(found) == 1 and wanted:
            return found[0]
        if found:
            raise self._refuse(f"'{name}' begins the names of {len(found)} tiles; give more digits")
        raise self._refuse(f"no tile's SHA-256 begins with '{name}' (pxos pixel dict list shows them)")

    def _refuse(self, message: str) -> InputError:
        return InputError(f"{self.name}: {message}", stage=STAGE)

    def to_bytes(self) -> bytes:
        """The file."""
        head = _HEAD.pack(MAGIC, VERSION, self.identity, self.next, len(self.entries), len(self.trained))
        rows = (self.entries[index] for index in sorted(self.entries))
        body = self.trained + b"".join(
            _ENTRY.pack(row.number, len(row.packed), row.digest) + row.packed for row in rows
        )
        return head + hashlib.sha256(head + body).digest() + body


def from_bytes(data: bytes, name: str) -> Dictionary:
    """A dictionary from anybody's bytes.

    Raises:
        InputError: it is none, or damaged.
    """
    reader = Reader(data, name)
    if data[: len(MAGIC)] != MAGIC:
        raise reader.refuse(f"not a dictionary of tiles; {_MAKE}")
    head = reader.take(_HEAD.size)
    _, version, identity, following, count, trained = _HEAD.unpack(head)
    if version != VERSION:
        raise reader.refuse(f"a dictionary of version {version}; this pxos reads version {VERSION}")
    digest = reader.take(DIGEST)
    if hashlib.sha256(head + data[reader.at :]).digest() != digest:
        raise reader.refuse("the dictionary's SHA-256 does not fit; it was changed or cut off")
    if following > INDEX_MAX + 1 or trained > TRAINED_MAX:
        raise reader.refuse("is damaged: more indexes or training than can be")
    found = Dictionary(name, identity)
    found.next, found.size = following, len(data)
    found.trained = reader.take(trained)
    last = -1
    for _ in range(count):
        index, size, tile = _ENTRY.unpack(reader.take(_ENTRY.size))
        if not last < index < following or tile in found._by_digest:
            raise reader.refuse(f"is damaged: tile {index} is out of order or there twice")
        found._keep(Entry(index, tile, reader.take(size)))
        last = index
    reader.end()
    return found


def read(path: Path) -> Dictionary:
    """The dictionary in a file.

    Raises:
        InputError: it cannot be read, is none, or is damaged.
    """
    return from_bytes(read_bounded(path, FILE_MAX, stage=STAGE, missing=_MAKE), str(path))


@contextmanager
def changing(path: Path) -> Iterator[Dictionary]:
    """The dictionary in a file (a new one where there is none), written back whole when the block ends well.

    Another process that changes it waits meanwhile.

    Raises:
        InputError: it cannot be locked, read or written, or has grown too large.
    """
    make_folder(path.parent, stage=STAGE)
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(path, error, stage=STAGE) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno == errno.EINTR:
                raise
            message = f"{path}: cannot lock: {error.strerror}; keep the dictionary on a local disk"
            raise InputError(message, stage=STAGE) from error
        found = read(path) if target.exists() else Dictionary(str(path), os.urandom(ID))
        yield found
        data = found.to_bytes()
        if len(data) > FILE_MAX:
            raise InputError(f"{path}: it would be larger than {FILE_MAX >> 20} MiB", stage=STAGE)
        write_atomic(path, data, stage=STAGE)
        found.size = len(data)
    finally:
        os.close(handle)
