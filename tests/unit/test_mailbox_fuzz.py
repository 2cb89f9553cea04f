"""A hostile client: random and mutated slots, indices, lengths, control words.

Nothing raises, nothing leaves its window, the service goes on answering; machine code and Python leave the same words.
"""

from __future__ import annotations

import struct

import pytest

from tests.unit.mailbox_bench import Bench
from tests.unit.mailbox_hostile import OPCODES, Hostile
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.rings import Rings

KINDS: list[type[Rings]] = [Rings, native.NativeRings] if native.available() else [Rings]
GUARD = b"\xa5" * 64
UNEQUAL = (
    m.OP_TIMESTAMP,
    m.OP_SYSCALL,
    m.OP_STATISTICS,
)  # their answers depend on the moment, or on who counts


@pytest.mark.parametrize("rings", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_a_hostile_client(rings: type[Rings], seed: int) -> None:
    bench = Bench(rings=rings)
    bench.connect()
    hostile = Hostile(seed)
    hostile.attack([bench], 1_500)
    assert hostile.answered > 1_500


@pytest.mark.slow
def test_a_hostile_client_a_million_times() -> None:
    bench = Bench(rings=KINDS[-1])
    native_rounds(bench)
    bench.connect()
    hostile = Hostile(99)
    hostile.attack([bench], 1_000_000)
    assert hostile.answered > 1_000_000


@pytest.mark.skipif(not native.available(), reason="the machine code is for x86-64 Linux")
@pytest.mark.parametrize("seed", range(2))
def test_machine_code_and_python_leave_the_same_words(seed: int) -> None:
    opcodes = [opcode for opcode in OPCODES if opcode not in UNEQUAL]
    benches = [Bench(rings=kind) for kind in KINDS]
    for bench in benches:
        native_rounds(bench)
        bench.connect()
    chance = Hostile(seed, opcodes)
    for _ in range(25):
        chance.attack(benches, 60)
        for bench in benches:  # what is left, in as many turns as it takes
            for _ in range(4):
                bench.turn()
        python, code = (bytes(bench.memory.raw) for bench in benches)
        assert tidy(python) == tidy(code)
        assert benches[0].paper.written == benches[1].paper.written
        assert benches[0].service.halted == benches[1].service.halted
        for bench in benches:
            chance.revive(bench)
    assert chance.answered > 500


def native_rounds(bench: Bench) -> None:
    """One look for each turn, as Python does."""
    if isinstance(bench.service.rings, native.NativeRings):
        bench.service.rings.rounds = (1, 1)


def tidy(memory: bytes) -> dict[int, object]:
    """The memory, completions of each ring in the order of their submissions: PING may be answered sooner by one."""
    found: dict[int, object] = {}
    for queue in range(m.QUEUES):
        at = m.ANSWER_AT + queue * m.ANSWER_STRIDE
        rows = struct.iter_unpack("<QII", memory[at : at + m.ANSWER_STRIDE])
        found[queue] = sorted(
            (number, result, status & m.COMPLETION_ERROR) for result, number, status in rows
        )
    found[-1] = memory[: m.ANSWER_AT] + memory[m.DATA_AT :]
    return found


def test_the_guard_around_a_data_area_stays_whole() -> None:
    """The largest legal ranges are written to their last byte, and not one further."""
    bench = Bench(typed=b"x" * 10_000)
    client = bench.connect()
    end = m.BYTES_MIN - len(GUARD)
    bench.memory.raw[end:] = GUARD
    start = end - m.UART_MAX
    assert client.request(m.OP_UART_READ, struct.pack("<2I", start, m.UART_MAX)).result == m.UART_MAX
    assert bytes(bench.memory.raw[start:end]) == b"x" * m.UART_MAX
    assert bytes(bench.memory.raw[end:]) == GUARD
