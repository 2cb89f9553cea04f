"""The units of the display, each entry alone: the order of its steps, its results, its notes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from architect.contracts import contract
from architect.contracts.model import FAIL, NO_MEMORY, NOT_FOUND, OK, SKIP
from architect.contracts.pcisteps import row
from architect.contracts.steps import BUFFER, Step
from architect.contracts.unitsteps import NOTES, Unit
from toolchain.harness import Harness

_MODE = struct.Struct("<QIIII")


@contract(
    "gpu_init",
    needs=(
        "gpu_find",
        "gpu_has_framebuffer",
        "pci_enable",
        "gpu_map_bar0",
        "gpu_row",
        "gpu_bar0",
        "gpu_bar0_size",
        "gpu_mailbox",
        *NOTES,
    ),
)
def gpu_init_alone(harness: Harness) -> None:
    """The device is switched on before its BAR is mapped; what was found is kept."""
    step = Unit(harness, "gpu_init")
    base, size = 0x12_FD00_0000, 1 << 24
    step.put(BUFFER, row(0x0110, slots={0: (base, size), 1: (0xFEB0_0000, 0x1000)}))
    step.stand("gpu_find", answer={"rax": BUFFER, "cf": 0})
    step.stand("gpu_has_framebuffer", "rdi")
    step.stand("pci_enable", "rdi", "esi", answer={})
    step.stand("gpu_map_bar0", "rdi", answer={"rax": 0x7777_0000, "cf": 0})
    step.start(OK, "fails though all its steps succeed")
    kept = tuple(step.get64(name) for name in ("gpu_row", "gpu_bar0", "gpu_bar0_size", "gpu_mailbox"))
    step.same(kept, (BUFFER, base, size, 0x7777_0000), "keeps something else of the device")
    order = step.steps("gpu_find", "gpu_has_framebuffer", "pci_enable", "gpu_map_bar0")
    step.same(
        order,
        ["gpu_find", "gpu_has_framebuffer", "pci_enable", "gpu_map_bar0"],
        "does its steps in another order",
    )
    on = [int(call[2]) for call in step.asked if call[0] == "pci_enable" and call[1] == BUFFER]
    step.expect(bool(on) and bool(on[0] & 2), step.routine, "leaves the device's memory off")
    step.expect(("gpu_map_bar0", base) in step.asked, step.routine, "maps another BAR")
    step.noted(
        bdf=("unit_note", 0x110),
        id=("unit_note", 0x0001_1234),
        bar0=("unit_note", base),
        size=("unit_note", size),
    )
    for name, result in (("gpu_map_bar0", FAIL), ("gpu_has_framebuffer", SKIP), ("gpu_find", SKIP)):
        step.stand_fails(name, NO_MEMORY)
        step.start(result, "gives another result when a step fails", rbx=result)
        step.expect(
            (b"error" if result == FAIL else b"reason") in step.notes, step.routine, "does not say why"
        )


@contract(
    "framebuffer_from_dispi",
    needs=("dispi_find", "dispi_set_mode", "framebuffer", "gpu_row", "gpu_bar0", "gpu_bar0_size"),
)
def from_dispi_alone(harness: Harness) -> None:
    """Behind the mailbox page, where the memory holds both."""
    step = Step(harness, "framebuffer_from_dispi")
    step.stand("dispi_find", "rdi")
    step.stand("dispi_set_mode", "rdi")
    needed, bar = 4096 * 769, 0x12_FD00_0000
    for place, size, right in (
        (BUFFER, needed, True),
        (BUFFER, 1 << 24, True),
        (BUFFER, needed - 1, False),
        (0, 1 << 24, False),
    ):
        for name, value in (("gpu_row", place), ("gpu_bar0", bar), ("gpu_bar0_size", size)):
            step.put64(name, value)
        step.put("framebuffer", bytes(_MODE.size))
        step.run("is wrong about whether there is a mode", cf=not right, rbx=place, rcx=size)
        step.same(
            step.asked,
            [("dispi_find", BUFFER), ("dispi_set_mode", BUFFER)] if right else [],
            "sets a mode elsewhere",
        )
        mode = (bar + 4096, 4096, 1024, 768, 32) if right else (0,) * 5
        step.same(
            _MODE.unpack(harness.read(step.at("framebuffer"), _MODE.size)),
            mode,
            "keeps another mode",
            size=size,
        )
    step.put64("gpu_row", BUFFER)
    for name in ("dispi_set_mode", "dispi_find"):
        step.stand_fails(name, NOT_FOUND)
        step.run("goes on without a mode", cf=True, want={"rax": NOT_FOUND})


@contract("framebuffer_note_mode", needs=("framebuffer", *NOTES))
def note_mode_alone(harness: Harness) -> None:
    """Address, sizes, pitch and bits, each under its name."""
    step = Unit(harness, "framebuffer_note_mode")
    step.put("framebuffer", _MODE.pack(0x12_FD00_1000, 4097, 1024, 768, 32))
    step.run("fails")
    sizes = {"width": 1024, "height": 768, "pitch": 4097, "bits": 32}
    step.noted(
        address=("unit_note", 0x12_FD00_1000),
        **{name: ("unit_note_dec", value) for name, value in sizes.items()},
    )


@contract(
    "framebuffer_init",
    needs=(
        "framebuffer_from_dispi", "framebuffer_from_loader", "framebuffer_map", "picture_draw", "picture_checksum",
        "framebuffer_note_mode", *NOTES,
    ),
)  # fmt: skip
def framebuffer_init_alone(harness: Harness) -> None:
    """The device's mode before the loader's; mapped, drawn, summed."""
    step = Unit(harness, "framebuffer_init")
    names = (
        "framebuffer_from_dispi",
        "framebuffer_from_loader",
        "framebuffer_map",
        "picture_draw",
        "picture_checksum",
    )
    for name in (*names[:3], "framebuffer_note_mode"):
        step.stand(name)
    step.stand("picture_draw", answer={})
    step.stand("picture_checksum", answer={"rax": 0x1234})

    def check(result: int, source: bytes, expected: Sequence[int]) -> None:
        step.start(result, "gives another result", rbx=len(expected))
        step.same(step.steps(*names), [names[n] for n in expected], "does its steps in another order")
        if result == OK:
            step.noted(source=("unit_note_text", source), checksum=("unit_note", 0x1234))
            step.expect(("framebuffer_note_mode",) in step.asked, step.routine, "does not note the mode")

    check(OK, b"dispi", (0, 2, 3, 4))
    step.stand_fails("framebuffer_from_dispi", NOT_FOUND)
    check(OK, b"loader", (0, 1, 2, 3, 4))
    step.stand_fails("framebuffer_map", NO_MEMORY)
    check(FAIL, b"", (0, 1, 2))
    step.stand_fails("framebuffer_from_loader", NOT_FOUND)
    check(SKIP, b"", (0, 1))
