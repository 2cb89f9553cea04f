"""The machine's numbers for the assembler: ``kernel/include/pixelvm.inc``, written from ``isa.py``.

Owns that file: ``python -m pixelvm.assembly`` writes it anew, and a test says when it is not what this module makes.
"""

from __future__ import annotations

from pathlib import Path

from pixelvm import isa, program
from pixelvm.isa import Op, Operand, Stop, System

PATH = Path(__file__).resolve().parents[1] / "kernel/include/pixelvm.inc"
TARGET = 0xFFFFFFFF  # in the table: the operand's limit is the number of instructions


def text() -> str:
    """The whole file."""
    out = [
        "# Purpose:  the Pixel VM's numbers: opcodes, stops, system calls, sizes.",
        "# Spec:     pixelvm/SPEC.md. Made by `python -m pixelvm.assembly` from isa.py: edit that.",
        "",
    ]
    for name in (
        "VERSION",
        "STACK_SLOTS",
        "FRAMES",
        "LOCALS",
        "CODE_MAX",
        "MEMORY_MAX",
        "MEMORY_STEP",
        "SEED_DEFAULT",
    ):
        out.append(f".set VM_{name}, {getattr(isa, name):#x}")
    out.append(f".set VM_MAGIC, {int.from_bytes(program.MAGIC, 'little'):#x}")
    out.append(f".set VM_OPERAND_TARGET, {TARGET:#x}")
    for kind, prefix in ((Op, "OP"), (Stop, "STOP"), (System, "SYS")):
        out += ["", *(f".set VM_{prefix}_{one.name}, {int(one):#x}" for one in kind)]
    out += [
        "",
        "# vm_opcode_rows -- for each opcode that there is: its number, its name, its operands are below the limit",
    ]
    out += [".macro vm_opcode_rows"]
    for op, row in isa.INSTRUCTIONS.items():
        limit = TARGET if row.operand is Operand.TARGET else isa.operand_limit(row.operand, 0)
        out.append(f"    vm_opcode {int(op):#x}, {row.name}, {limit:#x}")
    out += [
        ".endm",
        "",
        "# vm_call_rows -- for each system call: fuel, values taken, values left",
        ".macro vm_call_rows",
    ]
    out += [f"    .long {row.fuel}, {row.pops}, {row.pushes}, 0" for row in isa.SYSTEM_CALLS.values()]
    return "\n".join([*out, ".endm", ""])


if __name__ == "__main__":
    PATH.write_text(text())
