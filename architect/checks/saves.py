"""Registers that a routine must leave alone: written and never saved, or saved and not brought back.

Two looks. First, a register that is written, is not in the header, and is nowhere both stored to and loaded from the
stack. Second, what each register holds along every path: its value at entry, that of another register, or something
else; at a return it must be its own. That finds pops in another order than the pushes and paths that leave a save
behind. What a call may change is read from the callee's header; an indirect call, or a callee without a header, is
taken to change nothing, so that only what is sure is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from architect.checks import Found, Subject
from architect.checks.stack import Depth, step
from toolchain.flow import Instruction, RoutineFlow
from toolchain.headers import GENERAL, full_register

_STORE = re.compile(r"^qword ptr \[(r[sb]p)(?: ([+-]) (0x[0-9a-f]+|\d+))?\], (\w+)$")
_LOAD = re.compile(r"^(\w+), qword ptr \[(r[sb]p)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_MOVE = re.compile(r"^(r\w+), (r\w+)$")
_STATES_MAX = 24  # per instruction; a routine with more is not followed further


def check(subject: Subject, flow: RoutineFlow) -> Iterator[Found]:
    """One finding per register."""
    header = subject.headers.get(flow.symbol.name)
    returns = any(i.mnemonic == "ret" for i in flow.instructions)
    if header is None or not returns or "jumped to" in header.context.lower():
        return
    allowed = header.may_change()
    reported: set[str] = set()
    for found, register in _never_saved(subject, flow, allowed | _saved(flow)):
        if register not in reported:
            reported.add(register)
            yield found
    for found, register in _not_restored(subject, flow, allowed | {"rsp"}):
        if register not in reported:
            reported.add(register)
            yield found


# --- first look ---


def _never_saved(subject: Subject, flow: RoutineFlow, kept: frozenset[str]) -> Iterator[tuple[Found, str]]:
    for instruction in flow.instructions:
        for register in sorted(_changed(subject, instruction) - kept):
            by = (
                f" by calling {subject.names[instruction.target]}"
                if instruction.target in subject.names
                else ""
            )
            message = f"changes {register}{by}, which the header does not list and the routine does not save"
            yield Found("register-saves", message, instruction.address), register


def _saved(flow: RoutineFlow) -> frozenset[str]:
    stored, loaded = set(), set()
    for instruction in flow.instructions:
        text = instruction.operands
        if instruction.mnemonic == "push":
            stored.add(full_register(text))
        elif instruction.mnemonic == "pop":
            loaded.add(full_register(text))
        elif instruction.mnemonic == "mov" and (match := _STORE.match(text)):
            stored.add(full_register(match[4]))
        elif instruction.mnemonic == "mov" and (match := _LOAD.match(text)):
            loaded.add(full_register(match[1]))
        elif instruction.mnemonic == "leave":
            loaded.add("rbp")
    return frozenset(name for name in stored & loaded if name)


def _changed(subject: Subject, instruction: Instruction) -> frozenset[str]:
    """What an instruction or the routine that it calls may change."""
    if instruction.mnemonic in ("push", "pop", "leave"):
        return frozenset()
    if instruction.target in subject.names and (instruction.is_call or instruction.mnemonic == "jmp"):
        callee = subject.headers.get(subject.names[instruction.target])
        return callee.may_change() if callee else frozenset()
    return instruction.writes


# --- second look ---


class _State(NamedTuple):
    """``held``: register -> whose value at entry it holds, "" for another. ``slots``: the same for stack offsets."""

    depth: Depth
    held: tuple[str, ...]
    slots: tuple[tuple[int, str], ...]


_START = _State(Depth(0), GENERAL, ())
_INDEX = {name: index for index, name in enumerate(GENERAL)}


def _not_restored(
    subject: Subject, flow: RoutineFlow, allowed: frozenset[str]
) -> Iterator[tuple[Found, str]]:
    seen: dict[int, set[_State]] = {}
    work = [(flow.symbol.address, _START)]
    while work:
        address, state = work.pop()
        instruction = flow.by_address.get(address)
        states = seen.setdefault(address, set())
        if instruction is None or state in states or len(states) >= _STATES_MAX:
            continue
        states.add(state)
        if instruction.mnemonic == "ret" and state.depth.rsp == 0:
            yield from _at_return(state, allowed, address)
        after = _after(subject, instruction, state)
        if after is not None:
            inside = (a for a in flow.successors(instruction) if a in flow.by_address)
            work += [(a, after) for a in inside if a not in subject.names or a == flow.symbol.address]


def _at_return(state: _State, allowed: frozenset[str], address: int) -> Iterator[tuple[Found, str]]:
    for name, held in zip(GENERAL, state.held, strict=True):
        if name not in allowed and held != name:
            what = f"its caller's {held}" if held else "another value"
            yield Found("register-restored", f"returns with {what} in {name}", address), name


def _after(subject: Subject, instruction: Instruction, state: _State) -> _State | None:
    depth = step(instruction, state.depth)
    if depth is None:
        return None
    mnemonic, text = instruction.mnemonic, instruction.operands
    held, slots = list(state.held), dict(state.slots)
    if mnemonic == "push":
        slots[depth.rsp] = state.held[_INDEX[text]] if text in _INDEX else ""
    elif mnemonic == "pop":
        _set(held, text, slots.get(state.depth.rsp, ""))
    elif mnemonic == "leave" and state.depth.frame is not None:
        _set(held, "rbp", slots.get(state.depth.frame, ""))
    elif (
        mnemonic == "mov"
        and (match := _STORE.match(text))
        and (at := _at(match[1], match[2], match[3], depth)) is not None
    ):
        slots[at] = state.held[_INDEX[match[4]]] if match[4] in _INDEX else ""
    elif (
        mnemonic == "mov"
        and (match := _LOAD.match(text))
        and (at := _at(match[2], match[3], match[4], depth)) is not None
    ):
        _set(held, match[1], slots.get(at, ""))
    elif mnemonic == "mov" and (match := _MOVE.match(text)) and match[1] in _INDEX and match[2] in _INDEX:
        _set(held, match[1], state.held[_INDEX[match[2]]])
    elif mnemonic == "xchg" and (match := _MOVE.match(text)) and match[1] in _INDEX and match[2] in _INDEX:
        one, other = _INDEX[match[1]], _INDEX[match[2]]
        held[one], held[other] = held[other], held[one]
    else:
        for name in _changed(subject, instruction):
            _set(held, name, "")
    return _State(depth, tuple(held), tuple(sorted((k, v) for k, v in slots.items() if k >= depth.rsp)))


def _set(held: list[str], register: str, value: str) -> None:
    name = full_register(register)
    if name is not None and name != "rsp":
        held[_INDEX[name]] = value if register == name else ""


def _at(base: str, sign: str | None, amount: str | None, depth: Depth) -> int | None:
    start = depth.rsp if base == "rsp" else depth.frame
    if start is None:
        return None
    offset = int(amount, 0) if amount else 0
    return start - offset if sign == "-" else start + offset
