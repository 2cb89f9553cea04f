"""Registers that a routine writes, never saves, and does not list.

A register counts as saved when the routine pushes it (or stores it below RBP or above RSP) and takes it back. What a
call may change is read from the callee's header; an indirect call, or a callee without a header, is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.checks import Finding, Subject
from toolchain.flow import Instruction, RoutineFlow
from toolchain.headers import full_register

_STORE = re.compile(r"^qword ptr \[r[sb]p[^\]]*\], (\w+)$")
_LOAD = re.compile(r"^(\w+), qword ptr \[r[sb]p[^\]]*\]$")


def check(subject: Subject) -> Iterator[Finding]:
    """One finding per routine and register."""
    names = subject.starts
    for flow in subject.flows:
        header = subject.headers.get(flow.symbol.name)
        returns = any(i.mnemonic == "ret" for i in flow.instructions)
        if header is None or not returns or "jumped to" in header.context.lower():
            continue
        kept = header.may_change() | _saved(flow)
        reported: set[str] = set()
        for instruction in flow.instructions:
            for register in sorted(_changed(subject, instruction, names) - kept - reported):
                reported.add(register)
                by = f" by calling {names[instruction.target]}" if instruction.target in names else ""
                message = (
                    f"changes {register}{by}, which the header does not list and the routine does not save"
                )
                yield subject.finding("register-saves", message, instruction.address, flow.symbol.name)


def _saved(flow: RoutineFlow) -> frozenset[str]:
    stored, loaded = set(), set()
    for instruction in flow.instructions:
        text = instruction.operands
        if instruction.mnemonic == "push":
            stored.add(full_register(text))
        elif instruction.mnemonic == "pop":
            loaded.add(full_register(text))
        elif instruction.mnemonic == "mov" and (match := _STORE.match(text)):
            stored.add(full_register(match[1]))
        elif instruction.mnemonic == "mov" and (match := _LOAD.match(text)):
            loaded.add(full_register(match[1]))
        elif instruction.mnemonic == "leave":
            loaded.add("rbp")
    return frozenset(name for name in stored & loaded if name)


def _changed(subject: Subject, instruction: Instruction, names: dict[int, str]) -> frozenset[str]:
    """What an instruction or the routine that it calls may change."""
    if instruction.mnemonic in ("push", "pop", "leave"):
        return frozenset()
    target = instruction.target
    if target in names and (instruction.is_call or instruction.mnemonic == "jmp"):
        callee = subject.headers.get(names[target])
        return callee.may_change() if callee else frozenset()
    return instruction.writes
