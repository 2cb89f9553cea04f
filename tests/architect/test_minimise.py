"""Delta debugging: the smallest part that passes, repeatable, and honest when the budget ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from architect.minimise import atoms, minimise
from architect.protocols import Edit, Evaluation, Patch
from architect.workspace import TreeCopy
from tests.architect.cases import IDT_S, evaluation, make_tree, patch


def test_atoms_are_the_same_patch(tmp_path: Path) -> None:
    copy = TreeCopy(make_tree(tmp_path))
    lines = IDT_S.split("\n")
    whole = patch(
        Edit("cpu/idt.s", 4, tuple(lines[3:7]), ("    nop", lines[4], "    cld", "    std", "    hlt"))
    )
    split = patch(*atoms(whole))
    assert len(split.edits) > 1
    assert copy.apply(split) == copy.apply(whole)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), st.lists(st.sampled_from("abcx"), max_size=6))
def test_atoms_rebuild_any_edit(old: list[str], new: list[str]) -> None:
    lines = list(old)
    for edit in sorted(atoms(patch(Edit("f", 1, tuple(old), tuple(new)))), key=lambda e: -e.line):
        assert len(edit.old) <= 1
    out: list[str] = []
    position = 0
    for edit in sorted(atoms(patch(Edit("f", 1, tuple(old), tuple(new)))), key=lambda e: e.line):
        out += lines[position : edit.line - 1] + list(edit.new)
        position = edit.line - 1 + len(edit.old)
    assert out + lines[position:] == new


def _bench(needed: set[str]) -> tuple[list[int], object]:
    sizes: list[int] = []

    def evaluate(patches: Sequence[Patch]) -> Iterator[Evaluation]:
        for p in reversed(patches):  # the order of arrival must not matter
            sizes.append(len(p.edits))
            yield evaluation(p, passed=needed <= {e.new[0] for e in p.edits})

    return sizes, evaluate


def test_the_smallest_passing_part_is_found() -> None:
    edits = tuple(Edit("f", n, (), (str(n),)) for n in range(1, 13))
    _, evaluate = _bench({"3", "11"})
    found = minimise(evaluation(patch(*edits), passed=True), evaluate)  # type: ignore[arg-type]
    assert [e.new[0] for e in found.patch.edits] == ["3", "11"]
    assert found.passed


def test_a_single_edit_costs_nothing() -> None:
    sizes, evaluate = _bench({"1"})
    whole = evaluation(patch(Edit("f", 1, ("x",), ("1",))), passed=True)
    assert minimise(whole, evaluate) is whole  # type: ignore[arg-type]
    assert sizes == []


def test_a_spent_budget_keeps_what_is_proved() -> None:
    edits = tuple(Edit("f", n, (), (str(n),)) for n in range(1, 9))
    whole = evaluation(patch(*edits), passed=True)
    assert minimise(whole, lambda patches: ()) is whole
