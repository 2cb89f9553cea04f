"""The worker's answers, kept in a file between runs.

Owns the file's format and whether it may be believed: it counts only for the libraries and the tables that made it,
and only whole. It never decides what an answer means: everything in it is compared with its statement again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from pathlib import Path
from typing import Final

from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic

_STAGE: Final = "encode"
_FORMAT: Final = "pxos encodings 1"
_LIBRARIES: Final = (("keystone", "libkeystone.so"), ("capstone", "lib/libcapstone.so"))


class Cache:
    """The file ``encodings`` in a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "encodings"
        self._head = ""
        self._loaded = 0

    def load(self) -> dict[str, str]:
        """What was kept; empty when there is nothing that may be believed."""
        self._head = f"{_FORMAT}; {libraries()}"
        try:
            text = self._path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return {}
        head, _, rest = text.partition("\n")
        digest, _, body = rest.partition("\n")
        if head != self._head or digest != _digest(body):
            return {}
        answers = {}
        for line in body.splitlines():
            request, _, reply = line.partition("\x1f")
            answers[request] = reply
        self._loaded = len(answers)
        return answers

    def store(self, answers: dict[str, str]) -> None:
        """Keep ``answers`` unless they are what was loaded. A folder that cannot be written keeps nothing."""
        if len(answers) == self._loaded:
            return
        body = "".join(f"{request}\x1f{reply}\n" for request, reply in sorted(answers.items()) if reply)
        with contextlib.suppress(InputError):
            make_folder(self._path.parent, stage=_STAGE)
            write_atomic(self._path, f"{self._head}\n{_digest(body)}\n{body}", stage=_STAGE)
            self._loaded = len(answers)


def _digest(body: str) -> str:
    return hashlib.blake2b(body.encode("ascii"), digest_size=16).hexdigest()


def libraries() -> str:
    """Keystone and Capstone by size and time."""
    parts = []
    for package, name in _LIBRARIES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec is not None else None) or ():
            with contextlib.suppress(OSError):
                status = Path(folder, name).stat()
                parts.append(f"{package} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(parts)
