"""The candidates of one case, best first: likeliest places times likeliest operators.

Owns the order of candidates. A candidate's cost is in bits: how unlikely its place is by the evidence, its operator by
the class of the failure, its variant within the operator, and its text by the data flow that it leaves. Candidates
with equal code are proposed once. What an operator offers at a place is made when it can be that place's turn.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from itertools import count
from math import log2
from pathlib import Path
from typing import NamedTuple

from architect.anomalies import anomalies
from architect.classes import classes
from architect.dataflow import Flows
from architect.evidence import Reader
from architect.localise import gifts, localise
from architect.names import Names
from architect.naturalness import Naturalness, surprises
from architect.operators import EVERYWHERE, Operator, Site, Variant, View, operators
from architect.operators.surroundings import indexed
from architect.plausibility import LEAST, MENDED, Judge
from architect.protocols import Case, Edit, Patch
from architect.slicing import Key
from architect.source import Tree
from architect.statements import Statement
from architect.told import Told
from architect.wording import Wording

NAME = "search"
_GAP = 0.6  # how much of its predecessor's suspicion the gap before a statement inherits
_LEAST_VARIANT = 0.0  # no variant costs less than this ...
_LEAST_LOOSE = -3.0  # ... but where code or data stands unused, whose use is what is missing
_LEAST_TOLD = -4.0  # ... or where the evidence tells the value that should have come
_EXPANSION = 1.5  # bits that the best candidate of a site costs at least besides its operator, nearly always
_DEAR = 12.0  # bits above which an operator's share is too small to find out before its turn what it offers
_TELLING = 8  # times after which the least of what was seen tells what to expect
_MARGIN = 1.0
_CHEAPER = 0.5  # bits by which a candidate must be likelier than an equal one to be queued again
_NEVER = 30.0  # bits of what has no operator


class _Entry(NamedTuple):
    """Something to expand or to propose, by cost; ``number`` makes the order total."""

    cost: float
    number: int
    site: Site
    operator: Operator | None = None
    rest: list[Variant] | None = None
    variant: Variant | None = None
    judged: bool = False
    bonus: float = 0.0


class _Floor:
    """The least of some costs that is to be expected: what was seen so far, with a margin."""

    def __init__(self, least: float) -> None:
        self._least, self._seen, self._times = least, float("inf"), 0

    def note(self, bits: float) -> None:
        """One was seen."""
        self._seen, self._times = min(self._seen, bits), self._times + 1

    @property
    def bits(self) -> float:
        """No further one is expected below."""
        return self._least if self._times < _TELLING else max(self._least, self._seen - _MARGIN)


class Frontier:
    """The candidates of one case, best first, with what was learnt on the way."""

    def __init__(self, case: Case, base: float = 0.0) -> None:
        self.case = case
        tree = Tree.of(case.tree, case.sources)
        reader = Reader(case, tree)
        self.view = View(reader)
        self.judge = Judge(reader.flows, Naturalness.of(tree))
        self.told = self.view.told
        self.classes = classes(case)
        unusual = surprises(tree)
        self.places = localise(case, tree, reader).sharpened(lambda key: unusual.get(key, 1.0))
        self.bonus: defaultdict[str, float] = defaultdict(float)
        self._base = base
        self._least = _LEAST_LOOSE if self.view.names.loose else _LEAST_VARIANT
        self._number = count()
        self._operators = by_sort(self.classes)
        self._costs = {(sort, o.name): bits for sort, rows in self._operators.items() for bits, o in rows}
        self._cheapest = {sort: min(bits for bits, _ in rows) for sort, rows in self._operators.items()}
        self._gains: dict[
            Key, float
        ] = {}  # bits, by site: operators that have nothing to offer there leave their share
        # Fingerprint -> the least that a candidate with such code was queued for: an operator that finds it unlikely
        # may come to it before one that does not.
        self._seen = {self.judge.fingerprint([Edit(f, 1, (), ())]): -_NEVER for f in case.sources}
        self._proposed: set[int] = set()
        least = _LEAST_TOLD if self.told else self._least
        self._floors = {o.name: _Floor(least) for o in operators()}
        self._site_floor = _Floor(self._least + _EXPANSION)
        self._heap: list[_Entry] = []
        odd = Counter(s.routine for key in self.view.anomalies for s in tree.by_line[key][:1] if s.routine)
        self._odd: dict[str, int] = {name: count for name, count in odd.items() if name in tree.routines}
        self._earnings = {name: self._earned(name) for name in self._odd}
        self._fill()

    def _fill(self) -> None:
        before: Statement | None = None
        for statement in self.view.tree.statements():
            if statement.kind == "blank" or statement.file not in self.view.tree.editable:
                continue
            score = self.places.score(statement.key)
            if before is not None and before.routine == statement.routine and before.file == statement.file:
                score = max(score, _GAP * self.places.score(before.key))
            before = statement
            if score > 0:
                site = Site(statement, self.view)
                cost = (
                    self._base - log2(score) + self._cheapest.get(site.sort, _NEVER) + self._site_floor.bits
                )
                heapq.heappush(self._heap, _Entry(cost, next(self._number), site))

    def _place_bits(self, site: Site) -> float:
        statement = site.statement
        score = self.places.score(statement.key)
        previous = site.previous
        if previous is not None:
            score = max(score, _GAP * self.places.score(previous.key))
        return -log2(score) if score > 0 else 30.0

    def least(self) -> float:
        """The cost of the best candidate that may be left."""
        return self._heap[0].cost if self._heap else float("inf")

    def pop(self) -> Patch | None:
        """The best candidate left, or None when there is none."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            if entry.judged:
                assert entry.variant is not None
                mark = self.judge.fingerprint(entry.variant.edits)
                if mark not in self._proposed:
                    self._proposed.add(mark)
                    return self._patch(entry)
                continue
            if entry.variant is not None:
                self._judge(entry, entry.variant)
            elif entry.operator is None:
                if not self._later(entry):
                    self._expand(entry.site)
            elif entry.rest:
                self._advance(entry)
            else:
                self._generate(entry)
        return None

    def _later(self, entry: _Entry) -> bool:
        """Put a site back that came before anything of it can be expected; whether it was."""
        site = entry.site
        expected = self._base + self._place_bits(site) - self.bonus[self._owner(site)]
        expected += self._cheapest.get(site.sort, _NEVER) + self._site_floor.bits
        if expected > entry.cost + _MARGIN:
            heapq.heappush(self._heap, entry._replace(cost=expected, number=next(self._number)))
            return True
        return False

    def _expand(self, site: Site) -> None:
        """Queue the operators of a site: what is wrong there is a mistake that its text can have."""
        place = self._base + self._place_bits(site)
        rows = [
            (
                bits,
                operator,
                None if operator.common or bits > _DEAR else variants_of(operator, site, self.told),
            )
            for bits, operator in self._operators.get(site.sort, ())
        ]
        rows = [(bits, operator, found) for bits, operator, found in rows if found is None or found]
        gain = -log2(sum(2.0**-bits for bits, _, _ in rows)) if rows else 0.0
        self._gains[site.statement.key] = gain
        best = _NEVER
        for bits, operator, found in rows:
            floor = self._floors[operator.name]
            if found is None:
                self._push(_Entry(place + bits - gain + floor.bits, 0, site, operator))
            else:
                floor.note(found[-1].bits)
                self._schedule(site, operator, found)
            best = min(best, bits - gain + (floor.bits if found is None else found[-1].bits))
        self._site_floor.note(best - self._cheapest.get(site.sort, _NEVER))

    def _push(self, entry: _Entry) -> None:
        bonus = self.bonus[self._owner(entry.site)]
        cost = entry.cost + entry.bonus - bonus
        heapq.heappush(self._heap, _Entry(cost, next(self._number), *entry[2:7], bonus))

    def _generate(self, entry: _Entry) -> None:
        assert entry.operator is not None
        variants = variants_of(entry.operator, entry.site, self.told)
        if variants:
            self._floors[entry.operator.name].note(variants[-1].bits)
            self._schedule(entry.site, entry.operator, variants)

    def _prior(self, site: Site, operator: Operator, variant: Variant) -> float:
        """The cost of a variant before its text is looked at."""
        bits = self._costs[site.sort, operator.name] - self._gains[site.statement.key]
        bits += max(variant.bits, _LEAST_TOLD if self.told else self._least)
        return self._base + self._place_bits(site) + bits

    def _hope(self, site: Site) -> float:
        """What the data flow of a site's routine may still earn."""
        return max(LEAST, -self._mended(site) * self._odd.get(site.statement.routine or "", 0))

    def _earned(self, routine: str) -> float:
        share = sum(self.places.score(s.key) for s in self.view.tree.routines[routine].statements)
        return min(MENDED, max(0.0, MENDED + log2(max(1e-6, share * len(self._odd)))))

    def _mended(self, site: Site) -> float:
        """What each anomaly that an edit mends earns: much in a routine that the evidence names, else little."""
        return self._earnings.get(site.statement.routine or "", MENDED)

    def _schedule(self, site: Site, operator: Operator, rest: list[Variant]) -> None:
        """Queue the best of the variants left (the last of the list)."""
        self._push(_Entry(self._prior(site, operator, rest[-1]) + self._hope(site), 0, site, operator, rest))

    def _advance(self, entry: _Entry) -> None:
        """Take the best variant of a stream, queue it by how usual its text is, and queue the stream again."""
        assert entry.operator is not None and entry.rest
        variant = entry.rest.pop()
        if entry.rest:
            self._schedule(entry.site, entry.operator, entry.rest)
        if any(edit.file not in self.view.tree.editable for edit in variant.edits):
            return
        mark, prior = self.judge.fingerprint(variant.edits), self._prior(entry.site, entry.operator, variant)
        known = self._seen.get(mark)
        if known is None or prior < known - _CHEAPER:
            self._seen[mark] = prior
            cost = prior + self.judge.usual(variant.edits)
            self._push(_Entry(cost + self._hope(entry.site), 0, entry.site, entry.operator, None, variant))

    def _judge(self, entry: _Entry, variant: Variant) -> None:
        """Queue a variant by its whole cost, the data flow that it leaves included."""
        cost = (
            entry.cost
            + entry.bonus
            - self._hope(entry.site)
            + self.judge.odd(variant.edits, self._mended(entry.site))
        )
        self._push(entry._replace(cost=cost, bonus=0.0, judged=True))

    def _patch(self, entry: _Entry) -> Patch:
        assert entry.variant is not None and entry.operator is not None
        s = entry.site.statement
        reasons = self.places.reasons(s.key)
        why = f"{s.file}:{s.line}: {entry.variant.note}" + (f"; {reasons[0]}" if reasons else "")
        return Patch(entry.variant.edits, NAME, entry.operator.name, why, entry.cost)

    @staticmethod
    def _owner(site: Site) -> str:
        return site.statement.routine or site.statement.file

    def earned(self, edit: Edit) -> float:
        """The bonus of the routine that an edit lies in; what is inserted lies behind the line before it."""
        rows = self.view.tree.by_line
        home = rows.get((edit.file, edit.line)) or rows.get((edit.file, edit.line - 1)) or ()
        return max((self.bonus.get(s.routine or s.file, 0.0) for s in home), default=0.0)

    def encourage(self, key: Key, bits: float, most: float) -> None:
        """Let the candidates of the routine at a place come sooner."""
        owners = {s.routine or s.file for s in self.view.tree.by_line.get(key, ())}
        changed = {owner for owner in owners if self.bonus[owner] < most}
        for owner in changed:
            self.bonus[owner] = min(most, self.bonus[owner] + bits)
        if changed:
            old, self._heap = self._heap, []
            for entry in old:
                if self._owner(entry.site) in changed:
                    self._push(entry)
                else:
                    self._heap.append(entry)
            heapq.heapify(self._heap)


