"""How natural the text of a candidate is, before anything is assembled: what its edit does to the data flow.

Owns two cheap judgements of a candidate: its fingerprint (equal code, equal fingerprint, whatever the edit) and the
bits that its new anomalies cost or its mended ones earn. It runs nothing and rejects nothing: it orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from architect.anomalies import of_routine
from architect.dataflow import Flow, Flows
from architect.protocols import Edit
from architect.source import Routine, Tree
from architect.statements import Reader, strip_comment

_NEW = 4.0  # bits for each new anomaly: people write few
_MENDED = 3.0  # bits earned for each that goes away
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

    def __init__(self, flows: Flows) -> None:
        self.flows = flows
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

    def bits(self, edits: Sequence[Edit]) -> float:
        """What the edits' effect on data flow costs (positive) or earns (negative), in bits."""
        change = 0.0
        for name in self._touched(edits):
            after = self._after(name, edits)
            if after is None:
                continue
            before = self.before(name)
            change += _NEW * (after - before).total() - _MENDED * (before - after).total()
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

    def _after(self, name: str, edits: Sequence[Edit]) -> Counter[tuple[str, str]] | None:
        routine = self.tree.routines[name]
        low, high = routine.first, routine.last
        inside = [
            e for e in edits if e.file == routine.file and low <= e.line and e.line + len(e.old) - 1 <= high
        ]
        if not inside:
            return None
        lines = apply(self.tree.lines[routine.file][low - 1 : high], inside, low)
        start = routine.statements[0]
        reader = Reader(routine.file, self.tree.label_arguments, None, start.section, start.mode)
        statements = tuple(
            s for n, text in enumerate(lines, low) for s in reader.line(n, text) if s.routine == name
        )
        if not statements:
            return None
        changed = Routine(name, routine.file, low, low + len(lines) - 1, statements, routine.header)
        return of_routine(Flow(changed, self.tree))


def _code(line: str) -> str:
    return " ".join(strip_comment(line).split())
