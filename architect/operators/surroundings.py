"""The statements of a tree by what stands around them: which places are like a gap, and how like.

Owns the index of a tree's statements by their neighbours, the ranking of entries for a gap, and whose registers
correspond to ours. Every statement of a tree is one entry, so all sums go over whole vectors of entries. Makes no
edit: ``donors`` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from math import log2
from typing import TYPE_CHECKING

from architect.operators.view import View
from architect.shapes import shape, sort_of
from architect.source import Tree
from architect.statements import Statement, tokens
from toolchain import headers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Numbers = NDArray[np.intp]
    _Scores = NDArray[np.float64]

_BEFORE = ((1, 4.0, 2.0), (2, 1.5, 0.7), (3, 0.6, 0.2))  # distance, weight of equal shape, of equal sort
_AFTER = ((1, 3.0, 1.5), (2, 1.2, 0.6), (3, 0.5, 0.2))
_USUAL_BITS = 9.0  # how rare a form is whose neighbourhood has the weights above
_SCANNED = {1: 480, 2: 80, 3: 50, 4: 30}  # donors looked at per gap, by the length of their run
_SCORES_KEPT = 24  # those of the last sites: lengths and replacement of one are asked for together
_KIN, _SELF = 0.4, 0.2  # for each word that the routines' names share; for the same routine

_Entries = list[tuple[tuple[Statement, ...], int]]
_Neighbours = dict[tuple[int, int, str], list[int]]


def indexed(tree: Tree) -> tuple[_Entries, _Neighbours]:
    """Every statement of a tree in its sequence, and (side, distance, shape or sort) -> those with such a neighbour.

    Made once for each tree.
    """
    return tree.once("donors", lambda: _index(tree))


def _index(tree: Tree) -> tuple[_Entries, _Neighbours]:
    entries: _Entries = []
    table: defaultdict[tuple[int, int, str], list[int]] = defaultdict(list)
    for found in tree.sequences:
        forms = [(shape(s), sort_of(s)) for s in found]
        for place in range(len(found)):
            for side, ranks in ((-1, _BEFORE), (1, _AFTER)):
                for distance, _, _ in ranks:
                    at = place + side * distance
                    if 0 <= at < len(found):
                        for form in forms[at]:
                            table[side, distance, form].append(len(entries))
            entries.append((found, place))
    return entries, dict(table)


class Donors:
    """Every statement of a tree with its surroundings, indexed.

    Attributes:
        runs: what was found for a gap, by statement and length; kept for whoever asks.
        codes: the code of each entry.
    """

    def __init__(self, view: View) -> None:
        import numpy as np

        self.runs: dict[tuple[int, int], list[tuple[int, tuple[Statement, ...], dict[str, str]]]] = {}
        self._known: dict[tuple[object, ...], _Scores] = {}
        self._alike: dict[tuple[int, int, str], tuple[_Numbers, _Numbers]] = {}
        self._kin: dict[str | None, _Scores] = {}
        self._entries, self._index = indexed(view.tree)
        statements = [found[place] for found, place in self._entries]
        self.codes = tuple([s.code.text for s in statements])
        self._room = np.array([len(found) - place for found, place in self._entries])
        forms: dict[str, int] = {}
        self._forms = np.array([forms.setdefault(shape(s), len(forms)) for s in statements])
        self._form_numbers = forms
        names: dict[str, int] = {}
        self._homes = np.array([names.setdefault(s.routine or "", len(names)) for s in statements])
        self._names = tuple(names)
        fits = np.array([usable(s) for s in statements])
        plain = fits & np.array([not s.labels for s in statements])
        self._usable = {1: fits}
        for length in range(2, max(_SCANNED) + 1):  # labels stand before a run, not within it
            shorter = self._usable[length - 1].copy()
            shorter[: 1 - length] &= plain[length - 1 :]
            self._usable[length] = shorter

    def run(self, number: int, length: int) -> tuple[Statement, ...]:
        """``length`` statements from an entry on."""
        found, place = self._entries[number]
        return found[place : place + length]

    def _scores(self, side: int, neighbours: Sequence[Statement]) -> _Scores:
        """How much the statements on one side of each entry are like ``neighbours``; that of the last few is kept."""
        key = (side, *((shape(s), sort_of(s)) for s in neighbours))
        if key not in self._known:
            if len(self._known) >= _SCORES_KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._score(side, neighbours)
        return self._known[key]

    def _score(self, side: int, neighbours: Sequence[Statement]) -> _Scores:
        import numpy as np

        scores = np.zeros(len(self._entries))
        for (distance, exact, alike), other in zip(_BEFORE if side < 0 else _AFTER, neighbours, strict=False):
            same, others = self._likes(side, distance, shape(other), sort_of(other))
            scores[same] += exact * self._rarity(shape(other))
            scores[others] += alike * self._rarity(sort_of(other))
        return scores

    def _likes(self, side: int, distance: int, form: str, sort: str) -> tuple[_Numbers, _Numbers]:
        """The entries with a neighbour of one shape, and those whose neighbour is only of its sort."""
        import numpy as np

        key = (side, distance, form)
        found = self._alike.get(key)
        if found is None:
            same = np.array(self._index.get(key, []), dtype=np.intp)
            others = np.array(self._index.get((side, distance, sort), []), dtype=np.intp)
            found = self._alike[key] = (same, np.setdiff1d(others, same, assume_unique=True))
        return found

    def _rarity(self, form: str) -> float:
        """What it tells that two places have a neighbour of one form: the less, the commoner that is."""
        return log2(len(self._entries) / len(self._index.get((-1, 1, form), (0,)))) / _USUAL_BITS

    def ranked(
        self,
        before: Sequence[Statement],
        after: Sequence[Statement],
        length: int,
        routine: str | None,
        *,
        movable: bool = False,
    ) -> list[tuple[float, int]]:
        """Entries whose run of ``length`` statements stands in like surroundings: (score, first entry), best first.

        ``before`` and ``after`` are the statements around the gap, nearest first. With ``movable`` only runs that can
        stand elsewhere are told, of those that are looked at.
        """
        import numpy as np

        scores, behind = self._scores(-1, before), self._scores(1, after)
        if length == 1:
            scores = scores + behind
        else:
            scores = scores.copy()
            within = self._room[: 1 - length] >= length  # the run's last statement is of the same sequence
            scores[: 1 - length] += np.where(within, behind[length - 1 :], 0.0)
        numbers = _best(scores, _SCANNED[length])
        numbers = numbers[self._room[numbers] >= length]
        found = scores[numbers] + self._kinship(routine)[self._homes[numbers]]
        order = np.lexsort((numbers, -found))
        if movable:
            order = order[self._usable[length][numbers[order]]]
        return list(zip(found[order].tolist(), numbers[order].tolist(), strict=True))

    def _kinship(self, routine: str | None) -> _Scores:
        """What the entries of each routine earn by its name."""
        import numpy as np

        if routine not in self._kin:
            words = set((routine or "").split("_"))
            kin = [_KIN * len(words.intersection(name.split("_"))) for name in self._names]
            if routine in self._names:
                kin[self._names.index(routine)] = _SELF
            self._kin[routine] = np.array(kin)
        return self._kin[routine]

    def aligned(
        self, numbers: Sequence[int], length: int, before: Sequence[Statement], after: Sequence[Statement]
    ) -> list[dict[str, str]]:
        """For each entry its registers -> ours (64-bit names), from neighbours of the same shape, nearest first."""
        import numpy as np

        names: list[dict[str, str]] = [{} for _ in numbers]
        at = np.array(numbers, dtype=np.intp)
        places = [(-1 - n, ours) for n, ours in enumerate(before)]
        places += [(length + n, ours) for n, ours in enumerate(after)]
        for step, ours in places:
            mine = registers_of(ours)
            if not mine:
                continue
            beside = np.clip(at + step, 0, len(self._entries) - 1)
            same = self._forms[beside] == self._form_numbers.get(shape(ours), -1)
            # An entry of another sequence has less room behind it than the distance between the two tells.
            same &= self._room[beside] == self._room[at] - step
            for n in np.flatnonzero(same).tolist():
                found, place = self._entries[numbers[n]]
                for a, b in zip(registers_of(found[place + step]), mine, strict=False):
                    names[n].setdefault(a, b)
        return names


def _best(scores: _Scores, count: int) -> _Numbers:
    """The ``count`` entries with the highest scores that are any; of equal ones those that come first."""
    import numpy as np

    numbers = np.flatnonzero(scores)
    if len(numbers) <= count:
        return numbers
    values = scores[numbers]
    least = np.partition(values, -count)[-count]
    above = numbers[values > least]
    return np.concatenate((above, numbers[values == least][: count - len(above)]))


def usable(s: Statement) -> bool:
    """Whether a statement can stand elsewhere too."""
    return s.kind == "instruction" or (s.kind == "macro" and not s.name.startswith("end_") and not s.labels)


def registers_of(s: Statement) -> tuple[str, ...]:
    """The registers that a statement's operands name, in order, by their 64-bit names."""
    return _registers_of(s.code.text[s.operands[0].start - s.code.start :]) if s.operands else ()


@lru_cache(maxsize=1 << 14)
def _registers_of(text: str) -> tuple[str, ...]:
    return tuple(r for t in tokens(text) if (r := headers.full_register(t.text)))
