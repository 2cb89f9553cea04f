"""The build bench: how figures are taken, and that what is measured is a real build."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from toolchain import bench_build, bench_cold, bench_gnu, bench_kernel, build, elf_read, measure
from toolchain.command import Ui

KEYS = {"what", "ours", "peer", "peer_value", "ratio", "unit", "spread"}


def test_rounds_are_interleaved_and_the_first_is_thrown_away() -> None:
    order: list[str] = []
    values = itertools.count()

    def take(name: str) -> float:
        order.append(name)
        return float(next(values))

    found = measure.interleave({"a": lambda: take("a"), "b": lambda: take("b")}, 3)
    assert order == ["a", "b"] * 4
    assert found == {"a": [2.0, 4.0, 6.0], "b": [3.0, 5.0, 7.0]}


def test_a_row_has_medians_ratio_and_spread() -> None:
    row = measure.row("cold build", [0.1, 0.3, 0.2], "peer", [0.1, 0.05, 0.1], "ms", 1e3, lines=7)
    assert row["ours"] == 200
    assert row["peer_value"] == 100
    assert row["ratio"] == 2
    assert row["spread"] == {"ours": [100, 300], "peer": [50, 100]}
    assert row["lines"] == 7
    assert row.keys() >= KEYS


def test_the_machine_is_told() -> None:
    machine = measure.machine()
    assert machine["cores"] >= 1
    assert machine["cpu"]


def test_a_generated_kernel_is_the_same_every_time_and_what_gnu_makes_of_it(tmp_path: Path) -> None:
    lines = bench_kernel.write(tmp_path / "a", 900)
    assert bench_kernel.write(tmp_path / "b", 900) == lines >= 900
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    gnu = bench_gnu.Gnu(tmp_path / "a", tmp_path / "gnu")
    gnu.build()
    theirs = elf_read.read(tmp_path / "gnu/k.elf")
    ours = elf_read.read(build.build(tmp_path / "a", tmp_path / "out", iso=False).elf)
    for name in (".text", ".rodata", ".data"):
        mine, other = ours.section(name), theirs.section(name)
        assert mine is not None
        assert other is not None
        assert mine.data == other.data


@pytest.mark.slow
def test_the_bench_has_the_rows_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_cold, "ROUNDS", 1)
    monkeypatch.setattr(bench_build, "WARM_ROUNDS", 1)
    monkeypatch.setattr(bench_build, "GENERATED_LINES", 900)
    found = bench_build.run(Ui(quiet=True))
    assert found.keys() == {"machine", "rows"}
    rows = {row["what"]: row for row in found["rows"]}
    assert len(rows) == len(found["rows"])
    assert {"cold build", "one-line rebuild", "re-encode function", "cold build memory"} <= rows.keys()
    for row in found["rows"]:
        assert row.keys() >= KEYS
        assert row["ours"] > 0
        assert row["peer_value"] > 0
    assert rows["cold build memory"]["ours"] < 150
