"""Boot modules: files that the kernel finds in memory, packed into one archive that every loader can carry.

Owns the archive: cpio's "New ASCII Format", as initial RAM file systems have it, because a PVH boot brings one file.
The kernel takes it apart (``kernel/boot/archive.s``). Always the same bytes for the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import InputError
from toolchain.files import read_bounded

STAGE = "modules"
NAME = "modules.cpio"
NAME_MAX = 47  # characters that the kernel keeps of a name
COUNT_MAX = 255  # modules that the kernel keeps, beside the archive itself
SIZE_MAX = 64 << 20  # bytes of a file
_MAGIC = "070701"
_FILE = 0o100644
_TRAILER = "TRAILER!!!"
_ALIGN = 4


def archive(files: Sequence[Path]) -> bytes:
    """The archive that holds ``files`` under their own names, without folders.

    Raises:
        InputError: a file cannot be read, is empty or too large; a name is too long, not printable ASCII, or given
            twice; there are too many.
    """
    if len(files) > COUNT_MAX:
        raise InputError(f"{len(files)} boot modules; the kernel keeps {COUNT_MAX}", stage=STAGE)
    out = bytearray()
    names: set[str] = set()
    for path in files:
        name = path.name
        if not (name.isascii() and name.isprintable() and " " not in name and 0 < len(name) <= NAME_MAX):
            expected = f"up to {NAME_MAX} printable ASCII characters without blanks"
            raise InputError(f"{path}: the name of a boot module has {expected}", stage=STAGE)
        if name in names:
            raise InputError(f"{path}: another boot module is called {name} already", stage=STAGE)
        names.add(name)
        data = read_bounded(path, SIZE_MAX, stage=STAGE)
        if not data:
            raise InputError(f"{path}: empty; there is nothing to load", stage=STAGE)
        _entry(out, name, data, len(names))
    _entry(out, _TRAILER, b"", 0)
    return bytes(out)


def _entry(out: bytearray, name: str, data: bytes, inode: int) -> None:
    numbers = (inode, _FILE if inode else 0, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    out += (_MAGIC + "".join(f"{number:08x}" for number in numbers) + name + "\0").encode("ascii")
    out += bytes(-len(out) % _ALIGN)
    out += data
    out += bytes(-len(out) % _ALIGN)
