"""What a pixel program reaches on bare metal: its system calls, its screen, its mailbox.

pixelvm/SPEC.md, section 5. A tile of 128x128 pixels is shown enlarged in the middle of the framebuffer.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.steps import Step
from pixelvm import isa
from pixelvm.isa import Stop
from toolchain.harness import BUFFER_BASE, Harness
from toolchain.mailbox import layout as m

_SIZE, _STACK = 0x1540, 0x40  # of a machine
_MACHINE = BUFFER_BASE
_EXECUTED = 400_000
_Row = tuple[
    isa.System, tuple[int, ...], tuple[int, ...], list[tuple[str | int, ...]], Mapping[str, Mapping[str, int]]
]
_SERVED = (("serial_put_char", "dil"), ("shell_wait_key",), ("clock_ns",), ("vm_screen_side",),
           ("vm_screen_plot", "edi", "esi", "edx"), ("vm_screen_pixel", "edi", "esi"),
           ("vm_mail_open",), ("vm_mail_send", "edi"), ("vm_mail_receive",))  # fmt: skip
_INTERRUPTS, _END, _RETURN = (3, 27), 4, 13  # keys


@contract("vm_serve", "serve_answer", needs=("vm_serve", "vm_run", *(row[0] for row in _SERVED)))
def pixel_host(harness: Harness) -> None:
    """Each system call reaches what it should, and its answers lie where the program looks for them."""
    step = Step(harness, "vm_serve")
    for name, *takes in _SERVED:
        step.stand(name, *takes)
    calls: list[int] = []
    harness.substitute("vm_run", lambda machine: machine.set("eax", calls.pop(0)))
    for number, arguments, answers, asked, said in _CALLS:
        for name, answer in said.items():
            step.stand_says(name, answer)
        calls[:] = [number + 1, 0]
        harness.write(_MACHINE, bytes(_SIZE))
        harness.write(_MACHINE + 0x2C, struct.pack("<I", 3))  # three values lie below the arguments
        harness.write(_MACHINE + _STACK + 12, struct.pack(f"<{len(arguments)}I", *arguments))
        harness.write(_MACHINE + 0x18, struct.pack("<I", Stop.HALTED))
        step.run("does not say why the machine stopped", want={"eax": Stop.HALTED}, rdi=_MACHINE)
        step.were([("vm_mail_open",), *asked], "does something else for a call", call=number)
        goes_on = said.get("shell_wait_key", {}).get("eax") not in _INTERRUPTS
        step.same(
            len(calls), int(not goes_on), "goes on with a program that was interrupted, or not", call=number
        )
        depth = struct.unpack("<I", harness.read(_MACHINE + 0x2C, 4))[0]
        step.same(depth, 3 + len(answers), "leaves another depth", call=number)
        got = struct.unpack(f"<{len(answers)}I", harness.read(_MACHINE + _STACK + 12, 4 * len(answers)))
        step.same(got, answers, "answers something else", call=number)
        counted = struct.unpack("<II", harness.read(_MACHINE + 0x24, 8))
        moved = (int(number == isa.System.PUTC), int(number == isa.System.GETC and answers != (0xFFFFFFFF,)))
        step.same(counted, moved, "counts other bytes of the console", call=number)


_CALLS: tuple[_Row, ...] = (
    (isa.System.PUTC, (0x141,), (), [("serial_put_char", 0x41)], {}),
    (isa.System.GETC, (), (0x61,), [("shell_wait_key",)], {"shell_wait_key": {"eax": 0x61}}),
    (isa.System.GETC, (), (0x0A,), [("shell_wait_key",)], {"shell_wait_key": {"eax": _RETURN}}),
    (isa.System.GETC, (), (0xFFFFFFFF,), [("shell_wait_key",)], {"shell_wait_key": {"eax": _END}}),
    (isa.System.GETC, (), (0xFFFFFFFF,), [("shell_wait_key",)], {"shell_wait_key": {"eax": _INTERRUPTS[0]}}),
    (isa.System.GETC, (), (0xFFFFFFFF,), [("shell_wait_key",)], {"shell_wait_key": {"eax": _INTERRUPTS[1]}}),
    (isa.System.TIME, (), (5_000_000_001 & 0xFFFFFFFF,), [("clock_ns",)], {"clock_ns": {"rax": 5_000_000_001_999_999}}),
    (isa.System.SIZE, (), (128, 128), [("vm_screen_side",)], {"vm_screen_side": {"eax": 128}}),
    (isa.System.PLOT, (1, 2, 3), (), [("vm_screen_plot", 1, 2, 3)], {}),
    (isa.System.PIXEL, (4, 5), (0xABCDEF,), [("vm_screen_pixel", 4, 5)], {"vm_screen_pixel": {"eax": 0xABCDEF}}),
    (isa.System.SHOW, (), (), [], {}),
    (isa.System.SEND, (9,), (1,), [("vm_mail_send", 9)], {"vm_mail_send": {"eax": 1}}),
    (isa.System.RECEIVE, (), (7, 1), [("vm_mail_receive",)], {"vm_mail_receive": {"eax": 7, "edx": 1}}),
)  # fmt: skip

_SHARED, _CONTROL = 0xFB00_0000, m.CONTROL_AT
_REFUSED = m.STATUS_READY | m.STATUS_COMPLETE | m.STATUS_ERROR
_GRANTED = (
    m.OP_UART_WRITE,
    m.OP_UART_READ,
    m.OP_MMIO_READ,
    m.OP_SYSCALL,
    m.OP_TIMESTAMP,
    m.OP_STATISTICS,
    m.OP_PING,
)


@contract(
    "vm_mail_open", "vm_mail_send", "vm_mail_receive",
    needs=("vm_mail_send", "session_control", "session_base", "session_queues", "session_ring", "mail_state"),
)  # fmt: skip
def pixel_mail(harness: Harness) -> None:
    """A command goes out once and rings; its answer is two words; what is not granted never reaches the service."""
    step = Step(harness, "vm_mail_send")
    harness.memory(_SHARED, m.QUEUE_AT)
    step.stand("session_ring", "rdi")

    def page(doorbell: int, status: int = 0, answer: int = 0) -> None:
        harness.write(_SHARED, struct.pack("<4I", 0, status, answer, doorbell))

    def sends(word: int, taken: int, rings: int, **given: int) -> None:
        step.run("says otherwise whether a word was taken", want={"eax": taken}, rdi=word, **given)
        step.were([("session_ring", step.at("session_queues"))] * rings, "rings at another time", word=word)

    def receives(word: int, there: int) -> None:
        result = step.call("vm_mail_receive")
        got = result.value("eax"), result.value("edx")
        step.equal(got == (word, there), True, "vm_mail_receive", "gives another word", word=word)

    step.put64("session_control", 0)
    step.put64("session_base", _SHARED)
    step.call("vm_mail_open")
    page(0)
    sends(m.OP_PING << 24, 0, 0)
    step.put64("session_control", _SHARED + _CONTROL)
    harness.write(_SHARED + _CONTROL, bytes(0x100))
    sends(m.OP_PING << 24, 0, 0)
    ready = struct.pack("<I", m.SERVICE_READY)
    harness.write(_SHARED + _CONTROL + m.CONTROL_SERVICE_STATUS, ready)
    page(1)
    sends(m.OP_PING << 24, 0, 0)
    for opcode in (0, 0x7F, *range(0x80, 0x91), 0xFF):
        word, granted = opcode << 24 | 0x12_3456, opcode in _GRANTED
        page(0)
        step.call("vm_mail_open")
        receives(0, 0)
        sends(word, 1, int(granted))
        out = struct.unpack("<4I", harness.read(_SHARED, 16))
        step.same(
            out, (word, 0, 0, 1) if granted else (0, 0, 0, 0), "leaves something else on the page", word=word
        )
        sends(word, 0, 0)
        if granted:
            receives(0, 0)
            page(0, m.STATUS_READY | m.STATUS_COMPLETE, 0x89AB_CDEF)
        first, second = (
            (m.STATUS_READY | m.STATUS_COMPLETE, 0x89AB_CDEF) if granted else (_REFUSED, m.ERROR_NOT_GRANTED)
        )
        receives(first, 1)
        page(1, 0, 0)
        sends(m.OP_PING << 24, 0, 0)
        receives(second, 1)
        receives(0, 0)


_MODE = struct.Struct("<QIIII")
_FRAME, _ROOM = 0xFD00_0000, 0x80000
_SIDE = 128


@contract(
    "vm_screen_plot", "vm_screen_pixel", "vm_screen_side", "screen_at", "screen_open", "screen_place", "screen_clear",
    "screen_measure",
    needs=("vm_screen_plot", "vm_screen_pixel", "framebuffer", "framebuffer_va", "heap_alloc", "screen_tile"),
)  # fmt: skip
def pixel_screen(harness: Harness) -> None:
    """Blocks of the right colour at the right place in both depths; outside nothing; what was drawn is read back."""
    step = Step(harness, "vm_screen_plot")
    harness.memory(_FRAME, _ROOM)
    tile = 0xFC00_0000
    harness.memory(tile, 4 * _SIDE * _SIDE)
    step.stand("heap_alloc", answer={"rax": tile, "cf": 0})
    for width, height, bits, pitch in ((140, 300, 32, 576), (300, 200, 24, 900), (127, 300, 32, 512)):
        size, scale = bits // 8, min(width, height) // _SIDE
        harness.write(_FRAME, b"\x5c" * _ROOM)
        start = _FRAME + _ROOM - pitch * height
        harness.write(harness.address("framebuffer"), _MODE.pack(start, pitch, width, height, bits))
        harness.write_u64(harness.address("framebuffer_va"), start)
        harness.write_u64(harness.address("screen_tile"), 0)
        given = {"width": width, "bits": bits}
        side = step.call("vm_screen_side").value("eax")
        step.equal(side, _SIDE if scale else 0, "vm_screen_side", "tells another size", **given)
        for x, y, colour in (
            (0, 0, 0xFF010203),
            (127, 127, 0x80FEDCBA),
            (5, 90, 0x00FF0000),
            (128, 0, 1),
            (0, 1 << 31, 1),
        ):
            step.call("vm_screen_plot", limit=_EXECUTED, rdi=x, rsi=y, rdx=colour)
            seen = step.call("vm_screen_pixel", limit=_EXECUTED, rdi=x, rsi=y).value("eax")
            inside = bool(scale) and x < _SIDE and y < _SIDE
            step.equal(
                seen, colour if inside else 0, "vm_screen_pixel", "reads another colour", x=x, y=y, **given
            )
        if not scale:
            continue
        left, top = (width - _SIDE * scale) // 2, (height - _SIDE * scale) // 2
        expected = {(0, 0): 0xFF010203, (127, 127): 0x80FEDCBA, (5, 90): 0x00FF0000}
        data = harness.read(start, pitch * height)
        for y in range(height):
            for x in (
                *range(left - 2, left + 2 * scale),
                left + 5 * scale,
                *range(left + 127 * scale, left + 128 * scale + 2),
            ):
                if not 0 <= x < width:
                    continue
                cell = ((x - left) // scale, (y - top) // scale)
                colour = expected.get(cell, 0)
                wanted = bytes((colour >> 16 & 255, colour >> 8 & 255, colour & 255))
                at = y * pitch + x * size
                step.equal(
                    data[at : at + 3], wanted, "vm_screen_plot", "shows another colour", x=x, y=y, **given
                )
        behind = data[width * size : pitch]
        step.same(behind, b"\x5c" * len(behind), "draws behind a line", **given)
        step.same(
            harness.read(_FRAME, start - _FRAME),
            b"\x5c" * (start - _FRAME),
            "draws above the screen",
            **given,
        )
