"""What was never switched on, or wrongly: a failure that settings decide leads to the code that makes them.

Owns the table from failures to what decides about them (Intel SDM vol. 3: 6.15 #UD and #NM by CR0 and CR4, 4.7 the
reserved bit by EFER.NXE, 9.8.5 the way to long mode; an interrupt that does not come by ports, IDT and EOI), the slice
behind each store there, and definitions that contradict the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.architectural import fixed
from architect.clue import Evidence
from architect.effects import registers_in
from architect.evidence import Reader
from architect.slicing import Start
from architect.statements import Statement
from toolchain.types import Exception_

_INVALID_OPCODE, _NOT_AVAILABLE, _PAGE_FAULT = 6, 7, 14
_MODES = ("cr0", "cr4")
_NO_LONG_MODE, _NO_INTERRUPT = "not-in-long-mode", "no-interrupt"  # rules of the diagnosis
_DELIVERY = frozenset(("out", "lidt", "sti", "iret", "iretd", "iretq"))  # what an interrupt's coming takes
_TRUST = 4.0
_CONTRADICTION = 6.0


def settings(reader: Reader) -> Iterator[Evidence]:
    """The code that sets what the exception depends on, when it depends on the CPU's settings."""
    report = reader.case.report
    died = report.chain[0] if report and report.chain else None
    rules = frozenset(d.rule for d in report.diagnosis) if report else frozenset()
    if died is None and not rules & {_NO_LONG_MODE, _NO_INTERRUPT}:
        return
    starts = []
    for s in reader.tree.statements():
        flow = reader.flows.of(s.routine) if _decides(s, died, rules) else None
        for node in flow.nodes_of(s) if flow and s.routine else ():
            assert s.routine is not None
            read = (
                registers_in(s.operand(1)) if s.name in ("mov", "out") else frozenset({"rax", "rcx", "rdx"})
            )
            starts.append(Start(s.routine, node, frozenset(read)))
    if starts:
        lines = reader.slicer.backward(starts)
        what = died.name if died is not None else "an interrupt"
        yield Evidence("control", _TRUST, f"{what} depends on what it sets", lines)


def contradictions(reader: Reader) -> Iterator[Evidence]:
    """Definitions whose names say another value."""
    lines = {}
    for name, value in reader.names.values.items():
        meant, home = fixed(name), reader.tree.constants[name]
        if meant is not None and not meant.allows(value):
            lines[home.file, home.line] = 1.0 if meant.sure else 0.3
    if lines:
        yield Evidence("architecture", _CONTRADICTION, "its name says another value", lines)


def _decides(s: Statement, died: Exception_ | None, rules: frozenset[str]) -> bool:
    """Whether a statement writes what decides about a failure."""
    if _NO_INTERRUPT in rules:
        return s.name in _DELIVERY
    if _NO_LONG_MODE in rules:
        return s.name == "wrmsr" or (s.name == "mov" and s.operand(0) in ("cr0", "cr3", "cr4"))
    if died is None:
        return False
    if died.vector in (_INVALID_OPCODE, _NOT_AVAILABLE):
        return s.name == "xsetbv" or (s.name == "mov" and s.operand(0) in _MODES)
    return (
        died.vector == _PAGE_FAULT and any("reserved" in word for word in died.decoded) and s.name == "wrmsr"
    )
