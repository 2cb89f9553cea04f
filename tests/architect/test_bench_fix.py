"""The comparison of engines: counts, money, the Markdown table, names that are none."""

from __future__ import annotations

from typing import Any

import pytest

from architect import bench_fix
from tests.unit.pxos import pxos


def bug(plausible: bool, correct: bool, seconds: float, money: str | None = None) -> dict[str, Any]:
    return {
        "plausible": plausible, "correct": correct, "boots": 3, "seconds": seconds, "tokens": 10, "money": money
    }  # fmt: skip


def test_a_row_counts_what_is_wrong_and_adds_money_exactly() -> None:
    bugs = [bug(True, True, 1.0, "0.10"), bug(True, False, 9.0, "0.20"), bug(False, False, 2.0)]
    row = bench_fix.engine_row("llm", {"bugs": bugs})
    assert (row["plausible"], row["correct"], row["wrong"], row["bugs"]) == (2, 1, 1, 3)
    assert (row["boots"], row["tokens"], row["money"]) == (9, 30, "0.30")
    assert (row["seconds"], row["median_seconds"]) == (12.0, 2.0)
    assert bench_fix.engine_row("search", {"bugs": []})["median_seconds"] is None


def test_the_table_is_markdown() -> None:
    rows = [bench_fix.engine_row(name, {"bugs": [bug(True, True, 1.5)]}) for name in ("search", "auto")]
    machine = {"cpu": "a CPU", "cores": 2, "system": "Linux"}
    lines = bench_fix.markdown({"engines": rows, "prevention_rate": 0.6, "machine": machine}).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| `search` | 1 | 1 | 1 | 0 | 3 | 1.5 | 10 | - |")
    assert lines[-1] == "Found before boot: 60%. a CPU, 2 cores, Linux."


@pytest.mark.parametrize("names", ["magic", "search,magic", "search,,auto"])
def test_an_engine_that_is_none(names: str) -> None:
    answer = pxos("bench", "fix", "--engine", names)
    assert answer.status == 2 and "no engine is called" in answer.errors and answer.errors.count("\n") == 1
