"""``pxos bench mailbox``: the rows of the contract, each with its tail; on few round trips."""

from __future__ import annotations

import struct
import subprocess
from array import array
from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import ToolError
from toolchain.mailbox import bench, bench_alone, native
from toolchain.mailbox import layout as m
from toolchain.mailbox.bench_session import Command, session
from toolchain.mailbox.gpu import Gpu
from toolchain.mailbox.memory import MASK32, Memory
from toolchain.mailbox.service import SPIN_SECONDS

pytestmark = pytest.mark.skipif(not native.available(), reason="the bench's client is for x86-64 Linux")

ROWS = [
    "polled round trip", "doorbell round trip", "shader round trip", "shader command, 256 in flight",
    "shader command that writes a register, 256 in flight",
    "shader command, 256 in flight, processor time of client and service",
    "shader command, 256 in flight, processor time in one process", "small commands per second",
    "polled round trip, guest", "post of one command",
]  # fmt: skip


@pytest.mark.slow
def test_the_rows_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"ROUNDS": 1, "POLLED": 50, "RUNG": 20, "SHADER": 3, "SMALL": 1000, "POSTS": 50, "DEVICE": 512}
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
        assert alone.batches(3, *bench._SHADER_PING) > 0
        values = alone.service.counters.values
        assert (
            device.dispatches == 3
            and values[m.COUNTER_ON_DEVICE] == 3 * m.DEPTH
            and not values[m.COUNTER_ERRORS]
        )
        monkeypatch.setattr(alone.service, "turn", lambda: False)
        with pytest.raises(ToolError, match="whole batch"):
            alone.batches(1, *bench._SHADER_PING)
    finally:
        device.close()


@pytest.mark.parametrize("command", [bench._PING, bench._SHADER_PING, bench._WRITE])
def test_what_is_kept_in_flight_is_answered_where_it_should_be(tmp_path: Path, command: Command) -> None:
    with session(tmp_path, "s", "model", SPIN_SECONDS) as made:
        assert made.burst(1000, command, bench._BRIEF) > 0
        room, values = m.DATA_AT, 8 * m.COUNTER_COUNT  # asked for in order, behind what has been counted
        made.client.request(m.OP_STATISTICS, struct.pack("<II", room, values))
        counters = made.memory.quads[room >> 3 : (room + values) >> 3].tolist()
        assert (counters[m.COUNTER_COMMANDS], counters[m.COUNTER_ERRORS]) == (1000, 0)
        assert counters[m.COUNTER_ON_DEVICE] == (0 if command == bench._PING else 1000)
        assert made.spent() > 0
        wrong = command._replace(
            header=m.OP_MMIO_READ << m.OPCODE_SHIFT, mask=MASK32
        )  # there is no window 1000
        with pytest.raises(ToolError, match="wrong answer"):
            made.burst(4, wrong, bench._BRIEF)


@pytest.mark.parametrize(
    ("sequence", "result", "status", "right"),
    [
        (0, 0, 1, True),
        (6, 6, 1, True),  # they come in any order
        (6, 5, 1, False),
        (6, 6 | 1 << 32, 1, False),
        (0, 0, 1 | m.ERROR_NOT_GRANTED, False),
    ],
)
def test_the_client_in_machine_code_looks_at_each_answer(
    sequence: int, result: int, status: int, right: bool
) -> None:
    memory = Memory(bytearray(m.BYTES_MIN))
    memory.quads[(m.ANSWER_AT + m.COMPLETION_RESULT) >> 3] = result
    memory.words[(m.ANSWER_AT + m.COMPLETION_SEQUENCE) >> 2] = sequence
    memory.words[(m.ANSWER_AT + m.COMPLETION_STATUS) >> 2] = status
    state = array("Q", (0, 0))
    at = state.buffer_info()[0]
    done = native.code().burst(native.address(memory), at, 1, bench._PING.header, 1, 1, MASK32)
    assert done == (1 if right else native.WRONG)
    assert list(state) == [1, int(right)]
