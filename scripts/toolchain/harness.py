"""One routine of a linked kernel, run alone in long mode: registers in, registers and memory out.

Owns the machine of one call: the image's sections at their virtual addresses, a stack, a window of RAM in the direct
map, a per-CPU block behind GS, buffers. Never judges: what a routine should do is said by its header (``headers``)
and by the contracts. What a run does to the CPU (INVLPG, control registers, MSRs, fences) is noted by ``watch``.

Paging is not emulated (Unicorn's virtual TLB: every mapped address is usable); page-table routines are judged by the
tables that they leave in RAM. Privileged instructions run at CPL 0.
"""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Mapping
from functools import lru_cache

from toolchain import harness_stub as stub
from toolchain.called import STAGE, End, Result, Run
from toolchain.emulator import MASK64, PAGE, Emulator, PortIn, default_port_in
from toolchain.errors import InputError
from toolchain.harness_stub import HALT, RETURN_PAGE
from toolchain.headers import GENERAL
from toolchain.types import Image, Section

__all__ = [
    "BUFFER_BASE", "BUFFER_SIZE", "DIRECT_BASE", "HALT", "PAGE", "PERCPU_PAGE", "RETURN_PAGE", "STACK_SIZE",
    "STACK_TOP", "End", "Harness", "Result",
]  # fmt: skip

