"""The 32-bit code before the higher half: each routine alone.

Multiboot2 2.0, 3.3 and Xen ``docs/misc/pvh.pandoc`` (magic numbers); Intel SDM vol. 2, CPUID (leaves 0x80000000 and
0x80000001), vol. 3, 4.5 (tables of 4 levels); PC16550D, 8.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from architect.contracts import contract
from architect.contracts.entry import Walk
from architect.contracts.steps import Step
from architect.contracts.text import COM1, Uart
from toolchain.harness import Harness
from toolchain.harness32 import LoaderMachine
from toolchain.watch import answer_rdmsr

_STACK, _TEXT = 0x8_0000, 0x9_0000
_LM, _NX = 1 << 29, 1 << 20
_MULTIBOOT2, _PVH = (1, 0x36D7_6289), (2, 0x336E_C578)
_NOISE = {
    "rax": 0xAAAA_0001,
    "rbx": 0xBBBB_0002,
    "rcx": 0xCCCC_1111,
    "rdx": 0xDDDD_2222,
    "rdi": 0xD1D1_4444,
    "rbp": 0x99,
}


class _Early(Step):
    """Calls of one 32-bit routine; ``boot_fail`` ends a call."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.machine = LoaderMachine.of(harness.image, "boot_start")
        self.failed = False
        if routine != "boot_fail" and harness.has("boot_fail"):
            self.machine.probe(self.machine.address("boot_fail"), self._fail)

    def _fail(self, machine: LoaderMachine) -> None:
        self.failed = True
        machine.stop()

    def go(self, **given: int) -> None:
        """One call; it must return, or fail by ``boot_fail``."""
        self.failed = False
        back = self.machine.address("boot_start")
        self.machine.write(_STACK, struct.pack("<I", back))
        result = self.machine.enter(self.routine, {**_NOISE, "rsp": _STACK, "rflags": 2, **given})
        back_again = result.end == "returned" and result.registers["rsp"] == _STACK + 4
        whole = self.failed or back_again
        self.expect(whole, self.routine, "does not return", **given)

    def put_dword(self, symbol: str, value: int) -> None:
        """A dword of the image."""
        self.machine.write(self.machine.physical(symbol), struct.pack("<I", value))


@contract(
    "boot_check_handover", needs=("boot_start", "boot_fail", "boot_handover_magic", "boot_handover_protocol")
)
def handover_check_alone(harness: Harness) -> None:
    """The magic number of the protocol, and no other."""
    step = _Early(harness, "boot_check_handover")
    for protocol, magic, right in (
        (*_MULTIBOOT2, True), (*_PVH, True), (1, _PVH[1], False), (2, _MULTIBOOT2[1], False), (1, 0x2BAD_B002, False),
        (2, 0, False),
    ):  # fmt: skip
        step.put_dword("boot_handover_protocol", protocol)
        step.put_dword("boot_handover_magic", magic)
        step.go()
        step.same(step.failed, not right, "is wrong about a magic number", protocol=protocol, magic=magic)


@contract("boot_check_cpu", needs=("boot_start", "boot_fail"))
def cpu_check_alone(harness: Harness) -> None:
    """Long mode and no-execute pages, where the leaf is there that tells of them."""
    step = _Early(harness, "boot_check_cpu")
    for last, edx, right in (
        (0x8000_0008, _LM | _NX, True), (0x8000_0001, _LM | _NX, True), (0x8000_0000, _LM | _NX, False),
        (0x16, _LM | _NX, False), (0x8000_0008, _LM, False), (0x8000_0008, _NX, False), (0x8000_0008, 0, False),
    ):  # fmt: skip
        answers = {0x8000_0000: (last, 0, 0, 0), 0x8000_0001: (0, 0, 0, edx)}
        step.machine.cpuid = lambda leaf, subleaf, answers=answers: answers.get(leaf, (1, 0, 0, 0xFFFF_FFFF))
        step.go()
        step.same(step.failed, not right, "is wrong about a CPU", cpuid=edx, leaves=last)


@contract("boot_make_tables", needs=("boot_start", "boot_pml4"))
def make_tables_alone(harness: Harness) -> None:
    """The first 4 GB at their own addresses and in the direct map, the image at its own, nothing else."""
    step = _Early(harness, "boot_make_tables")
    step.go()
    Walk(step.machine, step).tables(step.machine.physical("boot_pml4"))


@contract("boot_set_up_serial", needs=("boot_start",))
def set_up_serial_alone(harness: Harness) -> None:
    """115200 8N1, and the divisor latch closed again."""
    step = _Early(harness, "boot_set_up_serial")
    uart = Uart(step.machine)
    step.go()
    where = {"place": step.source("boot_serial_setup")}
    setup = (uart.divisor, uart.registers[3])
    step.expect(setup == (1, 3), step.routine, "sets another line than 115200 8N1", got=repr(setup), **where)
    step.expect(not uart.sent, step.routine, "sends what is part of the set-up", **where)


