"""The display device: its registers, its mode, the mailbox page in front of the picture.

QEMU ``docs/specs/standard-vga.rst`` and bochs ``iodev/display/vga.h``: DISPI registers behind ports 0x1ce and 0x1cf, or
16 bits each at 0x500 of BAR2; the size of the picture is taken over when the interface is switched on; the VGA
registers 0x3c0 to 0x3df at 0x400 of BAR2. The mailbox: CMD 0x0, STATUS 0x4, RESP 0x8, DOORBELL 0xC, ready is bit 0 of
STATUS, and ready is said last.
"""

from __future__ import annotations

from architect.contracts import contract
from architect.contracts.model import NOT_FOUND, OK, SKIP, UNSUPPORTED, Session
from architect.contracts.pcihost import IO, MEMORY, Bar, Function, Host
from architect.contracts.units import said
from toolchain.harness import BUFFER_BASE, Harness

_BAR0, _BAR2 = 0xFD00_0000, 0xFEBF_0000
_PAGE = 0x1000
_ROW = 0x80
_UC = 0x18

_ID, _XRES, _YRES, _BPP, _ENABLE, _BANK, _VIRT_WIDTH, _VIRT_HEIGHT, _X_OFFSET, _Y_OFFSET = range(10)
_ENABLED, _LINEAR, _KEEP = 1, 0x40, 0x80
_ATTRIBUTE, _MISC_WRITE, _MISC_READ, _STATUS = 0x3C0, 0x3C2, 0x3CC, 0x3DA
_MISC_OTHER = 0x62  # what firmware set of the miscellaneous output register


