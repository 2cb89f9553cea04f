"""The budget holds for the whole command: the diagnosis counts, and a proof that does not end is no proof."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from architect import run
from architect.budget import PROOF_SHARE, Budget
from architect.diagnosis import Diagnosis
from architect.evaluate import PooledEvaluator
from architect.journal import Journal
from architect.kinds import Opened
from architect.lessons import SqliteLessons
from architect.loop import FixLoop
from architect.protocols import NO_TIME, Case, Evaluation, GateResult, Patch
from architect.workers import Overdue, Workers
from tests.architect.cases import IDT_S, PAGE_S, case, evaluation, patch, report
from tests.architect.test_loop import GOOD, Scripted, wrong
from toolchain.command import Ui
from toolchain.errors import ToolError

SOURCES = {"mm/page.s": PAGE_S, "cpu/idt.s": IDT_S}
SOON = 0.2  # seconds that are given to what never ends by itself
LATE = Overdue("the worker missed its deadline", stage="worker")
BROKEN = GateResult("contract", False, 0.1, "page_map: stores nothing")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A worker whose ``stuck`` parts miss their deadline."""

    def __init__(self, stuck: Sequence[str], proof: float) -> None:
        self.stuck = stuck
        self.proof = proof

    def diagnose(self, gates: tuple[str, ...], boots: int) -> Diagnosis:
        if gates[0] in self.stuck:
            raise LATE
        whole = case(SOURCES, report())
        if gates == ("contract",):
            return Diagnosis(
                Case(whole.tree, SOURCES, None, None, None, failures=(BROKEN,)), proof=self.proof
            )
        return Diagnosis(whole, reached=0.5, timeout=1.0, boots=min(boots, 2))

    def verify(self, patch: Patch, boots: int, *terms: Any) -> Evaluation:
        return evaluation(patch, passed=GOOD in patch.edits, boots=1)

    def finalise(self, patch: Patch, boots: int, *terms: Any) -> tuple[tuple[GateResult, ...], int]:
        if "proof" in self.stuck:
            raise LATE
        return (GateResult("fresh-copy", True, 0.1),), min(boots, 8)

    def wait(self) -> None:
        signal.pause()

    def complain(self) -> None:
        raise ToolError("there is none", stage="boot")


class Rig:
    """A run on a scripted clock: loop, court, evaluator and workers are the real ones."""

    def __init__(
        self, folder: Path, stuck: Sequence[str] = (), seconds: float = 60.0, proof: float = 4.0
    ) -> None:
        @contextlib.contextmanager
        def bench() -> Iterator[Service]:
            yield Service(stuck, proof)

        self.clock = Clock()
        self.journal = Journal(folder / "run", {})
        self.budget = Budget(seconds, 100, clock=self.clock)
        self.workers = Workers(bench, 2)
        self.evaluator = PooledEvaluator(self.workers, self.budget, self.journal, 20.0)
        self.store = SqliteLessons(folder / "lessons")
        workspace: Any = SimpleNamespace(tree=folder, sources=lambda: SOURCES)
        bare: Any = None
        self.opened = Opened(workspace, bare, ("contract",), ("boot",), ("iso",), 8)
        self.court = run._Court(
            self.workers, self.evaluator, self.budget, self.journal, {}, Ui(quiet=True), self.opened
        )

    def loop(self, *patches: Patch) -> FixLoop:
        parts = (self.evaluator, self.store, self.budget, self.journal, lambda text: None)
        return FixLoop(self.court, [Scripted(*patches)], *parts)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*stuck: str, **more: float) -> Rig:
        made.append(Rig(tmp_path / str(len(made)), stuck, **more))
        return made[-1]

    yield make
    for one in made:
        one.workers.close()
        one.journal.close()


def test_time_is_kept_for_the_proof_and_candidates_have_the_rest() -> None:
    clock = Clock()
    budget = Budget(60.0, 10, clock=clock)
    clock.now = 10.0
    budget.keep_for_proof(5.0)
    assert (budget.seconds_left(), budget.seconds_left(final=True)) == (45.0, 50.0)
    assert budget.spent() is None
    clock.now = 55.0
    assert budget.spent() == "the budget of 60 s is spent (5.0 s kept for the last proof)"
    clock.now = 61.0
    assert budget.spent() == "the budget of 60 s is spent" and budget.seconds_left(final=True) == 0.0


def test_a_proof_that_takes_long_leaves_candidates_their_share() -> None:
    clock = Clock()
    budget = Budget(10.0, 10, clock=clock)
    clock.now = 4.0
    budget.keep_for_proof(30.0)
    assert budget.seconds_left() == (1 - PROOF_SHARE) * 6.0


