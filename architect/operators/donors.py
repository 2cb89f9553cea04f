"""Operators that insert or replace statements by donors: statements of the same tree from like surroundings.

Owns the ranking of donors and their adaptation. What a sibling routine does between the same two steps is the best
guess at what is missing here. Registers are taken over by aligning the donor's neighbours with ours, local labels
from our own routine, constants from the donor or its family.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import nlargest
from math import log2

from architect.effects import registers_in
from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits, rewritten
from architect.operators.siblings import in_family_of
from architect.operators.view import View, kept, with_registers
from architect.shapes import shape, sort_of
from architect.source import Tree
from architect.statements import Statement, tokens
from toolchain import headers

_BEFORE = ((1, 4.0, 2.0), (2, 1.5, 0.7), (3, 0.6, 0.2))  # distance, weight of equal shape, of equal sort
_AFTER = ((1, 3.0, 1.5), (2, 1.2, 0.6), (3, 0.5, 0.2))
_USUAL_BITS = 9.0  # how rare a form is whose neighbourhood has the weights above
_SCANNED = {1: 480, 2: 80, 3: 50, 4: 30}  # donors looked at per gap, by the length of their run
_FRESH = 1.0  # bits for using what the statement before has just made
_SCORES_KEPT = 24  # those of the last sites: lengths and replacement of one are asked for together
_POOL = {1: 30, 2: 12, 3: 8, 4: 6}  # donors adapted per gap, by the length of their run

# rank, statements, registers of theirs -> ours
_Run = tuple[int, tuple[Statement, ...], dict[str, str]]


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
    """Every statement of a tree with its surroundings, indexed."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.runs: dict[tuple[int, int], list[_Run]] = {}
        self._known: dict[tuple[object, ...], Mapping[int, float]] = {}
        self._alike: dict[tuple[int, int, str], tuple[Sequence[int], Sequence[int]]] = {}
        self.entries, self._index = indexed(view.tree)

    def _scores(self, side: int, neighbours: Sequence[Statement]) -> Mapping[int, float]:
        """Entry -> how much the statements on one side of it are like ``neighbours``; that of the last few is kept."""
        key = (side, *((shape(s), sort_of(s)) for s in neighbours))
        if key not in self._known:
            if len(self._known) >= _SCORES_KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = self._score(side, neighbours)
        return self._known[key]

    def _score(self, side: int, neighbours: Sequence[Statement]) -> Mapping[int, float]:
        scores: dict[int, float] = {}
        for (distance, exact, alike), other in zip(_BEFORE if side < 0 else _AFTER, neighbours, strict=False):
            same, others = self._likes(side, distance, shape(other), sort_of(other))
            for numbers, worth in (
                (same, exact * self._rarity(shape(other))),
                (others, alike * self._rarity(sort_of(other))),
            ):
                if scores:
                    known = scores.get
                    for number in numbers:
                        scores[number] = known(number, 0.0) + worth
                else:
                    scores = dict.fromkeys(numbers, worth)
        return scores

    def _likes(self, side: int, distance: int, form: str, sort: str) -> tuple[Sequence[int], Sequence[int]]:
        """The entries with a neighbour of one shape, and those whose neighbour is only of its sort."""
        key = (side, distance, form)
        found = self._alike.get(key)
        if found is None:
            same = self._index.get(key, [])
            known = set(same)
            others = [n for n in self._index.get((side, distance, sort), ()) if n not in known]
            found = self._alike[key] = (same, others)
        return found

    def _rarity(self, form: str) -> float:
        """What it tells that two places have a neighbour of one form: the less, the commoner that is."""
        return log2(len(self.entries) / len(self._index.get((-1, 1, form), (0,)))) / _USUAL_BITS

    def ranked(
        self, before: Sequence[Statement], after: Sequence[Statement], length: int, routine: str | None
    ) -> list[tuple[float, int]]:
        """Entries whose run of ``length`` statements stands in like surroundings: (score, first entry), best first.

        ``before`` and ``after`` are the statements around the gap, nearest first.
        """
        scores = dict(self._scores(-1, before))
        known, entries = scores.get, self.entries
        for number, amount in self._scores(1, after).items():
            first = number - (length - 1)
            if length == 1 or (first >= 0 and entries[first][0] is entries[number][0]):
                scores[first] = known(first, 0.0) + amount
        words = set((routine or "").split("_"))
        ranked = []
        for number, score in _best(scores, _SCANNED[length]):
            found, place = self.entries[number]
            if place + length <= len(found):
                name = found[place].routine or ""
                kin = 0.4 * len(words & set(name.split("_"))) if name != routine else 0.2
                ranked.append((score + kin, number))
        ranked.sort(key=lambda item: (-item[0], item[1]))
        return ranked


