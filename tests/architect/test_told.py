"""What edits earn by the values that broken contracts tell."""

from __future__ import annotations

import pytest

from architect.protocols import Case, Edit, GateResult
from architect.told import Told
from tests.architect.cases import case

VALUES = {"PTE_WRITE": 2, "OK": 0, "SKIP": 1, "PITCH": 4096, "LINES": 1}


def told(*pairs: tuple[object, object]) -> Told:
    rows = [{"routine": "f", "promise": "p", "call": {"got": a, "expected": b}} for a, b in pairs]
    gate = GateResult("contract", False, 0.0, "f: p", {"violations": rows})
    made: Case = case({"a.s": ""})
    return Told(type(made)(made.tree, made.sources, None, None, None, failures=(gate,)), VALUES)


def change(old: str, new: str) -> list[Edit]:
    return [Edit("a.s", 1, (old,), (new,))]


def insert(new: str) -> list[Edit]:
    return [Edit("a.s", 1, (), (new,))]


@pytest.mark.parametrize(
    ("came", "wanted", "better", "worse"),
    [
        (0, 4095, change(".set LIMIT, 0", ".set LIMIT, 4095"), change(".set LIMIT, 0", ".set LIMIT, 4096")),
        (258, 256, change("mov eax, PTE_WRITE", "mov eax, OK"), change("mov eax, PTE_WRITE", "mov eax, 3")),
        (100, 4196, insert("    add rax, PITCH * LINES"), insert("    sub rax, PITCH * LINES")),
        (8, 10, insert("    or rax, PTE_WRITE"), insert("    or rax, PITCH")),
        ("(5, 100)", "(5, 4196)", insert("    add rax, PITCH"), insert("    add rax, OK")),
    ],
)
def test_an_edit_that_explains_the_difference_earns_more(
    came: object, wanted: object, better: list[Edit], worse: list[Edit]
) -> None:
    evidence = told((came, wanted))
    assert evidence.earned(better) > evidence.earned(worse)


def test_small_numbers_tell_less() -> None:
    small, large = told((1, 0)), told((1000, 7))
    assert small.earned(change("mov eax, SKIP", "mov eax, OK")) > 0
    assert small.earned(change("mov eax, 1", "mov eax, 0")) < large.earned(
        change("mov eax, 1000", "mov eax, 7")
    )


@pytest.mark.parametrize("text", ["(" * 100_000, "[1, 2", "1" * 5000, "0xzz", "__import__('os')", ""])
def test_evidence_that_is_no_number_tells_nothing(text: str) -> None:
    assert not told((text, 5))
    assert not told((5, text))


def test_other_edits_earn_nothing() -> None:
    evidence = told((1, 5))
    assert evidence.earned([Edit("a.s", 1, ("a", "b"), ("c",))]) == 0
    assert evidence.earned(change("mov eax, 1", "mov ebx, 5")) == 0
    assert evidence.earned(insert("")) == 0
