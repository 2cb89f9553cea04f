"""Results of in-kernel tests: what the KTAP specification says, and what a serial line adds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toolchain import ktap


def test_results_with_directives_and_diagnostics() -> None:
    parsed = ktap.parse(
        "KTAP version 1\n1..4\nok 1 frame.alloc\n# expected 5\n# got 4\nnot ok 2 - page.map\n"
        "ok 3 pci.bridge # SKIP no bridge\nnot ok 4 slow # TIMEOUT\n"
    )
    assert [(r.name, r.verdict) for r in parsed.results] == [
        ("frame.alloc", "pass"), ("page.map", "fail"), ("pci.bridge", "skip"), ("slow", "fail"),
    ]  # fmt: skip
    assert parsed.results[1].notes == ("expected 5", "got 4")
    assert parsed.results[2].notes == ("no bridge",)
    assert parsed.complete and not parsed.passed


def test_a_plan_that_is_not_fulfilled_is_not_complete() -> None:
    assert not ktap.parse("KTAP version 1\n1..3\nok 1 a\nok 2 b\n").passed
    assert ktap.parse("KTAP version 1\n1..2\nok 1 a\nok 2 b\n").passed
    assert not ktap.parse("KTAP version 1\nok 1 a\n").complete  # no plan at all


def test_no_tests_prove_nothing() -> None:
    assert not ktap.parse("KTAP version 1\n1..0\n").passed
    assert not ktap.parse("").passed


def test_nested_tests_carry_their_parents_name() -> None:
    text = (
        "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\nnot ok 1 memory\nok 2 bus\n"
    )
    assert ktap.parse(text).tests == {"memory/a": True, "memory/b": False, "memory": False, "bus": True}
    cut = text.replace("  not ok 2 b\n", "")
    assert not ktap.parse(cut).complete


def test_stray_lines_are_passed_over() -> None:
    text = (
        "ok 1 before\nKTAP version 1\nhello\n1..2\nok computer\nok 1 a\nPXBOOT v1 x\n   \nok 2 b\nnot okay\n"
    )
    assert ktap.parse(text).tests == {"a": True, "b": True}


def test_a_repeated_name_stays_visible() -> None:
    parsed = ktap.parse("KTAP version 1\n1..2\nok 1 a\nnot ok 2 a\n")
    assert parsed.tests == {"a": True, "a#2": False}


@given(st.text(alphabet="ok not1.2#KTAPversion \n", max_size=400))
def test_no_text_makes_it_raise(text: str) -> None:
    parsed = ktap.parse("KTAP version 1\n" + text)
    assert parsed.passed in (True, False)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_passed_means_all_passed(verdicts: list[bool]) -> None:
    lines = [f"{'ok' if v else 'not ok'} {n} t{n}" for n, v in enumerate(verdicts, 1)]
    text = "\n".join(["KTAP version 1", f"1..{len(verdicts)}", *lines])
    assert ktap.parse(text).passed == all(verdicts)