def _best(scores: Mapping[int, float], count: int) -> list[tuple[int, float]]:
    """The ``count`` entries with the highest scores; of equal ones those that come first."""
    if len(scores) <= count:
        return list(scores.items())
    least = nlargest(count, scores.values())[-1]
    found = [item for item in scores.items() if item[1] > least]
    equal = sorted(number for number, score in scores.items() if score == least)
    return found + [(number, least) for number in equal[: count - len(found)]]


@kept
def donors_of(view: View) -> Donors:
    """The index of a view, made once."""
    return Donors(view)


def _around(site: Site, *, skip: bool) -> tuple[list[Statement], list[Statement]]:
    """The statements before and after the gap before a site (``skip``: after means after the site itself)."""
    found, place = site.view.sequence(site.statement)
    after = found[place + 1 : place + 4] if skip else found[place : place + 3]
    return list(reversed(found[max(0, place - 3) : place])), list(after)


def _runs(site: Site, length: int) -> list[_Run]:
    """Runs of donors for the gap before a site, likeliest first."""
    index = donors_of(site.view)
    key = (id(site.statement), length)
    if key not in index.runs:
        index.runs[key] = list(_find_runs(site, length, index)) if site.is_gap else []
    return index.runs[key]


def _find_runs(site: Site, length: int, index: Donors) -> Iterator[_Run]:
    """Runs that come out alike vote together: what many like places do is likelier than what one does."""
    s = site.statement
    before, after = _around(site, skip=False)
    fresh = registers_in(before[0].operand(0)) if before and "[" not in before[0].operand(0) else frozenset()
    votes: dict[tuple[str, ...], float] = {}
    first: dict[tuple[str, ...], tuple[tuple[Statement, ...], dict[str, str]]] = {}
    for score, number in index.ranked(before, after, length, s.routine):
        found, place = index.entries[number]
        run = found[place : place + length]
        if any(r.labels and r is not run[0] for r in run) or not all(_usable(r) for r in run):
            continue
        names = _alignment(index, number, length, before, after)
        lines = tuple(with_registers(r.code.text, names) for r in run)
        used = fresh & frozenset().union(*(registers_in(line) for line in lines))
        votes[lines] = votes.get(lines, 0.0) + 2.0 ** (score + (_FRESH if used else 0.0))
        first.setdefault(lines, (run, names))
    best = nlargest(_POOL[length], votes, key=lambda lines: votes[lines])
    for rank, lines in enumerate(best):
        yield rank, *first[lines]


def _insertion(site: Site, lines: Sequence[str], bits: float, note: str) -> Variant:
    s = site.statement
    edit = inserted_at(s.file, s.line, [indent(s) + line for line in lines])
    return Variant((edit,), bits, f"`{'; '.join(lines)}` before it, {note}")


def insertions(length: int) -> Callable[[Site], Iterator[Variant]]:
    """The operator that inserts a donor's run of ``length`` statements before the site."""

    def generate(site: Site) -> Iterator[Variant]:
        for rank, run, names in _runs(site, length):
            lines = tuple(with_registers(r.code.text, names) for r in run)
            for bits, fitted in _labelled(site, run, lines):
                where = f"as at {run[0].file}:{run[0].line}"
                yield _insertion(site, fitted, rank_bits(rank) + bits, where)

    return generate


def in_family(site: Site) -> Iterator[Variant]:
    """A donor with one name of it exchanged in its family."""
    for rank, run, names in _runs(site, 1):
        lines = (with_registers(run[0].code.text, names),)
        for bits, changed, note in in_family_of(site, lines) if rank < 15 else ():
            where = f"as at {run[0].file}:{run[0].line}{note}"
            yield _insertion(site, changed, rank_bits(rank) + bits, where)


def in_registers(site: Site) -> Iterator[Variant]:
    """A donor with one register of it exchanged for another at hand."""
    for rank, run, names in _runs(site, 1):
        for bits, changed, note in (
            _re_registered(site, with_registers(run[0].code.text, names)) if rank < 15 else ()
        ):
            where = f"as at {run[0].file}:{run[0].line}{note}"
            yield _insertion(site, changed, rank_bits(rank) + bits, where)