def prepare(tree: Tree, folder: Path) -> None:
    """Make what the candidates of any case of a tree are ordered by, before anything is known of the case.

    Args:
        tree: its sources.
        folder: where it lies.
    """
    anomalies(Flows(tree))
    names, _ = Names.of(tree, folder), Wording.of(tree)
    gifts(tree)
    indexed(tree)
    surprises(tree)
    assert names.values is not None and names.loose is not None and tree.callers is not None


def variants_of(operator: Operator, site: Site, told: Told) -> list[Variant]:
    """What an operator offers at a site, the best last.

    With many ways to change a line it is no likelier for the line: together they have its share. What the evidence
    tells of values comes on top.
    """
    found = list(operator.generate(site))
    if not found:
        return []
    many = max(0.0, log2(sum([2.0 ** -max(v.bits, 0.0) for v in found])))
    if told:
        earned = told.earned
        found = [Variant(edits, bits + many - earned(edits), note) for edits, bits, note in found]
    elif many:
        found = [Variant(edits, bits + many, note) for edits, bits, note in found]
    found.sort(key=_dearest)
    return found


def _dearest(variant: Variant) -> float:
    return -variant.bits


def by_sort(kinds: frozenset[str]) -> dict[str, list[tuple[float, Operator]]]:
    """Sort of site -> its operators with their costs: a mistake in such a line is one of those that it can have."""
    table: dict[str, list[tuple[float, Operator]]] = {}
    for sort in sorted(EVERYWHERE):
        rows = [(operator.cost(kinds), operator) for operator in operators() if sort in operator.sorts]
        whole = log2(sum(2.0**-bits for bits, _ in rows)) if rows else 0.0
        table[sort] = [(bits + whole, operator) for bits, operator in rows]
    return table