def test_the_diagnosis_tells_what_the_proof_will_take(rig: Callable[..., Rig]) -> None:
    made = rig(proof=7.0)
    made.court.diagnose()
    assert (made.budget.reserve_seconds, made.budget.boots, made.budget.granted) == (7.0, 2, 0)
    assert made.court.finalise(patch(GOOD))[0].passed
    assert made.budget.boots == 10


def test_candidates_stop_early_enough_for_the_proof(rig: Callable[..., Rig]) -> None:
    made = rig(proof=5.0)

    class Late(Scripted):
        def propose(self, case: Case) -> Iterator[Patch]:
            for number, each in enumerate(self.patches):
                if number == 4:
                    made.clock.now = 56.0
                yield each

    loop = made.loop()
    loop.engines = [Late(*[wrong(n) for n in range(4)], wrong(4), patch(GOOD))]
    verdict = loop.run()
    assert verdict.outcome == "budget" and "(5.0 s kept for the last proof)" in verdict.reason
    assert sum(verdict.tried.values()) <= 6 and verdict.patch is None and made.clock.now < 60.0


def test_a_proof_that_passes_the_deadline_is_unfinished_and_proves_nothing(rig: Callable[..., Rig]) -> None:
    made = rig("proof")

    class AtTheEnd(Scripted):
        def observe(self, evaluation: Evaluation) -> None:
            made.clock.now = 60.0 - SOON

    loop = made.loop()
    loop.engines = [AtTheEnd(patch(GOOD))]
    verdict = loop.run()
    assert (verdict.outcome, verdict.patch, verdict.lesson, verdict.ended) == ("budget", None, None, "limit")
    assert NO_TIME in verdict.reason and "nothing is proved" in verdict.reason
    assert verdict.best is not None and verdict.best.patch.edits == (GOOD,) and not verdict.best.passed
    assert not made.store.all(), "what is not proved teaches nothing"
    assert made.budget.granted == 0 and made.budget.boots == 2 + 1 + 8


@pytest.mark.parametrize("stuck", [("boot",), ("contract",), ("boot", "contract")])
def test_a_diagnosis_that_passes_the_deadline_ends_the_run(
    rig: Callable[..., Rig], stuck: tuple[str, ...]
) -> None:
    made = rig(*stuck, seconds=5.0)
    loop = made.loop(patch(GOOD))
    real = made.court.diagnose

    def diagnose() -> Diagnosis:
        found = real()
        assert found.incomplete
        return found

    made.court.diagnose = diagnose  # type: ignore[method-assign]
    in_time = made.court._in_time

    def spent(calls: list[tuple[Any, ...]], meanwhile: Callable[[], None] | None = None) -> list[Any]:
        answers = in_time(calls, meanwhile)
        made.clock.now = 5.0
        return answers

    made.court._in_time = spent  # type: ignore[method-assign]
    verdict = loop.run()
    assert (
        verdict.outcome == "budget" and verdict.patch is None and "budget of 5 s is spent" in verdict.reason
    )
    known = {gate.gate for gate in verdict.case.failures}
    assert known == {"boot": {"contract"}, "contract": {"boot"}}.get("".join(stuck), set())


def test_what_is_healthy_so_far_is_not_called_healthy(rig: Callable[..., Rig]) -> None:
    made = rig(seconds=5.0)
    clean = Diagnosis(Case(Path("/k"), SOURCES, None, None, None))
    answers: list[list[Any]] = [[clean, clean], [None]]

    def scripted(calls: list[tuple[Any, ...]], meanwhile: object = None) -> list[Any]:
        made.clock.now += 2.5
        return answers.pop(0)

    made.court._in_time = scripted  # type: ignore[method-assign]
    verdict = made.loop().run()
    assert (verdict.outcome, verdict.ended) == ("budget", "limit")
    assert verdict.reason == "Nothing is known to be wrong so far, and the budget of 5 s is spent."


def test_boots_that_were_broken_off_are_counted_by_their_logs(rig: Callable[..., Rig]) -> None:
    made = rig()
    assert made.court._begun("final", 8) == 8
    for name in ("boot/boot1", "iso/boot1", "iso-uefi/boot1"):
        (made.journal.folder / "final" / name).mkdir(parents=True)
    assert made.court._begun("final", 8) == 3
    assert made.court._begun("final", 2) == 2


def test_calls_that_do_not_end_in_time_answer_nothing(rig: Callable[..., Rig]) -> None:
    made = rig("boot")
    calls = [("diagnose", ("boot",), 0), ("diagnose", ("contract",), 0)]
    late, found = made.workers.until(calls, seconds=60.0)
    assert late is None and cast(Diagnosis, found).case.failures == (BROKEN,)
    assert made.workers.until([("wait",)], seconds=SOON) == [None]
    with pytest.raises(ToolError, match="none"):
        made.workers.until([("complain",)], seconds=60.0)
