"""How a routine that was called under Unicorn ended: registers, flags, ports, and what ended it.

Owns these values and their names. Never calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolchain.errors import InputError
from toolchain.headers import full_register

STAGE = "harness"
FLAG_BITS = {"cf": 0, "pf": 2, "af": 4, "zf": 6, "sf": 7, "if": 9, "df": 10, "of": 11}

End = Literal["returned", "limit", "fault", "halt", "interrupt"]


@dataclass(frozen=True, slots=True)
class Result:
    """How one call ended.

    Attributes:
        end: ``returned`` to its caller; ``limit`` instructions spent; ``fault`` an address or instruction that
            cannot be used; ``halt`` executed hlt; ``interrupt`` executed int n or raised an exception.
        registers: the sixteen general registers by their 64-bit names, and ``rflags``.
        before: the same before the call.
        address: the linear address that faulted, or the vector of an interrupt, else None.
        rip: where the run ended.
        ports: every OUT as (port, size in bytes, value), in order.
        calls: substituted routines in the order in which they were called.
    """

    end: End
    registers: Mapping[str, int]
    before: Mapping[str, int]
    address: int | None
    rip: int
    ports: tuple[tuple[int, int, int], ...] = ()
    calls: tuple[str, ...] = ()

    def flag(self, name: str) -> bool:
        """One flag after the call: ``result.flag("cf")``."""
        return bool(self.registers["rflags"] >> FLAG_BITS[name] & 1)

    def value(self, register: str) -> int:
        """A register by any of its names, at its width: ``result.value("eax")``."""
        from toolchain.headers import register_bits

        full, bits = full_register(register), register_bits(register)
        if full is None or bits is None:
            raise InputError(f"no general register is called '{register}'", stage=STAGE)
        return self.registers[full] & ((1 << bits) - 1)


@dataclass(slots=True)
class Run:
    """What the hooks note during one run; ``end`` None when it came to where it should stop."""

    end: End | None = None
    stopped: bool = False
    address: int | None = None
    ports: list[tuple[int, int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
