"""A person at the serial line who types given lines, each when the shell's prompt is there.

Owns: a console for ``qemu.boot`` (``qemu.Console``). Never judges what is answered.
"""

from __future__ import annotations

import os

PROMPT = b"px> "


class Typist:
    """Types ``lines`` one after the other, and keeps what was said.

    Attributes:
        said: everything from the serial line.
    """

    def __init__(self, *lines: str) -> None:
        self._lines = [line.encode() + b"\r" for line in lines]
        self.said = b""
        self._read, self._write = os.pipe()

    def __enter__(self) -> Typist:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._read)
        os.close(self._write)

    def handles(self) -> list[int]:
        """What becomes readable when the next line is typed."""
        return [self._read]

    def typed(self, handle: int) -> bytes:
        """The line."""
        return os.read(handle, 1 << 12)

    def show(self, data: bytes) -> None:
        """Take what the guest said; behind a prompt the next line is typed."""
        self.said += data
        if self._lines and self.said.endswith(PROMPT):
            os.write(self._write, self._lines.pop(0))
