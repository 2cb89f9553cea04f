"""How usual a statement is in its tree: whether its shape, and its shape beside its neighbour's, stand elsewhere.

Owns the counts. Sources repeat themselves: of the statements of a kernel four in five have their shape elsewhere,
of random edits of them two in five. So a shape seen nowhere else speaks against a candidate, and for a suspect.
Shapes keep mnemonics, constants and numbers, registers only by width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from architect.shapes import shape, sort_of
from architect.statements import Statement

_UNSEEN = 1.7  # bits: log2 of how much rarer unseen shapes are among true statements than among random edits
_SEEN = -1.0
_PAIR_SEEN = -1.0
_SORTS_UNSEEN = 1.0
_START = 2.5  # so that no candidate earns anything: costs only grow as they become known
UNKNOWN = 2.0  # of an edit outside of routines


class Naturalness:
    """Counts over the sequences of a tree."""

    def __init__(self, sequences: Iterable[Sequence[Statement]]) -> None:
        self.shapes: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.sorts: Counter[tuple[str, str]] = Counter()
        for sequence in sequences:
            code = [s for s in sequence if s.kind in ("instruction", "macro")]
            self.shapes.update(shape(s) for s in code)
            self.pairs.update(_pairs(code, shape))
            self.sorts.update(_pairs(code, sort_of))

    def bits(self, before: Sequence[Statement], after: Sequence[Statement]) -> float:
        """What the statements and neighbourhoods that are new in ``after`` cost, in bits; 0 is the most usual.

        Statements of ``after`` that stood in ``before`` are the same objects there.
        """
        old, new = _code(before), _code(after)
        known = {id(s) for s in old}
        beside = {(id(a), id(b)) for a, b in pairwise(old)}
        shapes = [self.shapes[shape(s)] for s in new if id(s) not in known]
        fresh = [(a, b) for a, b in pairwise(new) if (id(a), id(b)) not in beside]
        total = _START + _mean([_SEEN if count else _UNSEEN for count in shapes])
        total += _mean([_PAIR_SEEN if self.pairs[shape(a), shape(b)] else 0.0 for a, b in fresh])
        total += _mean([0.0 if self.sorts[sort_of(a), sort_of(b)] else _SORTS_UNSEEN for a, b in fresh])
        return total

    def surprise(self, statement: Statement, before: Statement | None) -> float:
        """How much likelier a statement is a mistake than any other: a factor, from its shape and the pair it ends."""
        if statement.kind != "instruction":
            return 1.0
        factor = 0.75 if self.shapes[shape(statement)] > 1 else 2.0
        if before is not None and before.kind == "instruction":
            factor *= 0.9 if self.sorts[sort_of(before), sort_of(statement)] > 1 else 1.6
        return factor


def _code(statements: Iterable[Statement]) -> list[Statement]:
    return [s for s in statements if s.kind in ("instruction", "macro")]


def _pairs(code: Sequence[Statement], key: Callable[[Statement], str]) -> Iterable[tuple[str, str]]:
    return pairwise([key(s) for s in code])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
