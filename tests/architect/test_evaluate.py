"""The evaluator over real workers: every patch answered once, errors told apart, grants settled."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect.budget import Budget
from architect.evaluate import SURPRISES_MAX, PooledEvaluator, Proposals
from architect.journal import Journal
from architect.protocols import NO_BOOTS, Edit, Evaluation, GateResult, Patch
from architect.tried import claim
from architect.workers import Workers
from tests.architect.cases import evaluation, patch
from toolchain.errors import InternalError, ToolError


def numbered(n: int) -> Patch:
    return patch(Edit("a.s", n + 1, (), ("x",)), operator=str(n))


class Bench:
    """What a candidate does is written in its operator."""

    def verify(self, of: Patch, boots: int) -> Evaluation:
        if of.operator == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if of.operator == "stumble":
            raise ZeroDivisionError
        if of.operator == "no-qemu":
            raise ToolError("qemu is not installed", stage="boot")
        if boots < 2 and of.operator == "two":
            gate = GateResult("claims", False, 0.0, NO_BOOTS)
            return Evaluation(of, (gate,), False, 1.0, True, boots=boots)
        return evaluation(of, boots=2 if of.operator == "two" else 1)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    yield Bench()


class Rig:
    def __init__(self, folder: Path, max_boots: int = 1000) -> None:
        self.journal = Journal(folder, {})
        self.budget = Budget(60.0, max_boots)
        self.workers = Workers(bench, 2, log=folder / "errors.log")
        self.evaluator = PooledEvaluator(self.workers, self.budget, self.journal, 20.0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.evaluator.close()
    made.journal.close()


def test_every_patch_is_answered_once(rig: Rig) -> None:
    patches = [numbered(n) for n in range(40)]
    answers = list(rig.evaluator.evaluate(patches))
    assert sorted(int(e.patch.operator) for e in answers) == list(range(40))
    assert (rig.budget.boots, rig.budget.candidates, rig.budget.granted) == (40, 40, 0)


def test_what_is_known_costs_nothing(rig: Rig) -> None:
    list(rig.evaluator.evaluate([numbered(1)]))
    (again,) = rig.evaluator.evaluate([patch(*numbered(1).edits, operator="renamed", engine="lessons")])
    assert (again.duplicate, again.boots, again.patch.operator) == (True, 0, "renamed")
    assert rig.budget.boots == 1


def test_patches_are_taken_only_when_a_worker_is_free(rig: Rig) -> None:
    taken = 0

    def lazily() -> Iterator[Patch]:
        nonlocal taken
        for n in range(10):
            taken += 1
            yield numbered(n)

    for done, _ in enumerate(rig.evaluator.evaluate(lazily()), start=1):
        assert taken <= done + 2


def test_proposals_are_made_ahead_and_none_is_lost(rig: Rig) -> None:
    proposals = Proposals(numbered(n) for n in range(30))
    seen: list[int] = []
    while len(seen) < 30:
        proposals.closed = False
        for done in rig.evaluator.evaluate(proposals):
            seen.append(int(done.patch.operator))
            proposals.closed = len(seen) % 3 == 0
        assert rig.workers.busy == 0
    assert sorted(seen) == list(range(30))
    assert not proposals.fetch(2)


@pytest.mark.parametrize("operator", ["die", "stumble"])
def test_an_error_of_ours_fails_its_candidate_alone(rig: Rig, operator: str) -> None:
    bad = patch(Edit("a.s", 99, (), ("x",)), operator=operator)
    answers = {
        e.patch.operator: e for e in rig.evaluator.evaluate([numbered(0), bad, numbered(1), numbered(2)])
    }
    assert answers[operator].gates[0].gate == "internal" and not answers[operator].passed
    assert set(answers) == {operator, "0", "1", "2"}
    if operator == "stumble":
        assert "ZeroDivisionError" in (rig.journal.folder / "errors.log").read_text()


def test_errors_of_ours_without_end_are_told(rig: Rig) -> None:
    bad = [patch(Edit("a.s", n + 1, (), ("x",)), operator="stumble") for n in range(SURPRISES_MAX + 9)]
    with pytest.raises(InternalError, match="candidates in a row: ZeroDivisionError") as caught:
        list(rig.evaluator.evaluate(bad))
    assert caught.value.log == rig.journal.folder / "errors.log"


def test_a_missing_tool_ends_the_run(rig: Rig) -> None:
    with pytest.raises(ToolError, match="qemu is not installed"):
        list(rig.evaluator.evaluate([patch(Edit("a.s", 1, (), ("x",)), operator="no-qemu")]))


def test_a_candidate_without_boots_has_no_verdict(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_boots=1)
    (cut,) = rig.evaluator.evaluate([patch(Edit("a.s", 1, (), ("x",)), operator="two")])
    assert not cut.passed and rig.journal.evaluations == {} and rig.budget.boots == 1
    rig.evaluator.close()
    rig.journal.close()
    assert Journal(tmp_path, {}).boots == 1


@pytest.mark.long
def test_boots_that_time_broke_off_are_counted_and_no_others(tmp_path: Path) -> None:
    """When time ends one candidate boots for the second time, the other has not come to its first boot."""
    begun = [tmp_path / name for name in ("booting", "asking")]

    class Endless:
        def verify(self, of: Patch, boots: int) -> Evaluation:
            folder = tmp_path / "candidates" / of.operator
            folder.mkdir(parents=True)
            with claim(folder):
                for number in range(1, 3 if of.operator == "booting" else 1):
                    (folder / f"boot{number}").mkdir()
                (tmp_path / of.operator).touch()
                signal.pause()
            return evaluation(of)

    budget = Budget(60.0, 1000, clock=lambda: 60.0 if all(map(Path.exists, begun)) else 0.0)
    with contextlib.closing(Journal(tmp_path, {})) as journal:
        workers = Workers(lambda: contextlib.nullcontext(Endless()), 2)
        with contextlib.closing(PooledEvaluator(workers, budget, journal, 20.0)) as evaluator:
            patches = [patch(*numbered(n).edits, operator=each.name) for n, each in enumerate(begun)]
            assert not list(evaluator.evaluate(patches))
    assert (budget.boots, budget.granted) == (2, 0)
    with contextlib.closing(Journal(tmp_path, {})) as resumed:
        assert resumed.boots == 2


def test_edits_that_are_under_way_are_not_evaluated_again(rig: Rig, tmp_path: Path) -> None:
    """Two engines, or two ways to one repair, propose the same while nothing is known of it yet."""
    edits = numbered(1).edits
    proposed = [patch(*edits, operator=name) for name in ("first", "second", "third")]
    answers = {e.patch.operator: e for e in rig.evaluator.evaluate([*proposed, numbered(2)])}
    assert {name: e.duplicate for name, e in answers.items()} == {
        "first": False,
        "second": True,
        "third": True,
        "2": False,
    }
    assert (rig.budget.boots, rig.budget.candidates, rig.budget.granted) == (2, 2, 0)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert sum('"kind": "evaluation"' in line for line in lines) == 2


def test_what_a_killed_run_found_out_is_news_once(tmp_path: Path) -> None:
    before = Rig(tmp_path)
    list(before.evaluator.evaluate([numbered(1)]))
    before.evaluator.close()
    before.journal.close()
    again = Rig(tmp_path)
    (first,) = again.evaluator.evaluate([numbered(1)])
    (second,) = again.evaluator.evaluate([numbered(1)])
    assert [(e.duplicate, e.boots, e.booted) for e in (first, second)] == [
        (False, 0, False),
        (True, 0, False),
    ]
    again.evaluator.close()
    again.journal.close()
