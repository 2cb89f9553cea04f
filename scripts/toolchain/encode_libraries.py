"""Keystone and Capstone for the worker: the two libraries behind three calls.

Owns how they are reached. The packages' own bindings load the tables of every architecture, which takes longer than
a whole build; so the shared libraries in them are called directly where they are the versions whose interface is
known here, and through the bindings otherwise. Only the worker process may load this: a call can hang or crash.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any, Final, Protocol

Decoded = tuple[int, int, str, str]
"""Address, size, mnemonic, operands."""

_X86_KEYSTONE: Final = 4
_X86_CAPSTONE: Final = 3
_KEYSTONE_MODE: Final = {16: 1 << 1, 32: 1 << 2, 64: 1 << 3}
_CAPSTONE_MODE: Final = {16: 1 << 1, 32: 1 << 2, 64: 1 << 3}
_KEYSTONE_VERSION: Final = (0, 9)
_CAPSTONE_VERSION: Final = 5


class NoEncoding(ValueError):
    """Keystone refuses a statement; the message is its own."""


class Libraries(Protocol):
    """An assembler and a disassembler per mode."""

    def assemble(self, mode: int, text: str) -> tuple[bytes, int]:
        """Bytes and the number of statements that Keystone saw.

        Raises:
            NoEncoding: Keystone says no.
        """
        ...

    def decode(self, mode: int, data: bytes) -> list[Decoded]:
        """The instructions in ``data``, up to the first that cannot be read."""
        ...


class _Instruction(ctypes.Structure):
    """``cs_insn`` of Capstone 5."""

    _fields_ = (
        ("id", ctypes.c_uint),
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint16),
        ("bytes", ctypes.c_ubyte * 24),
        ("mnemonic", ctypes.c_char * 32),
        ("operands", ctypes.c_char * 160),
        ("detail", ctypes.c_void_p),
    )


class _Direct:
    """The shared libraries of the installed packages."""

    def __init__(self) -> None:
        self._keystone = ctypes.CDLL(str(_library("keystone", "libkeystone.so")))
        self._capstone = ctypes.CDLL(str(_library("capstone", "lib/libcapstone.so")))
        major, minor = ctypes.c_uint(), ctypes.c_uint()
        self._keystone.ks_version(ctypes.byref(major), ctypes.byref(minor))
        if (major.value, minor.value) != _KEYSTONE_VERSION:
            raise OSError(f"Keystone {major.value}.{minor.value}")
        self._capstone.cs_version(ctypes.byref(major), ctypes.byref(minor))
        if major.value != _CAPSTONE_VERSION:
            raise OSError(f"Capstone {major.value}.{minor.value}")
        self._keystone.ks_strerror.restype = ctypes.c_char_p
        self._keystone.ks_free.argtypes = (ctypes.c_void_p,)
        self._capstone.cs_disasm.restype = ctypes.c_size_t
        self._capstone.cs_disasm.argtypes = (
            ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p,
        )  # fmt: skip
        self._capstone.cs_free.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        self._assemblers: dict[int, ctypes.c_void_p] = {}
        self._disassemblers: dict[int, ctypes.c_size_t] = {}
        if self.decode(64, b"\xf3\x90\xc3") != [(0, 2, "pause", ""), (2, 1, "ret", "")]:
            raise OSError("Capstone's interface is another one")

    def assemble(self, mode: int, text: str) -> tuple[bytes, int]:
        """See ``Libraries``."""
        engine = self._assemblers.get(mode)
        if engine is None:
            engine = ctypes.c_void_p()
            status = self._keystone.ks_open(_X86_KEYSTONE, _KEYSTONE_MODE[mode], ctypes.byref(engine))
            if status:
                raise OSError(f"ks_open fails: {status}")
            self._assemblers[mode] = engine
        data = ctypes.c_void_p()
        size, count = ctypes.c_size_t(), ctypes.c_size_t()
        status = self._keystone.ks_asm(
            engine, text.encode("ascii"), ctypes.c_uint64(0), ctypes.byref(data), ctypes.byref(size),
            ctypes.byref(count),
        )  # fmt: skip
        if status:
            raise NoEncoding(self._keystone.ks_strerror(self._keystone.ks_errno(engine)).decode("ascii"))
        code = ctypes.string_at(data, size.value) if size.value else b""
        self._keystone.ks_free(data)
        return code, count.value

    def decode(self, mode: int, data: bytes) -> list[Decoded]:
        """See ``Libraries``."""
        engine = self._disassemblers.get(mode)
        if engine is None:
            engine = ctypes.c_size_t()
            status = self._capstone.cs_open(_X86_CAPSTONE, _CAPSTONE_MODE[mode], ctypes.byref(engine))
            if status:
                raise OSError(f"cs_open fails: {status}")
            self._disassemblers[mode] = engine
        array = ctypes.POINTER(_Instruction)()
        count = self._capstone.cs_disasm(engine, data, len(data), 0, 0, ctypes.byref(array))
        if not count:
            return []
        found = [
            (item.address, item.size, item.mnemonic.decode("ascii"), item.operands.decode("ascii"))
            for item in array[:count]
        ]
        self._capstone.cs_free(array, count)
        return found


class _Bindings:
    """The packages' own Python interfaces."""

    def __init__(self) -> None:
        import capstone
        import keystone

        self._keystone: Any = keystone
        self._capstone: Any = capstone
        self._assemblers: dict[int, Any] = {}
        self._disassemblers: dict[int, Any] = {}

    def assemble(self, mode: int, text: str) -> tuple[bytes, int]:
        """See ``Libraries``."""
        if mode not in self._assemblers:
            self._assemblers[mode] = self._keystone.Ks(_X86_KEYSTONE, _KEYSTONE_MODE[mode])
        try:
            data, count = self._assemblers[mode].asm(text, as_bytes=True)
        except self._keystone.KsError as error:
            raise NoEncoding(str(error)) from None
        return data or b"", count

    def decode(self, mode: int, data: bytes) -> list[Decoded]:
        """See ``Libraries``."""
        if mode not in self._disassemblers:
            self._disassemblers[mode] = self._capstone.Cs(_X86_CAPSTONE, _CAPSTONE_MODE[mode])
        return list(self._disassemblers[mode].disasm_lite(data, 0))


def load(direct: bool = True) -> Libraries:
    """The libraries, directly when that is possible and wanted.

    Raises:
        ImportError: they are not installed.
    """
    if direct:
        try:
            return _Direct()
        except (OSError, AttributeError):
            pass  # another platform or version: its bindings know it
    return _Bindings()


def _library(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(folder, name)
        if path.exists():
            return path
    raise OSError(f"no {name}")
