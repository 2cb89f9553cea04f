"""The loop with scripted engines and a bench that knows the answer: outcomes, budgets, proofs, lessons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from architect.budget import Budget
from architect.diagnosis import Diagnosis
from architect.evaluate import PooledEvaluator
from architect.journal import Journal
from architect.lessons import SqliteLessons
from architect.loop import FixLoop
from architect.protocols import NO_BOOTS, Case, Edit, Evaluation, GateResult, Patch
from architect.recall import LessonsEngine
from architect.rivals import Choice, Doubt
from architect.workers import Workers
from tests.architect.cases import IDT_S, PAGE_S, case, evaluation, patch, report

SOURCES = {"mm/page.s": PAGE_S, "cpu/idt.s": IDT_S}
GOOD = Edit("cpu/idt.s", 4, ("    shl rdi, 4",), ("    shl rdi, 5",))


def wrong(n: int) -> Patch:
    return patch(Edit("cpu/idt.s", 4, ("    shl rdi, 4",), (f"    shl rdi, {n + 100}",)), cost=n)


class Bench:
    """A worker's service that boots nothing: a patch is right when it holds ``GOOD``, one boot each."""

    def verify(self, patch: Patch, boots: int) -> Evaluation:
        right = GOOD in patch.edits
        if boots == 0:
            gate = GateResult("boot", False, 0.0, NO_BOOTS)
            return Evaluation(patch, (gate,), False, 1.5 if right else 1.0, False)
        return evaluation(patch, passed=right, progress=2.0 if right else 1.0, boots=1)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    yield Bench()


class Court:
    """Diagnoses and proves from memory."""

    def __init__(self, of: Case, reject: Sequence[Edit] = ()) -> None:
        self.case = of
        self.reject = reject
        self.finals: list[Patch] = []

    def diagnose(self) -> Diagnosis:
        return Diagnosis(self.case)

    def finalise(self, patch: Patch) -> Sequence[GateResult]:
        self.finals.append(patch)
        bad = any(edit in self.reject for edit in patch.edits)
        return (GateResult("fresh-copy", True, 0.1), GateResult("iso", not bad, 0.3, "no ISO" if bad else ""))


class Scripted:
    """An engine with a script; keeps what it observed."""

    def __init__(self, *patches: Patch, name: str = "scripted") -> None:
        self.name = name
        self.patches = [replace(p, engine=name) for p in patches]
        self.seen: list[Evaluation] = []
        self.asked = 0

    def propose(self, case: Case) -> Iterator[Patch]:
        for each in self.patches:
            self.asked += 1
            yield each

    def observe(self, evaluation: Evaluation) -> None:
        self.seen.append(evaluation)


class Rig:
    """The loop with everything real but the bench and the court."""

    def __init__(self, folder: Path, *engines: Any, court: Court | None = None, **limits: Any) -> None:
        self.journal = Journal(folder / "run", {})
        self.budget = Budget(**{"seconds": 60.0, "max_boots": 100, **limits})
        self.budget.boots = self.journal.boots
        self.workers = Workers(bench, 2)
        self.evaluator = PooledEvaluator(self.workers, self.budget, self.journal, 20.0)
        self.store = SqliteLessons(folder / "lessons")
        self.court = court or Court(case(SOURCES, report(suspects=("idt_set",))))
        self.said: list[str] = []
        parts = (self.evaluator, self.store, self.budget, self.journal, self.said.append)
        self.loop = FixLoop(self.court, engines, *parts)

    def close(self) -> None:
        self.workers.close()
        self.journal.close()


@contextlib.contextmanager
def rig(folder: Path, *engines: Any, court: Court | None = None, **limits: Any) -> Iterator[Rig]:
    made = Rig(folder, *engines, court=court, **limits)
    try:
        yield made
    finally:
        made.close()


def test_healthy_changes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    engine = Scripted(patch(GOOD))
    healthy = Court(Case(Path("/k"), SOURCES, None, None, None))
    with rig(tmp_path, engine, court=healthy) as made:
        verdict = made.loop.run()
    assert (verdict.outcome, verdict.patch, verdict.lesson, engine.asked) == ("healthy", None, None, 0)


