"""An emulated x86 CPU around a linked image: memory, devices, registers and hooks, under Unicorn.

Owns the emulator and what surrounds the code: reading and writing memory, I/O ports, device windows, CPUID, substitutes
and probes, and how a run ends. Where the image lies and what else is mapped is said by those who build on it:
``harness`` (one routine in long mode) and ``harness32`` (the 32-bit entry). Never judges.

Code on trial may do anything: every run is bounded by a count of instructions, every error of the emulator is an end.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from toolchain.blanks import Blanked
from toolchain.called import STAGE, End, Run
from toolchain.emulated import MASK64 as MASK64
from toolchain.emulated import Registers
from toolchain.errors import InputError, InternalError
from toolchain.trace import recorder
from toolchain.types import Image, Symbols

PAGE = 4096
_UART_LINE_STATUS = 0x3FD
_UART_READY = 0x60
_BREAKPOINT = 3  # INT3
_NOWHERE = 0x00FF_FFFF_FFFF_F000  # not canonical: no code comes there

PortIn = Callable[[int, int], int]
PortOut = Callable[[int, int, int], None]
Cpuid = Callable[[int, int], tuple[int, int, int, int]]
E = TypeVar("E", bound="Emulator")


def default_port_in(port: int, size: int) -> int:
    """A machine with nothing but a UART that is always ready: its line status, all ones elsewhere."""
    return _UART_READY if port == _UART_LINE_STATUS else (1 << (8 * size)) - 1


_SCOPES: list[list[Emulator]] = []


@contextmanager
def machines_closed() -> Iterator[None]:
    """Close every machine that is made meanwhile: each holds megabytes, and its hooks keep it alive."""
    made: list[Emulator] = []
    _SCOPES.append(made)
    try:
        yield
    finally:
        _SCOPES.remove(made)
        for machine in made:
            machine.close()


class Emulator(Registers):
    """A CPU with the image's symbols, and nothing mapped.

    Args:
        image: the kernel.
        bits: 64 for long mode without paging, 32 for protected mode with the CPU's own paging.
        port_in: answers IN; called with port and size in bytes.

    Attributes:
        port_in: as given; may be replaced until ``renew``.
        port_out: called with port, size in bytes and value of every OUT; None when nobody listens.
        cpuid: answers CPUID, leaf and subleaf -> eax, ebx, ecx, edx; None leaves it to the emulated CPU.
    """

    def __init__(self, image: Image, bits: int, port_in: PortIn) -> None:
        from unicorn import UC_ARCH_X86, UC_MODE_32, UC_MODE_64, Uc, UcError, unicorn_const, x86_const
        from unicorn.unicorn_py3.unicorn import HOOK_CODE_CFUNC, uccallback

        self._c: Any = x86_const
        self._u: Any = unicorn_const
        self._error = UcError
        self.bits = bits
        self.port_in = self._usual_port_in = port_in
        self.port_out: PortOut | None = None
        self.cpuid: Cpuid | None = None
        self._take(image)
        self._hooks: dict[int, tuple[Any, list[Callable[..., None]]]] = {}  # by address: hook, what it calls
        self._windows: list[tuple[int, int]] = []
        self._substitutes: dict[int, str] = {}
        self._stale = False  # code was translated before a hook in it was set
        self._run = Run()
        self._uc: Any = Uc(UC_ARCH_X86, UC_MODE_64 if bits == 64 else UC_MODE_32)
        self._prepare_registers()
        self._entry: Any = uccallback(self._uc, HOOK_CODE_CFUNC)(self._called)
        # In long mode addresses are taken as they are; the 32-bit machine has the CPU's own paging.
        if bits == 64:
            self._uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_VIRTUAL)
        add = self._uc.hook_add
        self._own_hooks = (
            add(self._u.UC_HOOK_MEM_INVALID, self._invalid),
            add(self._u.UC_HOOK_INTR, self._interrupt),
            add(self._u.UC_HOOK_INSN, self._in, None, 1, 0, self._c.UC_X86_INS_IN),
            add(self._u.UC_HOOK_INSN, self._out, None, 1, 0, self._c.UC_X86_INS_OUT),
            add(self._u.UC_HOOK_INSN, self._cpuid, None, 1, 0, self._c.UC_X86_INS_CPUID),
        )
        self._open()
        self._recorder = recorder()
        if self._recorder is not None:
            self._recorder.attach(self._uc, self._u, image, bits)

    def _open(self) -> None:
        if _SCOPES:
            _SCOPES[-1].append(self)

    def _take(self, image: Image) -> None:
        self.image = image
        symbols = image.symbols
        known = symbols if isinstance(symbols, Symbols) else Symbols(symbols)
        self._symbols = known.addresses

    def close(self) -> None:
        """Let the emulated machine go at once; its hooks would keep it until a search for cyclic garbage."""
        self.forget()
        for hook in self._own_hooks:
            self._uc.hook_del(hook)

    def forget(self) -> None:
        """Drop substitutes, probes, windows and devices."""
        # Each would be looked at for every instruction that runs, wherever it is, since instructions are counted.
        for hook, _ in self._hooks.values():
            self._library.uc_hook_del(self._uc._uch, hook)
        self._hooks.clear()
        for base, size in self._windows:
            self._uc.mem_unmap(base, size)
        self._windows, self._substitutes = [], {}
        self.port_in, self.port_out, self.cpuid = self._usual_port_in, None, None

    # --- memory ------------------------------------------------------------------------------------------------

    def map(self, base: int, size: int) -> None:
        """Map zeroed memory (pages); ``InputError`` where it overlaps something."""
        try:
            self._uc.mem_map(base, size)
        except self._error as error:
            raise InputError(f"the image cannot be mapped at {base:#x}: {error}", stage=STAGE) from error

    def read(self, address: int, size: int) -> bytes:
        """Bytes at an address; ``InputError`` where nothing is mapped."""
        try:
            return bytes(self._uc.mem_read(address & MASK64, size))
        except self._error as error:
            raise InputError(f"nothing is mapped at {address:#x} (+{size})", stage=STAGE) from error

    def write(self, address: int, data: bytes) -> None:
        """Bytes to an address; ``InputError`` where nothing is mapped. Code that has run stays as it was."""
        try:
            self._uc.mem_write(address & MASK64, data)
        except self._error as error:
            raise InputError(f"nothing is mapped at {address:#x} (+{len(data)})", stage=STAGE) from error

    def write_code(self, address: int, data: bytes) -> None:
        """Bytes to an address where other code may have run before."""
        self.write(address, data)
        self._uc.ctl_remove_cache(address, address + len(data))

    def read_u32(self, address: int) -> int:
        """One little-endian dword."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        """One little-endian quadword."""
        return int.from_bytes(self.read(address, 8), "little")

    def write_u64(self, address: int, value: int) -> None:
        """One little-endian quadword."""
        self.write(address, (value & MASK64).to_bytes(8, "little"))

    def memory(self, base: int, size: int) -> None:
        """Map zeroed memory (pages) until ``forget``."""
        self.map(base, size)
        self._windows.append((base, size))

    def window(
        self, base: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None]
    ) -> None:
        """Map a device (pages) until ``forget``.

        ``read(offset, bytes) -> value`` and ``write(offset, bytes, value)`` answer it; a quadword comes as two dwords.
        """
        try:
            self._uc.mmio_map(
                base,
                size,
                lambda _u, o, s, _d: read(o, s),
                None,
                lambda _u, o, s, v, _d: write(o, s, v),
                None,
            )
        except self._error as error:
            raise InputError(f"no device can be mapped at {base:#x}: {error}", stage=STAGE) from error
        self._windows.append((base, size))

    def address(self, symbol: str) -> int:
        """The address of a symbol; ``InputError`` when the image has none of that name."""
        if symbol not in self._symbols:
            raise InputError(f"the image has no symbol '{symbol}'", stage=STAGE)
        return self._symbols[symbol]

    def has(self, symbol: str) -> bool:
        """Whether the image has a symbol of that name."""
        return symbol in self._symbols

    # --- control -----------------------------------------------------------------------------------------------

    def substitute(self: E, routine: str, action: Callable[[E], None]) -> None:
        """Run ``action`` in place of a routine; it reads and sets registers, then the routine returns."""
        address = self.address(routine)

        def replaced(uc: Any, at: int, size: int, data: object) -> None:
            self._run.calls.append(routine)
            action(self)
            self._return()

        if address in self._substitutes:
            raise InputError(f"'{routine}' is substituted already", stage=STAGE)
        self._substitutes[address] = routine
        self._at(address, replaced)

    def probe(self: E, address: int, action: Callable[[E], None]) -> None:
        """Run ``action`` each time the instruction at ``address`` is about to run."""
        self._at(address & MASK64, lambda *_: action(self))

    def _at(self, address: int, hook: Callable[..., None]) -> None:
        """Call ``hook`` at an address until ``forget``.

        One function of this process serves all hooks: to make one takes longer than all else here.
        """
        known = self._hooks.get(address)
        if known is None:
            handle, place = ctypes.c_size_t(), ctypes.c_uint64(address)
            kind, add = self._u.UC_HOOK_CODE, self._library.uc_hook_add
            if add(self._uc._uch, ctypes.byref(handle), kind, self._entry, None, place, place):
                raise InternalError(f"the emulator sets no hook at {address:#x}", stage=STAGE)
            known = self._hooks[address] = (handle, [])
            if self.bits == 64:
                self._uc.ctl_remove_cache(address, address + 1)  # what was translated without it
            else:  # where code lies is the business of its page tables
                self._stale = True
        known[1].append(hook)

    def _called(self, uc: Any, at: int, size: int, data: object) -> None:
        known = self._hooks.get(at)
        for action in () if known is None else tuple(known[1]):
            if not self._run.stopped:
                action(uc, at, size, data)

    def _return(self) -> None:
        stack = self.get("rsp")
        self.set("rip", self.read_u64(stack))
        self.set("rsp", stack + 8)

    def stop(self) -> None:
        """End the run from a probe or a device, before the instruction at hand; it counts as returned."""
        self._run.stopped = True
        self._uc.emu_stop()

    def _go(self, address: int, halt: int, limit: int) -> Run:
        """Run from ``address`` until the HLT at ``halt`` has run, ``stop`` is called, or ``limit`` instructions.

        The emulator's own way to end at an address is not used: it translates the code before it anew each time.
        """
        self._run = run = Run()
        if self._recorder is not None:
            self._recorder.begin()
        if self._stale:
            self._uc.ctl_flush_tb()
            self._stale = False
        try:
            self._uc.emu_start(address, _NOWHERE if self.bits == 64 else _NOWHERE & 0xFFFFFFFF, count=limit)
        except self._error as error:
            if run.end is None:
                run.end = "interrupt" if "exception" in str(error).lower() else "fault"
        if run.end is None and not run.stopped:
            rip = self.get("rip")
            if rip != halt + 1:
                run.end = self._stopped(rip)
        return run

    def _stopped(self, rip: int) -> End:
        """Why emulation stopped without an error: hlt, or the instruction limit."""
        try:
            return "halt" if self.read(rip - 1, 1) == b"\xf4" else "limit"
        except InputError:
            return "fault" if rip == _NOWHERE else "limit"

    # --- hooks -------------------------------------------------------------------------------------------------

    def _invalid(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> bool:
        self._run.address = address & MASK64
        return False

    def _interrupt(self, uc: Any, number: int, data: object) -> None:
        self._run.end, self._run.address = "interrupt", number
        if number == _BREAKPOINT and isinstance(self.image, Blanked):
            self.image.meet(self.get("rip"))
        uc.emu_stop()

    def _in(self, uc: Any, port: int, size: int, data: object) -> int:
        return self.port_in(port, size)

    def _out(self, uc: Any, port: int, size: int, value: int, data: object) -> None:
        value &= (1 << 8 * size) - 1
        self._run.ports.append((port, size, value))
        if self.port_out is not None:
            self.port_out(port, size, value)

    def _cpuid(self, uc: Any, data: object) -> int:
        if self.cpuid is None:
            return 0  # the emulated CPU's own answer
        values = self.cpuid(self.get("rax") & 0xFFFFFFFF, self.get("rcx") & 0xFFFFFFFF)
        for name, value in zip(("rax", "rbx", "rcx", "rdx"), values, strict=True):
            self.set(name, value)
        return 1
