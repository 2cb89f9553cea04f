"""One routine of a linked kernel, run alone under Unicorn: registers in, registers and memory out.

Owns the emulated machine: the image's sections at their virtual addresses, a stack, a window of RAM in the direct
map, a per-CPU block behind GS, I/O ports answered by a callback, substitutes for routines that a test does not want
to run. Never judges: what a routine should do is said by its header (``headers``) and by the contracts.

Paging is not emulated (Unicorn's virtual TLB: every mapped address is usable); page-table routines are judged by the
tables that they leave in RAM. Privileged instructions run at CPL 0.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolchain.errors import InputError
from toolchain.headers import GENERAL, full_register
from toolchain.types import Image

PAGE = 4096
DIRECT_BASE = 0xFFFF_8000_0000_0000
STACK_TOP = 0xFFFF_FE00_0010_0000
STACK_SIZE = 0x10000
RETURN_PAGE = 0xFFFF_FE00_0020_0000
PERCPU_PAGE = 0xFFFF_FE00_0030_0000
BUFFER_BASE = 0xFFFF_FE00_0040_0000
BUFFER_SIZE = 0x10000
FLAG_BITS = {"cf": 0, "pf": 2, "af": 4, "zf": 6, "sf": 7, "if": 9, "df": 10, "of": 11}
_MASK = (1 << 64) - 1
_BY_NUMBER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_INVLPG = re.compile(rb"(\x41?)\x0f\x01([\x38-\x3b\x3e\x3f])", re.DOTALL)
_STACK_NOISE = bytes((0xD1, 0x57, 0xAC, 0x6B)) * (
    STACK_SIZE // 4
)  # no address, and not the zero of an unset pointer
_UART_LINE_STATUS = 0x3FD
_UART_READY = 0x60

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
            raise InputError(f"no general register is called '{register}'", stage="harness")
        return self.registers[full] & ((1 << bits) - 1)


@dataclass(slots=True)
class _Run:
    """What the hooks note during one call."""

    end: End | None = None
    address: int | None = None
    ports: list[tuple[int, int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


def default_port_in(port: int, size: int) -> int:
    """A machine with nothing but a UART that is always ready: its line status, all ones elsewhere."""
    return _UART_READY if port == _UART_LINE_STATUS else (1 << (8 * size)) - 1


class Harness:
    """A linked image in an emulated CPU.

    Args:
        image: the kernel.
        ram: bytes of RAM behind the direct map, from physical 0; a multiple of 4096.
        direct_base: virtual address of physical 0 in the direct map.
        port_in: answers IN; called with port and size in bytes.

    Raises:
        InputError: a section overlaps another or lies outside the address space.
    """

    def __init__(
        self,
        image: Image,
        *,
        ram: int = 1 << 20,
        direct_base: int = DIRECT_BASE,
        port_in: Callable[[int, int], int] = default_port_in,
    ) -> None:
        from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, UcError, unicorn_const, x86_const

        self._c: Any = x86_const
        self._error = UcError
        self.image = image
        self.ram = ram
        self.direct_base = direct_base
        self.port_in = port_in
        self._symbols = {symbol.name: symbol.address for symbol in image.symbols}
        self._substitutes: dict[int, tuple[str, Callable[[Harness], None]]] = {}
        self._run = _Run()
        self._uc: Any = Uc(UC_ARCH_X86, UC_MODE_64)
        self._uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_VIRTUAL)
        self._registers = {
            name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in (*GENERAL, "rflags")
        }
        self._map_image()
        for base, size in (
            (STACK_TOP - STACK_SIZE, STACK_SIZE),
            (RETURN_PAGE, PAGE),
            (PERCPU_PAGE, PAGE),
            (BUFFER_BASE, BUFFER_SIZE),
            (direct_base, ram),
        ):
            self._uc.mem_map(base, size)
        self._hook(unicorn_const)
        self.reset()

    # --- memory ------------------------------------------------------------------------------------------------

    def _map_image(self) -> None:
        pages: set[int] = set()
        for section in self.image.sections:
            pages.update(range(section.address // PAGE, -(-(section.address + section.size) // PAGE)))
        for page in sorted(pages):
            if page - 1 not in pages:
                end = page
                while end in pages:
                    end += 1
                try:
                    self._uc.mem_map(page * PAGE, (end - page) * PAGE)
                except self._error as error:
                    raise InputError(f"the image cannot be mapped: {error}", stage="harness") from error
        for section in self.image.sections:
            if section.data and "w" not in section.flags:
                self._uc.mem_write(section.address, section.data)

    def reset(self) -> None:
        """Writable sections, RAM, per-CPU block and buffers as before the first instruction."""
        for section in self.image.sections:
            if "w" in section.flags or section.nobits:
                self._uc.mem_write(section.address, section.data.ljust(section.size, b"\0"))
        self._uc.mem_write(self.direct_base, bytes(self.ram))
        self._uc.mem_write(PERCPU_PAGE, PERCPU_PAGE.to_bytes(8, "little").ljust(PAGE, b"\0"))
        self._uc.mem_write(BUFFER_BASE, bytes(BUFFER_SIZE))
        self._uc.mem_write(STACK_TOP - STACK_SIZE, _STACK_NOISE)
        self._uc.reg_write(self._c.UC_X86_REG_GS_BASE, PERCPU_PAGE)

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a virtual address; ``InputError`` where nothing is mapped."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except self._error as error:
            raise InputError(f"nothing is mapped at {address:#x} (+{size})", stage="harness") from error

    def write(self, address: int, data: bytes) -> None:
        """Bytes to a virtual address; ``InputError`` where nothing is mapped."""
        try:
            self._uc.mem_write(address, data)
        except self._error as error:
            raise InputError(f"nothing is mapped at {address:#x} (+{len(data)})", stage="harness") from error

    def read_u64(self, address: int) -> int:
        """One little-endian quadword."""
        return int.from_bytes(self.read(address, 8), "little")

    def write_u64(self, address: int, value: int) -> None:
        """One little-endian quadword."""
        self.write(address, (value & _MASK).to_bytes(8, "little"))

    def address(self, symbol: str) -> int:
        """The address of a symbol; ``InputError`` when the image has none of that name."""
        if symbol not in self._symbols:
            raise InputError(f"the image has no symbol '{symbol}'", stage="harness")
        return self._symbols[symbol]

    def has(self, symbol: str) -> bool:
        """Whether the image has a symbol of that name."""
        return symbol in self._symbols

    # --- control -----------------------------------------------------------------------------------------------

    def substitute(self, routine: str, action: Callable[[Harness], None]) -> None:
        """Run ``action`` in place of a routine; it reads and sets registers, then the routine returns."""
        address = self.address(routine)
        if address not in self._substitutes:
            from unicorn import UC_HOOK_CODE

            self._uc.hook_add(UC_HOOK_CODE, self._substituted, None, address, address)
        self._substitutes[address] = (routine, action)

    def probe(self, address: int, action: Callable[[Harness], None]) -> None:
        """Run ``action`` each time the instruction at ``address`` is about to run."""
        from unicorn import UC_HOOK_CODE

        self._uc.hook_add(UC_HOOK_CODE, lambda *_: action(self), None, address, address)

    def watch_invlpg(self, routines: Iterable[str]) -> list[int]:
        """The addresses that the given routines hand to INVLPG from now on, in order (a list that grows).

        INVLPG leaves no trace in an emulator without a TLB; its places are found by opcode (0F 01 /7, SDM vol. 2).
        """
        seen: list[int] = []
        sizes = {symbol.name: symbol.size for symbol in self.image.symbols}
        for routine in routines:
            start = self.address(routine)
            for match in _INVLPG.finditer(self.read(start, sizes[routine])):
                number = (match[2][0] & 7) | (8 if match[1] == b"\x41" else 0)
                name = _BY_NUMBER[number]
                self.probe(start + match.start(), lambda h, name=name: seen.append(h.get(name)))  # type: ignore[misc]
        return seen

    def get(self, register: str) -> int:
        """A register while a substitute runs (64-bit name, or a control register such as ``cr3``)."""
        return int(self._uc.reg_read(self._register(register)))

    def set(self, register: str, value: int) -> None:
        """Set a register while a substitute runs or between calls."""
        self._uc.reg_write(self._register(register), value & _MASK)

    def set_flag(self, name: str, value: bool) -> None:
        """Set one flag, e.g. ``cf`` for the failure convention."""
        bit = 1 << FLAG_BITS[name]
        flags = self.get("rflags")
        self.set("rflags", flags | bit if value else flags & ~bit)

    def _register(self, name: str) -> int:
        number = self._registers.get(name)
        if number is None:
            number = getattr(self._c, f"UC_X86_REG_{name.upper()}", None)
            if number is None:
                raise InputError(f"no register is called '{name}'", stage="harness")
            self._registers[name] = number
        return int(number)

    def call(
        self,
        routine: str | int,
        registers: Mapping[str, int] | None = None,
        *,
        seed: int = 0,
        limit: int = 200_000,
    ) -> Result:
        """Call a routine with every register that is not given seeded with noise.

        Args:
            routine: symbol or address.
            registers: values by 64-bit name.
            seed: chooses the noise; the same seed gives the same run.
            limit: instructions before the run ends as ``limit``.
        """
        address = self.address(routine) if isinstance(routine, str) else routine
        noise = random.Random(seed)
        before = {name: noise.getrandbits(64) | 1 << 62 for name in GENERAL}
        before.update({name: value & _MASK for name, value in (registers or {}).items()})
        before["rsp"] = STACK_TOP - 0x1008  # as after a call from a 16-byte aligned stack
        before["rflags"] = 0x2
        self.write_u64(before["rsp"], RETURN_PAGE)
        for name, value in before.items():
            self._uc.reg_write(self._registers[name], value)
        self._run = run = _Run()
        try:
            self._uc.emu_start(address, RETURN_PAGE, count=limit)
        except self._error as error:
            if run.end is None:
                run.end = "interrupt" if "exception" in str(error).lower() else "fault"
        rip = int(self._uc.reg_read(self._c.UC_X86_REG_RIP))
        if run.end is None:
            run.end = "returned" if rip == RETURN_PAGE else self._stopped(rip)
        after = {name: int(self._uc.reg_read(self._registers[name])) for name in (*GENERAL, "rflags")}
        return Result(run.end, after, before, run.address, rip, tuple(run.ports), tuple(run.calls))

    def _stopped(self, rip: int) -> End:
        """Why emulation stopped without an error: hlt, or the instruction limit."""
        try:
            return "halt" if self.read(rip - 1, 1) == b"\xf4" else "limit"
        except InputError:
            return "limit"

    # --- hooks -------------------------------------------------------------------------------------------------

    def _hook(self, const: Any) -> None:
        self._uc.hook_add(const.UC_HOOK_MEM_INVALID, self._invalid)
        self._uc.hook_add(const.UC_HOOK_INTR, self._interrupt)
        self._uc.hook_add(const.UC_HOOK_INSN, self._in, None, 1, 0, self._c.UC_X86_INS_IN)
        self._uc.hook_add(const.UC_HOOK_INSN, self._out, None, 1, 0, self._c.UC_X86_INS_OUT)

    def _invalid(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> bool:
        self._run.address = address & _MASK
        return False

    def _interrupt(self, uc: Any, number: int, data: object) -> None:
        self._run.end, self._run.address = "interrupt", number
        uc.emu_stop()

    def _in(self, uc: Any, port: int, size: int, data: object) -> int:
        return self.port_in(port, size)

    def _out(self, uc: Any, port: int, size: int, value: int, data: object) -> None:
        self._run.ports.append((port, size, value))

    def _substituted(self, uc: Any, address: int, size: int, data: object) -> None:
        name, action = self._substitutes[address]
        self._run.calls.append(name)
        action(self)
        stack = self.get("rsp")
        self.set("rip", self.read_u64(stack))
        self.set("rsp", stack + 8)
