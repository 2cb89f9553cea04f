"""How natural the text of a candidate is, before anything is assembled: what its edit does to the data flow.

Owns two cheap judgements of a candidate: its fingerprint (equal code, equal fingerprint, whatever the edit) and the
bits that its new anomalies cost or its mended ones earn. It runs nothing and rejects nothing: it orders.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from architect.anomalies import of_routine
from architect.dataflow import Flow, Flows
from architect.naturalness import UNKNOWN, Naturalness
from architect.protocols import Edit
from architect.source import Routine, Tree
from architect.statements import Reader, Statement, strip_comment

_NEW = 4.0  # bits for each new anomaly: people write few
MENDED = 3.0  # bits earned for each that goes away, where the routine is under suspicion
LEAST = -4.0  # the most that can be earned


def apply(lines: Sequence[str], edits: Iterable[Edit], first: int = 1) -> list[str]:
    """Lines (the first of them numbered ``first``) with edits applied from the bottom up."""
    result = list(lines)
    ordered = sorted(enumerate(edits), key=lambda item: (item[1].line, item[0]), reverse=True)
    for _, edit in ordered:
        start = edit.line - first
        result[start : start + len(edit.old)] = edit.new
    return result


class Judge:
    """Judges candidates against one tree."""

    def __init__(self, flows: Flows, naturalness: Naturalness) -> None:
        self.flows = flows
        self.naturalness = naturalness
        self.tree: Tree = flows.tree
        self._before: dict[str, Counter[tuple[str, str]]] = {}

    @cached_property
    def _code(self) -> Mapping[str, list[str]]:
        return {file: [_code(line) for line in lines] for file, lines in self.tree.lines.items()}

    def fingerprint(self, edits: Sequence[Edit]) -> int:
        """A number that is the same for edits with the same resulting code."""
        result = []
        for file in sorted({e.file for e in edits}):
            own = [Edit(file, e.line, e.old, tuple(_code(x) for x in e.new)) for e in edits if e.file == file]
            result.append((file, tuple(line for line in apply(self._code[file], own) if line)))
        return hash(tuple(result))

    def usual(self, edits: Sequence[Edit]) -> float:
        """What the edits cost in bits by how usual their text is; never negative."""
        costs = [
            self.naturalness.bits(self.tree.routines[name].statements, changed.statements)
            for name in self._touched(edits)
            if (changed := self._after(name, edits)) is not None
        ]
        return max(costs, default=UNKNOWN)

    def odd(self, edits: Sequence[Edit], mended: float = MENDED) -> float:
        """What the edits cost (new anomalies) or earn (``mended`` each) by the data flow that they leave, in bits."""
        change = 0.0
        for name in sorted(self._touched(edits)):
            changed = self._after(name, edits)
            flow = self.flows.of(name)
            if changed is not None and flow is not None:
                before, after = self.before(name), of_routine(Flow(changed, self.tree, flow.by_site))
                change += _NEW * (after - before).total() - mended * (before - after).total()
        return max(LEAST, change)

    def before(self, routine: str) -> Counter[tuple[str, str]]:
        """The anomalies of a routine as it stands."""
        if routine not in self._before:
            flow = self.flows.of(routine)
            self._before[routine] = of_routine(flow) if flow else Counter()
        return self._before[routine]

    def _touched(self, edits: Sequence[Edit]) -> set[str]:
        found = set()
        for edit in edits:
            for statement in self.tree.by_line.get((edit.file, edit.line), ()):
                if statement.routine in self.tree.routines:
                    found.add(statement.routine)
        return {name for name in found if name}

    def _after(self, name: str, edits: Sequence[Edit]) -> Routine | None:
        """A routine as the edits leave it (unchanged statements are the same objects), or None if it is untouched."""
        routine = self.tree.routines[name]
        low, high = routine.first, routine.last
        inside = [
            e for e in edits if e.file == routine.file and low <= e.line and e.line + len(e.old) - 1 <= high
        ]
        if not inside:
            return None
        start = routine.statements[0]
        reader = Reader(routine.file, self.tree.label_arguments, name, start.section, start.mode)
        found: list[Statement] = []
        line = low
        for edit in sorted(inside, key=lambda e: e.line):
            found += _between(routine, line, edit.line)
            for text in edit.new:
                found += [s for s in reader.line(edit.line, text) if s.kind != "blank" and s.routine == name]
            line = max(line, edit.line + len(edit.old))
        found += _between(routine, line, high + 1)
        return Routine(name, routine.file, low, high, tuple(found), routine.header) if found else None


def _between(routine: Routine, first: int, end: int) -> list[Statement]:
    """What a routine says on the lines from ``first`` to before ``end``."""
    begin = bisect_left(routine.statements, first, key=_line)
    found = routine.statements[begin : bisect_left(routine.statements, end, lo=begin, key=_line)]
    return [s for s in found if s.kind != "blank"]


def _line(statement: Statement) -> int:
    return statement.line


def _code(line: str) -> str:
    return " ".join(strip_comment(line).split())
