"""From the words of programs to the words that the shader runs: checked once here, so that a step need not.

Owns the translation of an instruction (layout.py says what the result looks like). Many programs at once, as arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelvm import isa
from pixelvm.isa import Op, Operand
from pixelvm.program import Program
from pixelvm.wgsl import layout

Words = NDArray[np.uint32]

_ILLEGAL = layout.slow(layout.RARE_ILLEGAL)
_ABOVE = isa.OPERAND_MAX << 8


def decode(programs: Sequence[Program]) -> tuple[Words, list[int]]:
    """The shader's words of all programs, one behind the other, and where each begins.

    Behind each program stands a word that is illegal: ``pc`` may point there, and nowhere else outside.
    """
    lengths = [len(program.code) for program in programs]
    starts = [0, *np.cumsum([length + 1 for length in lengths]).tolist()]
    code = np.zeros(starts[-1], np.uint32)  # 0 is no instruction
    for program, start in zip(programs, starts, strict=False):
        code[start : start + len(program.code)] = program.code
    limits = np.repeat(np.array(lengths, np.uint32), [length + 1 for length in lengths])
    return _decoded(code, limits), starts[:-1]


def _decoded(code: Words, lengths: Words) -> Words:
    """Each word by itself; ``lengths`` holds for each the number of instructions of its program."""
    ops, operands = code & np.uint32(0xFF), code >> np.uint32(8)
    kinds, limits = _TABLES
    limit = np.where(_TARGETS[ops], lengths, limits[ops])
    made: Words = np.where(kinds[ops] == layout.SLOW, _ILLEGAL, kinds[ops] | (code & np.uint32(_ABOVE)))
    made = np.where((ops == Op.PICK) & (operands == 0), np.uint32(layout.CODES[Op.DUP]), made)
    made = np.where((ops == Op.PICK) & (operands == 1), np.uint32(layout.CODES[Op.OVER]), made)
    for op, rare in layout.RARE.items():
        row = isa.INSTRUCTIONS[op]
        if op is Op.SYS:
            continue
        base = layout.slow(rare, 0, row.pops, row.pushes - row.pops, row.fuel)
        argument = (operands & np.uint32(0xFF)) << np.uint32(8 + layout.RARE_BITS)
        made = np.where(ops == op, np.uint32(base) | argument, made)
    for call in isa.SYSTEM_CALLS.values():
        word = layout.slow(layout.RARE[Op.SYS], call.number, call.pops, call.pushes - call.pops, call.fuel)
        made = np.where((ops == Op.SYS) & (operands == call.number), np.uint32(word), made)
    return np.where(operands < limit, made, np.uint32(_ILLEGAL)).astype(np.uint32)


def _tables() -> tuple[Words, Words]:
    """By opcode: the shader's code, and what an operand is below; no operand is below 0."""
    kinds, limits = np.zeros(256, np.uint32), np.zeros(256, np.uint32)
    for op, row in isa.INSTRUCTIONS.items():
        kinds[op] = layout.CODES.get(Op(op), layout.SLOW)
        limits[op] = isa.operand_limit(row.operand, 0)
    return kinds, limits


_TABLES = _tables()
_TARGETS = np.array(
    [row is not None and row.operand is Operand.TARGET for row in map(isa.INSTRUCTIONS.get, range(256))]
)
