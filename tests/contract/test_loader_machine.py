"""The machine of a loader's entry is used again for the next image, and nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.kernel import kernel_image
from toolchain import harness32
from toolchain.called import Result
from toolchain.emulator import machines_closed
from toolchain.harness32 import LoaderMachine
from toolchain.types import Image
from toolchain.watch import Event, answer_rdmsr, watch

_FREE = 0x20_0000  # of memory, where no section of the kernel lies and no table of it
_LONG_MODE = 1 << 29 | 1 << 20  # CPUID 0x80000001 EDX: LM, NX
_MAGIC = 0x36D7_6289  # of Multiboot2, in EAX


@pytest.fixture(autouse=True)
def none_closed() -> Iterator[None]:
    harness32._CLOSED.clear()
    yield
    harness32._CLOSED.clear()


def _entered(machine: LoaderMachine) -> tuple[Result, list[Event]]:
    machine.cpuid = lambda leaf, subleaf: (
        0x8000_0008,
        0,
        0,
        _LONG_MODE if leaf == 0x8000_0001 else 0xFFFF_FFFF,
    )
    answer_rdmsr(machine, lambda number: 0)
    events = watch(machine)
    return machine.enter("boot_enter_multiboot2", {"rax": _MAGIC, "rbx": 0x9000, "rsp": 0x7000}), events


def _stuck(image: Image) -> Image:
    """The kernel with its first instruction exchanged for HLT: it comes nowhere."""
    section = image.sections[0]
    at = next(s.address for s in image.symbols if s.name == "boot_enter_multiboot2") - section.address
    return image._replace(
        sections=(
            section._replace(data=section.data[:at] + b"\xf4" + section.data[at + 1 :]),
            *image.sections[1:],
        )
    )


def test_a_machine_that_was_closed_is_as_newly_made() -> None:
    image = kernel_image()
    with machines_closed():
        first = LoaderMachine.of(image, "kernel_enter")
        expected = _entered(first)
        first.write(_FREE, b"left")
    assert expected[0].end == "returned"
    assert {event.kind for event in expected[1]} >= {"cr0", "cr3", "cr4", "wrmsr"}
    with machines_closed():
        again = LoaderMachine.of(_stuck(image), "kernel_enter")
        assert again is first
        assert again.read(_FREE, 4) == bytes(4)
        assert _entered(again)[0].end != "returned"
    with machines_closed():
        again = LoaderMachine.of(image, "kernel_enter")
        assert again is first
        assert _entered(again) == expected


def test_a_machine_is_not_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness32, "_IMAGES_EACH", 1)
    image = kernel_image()
    made = []
    for _ in range(3):
        with machines_closed():
            made.append(LoaderMachine.of(image, "kernel_enter"))
    assert made[0] is made[1]
    assert made[1] is not made[2]


def test_two_at_a_time_are_two() -> None:
    with machines_closed():
        one, other = (LoaderMachine.of(kernel_image(), "kernel_enter") for _ in range(2))
        assert one is not other
    assert len(harness32._CLOSED) == 1
