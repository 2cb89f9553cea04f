"""A candidate whose code assembles where it is asked and nowhere else is refused as one that does not assemble."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect import judge
from architect.bench import Bench
from architect.diagnosis import Demands
from architect.protocols import Edit, Patch
from architect.workspace import TreeCopy

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
FILE = "mm/page_range.s"

pytestmark = pytest.mark.long


def test_errors_behind_the_questions_are_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (KERNEL / FILE).read_text(encoding="utf-8").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("    mov "))
    edit = Edit(FILE, at + 1, (lines[at],), ("    sub 3, edi",))
    workspace = TreeCopy(KERNEL)
    with Bench(workspace, KERNEL, judge.load(KERNEL, workspace.files), tmp_path) as bench:
        monkeypatch.setattr(bench.images, "judged", lambda *_: (1, None))
        found = bench.verify(Patch((edit,), "none", "none", "to see"), 0, Demands())
    assert not found.passed and not found.booted
    assert [(gate.gate, gate.passed) for gate in found.gates] == [("assembles", False)]
    assert f"{FILE}:{at + 1}" in found.gates[0].message