def replacements(site: Site) -> Iterator[Variant]:
    """The whole statement for what stands in like surroundings."""
    s = site.statement
    if not site.is_code:
        return
    before, after = _around(site, skip=True)
    index = donors_of(site.view)
    told = {s.code.text}
    for rank, (_, number) in enumerate(index.ranked(before, after, 1, s.routine)[:15]):
        found, place = index.entries[number]
        run = found[place : place + 1]
        if not _usable(run[0]) or run[0] is s:
            continue
        like = 0.0 if run[0].name == s.name else 1.0
        plain = (with_registers(run[0].code.text, _alignment(index, number, 1, before, after)),)
        for bits, lines in _labelled(site, run, plain):
            if lines[0] not in told:
                told.add(lines[0])
                where = f"`{lines[0]}` as at {run[0].file}:{run[0].line}"
                yield Variant((rewritten(s, lines[0]),), rank_bits(rank) + bits + like, where)


def _usable(s: Statement) -> bool:
    return s.kind == "instruction" or (s.kind == "macro" and not s.name.startswith("end_") and not s.labels)


def _alignment(
    index: Donors, number: int, length: int, before: Sequence[Statement], after: Sequence[Statement]
) -> dict[str, str]:
    """Donor register -> ours (64-bit names), from neighbours of the same shape."""
    found, place = index.entries[number]
    pairs = [(found[place - 1 - n], b) for n, b in enumerate(before) if place - 1 - n >= 0]
    pairs += [(found[place + length + n], a) for n, a in enumerate(after) if place + length + n < len(found)]
    names: dict[str, str] = {}
    for theirs, ours in pairs:
        if shape(theirs) != shape(ours):
            continue
        for a, b in zip(_registers(theirs), _registers(ours), strict=False):
            names.setdefault(a, b)
    return names


def _registers(s: Statement) -> Iterator[str]:
    for operand in s.operands:
        yield from _registers_of(operand.text)


@lru_cache(maxsize=1 << 14)
def _registers_of(text: str) -> tuple[str, ...]:
    """The registers that a text names, in order, by their 64-bit names."""
    return tuple(r for t in tokens(text) if (r := headers.full_register(t.text)))


def _labelled(
    site: Site, run: Sequence[Statement], lines: tuple[str, ...]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """The lines with local labels of our routine for the donor's."""
    theirs = {t.text for line in lines for t in tokens(line) if t.text.startswith(".L")}
    ours = site.view.local_labels(site.statement)
    if not theirs or run[0].routine == site.statement.routine:
        yield 0.0, lines
        return
    if len(theirs) > 1 or not ours:
        return
    (name,) = theirs
    word = name.rsplit("_", 1)[-1]
    line = site.statement.line
    places = site.view.tree.local_labels

    def order(label: str) -> tuple[bool, bool, int]:
        away = places[site.statement.file, label].line - line
        return (
            not (site.view.is_orphan(site.statement, label) or label.rsplit("_", 1)[-1] == word),
            away < 0,
            abs(away),
        )

    for rank, label in enumerate(sorted(ours, key=order)[:4]):
        yield 1.0 * rank, tuple(x.replace(name, label) for x in lines)


def _re_registered(site: Site, line: str) -> Iterator[tuple[float, tuple[str, ...], str]]:
    """One register of the line for another at hand."""
    present = dict.fromkeys(r for t in tokens(line) if (r := headers.full_register(t.text)) and r != "rsp")
    dead = site.view.dead_before(site.statement)
    missing = site.view.undefined_from(site.statement)
    hand = sorted(site.view.hand(site.statement), key=lambda r: r not in dead)
    for register in present:
        for rank, other in enumerate(dict.fromkeys((*sorted(missing), *hand))):
            if other != register:
                bonus = 1.5 if other in dead or other in missing else 0.0
                yield 1.5 + 0.4 * rank - bonus, (with_registers(line, {register: other}),), f", with {other}"


_STEP = "a step forgotten that like places of the tree have: the store, the flag, the check, the fence"
_CLASSES = {"page-fault": -0.3, "contract": -0.3}

OPERATORS = (
    Operator("donor-insert", _STEP, 2.3, insertions(1), _CLASSES, sorts=GAPS, common=True),
    Operator(
        "donor-insert-2", f"{_STEP} (two statements)", 4.0, insertions(2), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-insert-3", f"{_STEP} (three statements)", 5.5, insertions(3), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-insert-4", f"{_STEP} (four statements)", 6.5, insertions(4), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-family",
        f"{_STEP} (of another member of a family)",
        4.0,
        in_family,
        _CLASSES,
        sorts=GAPS,
        common=True,
    ),
    Operator(
        "donor-registers",
        f"{_STEP} (in other registers)",
        4.0,
        in_registers,
        _CLASSES,
        sorts=GAPS,
        common=True,
    ),
    Operator("donor-replace", "a statement unlike those in like places", 5.0, replacements, common=True),
)
