"""The fix loop: diagnose, let engines propose, try what they propose, prove what passes, learn from it.

Owns the order of these steps and when to give up; everything that costs is behind the Protocols of
``architect.protocols`` (and ``Bench``, which runs the gates). Never touches the original tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from architect.budget import Budget
from architect.diagnosis import Diagnosis
from architect.evaluate import Proposals
from architect.generalise import generalise
from architect.journal import Journal
from architect.minimise import minimise
from architect.protocols import (
    NO_BOOTS,
    NO_TIME,
    Case,
    Engine,
    Evaluation,
    Evaluator,
    GateResult,
    LessonStore,
    Patch,
)
from architect.recall import lesson_of
from architect.rivals import SPARED, Choice
from architect.signature import of_case
from architect.verdict import Verdict
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.model.types import ModelError


class Judge(Protocol):
    """Diagnoses the unpatched tree and proves the finalist."""

    def diagnose(self) -> Diagnosis:
        """Every gate on the unpatched tree."""

    def finalise(self, patch: Patch) -> Sequence[GateResult]:
        """Every gate on a fresh copy with the patch."""


@dataclass
class FixLoop:
    """One repair of one tree. ``say`` gets a line for the person at each step."""

    judge: Judge
    engines: Sequence[Engine]
    evaluator: Evaluator
    lessons: LessonStore
    budget: Budget
    journal: Journal
    say: Callable[[str], None]
    tried: Counter[str] = field(default_factory=Counter)
    lessons_tried: set[int] = field(default_factory=set)
    best: Evaluation | None = None
    case: Case | None = None
    lesson: Callable[[Patch, Case], tuple[Patch, Case] | None] = lambda patch, case: (patch, case)
    choice: Choice = field(default_factory=Choice)
    rivals: list[Evaluation] = field(default_factory=list)

    def run(self) -> Verdict:
        """The whole repair."""
        found = self.judge.diagnose()
        case = self.case = found.case
        if not case.failures:
            if found.incomplete:
                why = self.budget.spent() or self.budget.booted_out()
                return self._verdict("budget", case, f"Nothing is known to be wrong so far, and {why}.")
            return self._verdict("healthy", case, "Every gate passes; nothing was changed.")
        self.say(f"failing: {case.failures[0].gate}: {case.failures[0].message}")
        for engine in self.engines:
            for passed in self._passing(engine, case):
                proved, gates = self._prove(passed)
                if all(gate.passed for gate in gates):
                    return self._learned(case, proved.patch, gates, passed.place)
                failed = next(gate for gate in gates if not gate.passed)
                if failed.message == NO_TIME:
                    return self._unproved(case, passed, failed)
                if failed.message == NO_BOOTS:
                    self.budget.starved = True
                self.say(f"rejected at the end: {failed.gate}: {failed.message}")
                self._reject(passed, gates)
        self._credit(None)
        return self._gave_up(case)

    def broken_off(self) -> Verdict | None:
        """What there is to tell of a run that somebody ends; None before anything is known."""
        if self.case is None:
            return None
        return self._verdict("budget", self.case, "The run was broken off; the same call resumes it.")

    def _passing(self, engine: Engine, case: Case) -> Iterator[Evaluation]:
        """The proposals of one engine that pass; of those that were tried before it was enough, the likeliest first."""
        proposals = Proposals(engine.propose(case), single=getattr(engine, "single", False))
        while not self.budget.spent():
            passed: list[Evaluation] = []
            proposals.closed = False
            first = given = proposals.given
            for evaluation in self.evaluator.evaluate(proposals):
                self._note(evaluation)
                if evaluation.passed:
                    first = first if passed else proposals.given
                    passed.append(evaluation)
                if passed and (
                    self._pressed(proposals) or self.choice.enough(passed, proposals.given - first)
                ):
                    proposals.closed = True  # what is under way still finishes
            if not passed and proposals.single and proposals.given > given:
                continue  # refused: its engine knows, and proposes something else
            if not passed:
                return
            self.rivals = self.choice.ranked(passed)
            yield from self.rivals

    def _pressed(self, proposals: Proposals) -> bool:
        """Whether what is left of the budget is for the proof of what passed."""
        budget = self.budget
        scarce = budget.seconds_left() < SPARED * budget.seconds or budget.booted_out() is not None
        return scarce or proposals.single

    def _note(self, evaluation: Evaluation) -> None:
        self.tried[evaluation.patch.engine] += 1
        number = lesson_of(evaluation.patch)
        if number is not None:
            self.lessons_tried.add(number)
        if self.best is None or (evaluation.passed, evaluation.progress) > (
            self.best.passed,
            self.best.progress,
        ):
            self.best = evaluation
        for engine in self.engines:
            engine.observe(evaluation)

    def _reject(self, passed: Evaluation, gates: Sequence[GateResult]) -> None:
        """What passed the quick gates and not the final ones is a failure like others, and so far the best one."""
        rejected = replace(passed, passed=False, gates=(*passed.gates, *gates))
        self.rivals = [rival for rival in self.rivals if rival is not passed]
        self.best = rejected if self.best is passed else self.best
        for engine in self.engines:
            engine.observe(rejected)

    def _prove(self, found: Evaluation) -> tuple[Evaluation, Sequence[GateResult]]:
        """The smallest part that passes, and the finalist's gates; if the part fails there, those of the whole."""
        self.say(f"passes: {found.patch.reason} ({found.patch.engine}, {found.patch.operator})")
        smallest = minimise(found, self.evaluator.evaluate)
        gates = self.judge.finalise(smallest.patch)
        if smallest is not found and not all(gate.passed for gate in gates):
            return found, self.judge.finalise(found.patch)
        return smallest, gates

    def _learned(self, case: Case, patch: Patch, gates: Sequence[GateResult], place: int) -> Verdict:
        reason = f"{patch.reason}; {len(gates)} gates passed on a fresh copy."
        kept = self.lesson(patch, case)
        if kept is None:
            return self._verdict("fixed", case, reason, patch=patch, gates=tuple(gates), place=place)
        edit = generalise(*kept)
        evidence = {
            "before": f"{case.failures[0].gate}: {case.failures[0].message}",
            "after": [gate.gate for gate in gates],
            "engine": patch.engine,
            "run": self.journal.id,
            "candidates": self.budget.candidates,
            "boots": self.budget.boots,
            "seconds": round(self.budget.total_seconds(), 3),
        }
        number = self._recorded(kept[1], patch, edit, evidence)
        self._credit(lesson_of(patch))
        return self._verdict(
            "fixed", case, reason, patch=patch, gates=tuple(gates), lesson=number, place=place
        )

    def _recorded(
        self, case: Case, patch: Patch, edit: Mapping[str, Any], evidence: Mapping[str, Any]
    ) -> int | None:
        """The id of the new lesson; None where it cannot be kept, which must not cost the person the repair."""
        try:
            return self.lessons.record(of_case(case), _cause(case, patch), edit, evidence)
        except InputError as error:
            self.say(f"the lesson is lost: {error.message}")
            return None

    def _credit(self, winner: int | None) -> None:
        try:
            for number in sorted(self.lessons_tried):
                self.lessons.credit(number, helped=number == winner, run=self.journal.id)
        except InputError as error:
            self.say(f"which lessons helped is not noted: {error.message}")

    def _gave_up(self, case: Case) -> Verdict:
        failed = self._model_failed()
        why = self.budget.spent()
        if why is None and failed is not None and failed.kind == "limit" and len(self.engines) == 1:
            why = failed.message
        reason = why or f"none of {sum(self.tried.values())} proposals passed every gate"
        if failed is not None and failed.message not in reason:
            reason += f"; the model: {failed.message}"
        if self.best is not None and self.best.gates:
            last = self.best.gates[-1]
            reason += f"; the best one came as far as {last.gate}: {last.message or 'passed'}"
        return self._verdict("budget" if why else "not-fixed", case, reason + ".")

    def _unproved(self, case: Case, passed: Evaluation, failed: GateResult) -> Verdict:
        """A candidate that passed is no repair while its proof is not finished: it is what there is to go on with."""
        self.best = replace(passed, passed=False, gates=(*passed.gates, failed))
        reason = (
            f"{passed.patch.reason} passes every gate of a candidate, but {failed.message} of"
            f" {self.budget.seconds:g} s: nothing is proved; the same call goes on from there."
        )
        return self._verdict("budget", case, reason)

    def _verdict(
        self,
        outcome: Literal["healthy", "fixed", "not-fixed", "budget"],
        case: Case,
        reason: str,
        *,
        patch: Patch | None = None,
        gates: tuple[GateResult, ...] = (),
        lesson: int | None = None,
        place: int | None = None,
    ) -> Verdict:
        spent = (self.budget.boots, self.budget.candidates, self.budget.total_seconds())
        model = next((engine for engine in self.engines if engine.name == "llm"), None)
        return Verdict(
            outcome,
            reason,
            case,
            patch,
            gates,
            self.best,
            dict(self.tried),
            *spent,
            tokens=getattr(model, "tokens", 0),
            lesson=lesson,
            place=place,
            ended=self._ended(outcome),
            doubts=tuple(doubt.why for doubt in self.choice.doubts(patch)) if patch else (),
            alternatives=self._others(patch) if patch else (),
            model=getattr(model, "summary", dict)() or None,
        )

    def _others(self, patch: Patch) -> tuple[Patch, ...]:
        """What else passed the quick gates beside the repair, or beside that of which it is the smallest part."""
        return tuple(rival.patch for rival in self.rivals if not set(patch.edits) <= set(rival.patch.edits))

    def _model_failed(self) -> ModelError | None:
        """Why a language model was given up, or None."""
        return next((f for e in self.engines if (f := getattr(e, "failure", None)) is not None), None)

    def _ended(self, outcome: str) -> str | None:
        """What ended a run without a repair: a limit, the model's provider, its answers, or the gates."""
        if outcome in ("healthy", "fixed"):
            return None
        if outcome == "budget":
            return "limit"
        failed = self._model_failed()
        if failed is not None and len(self.engines) == 1:
            return failed.kind
        return "tests" if self.tried else "no-proposal"


def _cause(case: Case, patch: Patch) -> str:
    """Why it failed, in a sentence: the diagnosis when a rule matched, else the gate's words and the repair."""
    report = case.report
    if report is not None and report.diagnosis:
        return report.diagnosis[0].sentence
    seen = report.cause if report is not None else case.failures[0].message
    return f"{seen}; {patch.reason}"
