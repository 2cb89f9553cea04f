"""Memory for machine code and for contexts.

Owns the pages: code is written first and then made executable, never both at once (W^X); addresses of what Python
holds. Linux and macOS; knows nothing of what is in them.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Callable
from functools import cache

from toolchain.errors import InputError, ToolError

STAGE = "vm"
_MACHINES = ("x86_64", "amd64")


class Pages:
    """Memory of this process alone, zeros at first; given back with the object."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.map = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def make_code(self) -> None:
        """From now on it can be executed and not written."""
        if _library().mprotect(self.address, self.size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise ToolError(
                f"mprotect: {ctypes.get_errno()}: this system refuses pages for machine code", stage=STAGE
            )


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.mprotect.restype = ctypes.c_int
    return library


def code(data: bytes) -> Pages:
    """Pages that hold machine code, ready to run."""
    pages = Pages(len(data))
    pages.map[: len(data)] = data
    pages.make_code()
    return pages


def function(address: int) -> Callable[[int], None]:
    """Code at an address as a function of one address; other threads run while it does."""
    made: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    return made


def address_of(memory: bytearray) -> tuple[int, object]:
    """Where the bytes lie, and what must be kept while they are used: they cannot be resized until it is dropped."""
    if not memory:
        return 0, None
    held = (ctypes.c_char * len(memory)).from_buffer(memory)
    return ctypes.addressof(held), held


def check_machine() -> None:
    """This machine executes x86-64 code.

    Raises:
        InputError: it does not.
    """
    if platform.machine().lower() not in _MACHINES:
        raise InputError(
            f"engine x86 needs an x86-64 machine; this one is {platform.machine()}; --engine python always works",
            stage=STAGE,
        )
