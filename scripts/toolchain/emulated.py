"""The registers of an emulated CPU, read and set by name.

Owns which name is which number in Unicorn, and the short way to registers that are one word. What a value means is
nobody's business here.
"""

from __future__ import annotations

import ctypes
from typing import Any

from toolchain.called import FLAG_BITS, STAGE
from toolchain.errors import InputError, InternalError
from toolchain.headers import GENERAL

MASK64 = (1 << 64) - 1
_NARROW = frozenset(
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "rflags"]
)  # by their low halves there
_WORDS = frozenset([*GENERAL, "rip", "rflags"])  # of 64 bits, or 32 there


class Registers:
    """The registers of a CPU under Unicorn.

    Attributes:
        bits: 64, or 32 for protected mode, where a name means the lower half.
    """

    bits: int
    _uc: Any
    _c: Any  # Unicorn's constants for x86

    def _prepare_registers(self) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        self._numbers: dict[str, int] = {}
        # A substitute reads and sets several each time it runs, and the library's own way takes three times as long.
        self._library: Any = uclib
        self._word = ctypes.c_uint64()
        self._there = ctypes.byref(self._word)

    def get(self, register: str) -> int:
        """A register (64-bit name, or a control register such as ``cr3``)."""
        if register not in _WORDS:
            return int(self._uc.reg_read(self._number(register)))
        self._word.value = 0
        if self._library.uc_reg_read(self._uc._uch, self._number(register), self._there):
            raise InternalError(f"the emulator does not read {register}", stage=STAGE)
        return self._word.value

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        if register not in _WORDS:
            self._uc.reg_write(self._number(register), value & MASK64)
            return
        self._word.value = value & MASK64
        if self._library.uc_reg_write(self._uc._uch, self._number(register), self._there):
            raise InternalError(f"the emulator does not write {register}", stage=STAGE)

    def set_flag(self, name: str, value: bool) -> None:
        """Set one flag, e.g. ``cf`` for the failure convention."""
        bit = 1 << FLAG_BITS[name]
        flags = self.get("rflags")
        self.set("rflags", flags | bit if value else flags & ~bit)

    def table(self, register: str) -> tuple[int, int, int]:
        """``gdtr``, ``idtr`` or ``tr``: selector (0 for the first two), base, limit."""
        selector, base, limit, _flags = self._uc.reg_read(self._number(register))
        return int(selector), int(base), int(limit)

    def msr(self, number: int) -> int:
        """A model specific register."""
        return int(self._uc.reg_read(self._c.UC_X86_REG_MSR, number))

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            known = f"e{name[1:]}" if self.bits == 32 and name in _NARROW else name
            number = getattr(self._c, f"UC_X86_REG_{known.upper()}", None)
            if number is None:
                raise InputError(f"no register is called '{name}'", stage=STAGE)
            self._numbers[name] = int(number)
        return int(number)
