"""Numbers and lists as they are said: each routine alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import INVALID
from architect.contracts.pcisteps import row, table
from architect.contracts.steps import BUFFER, Step
from architect.contracts.unitsteps import NOTES, Unit
from toolchain.harness import Harness


class _Line(Step):
    """Calls of a routine that sends text."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.sent = bytearray()
        self.stand("serial_put_char", "dil", answer=self._char)

    def _char(self, byte: int) -> Mapping[str, int]:
        self.sent.append(byte)
        return {}

    def says(self, text: bytes, **given: int) -> None:
        """One call sends exactly some bytes."""
        self.sent.clear()
        self.run("fails", **given)
        self.same(bytes(self.sent), text, "says something else", **given)


@contract("pci_put_digits", needs=("serial_put_char",))
def put_digits_alone(harness: Harness) -> None:
    """So many hexadecimal digits, leading zeros too."""
    line = _Line(harness, "pci_put_digits")
    for number, count in (
        (0x1234, 4),
        (0xF, 2),
        (0xABCDEF, 6),
        (0x12345, 4),
        (0, 1),
        (0x0123_4567_89AB_CDEF, 16),
    ):
        line.says(f"{number & (1 << 4 * count) - 1:0{count}x}".encode(), rdi=number, rsi=count)


@contract("pci_put_bdf", needs=("pci_put_digits", "serial_put_char"))
def put_bdf_alone(harness: Harness) -> None:
    """Bus, device and function, as people write them."""
    line = _Line(harness, "pci_put_bdf")

    def digits(number: int, count: int) -> Mapping[str, int]:
        line.sent.extend(f"{number & (1 << 4 * count) - 1:0{count}x}".encode())
        return {}

    line.stand("pci_put_digits", "rdi", "esi", answer=digits)
    for bdf in (0, 0x00FA, 0x1234, 0xFFFF, 0x0107):
        line.says(b"%02x:%02x.%d" % (bdf >> 8, bdf >> 3 & 0x1F, bdf & 7), rdi=bdf)


@contract("pci_list", needs=("pci_list_row", "pci_table", "pci_count"))
def list_alone(harness: Harness) -> None:
    """Every row once, in order."""
    step = Step(harness, "pci_list")
    step.stand("pci_list_row", "rbx", answer={})
    for count in (0, 1, 5):
        at = table(step, *(row(8 * n) for n in range(count)))
        step.run("fails", rdx=count)
        step.were([("pci_list_row", at + 0x80 * n) for n in range(count)], "lists other rows", count=count)


@contract("fault_put_item", needs=("serial_put_char", "serial_put_hex"))
def put_item_alone(harness: Harness) -> None:
    """A comma before all but the first, then the number."""
    step = Step(harness, "fault_put_item")
    step.stand("serial_put_char", "dil", answer={})
    step.stand("serial_put_hex", "rdi", answer={})
    for index in (0, 1, 7):
        step.run("fails", rdi=0x1234_5678_9ABC, rsi=index)
        comma = [("serial_put_char", 0x2C)] if index else []
        step.were([*comma, ("serial_put_hex", 0x1234_5678_9ABC)], "says an item in another way", rsi=index)


@contract("mailbox_init", needs=("mailbox_setup", "mailbox_check", "gpu_mailbox", "gpu_bar0", *NOTES))
def mailbox_init_alone(harness: Harness) -> None:
    """Set up, then checked; the status that is there is noted."""
    step = Unit(harness, "mailbox_init")
    step.put(BUFFER, struct.pack("<4I", 0, 1, 0, 0))
    step.put64("gpu_mailbox", BUFFER)
    step.put64("gpu_bar0", 0x12_FD00_0000)
    step.stand("mailbox_setup", "rdi", answer={})
    step.stand("mailbox_check", "rdi", answer={"rax": 0, "cf": 0})
    bar0 = ("unit_note", 0x12_FD00_0000)
    step.start(0, "fails though the registers hold")
    order = [call for call in step.asked if call[0] in ("mailbox_setup", "mailbox_check")]
    step.same(order, [("mailbox_setup", BUFFER), ("mailbox_check", BUFFER)], "does its steps in another way")
    step.noted(bar0=bar0, status=("unit_note", 1))
    step.stand_fails("mailbox_check", INVALID)
    step.start(2, "succeeds though the registers do not hold")
    step.noted(bar0=bar0, error=("unit_note_dec", INVALID))


@contract("cmdline_append_fw_cfg", needs=("fw_cfg_find", "fw_cfg_read", "cmdline_append"))
def append_fw_cfg_alone(harness: Harness) -> None:
    """What the file holds, and no more than a command line takes."""
    step = Step(harness, "cmdline_append_fw_cfg")
    size = {"rdx": 0}
    buffers: list[int] = []

    def read(selector: int, buffer: int, length: int) -> Mapping[str, int]:
        buffers.append(buffer)
        return {}

    step.stand("fw_cfg_find", "rdi", answer=lambda name: {"rax": 0x8021, "cf": 0, **size})
    step.stand("fw_cfg_read", "di", "rsi", "rdx", answer=read)
    step.stand("cmdline_append", "rdi", "rsi", answer={})
    for length in (5, 1023, 1024, 5000):
        size["rdx"] = length
        buffers.clear()
        step.run("fails", rbx=length)
        kept = min(length, 1024)
        expected = [("fw_cfg_read", 0x8021, *buffers, kept), ("cmdline_append", *buffers, kept)]
        step.same(step.asked[1:], expected, "reads, or appends, something else", size=length)
    name = step.read(int(step.asked[0][1]), 15, step.routine).split(b"\0")[0]
    step.same(name, b"opt/px/cmdline", "looks for another file")
    step.stand_fails("fw_cfg_find", 0)
    step.run("fails")
    step.same(len(step.asked), 1, "appends what is not there")
