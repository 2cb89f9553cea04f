"""Candidates that are booted for the measure, beside an empty kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect import bench_boots, corpus

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]


def bug(name: str) -> corpus.Bug:
    return next(bug for bug in corpus.load(ROOT / "tests/bugs") if bug.id == name)


def test_candidates_are_booted_though_contracts_would_refuse_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_boots, "CANDIDATES", 12)
    bugs = [bug("multiboot2-checksum"), bug("shader-erf-sign"), bug("seed-bar0-unmapped")]
    found = bench_boots.rates(bugs, ROOT / "kernel", tmp_path)  # the first one boots, the second is no kernel
    assert found["booted"] and found["empty"]
    assert sum(found["first"]) < sum(found["booted"]), "a candidate is built before it is booted"
    assert bench_boots.rates(bugs[1:2], ROOT / "kernel", tmp_path) == {}
