"""How usual a statement is in its tree: whether its shape, and its shape beside its neighbour's, stand elsewhere.

Owns the counts. Sources repeat themselves: of the statements of a kernel four in five have their shape elsewhere,
of random edits of them two in five. So a shape seen nowhere else speaks against a candidate, and for a suspect.
Shapes keep mnemonics, constants and numbers, registers only by width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from architect.shapes import shape, sort_of
from architect.source import Tree
from architect.statements import Statement

# What a new statement costs in bits: how much rarer its kind is among the statements of a kernel than among random
# edits of them, the commonest kind being 0. The key: is its shape known, of its two neighbourhoods how many are known
# by shape, how many by sort.
_BITS = {
    (False, 0, 0): 3.3, (False, 0, 1): 2.3, (False, 0, 2): 1.8,
    (True, 0, 0): 2.7, (True, 0, 1): 1.5, (True, 0, 2): 1.0,
    (True, 1, 1): 1.3, (True, 1, 2): 0.4, (True, 2, 2): 0.0,
}  # fmt: skip
_PAIR = 0.6  # of each neighbourhood that is new without a new statement and that is unknown by sort
_START = 1.0  # of an edit that only moves or removes
_NEW, _FIRST = -1, -2  # no statement's identity
UNKNOWN = 0.5  # of an edit outside of routines


class Naturalness:
    """Counts over the sequences of a tree."""

    def __init__(self, sequences: Iterable[Sequence[Statement]]) -> None:
        self.shapes: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.sorts: Counter[tuple[str, str]] = Counter()
        self._sequences: dict[int, tuple[Sequence[Statement], Mapping[int, int]]] = {}
        for sequence in sequences:
            code = [s for s in sequence if s.kind in ("instruction", "macro")]
            self.shapes.update(shape(s) for s in code)
            self.pairs.update(_pairs(code, shape))
            self.sorts.update(_pairs(code, sort_of))

    @classmethod
    def of(cls, tree: Tree) -> Naturalness:
        """The counts of a tree, made once."""
        return tree.once("naturalness", lambda: cls(tree.sequences))

    def bits(self, before: Sequence[Statement], after: Sequence[Statement]) -> float:
        """What the statements and neighbourhoods that are new in ``after`` cost, in bits; 0 is the most usual.

        Statements of ``after`` that stood in ``before`` are the same objects there.
        """
        known, new = self._before(before), _code(after)
        costs = []
        left: Statement | None = None
        for place, s in enumerate(new):
            ahead = known.get(id(s), _NEW)
            if ahead == _NEW:
                right = new[place + 1] if place + 1 < len(new) else None
                pairs = [(a, b) for a, b in ((left, s), (s, right)) if a is not None and b is not None]
                costs.append(self._kind(s, pairs))
            elif left is not None and ahead != id(left) and id(left) in known:
                costs.append(_START if self.sorts[sort_of(left), sort_of(s)] else _START + _PAIR)
            left = s
        return sum(costs) / len(costs) if costs else _START

    def _before(self, sequence: Sequence[Statement]) -> Mapping[int, int]:
        """Each statement with code -> the one ahead of it, by identity; that of a routine is kept with it."""
        kept = self._sequences.get(id(sequence))
        if kept is None:
            old = [id(s) for s in _code(sequence)]
            kept = self._sequences[id(sequence)] = (sequence, dict(zip(old, (_FIRST, *old), strict=False)))
        return kept[1]

    def _kind(self, s: Statement, pairs: Sequence[tuple[Statement, Statement]]) -> float:
        shapes = sum(self.pairs[shape(a), shape(b)] > 0 for a, b in pairs)
        sorts = sum(self.sorts[sort_of(a), sort_of(b)] > 0 for a, b in pairs)
        missing = 2 - len(pairs)  # at an end of the routine nothing speaks against it
        if not self.shapes[shape(s)]:
            return _BITS[False, 0, min(2, sorts + missing)]
        return _BITS[True, min(2, shapes + missing), min(2, max(sorts, shapes) + missing)]

    def surprise(self, statement: Statement, before: Statement | None) -> float:
        """How much likelier a statement is a mistake than any other: a factor, from its shape and the pair it ends."""
        if statement.kind != "instruction":
            return 1.0
        factor = 0.75 if self.shapes[shape(statement)] > 1 else 2.0
        if before is not None and before.kind == "instruction":
            factor *= 0.9 if self.sorts[sort_of(before), sort_of(statement)] > 1 else 1.6
        return factor


def surprises(tree: Tree) -> Mapping[tuple[str, int], float]:
    """The lines of a tree that are likelier or less likely mistakes than others, each with its factor; made once."""
    return tree.once("surprises", lambda: _surprises(tree))


def _surprises(tree: Tree) -> dict[tuple[str, int], float]:
    table: dict[tuple[str, int], float] = {}
    known = Naturalness.of(tree)
    for group in tree.sequences:
        for before, s in pairwise((None, *group)):
            assert s is not None
            table[s.key] = max(known.surprise(s, before), table.get(s.key, 0.0))
    return table


def _code(statements: Iterable[Statement]) -> list[Statement]:
    return [s for s in statements if s.kind in ("instruction", "macro")]


def _pairs(code: Sequence[Statement], key: Callable[[Statement], str]) -> Iterable[tuple[str, str]]:
    return pairwise([key(s) for s in code])
