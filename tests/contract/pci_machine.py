"""A PCI bus behind the ports 0xcf8 and 0xcfc: functions, bridges and BARs that behave as the specification says.

It is strict where QEMU is lenient: it notes when a BAR is written while its function decodes that kind of address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolchain.harness import Harness
from toolchain.types import Image

ADDRESS_PORT, DATA_PORT = 0xCF8, 0xCFC
ONES = 0xFFFF_FFFF
COMMAND_IO, COMMAND_MEMORY = 1, 2


@dataclass
class Bar:
    """One base address register (two when ``wide``); ``size`` a power of two."""

    size: int
    io: bool = False
    wide: bool = False
    prefetch: bool = False
    base: int = 0

    @property
    def flags(self) -> int:
        """The read-only low bits."""
        return 1 if self.io else (4 if self.wide else 0) | (8 if self.prefetch else 0)


@dataclass
class Function:
    """A function of type 0; ``bars`` by register index."""

    vendor: int = 0x1234
    device: int = 1
    klass: int = 0x00FF00
    bars: dict[int, Bar] = field(default_factory=dict)
    command: int = 0
    complaints: list[str] = field(default_factory=list)
    header = 0

    def read(self, offset: int) -> int:
        """One dword of configuration space."""
        if offset == 0:
            return self.device << 16 | self.vendor
        if offset == 4:
            return self.command
        if offset == 8:
            return self.klass << 8
        if offset == 0xC:
            return self.header << 16
        return self._read_bar((offset - 0x10) // 4) if 0x10 <= offset < 0x28 else 0

    def _bar(self, index: int) -> tuple[Bar | None, bool]:
        """The BAR of a register, and whether the register is its upper half."""
        if index in self.bars:
            return self.bars[index], False
        lower = self.bars.get(index - 1)
        return (lower, True) if lower and lower.wide else (None, False)

    def _read_bar(self, index: int) -> int:
        bar, high = self._bar(index)
        if not bar:
            return 0
        return bar.base >> 32 if high else (bar.base & ONES) | bar.flags

    def write(self, offset: int, value: int) -> None:
        """One dword of configuration space."""
        if offset == 4:
            self.command = value & 0x7
        bar, high = self._bar((offset - 0x10) // 4) if 0x10 <= offset < 0x28 else (None, False)
        if not bar:
            return
        if self.command & (COMMAND_IO if bar.io else COMMAND_MEMORY):
            self.complaints.append(f"BAR at {offset:#x} written while it decodes")
        kept = bar.base & ONES if high else bar.base & ONES << 32
        written = value << 32 if high else value & ~(3 if bar.io else 15)
        bar.base = (kept | written) & -bar.size & (0xFFFF if bar.io else (1 << 64) - 1 if bar.wide else ONES)


@dataclass
class Bridge(Function):
    """A function of type 1 and the devices behind it, by device << 3 | function."""

    behind: dict[int, Function] = field(default_factory=dict)
    klass: int = 0x060400
    buses: int = 0
    io_window: int = 0
    memory_window: int = 0
    header = 1

    def read(self, offset: int) -> int:
        """One dword of configuration space."""
        registers = {0x18: self.buses, 0x1C: self.io_window, 0x20: self.memory_window}
        return registers[offset] if offset in registers else super().read(offset) if offset < 0x18 else 0

    def write(self, offset: int, value: int) -> None:
        """One dword of configuration space."""
        if offset == 0x18:
            self.buses = value
        elif offset == 0x1C:
            self.io_window = value & 0xF0F0
        elif offset == 0x20:
            self.memory_window = value & 0xFFF0FFF0
        elif offset < 0x18:
            super().write(offset, value)

    @property
    def secondary(self) -> int:
        """The bus right behind."""
        return self.buses >> 8 & 0xFF

    @property
    def subordinate(self) -> int:
        """The highest bus behind."""
        return self.buses >> 16 & 0xFF

    def memory_range(self) -> tuple[int, int]:
        """What the memory window passes on; empty when base is above limit."""
        return (self.memory_window & 0xFFF0) << 16, (self.memory_window & 0xFFF00000) + 0x100000

    def io_range(self) -> tuple[int, int]:
        """What the I/O window passes on."""
        return (self.io_window & 0xF0) << 8, (self.io_window & 0xF000) + 0x1000


class PciMachine(Harness):
    """A harness whose I/O ports lead to the functions of bus 0.

    Args:
        image: the kernel.
        root: the functions of bus 0 by device << 3 | function.
    """

    def __init__(self, image: Image, root: Mapping[int, Function]) -> None:
        self.root = dict(root)
        self._selected = 0
        super().__init__(image, port_in=self._read_port)
        self.port_out = self._write_port

    def function(self, bdf: int) -> Function | None:
        """Whoever answers to a configuration access, as the bridges route it."""
        bus, functions = bdf >> 8, self.root
        while bus:
            found = [
                f for f in functions.values() if isinstance(f, Bridge) and f.secondary <= bus <= f.subordinate
            ]
            if not found:
                return None
            functions = found[0].behind
            if found[0].secondary == bus:
                break
        return functions.get(bdf & 0xFF)

    def _read_port(self, port: int, size: int) -> int:
        if port != DATA_PORT or size != 4 or not self._selected >> 31:
            return (1 << 8 * size) - 1
        found = self.function(self._selected >> 8 & 0xFFFF)
        return found.read(self._selected & 0xFC) if found else ONES

    def _write_port(self, port: int, size: int, value: int) -> None:
        if port == ADDRESS_PORT and size == 4:
            self._selected = value
        elif port == DATA_PORT and size == 4 and self._selected >> 31:
            found = self.function(self._selected >> 8 & 0xFFFF)
            if found:
                found.write(self._selected & 0xFC, value)
