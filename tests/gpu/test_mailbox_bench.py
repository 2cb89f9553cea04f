"""``pxos bench mailbox``: the rows of the contract, each with its tail; on few round trips."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import ToolError
from toolchain.mailbox import bench, bench_alone, native
from toolchain.mailbox import layout as m
from toolchain.mailbox.gpu import Gpu

pytestmark = pytest.mark.skipif(not native.available(), reason="the bench's client is for x86-64 Linux")

ROWS = [
    "polled round trip", "doorbell round trip", "shader round trip", "shader command, 256 in flight",
    "shader command, 256 in flight, processor time in one process", "small commands per second",
    "polled round trip, guest", "post of one command",
]  # fmt: skip


@pytest.mark.slow
def test_the_rows_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"ROUNDS": 1, "POLLED": 50, "RUNG": 20, "SHADER": 3, "SMALL": 1000, "DEVICE": 512}
    for name, value in sizes.items():
        monkeypatch.setattr(bench, name, value)
    answer = pxos("bench", "mailbox", "--json", "-q")
    assert answer.status == 0, answer.errors
    schemas.validate(answer.data, "bench")
    rows = {row["what"]: row for row in answer.data["rows"]}
    assert list(rows) == ROWS
    assert all(row["ours"] > 0 for row in rows.values())
    for name in ROWS[:3]:
        assert 0 < rows[name]["p50"] <= rows[name]["p99"] <= rows[name]["p999"]
        assert rows[name]["peer_value"] > 0
    assert rows["shader round trip"]["device"]


def test_the_floor_counts_every_round_trip(tmp_path: Path) -> None:
    program = bench._compile(tmp_path)
    for way in ("polled", "doorbell"):
        times = bench._floor(program, way, 30)
        assert len(times) == 30
        assert all(0 < seconds < 60 for seconds in times)
    assert subprocess.run([str(program)]).returncode == 2


def test_batches_in_one_process_are_all_answered_by_the_shader(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Gpu(1 << 16)
    try:
        alone = bench_alone.Alone(device)
        assert alone.batches(3, m.OP_PING << m.OPCODE_SHIFT | m.FLAG_DEVICE) > 0
        values = alone.service.counters.values
        assert (
            device.dispatches == 3
            and values[m.COUNTER_ON_DEVICE] == 3 * m.DEPTH
            and not values[m.COUNTER_ERRORS]
        )
        monkeypatch.setattr(alone.service, "turn", lambda: False)
        with pytest.raises(ToolError, match="whole batch"):
            alone.batches(1, m.OP_PING << m.OPCODE_SHIFT | m.FLAG_DEVICE)
    finally:
        device.close()
