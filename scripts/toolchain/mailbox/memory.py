"""The shared memory as words: loads and stores of 32 and 64 bits at offsets, and bounded views of the data area.

Owns: the views, the full fence, making the memory (a file in memory, sealed against resizing, so that no peer can
cut it off under us). Never says what lies where; ``layout`` does.

Python stores a 32-bit or 64-bit item of a ``memoryview`` with one move; on x86-64 such stores become visible in program
order, which is what the specification asks of "stored last". Elsewhere use ``fence``.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading

from toolchain.errors import InputError
from toolchain.mailbox import layout

STAGE = "mailbox"
MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF
_LOCK = threading.Lock()


def fence() -> None:
    """A full fence: taking a lock is a locked instruction."""
    _LOCK.acquire()
    _LOCK.release()


def create(size: int) -> int:
    """Zeroed shared memory of ``size`` bytes as a file descriptor that is passed to the peers.

    Raises:
        InputError: no power of two, or out of range.
        OSError: the system gives no memory.
    """
    check_size(size)
    handle = os.memfd_create("pxos-mailbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(handle, size)
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(handle)
        raise
    return handle


def check_size(size: int) -> None:
    """Whether ``size`` can be the shared memory's.

    Raises:
        InputError: no power of two, or out of range.
    """
    if size & (size - 1) or not layout.BYTES_MIN <= size <= layout.BYTES_MAX:
        raise InputError(
            f"{size} bytes of shared memory: a power of two from {layout.BYTES_MIN} to {layout.BYTES_MAX}",
            stage=STAGE,
        )


class Memory:
    """One mapping of the shared memory.

    Args:
        buffer: a writable mapping (``mmap``) or, for tests, a ``bytearray``; its size is a legal one.

    Attributes:
        raw: all bytes.
        words: the same as 32-bit words: ``words[at >> 2]``.
        quads: the same as 64-bit words: ``quads[at >> 3]``.
        size: bytes.
    """

    def __init__(self, buffer: mmap.mmap | bytearray) -> None:
        self.buffer = buffer
        self.raw = memoryview(buffer)
        self.size = len(self.raw)
        check_size(self.size)
        self.words = self.raw.cast("I")
        self.quads = self.raw.cast("Q")

    @classmethod
    def of(cls, handle: int) -> Memory:
        """Map the memory behind a file descriptor.

        Raises:
            InputError: its size cannot be a mailbox's.
            OSError: it cannot be mapped.
        """
        size = os.fstat(handle).st_size
        check_size(size)
        return cls(mmap.mmap(handle, size))

    def close(self) -> None:
        """Drop the mapping; the object is of no use afterwards."""
        self.words.release()
        self.quads.release()
        self.raw.release()
        if isinstance(self.buffer, mmap.mmap):
            self.buffer.close()

    def holds(self, offset: int, length: int) -> bool:
        """Whether ``length`` bytes at ``offset`` lie in the data area (an empty range too)."""
        return offset >= layout.DATA_AT and offset + length <= self.size

    def data(self, offset: int, length: int) -> memoryview:
        """A part of the data area.

        Raises:
            ValueError: it leaves the data area.
        """
        if length < 0 or not self.holds(offset, length):
            raise ValueError(f"{length} bytes at {offset:#x} of {self.size:#x}")
        return self.raw[offset : offset + length]
