"""Where a routine ends, and code that nothing comes to.

A routine that runs on behind its last instruction runs into whatever the linker put there. Code that no path leads to
is a path that somebody cut. Padding (nop, int3) is nobody's code; a call to a routine whose header says that it does
not return ends a path.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.checks import Found, Subject
from toolchain.flow import Instruction, RoutineFlow

_PADDING = {"nop", "int3"}


def check(subject: Subject, flow: RoutineFlow) -> Iterator[Found]:
    """The last instruction, and the first of each piece that is not reached."""
    if not subject.context(flow.symbol.name):
        return  # no routine that anybody described: a table of stubs, data among code
    if not flow.instructions:
        yield Found("no-instruction", "does not begin with an instruction", flow.symbol.address)
        return
    reached = _reached(subject, flow)
    last = flow.instructions[-1]
    if last.address in reached and not _stops(subject, last):
        if not flow.whole:
            yield Found("no-instruction", "runs into bytes that are no instruction", last.address)
        else:
            name, offset = subject.place(last.end)
            where = f" into {name}" if name and not offset else ""
            yield Found("runs-on", f"runs on behind its end{where}", last.address)
    cut = False
    for instruction in flow.instructions:
        dead = instruction.address not in reached and instruction.mnemonic not in _PADDING
        if dead and not cut:
            yield Found("not-reached", "no path leads here", instruction.address)
        cut = dead
    for instruction in flow.instructions:
        target = instruction.target
        inside = target is not None and flow.symbol.address <= target < flow.symbol.address + flow.symbol.size
        if inside and target not in flow.by_address and instruction.address in reached and flow.whole:
            yield Found("no-instruction", "goes into the middle of an instruction", instruction.address)


def _stops(subject: Subject, instruction: Instruction) -> bool:
    return instruction.ends_flow or (instruction.is_call and subject.never_returns(instruction.target))


def _reached(subject: Subject, flow: RoutineFlow) -> set[int]:
    first, end = flow.symbol.address, flow.symbol.address + flow.symbol.size
    work = [first]
    work += [
        s.address
        for s in subject.image.symbols
        if first < s.address < end and s.section == flow.symbol.section
    ]
    work += [address for address in subject.code_pointers if first < address < end]
    # An address that the routine itself takes may be jumped to: a table of its own, a place to come back to.
    work += [i.reference for i in flow.instructions if i.reference is not None and first < i.reference < end]
    reached: set[int] = set()
    anywhere = False
    while work:
        address = work.pop()
        instruction = flow.by_address.get(address)
        if instruction is None or address in reached:
            continue
        reached.add(address)
        if instruction.mnemonic == "ud2":
            work.append(instruction.end)  # a handler may go on behind it
        elif not _stops(subject, instruction):
            work += flow.successors(instruction)
        elif instruction.is_jump and instruction.target is not None:
            work.append(instruction.target)
        elif instruction.is_jump and not anywhere:
            anywhere = True  # computed from a table of differences: each piece behind an end may be one that it names
            work += [one.end for one in flow.instructions if _stops(subject, one) and one.end < end]
    return reached
