"""A PCI host with functions, bridges and BARs, answering configuration accesses as the specifications say.

PCI Local Bus 3.0, 3.2.2.3.2 (the two ports), 6.1 (header), 6.2.5.1 (BARs); PCI-to-PCI Bridge 1.2, 3.2.5 (bus numbers
and windows); PCI Express 5.0, 7.2.2 (ECAM). It is strict where emulators are lenient: it notes what software must not
do, such as sizing a BAR that decodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from toolchain.harness import Harness

ADDRESS_PORT, DATA_PORT = 0xCF8, 0xCFC
ONES = 0xFFFF_FFFF
IO, MEMORY, MASTER = 1, 2, 4
ID, COMMAND, CLASS, HEADER, BAR0, CAPABILITIES = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x34
BUSES, IO_WINDOW, MEMORY_WINDOW, PREFETCH_WINDOW = 0x18, 0x1C, 0x20, 0x24
PREFETCH_BASE_HIGH, PREFETCH_LIMIT_HIGH, IO_WINDOW_HIGH = 0x28, 0x2C, 0x30
_STATUS_LIST = 1 << 20
_COMMON = (COMMAND,)
_BARS = {0: 6, 1: 2, 2: 1}
_ECAM_BUS = 1 << 20
_WRITABLE = {
    BUSES: 0xFFFFFFFF,
    IO_WINDOW: 0xF0F0,
    MEMORY_WINDOW: 0xFFF0FFF0,
    PREFETCH_WINDOW: 0xFFF0FFF0,
    PREFETCH_BASE_HIGH: ONES,
    PREFETCH_LIMIT_HIGH: ONES,
    IO_WINDOW_HIGH: ONES,
}
_FIXED = {IO_WINDOW: 0x0101, PREFETCH_WINDOW: 0x00010001}  # 32-bit I/O, 64-bit prefetchable memory


@dataclass
class Bar:
    """One base address register (two when ``wide``); ``size`` a power of two, ``base`` what is assigned.

    ``short`` is an I/O BAR that decodes 16 bits of address only.
    """

    size: int
    io: bool = False
    wide: bool = False
    prefetch: bool = False
    base: int = 0
    short: bool = False

    @property
    def flags(self) -> int:
        """The read-only low bits."""
        return 1 if self.io else (4 if self.wide else 0) | (8 if self.prefetch else 0)

    @property
    def decoded(self) -> int:
        """The address bits that can be set."""
        width = 16 if self.short else 64 if self.wide else 32
        return -self.size & (1 << width) - 1


@dataclass
class Function:
    """A function of layout 0; ``bars`` by register index, ``extra`` further read-only dwords by offset."""

    vendor: int = 0x1234
    device: int = 1
    klass: int = 0x00FF00
    bars: dict[int, Bar] = field(default_factory=dict)
    command: int = 0
    multifunction: bool = False
    extra: dict[int, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    layout: int = 0

    @property
    def slots(self) -> int:
        """How many BARs the header's layout has."""
        return _BARS.get(self.layout, 0)

    def read(self, offset: int) -> int:
        """One dword of configuration space."""
        if offset == ID:
            return self.device << 16 | self.vendor
        if offset == COMMAND:
            return self.command | (_STATUS_LIST if CAPABILITIES in self.extra else 0)
        if offset == CLASS:
            return self.klass << 8 | 0x02
        if offset == HEADER:
            return (self.layout | (0x80 if self.multifunction else 0)) << 16 | 0x0010
        bar, high = self._bar(offset)
        if bar:
            return bar.base >> 32 if high else bar.base & ONES | bar.flags
        return self.extra.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """One dword of configuration space."""
        if (
            offset not in _COMMON
            and self._bar(offset)[0] is None
            and (offset - BAR0) // 4 not in range(self.slots)
        ):
            self.complaints.append("writes a register that is no BAR")
        if offset == COMMAND:
            self.command = value & 0x0547
            if value >> 16:
                self.complaints.append("writes ones to status bits, which clears them")
        bar, high = self._bar(offset)
        if not bar:
            return
        if self.command & (IO if bar.io else MEMORY):
            self.complaints.append("writes a BAR while the function decodes it")
        kept = bar.base & (ONES if high else ONES << 32)
        bar.base = (kept | (value << 32 if high else value)) & bar.decoded

    def _bar(self, offset: int) -> tuple[Bar | None, bool]:
        """The BAR of a register, and whether the register is its upper half."""
        index, rest = divmod(offset - BAR0, 4)
        if rest or not 0 <= index < self.slots:
            return None, False
        if index in self.bars:
            return self.bars[index], False
        lower = self.bars.get(index - 1)
        return (lower, True) if lower and lower.wide else (None, False)


