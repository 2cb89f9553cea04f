"""Stack depth along every path of a routine.

Tracks RSP as an offset from its value at entry (0: RSP points at the return address) through push, pop, add, sub,
lea, enter-like frames and leave. Finds: a return or a tail jump at another depth, paths that meet at different
depths, a call with RSP not 16-byte aligned (System V AMD64 ABI, 3.2.2: the kernel's calling convention keeps it, so
that movaps in a callee may trust it), and an aligned SSE access to a place of the stack, or of the image, that is not
aligned: a #GP that many emulators do not raise. An instruction that sets RSP in any other way ends the tracking of its
path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from architect.checks import Found, Subject
from toolchain.flow import Instruction, RoutineFlow

_IMMEDIATE = re.compile(r"^rsp, (-?(?:0x[0-9a-f]+|\d+))$")
_FROM_RBP = re.compile(r"^rsp, \[rbp(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_FROM_RSP = re.compile(r"^rsp, \[rsp(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_SETS_RSP = re.compile(r"^rsp\b")
_TAKES_RSP = {"mov", "lea", "add", "sub", "and", "or", "xor", "xchg", "pop", "cmovne", "cmove", "adc", "sbb"}
_ON_STACK = re.compile(r"\[(rsp|rbp)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
# Instructions whose 16-byte memory operand must be aligned (SDM vol. 2; FXSAVE area: 16 bytes too).
_ALIGNED = {
    "movaps",
    "movapd",
    "movdqa",
    "movntps",
    "movntpd",
    "movntdq",
    "fxsave",
    "fxsave64",
    "fxrstor",
    "fxrstor64",
}
_NOT_CALLED = ("interrupt", "not a call", "jumped to")


@dataclass(frozen=True, slots=True)
class Depth:
    """RSP and RBP as offsets from RSP at entry; ``frame`` None when RBP does not hold one."""

    rsp: int
    frame: int | None = None


def check(subject: Subject, flow: RoutineFlow) -> Iterator[Found]:
    """Findings of a routine that has a header and is called, not entered by the CPU."""
    context = subject.context(flow.symbol.name)
    if not context or any(words in context for words in _NOT_CALLED):
        return
    seen: dict[int, Depth] = {}
    work = [(flow.symbol.address, flow.symbol.address, Depth(0))]
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
                yield Found("stack-depth", message, address)
            continue
        seen[address] = depth
        yield from _judge(subject, flow, instruction, depth)
        after = step(instruction, depth)
        if after is not None:
            inside = (a for a in flow.successors(instruction) if a in flow.by_address)
            work += [
                (address, a, after) for a in inside if a not in subject.names or a == flow.symbol.address
            ]


def _judge(subject: Subject, flow: RoutineFlow, instruction: Instruction, depth: Depth) -> Iterator[Found]:
    address = instruction.address
    if instruction.mnemonic == "ret" and depth.rsp != 0:
        yield Found("stack-return", f"ret with {-depth.rsp} bytes left on the stack", address)
    leaves = instruction.target in subject.names and not instruction.is_call
    if leaves and instruction.target != flow.symbol.address and depth.rsp != 0:
        yield Found("stack-return", f"jumps away with {-depth.rsp} bytes on the stack", address)
    if instruction.is_call and (depth.rsp - 8) % 16 != 0:
        yield Found("stack-align", "call with RSP not 16-byte aligned", address)
    if instruction.mnemonic in _ALIGNED and _misaligned(instruction, depth):
        yield Found("sse-align", f"{instruction.mnemonic} to a place that is not on 16 bytes: #GP", address)


def _misaligned(instruction: Instruction, depth: Depth) -> bool:
    """Whether a 16-byte operand surely is not aligned; RSP is 8 more than a multiple of 16 at entry."""
    if instruction.reference is not None:
        return instruction.reference % 16 != 0
    match = _ON_STACK.search(instruction.operands)
    base = depth.rsp if match and match[1] == "rsp" else depth.frame
    if not match or base is None:
        return False
    offset = int(match[3], 0) if match[3] else 0
    return (8 + base + (-offset if match[2] == "-" else offset)) % 16 != 0


def step(instruction: Instruction, depth: Depth) -> Depth | None:
    """The depth after an instruction, or None when RSP is no longer known."""
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic in ("push", "pushfq"):
        return Depth(depth.rsp - 8, depth.frame)
    if mnemonic in ("pop", "popfq"):
        frame = None if operands == "rbp" else depth.frame
        return None if operands == "rsp" else Depth(depth.rsp + 8, frame)
    if mnemonic == "leave":
        return None if depth.frame is None else Depth(depth.frame + 8)
    if mnemonic == "mov" and operands == "rbp, rsp":
        return Depth(depth.rsp, depth.rsp)
    if mnemonic == "mov" and operands == "rsp, rbp":
        return None if depth.frame is None else Depth(depth.frame, depth.frame)
    if mnemonic in ("add", "sub") and (match := _IMMEDIATE.match(operands)):
        amount = int(match[1], 0)
        return Depth(depth.rsp + (amount if mnemonic == "add" else -amount), depth.frame)
    if mnemonic == "lea" and (match := _FROM_RBP.match(operands)):
        return None if depth.frame is None else Depth(depth.frame + _signed(match), depth.frame)
    if mnemonic == "lea" and (match := _FROM_RSP.match(operands)):
        return Depth(depth.rsp + _signed(match), depth.frame)
    if _SETS_RSP.match(operands) and mnemonic in _TAKES_RSP:
        return None
    if "rbp" in instruction.writes:
        return Depth(depth.rsp)
    return depth


def _signed(match: re.Match[str]) -> int:
    amount = int(match[2], 0) if match[2] else 0
    return -amount if match[1] == "-" else amount
