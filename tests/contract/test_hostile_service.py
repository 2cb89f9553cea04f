"""A service that lies: random and mutated completions, control words, indices, against the kernel's client.

Each command that the kernel posts has one outcome, in the state that a model in Python says; every routine comes back;
nothing is written but the client's own words.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

import pytest

from architect.contracts import session as contract
from architect.contracts.model import Broken
from tests.contract.planting import Plant, build, kernel, plant
from toolchain.emulator import Emulator
from toolchain.harness import Harness
from toolchain.mailbox import layout as m

pytestmark = pytest.mark.long

FREE, OPEN, DONE, LEFT = range(4)
QUEUE = 3
MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
SHARED, BYTES = contract._SHARED, contract._BYTES
BLOCK = m.QUEUE_AT + QUEUE * m.QUEUE_STRIDE
RING = m.RING_AT + QUEUE * m.RING_STRIDE
ANSWERS = m.ANSWER_AT + QUEUE * m.ANSWER_STRIDE
OUTCOMES = contract._OUTCOMES + 0x6000
HEADER = m.OP_PING << m.OPCODE_SHIFT
PATIENCE = 40 * contract._STEP
LIMIT = 3_000_000
WHOLE = 4096  # turns between two comparisons of the whole shared memory
# What the client writes: (from, to) of the shared memory; all else stays as the service has left it.
OWN = [
    (m.CONTROL_AT + m.CONTROL_CLIENT_FEATURES, m.CONTROL_AT + m.CONTROL_CLIENT_HEARTBEAT),
    *((m.QUEUE_AT + n * m.QUEUE_STRIDE, m.QUEUE_AT + n * m.QUEUE_STRIDE + 0x18) for n in range(m.QUEUES)),
    (RING, RING + m.RING_STRIDE),
]
WORDS = [
    m.CONTROL_AT + getattr(m, f"CONTROL_{name}")
    for name in (
        "MAGIC", "VERSION", "BYTES", "FEATURES", "QUEUES", "DEPTH", "DATA_AT", "SERVICE_STATUS", "EPOCH", "CAUSE",
        "NEED_WAKEUP", "HEARTBEAT",
    )
]  # fmt: skip


@dataclass
class Model:
    """What the client of one queue knows."""

    submitted: int = 0
    consumed: int = 0
    strays: int = 0
    state: list[int] = field(default_factory=lambda: [FREE] * m.DEPTH)
    outcome: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * m.DEPTH)
    outcomes: int = 0

    def take(self, ring: bytes) -> bool:
        """One look at the completion ring; whether one stood."""
        at = self.consumed % m.DEPTH * m.COMPLETION_SIZE
        result, sequence, status = struct.unpack_from("<QII", ring, at)
        if not self.submitted or status & 1 != 1 - (self.consumed >> m.DEPTH_SHIFT) % 2:
            return False
        self.consumed += 1
        place = sequence % m.DEPTH
        if (self.submitted - 1 - sequence) & MASK32 >= m.DEPTH or self.state[place] not in (OPEN, LEFT):
            self.strays += 1
        elif self.state[place] == LEFT:
            self.state[place] = FREE
        else:
            self.state[place] = DONE
            self.outcome[place] = result, status & m.COMPLETION_ERROR
        return True

    def abort(self, ring: bytes) -> int:
        """Take what stands, give the rest up; how many were."""
        for _ in range(m.DEPTH):
            if not self.take(ring):
                break
        given_up = 0
        for place, state in enumerate(self.state):
            if state in (OPEN, LEFT):
                given_up += 1
                self.state[place] = DONE if state == OPEN else FREE
                if state == OPEN:
                    self.outcome[place] = 0, m.ERROR_ABORTED
        return given_up


class Hostile:
    """A client in the emulator, its model, and a service that does whatever comes to its mind."""

    def __init__(self, machine: Harness, seed: int) -> None:
        self.client = contract._Client(machine)
        self.machine = machine
        self.chance = random.Random(seed)
        self.model = Model()
        self.row = self.client.queues + QUEUE * contract._ROW
        machine.write_u64(self.row + 0x28, OUTCOMES)  # a table that no other queue has
        self.service = contract._Service(self.client, lambda one: self.control())
        self.service.page()
        self.rows = machine.read(self.client.queues, m.QUEUES * contract._ROW)
        self.mirror = bytearray(machine.read(SHARED, BYTES))
        self.posted = self.negotiated = 0

    def put(self, at: int, data: bytes) -> None:
        """The service writes."""
        self.machine.write(SHARED + at, data)
        self.mirror[at : at + len(data)] = data

    def control(self) -> None:
        """Some of the control page: as it should be, a little wrong, or anything."""
        chance = self.chance
        if chance.random() < 0.4:
            self.service.sound()
            at = m.CONTROL_AT + m.CONTROL_SERVICE_STATUS
            self.mirror[at : at + 4] = self.machine.read(SHARED + at, 4)
        else:
            value = chance.choice((0, 1, chance.getrandbits(4), chance.getrandbits(32)))
            self.put(chance.choice(WORDS), struct.pack("<I", value))

    def answer(self) -> None:
        """A completion at the client's place or near it."""
        chance, model = self.chance, self.model
        place = model.consumed + chance.choice((0, 0, 0, 1, chance.randrange(m.DEPTH)))
        likely = (
            [n for n in range(m.DEPTH) if model.state[n] in (OPEN, LEFT)] if chance.random() < 0.8 else []
        )
        if likely:
            slot = chance.choice(likely)
            sequence = model.submitted - 1 - (model.submitted - 1 - slot) % m.DEPTH
        else:
            sequence = chance.choice((model.submitted, model.submitted - 300, chance.getrandbits(32)))
        phase = (1 - (place >> m.DEPTH_SHIFT) % 2) ^ (chance.random() < 0.05)
        status = chance.choice((0, m.ERROR_BAD_FIELD, chance.getrandbits(32))) & ~1 | phase
        data = struct.pack("<QII", chance.getrandbits(64), sequence & MASK32, status & MASK32)
        self.put(ANSWERS + place % m.DEPTH * m.COMPLETION_SIZE, data)

    def lie(self) -> None:
        """The service's move."""
        kind = self.chance.random()
        if kind < 0.8:
            self.answer()
        elif kind < 0.9:
            self.control()
        else:  # its words of the queue, or a whole ring of noise
            at, size = self.chance.choice(((BLOCK + m.QUEUE_FETCHED, 28), (ANSWERS, m.ANSWER_STRIDE)))
            self.put(at, self.chance.randbytes(size))

    def ring(self) -> bytes:
        """The completion ring as it stands."""
        return bytes(self.mirror[ANSWERS : ANSWERS + m.ANSWER_STRIDE])

    def act(self) -> None:
        """The kernel's move, and what the model says of it."""
        kind = self.chance.random()
        if kind < 0.45:
            self.post()
        elif kind < 0.85:
            none = self.client.call("queue_take", rdi=self.row).flag("cf")
            assert none is not self.model.take(self.ring())
        elif kind < 0.96:
            self.fetch()
        elif kind < 0.985:
            self.leave()
        elif kind < 0.99:
            given_up = self.client.call("queue_abort", rdi=self.row, limit=LIMIT).registers["rax"]
            assert given_up == self.model.abort(self.ring())
        elif kind < 0.998:
            self.client.call("session_lost")
        else:
            self.negotiate()

    def post(self) -> None:
        place = self.model.submitted % m.DEPTH
        result = self.client.call("queue_post", rdi=self.row, rsi=contract._BODY, rdx=HEADER)
        assert result.flag("cf") == (self.model.state[place] != FREE)
        if not result.flag("cf"):
            assert result.registers["rax"] == self.model.submitted
            self.model.state[place] = OPEN
            self.model.submitted += 1
            self.posted += 1

    def fetch(self) -> None:
        done = [n for n in range(m.DEPTH) if self.model.state[n] == DONE]
        place = (
            self.chance.choice(done)
            if done and self.chance.random() < 0.9
            else self.chance.randrange(m.DEPTH)
        )
        result = self.client.call("queue_fetch", rdi=self.row, rsi=place)
        assert result.flag("cf") == (self.model.state[place] != DONE)
        if not result.flag("cf"):
            assert (result.registers["rax"], result.value("edx")) == self.model.outcome[place]
            self.model.state[place] = FREE
            self.model.outcomes += 1

    def leave(self) -> None:
        open_ = [n for n in range(m.DEPTH) if self.model.state[n] == OPEN]
        if open_:
            place = self.chance.choice(open_)
            self.client.call("queue_leave", rdi=self.row, rsi=place)
            self.model.state[place] = LEFT
            self.model.outcomes += 1  # nobody wants it

    def negotiate(self) -> None:
        """With a control page that changes at each look; in bounded time there is a session or none."""
        if self.chance.random() < 0.7:
            self.service.page(EPOCH=self.chance.getrandbits(32))
            self.mirror[m.CONTROL_AT : m.CONTROL_AT + 0x100] = self.machine.read(SHARED + m.CONTROL_AT, 0x100)
        before = self.client.number("session_aborted", 8)
        result = self.client.call("session_negotiate", limit=LIMIT, rdi=PATIENCE)
        assert self.client.number("session_state") == (1 if result.flag("cf") else 2)
        self.negotiated += not result.flag("cf")
        if self.machine.read_u64(self.row) == 0 and self.model.submitted:  # it has given up what was open
            given_up = self.model.abort(self.ring())
            assert self.client.number("session_aborted", 8) - before == given_up
            self.model.submitted = self.model.consumed = 0

    def check(self) -> None:
        """The rows of the queue, and the states of all its places."""
        model = self.model
        assert struct.unpack("<QQ", self.machine.read(self.row, 16)) == (model.submitted, model.consumed)
        assert self.client.number("session_strays", 8) == model.strays
        table = self.machine.read(OUTCOMES, m.DEPTH * 16)
        assert list(struct.unpack(f"<{4 * m.DEPTH}I", table))[3::4] == model.state

    def whole(self) -> None:
        """Nothing is written but what is the client's own."""
        shared = bytearray(self.machine.read(SHARED, BYTES))
        for first, end in OWN:
            shared[first:end] = self.mirror[first:end]
        assert shared == self.mirror
        rows = bytearray(self.machine.read(self.client.queues, m.QUEUES * contract._ROW))
        for queue in range(m.QUEUES):
            at = queue * contract._ROW
            rows[at : at + 16] = self.rows[at : at + 16]
        assert rows == self.rows