def test_a_repair_is_found_proved_and_remembered(tmp_path: Path) -> None:
    engine = Scripted(
        *[wrong(n) for n in range(5)], patch(GOOD, operator="constant"), *[wrong(n) for n in range(50, 90)]
    )
    with rig(tmp_path, engine) as made:
        verdict = made.loop.run()
        lesson = made.store.get(verdict.lesson or 0)
    assert verdict.outcome == "fixed" and verdict.patch is not None
    assert verdict.patch.edits == (GOOD,)
    assert [gate.gate for gate in verdict.gates] == ["fresh-copy", "iso"]
    assert engine.asked < 20, "proposals go on being taken after one passed"
    assert verdict.boots == verdict.candidates == len(engine.seen)
    assert lesson.edit["operator"] == "constant" and lesson.signature.vector == 14
    assert lesson.evidence["runs"][0]["before"].startswith("boot:")
    assert lesson.evidence["runs"][0]["after"] == ["fresh-copy", "iso"]


def test_a_patch_is_minimised_before_it_counts(tmp_path: Path) -> None:
    noise = [Edit("mm/page.s", n, (), ("    nop",)) for n in (9, 10, 11)]
    with rig(tmp_path, Scripted(patch(noise[0], GOOD, *noise[1:]))) as made:
        verdict = made.loop.run()
        assert made.court.finals == [verdict.patch]
    assert verdict.patch is not None and verdict.patch.edits == (GOOD,)


def test_what_fails_the_final_gates_is_no_repair(tmp_path: Path) -> None:
    other = Edit("mm/page.s", 9, (), ("    cld",))
    court = Court(case(SOURCES, report()), reject=[GOOD])
    with rig(tmp_path, Scripted(patch(GOOD), patch(other, GOOD), wrong(1)), court=court) as made:
        verdict = made.loop.run()
    assert verdict.outcome == "not-fixed" and verdict.patch is None
    assert "iso: no ISO" in verdict.reason


def test_every_proposal_tried_and_none_right(tmp_path: Path) -> None:
    engine = Scripted(*[wrong(n) for n in range(7)])
    with rig(tmp_path, engine) as made:
        verdict = made.loop.run()
        assert made.store.all() == []
    assert (verdict.outcome, verdict.candidates, verdict.boots) == ("not-fixed", 7, 7)
    assert "none of 7 proposals" in verdict.reason and "boot: #PF" in verdict.reason
    assert verdict.best is not None


def test_the_boot_limit_holds_exactly(tmp_path: Path) -> None:
    engine = Scripted(*[wrong(n) for n in range(50)], patch(GOOD))
    with rig(tmp_path, engine, max_boots=9) as made:
        verdict = made.loop.run()
    assert verdict.outcome == "budget" and "limit of 9 boots" in verdict.reason
    assert verdict.boots <= 9 and made.budget.granted == 0


def test_boots_kept_for_the_final_gates_are_not_spent_on_candidates(tmp_path: Path) -> None:
    with rig(tmp_path, Scripted(*[wrong(n) for n in range(50)]), max_boots=9, reserve=4) as made:
        verdict = made.loop.run()
        assert made.budget.grant(4, final=True) == 4
    assert verdict.boots == 5 and "4 kept for the final gates" in verdict.reason


def test_the_time_limit_stops_the_search(tmp_path: Path) -> None:
    clock = iter(range(0, 100_000, 5))
    with rig(
        tmp_path, Scripted(*[wrong(n) for n in range(500)]), seconds=60.0, clock=lambda: next(clock)
    ) as made:
        verdict = made.loop.run()
    assert verdict.outcome == "budget" and "60 s is spent" in verdict.reason
    assert verdict.candidates < 500


def test_engines_are_asked_in_turn_and_see_what_the_others_tried(tmp_path: Path) -> None:
    first, second = Scripted(wrong(1), wrong(2), name="first"), Scripted(wrong(1), patch(GOOD), name="second")
    with rig(tmp_path, first, second) as made:
        verdict = made.loop.run()
    assert verdict.patch is not None and verdict.patch.engine == "second"
    assert [e.patch.engine for e in second.seen] == [e.patch.engine for e in first.seen]
    assert verdict.tried == {"first": 2, "second": 2}
    assert verdict.boots == 3, "a patch that another engine tried is not booted again"


