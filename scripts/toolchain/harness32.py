"""The kernel as a loader leaves it: the image in physical memory, 32-bit protected mode, paging off.

Owns the machine in which the way from a loader's entry to the higher half is run. The CPU's own paging is emulated, so
that switching it on with wrong tables ends as it does on a real one. Never judges.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping

from toolchain.called import STAGE, End, Result
from toolchain.emulator import PAGE, Emulator, default_port_in
from toolchain.errors import InputError
from toolchain.trace import recorder
from toolchain.types import Image

ROOM = 16 << 20  # of physical memory, from 0
_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rflags")
_NO_HALT = -1
_IMAGES_EACH = 200  # images that are put into one machine before another is made


class LoaderMachine(Emulator):
    """An image where its sections' physical addresses say.

    Args:
        image: the kernel.
        goal: symbol of the code that the run should come to.

    Raises:
        InputError: a section lies outside of the memory that there is, or the goal is not in the image.
    """

    def __init__(self, image: Image, goal: str) -> None:
        super().__init__(image, 32, default_port_in)
        self._left = _IMAGES_EACH
        self._memory = mmap.mmap(-1, ROOM, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._uc.mem_map_ptr(0, ROOM, self._u.UC_PROT_ALL, pointer)
        self._pristine = self._uc.context_save()
        self._begin(goal)

    def _begin(self, goal: str) -> None:
        self._arrived = False
        self.probe(self.address(goal), LoaderMachine._arrive)
        self.reset()

    @classmethod
    def of(cls, image: Image, goal: str) -> LoaderMachine:
        """A machine as newly made, and where it can be one that was closed: to make one takes longer than most runs.

        Arguments and errors as for the class.
        """
        if not _CLOSED or recorder() is not None:
            return cls(image, goal)
        machine = _CLOSED.pop()
        machine._left -= 1
        machine._open()
        machine._take(image)
        machine._memory.madvise(mmap.MADV_DONTNEED)  # zeros from now on
        machine._uc.ctl_flush_tb()
        machine._uc.ctl(machine._u.UC_CTL_TLB_FLUSH, machine._u.UC_CTL_IO_WRITE)
        machine._begin(goal)
        return machine

    def close(self) -> None:
        """Let the machine go, or keep it for the next image."""
        if self._left and not _CLOSED and self._recorder is None:
            self.forget()
            _CLOSED.append(self)
        else:
            super().close()

    def _arrive(self) -> None:
        self._arrived = True
        self.stop()

    def reset(self) -> None:
        """CPU and memory as before the first instruction."""
        for section in self.image.sections:
            if section.physical + section.size > ROOM:
                raise InputError(f"section {section.name} lies beyond {ROOM >> 20} MB", stage=STAGE)
            self.write(section.physical, section.data.ljust(section.size, b"\0"))
        self._uc.context_restore(self._pristine)

    def physical(self, symbol: str) -> int:
        """The physical address of a symbol."""
        address = self.address(symbol)
        for section in self.image.sections:
            if section.address <= address < section.address + max(section.size, PAGE):
                return section.physical + address - section.address
        raise InputError(f"symbol '{symbol}' lies in no section", stage=STAGE)

    def enter(self, symbol: str, registers: Mapping[str, int], *, limit: int = 100_000) -> Result:
        """Run from a symbol with registers as a loader leaves them.

        The result's end is ``returned`` when the code came to the goal. Registers are those of the lower 32 bits.
        """
        for name, value in registers.items():
            self.set(name, value)
        before = {name: self.get(name) for name in _GENERAL}
        self._arrived = False
        run = self._go(self.physical(symbol), _NO_HALT, limit)
        after = {name: self.get(name) for name in _GENERAL}
        end: End = "returned" if self._arrived else run.end or "limit"
        return Result(end, after, before, run.address, self.get("rip"), tuple(run.ports), tuple(run.calls))


_CLOSED: list[LoaderMachine] = []  # at most one