class Dispi:
    """A bochs display: what it takes over when, and the VGA part that may be blanked.

    ``largest`` is the widest mode that it takes.
    """

    def __init__(self, *, version: int = 0xB0C5, largest: int = 4096) -> None:
        # Firmware has left a picture of its own.
        self.registers = [version, 640, 480, 8, _ENABLED | _LINEAR, 0, 640, 0, 0, 0]
        self.largest = largest
        self.index = 0
        self.cleared = False
        self.misc = _MISC_OTHER  # without bit 0 the status register lies at another port
        self.attribute_is_data = True  # whoever was here before left it between index and data
        self.shown = False

    def read(self, index: int) -> int:
        """One register."""
        return self.registers[index] if index < len(self.registers) else 0xFFFF

    def write(self, index: int, value: int) -> None:
        """One register; sizes cannot change while the picture is on."""
        on = self.registers[_ENABLE] & _ENABLED
        if index in (_XRES, _YRES, _BPP) and not on:
            self.registers[index] = (
                value if index != _XRES or value <= self.largest else self.registers[_XRES]
            )
        elif index == _ENABLE:
            self.registers[_ENABLE] = value
            if value & _ENABLED and not on:
                self.registers[_VIRT_WIDTH], self.registers[_X_OFFSET], self.registers[_Y_OFFSET] = (
                    self.registers[_XRES], 0, 0,
                )  # fmt: skip
                self.cleared |= not value & _KEEP
        elif index in (_VIRT_WIDTH, _X_OFFSET, _Y_OFFSET) and on:
            self.registers[index] = value

    def vga_read(self, port: int) -> int:
        """A VGA register, one byte."""
        if port == _STATUS and self.misc & 1:
            self.attribute_is_data = False
        return self.misc if port == _MISC_READ else 0

    def vga_write(self, port: int, value: int) -> None:
        """A VGA register, one byte."""
        if port == _MISC_WRITE:
            self.misc = value
        elif port == _ATTRIBUTE:
            if not self.attribute_is_data:
                self.shown = bool(value & 0x20)
            self.attribute_is_data = not self.attribute_is_data

    # --- where it answers ---

    def ports(self, harness: Harness) -> None:
        """At the I/O ports."""
        usual, after = harness.port_in, harness.port_out

        def port_in(port: int, size: int) -> int:
            if port == 0x1CF and size == 2:
                return self.read(self.index)
            return self.vga_read(port) if 0x3C0 <= port <= 0x3DF and size == 1 else usual(port, size)

        def port_out(port: int, size: int, value: int) -> None:
            if (port, size) == (0x1CE, 2):
                self.index = value
            elif (port, size) == (0x1CF, 2):
                self.write(self.index, value)
            elif 0x3C0 <= port <= 0x3DF and size == 1:
                self.vga_write(port, value)
            elif after is not None:
                after(port, size, value)

        harness.port_in, harness.port_out = port_in, port_out

    def memory(self, harness: Harness, base: int) -> None:
        """In its register BAR."""

        def read(offset: int, size: int) -> int:
            if 0x500 <= offset < 0x516 and size == 2:
                return self.read((offset - 0x500) // 2)
            return self.vga_read(offset - 0x40) if 0x400 <= offset < 0x420 and size == 1 else 0

        def write(offset: int, size: int, value: int) -> None:
            if 0x500 <= offset < 0x516 and size == 2:
                self.write((offset - 0x500) // 2, value)
            elif 0x400 <= offset < 0x420 and size == 1:
                self.vga_write(offset - 0x40, value)

        harness.window(base, _PAGE, read, write)


def _vga(
    bars: dict[int, Bar] | None = None, *, vendor: int = 0x1234, device: int = 0x1111, klass: int = 0x030000
) -> Function:
    usual = {0: Bar(1 << 24, prefetch=True, base=_BAR0), 2: Bar(_PAGE, base=_BAR2)}
    return Function(vendor, device, klass, usual if bars is None else bars)


class _Display(Session):
    """A kernel that has enumerated a machine with display devices."""

    def __init__(self, harness: Harness, *functions: Function) -> None:
        super().__init__(harness)
        harness.renew()
        self.functions = functions
        self.mapped: list[tuple[int, int, int]] = []
        self.host = Host(harness, {number << 3: function for number, function in enumerate(functions)})
        for routine in ("mmio_map", "gpu_map_bar0"):
            harness.substitute(routine, self._map)
        self.call("pci_scan_bus", limit=600_000, rdi=0, rsi=255, rdx=0xFFFF_FFFF, rcx=0)

    def _map(self, harness: Harness) -> None:
        self.mapped.append((harness.get("rdi"), harness.get("rsi"), harness.get("rdx")))
        harness.set("rax", harness.get("rdi"))
        harness.set_flag("cf", False)

    def row(self, number: int) -> int:
        """The kernel's row of a function."""
        return self.harness.address("pci_table") + _ROW * number


@contract(
    "gpu_init",
    "gpu_find",
    "gpu_has_framebuffer",
    needs=("pci_scan_bus", "pci_table", "mmio_map", "gpu_map_bar0"),
)
def display_device(harness: Harness) -> None:
    """The device with a framebuffer is found among others; none, or none of use, is no fault."""
    plain = Function(device=2, bars={0: Bar(0x1000, base=0xFE00_0000)})
    virtio = Function(0x1AF4, 0x1050, 0x038000, bars={1: Bar(_PAGE, base=0xFE80_0000)})
    registers = _vga({0: Bar(1 << 24, base=_BAR0)})
    unassigned = _vga({0: Bar(1 << 24, prefetch=True)})
    other = _vga(klass=0x038000)
    for functions, result, used in (
        ((plain, _vga()), OK, 1),
        ((virtio, plain, other), OK, 2),
        ((plain,), SKIP, None),
        ((plain, virtio), SKIP, None),
        ((registers,), SKIP, None),
        ((unassigned,), SKIP, None),
        ((_vga({0: Bar(32, io=True, base=0xC000)}),), SKIP, None),
    ):
        display = _Display(harness, *functions)
        got = display.call("gpu_init", rdi=BUFFER_BASE).registers["rax"]
        display.equal(got, result, "gpu_init", "takes another device, or none", devices=len(functions))
        bar0 = harness.read_u64(harness.address("gpu_bar0"))
        display.equal(bar0, 0 if used is None else _BAR0, "gpu_init", "keeps another BAR0")
        if used is not None:
            command = functions[used].command & (IO | MEMORY)
            display.equal(command, IO | MEMORY, "gpu_init", "leaves the device without decoding")
            got = display.mapped[-1][0] if display.mapped else 0
            display.equal(got, _BAR0, "gpu_init", "maps another address for the mailbox")
            notes = said(display, "gpu_init")
            identity = functions[used].device << 16 | functions[used].vendor
            right = notes.get("bdf") == f"{used << 3:#x}" and notes.get("id") == f"{identity:#x}"
            right = right and notes.get("bar0") == f"{_BAR0:#x}" and notes.get("size") == f"{1 << 24:#x}"
            display.expect(right, "gpu_init", "notes something else", got=repr(notes))
            size = harness.read_u64(harness.address("gpu_bar0_size"))
            display.equal(size, 1 << 24, "gpu_init", "keeps another size of BAR0")


@contract(
    "dispi_find",
    "dispi_read",
    "dispi_write",
    "dispi_set_mode",
    "dispi_show",
    needs=("pci_scan_bus", "mmio_map"),
)
def display_mode(harness: Harness) -> None:
    """The mode is taken over, the memory kept, the picture begins behind the mailbox page and is shown."""
    for in_memory in (True, False):
        device = Dispi()
        function = _vga() if in_memory else _vga(vendor=0x80EE, device=0xBEEF)
        display = _Display(harness, function)
        if in_memory:
            device.memory(harness, _BAR2)
        else:
            device.ports(harness)
        row = display.row(0)
        result = display.call("dispi_find", rdi=row)
        display.expect(not result.flag("cf"), "dispi_find", "does not find the interface")
        if in_memory:
            registers = [(pa, kind) for pa, length, kind in display.mapped if pa == _BAR2 and length >= 0x600]
            display.expect(registers == [(_BAR2, _UC)], "dispi_find", "maps the registers in another way")
        result = display.call("dispi_set_mode", rdi=row)
        display.expect(not result.flag("cf"), "dispi_set_mode", "fails on a device that takes every mode")
        mode = device.registers
        display.expect(
            mode[_XRES : _BPP + 1] == [1024, 768, 32], "dispi_set_mode", "sets another mode", got=repr(mode)
        )
        on = _ENABLED | _LINEAR
        display.equal(mode[_ENABLE] & on, on, "dispi_set_mode", "does not switch the linear framebuffer on")
        display.expect(not device.cleared, "dispi_set_mode", "lets the device clear the mailbox")
        begins = (mode[_Y_OFFSET] * mode[_VIRT_WIDTH] + mode[_X_OFFSET]) * 4
        display.equal(
            begins, _PAGE, "dispi_set_mode", "begins the picture elsewhere than behind the mailbox page"
        )
        display.equal(mode[_VIRT_WIDTH], 1024, "dispi_set_mode", "sets another pitch")
        display.expect(device.shown, "dispi_show", "leaves the picture blanked")
        display.equal(
            device.misc, _MISC_OTHER | 1, "dispi_show", "changes what it should keep of the output register"
        )
        for index in (_ID, _XRES, _BPP):
            got = display.call("dispi_read", rdi=index).value("eax")
            display.equal(got, mode[index], "dispi_read", "reads another register", rdi=index)
    small = Dispi(largest=800)
    display = _Display(harness, _vga())
    small.memory(harness, _BAR2)
    display.call("dispi_find", rdi=display.row(0))
    result = display.call("dispi_set_mode", rdi=display.row(0))
    display.refused(result, UNSUPPORTED, "dispi_set_mode", "a mode that the device did not take")
    _other_places(harness)


def _other_places(harness: Harness) -> None:
    """Devices without the interface, or with it at another place than the usual."""
    for version in (0xB0C0, 0xB0C1, 0xFFFF, 0):
        display = _Display(harness, _vga(vendor=0x80EE, device=0xBEEF))
        Dispi(version=version).ports(harness)
        result = display.call("dispi_find", rdi=display.row(0))
        display.refused(result, NOT_FOUND, "dispi_find", "a device without the interface", id=version)
    # Registers that cannot lie in BAR2, and a device whose ports are another's.
    for bars in ({2: Bar(_PAGE, base=_BAR2 & 0xFFFF, io=True)}, {2: Bar(0x100, base=_BAR2)}, {}):
        display, device = _Display(harness, _vga(bars, klass=0x038000)), Dispi()
        device.ports(harness)
        result = display.call("dispi_find", rdi=display.row(0))
        display.refused(result, 0, "dispi_find", "a device that has its registers at the ports")
        display.expect(not display.mapped, "dispi_find", "maps a BAR that cannot hold the registers")
        display.call("dispi_set_mode", rdi=display.row(0))
        display.expect(device.misc == _MISC_OTHER, "dispi_show", "writes to the VGA ports of another device")
    for vendor, number in ((0x1234, 0x1111), (0x1AF4, 0x1050)):
        display = _Display(harness, _vga(vendor=vendor, device=number))
        Dispi().memory(harness, _BAR2)
        result = display.call("dispi_find", rdi=display.row(0))
        display.refused(result, 0, "dispi_find", "a device that has its registers in BAR2", vendor=vendor)


@contract("mailbox_setup", "mailbox_check", needs=("mailbox_check",))
def mailbox(harness: Harness) -> None:
    """Each register gets its first value by one store; that it is ready is said last."""
    session = Session(harness)
    stores: list[tuple[int, int, int]] = []
    memory = bytearray(b"\xa5" * _PAGE)

    def read(offset: int, size: int) -> int:
        return int.from_bytes(memory[offset : offset + size], "little")

    def write(offset: int, size: int, value: int) -> None:
        stores.append((offset, size, value))
        memory[offset : offset + size] = value.to_bytes(size, "little")

    harness.window(_BAR0, _PAGE, read, write)
    session.call("mailbox_setup", rdi=_BAR0)
    expected = {0x0: 0, 0x4: 1, 0x8: 0, 0xC: 0}
    got = {offset: value for offset, size, value in stores if size == 4}
    outside = [offset for offset, size, _ in stores if size != 4 or offset not in expected]
    session.expect(not outside, "mailbox_setup", "stores where no register is", got=repr(outside))
    session.expect(got == expected, "mailbox_setup", "leaves a register in another state", got=repr(got))
    session.equal(stores[-1][0], 0x4, "mailbox_setup", "says that it is ready before the other registers are")
    session.expect(
        all(value != 1 or offset != 4 for offset, _, value in stores[:-1]),
        "mailbox_setup",
        "says ready twice",
    )
    session.expect(
        not session.call("mailbox_check", rdi=_BAR0).flag("cf"), "mailbox_check", "refuses a sound mailbox"
    )
    for offset in expected:
        kept = bytes(memory)
        memory[offset + 1] ^= 0x40
        promise = "does not see that a register holds something else"
        session.expect(
            session.call("mailbox_check", rdi=_BAR0).flag("cf"), "mailbox_check", promise, offset=offset
        )
        memory[:] = kept
