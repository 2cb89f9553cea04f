"""Searches side by side: the order of what they propose, and what verdicts do to proposals that wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from architect import kinds
from architect.foreign.bench import LIFE_FACTOR
from architect.foreign.engine import Together
from architect.protocols import Case, Edit, Evaluation, Patch
from architect.run import Settings
from tests.architect.cases import case

ROOT = Path(__file__).resolve().parents[2]


class Listed:
    """A search that proposes from a list; what becomes of line 3 speaks for line 101."""

    name = "search"

    def __init__(self, *patches: Patch) -> None:
        self.patches = patches
        self.bits: dict[int, float] = {}

    def propose(self, case: Case) -> Iterator[Patch]:
        for patch in self.patches:
            yield replace(patch, cost=patch.cost - self.earned(patch))

    def observe(self, evaluation: Evaluation) -> None:
        if evaluation.patch.edits[0].line == 3:
            self.bits[101] = 9.0

    def earned(self, patch: Patch) -> float:
        return self.bits.get(patch.edits[0].line, 0.0)


def patch(line: int, cost: float, file: str = "a.s", new: tuple[str, ...] = ("x",)) -> Patch:
    return Patch((Edit(file, line, ("y",), new),), "search", "op", "why", cost)


def lines(engine: Together, told: bool = False) -> list[int]:
    found = []
    for one in engine.propose(case({"a.s": "y\n" * 9, "b.c": "y\n"})):
        found.append(one.edits[0].line)
        if told:
            engine.observe(Evaluation(one, (), False, 0.0, True))
    return found


def together(engine: Listed) -> Together:
    return Together([(engine, lambda file: file.endswith(".s"))])


def test_the_cheapest_comes_first_and_size_costs() -> None:
    many = tuple("abcdef")
    made = [patch(1, 1.0), patch(2, 2.0, new=many), patch(3, 3.0), patch(4, 4.0)]
    assert lines(together(Listed(*made))) == [1, 3, 4, 2]


def test_a_proposal_that_waits_is_hastened_by_a_verdict() -> None:
    """Line 101 was looked at and waits for cheaper ones when the verdict on line 3 speaks for it."""
    costs = {1: 1.0, 2: 2.0, 3: 2.5, 4: 3.0, 101: 6.0, 5: 6.5, 6: 7.0}
    made = [patch(line, cost) for line, cost in costs.items()]
    assert lines(together(Listed(*made))) == [1, 2, 3, 4, 101, 5, 6]
    assert lines(together(Listed(*made)), told=True) == [1, 2, 3, 101, 4, 5, 6]


def test_candidates_of_a_foreign_tree_wait_together(tmp_path: Path) -> None:
    """Boots that are to show nothing wait: more of them than cores, and fewer than their deadline has room for."""
    tree = ROOT / "tests/fixtures/kernels/nasm-flat"
    settings = Settings(tree, tmp_path / "out", tmp_path / "lessons", unsafe=True)
    found = kinds.of(tree).opened(settings).abreast
    assert 1 < found <= LIFE_FACTOR / 2
    assert kinds.of(ROOT / "kernel").opened(replace(settings, tree=ROOT / "kernel")).abreast == 1
