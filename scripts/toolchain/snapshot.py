"""What to read from a machine that stands still: at the death of a kernel, and at PXREADY.

Owns the choice of registers and memory: the tables of each walk that a report needs (CR2, RIP, RSP, RBP's chain,
the descriptor tables; BAR0 at PXREADY), and the pages they lead to. Never interprets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolchain import walk
from toolchain.machine import Machine
from toolchain.types import MemoryChunk, PciBar, Snapshot

PAGE = 4096
_WINDOW = 16 * PAGE  # read at once: tables and stacks of a kernel lie close together, and a read costs 0.6 ms
_MAX_READS = 64
_LOW_RAM_END = 0x8000_0000  # q35 puts at most 2 GB below its PCI hole, pc at most 3.5 GB
_FRAMES = 16  # of RBP's chain
_DISPLAY_CLASS = 0x03
_BAR0_BYTES = 2 * PAGE  # the mailbox's page and the first pixels after it
_MAX_INSTRUCTION = 15
_LOW_MASK = 0x3FFF_FFFF  # a kernel in the top 2 GB lies this far into physical memory
_CONTROL = ("cr0", "cr3", "cr4", "efer")


class GuestMemory:
    """Physical memory of a stopped machine, read in windows and remembered by page.

    Args:
        machine: stopped.
        ram: bytes of guest memory: beyond it a window could touch devices, so pages are read one by one.
    """

    def __init__(self, machine: Machine, ram: int) -> None:
        self._machine = machine
        self._low = min(ram, _LOW_RAM_END)
        self._pages: dict[int, bytes] = {}
        self._used: set[int] = set()
        self._reads = 0

    def read(self, physical: int, size: int) -> bytes | None:
        """Bytes at a physical address, or None when the budget of reads is spent."""
        data = bytearray()
        while size > 0:
            page = self._page(physical & ~(PAGE - 1))
            if page is None:
                return None
            piece = page[physical % PAGE : physical % PAGE + size]
            data += piece
            physical += len(piece)
            size -= len(piece)
        return bytes(data)

    def chunks(self) -> tuple[MemoryChunk, ...]:
        """The pages that were asked for, neighbours joined."""
        joined: list[tuple[int, bytearray]] = []
        for start in sorted(self._used):
            if joined and joined[-1][0] + len(joined[-1][1]) == start:
                joined[-1][1].extend(self._pages[start])
            else:
                joined.append((start, bytearray(self._pages[start])))
        return tuple(MemoryChunk(start, bytes(data)) for start, data in joined)

    def _page(self, start: int) -> bytes | None:
        if start not in self._pages:
            if self._reads >= _MAX_READS or start >> 52:
                return None
            self._reads += 1
            window = start & ~(_WINDOW - 1)
            first, size = (window, _WINDOW) if window + _WINDOW <= self._low else (start, PAGE)
            data = self._machine.read_physical(first, size)
            for offset in range(0, len(data), PAGE):
                self._pages.setdefault(first + offset, data[offset : offset + PAGE])
        self._used.add(start)
        return self._pages.get(start)


def at_death(machine: Machine, ram: int, first: Mapping[str, int]) -> Snapshot:
    """Read what a fault report needs.

    Args:
        machine: stopped, panicked or shut down.
        ram: bytes of guest memory.
        first: registers at the first exception (from the kernel's block or QEMU's log); where it has none, the
            registers of now are taken. Nested faults overwrite CR2 and the stack pointer, so they win.
    """
    now = machine.registers()
    known = {**now, **first}
    memory = GuestMemory(machine, ram)
    if known.get("bits") == 64 or known.get("cr0", 0) & walk.CR0_PG or known.get("bits") == 32:
        _follow(memory, known)
    else:
        for name in ("rip", "rsp"):
            memory.read(known.get(name, 0) & 0xFFFF_FFFF, _MAX_INSTRUCTION)
        walk.translate(known.get("rip", 0), _paging(known), memory.read)
    return Snapshot(now, memory.chunks(), machine.bars())


def at_ready(machine: Machine, ram: int, addresses: Sequence[int] = ()) -> Snapshot:
    """Read what shows that PXREADY is true: BAR0's walk and first pages, and the screen.

    Args:
        machine: stopped.
        ram: bytes of guest memory.
        addresses: virtual addresses to walk besides; BAR0 is walked at virtual = physical.
    """
    registers = machine.registers()
    memory = GuestMemory(machine, ram)
    bars = machine.bars()
    paging = _paging(registers)
    display = display_bar(bars)
    if display is not None and display.address is not None:
        walk.translate(display.address, paging, memory.read)
        memory.read(display.address, min(_BAR0_BYTES, display.size))
    for address in addresses:
        walk.translate(address, paging, memory.read)
    return Snapshot(registers, memory.chunks(), bars, machine.screenshot())


def display_bar(bars: Sequence[PciBar]) -> PciBar | None:
    """The first memory BAR of the first display controller (class 03h): BAR0 of a VGA."""
    return next((bar for bar in bars if bar.class_code >> 8 == _DISPLAY_CLASS and bar.kind == "memory"), None)


def _paging(registers: Mapping[str, int]) -> walk.Paging:
    cr0, cr3, cr4, efer = (registers.get(name, 0) for name in _CONTROL)
    return walk.Paging(cr3, cr0, cr4, efer)


def _follow(memory: GuestMemory, registers: Mapping[str, int]) -> None:
    paging = _paging(registers)
    long_mode = registers.get("bits") == 64 or bool(paging.efer & walk.EFER_LMA)
    word = 4 if registers.get("bits") == 32 else 8

    def virtual(address: int, size: int) -> bytes | None:
        found = walk.translate(address, paging, memory.read)
        if found.physical is None:
            return None
        return memory.read(found.physical, min(size, PAGE - address % PAGE))

    walk.translate(registers.get("cr2", 0), paging, memory.read)
    if long_mode:
        for address in (registers.get("rip", 0), registers.get("rip", 0) & _LOW_MASK):
            walk.level_of_table(paging.cr3, address, 0, memory.read)  # is the table in CR3 what it should be?
    rip, rsp, frame = (registers.get(name, 0) for name in ("rip", "rsp", "rbp"))
    for address in (rip, rip + _MAX_INSTRUCTION, rsp, rsp + PAGE // 2):
        virtual(address, 1)
    for _ in range(_FRAMES):
        link = virtual(frame, word)
        if link is None or virtual(frame + word, word) is None:
            break
        above = int.from_bytes(link, "little")
        if above <= frame:
            break
        frame = above
    for table in ("idt", "gdt", "tr"):
        virtual(registers.get(f"{table}_base", 0), 1)
