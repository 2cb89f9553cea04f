"""The comparison of engines: counts, money, the Markdown table, names that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from architect import bench_fix, bench_rates, bench_told, corpus, run
from architect.bench_result import Taught, Terms
from architect.journal import Journal
from architect.lessons import SqliteLessons
from architect.protocols import Edit, Evaluation, GateResult, Lesson, Patch, Signature
from tests.unit.pxos import pxos
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def bug(plausible: bool, correct: bool, seconds: float, money: str | None = None) -> dict[str, Any]:
    return {
        "plausible": plausible, "correct": correct, "boots": 3, "seconds": seconds, "tokens": 10, "money": money
    }  # fmt: skip


def test_a_row_counts_what_is_wrong_and_adds_money_exactly() -> None:
    bugs = [bug(True, True, 1.0, "0.10"), bug(True, False, 9.0, "0.20"), bug(False, False, 2.0)]
    row = bench_told.engine_row("llm", {"bugs": bugs})
    assert (row["plausible"], row["correct"], row["wrong"], row["bugs"]) == (2, 1, 1, 3)
    assert (row["boots"], row["tokens"], row["money"]) == (9, 30, "0.30")
    assert (row["seconds"], row["median_seconds"]) == (12.0, 2.0)
    assert bench_told.engine_row("search", {"bugs": []})["median_seconds"] is None


def test_the_table_is_markdown() -> None:
    rows = [bench_told.engine_row(name, {"bugs": [bug(True, True, 1.5)]}) for name in ("search", "auto")]
    machine = {"cpu": "a CPU", "cores": 2, "system": "Linux"}
    lines = bench_told.markdown({"engines": rows, "prevention_rate": 0.6, "machine": machine}).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| `search` | 1 | 1 | 1 | 0 | 3 | 1.5 | 10 | - |")
    assert lines[-1] == "Found before boot: 60%. a CPU, 2 cores, Linux."


@pytest.mark.parametrize("names", ["magic", "search,magic", "search,,auto"])
def test_an_engine_that_is_none(names: str) -> None:
    answer = pxos("bench", "fix", "--engine", names)
    assert answer.status == 2 and "no engine is called" in answer.errors and answer.errors.count("\n") == 1


def boot(what: str, seconds: float, outcome: str = "fault") -> dict[str, object]:
    return {"what": what, "seconds": seconds, "outcome": outcome}


def tried(
    line: int, took: float, gate: str, *boots: dict[str, object], duplicate: bool = False
) -> Evaluation:
    asked = GateResult(gate, False, took / 2, "", {"boots": list(boots)} if boots else {})
    count = len(boots)
    return Evaluation(
        patch(line), (asked,), False, 1.0, count > 0, boots=count, duplicate=duplicate, took=took
    )


def test_candidates_are_counted_by_what_was_asked_of_them(tmp_path: Path) -> None:
    evaluations = [
        tried(1, 0.4, "contract"),
        tried(2, 0.1, "assembles"),
        tried(3, 2.0, "boot", boot("first", 1.9, "timeout")),
        tried(4, 0.1, "boot", boot("first", 0.05)),
        tried(5, 0.6, "tests", boot("first", 0.15, "ready"), boot("tests", 0.4)),
        tried(6, 9.0, "contract", duplicate=True),
    ]
    journal = Journal(tmp_path / "run", {})
    for evaluation in evaluations:
        journal.record(evaluation, 1.0)
    journal.close()
    taken = bench_rates.of_journals(tmp_path)
    assert taken == {
        "contract": [0.4], "first": [0.05], "booted": [0.1], "tested": [0.6], "hung": [2.0]
    }  # fmt: skip
    cores = os.cpu_count() or 1
    rows = {row["what"]: row for row in bench_rates.rows([taken, taken], {"empty": [0.05, 0.05]})}
    assert rows["contract-tested candidates/s"]["ours"] == pytest.approx(cores / 0.4)
    booted = rows["booted candidates/s"]
    assert (booted["ours"], booted["ratio"]) == (pytest.approx(cores / 0.1), pytest.approx(0.5))
    first = rows["first boots/s"]
    assert (first["ratio"], first["runs"], first["unit"]) == (pytest.approx(1.0), 2, "boots/s")
    assert rows["candidates that hang/s"]["peer_value"] is None
    assert bench_rates.rows([{}], {"empty": [0.05]}) == []
    apart: bench_rates.Seconds = {"booted": [0.2, 0.2], "first": [0.1], "hung": [9.0], "empty": [0.08]}
    rows = {row["what"]: row for row in bench_rates.rows([taken], apart)}
    assert rows["booted candidates/s"]["ours"] == pytest.approx(cores / 0.2)
    assert rows["first boots/s"]["ratio"] == pytest.approx(0.8)
    assert rows["candidates that hang/s"]["ours"] == pytest.approx(cores / 2.0)


def patch(line: int) -> Patch:
    return Patch((Edit("a.s", line, ("nop",), ()),), "search", "delete", "why")


def test_the_readme_shows_the_run_that_is_kept() -> None:
    kept = json.loads((ROOT / "tests/bugs/repairs.json").read_text())
    parts: dict[str, list[Any]] = {}
    for bug in kept["bugs"]:
        parts.setdefault(bug["asked"], []).append(bug)
    rows = [bench_told.engine_row(name, {"bugs": bugs}) for name, bugs in parts.items()]
    assert bench_told.markdown({**kept, "engines": rows}) in (ROOT / "README.md").read_text()
    for bugs in parts.values():
        assert {bug["id"] for bug in bugs} == {bug.id for bug in corpus.load(ROOT / "tests/bugs")}


def lesson(number: int, cause: str) -> Lesson:
    step = {
        "kind": "replace",
        "old": ["ret"],
        "new": ["iretq"],
        "before": [],
        "after": [],
        "shape": [],
        "sort": [],
    }
    return Lesson(
        number,
        Signature("fault", 14, (), None, None, None, None, (), None),
        cause,
        {"operator": "x", "steps": [step]},
        {"runs": [{}]},
    )


def test_an_engine_is_never_taught_by_the_bug_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    bugs = corpus.load(ROOT / "tests/bugs")
    one, other = bugs[0], bugs[1]
    seen: list[str] = []

    def repair(settings: Any, ui: Any) -> Any:
        seen.extend(found.cause for found in SqliteLessons(settings.lessons).all())
        raise InputError("that is all that is asked here", stage="test")

    monkeypatch.setattr(run, "repair", repair)
    taught = (Taught(one.id, lesson(1, "of itself")), Taught(other.id, lesson(1, "of another")))
    done = bench_fix.repair(one, ROOT / "kernel", Terms(taught=taught))
    assert seen == ["of another"] and done.outcome == "error"
