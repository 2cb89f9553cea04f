"""What a return says that led to no code: a routine left something else on the stack than what it found there.

Owns that piece of evidence. The routine that returned is not on the stack any more: it is one of those that the
innermost calls had reached, and what is wrong in it moves the stack pointer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from architect.clue import Evidence
from architect.effects import effects
from architect.slicing import Key
from architect.source import Tree

if TYPE_CHECKING:
    from architect.evidence import Reader

FRAMES = 3  # innermost calls that such a return may belong to
DEPTH = 6  # calls below each
TRUST = 3.5
PAIRED = 0.2  # of the share of what pairs, as far as counting tells


def astray(reader: Reader) -> Iterator[Evidence]:
    """What moves the stack pointer in the routines of the innermost calls, when no code could be fetched."""
    report = reader.case.report
    first = report.chain[0] if report is not None and report.chain else None
    if report is None or first is None or first.cr2 is None or first.cr2 != first.rip:
        return
    lines: dict[Key, float] = {}
    for depth, place in enumerate(report.trace[:FRAMES]):
        call = reader.call_before(place)
        for callee, level in reader.tree.reachable([call.operand(0)], DEPTH).items() if call else ():
            share = 0.5**depth * 0.8**level
            for key, part in moving(reader.tree, callee).items():
                lines[key] = max(lines.get(key, 0.0), share * part)
    if lines:
        yield Evidence("astray", TRUST, "a return led astray, and it moves the stack pointer", lines)


def moving(tree: Tree, name: str) -> dict[Key, float]:
    """The lines of a routine that move the stack pointer; less where as much is taken as was put there."""
    routine = tree.routines.get(name)
    code = [s for s in routine.statements if s.kind in ("instruction", "macro")] if routine else []
    moves = {s.key: effects(s).stack for s in code}
    several = sum(s.name.startswith("ret") for s in code) > 1  # each takes it all: counting tells nothing
    paired = several or sum(moved or 0 for moved in moves.values()) == 0
    return {key: PAIRED if paired else 1.0 for key, moved in moves.items() if moved != 0}
