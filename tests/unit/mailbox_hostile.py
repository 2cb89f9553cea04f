"""A client of the mailbox that keeps to no rule: random and mutated slots, indices, lengths, control words."""

from __future__ import annotations

import random
import struct

from tests.unit.mailbox_bench import SECONDS, Bench
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import checksum

OPCODES = [*m.operations(), 0, 1, 0x7F, 0xFF]
WILD = (0, 1, 2, 3, 4, 63, 64, 255, 256, 257, m.DATA_AT - 1, m.DATA_AT, m.DATA_AT + 4, m.BYTES_MIN - 4, m.BYTES_MIN,
        m.BYTES_MIN + 1, 1 << 31, (1 << 32) - 256, (1 << 32) - 4, (1 << 32) - 1)  # fmt: skip
HALTS = 0.0005  # share of the commands that end the session
ROUND = 100  # actions until a good client looks in


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
