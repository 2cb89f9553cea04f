"""The mailbox client: what is posted and taken, and the session with a service that comes, dies, refuses or lies.

shaders/MAILBOX.md. The numbers are those that the service is built from (``toolchain.mailbox.layout``); the service of
the models acts whenever the kernel looks at its clock.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from architect.contracts import contract
from architect.contracts.model import MALFORMED, TIMEOUT, UNSUPPORTED, Session
from toolchain.harness import BUFFER_BASE, Harness
from toolchain.mailbox import layout as m

_SHARED = 0xFFFF_FE00_8000_0000
_BYTES = m.DATA_AT + 0x1000
_REGISTERS = BUFFER_BASE + 0x9000
_OUTCOMES = BUFFER_BASE
_BODY = BUFFER_BASE + 0xA000
_ROW = 0x40  # of session_queues: submitted, consumed, block, ring, answers, outcomes, lock
_CONTROL = _SHARED + m.CONTROL_AT
_FREE, _OPEN, _DONE = range(3)
_FULL = 7
_FEATURES = m.FEATURE_VERSION_1 | m.FEATURE_INTERRUPT | m.FEATURE_EXECUTE | m.FEATURE_VM | m.FEATURE_GPU
_STEP = 1_000_000  # nanoseconds that pass between two looks at the clock
_EXECUTED = 3_000_000


class _Client(Session):
    """A machine whose shared memory and rows are laid out; the clock stands in the model."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        harness.memory(_SHARED, _BYTES)
        self.queues = harness.address("session_queues")
        for name, value in (
            ("session_base", _SHARED), ("session_bytes", _BYTES), ("session_control", _CONTROL),
            ("session_registers", _REGISTERS),
        ):  # fmt: skip
            harness.write_u64(harness.address(name), value)
        for queue in range(m.QUEUES):
            places = (
                _SHARED + m.QUEUE_AT + queue * m.QUEUE_STRIDE, _SHARED + m.RING_AT + queue * m.RING_STRIDE,
                _SHARED + m.ANSWER_AT + queue * m.ANSWER_STRIDE, _OUTCOMES if queue in (0, 3) else _OUTCOMES + 0x4000,
            )  # fmt: skip
            harness.write(self.queues + queue * _ROW, struct.pack("<6QQQ", 0, 0, *places, 0, 0))

    def word(self, at: int) -> int:
        """32 bits."""
        value: int = struct.unpack("<I", self.harness.read(at, 4))[0]
        return value

    def put(self, at: int, value: int) -> None:
        """32 bits."""
        self.harness.write(at, struct.pack("<I", value))

    def number(self, name: str, size: int = 4) -> int:
        """A number that the kernel keeps."""
        return int.from_bytes(self.harness.read(self.harness.address(name), size), "little")


