"""The engine that needs no model: candidates by their cost, and what becomes of them changes the order.

Owns the search over the candidates of a case (``frontier``): routines whose edits change the failure come sooner, and
the best partial repairs are continued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher

from architect import reporting
from architect.frontier import NAME, Frontier
from architect.plausibility import apply
from architect.protocols import Case, Edit, Evaluation, Patch

_PARTIAL = 5.0  # bits for a second edit on top of a partial repair
_PARTIALS = 3
_PROGRESS = 3.0  # bits earned by the routine of an edit that brought the boot further
_CHANGE = 0.7  # bits earned by the routine of an edit that made the failure another one


class SearchEngine:
    """Engine ``search`` of ``pxos fix``."""

    name = NAME

    def __init__(self) -> None:
        self._case: Case | None = None
        self._frontiers: list[tuple[Frontier, Patch | None]] = []
        self._progress: Counter[float] = Counter()
        self._partials: list[Evaluation] = []
        self._reached: dict[
            tuple[Edit, ...], float
        ] = {}  # how far the partial repairs that are continued came
        self._waiting: list[Evaluation] = []  # until it is known what is usual

    def propose(self, case: Case) -> Iterator[Patch]:
        """Candidates, likeliest first; a partial repair that was observed adds its continuations."""
        self._case = case
        self._frontiers = [(Frontier(case), None)]
        self._progress.clear()
        self._partials.clear()
        self._reached.clear()
        self._waiting.clear()
        while True:
            self._adopt()
            frontier, first = min(self._frontiers, key=lambda pair: pair[0].least())
            patch = frontier.pop()
            if patch is None:
                return
            if first is None:
                yield patch
            else:
                joined = self._joined(first, patch, frontier)
                if joined is not None:
                    yield joined

    def observe(self, evaluation: Evaluation) -> None:
        """A failure that changed, or that came later, points at its routine; the best are built upon."""
        if evaluation.passed or evaluation.duplicate or not self._frontiers or self._untried(evaluation):
            return
        self._progress[evaluation.progress] += 1
        if evaluation.patch.engine == NAME and evaluation.patch.edits:
            self._waiting.append(evaluation)
        usual = self._usual()
        if usual is not None:
            waiting, self._waiting = self._waiting, []
            for known in waiting:
                self._learn(known, usual)

    def earned(self, patch: Patch) -> float:
        """What the verdicts so far have earned the place of a proposal, in bits; its cost is less by so much."""
        return self._frontiers[0][0].earned(patch.edits[0]) if self._frontiers and patch.edits else 0.0

    def _untried(self, evaluation: Evaluation) -> bool:
        """Whether an edit of a kernel that assembles made it no kernel that could be asked: it tells nothing.

        Were these taken for the usual, any edit that assembles would seem to have come further.
        """
        assert self._case is not None
        refused = evaluation.gates[-1].gate if evaluation.gates else ""
        return self._case.image is not None and (evaluation.progress < 0 or refused == reporting.GATE)

    def _learn(self, evaluation: Evaluation, usual: float) -> None:
        edit = evaluation.patch.edits[0]
        if evaluation.progress > usual:
            self._frontiers[0][0].encourage((edit.file, edit.line), _PROGRESS, _PROGRESS)
            self._partials.append(evaluation)
        elif evaluation.progress == usual and self._differs(evaluation):
            self._frontiers[0][0].encourage((edit.file, edit.line), _CHANGE, 2 * _CHANGE)

    def _usual(self) -> float | None:
        """The progress of the unpatched tree, taken to be the commonest."""
        return self._progress.most_common(1)[0][0] if self._progress.total() >= 8 else None

    def _differs(self, evaluation: Evaluation) -> bool:
        ours = self._case.report if self._case else None
        theirs = evaluation.report
        if ours is None or theirs is None or ours.place is None or theirs.place is None:
            return False
        return (ours.place.symbol, ours.chain[:1]) != (theirs.place.symbol, theirs.chain[:1])

    def _adopt(self) -> None:
        """Open a frontier on each partial repair that is among the best."""
        assert self._case is not None
        while self._partials:
            evaluation = self._partials.pop(0)
            if len(evaluation.patch.edits) > 8 or not self._room(evaluation.progress):
                continue
            sources = dict(self._case.sources)
            for file in {e.file for e in evaluation.patch.edits}:
                own = [e for e in evaluation.patch.edits if e.file == file]
                sources[file] = "\n".join(apply(sources[file].split("\n"), own))
            failed = tuple(g for g in evaluation.gates if not g.passed)
            kept = {name for g in failed for name in g.evidence.get("kept", ())}
            case = replace(
                self._case,
                sources=sources,
                report=evaluation.report,
                failures=failed,
                diagnostics=(),
                baseline={},
                runs=tuple(
                    replace(run, failed=run.failed and run.name not in kept) for run in self._case.runs
                ),
            )
            base = max(_PARTIAL, evaluation.patch.cost + _PARTIAL - 8.0)
            # An edit that mends most of what is broken is hardly a wrong one: what it leaves is another mistake.
            share = max((g.evidence.get("share", 0.0) for g in failed), default=0.0)
            self._frontiers.append((Frontier(case, base * (1.0 - share)), evaluation.patch))
            self._reached[evaluation.patch.edits] = evaluation.progress

    def _room(self, progress: float) -> bool:
        """Whether a partial repair that came so far is continued: where too many are, the least of them makes room."""
        if len(self._frontiers) <= _PARTIALS:
            return True
        reached = [self._reached[patch.edits] if patch else float("inf") for _, patch in self._frontiers]
        least = min(range(len(reached)), key=reached.__getitem__)
        if reached[least] >= progress:
            return False
        del self._frontiers[least]
        return True

    def _joined(self, first: Patch, second: Patch, frontier: Frontier) -> Patch | None:
        """Both patches as one, in the lines of the case."""
        assert self._case is not None
        files = {e.file for e in (*first.edits, *second.edits)}
        edits: list[Edit] = []
        for file in sorted(files):
            own = [e for e in second.edits if e.file == file]
            after = apply(frontier.case.sources[file].split("\n"), own)
            edits += difference(file, self._case.sources[file].split("\n"), after)
        if not edits:
            return None
        reason = f"{first.reason}; and {second.reason}"
        return Patch(tuple(edits), NAME, f"{first.operator}+{second.operator}", reason, second.cost)


def difference(file: str, old: list[str], new: list[str]) -> Iterator[Edit]:
    """The edits that make ``new`` of ``old``."""
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Edit(file, i1 + 1, tuple(old[i1:i2]), tuple(new[j1:j2]))
