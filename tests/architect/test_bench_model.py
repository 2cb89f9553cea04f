"""``pxos bench model``: its rows by the schema, and that a program which asks nothing is an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest

import cli
from architect.model import bench_model
from toolchain.command import Ui
from toolchain.errors import ToolError

ROOT = Path(cli.__file__).parent.parent
SCHEMA = json.loads((ROOT / "scripts/toolchain/schemas/bench.json").read_text())


@pytest.mark.slow
def test_the_rows_are_those_that_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_model, "ROUNDS", 2)
    monkeypatch.setattr(bench_model, "START_ROUNDS", 2)
    data = bench_model.run(Ui(quiet=True), ROOT / "kernel")
    jsonschema.validate(data, SCHEMA)
    rows = {row["what"]: row for row in data["rows"]}
    assert {"start to first request", "peak memory", "start: pxos --help"} <= set(rows)
    assert rows["peak memory"]["ours"] < bench_model.MEMORY_MAX_MB
    assert rows["start to first request"]["peer_value"] > 0
    asks = rows["fix: peak memory of who asks"]
    assert 20 < asks["ours"] < bench_model.MEMORY_MAX_MB and asks["diagnosis"] > 20


def test_a_program_that_asks_nothing_is_an_error() -> None:
    server = bench_model._Server()
    try:
        with pytest.raises(ToolError, match="it asked nothing"):
            bench_model._ran([sys.executable, "-c", "pass"], {}, server)
        with pytest.raises(ToolError, match="boom"):
            bench_model._ran([sys.executable, "-c", "raise SystemExit('boom')"], {}, server)
    finally:
        server.close()
