"""A hostile client: random and mutated slots, indices, lengths, control words.

Nothing raises, nothing leaves its window, the service goes on answering; machine code and Python leave the same words.
"""

from __future__ import annotations

import random
import struct

import pytest

from tests.unit.mailbox_bench import SECONDS, Bench
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.client import checksum
from toolchain.mailbox.rings import Rings

KINDS: list[type[Rings]] = [Rings, native.NativeRings] if native.available() else [Rings]
OPCODES = [*m.operations(), 0, 1, 0x7F, 0xFF]
WILD = (0, 1, 2, 3, 4, 63, 64, 255, 256, 257, m.DATA_AT - 1, m.DATA_AT, m.DATA_AT + 4, m.BYTES_MIN - 4, m.BYTES_MIN,
        m.BYTES_MIN + 1, 1 << 31, (1 << 32) - 256, (1 << 32) - 4, (1 << 32) - 1)  # fmt: skip
HALTS = 0.0005  # share of the commands that end the session
ROUND = 100  # actions until a good client looks in
GUARD = b"\xa5" * 64
UNEQUAL = (
    m.OP_TIMESTAMP,
    m.OP_SYSCALL,
    m.OP_STATISTICS,
)  # their answers depend on the moment, or on who counts


class Hostile:
    """A client that keeps to no rule, with a seed."""

    def __init__(self, seed: int, opcodes: list[int] = OPCODES) -> None:
        self.chance = random.Random(seed)
        self.opcodes = [opcode for opcode in opcodes if opcode != m.OP_HALT]
        self.answered = 0

    def opcode(self) -> int:
        return m.OP_HALT if self.chance.random() < HALTS else self.chance.choice(self.opcodes)

    def value(self) -> int:
        return self.chance.choice(WILD) if self.chance.random() < 0.7 else self.chance.getrandbits(32)

    def slot(self, index: int) -> bytes:
        """Mostly well-formed outside, wild inside."""
        chance = self.chance
        flags = chance.choice((0, 0, 0, m.FLAG_BARRIER, m.FLAG_DEVICE, m.FLAG_INLINE, chance.getrandbits(16)))
        header = self.opcode() << m.OPCODE_SHIFT | chance.getrandbits(8) << 16 | flags
        used = chance.choice((0, 1, 2, 3, 4, 6, 12))
        body = [self.value() for _ in range(used)] + [0] * (12 - used)
        words = [header, index & 0xFFFFFFFF, 0, 0, *body]
        if chance.random() < 0.05:
            words[3] = self.value()
        words[2] = checksum(words)
        if chance.random() < 0.1:
            words[chance.randrange(1, 16)] ^= 1 << chance.randrange(32)
        return struct.pack("<16I", *words)

    def act(self, bench: Bench, fetched: list[int]) -> None:
        """One thing that a client can do to the memory, the same to every bench given the same chances."""
        chance, memory = self.chance, bench.memory
        queue = chance.randrange(m.QUEUES)
        block = m.QUEUE_AT + queue * m.QUEUE_STRIDE
        kind = chance.random()
        if kind < 0.8:
            for _ in range(chance.choice((1, 1, 2, 8))):
                index = fetched[queue]
                at = m.RING_AT + queue * m.RING_STRIDE + index % m.DEPTH * m.SLOT_SIZE
                memory.raw[at : at + m.SLOT_SIZE] = self.slot(index)
                fetched[queue] += 1
            if chance.random() < 0.8:  # takes what is there
                memory.quads[(block + m.QUEUE_CONSUMED) >> 3] = bench.service.rings.completed[queue]
        elif kind < 0.85:
            at = m.RING_AT + chance.randrange(m.QUEUES * m.RING_STRIDE)
            memory.raw[at] = chance.getrandbits(8)
        elif kind < 0.9:
            field = chance.choice((m.QUEUE_SUBMITTED, m.QUEUE_CONSUMED))
            memory.quads[(block + field) >> 3] = chance.choice((0, 1, 255, 256, 257, 1 << 63, (1 << 64) - 1))
        elif kind < 0.93:
            memory.words[(block + m.QUEUE_RESET) >> 2] = self.value()
            fetched[queue] = 0
        elif kind < 0.95:
            memory.words[(block + m.QUEUE_WANT_INTERRUPT) >> 2] = self.value()
        elif kind < 0.97:
            at = m.DATA_AT + chance.randrange(0, 1 << 12, 4)
            memory.words[at >> 2] = self.value()
        elif kind < 0.98:
            memory.words[m.CMD >> 2] = self.opcode() << 24 | chance.getrandbits(24)
            memory.words[m.DOORBELL >> 2] = 1
        elif kind < 0.985:
            memory.raw[m.CONTROL_AT + 0x80 + chance.randrange(0x40)] = chance.getrandbits(8)
        elif kind < 0.99:
            at = m.QUEUE_AT + chance.randrange(m.QUEUES * m.QUEUE_STRIDE)
            memory.raw[at] = chance.getrandbits(8)

    def attack(self, benches: list[Bench], actions: int) -> None:
        fetched = [[0] * m.QUEUES for _ in benches]
        for number in range(actions):
            state = self.chance.getstate()
            for bench, at in zip(benches, fetched, strict=True):
                self.chance.setstate(state)
                self.act(bench, at)
                if number % 3 == 0:
                    bench.turn()
                if number % 101 == 0:
                    bench.service.sleep()
                if number % ROUND == ROUND - 1:
                    self.revive(bench)
            if number % ROUND == ROUND - 1:
                fetched = [[0] * m.QUEUES for _ in benches]

    def revive(self, bench: Bench) -> None:
        """A good client comes, is served on every queue, and leaves the session to the hostile one."""
        self.answered += bench.service.counters.values[m.COUNTER_COMMANDS]
        bench.service.counters.values[m.COUNTER_COMMANDS] = 0
        if bench.service.halted:
            bench.serve()
        bench.memory.words[m.DOORBELL >> 2] = 0
        bench.client.queues.clear()
        bench.connect()
        for queue in (0, m.QUEUES - 1):
            done = bench.client.request(m.OP_PING, struct.pack("<Q", 5), queue=queue, seconds=SECONDS)
            assert (done.result, done.status) == (5, 0)


@pytest.mark.parametrize("rings", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_a_hostile_client(rings: type[Rings], seed: int) -> None:
    bench = Bench(rings=rings)
    bench.connect()
    hostile = Hostile(seed)
    hostile.attack([bench], 3_000)
    assert hostile.answered > 3_000


@pytest.mark.slow
def test_a_hostile_client_a_million_times() -> None:
    bench = Bench(rings=KINDS[-1])
    native_rounds(bench)
    bench.connect()
    hostile = Hostile(99)
    hostile.attack([bench], 1_000_000)
    assert hostile.answered > 1_000_000


@pytest.mark.skipif(not native.available(), reason="the machine code is for x86-64 Linux")
@pytest.mark.parametrize("seed", range(3))
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
        bench.service.rings._set("ROUNDS", 1)


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
