"""A person at the serial line who types one line when the shell is there; the boot then goes on to its end."""

from __future__ import annotations

import os

PROMPT = b"px> "


class Typist:
    """A console for ``qemu.boot`` (``qemu.Console``) that types ``line`` once."""

    def __init__(self, line: str) -> None:
        self._line = line.encode() + b"\r"
        self._said = b""
        self._read, self._write = os.pipe()

    def __enter__(self) -> Typist:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._read)
        os.close(self._write)

    def handles(self) -> list[int]:
        return [self._read]

    def typed(self, handle: int) -> bytes:
        return os.read(handle, 1 << 12)

    def show(self, data: bytes) -> None:
        self._said += data
        if self._line and self._said.endswith(PROMPT):
            os.write(self._write, self._line)
            self._line = b""
