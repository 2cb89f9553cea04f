"""Setting the display's mode: each routine alone, and the rows of its tables.

Bochs ``iodev/display/vga.h``: sizes are taken over when the interface is switched on, which also puts the virtual width
and both offsets back; bit 7 of ENABLE keeps the memory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.display import Dispi
from architect.contracts.model import UNSUPPORTED
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_XRES, _YRES, _BPP, _ENABLE, _VIRT_WIDTH, _X_OFFSET, _Y_OFFSET = 1, 2, 3, 4, 6, 8, 9
_ON, _KEEP = 0x41, 0x80
_MODE = ((_XRES, 1024), (_YRES, 768), (_BPP, 32), (_VIRT_WIDTH, 1024), (_X_OFFSET, 0), (_Y_OFFSET, 1))
_WRITTEN, _CHECKED = "dispi_mode", "dispi_mode_checked"  # tables of two words a row, a line each


class _Mode(Step):
    """A display behind stand-ins for the accesses to its registers."""

    def __init__(self, harness: Harness, device: Dispi) -> None:
        super().__init__(harness, "dispi_set_mode")
        self.device = device
        self.writes: list[int] = []
        self.reads: list[int] = []
        self.stand("dispi_write", "edi", "esi", answer=self._write)
        self.stand("dispi_read", "edi", answer=self._read)
        self.stand("dispi_show", "rdi", answer={})

    def _write(self, index: int, value: int) -> Mapping[str, int]:
        self.writes.append(index)
        self.device.write(index, value)
        return {}

    def _read(self, index: int) -> Mapping[str, int]:
        self.reads.append(index)
        return {"rax": self.device.read(index)}

    def row(self, index: int) -> str:
        """The line of the last row that writes a register; that behind the last where none does."""
        rows = [number for number, written in enumerate(self.writes) if written == index]
        return self.source(_WRITTEN, 1 + (rows[-1] if rows else len(self.writes)))


@contract("dispi_set_mode", needs=("dispi_write", "dispi_read", "dispi_show"))
def set_mode_alone(harness: Harness) -> None:
    """The mode, the memory kept, one line behind the mailbox; a device that takes another mode is refused."""
    step = _Mode(harness, Dispi())
    result = harness.call("dispi_set_mode", {"rdi": BUFFER}, seed=1, limit=20_000)
    registers = step.device.registers
    for index, value in _MODE:
        promise = f"leaves another value in register {index}"
        step.equal(registers[index], value, step.routine, promise, place=step.row(index))
    on = registers[_ENABLE] & _ON
    step.equal(on, _ON, step.routine, "does not switch the linear framebuffer on", place=step.row(_ENABLE))
    promise = "lets the device clear the mailbox"
    step.expect(not step.device.cleared, step.routine, promise, place=step.row(_ENABLE))
    step.expect(("dispi_show", BUFFER) in step.asked, step.routine, "leaves the picture blanked")
    step.expect(result.end == "returned", step.routine, f"does not return: {result.end}")
    last = step.source(_CHECKED, len(step.reads))
    promise = "refuses a device that took the mode"
    step.expect(not result.flag("cf"), step.routine, promise, place=last)
    harness.renew()
    step = _Mode(harness, Dispi(largest=800))
    step.run("takes a device that did not take the mode", cf=True, want={"rax": UNSUPPORTED}, rdi=BUFFER)


@contract("dispi_write", needs=("dispi_registers",))
def dispi_write_alone(harness: Harness) -> None:
    """Through the ports: the index, then the value, 16 bits each; through BAR2 at 0x500."""
    step = Step(harness, "dispi_write")
    for index, value in ((0, 0xB0C5), (9, 1), (4, 0xC1)):
        ports = step.run("fails", rdi=index, rsi=value).ports
        step.same(
            ports, ((0x1CE, 2, index), (0x1CF, 2, value)), "writes in another way", rdi=index, rsi=value
        )
    step.put64("dispi_registers", BUFFER)
    for index, value in ((0, 0xB0C5), (10, 0x1234)):
        step.put(BUFFER + 0x4F0, bytes(0x40))
        step.run("fails", rdi=index, rsi=value)
        right = bytearray(0x40)
        right[0x10 + 2 * index : 0x12 + 2 * index] = value.to_bytes(2, "little")
        step.same(harness.read(BUFFER + 0x4F0, 0x40), bytes(right), "writes another register", rdi=index)


@contract("picture_heights", needs=("framebuffer",))
def heights_alone(harness: Harness) -> None:
    """Two thirds are bars, the rest is ramp."""
    step = Step(harness, "picture_heights")
    for height in (768, 3, 7, 8, 1080):
        step.put("framebuffer", struct.pack("<QIIII", 0xFD00_0000, 4096, 1024, height, 32))
        want = {"rax": height * 2 // 3, "rcx": height - height * 2 // 3}
        step.run("takes other heights", want=want, rbx=height)