def test_lessons_are_credited_and_blamed(tmp_path: Path) -> None:
    with rig(tmp_path, Scripted(patch(GOOD))) as made:
        made.loop.run()
        right = made.store.all()[0]
    misleading = {**right.edit, "steps": [{**right.edit["steps"][0], "insert": ["shl {r1:64=rdi}, {c9=7}"]}]}
    bad = SqliteLessons(tmp_path / "lessons").record(right.signature, "misleads", misleading, {})
    engine = LessonsEngine(SqliteLessons(tmp_path / "lessons"))
    with rig(tmp_path, engine) as made:
        verdict = made.loop.run()
        records = {x.id: (x.helped, x.misled) for x in made.store.all()}
    assert verdict.outcome == "fixed" and verdict.lesson == right.id
    assert verdict.patch is not None and verdict.patch.engine == "lessons"
    assert records[right.id] == (1, 0)
    assert records[bad] in ((0, 1), (0, 0))  # blamed when it was tried before the right one


def test_a_run_that_was_cut_short_resumes_without_booting_again(tmp_path: Path) -> None:
    script = [wrong(n) for n in range(11)]
    with rig(tmp_path, Scripted(*script), max_boots=10) as made:
        assert made.loop.run().outcome == "budget"
    with rig(tmp_path, Scripted(*script, patch(GOOD)), max_boots=20) as made:
        assert made.journal.resumed and made.journal.boots == 10
        verdict = made.loop.run()
    assert verdict.outcome == "fixed" and verdict.boots == 12


def test_a_run_that_spent_its_budget_is_resumed_with_one_of_its_own(tmp_path: Path) -> None:
    """The next job of a CI has the same limits; what the one before it tried is known all the same."""
    script = [wrong(n) for n in range(11)]
    with rig(tmp_path, Scripted(*script), max_boots=10) as made:
        verdict = made.loop.run()
        made.journal.spent(0, 59.0)
        made.journal.asked(700, 70)
        made.journal.end(verdict.outcome, verdict.reason)
    with rig(tmp_path, Scripted(*script, patch(GOOD)), max_boots=10) as made:
        assert made.journal.resumed and len(made.journal.evaluations) == 10
        assert (made.journal.boots, made.journal.seconds, made.journal.model_tokens) == (0, 0.0, (0, 0))
        verdict = made.loop.run()
    assert verdict.outcome == "fixed" and verdict.boots == 2


def ended(store: SqliteLessons) -> tuple[int, int, int]:
    """What the only lesson has: how often it helped, how often it misled, pieces of evidence."""
    (lesson,) = store.all()
    return lesson.helped, lesson.misled, len(lesson.evidence["runs"])


