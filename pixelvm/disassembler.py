"""From a program to text that assembles to the same program, pixel for pixel and byte for byte.

Owns the form of that text: a label at every place that a jump or a call names, ``.pixel`` for a word that is no
instruction, data sixteen bytes to a line.
"""

from __future__ import annotations

from pixelvm import isa
from pixelvm.isa import INSTRUCTIONS, SYSTEM_CALLS, Op, Operand
from pixelvm.program import Program

_ROW = 16  # bytes of data on a line


def disassemble(program: Program) -> str:
    """The source of a program (within bounds), ending with a newline."""
    labels = _labels(program)
    lines = [f".memory {program.memory}", f".entry {labels[program.entry]}", ""]
    for at, code in enumerate(program.code):
        if at in labels:
            lines.append(f"{labels[at]}:")
        lines.append(f"    {instruction(code, program, labels)}")
    if program.data:
        lines += ["", ".data"]
        rows = (program.data[at : at + _ROW] for at in range(0, len(program.data), _ROW))
        lines += ["    .byte " + ", ".join(map(str, row)) for row in rows]
    return "\n".join(lines) + "\n"


def instruction(code: int, program: Program, labels: dict[int, str] | None = None) -> str:
    """One word as the assembler reads it; a target without a label is its number."""
    if not isa.is_legal(code, len(program.code)):
        return f".pixel {code:#010x}"
    row = INSTRUCTIONS[code & 0xFF]
    operand = code >> 8
    if row.operand is Operand.NONE:
        return row.name
    if row.operand is Operand.TARGET:
        return f"{row.name} {(labels or {}).get(operand, operand)}"
    if row.operand is Operand.SYSTEM:
        return f"{row.name} {SYSTEM_CALLS[operand].name}"
    if row.op is Op.PUSH:
        return f"{row.name} {isa.signed_operand(code)}"
    return f"{row.name} {operand}"


def _labels(program: Program) -> dict[int, str]:
    """A name for the entry and for every target."""
    names = {program.entry: "entry"}
    for code in program.code:
        row = INSTRUCTIONS.get(code & 0xFF)
        if row and row.operand is Operand.TARGET and isa.is_legal(code, len(program.code)):
            names.setdefault(code >> 8, f"{'f' if row.op is Op.CALL else 'l'}_{code >> 8}")
    return names