@contract(
    "queue_post", "queue_take", "queue_fetch", "queue_abort", "queue_clear", "session_ring",
    needs=("queue_post", "queue_take", "queue_fetch", "queue_abort", "session_queues", "session_registers"),
)  # fmt: skip
def mailbox_queue(harness: Harness) -> None:
    """A ring passes its end twice: slots as they must be, answers in any order, answers that nobody asked for."""
    client, noise = _Client(harness), random.Random(9)
    row = client.queues + 3 * _ROW
    block, ring = _SHARED + m.QUEUE_AT + 3 * m.QUEUE_STRIDE, _SHARED + m.RING_AT + 3 * m.RING_STRIDE
    answers = _SHARED + m.ANSWER_AT + 3 * m.ANSWER_STRIDE
    submitted = consumed = completed = strays = 0
    open_: list[int] = []
    kept: dict[int, tuple[int, int]] = {}
    for place in range(m.DEPTH):  # whatever lay there
        harness.write(ring + place * m.SLOT_SIZE + 4, b"\x5c" * (m.SLOT_SIZE - 4))
    for turn in range(m.DEPTH + 40):
        if turn == 5:
            for offset in (0, 8):  # go on shortly before both rings begin anew, many passes later
                harness.write_u64(row + offset, 0x1_0000_00F8)
            submitted = consumed = completed = 0x1_0000_00F8
            for place in range(m.DEPTH):  # what the passes before have left
                client.put(answers + place * m.COMPLETION_SIZE + m.COMPLETION_STATUS, int(place < 0xF8))
        body = noise.randbytes(48)
        harness.write(_BODY, body)
        sleeps = noise.random() < 0.3
        client.put(_CONTROL + m.CONTROL_NEED_WAKEUP, int(sleeps))
        client.put(_REGISTERS + m.IVSHMEM_DOORBELL, 0xDEAD)
        header = m.OP_PING << m.OPCODE_SHIFT | noise.getrandbits(24)
        result = client.call("queue_post", rdi=row, rsi=_BODY, rdx=header)
        client.equal(result.flag("cf"), False, "queue_post", "refuses a command", index=submitted)
        client.equal(result.registers["rax"], submitted, "queue_post", "gives another index")
        slot = harness.read(ring + submitted % m.DEPTH * m.SLOT_SIZE, m.SLOT_SIZE)
        wanted = struct.pack("<IIII", header, submitted & 0xFFFFFFFF, 0, 0) + body
        client.equal(slot, wanted, "queue_post", "publishes another slot", index=submitted)
        told = harness.read_u64(block + m.QUEUE_SUBMITTED)
        client.equal(told, submitted + 1, "queue_post", "tells another number of submissions")
        rung = client.word(_REGISTERS + m.IVSHMEM_DOORBELL)
        client.equal(
            rung, 3 if sleeps else 0xDEAD, "queue_post", "rings when it should not, or not when it should"
        )
        open_.append(submitted)
        submitted += 1
        none = client.call("queue_take", rdi=row).flag("cf")
        client.expect(none, "queue_take", "takes a completion that does not stand", index=consumed)
        stray = noise.random() < 0.1
        index = open_[noise.randrange(len(open_))]
        sequence = noise.choice((submitted, submitted - m.DEPTH - 1, index ^ 0x80000000)) if stray else index
        status = noise.choice((0, m.ERROR_BAD_FIELD)) | 0xABCD0000
        value = noise.getrandbits(64)
        at = answers + completed % m.DEPTH * m.COMPLETION_SIZE
        phase = 1 - (completed >> m.DEPTH_SHIFT) % 2
        harness.write(at, struct.pack("<QII", value, sequence & 0xFFFFFFFF, status | phase))
        completed += 1
        none = client.call("queue_take", rdi=row).flag("cf")
        client.equal(none, False, "queue_take", "leaves a completion that stands", index=consumed)
        consumed += 1
        told = harness.read_u64(block + m.QUEUE_CONSUMED)
        client.equal(told, consumed, "queue_take", "tells another number of completions")
        if stray:
            strays += 1
            if (
                turn % 2
            ):  # the command is answered after all, so that its place is free when it comes round again
                harness.write(answers + completed % m.DEPTH * m.COMPLETION_SIZE, struct.pack(
                    "<QII", value, index & 0xFFFFFFFF, status & ~1 | 1 - (completed >> m.DEPTH_SHIFT) % 2))  # fmt: skip
                completed, consumed = completed + 1, consumed + 1
                client.call("queue_take", rdi=row)
            else:
                fetched = client.call("queue_fetch", rdi=row, rsi=index)
                client.expect(
                    fetched.flag("cf"), "queue_take", "takes a stray completion for an answer", index=index
                )
                harness.write(answers + completed % m.DEPTH * m.COMPLETION_SIZE, struct.pack(
                    "<QII", value, index & 0xFFFFFFFF, status & ~1 | 1 - (completed >> m.DEPTH_SHIFT) % 2))  # fmt: skip
                completed, consumed = completed + 1, consumed + 1
                client.call("queue_take", rdi=row)
        open_.remove(index)
        kept[index] = (value, status & m.COMPLETION_ERROR)
        _fetched(client, row, index, kept.pop(index))
    client.equal(client.number("session_strays", 8), strays, "queue_take", "counts other strays")
    _fills(client, row)


def _fetched(client: _Client, row: int, index: int, wanted: tuple[int, int]) -> None:
    """The outcome of a command, and no second one."""
    result = client.call("queue_fetch", rdi=row, rsi=index)
    client.equal(result.flag("cf"), False, "queue_fetch", "does not find an outcome", index=index)
    client.equal(result.registers["rax"], wanted[0], "queue_fetch", "gives another result", index=index)
    client.equal(result.value("edx"), wanted[1], "queue_fetch", "gives another status", index=index)
    again = client.call("queue_fetch", rdi=row, rsi=index).flag("cf")
    client.expect(again, "queue_fetch", "gives an outcome twice", index=index)


