"""Every instruction of an emulated machine's last run, with registers and memory: what a dynamic slice is cut from.

Owns the recording; ``stepping`` is in force like ``trace.recording``. Only the last run is kept, and of a long one only
the beginning. Never changes a run; knows no source lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from toolchain import harness_stub
from toolchain.headers import GENERAL, full_register
from toolchain.trace import Recorder, put
from toolchain.types import Image

STEPS_MAX = 4_000
_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Step:
    """One instruction that was about to run.

    Attributes:
        address: of the instruction.
        size: its bytes.
        registers: the general registers before it, in the order of ``headers.GENERAL``.
        loads: (address, size) of what it read.
        stores: (address, size, value) of what it wrote.
    """

    address: int
    size: int
    registers: tuple[int, ...]
    loads: list[tuple[int, int]] = field(default_factory=list)
    stores: list[tuple[int, int, int]] = field(default_factory=list)


class Stepper(Recorder):
    """The steps of the last run.

    Attributes:
        steps: in order.
        cut: the run went on after ``STEPS_MAX`` of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.cut = False

    def attach(self, uc: Any, constants: Any, image: Image, bits: int) -> None:
        """Listen to a 64-bit machine with ``image`` in it; of another the registers have no such names."""
        from unicorn import x86_const

        if bits != 64:
            return

        numbers = [getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in GENERAL]
        written: dict[
            int, tuple[int, ...]
        ] = {}  # address -> places in GENERAL that its instruction may change

        def stepped(machine: Any, address: int, size: int, data: object) -> None:
            steps = self.steps
            if len(steps) >= STEPS_MAX:
                self.cut = True
                return
            before = steps[-1] if steps else None
            if before is None or before.address + before.size != address:
                steps.append(Step(address, size, tuple(machine.reg_read_batch(numbers))))
                return
            # In a row only what the instruction before changes is read: reading takes longer than running.
            known = written.get(before.address)
            if known is None:
                code = machine.mem_read(before.address, before.size)
                known = written[before.address] = changed_by(bytes(code))
            registers = list(before.registers)
            for place in known:
                registers[place] = machine.reg_read(numbers[place])
            steps.append(Step(address, size, tuple(registers)))

        def touched(machine: Any, access: int, address: int, size: int, value: int, data: object) -> None:
            address &= _MASK
            # What the harness reads and writes around a call is none of the last instruction's doing.
            if self.steps and not self.cut and not 0 <= address - harness_stub.BLOCK < harness_stub.PAGE:
                step = self.steps[-1]
                if access == constants.UC_MEM_WRITE:
                    step.stores.append((address, size, value & (1 << 8 * size) - 1))
                else:
                    step.loads.append((address, size))

        for section in image.sections:
            if section.size and "x" in section.flags:
                for base in {section.address, section.physical}:
                    uc.hook_add(constants.UC_HOOK_CODE, stepped, None, base, base + section.size - 1)
        uc.hook_add(constants.UC_HOOK_MEM_READ | constants.UC_HOOK_MEM_WRITE, touched)

    def begin(self) -> None:
        """A run of some machine begins."""
        self.steps, self.cut = [], False


def changed_by(code: bytes) -> tuple[int, ...]:
    """The places in ``GENERAL`` of the registers that an instruction may change; all when it cannot be decoded."""
    item = next(decoder().disasm(code, 0, 1), None)
    if item is None:
        return tuple(range(len(GENERAL)))
    names = {full_register(item.reg_name(number)) for number in item.regs_access()[1]}
    return tuple(place for place, name in enumerate(GENERAL) if name in names)


@cache
def decoder() -> Any:
    """Capstone for 64-bit code, with details."""
    import capstone

    machine: Any = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.detail = True
    return machine


@contextmanager
def stepping() -> Iterator[Stepper]:
    """Record the steps of all machines that are made within."""
    made = Stepper()
    with put(made):
        yield made
