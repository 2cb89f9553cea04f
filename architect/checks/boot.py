"""The order in which the 32-bit entry switches long mode on.

Intel SDM vol. 3, 9.8.5: CR4.PAE, then CR3, then EFER.LME, then CR0.PG. With EFER.NXE clear a no-execute bit in a page
table is a reserved one. Reads the code in its order and follows calls; values that it cannot know are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from architect.checks import Finding, Subject
from architect.checks.tables import early
from toolchain.flow import RoutineFlow
from toolchain.headers import full_register

_CR0_PG, _CR4_PAE, _EFER, _LME, _NXE = 1 << 31, 1 << 5, 0xC000_0080, 1 << 8, 1 << 11
_CONSTANT = re.compile(r"^(e\w\w), (0x[0-9a-f]+|\d+)$")
_CONTROL = re.compile(r"^(cr[034]), (e\w\w)$")
_DEPTH_MAX = 8
_FOLLOWED = ("mov", "or", "and")


class _Write(NamedTuple):
    """A control register or MSR that is written; ``value`` None when unknown, ``known`` bits that are surely set."""

    what: str
    known: int
    address: int
    routine: str


def check(subject: Subject) -> Iterator[Finding]:
    """What is missing before the store to CR0 that switches paging on."""
    routines = {flow.symbol.address: flow for flow in early(subject)}
    for flow in routines.values():
        writes = list(_writes(flow, routines, 0))
        for number, write in enumerate(writes):
            if write.what == "cr0" and write.known & _CR0_PG and write.routine == flow.symbol.name:
                yield from _before(subject, writes[:number], write)


def _before(subject: Subject, writes: list[_Write], paging: _Write) -> Iterator[Finding]:
    wanted = (
        ("cr4", _CR4_PAE, "CR4.PAE is set"),
        ("cr3", 0, "CR3 is loaded"),
        (f"msr {_EFER:#x}", _LME, "EFER.LME is set"),
        (f"msr {_EFER:#x}", _NXE, "EFER.NXE is set, which no-execute pages need"),
    )
    for what, bits, text in wanted:
        last = [write for write in writes if write.what == what][-1:]
        if not last or last[0].known & bits != bits:
            message = f"paging is switched on before {text}"
            found = subject.finding("long-mode-order", message, paging.address, paging.routine)
            yield found.about(tuple(subject.at(write.address) for write in last))


def _writes(flow: RoutineFlow, routines: Mapping[int, RoutineFlow], depth: int) -> Iterator[_Write]:
    """Stores to control registers and EFER in the order of the code; calls are followed."""
    known: dict[str, int] = {}
    name = flow.symbol.name
    for instruction in flow.instructions:
        mnemonic, text = instruction.mnemonic, instruction.operands
        constant = _CONSTANT.match(text) if mnemonic in _FOLLOWED else None
        control = _CONTROL.match(text) if mnemonic == "mov" else None
        if control:
            yield _Write(control[1], known.get(control[2], 0), instruction.address, name)
        elif mnemonic == "wrmsr":
            if known.get("ecx") is not None:
                yield _Write(f"msr {known['ecx']:#x}", known.get("eax", 0), instruction.address, name)
        elif mnemonic == "mov" and constant:
            known[constant[1]] = int(constant[2], 0)
        elif mnemonic == "or" and constant:
            known[constant[1]] = known.get(constant[1], 0) | int(constant[2], 0)
        elif mnemonic == "and" and constant:
            known[constant[1]] = known.get(constant[1], 0) & int(constant[2], 0)
        elif mnemonic == "rdmsr":
            known.pop("eax", None)
        elif instruction.is_call:
            known.clear()
            callee = routines.get(instruction.target) if instruction.target is not None else None
            if callee is not None and depth < _DEPTH_MAX:
                yield from _writes(callee, routines, depth + 1)
        else:
            for register in list(known):
                if full_register(register) in instruction.writes:
                    del known[register]