def _fills(client: _Client, row: int) -> None:
    """A ring that is full refuses; what is given up is ABORTED, each once."""
    first = client.harness.read_u64(row)
    for _ in range(m.DEPTH):
        client.call("queue_post", rdi=row, rsi=_BODY, rdx=1)
    result = client.call("queue_post", rdi=row, rsi=_BODY, rdx=1)
    client.refused(result, _FULL, "queue_post", "a command for which there is no room")
    given_up = client.call("queue_abort", rdi=row, limit=_EXECUTED).registers["rax"]
    client.equal(given_up, m.DEPTH, "queue_abort", "gives up other commands")
    for index in range(first, first + m.DEPTH):
        _fetched(client, row, index, (0, m.ERROR_ABORTED))
    client.call("queue_clear", rdi=row)
    client.equal(client.harness.read(row, 16), bytes(16), "queue_clear", "does not begin anew")
    strays = client.number("session_strays", 8)
    client.put(_SHARED + m.ANSWER_AT + 3 * m.ANSWER_STRIDE + m.COMPLETION_STATUS, 1)
    client.call("queue_abort", rdi=row, limit=_EXECUTED)
    after = client.number("session_strays", 8)
    client.equal(after, strays, "queue_abort", "takes what an older epoch has left for an answer")


class _Service:
    """The other side of the control page: acts at each look at the clock."""

    def __init__(self, client: _Client, act: Callable[[_Service], None]) -> None:
        self.client, self.act, self.time, self.looks = client, act, 10**9, 0
        client.harness.substitute("clock_ns", self._clock)

    def _clock(self, machine: Harness) -> None:
        self.time += _STEP
        self.looks += 1
        self.act(self)
        machine.set("rax", self.time)

    def page(self, **other: int) -> None:
        """The control page of a sound service; some fields otherwise."""
        values = {
            "MAGIC": m.MAGIC, "VERSION": m.VERSION, "QUEUES": m.QUEUES, "DEPTH": m.DEPTH, "DATA_AT": m.DATA_AT,
            "EPOCH": 5, "SERVICE_STATUS": m.SERVICE_READY, "CAUSE": 0, "NEED_WAKEUP": 0, "CLIENT_STATUS": 0,
            "CLIENT_EPOCH": 0,
        } | other  # fmt: skip
        self.client.harness.write(_CONTROL, bytes(0x100))
        for name, value in values.items():
            self.client.put(_CONTROL + getattr(m, f"CONTROL_{name}"), value & 0xFFFFFFFF)
        for name, value in (("BYTES", _BYTES), ("FEATURES", 0x3F)):
            self.client.harness.write_u64(_CONTROL + getattr(m, f"CONTROL_{name}"), other.get(name, value))

    def get(self, name: str) -> int:
        """A field of the control page."""
        return self.client.word(_CONTROL + int(getattr(m, f"CONTROL_{name}")))

    def set(self, name: str, value: int) -> None:
        """As ``get``."""
        self.client.put(_CONTROL + int(getattr(m, f"CONTROL_{name}")), value)

    def sound(self) -> None:
        """One step as the specification has it."""
        status = self.get("CLIENT_STATUS")
        if status == 0:
            self.set("SERVICE_STATUS", m.SERVICE_READY)
        elif status & m.CLIENT_FEATURES_OK and self.get("CLIENT_EPOCH") == self.get("EPOCH"):
            self.set("SERVICE_STATUS", m.SERVICE_READY | m.SERVICE_FEATURES_OK)


