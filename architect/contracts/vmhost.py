"""What a pixel program reaches on bare metal: its system calls, and its screen.

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

_SIZE, _STACK = 0x1540, 0x40  # of a machine
_MACHINE = BUFFER_BASE
_EXECUTED = 400_000
_Row = tuple[
    isa.System, tuple[int, ...], tuple[int, ...], list[tuple[str | int, ...]], Mapping[str, Mapping[str, int]]
]
_SERVED = (("serial_put_char", "dil"), ("serial_get_char",), ("clock_ns",), ("vm_screen_side",),
           ("vm_screen_plot", "edi", "esi", "edx"), ("vm_screen_pixel", "edi", "esi"))  # fmt: skip


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
        step.were(asked, "does something else for a call", call=number)
        depth = struct.unpack("<I", harness.read(_MACHINE + 0x2C, 4))[0]
        step.same(depth, 3 + len(answers), "leaves another depth", call=number)
        got = struct.unpack(f"<{len(answers)}I", harness.read(_MACHINE + _STACK + 12, 4 * len(answers)))
        step.same(got, answers, "answers something else", call=number)
        counted = struct.unpack("<II", harness.read(_MACHINE + 0x24, 8))
        moved = (int(number == isa.System.PUTC), int(number == isa.System.GETC and answers != (0xFFFFFFFF,)))
        step.same(counted, moved, "counts other bytes of the console", call=number)


_CALLS: tuple[_Row, ...] = (
    (isa.System.PUTC, (0x141,), (), [("serial_put_char", 0x41)], {}),
    (isa.System.GETC, (), (0x61,), [("serial_get_char",)], {"serial_get_char": {"eax": 0x61, "cf": 0}}),
    (isa.System.GETC, (), (0xFFFFFFFF,), [("serial_get_char",)], {"serial_get_char": {"eax": 0, "cf": 1}}),
    (isa.System.TIME, (), (5_000_000_001 & 0xFFFFFFFF,), [("clock_ns",)], {"clock_ns": {"rax": 5_000_000_001_999_999}}),
    (isa.System.SIZE, (), (128, 128), [("vm_screen_side",)], {"vm_screen_side": {"eax": 128}}),
    (isa.System.PLOT, (1, 2, 3), (), [("vm_screen_plot", 1, 2, 3)], {}),
    (isa.System.PIXEL, (4, 5), (0xABCDEF,), [("vm_screen_pixel", 4, 5)], {"vm_screen_pixel": {"eax": 0xABCDEF}}),
    (isa.System.SHOW, (), (), [], {}),
    (isa.System.SEND, (9,), (0,), [], {}),
    (isa.System.RECEIVE, (), (0, 0), [], {}),
)  # fmt: skip


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
