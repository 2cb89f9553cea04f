"""The Pixel VM as the mailbox's VM_RUN: programs and states from shared memory."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pixelvm import mailbox, program
from pixelvm.isa import Stop
from pixelvm.load import load
from tests.unit.mailbox_bench import Bench
from toolchain.errors import InputError
from toolchain.mailbox import layout as m

EXAMPLES = Path(mailbox.__file__).parent / "examples"
PROGRAM, STATE, ROOM = m.DATA_AT, m.DATA_AT + 0x20000, 0x40000


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def test_a_program_runs_in_pieces_and_its_console_is_the_uart() -> None:
    data = program.to_bytes(load(str(EXAMPLES / "hello.pxa")).program)
    bench = Bench(vm=mailbox.run)
    client = bench.connect()
    bench.memory.data(PROGRAM, len(data))[:] = data
    resume, stops = 0, []
    for _ in range(1000):
        done = client.request(m.OP_VM_RUN, words(PROGRAM, len(data), STATE, ROOM, 40, 0, resume))
        assert done.name == "OK"
        stops.append(Stop(done.result & 0xFFFFFFFF))
        resume = 1
        if stops[-1] is not Stop.FUEL:
            break
    assert stops[-1] is Stop.HALTED
    assert len(stops) > 2
    stop, _, output = mailbox.run(data, None, 1_000_000, 0)
    assert stop == Stop.HALTED
    assert bench.paper.written == output != b""


@pytest.mark.parametrize("cut", [0, 3, 50])
def test_no_program_is_an_error(cut: int) -> None:
    data = program.to_bytes(load(str(EXAMPLES / "fib.pxa")).program)[:cut]
    with pytest.raises(InputError):
        mailbox.run(data, None, 10, 0)


def test_a_state_that_is_none_is_an_error() -> None:
    data = program.to_bytes(load(str(EXAMPLES / "fib.pxa")).program)
    good = mailbox.run(data, None, 10, 0)[1]
    assert mailbox.run(data, good + bytes(100), 10, 0)[0] == Stop.FUEL
    for bad in (b"", bytes(500), good[:60], good[:-1], good[:40] + b"\xff\xff\xff\x7f" * 30 + good[160:]):
        with pytest.raises(InputError):
            mailbox.run(data, bad, 10, 0)