@contract(
    "session_negotiate", "session_wait", "session_check_page", "session_offer", "session_ask", "session_leave",
    needs=("session_negotiate", "session_queues", "session_control", "clock_ns", "session_state"),
)  # fmt: skip
def mailbox_session(harness: Harness) -> None:
    """A sound service, one that comes late or again, refuses, is of another make, or never answers."""
    client = _Client(harness)
    service = _Service(client, _Service.sound)

    def negotiate(what: str, error: int, patience: int = 400) -> None:
        result = client.call("session_negotiate", limit=_EXECUTED, rdi=patience * _STEP)
        client.refused(result, error, "session_negotiate", what)
        state = client.number("session_state")
        client.equal(state, 1 if error else 2, "session_negotiate", f"is in another state with {what}")

    service.page()
    negotiate("a sound service", 0)
    client.equal(client.number("session_epoch"), 5, "session_offer", "keeps another epoch")
    taken = harness.read_u64(_CONTROL + m.CONTROL_CLIENT_FEATURES)
    client.equal(taken, _FEATURES, "session_offer", "takes other features")
    wanted = m.CLIENT_ACKNOWLEDGE | m.CLIENT_DRIVER | m.CLIENT_FEATURES_OK | m.CLIENT_DRIVER_OK
    client.equal(service.get("CLIENT_STATUS"), wanted, "session_negotiate", "does not say that it posts")
    harness.write(client.queues, struct.pack("<QQ", 9, 7))
    service.page(EPOCH=6, FEATURES=m.FEATURE_VERSION_1)
    negotiate("a service that began again", 0)
    client.equal(
        client.number("session_features"), m.FEATURE_VERSION_1, "session_offer", "takes what is not offered"
    )
    client.equal(
        harness.read(client.queues, 16), bytes(16), "session_leave", "does not begin its queues anew"
    )
    for what, error, other in (
        ("memory that is no mailbox", MALFORMED, {"MAGIC": 0}), ("another version", UNSUPPORTED, {"VERSION": 2 << 16}),
        ("a lie about its size", MALFORMED, {"BYTES": 2 * _BYTES}), ("another depth", MALFORMED, {"DEPTH": 512}),
        ("another place of the data", MALFORMED, {"DATA_AT": 64}), ("no queue", MALFORMED, {"QUEUES": 0}),
        ("too many queues", MALFORMED, {"QUEUES": m.QUEUES + 1}), ("no version 1", UNSUPPORTED, {"FEATURES": 6}),
    ):  # fmt: skip
        service.page(**other)
        negotiate(what, error)

    def late(one: _Service) -> None:
        if one.looks == 20:
            one.set("SERVICE_STATUS", m.SERVICE_READY)
        elif one.looks > 20:
            one.sound()

    service.act, service.looks = late, 0
    service.page(SERVICE_STATUS=0)
    negotiate("a service that is not ready yet", 0)

    def restarts(one: _Service) -> None:
        if one.looks < 6:  # between the offer and its answer
            return
        if one.looks == 6:
            one.set("EPOCH", 9)
        one.sound()

    service.act, service.looks = restarts, 0
    service.page()
    negotiate("a service that begins again meanwhile", 0)
    client.equal(client.number("session_epoch"), 9, "session_negotiate", "keeps the epoch that is over")

    def refuses(one: _Service) -> None:
        one.sound()
        if one.get("SERVICE_STATUS") & m.SERVICE_FEATURES_OK:
            one.set("SERVICE_STATUS", m.SERVICE_READY | m.SERVICE_FAILED)

    service.act = refuses
    service.page()
    negotiate("a service that refuses", UNSUPPORTED)
    service.act = lambda one: None
    service.page(SERVICE_STATUS=0)
    negotiate("a service that never is ready", TIMEOUT, 30)
    service.page()
    negotiate("a service that never answers", TIMEOUT, 30)


@contract("session_lost", needs=("session_lost", "session_control", "clock_ns", "session_epoch"))
def mailbox_liveness(harness: Harness) -> None:
    """A heartbeat that stands is noticed after LIVENESS_MS and not before; another epoch and a lost device at once."""
    client = _Client(harness)
    beat = [7]

    def beats(one: _Service) -> None:
        one.client.harness.write_u64(_CONTROL + m.CONTROL_HEARTBEAT, beat[0])

    service = _Service(client, beats)
    service.page()
    client.put(harness.address("session_epoch"), 5)
    for _ in range(3):
        beat[0] += 1
        service.act(service)
        client.expect(not client.call("session_lost").flag("cf"), "session_lost", "gives a living service up")
        service.time += 900 * 10**6
    client.expect(not client.call("session_lost").flag("cf"), "session_lost", "gives a service up too soon")
    service.time += (m.LIVENESS_MS - 900) * 10**6
    client.expect(client.call("session_lost").flag("cf"), "session_lost", "waits for a service that is dead")
    beat[0] += 1
    service.act(service)
    client.expect(
        not client.call("session_lost").flag("cf"), "session_lost", "gives a service up that lives again"
    )
    service.set("SERVICE_STATUS", m.SERVICE_READY | m.SERVICE_NEEDS_RESET)
    client.expect(client.call("session_lost").flag("cf"), "session_lost", "goes on with a lost device")
    service.page(EPOCH=6)
    client.expect(client.call("session_lost").flag("cf"), "session_lost", "goes on with another epoch")