def attack(machine: Harness, seed: int, turns: int) -> Hostile:
    """So many moves of both sides."""
    hostile = Hostile(machine, seed)
    for turn in range(turns):
        hostile.lie()
        hostile.act()
        hostile.check()
        if turn % WHOLE == 0 or turn == turns - 1:
            hostile.whole()
    open_ = sum(state in (OPEN, DONE) for state in hostile.model.state)
    assert hostile.posted == hostile.model.outcomes + open_
    return hostile


@pytest.mark.parametrize("seed", range(2))
def test_a_lying_service(seed: int) -> None:
    hostile = attack(Harness(kernel()), seed, 4_000)
    assert hostile.posted > 300 and hostile.model.strays > 100
    assert hostile.model.outcomes > 200


@pytest.mark.slow
def test_a_lying_service_a_million_times() -> None:
    hostile = attack(Harness(kernel()), 99, 1_000_000)
    assert hostile.negotiated > 100


@pytest.mark.parametrize(
    "bug",
    [
        plant("gpu/queue.s", "queue_take", ("cmp eax, MAILBOX_DEPTH jae .Ltake_stray", "")),
        plant(
            "gpu/queue.s",
            "queue_take",
            ("cmp dword ptr [r8 + OUTCOME_STATE], OUTCOME_OPEN jne .Ltake_stray", ""),
        ),
        plant("gpu/queue.s", "queue_take", ("movzx ecx, al", "mov ecx, eax")),
        plant("gpu/queue.s", "queue_take", ("je .Ltake_left", "")),
        plant("gpu/queue.s", "queue_leave", ("mov eax, OUTCOME_LEFT", "mov eax, OUTCOME_FREE")),
    ],
)
def test_a_client_that_believes_it_is_noticed(bug: Plant) -> None:
    with pytest.raises((AssertionError, Broken)):
        attack(Harness(build(bug)), 0, 4_000)


def test_a_service_that_answers_without_end_is_left_in_bounded_time() -> None:
    """It writes completions as quickly as they are taken."""
    machine = Harness(kernel())
    client = contract._Client(machine)
    taken = 0

    def take(emulator: Emulator) -> None:
        nonlocal taken
        taken += 1
        emulator.set("rflags", emulator.get("rflags") & ~1)  # one stood

    machine.substitute("queue_take", take)
    row = client.queues + QUEUE * contract._ROW
    look = client.call("request_look", limit=100_000, r13=5, r15=row)
    assert look.flag("cf"), "an outcome that nobody gave"
    assert taken == m.DEPTH
    assert machine.read_u64(row + 0x30) & MASK32 == machine.read_u64(row + 0x30) >> 32, "the lock is held"