@dataclass
class Bridge(Function):
    """A function of layout 1 and what stands behind it, by device << 3 | function.

    ``registers`` holds its bus numbers and windows as they are read.
    """

    behind: dict[int, Function] = field(default_factory=dict)
    klass: int = 0x060400
    registers: dict[int, int] = field(default_factory=dict)
    layout: int = 1

    def read(self, offset: int) -> int:
        """One dword of configuration space."""
        if offset in _WRITABLE:
            return self.registers.get(offset, 0) | _FIXED.get(offset, 0)
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """One dword of configuration space."""
        if offset in _WRITABLE:
            self.registers[offset] = value & _WRITABLE[offset]
        else:
            super().write(offset, value)

    @property
    def primary(self) -> int:
        """The bus that it stands on, as it was told."""
        return self.registers.get(BUSES, 0) & 0xFF

    @property
    def secondary(self) -> int:
        """The bus right behind."""
        return self.registers.get(BUSES, 0) >> 8 & 0xFF

    @property
    def subordinate(self) -> int:
        """The highest bus behind."""
        return self.registers.get(BUSES, 0) >> 16 & 0xFF

    def window(self, *, io: bool) -> tuple[int, int]:
        """What the I/O or the memory window passes on, end exclusive; empty when base is above limit."""
        if io:
            value, high = self.registers.get(IO_WINDOW, 0), self.registers.get(IO_WINDOW_HIGH, 0)
            first, last = (value & 0xF0) << 8 | (high & 0xFFFF) << 16, value & 0xF000 | high & 0xFFFF0000
            return first, last + 0x1000
        value = self.registers.get(MEMORY_WINDOW, 0)
        return (value & 0xFFF0) << 16, (value & 0xFFF00000) + 0x100000

    def prefetch_window(self) -> tuple[int, int]:
        """What the prefetchable window passes on, end exclusive."""
        value = self.registers.get(PREFETCH_WINDOW, 0)
        first = (value & 0xFFF0) << 16 | self.registers.get(PREFETCH_BASE_HIGH, 0) << 32
        last = value & 0xFFF00000 | self.registers.get(PREFETCH_LIMIT_HIGH, 0) << 32
        return first, last + 0x100000


class Host:
    """The functions of bus 0, reached through the ports, and through ECAM where it is switched on.

    Attributes:
        root: the functions of bus 0 by device << 3 | function.
        complaints: what software must not do and did.
    """

    def __init__(self, harness: Harness, root: Mapping[int, Function]) -> None:
        self.root = dict(root)
        self.complaints: list[str] = []
        self._selected = 0
        self._routes: dict[int, Mapping[int, Function]] = {}
        self._usual = harness.port_in
        harness.port_in = self._port_in
        harness.port_out = self._port_out

    def ecam(self, harness: Harness, base: int, first: int, last: int) -> None:
        """Answer at ``base`` (where bus 0 would lie) for buses ``first`` to ``last``, at virtual = physical."""
        begin = base + first * _ECAM_BUS

        def read(offset: int, size: int) -> int:
            return self.read(first << 8 | offset >> 12, offset & 0xFFF, size)

        def write(offset: int, size: int, value: int) -> None:
            self.write(first << 8 | offset >> 12, offset & 0xFFF, size, value)

        harness.window(begin, (last - first + 1) * _ECAM_BUS, read, write)

    def function(self, bdf: int) -> Function | None:
        """Whoever answers to a configuration access, as the bridges route it."""
        bus = bdf >> 8
        if bus not in self._routes:
            self._routes[bus] = self._route(bus)
        return self._routes[bus].get(bdf & 0xFF)

    def _route(self, bus: int) -> Mapping[int, Function]:
        """The functions that an access to a bus comes to."""
        functions: Mapping[int, Function] = self.root
        while bus:
            passing = [
                f for f in functions.values() if isinstance(f, Bridge) and f.secondary <= bus <= f.subordinate
            ]
            if not passing or not passing[0].secondary:
                return {}
            functions = passing[0].behind
            if passing[0].secondary == bus:
                break
        return functions

    def everybody(
        self, functions: Mapping[int, Function] | None = None, above: tuple[Bridge, ...] = ()
    ) -> Iterator[tuple[int, Function, tuple[Bridge, ...]]]:
        """Every function: its device and function number, itself, the bridges above it."""
        for place, function in (self.root if functions is None else functions).items():
            yield place, function, above
            if isinstance(function, Bridge):
                yield from self.everybody(function.behind, (*above, function))

    def read(self, bdf: int, offset: int, size: int) -> int:
        """One access; only whole dwords are served."""
        if size != 4 or offset & 3:
            self.complaints.append("reads less than a dword, or none that is aligned")
            return (1 << 8 * size) - 1
        found = self.function(bdf)
        return found.read(offset) if found else ONES

    def write(self, bdf: int, offset: int, size: int, value: int) -> None:
        """One access; only whole dwords are served."""
        if size != 4 or offset & 3:
            self.complaints.append("writes less than a dword, or none that is aligned")
            return
        found = self.function(bdf)
        if found:
            found.write(offset, value)
            if offset == BUSES and isinstance(found, Bridge):
                self._routes.clear()

    def _port_in(self, port: int, size: int) -> int:
        if not DATA_PORT <= port < DATA_PORT + 4:
            return self._usual(port, size)
        if not self._selected >> 31:
            self.complaints.append("reads data without the enable bit in the address")
            return (1 << 8 * size) - 1
        return self.read(self._selected >> 8 & 0xFFFF, self._selected & 0xFC | port & 3, size)

    def _port_out(self, port: int, size: int, value: int) -> None:
        if port == ADDRESS_PORT:
            if size != 4 or value & 0x7F000003:
                self.complaints.append("writes an address that is none")
            self._selected = value
        elif DATA_PORT <= port < DATA_PORT + 4 and self._selected >> 31:
            self.write(self._selected >> 8 & 0xFFFF, self._selected & 0xFC | port & 3, size, value)
