"""Stack depth along every path of a routine.

Tracks RSP as an offset from its value at entry (0: RSP points at the return address) through push, pop, add, sub,
lea, enter-like frames and leave. Finds: a return or a tail jump at another depth, paths that meet at different
depths, a call with RSP not 16-byte aligned (System V AMD64 ABI, 3.2.2: the kernel's calling convention keeps it, so
that movaps in a callee may trust it). An instruction that sets RSP in any other way ends the tracking of its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from architect.checks import Finding, Subject
from toolchain.flow import Instruction, RoutineFlow

_IMMEDIATE = re.compile(r"^rsp, (-?(?:0x[0-9a-f]+|\d+))$")
_FROM_RBP = re.compile(r"^rsp, \[rbp(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_FROM_RSP = re.compile(r"^rsp, \[rsp(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_NOT_CALLED = ("jumped to", "does not return")
_SETS_RSP = re.compile(r"^rsp\b")
_TAKES_RSP = {"mov", "lea", "add", "sub", "and", "or", "xor", "xchg", "pop", "cmovne", "cmove", "adc", "sbb"}


@dataclass(frozen=True, slots=True)
class _Depth:
    """RSP and RBP as offsets from RSP at entry; ``frame`` None when RBP does not hold one."""

    rsp: int
    frame: int | None = None


def check(subject: Subject) -> Iterator[Finding]:
    """Findings of every routine that has a header and is called, not entered by the CPU."""
    starts = set(subject.starts)
    for flow in subject.flows:
        header = subject.headers.get(flow.symbol.name)
        if (
            header
            and "interrupt" not in header.context.lower()
            and "not a call" not in header.context.lower()
        ):
            yield from _routine(subject, flow, starts)


def _routine(subject: Subject, flow: RoutineFlow, starts: set[int]) -> Iterator[Finding]:
    name = flow.symbol.name
    seen: dict[int, _Depth] = {}
    work = [(flow.symbol.address, flow.symbol.address, _Depth(0))]
    reported: set[int] = set()
    while work:
        came, address, depth = work.pop()
        instruction = flow.by_address.get(address)
        if instruction is None:
            continue
        known = seen.get(address)
        if known is not None:
            # A loop that pushes, and one that pops as often, is sound; only paths that meet going forward must agree.
            if known.rsp != depth.rsp and came < address and address not in reported:
                reported.add(address)
                message = f"paths meet here with {-known.rsp} and {-depth.rsp} bytes on the stack"
                yield subject.finding("stack-depth", message, address, name)
            continue
        seen[address] = depth
        yield from _judge(subject, flow, instruction, depth, starts)
        after = _step(instruction, depth)
        if after is not None:
            inside = (a for a in flow.successors(instruction) if a in flow.by_address)
            work += [(address, a, after) for a in inside if a not in starts or a == flow.symbol.address]


def _judge(
    subject: Subject, flow: RoutineFlow, instruction: Instruction, depth: _Depth, starts: set[int]
) -> Iterator[Finding]:
    name, address = flow.symbol.name, instruction.address
    if instruction.mnemonic == "ret" and depth.rsp != 0:
        yield subject.finding("stack-return", f"ret with {-depth.rsp} bytes left on the stack", address, name)
    leaves = instruction.target is not None and instruction.target in starts and not instruction.is_call
    if leaves and instruction.target != flow.symbol.address and depth.rsp != 0:
        yield subject.finding(
            "stack-return", f"jumps away with {-depth.rsp} bytes on the stack", address, name
        )
    if instruction.is_call and (depth.rsp - 8) % 16 != 0:
        yield subject.finding("stack-align", "call with RSP not 16-byte aligned", address, name)


def _step(instruction: Instruction, depth: _Depth) -> _Depth | None:
    """The depth after an instruction, or None when RSP is no longer known."""
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic in ("push", "pushfq"):
        return _Depth(depth.rsp - 8, depth.frame)
    if mnemonic in ("pop", "popfq"):
        frame = None if operands == "rbp" else depth.frame
        return None if operands == "rsp" else _Depth(depth.rsp + 8, frame)
    if mnemonic == "leave":
        return None if depth.frame is None else _Depth(depth.frame + 8)
    if mnemonic == "mov" and operands == "rbp, rsp":
        return _Depth(depth.rsp, depth.rsp)
    if mnemonic == "mov" and operands == "rsp, rbp":
        return None if depth.frame is None else _Depth(depth.frame, depth.frame)
    if mnemonic in ("add", "sub") and (match := _IMMEDIATE.match(operands)):
        amount = int(match[1], 0)
        return _Depth(depth.rsp + (amount if mnemonic == "add" else -amount), depth.frame)
    if mnemonic == "lea" and (match := _FROM_RBP.match(operands)):
        return None if depth.frame is None else _Depth(depth.frame + _signed(match), depth.frame)
    if mnemonic == "lea" and (match := _FROM_RSP.match(operands)):
        return _Depth(depth.rsp + _signed(match), depth.frame)
    if _SETS_RSP.match(operands) and mnemonic in _TAKES_RSP:
        return None
    if "rbp" in instruction.writes:
        return _Depth(depth.rsp)
    return depth


def _signed(match: re.Match[str]) -> int:
    amount = int(match[2], 0) if match[2] else 0
    return -amount if match[1] == "-" else amount