DIRECT_BASE = 0xFFFF_8000_0000_0000
STACK_TOP = 0xFFFF_FE00_0010_0000
STACK_SIZE = 0x10000
PERCPU_PAGE = 0xFFFF_FE00_0030_0000
BUFFER_BASE = 0xFFFF_FE00_0040_0000
BUFFER_SIZE = 0x10000
# no address, and not the zero of an unset pointer
_STACK_NOISE = bytes((0xD1, 0x57, 0xAC, 0x6B)) * (STACK_SIZE // 4)
_ENTRY_RSP = (
    STACK_TOP - 0x1008
)  # at the routine's first instruction, as after a call from a 16-byte aligned stack


@lru_cache(maxsize=4096)
def _noise(seed: int) -> dict[str, int]:
    """What the registers of a call hold that are not given."""
    noise = random.Random(seed)
    values = {name: noise.getrandbits(64) | 1 << 62 for name in GENERAL}
    values.update(rsp=_ENTRY_RSP, rflags=0x2)
    return values


def _ranges(image: Image) -> list[tuple[int, int]]:
    """The pages that an image takes: address and size of each stretch."""
    pages: set[int] = set()
    for section in image.sections:
        pages.update(range(section.address // PAGE, -(-(section.address + section.size) // PAGE)))
    found = []
    for page in sorted(pages):
        if page - 1 not in pages:
            end = page
            while end in pages:
                end += 1
            found.append((page * PAGE, (end - page) * PAGE))
    return found


def _differing(one: bytes, other: bytes) -> tuple[int, int]:
    """From where to where (exclusive) two pages differ."""
    bits = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return ((bits & -bits).bit_length() - 1) // 8, (bits.bit_length() + 7) // 8


@lru_cache(maxsize=64)
def _zeros(size: int) -> bytes:
    return bytes(size)


@lru_cache(maxsize=8)
def _padded(section: Section) -> bytes:
    return section.data.ljust(section.size, b"\0")


_STUB = bytes(stub.ENTER - stub.BASE) + stub.CODE.ljust(stub.BLOCK - stub.ENTER, b"\0")


class Harness(Emulator):
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
        port_in: PortIn = default_port_in,
    ) -> None:
        super().__init__(image, 64, port_in)
        self.ram = ram
        self.direct_base = direct_base
        self._ranges = _ranges(image)
        self._memory = {base: self._lay(base, size) for base, size in self._ranges}
        self._empty = [
            self._lay(base, size) for base, size in ((BUFFER_BASE, BUFFER_SIZE), (direct_base, ram))
        ]
        for base, size in ((STACK_TOP - STACK_SIZE, STACK_SIZE), (stub.BASE, stub.SIZE), (PERCPU_PAGE, PAGE)):
            self.map(base, size)
        self._arrange()
        for base, data in self._fixed:
            self.write(base, data)
        self.write(stub.ENTER, stub.CODE)
        self.set("gs_base", PERCPU_PAGE)
        self._pristine = self._uc.context_save()
        self.reset()

    def _lay(self, base: int, size: int) -> mmap.mmap:
        """Map zeroed memory that this process sees too."""
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        try:
            self._uc.mem_map_ptr(base, size, self._u.UC_PROT_ALL, pointer)
        except self._error as error:
            raise InputError(f"the image cannot be mapped at {base:#x}: {error}", stage=STAGE) from error
        return memory

    def _arrange(self) -> None:
        """What is written when: what nothing should change, and what each run begins with."""
        self._fixed: list[tuple[int, bytes]] = []
        self._initial: list[tuple[int, bytes]] = []
        ends = {base: base for base, _ in self._ranges}
        for section in sorted(self.image.sections, key=lambda section: section.address):
            writable = "w" in section.flags or section.nobits
            data = _padded(section) if writable else section.data
            (self._initial if writable else self._fixed).append((section.address, data))
            home = next(base for base, size in self._ranges if 0 <= section.address - base < size)
            gap = section.address - ends[home]
            if gap > 0:
                self._fixed.append((ends[home], _zeros(gap)))
            ends[home] = max(ends[home], section.address + len(data))
        self._fixed += [
            (ends[base], _zeros(base + size - ends[base]))
            for base, size in self._ranges
            if ends[base] < base + size
        ]
        self._initial += [
            (PERCPU_PAGE, PERCPU_PAGE.to_bytes(8, "little").ljust(PAGE, b"\0")),
            (STACK_TOP - STACK_SIZE, _STACK_NOISE),
        ]

    def load(self, image: Image) -> bool:
        """Put another image in place of this one, as in a new machine; False when it needs other pages.

        Only what differs is written, and only code that differs is translated anew.
        """
        # A recorder knows the image it began with.
        if _ranges(image) != self._ranges or self._recorder is not None:
            return False
        self.forget()
        self._take(image)
        self._arrange()
        for address, data in self._fixed:
            base = next(base for base, size in self._ranges if 0 <= address - base < size)
            self._restore(address, data, self._memory[base][address - base : address - base + len(data)])
        for address, data in ((stub.BASE, _STUB), (stub.BLOCK, _zeros(PAGE))):
            self._restore(address, data, self.read(address, len(data)))
        self.reset()
        return True

    def _restore(self, address: int, data: bytes, now: bytes) -> None:
        """Write what differs from what stands there now; code beside it stays translated."""
        if now == data:
            return
        for at in range(0, len(data), PAGE):
            old, new = now[at : at + PAGE], data[at : at + PAGE]
            if old != new:
                first, end = _differing(old, new)
                self.write_code(address + at + first, new[first:end])

    def reset(self) -> None:
        """CPU, writable sections, RAM, per-CPU block, buffers and stack as before the first instruction."""
        for address, data in self._initial:
            self.write(address, data)
        for memory in self._empty:
            memory.madvise(mmap.MADV_DONTNEED)  # zeros from now on
        self._uc.context_restore(self._pristine)

    def renew(self) -> None:
        """As newly made: ``reset``, and no substitute, probe, window or device is left."""
        self.forget()
        self.reset()

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
        before = dict(_noise(seed))
        for name, value in (registers or {}).items():
            before[name] = value & MASK64
        self._uc.mem_write(stub.BLOCK, stub.load(before, address))
        run = self._go(stub.ENTER, stub.HALT, limit + stub.INSTRUCTIONS)
        if run.end is None:
            after, rip = stub.stored(self._uc.mem_read(stub.BLOCK, stub.STORED)), RETURN_PAGE
        else:
            after, rip = self._all(), self.get("rip")
        return _result(run, after, before, rip)

    def enter(self, address: int, registers: Mapping[str, int], *, limit: int = 10_000) -> Result:
        """Run from ``address`` with registers as given (RSP among them) until ``stop`` is called, or to ``HALT``."""
        for name, value in registers.items():
            self.set(name, value)
        before = self._all()
        run = self._go(address, HALT, limit)
        return _result(run, self._all(), before, self.get("rip"))

    def _all(self) -> dict[str, int]:
        return {name: self.get(name) for name in (*GENERAL, "rflags")}


def _result(run: Run, after: Mapping[str, int], before: Mapping[str, int], rip: int) -> Result:
    end: End = run.end or "returned"
    return Result(end, after, before, run.address, rip, tuple(run.ports), tuple(run.calls))
