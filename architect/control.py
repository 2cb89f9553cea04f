"""What was never switched on: an exception that the CPU's own settings decide leads to the code that sets them.

Owns the table from exceptions to control registers (Intel SDM vol. 3: 6.15 #UD and #NM by CR0 and CR4, 4.7 the reserved
bit by EFER.NXE) and the slice behind each store to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.clue import Evidence
from architect.effects import registers_in
from architect.evidence import Reader
from architect.slicing import Start
from architect.statements import Statement
from toolchain.types import Exception_

_INVALID_OPCODE, _NOT_AVAILABLE, _PAGE_FAULT = 6, 7, 14
_MODES = ("cr0", "cr4")
_TRUST = 4.0


def settings(reader: Reader) -> Iterator[Evidence]:
    """The code that sets what the exception depends on, when it depends on the CPU's settings."""
    report = reader.case.report
    died = report.chain[0] if report and report.chain else None
    if died is None:
        return
    starts = []
    for s in reader.tree.statements():
        flow = reader.flows.of(s.routine) if _decides(s, died) else None
        for node in flow.nodes_of(s) if flow and s.routine else ():
            assert s.routine is not None
            read = registers_in(s.operand(1)) if s.name == "mov" else frozenset({"rax", "rcx", "rdx"})
            starts.append(Start(s.routine, node, frozenset(read)))
    if starts:
        lines = reader.slicer.backward(starts)
        yield Evidence("control", _TRUST, f"{died.name} depends on what it sets in the CPU", lines)


def _decides(s: Statement, died: Exception_) -> bool:
    """Whether a statement writes what decides about an exception."""
    if died.vector in (_INVALID_OPCODE, _NOT_AVAILABLE):
        return s.name == "xsetbv" or (s.name == "mov" and s.operand(0) in _MODES)
    return (
        died.vector == _PAGE_FAULT and any("reserved" in word for word in died.decoded) and s.name == "wrmsr"
    )
