"""One ``pxos fix``: the parts put together, from a kernel tree to a verdict, report and lesson.

Owns wiring and clean-up: the copy of the tree, the journal, the workers and their end. What happens in between is
``loop.FixLoop``; how a kernel is judged is ``bench`` and ``verify``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect import engines, history, kinds, report
from architect.budget import Budget
from architect.diagnosis import Demands, Diagnosis
from architect.evaluate import BOOTS_PER_CANDIDATE, PooledEvaluator
from architect.journal import Journal, gate_to_json
from architect.lessons import SqliteLessons
from architect.loop import FixLoop
from architect.protocols import NO_TIME, Case, Evaluation, GateResult, Patch
from architect.verdict import Verdict
from architect.workers import Workers, seldom_collected
from architect.workspace import TreeCopy
from toolchain.command import Ui
from toolchain.errors import InputError, PxError
from toolchain.files import make_folder

if TYPE_CHECKING:
    from architect.model.ledger import Ledger
    from architect.model.opening import Opening
    from architect.model.prompt_files import PromptSet
    from architect.model.settings import ModelSettings
    from architect.model.types import Model

PROGRESS_SECONDS = 5.0
PROGRESS_COLUMNS = 110
AHEAD_SECONDS = 5.0  # of budget, below which engines prepare nothing ahead: that cannot be broken off
CALL_SECONDS = 120.0  # after which a candidate's worker is taken for dead: boots have deadlines of their own


@dataclass(frozen=True, slots=True)
class Settings:
    """What the person asked for.

    Attributes:
        tree: the kernel tree.
        out: where the reports go; the run's own folder lies below.
        lessons: the folder of the lesson store.
        engine: a name of ``engines.NAMES``.
        seconds: budget of wall time, from the call to the verdict: diagnosis and last proof lie within.
        max_boots: limit of boots.
        baseline: a file that says how a good boot looks, or None for the tree's own ``boot.toml``.
        good: the last good git revision, or None.
        workers: how many candidates are tried side by side.
        model: the endpoint of a language model and its budgets, or None.
        answers: a model that is asked instead of that endpoint (a recording), or None.
        ledger: budgets that the run shares with others, or None for those of ``model``.
        guards: whether a lesson is to carry guards.
        unsafe: a foreign tree is built and booted without a sandbox.
        prompts: what the model is told, or None for the prompts in use.
    """

    tree: Path
    out: Path
    lessons: Path
    engine: str = "auto"
    seconds: float = 120.0
    max_boots: int = 1000
    baseline: Path | None = None
    good: str | None = None
    workers: int = 0
    model: ModelSettings | None = None
    answers: Model | None = None
    ledger: Ledger | None = None
    guards: bool = True
    unsafe: bool = False
    prompts: PromptSet | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """A finished run: the verdict, the copy that the patch applies to, the JSON of the report."""

    verdict: Verdict
    workspace: TreeCopy
    data: dict[str, Any]


def repair(settings: Settings, ui: Ui) -> Repair:
    """Run the loop on one tree and write the reports.

    Raises:
        PxError: the tree, its baseline, the lesson store or the output folder cannot be used; a tool is missing.
        KeyboardInterrupt: after every worker and QEMU has ended; the journal is kept, and the same call resumes.
    """
    budget = Budget(settings.seconds, settings.max_boots)
    opened = kinds.of(settings.tree).opened(settings)
    workspace = opened.workspace
    _keep_apart(settings)
    earlier = history.texts(settings.tree, settings.good) if settings.good else {}
    store = SqliteLessons(settings.lessons)
    store.all()  # a damaged store is told before the work, not after it
    with ExitStack() as stack:
        stack.enter_context(seldom_collected())
        folder = settings.out / _key(workspace, settings)
        journal = Journal(folder, {"tree": str(settings.tree), "engine": settings.engine})
        stack.callback(journal.close)
        budget.reserve = opened.reserve
        budget.boots, budget.earlier_seconds = journal.boots, journal.seconds
        budget.candidates = len(journal.evaluations)
        _introduce(journal, settings, workspace, store)
        if journal.resumed:
            ui.step(f"resuming: {budget.candidates} candidates and {budget.boots} boots are done")
        tree = _pristine(workspace, folder)
        start = partial(opened.bench, tree, folder, settings.out / "cache")
        count = settings.workers or opened.abreast * (os.cpu_count() or 1)
        workers = Workers(start, count, journal.forget, folder / "errors.log")
        stack.callback(workers.close)
        evaluator = PooledEvaluator(workers, budget, journal, CALL_SECONDS, _Progress(ui, budget))
        opening, llm = _opening(settings, journal, store, ui, folder), None
        if opening is not None:
            stack.callback(opening.close)
            alone = settings.engine == "llm"  # nobody searches: what a search prepares would be in vain
            llm = opening.engine(budget.seconds_left, alone=alone)
            prepare = opening.preload if alone else partial(_both, opened.prepare, opening.preload)
            opened = replace(opened, prepare=prepare)
        court = _Court(workers, evaluator, budget, journal, earlier, ui, opened)
        chosen = opened.engines(engines.make(settings.engine, store, llm))
        loop = FixLoop(court, chosen, evaluator, store, budget, journal, ui.step, lesson=opened.lesson)
        loop.choice = opened.choice
        try:
            verdict = loop.run()
        except (KeyboardInterrupt, SystemExit):
            _keep(loop.broken_off(), workspace, settings.out, journal.trajectory.path)
            raise
        data = report.write(verdict, workspace, settings.out, journal.trajectory.path)
        if settings.guards and opened.lessons and verdict.patch is not None and verdict.lesson is not None:
            _guard(verdict.lesson, tree, opened, verdict.patch, store, ui)
        journal.end(verdict.outcome, verdict.reason)
    return Repair(verdict, workspace, data)


def _opening(
    settings: Settings, journal: Journal, store: SqliteLessons, ui: Ui, folder: Path
) -> Opening | None:
    """The language model of a run, where one is configured and the engine asks it."""
    if settings.model is None or settings.engine not in ("auto", "llm"):
        return None
    from architect.learn import memory
    from architect.model.opening import Opening

    desk = folder / "desk"
    return Opening(
        settings.model,
        journal,
        store,
        ui.step,
        settings.tree,
        desk,
        settings.answers,
        settings.ledger,
        settings.prompts,
        memory.of(settings.lessons, settings.tree, kept=False),
    )


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _guard(lesson: int, tree: Path, opened: kinds.Opened, patch: Patch, store: SqliteLessons, ui: Ui) -> None:
    """Let the new lesson carry what finds its kind of mistake before a boot, where a rule can say it."""
    from architect.learn import guards

    workspace = opened.workspace
    sound = {**workspace.sources(), **workspace.apply(patch)}
    made = guards.learnt(tree, opened.told(workspace.sources()), opened.told(sound))
    with suppress(InputError):  # the store went away: the repair is worth more
        store.guard(lesson, [guards.to_json(guard) for guard in made])
    for guard in made:
        ui.step(f"lesson {lesson} guards against its kind from now on: {guard.rule} (pxos check)")


def _introduce(journal: Journal, settings: Settings, workspace: TreeCopy, store: SqliteLessons) -> None:
    """Tell the trajectory what is repaired under which terms, so that it can be run again."""
    from architect import lesson_text

    if journal.resumed:
        journal.trajectory.write("note", {"text": "resumed after an interruption"})
        return
    terms = {"engine": settings.engine, "seconds": settings.seconds, "max_boots": settings.max_boots}
    tree = {"tree": str(settings.tree.absolute()), "digest": workspace.digest()}
    baseline = str(settings.baseline.absolute()) if settings.baseline else None
    known = lesson_text.dump(store.all())
    judge = {"baseline": baseline, "good": settings.good, "lessons": known}
    journal.trajectory.write("run", {"what": "fix", **tree, **terms, **judge})


def _keep(verdict: Verdict | None, workspace: TreeCopy, out: Path, trajectory: Path) -> None:
    """The best result of a run that somebody ends, as far as the disk takes it."""
    with suppress(PxError):
        if verdict is not None:
            report.write(verdict, workspace, out, trajectory)


def _keep_apart(settings: Settings) -> None:
    """The reports must not become part of the tree that they are about."""
    tree, out = settings.tree.resolve(), settings.out.resolve()
    inside = out.relative_to(tree).parts if out.is_relative_to(tree) else None
    if inside is not None and "build" not in inside:
        raise InputError(
            f"{settings.out}: lies in the kernel tree; choose a folder outside (--out DIR)", stage="fix"
        )


class _Progress:
    """A line that follows the candidates on a terminal; elsewhere one every few seconds."""

    def __init__(self, ui: Ui, budget: Budget) -> None:
        self.ui = ui
        self.budget = budget
        self.said = budget.elapsed()

    def __call__(self, evaluation: Evaluation) -> None:
        last = evaluation.gates[-1] if evaluation.gates else None
        said = f"{last.gate}: {last.message}" if last and not last.passed else "passes"
        text = f"{self.budget.candidates} candidates, {self.budget.boots} boots; {evaluation.patch.operator}: {said}"
        if self.ui.terminal:
            self.ui.progress(text[:PROGRESS_COLUMNS])
        elif self.budget.elapsed() - self.said > PROGRESS_SECONDS:
            self.said = self.budget.elapsed()
            self.ui.step(text[:PROGRESS_COLUMNS])


def _pristine(workspace: TreeCopy, folder: Path) -> Path:
    """The tree as it was, on disk for the build sessions."""
    target = folder / "tree"
    make_folder(target, stage="workspace")
    return workspace.materialise(target)


def _key(workspace: TreeCopy, settings: Settings) -> str:
    """Names a run's folder by everything its verdicts depend on: the tree, the baseline, our own code."""
    parts = [workspace.digest(), _code_digest()]
    if settings.baseline is not None:
        parts.append(hashlib.sha256(settings.baseline.read_bytes()).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _code_digest() -> str:
    import toolchain

    total = hashlib.sha256()
    for package in (Path(__file__).parent, Path(toolchain.__file__).parent):
        for path in sorted(package.rglob("*")):
            if path.suffix in (".py", ".toml"):
                total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@dataclass
class _Court:
    """The loop's judge: a worker does the work, the boots are counted here."""

    workers: Workers
    evaluator: PooledEvaluator
    budget: Budget
    journal: Journal
    earlier: dict[str, str]
    ui: Ui
    opened: kinds.Opened

    def diagnose(self) -> Diagnosis:
        """Every gate on the unpatched tree; from then on candidates are held to what it failed.

        When nothing is wrong so far, ISO and other machines follow: before a kernel is called healthy.
        """
        self.ui.step("building and trying the tree as it is")
        began = self.budget.elapsed()
        granted = self.budget.grant(self.opened.reserve, final=True)
        # Calls go to the first idle worker: the one that has the checks now, and keeps their verdicts on routines,
        # has the finalist too.
        parts = [("diagnose", self.opened.boots, granted), ("diagnose", self.opened.static, 0)]
        second, first = self._in_time(parts, self.opened.prepare)
        found = _joined(first, second, self.opened.workspace)
        if not found.case.failures and not found.incomplete:
            left = granted - found.boots
            (rest,) = self._in_time([("diagnose", self.opened.rest, left)])
            found = found.joined(rest) if rest is not None else replace(found, incomplete=True)
        cut = found.incomplete and not self._time()
        self._spent(granted, self._begun("original-*", granted) if cut else found.boots)
        self.budget.keep_for_proof(found.proof or self.budget.elapsed() - began)
        if found.case.failures and self.budget.open_reserve():
            few = (
                f"a limit of {self.budget.max_boots} boots cannot prove a repair: what comes furthest is told"
            )
            self.ui.step(few)
        demands = Demands.of(found)
        self.evaluator.terms = (demands,)
        self.evaluator.boots_each = BOOTS_PER_CANDIDATE + len(demands.gates)
        if found.case.failures:
            self.workers.tell("begin", demands)  # while the engines make up their first proposals
        gates = [gate_to_json(gate) for gate in found.case.failures]
        self.journal.write("diagnosis", {"failures": gates})
        cause = found.case.report.cause if found.case.report else None
        self.journal.trajectory.write("diagnosis", {"failures": gates, "cause": cause})
        return replace(found, case=replace(found.case, baseline=self.earlier))

    def finalise(self, patch: Patch) -> Sequence[GateResult]:
        """Every gate on a fresh copy with the patch."""
        self.ui.step("the whole again on a fresh copy")
        began = self.budget.elapsed()
        granted = self.budget.grant(self.opened.reserve, final=True)
        (proved,) = self._in_time([("finalise", patch, granted, *self.evaluator.terms)])
        if proved is None:
            self._spent(granted, self._begun("final", granted))
            return (GateResult("fresh-copy", False, self.budget.elapsed() - began, NO_TIME),)
        gates, boots = proved
        self._spent(granted, boots)
        self.budget.keep_for_proof(self.budget.elapsed() - began)  # should this be refused: of the next one
        self.journal.judged(gates, final=True)
        for gate in gates:
            self.ui.step(f"  {gate.gate:<18} {'pass' if gate.passed else 'FAIL'}  {gate.message}")
        return tuple(gates)

    def _in_time(
        self, calls: list[tuple[Any, ...]], meanwhile: Callable[[], None] | None = None
    ) -> list[Any]:
        """What workers answer to some calls; None for each that does not end within the budget."""
        left = self._time()
        return self.workers.until(calls, seconds=left, meanwhile=meanwhile if left > AHEAD_SECONDS else None)

    def _begun(self, where: str, granted: int) -> int:
        """The boots of a call that was broken off, by the logs that each has; without such, all that were granted."""
        logs = {path for folder in self.journal.folder.glob(where) for path in folder.rglob("boot[0-9]*")}
        return min(granted, len(logs) or granted)

    def _time(self) -> float:
        return self.budget.seconds_left(final=True)

    def _spent(self, granted: int, boots: int) -> None:
        self.budget.settle(granted, boots)
        self.journal.spent(boots, self.budget.total_seconds())


def _joined(first: Diagnosis | None, second: Diagnosis | None, workspace: TreeCopy) -> Diagnosis:
    """What two workers found out, as far as they came within the budget."""
    if first is not None and second is not None:
        return first.joined(second)
    nothing = Diagnosis(Case(workspace.tree, workspace.sources(), None, None, None))
    return replace(first or second or nothing, incomplete=True)