class _SlowUart:
    """A UART that takes one byte, and is ready for the next when its status has been read three times."""

    def __init__(self, machine: LoaderMachine) -> None:
        self.sent = bytearray()
        self.lost = 0
        self._busy = 0
        machine.port_in, machine.port_out = self._status, self._send

    def _status(self, port: int, size: int) -> int:
        if port != COM1 + 5:
            return (1 << 8 * size) - 1
        self._busy -= self._busy > 0
        return 0x9F if self._busy else 0x60

    def _send(self, port: int, size: int, value: int) -> None:
        if (port, size) == (COM1, 1):
            self.lost += self._busy > 0
            self.sent.append(value)
            self._busy = 3


@contract("boot_put_string", needs=("boot_start",))
def put_string_alone(harness: Harness) -> None:
    """Every byte up to the zero, none while the UART is full; a dead UART is not waited for without end."""
    step = _Early(harness, "boot_put_string")
    for text in (b"no-nx this CPU\n", b"", b"x" * 40):
        uart = _SlowUart(step.machine)
        step.machine.write(_TEXT, text + b"\0after")
        step.go(rsi=_TEXT)
        step.same(bytes(uart.sent), text, "sends something else")
        step.same(uart.lost, 0, "sends a byte before the one before it has gone")


@contract(
    "boot_start",
    needs=("boot_check_handover", "boot_check_cpu", "boot_make_tables", "kernel_enter", "boot_stack_bottom"),
)
def start_alone(harness: Harness) -> None:
    """A stack of the image's own first; both checks and the tables before paging is on."""
    step = Step(harness, "boot_start")
    machine = LoaderMachine.of(harness.image, "kernel_enter")
    machine.cpuid = lambda leaf, subleaf: (0x8000_0008, 0, 0, _LM | _NX)
    answer_rdmsr(machine, lambda number: 0)
    done: list[tuple[str, int]] = []
    wanted = ("boot_check_handover", "boot_check_cpu", "boot_make_tables")

    def seen(name: str) -> Callable[[LoaderMachine], None]:
        return lambda m: done.append((name, m.get("rsp") + 4))

    for name in wanted:
        machine.probe(machine.address(name), seen(name))
    machine.write(machine.physical("boot_handover_protocol"), struct.pack("<I", _MULTIBOOT2[0]))
    machine.write(machine.physical("boot_handover_magic"), struct.pack("<I", _MULTIBOOT2[1]))
    machine.enter("boot_start", {**_NOISE, "rsp": 0xFFFF_0000, "rflags": 0x402})
    called = [name for name, _ in done]
    for name in wanted:
        step.expect(name in called, step.routine, f"leaves {name} out")
    bottom, top = (machine.physical(name) for name in ("boot_stack_bottom", "boot_stack_top"))
    whole = all(bottom < stack <= top and not stack & 3 for _, stack in done)
    step.expect(whole, step.routine, "puts the stack elsewhere than on the boot stack", rsp=done[0][1])


@contract(
    "boot_enter_multiboot2",
    needs=("boot_start", "boot_handover_magic", "boot_handover_info", "boot_handover_protocol"),
)
def enter_multiboot2_alone(harness: Harness) -> None:
    """EAX, EBX and the protocol are kept before anything else."""
    _entered(harness, "boot_enter_multiboot2", _MULTIBOOT2, rax=_MULTIBOOT2[1], rbx=_TEXT)


@contract(
    "boot_enter_pvh",
    needs=("boot_start", "boot_handover_magic", "boot_handover_info", "boot_handover_protocol"),
)
def enter_pvh_alone(harness: Harness) -> None:
    """The first dword of what EBX points at, EBX and the protocol are kept before anything else."""
    _entered(harness, "boot_enter_pvh", _PVH, rax=0x1234, rbx=_TEXT)


def _entered(harness: Harness, routine: str, protocol: tuple[int, int], **given: int) -> None:
    step = Step(harness, routine)
    machine = LoaderMachine.of(harness.image, "boot_start")
    machine.write(_TEXT, struct.pack("<I", protocol[1] if protocol == _PVH else 0x1234))
    result = machine.enter(routine, {**_NOISE, "rsp": 0xFFFF_0000, "rflags": 2, **given})
    step.equal(result.end, "returned", routine, "does not go on to boot_start")
    kept = ("boot_handover_protocol", "boot_handover_magic", "boot_handover_info")
    for name, value in zip(kept, (*protocol, _TEXT), strict=True):
        got = machine.read_u32(machine.physical(name))
        step.equal(got, value, routine, f"keeps another value in {name}")
