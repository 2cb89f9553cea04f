"""What the commands that boot print with ``--json`` fits their schemas; ``boot`` and ``fix`` have their own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ("--kernel", str(ROOT / "kernel"))
CORPUS = (*KERNEL, "--bugs", str(ROOT / "tests/bugs"))
slow = pytest.mark.slow


@pytest.mark.parametrize(
    "row",
    [
        ("boot", *KERNEL, "--out", "out", "--cmdline", "test"),
        ("bugs", "check", "idt-never-loaded", *CORPUS),
        ("bench", "fix", "large-page-unmapped", "--budget", "300", *CORPUS),
        pytest.param(("bench", "build", *KERNEL), marks=slow),
        pytest.param(("bench", "boot", *KERNEL), marks=slow),
        pytest.param(("bench", "shaders"), marks=slow),
        pytest.param(("demo", "--out", "out", *CORPUS), marks=slow),
    ],
    ids=lambda row: "-".join(row[:2]),
)
def test_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    answer = pxos(*row, "--json", "-q")
    assert answer.status in (0, 1), answer.errors  # the form is judged here, not the answer
    schemas.validate(answer.data, row[0])
    assert not (tmp_path / "data").exists()
