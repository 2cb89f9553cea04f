"""Runs of definitions whose values go up: offsets of a structure, an enumeration, registers of a device, flags.

Owns which values one of them could have by the others. It is read off the sources alone, whatever a kernel does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from architect.slicing import Key
from architect.source import Tree
from architect.statements import ASSIGNMENTS, Statement
from toolchain.expr import literal

LEAST = 4  # definitions of a run that says anything
STEPS = 2  # of the commonest steps, that a value is held against


class Member(NamedTuple):
    """One definition of a run."""

    key: Key
    value: int


def _places(tree: Tree) -> Mapping[Key, tuple[Sequence[Member], int]]:
    """The run that a definition stands in, and its place there."""
    return {member.key: (run, n) for run in runs(tree) for n, member in enumerate(run)}


def runs(tree: Tree) -> list[list[Member]]:
    """Definitions of plain numbers that stand below each other and share their names' first word."""
    found: list[list[Member]] = []
    for file in sorted(tree.files):
        last: Statement | None = None
        for s in tree.files[file]:
            value = literal(s.operand(1)) if s.name in ASSIGNMENTS and len(s.operands) == 2 else None
            if value is None:
                last = last if s.kind == "blank" and last is not None and s.line == last.line + 1 else None
                continue
            if last is None or _family(last) != _family(s) or s.line != last.line + 1:
                found.append([])
            found[-1].append(Member(s.key, value))
            last = s
    return [run for run in found if len(run) >= LEAST]


def _family(s: Statement) -> str:
    return s.operand(0).split("_")[0]


def fitting(tree: Tree, statement: Statement) -> list[int]:
    """The values that a definition could have by its run, likeliest first; none where it is of no run."""
    stands = tree.once("series", lambda: _places(tree)).get(statement.key)
    if stands is None:
        return []
    run, place = stands
    others = [member.value for member in (*run[:place], *run[place + 1 :])]
    steps = Counter(after - before for before, after in pairwise(others) if after > before)
    usual = [step for step, _ in steps.most_common(STEPS)]
    before = run[place - 1].value if place else None
    after = run[place + 1].value if place + 1 < len(run) else None
    found = []
    if before is not None and after is not None and (after - before) % 2 == 0:
        found.append((before + after) // 2)
    found += [before + step for step in usual] if before is not None else []
    found += [after - step for step in usual] if after is not None else []
    found += [before << 1] if before else []
    low, high = -1 if before is None else before, after if after is not None else 1 << 64
    return [value for value in dict.fromkeys(found) if low < value < high and value != run[place].value]
