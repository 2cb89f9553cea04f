"""The evaluator: patches through the gates on all cores, within the budget.

Owns the order of work: which patch goes to which worker, grants of boots, answers that are known already, the record
of every evaluation. Never looks at a kernel: the gates, and that no image is booted twice, are the workers' business
(``bench.Bench``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from architect import tried
from architect.budget import Budget
from architect.journal import Journal, edits_digest
from architect.protocols import NO_BOOTS, Evaluation, GateResult, Patch
from architect.workers import Answer, Workers
from toolchain.errors import InternalError

# The first, all tests, each once more with patience when it was cut short, a look at PXREADY.
BOOTS_PER_CANDIDATE = 5
POLL_SECONDS = 0.5
READY_EACH = 4  # proposals made ahead for each worker; what is learnt meanwhile comes too late for them
SURPRISES_MAX = 20  # internal errors of ours in a row after which going on would be a lie


class Proposals(Iterator[Patch]):
    """What an engine proposes, made ahead while the workers are busy.

    Args:
        source: the engine's.
        single: the engine proposes one at a time, for its next one depends on the verdict: closes after each.

    Attributes:
        closed: gives no more until it is opened again; nothing is lost.
        given: how many it gave.
    """

    def __init__(self, source: Iterator[Patch], *, single: bool = False) -> None:
        self.closed = False
        self.single = single
        self.given = 0
        self._source = source
        self._ready: deque[Patch] = deque()

    def __next__(self) -> Patch:
        """The next proposal; ``StopIteration`` when there is none, or while closed."""
        if self.closed:
            raise StopIteration
        patch = self._ready.popleft() if self._ready else next(self._source)
        self.given += 1
        self.closed = self.single
        return patch

    def fetch(self, most: int) -> bool:
        """Ask the engine for one more, unless ``most`` are ready; whether there was one."""
        if self.closed or self.single or len(self._ready) >= most:
            return False
        patch = next(self._source, None)
        if patch is not None:
            self._ready.append(patch)
        return patch is not None


class PooledEvaluator:
    """An ``Evaluator`` over ``Workers`` whose service has ``verify(patch, boots, *terms) -> Evaluation``.

    Args:
        workers: the processes.
        budget: what it may cost; every boot is granted before it happens.
        journal: gets every evaluation, and knows those of a run that was killed.
        call_seconds: after which a candidate's worker is taken for dead.
        progress: called with each new evaluation.

    Attributes:
        terms: further arguments of every ``verify``.
        boots_each: boots that one candidate may take.
    """

    def __init__(
        self,
        workers: Workers,
        budget: Budget,
        journal: Journal,
        call_seconds: float,
        progress: Callable[[Evaluation], None] = lambda evaluation: None,
    ) -> None:
        self.workers = workers
        self.budget = budget
        self.journal = journal
        self.call_seconds = call_seconds
        self.progress = progress
        self.terms: tuple[Any, ...] = ()
        self.boots_each = BOOTS_PER_CANDIDATE
        self._running: dict[int, tuple[Patch, int, int]] = {}
        self._twins: dict[str, list[tuple[Patch, int]]] = {}  # by what is under way: the same edits once more
        self._taken = 0
        self._surprises = 0

    def evaluate(self, patches: Iterable[Patch]) -> Iterator[Evaluation]:
        """One evaluation per patch, as they finish; stops early when the budget is spent.

        A patch is taken from ``patches`` only when a worker is free to run it; ``Proposals`` are made ahead, while
        all workers are busy. Edits that are known already, or under way, are not evaluated again: their verdict is
        given for the second proposal too.

        Raises:
            ToolError: a tool is missing or failed; every further candidate would fail alike.
            InternalError: candidate after candidate ended in an error of ours.
        """
        source = iter(patches)
        more = True
        while more or self._running:
            while more and self.workers.idle and not self._waits_for_boots():
                patch = None if self.budget.spent() else next(source, None)
                if patch is None:
                    more = False
                    break
                self._taken += 1
                if (known := self._known(patch)) is not None:
                    yield known
                else:
                    self._give(patch)
            ahead = isinstance(patches, Proposals) and patches.fetch(READY_EACH * self.workers.count)
            yield from self._finished(0.0 if ahead else min(POLL_SECONDS, self.budget.seconds_left()))
            if self.budget.seconds_left() <= 0:
                self._abandon()
                more = False

    def _waits_for_boots(self) -> bool:
        """What runs may give back boots that the next candidate needs."""
        return bool(self._running) and not self.budget.boots_left() and self.budget.granted > 0

    def _known(self, patch: Patch) -> Evaluation | None:
        """The verdict on edits that were evaluated before; that of a killed run is news to this run's engines."""
        digest = edits_digest(patch)
        known = self.journal.evaluations.get(digest)
        if known is None:
            return None
        news = digest in self.journal.untold
        self.journal.untold.discard(digest)
        return replace(
            known,
            patch=patch,
            duplicate=known.duplicate or not news,
            booted=False,
            boots=0,
            place=self._taken,
        )

    def _give(self, patch: Patch) -> None:
        digest = edits_digest(patch)
        if digest in self._twins:
            self._twins[digest].append((patch, self._taken))
            return
        self._twins[digest] = []
        granted = self.budget.grant(self.boots_each)
        call = self.workers.submit("verify", patch, granted, *self.terms, seconds=self.call_seconds)
        self._running[call] = (patch, granted, self._taken)

    def _finished(self, wait: float) -> Iterator[Evaluation]:
        for answer in self.workers.answers(wait):
            patch, granted, place = self._running.pop(answer.call)
            evaluation = replace(self._judged(answer, patch), place=place)
            self.budget.settle(granted, evaluation.boots)
            self.budget.candidates += 1
            if any(gate.message == NO_BOOTS for gate in evaluation.gates):
                # no verdict: tried again when there are boots
                self.budget.starved = self.budget.booted_out() is not None
                self.journal.spent(evaluation.boots, self.budget.total_seconds())
            else:
                self.journal.record(evaluation, self.budget.total_seconds())
            self.progress(evaluation)
            twins = self._twins.pop(edits_digest(patch))
            yield evaluation
            for twin, place in twins:
                yield replace(evaluation, patch=twin, duplicate=True, booted=False, boots=0, place=place)

    def _judged(self, answer: Answer, patch: Patch) -> Evaluation:
        if answer.error is None:
            self._surprises = 0
            evaluation: Evaluation = answer.value
            return evaluation
        if not isinstance(answer.error, InternalError):
            raise answer.error
        self._surprises += 1
        error = self.workers.logged(answer)
        if self._surprises > SURPRISES_MAX:
            message = f"{self._surprises} candidates in a row: {error.message}"
            raise InternalError(message, stage=error.stage, log=error.log) from error
        gate = GateResult("internal", False, 0.0, answer.error.message)
        return Evaluation(patch, (gate,), False, -1.0, False)

    def _abandon(self) -> None:
        """Time is up: what is under way is given up; each boot that it had begun has left a folder."""
        trials = tried.under_way(self.journal.folder)
        self.workers.abandon()
        boots = sum(len(list(trial.glob("boot*/"))) for trial in trials)
        self.budget.settle(sum(granted for _, granted, _ in self._running.values()), boots)
        if boots:
            self.journal.spent(boots, self.budget.total_seconds())
        self._running.clear()
        self._twins.clear()

    def close(self) -> None:
        """Ends workers and their QEMUs."""
        self.workers.close()