@pytest.mark.parametrize("dies", ["record", "credit", "end"])
def test_a_run_that_is_killed_after_its_lesson_counts_once(
    tmp_path: Path, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended behind what ``dies`` names, before the journal says that the run is over; then resumed to its end."""

    def again() -> LessonsEngine:
        return LessonsEngine(SqliteLessons(tmp_path / "lessons"))

    def kill(of: type, method: str) -> None:
        real = getattr(of, method)

        def killed(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            raise KeyboardInterrupt

        patched.setattr(of, method, killed)

    with rig(tmp_path, Scripted(patch(GOOD, operator="constant"))) as made:
        verdict = made.loop.run()
        made.journal.end(verdict.outcome, verdict.reason)
        assert ended(made.store) == (0, 0, 1)
    with monkeypatch.context() as patched, rig(tmp_path, again()) as made:
        if dies != "end":
            kill(SqliteLessons, dies)
            with pytest.raises(KeyboardInterrupt):
                made.loop.run()
        else:
            assert made.loop.run().outcome == "fixed"
        name = made.journal.id
    with rig(tmp_path, again()) as made:
        assert made.journal.resumed and made.journal.id == name
        verdict = made.loop.run()
        made.journal.end(verdict.outcome, verdict.reason)
        assert verdict.outcome == "fixed" and ended(made.store) == (1, 0, 2)
    with rig(tmp_path, again()) as made:
        assert made.journal.id != name
        made.loop.run()
        assert ended(made.store) == (2, 0, 3), "another run counts again"


def test_what_needs_no_boot_is_tried_when_none_is_left(tmp_path: Path) -> None:
    with rig(tmp_path, Scripted(patch(GOOD)), max_boots=3, reserve=3) as made:
        verdict = made.loop.run()
    assert (verdict.outcome, verdict.boots, verdict.candidates) == ("budget", 0, 1)
    assert "limit of 3 boots is reached (3 kept" in verdict.reason and NO_BOOTS in verdict.reason
    assert verdict.best is not None and verdict.best.patch.edits == (GOOD,)


def test_boots_that_cannot_prove_a_finalist_go_to_candidates() -> None:
    few, enough = Budget(60.0, 6, reserve=7, boots=3), Budget(60.0, 11, reserve=7, boots=3)
    assert few.open_reserve() and few.boots_left() == 3
    assert not enough.open_reserve() and enough.boots_left() == 1


def test_the_time_of_a_killed_run_counts() -> None:
    now = [100.0]
    budget = Budget(60.0, 10, clock=lambda: now[0], earlier_seconds=45.0)
    assert budget.seconds_left() == 15.0
    now[0] += 15.0
    assert budget.spent() == "the budget of 60 s is spent"


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    with rig(tmp_path, Scripted(patch(GOOD))) as made:
        verdict = made.loop.run()
        made.journal.end(verdict.outcome, verdict.reason)
    with rig(tmp_path, Scripted(patch(GOOD))) as made:
        assert not made.journal.resumed and made.journal.evaluations == {}


def test_an_interrupt_leaves_no_worker_and_keeps_the_journal(tmp_path: Path) -> None:
    class Interrupted(Scripted):
        def observe(self, evaluation: Evaluation) -> None:
            super().observe(evaluation)
            if len(self.seen) == 3:
                raise KeyboardInterrupt

    made = Rig(tmp_path, Interrupted(*[wrong(n) for n in range(20)]))
    processes = [worker.process for worker in made.workers._workers]
    with pytest.raises(KeyboardInterrupt):
        made.loop.run()
    made.close()
    assert not any(process.is_alive() for process in processes)
    again = Journal(tmp_path / "run", {})
    assert again.resumed and len(again.evaluations) >= 3
    again.close()


OTHER = Edit("cpu/idt.s", 5, (), ("    nop",))


def test_a_repair_that_nothing_speaks_against_is_taken_for_a_doubtful_one(tmp_path: Path) -> None:
    doubtful = patch(GOOD, OTHER, operator="doubtful", cost=1.0)
    plain = patch(GOOD, operator="plain", cost=3.0)
    between = [wrong(n) for n in range(12)]
    with rig(tmp_path, Scripted(doubtful, *between, plain, *[wrong(n) for n in range(40, 90)])) as made:
        made.loop.choice = Choice(30, lambda p: [Doubt(4.0, "it does more")] if OTHER in p.edits else [])
        verdict = made.loop.run()
    assert verdict.patch is not None and verdict.patch.operator == "plain" and verdict.doubts == ()
    assert [rival.patch.operator for rival in made.loop.rivals] == ["plain", "doubtful"]
    assert verdict.alternatives == (), "what holds the repair and more is no other repair"
    assert 14 <= verdict.candidates < 60


def test_a_doubtful_repair_alone_is_taken_with_its_doubts(tmp_path: Path) -> None:
    with rig(tmp_path, Scripted(patch(GOOD), *[wrong(n) for n in range(60)])) as made:
        made.loop.choice = Choice(8, lambda p: [Doubt(4.0, "it does less")])
        verdict = made.loop.run()
    assert verdict.outcome == "fixed" and verdict.doubts == ("it does less",)
    assert verdict.alternatives == () and verdict.candidates < 30


def test_the_time_for_the_proof_is_not_spent_on_others(tmp_path: Path) -> None:
    engine = Scripted(patch(GOOD), *[wrong(n) for n in range(60)])
    with rig(tmp_path, engine, max_boots=1) as made:
        made.loop.choice = Choice(1000, lambda p: [Doubt(4.0, "it does less")])
        verdict = made.loop.run()
    assert verdict.outcome == "fixed" and engine.asked < 30
