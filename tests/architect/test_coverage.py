"""What broken contracts ran: rows of the spectrum from the real kernel with a bug in it, and the measure over rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from architect import contracts, corpus, coverage
from architect.coverage import Run
from architect.source import Tree
from architect.spectrum import suspicious_lines
from toolchain.build import Session

pytestmark = pytest.mark.long

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
RANGES = "mm/ranges.s"


@pytest.fixture(scope="module")
def broken_ranges() -> tuple[tuple[Run, ...], Tree, int]:
    """The runs of a kernel whose overlap test is off by one, and the line of the wrong branch."""
    sources = corpus.sources(KERNEL)
    text = sources[RANGES]
    assert text.count("jbe .Loverlap_next") == 1
    number = text[: text.index("jbe .Loverlap_next")].count("\n") + 1
    wrong = text.replace("jbe .Loverlap_next", "jb .Loverlap_next")
    headers = contracts.routines(sources)
    with Session(KERNEL) as session:
        image = session.build({RANGES: wrong})
        broken = {violation.routine for violation in contracts.violations(image, headers)}
        rows = coverage.runs(image, session.origins(), headers, broken)
    return rows, Tree({**sources, RANGES: wrong}), number


def test_every_failing_call_executed_the_wrong_line(broken_ranges: tuple[tuple[Run, ...], Tree, int]) -> None:
    rows, _, number = broken_ranges
    failed = [row for row in rows if row.failed]
    assert failed
    assert any(not row.failed for row in rows)
    assert all((RANGES, number) in row.lines for row in failed)


def test_the_wrong_branch_is_among_the_most_suspicious(
    broken_ranges: tuple[tuple[Run, ...], Tree, int],
) -> None:
    rows, tree, number = broken_ranges
    scores = suspicious_lines(rows, tree)
    better = [key for key, score in scores.items() if score > scores[RANGES, number]]
    assert len(better) < 5


def test_the_sound_kernel_has_no_failing_run() -> None:
    headers = contracts.routines(corpus.sources(KERNEL))
    with Session(KERNEL) as session:
        rows = coverage.runs(session.build(), session.origins(), headers, set(headers))
    assert rows
    assert not any(row.failed for row in rows)


def row(failed: bool, *lines: int, turns: frozenset[tuple[str, int, int]] = frozenset()) -> Run:
    return Run("model", failed, 1.0, frozenset(("a.s", line) for line in lines), turns)


TREE = Tree(
    {
        "a.s": ".set MASK, 0xff\n.set OTHER, 1\nfirst:\n    and eax, MASK\n    mov rdx, table\n    ret\n"
        ".global table\ntable:\n    .quad 7\n    .quad 8\n"
    }
)


def test_what_only_failing_runs_executed_is_worst() -> None:
    scores = suspicious_lines([row(True, 4, 5), row(False, 5, 6)], TREE)
    assert scores["a.s", 4] > scores["a.s", 5]
    assert ("a.s", 6) not in scores


def test_constants_and_data_that_a_line_names_are_suspected_with_it() -> None:
    scores = suspicious_lines([row(True, 4, 5), row(False, 6)], TREE)
    assert 0 < scores["a.s", 1] < scores["a.s", 4]
    assert ("a.s", 2) not in scores
    assert 0 < scores["a.s", 9] < scores["a.s", 5]


def test_data_that_was_read_is_told_from_data_beside_it() -> None:
    scores = suspicious_lines([row(True, 5, 10), row(False, 6)], TREE)
    assert ("a.s", 9) not in scores
    assert scores["a.s", 10] == scores["a.s", 5]


def test_the_way_a_branch_went_counts() -> None:
    wrong, right = frozenset({("a.s", 4, 0x10)}), frozenset({("a.s", 4, 0x20)})
    scores = suspicious_lines([row(True, 4, 5, turns=wrong), row(False, 4, 5, turns=right)], TREE)
    assert scores["a.s", 4] > scores["a.s", 5]


def failing(name: str, *lines: int) -> Run:
    return replace(row(True, *lines), name=name)


def test_what_every_call_runs_is_nothing_that_failing_ones_have_in_common() -> None:
    """Line 6 is everybody's: two mistakes, and neither stands back behind the end of every routine."""
    failed = [failing("one", 4, 6), failing("other", 5, 6)]
    alone = suspicious_lines([failing("one", 4), failing("other", 5), *[row(False, 6)] * 3], TREE)
    both = suspicious_lines([*failed, *[row(False, 6)] * 3], TREE)
    assert (both["a.s", 4], both["a.s", 5]) == (alone["a.s", 4], alone["a.s", 5])
    rare = suspicious_lines([*failed, row(False, 6), *[row(False, 10)] * 3], TREE)
    assert rare["a.s", 4] < both["a.s", 4]
