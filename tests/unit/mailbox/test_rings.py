"""The mailbox's protocol: negotiation, rings, doorbells; a client and a service in one process."""

from __future__ import annotations

import struct

import pytest

from tests.unit.mailbox_bench import SECONDS, Bench, control, words
from toolchain.errors import Timeout
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client, Refused
from toolchain.mailbox.memory import Memory

DATA = m.DATA_AT


# --- negotiation -------------------------------------------------------------------------------------------------


def test_negotiation_ends_in_running() -> None:
    bench = Bench()
    bench.connect()
    bench.turn()
    running = m.SERVICE_READY | m.SERVICE_FEATURES_OK | m.SERVICE_RUNNING
    assert control(bench, m.CONTROL_SERVICE_STATUS) == running
    assert bench.client.features == m.FEATURE_VERSION_1 | m.FEATURE_CHECKSUM | m.FEATURE_INTERRUPT
    assert bench.client.request(m.OP_PING, struct.pack("<Q", 0x1122334455667788)).result == 0x1122334455667788


def test_features_that_were_not_offered_are_refused() -> None:
    bench = Bench(features=m.FEATURE_CHECKSUM)  # without VERSION_1
    with pytest.raises(Refused, match="BAD_FEATURES"):
        bench.connect()
    bench.client.wanted = m.FLAGS_MASK
    bench.connect()
    assert bench.client.request(m.OP_PING).status == 0


def test_another_version_is_refused() -> None:
    bench = Bench()
    bench.memory.words[(m.CONTROL_AT + m.CONTROL_VERSION) >> 2] = 2 << 16
    with pytest.raises(Refused, match="version 2"):
        bench.connect()


def test_a_service_that_is_not_there_is_a_timeout() -> None:
    client = Client(Memory(bytearray(m.BYTES_MIN)), lambda vector: None)
    with pytest.raises(Timeout, match="is not ready"):
        client.connect(0.01)


def test_without_the_checksum_feature_none_is_asked_for() -> None:
    bench = Bench(features=m.FEATURE_VERSION_1)
    bench.connect()
    assert not bench.client.queues[0].checksum
    assert bench.client.request(m.OP_PING).status == 0
    queue = bench.client.queues[0]
    queue.checksum = True
    assert bench.client.request(m.OP_PING).name == "BAD_FIELD"


# --- rings -------------------------------------------------------------------------------------------------------


def test_three_passes_of_every_ring_in_order() -> None:
    bench = Bench()
    client = bench.connect()
    for number in range(3 * m.DEPTH):
        for queue in (0, 5, m.QUEUES - 1):
            done = client.request(m.OP_PING, struct.pack("<Q", number * 7 + queue), queue=queue)
            assert done == (number, number * 7 + queue, 0)


def test_a_full_queue_takes_no_more_and_loses_nothing() -> None:
    bench = Bench()
    client = bench.connect()
    queue = client.queues[3]
    posted = [queue.post(m.OP_PING, words(n)) for n in range(m.DEPTH + 3)]
    assert posted == [*range(m.DEPTH), None, None, None]
    bench.turn()
    bench.turn()
    assert queue.post(m.OP_PING) is None  # answered, not yet taken
    taken = [queue.take() for _ in range(m.DEPTH)]
    assert [done.result for done in taken if done] == [*range(m.DEPTH)]
    assert queue.take() is None
    assert queue.post(m.OP_PING) == m.DEPTH


def test_a_client_that_takes_nothing_sees_the_overflow_flag() -> None:
    bench = Bench()
    client = bench.connect()
    queue = client.queues[2]
    flags = (m.QUEUE_AT + 2 * m.QUEUE_STRIDE + m.QUEUE_FLAGS) >> 2
    for n in range(m.DEPTH):
        queue.post(m.OP_PING, words(n))
    bench.turn()
    bench.turn()
    hidden = dict(queue.open)
    queue.open.clear()  # it posts beyond what the rules allow
    assert queue.post(m.OP_PING, words(99)) == m.DEPTH
    bench.turn()
    assert bench.memory.words[flags] == m.QUEUE_FLAG_OVERFLOW
    queue.open |= hidden
    assert queue.take() is not None
    bench.turn()
    assert bench.memory.words[flags] == 0
    rest = [queue.take() for _ in range(m.DEPTH)]
    assert [done.result for done in rest if done] == [*range(1, m.DEPTH), 99]


@pytest.mark.parametrize(
    ("word", "error"),
    [(m.SLOT_SEQUENCE, "BAD_CHECKSUM"), (m.SLOT_CHECKSUM, "BAD_CHECKSUM"), (m.SLOT_BODY + 8, "BAD_CHECKSUM")],
)
def test_a_damaged_slot_is_answered_under_its_index(word: int, error: str) -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    index = client.queues[0].post(m.OP_TIMESTAMP)
    assert index == 0
    bench.memory.words[(m.RING_AT + word) >> 2] ^= 4
    bench.turn()
    done = client.queues[0].take()
    assert done is not None
    assert (done.number, done.name, done.result) == (0, error, 0)


def test_a_wrong_sequence_with_a_right_checksum() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    client.queues[0].post(m.OP_TIMESTAMP)
    bench.memory.words[(m.RING_AT + m.SLOT_SEQUENCE) >> 2] ^= 4
    bench.memory.words[(m.RING_AT + m.SLOT_CHECKSUM) >> 2] ^= 4
    bench.turn()
    done = client.queues[0].take()
    assert done is not None
    assert (done.number, done.name) == (0, "BAD_SEQUENCE")


def test_impossible_indices_stop_their_queue_alone_until_it_is_reset() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    block = m.QUEUE_AT + m.QUEUE_STRIDE
    bench.memory.quads[(block + m.QUEUE_CONSUMED) >> 3] = 1 << 40
    bench.lines.rung.append(1)  # a doorbell without work behind it
    bench.service.sleep()
    bench.turn()
    assert bench.memory.words[(block + m.QUEUE_FLAGS) >> 2] == m.QUEUE_FLAG_NEEDS_RESET
    assert bench.memory.words[(block + m.QUEUE_CAUSE) >> 2] == m.ERROR_BAD_INDEX
    assert client.post(m.OP_PING, queue=1) == 0
    assert client.request(m.OP_PING, queue=0).status == 0
    assert [done.name for done in client.reset_queue(1, SECONDS)] == ["ABORTED"]
    assert client.request(m.OP_PING, words(8), queue=1) == (0, 8, 0)


def test_a_message_comes_only_to_a_client_that_sleeps() -> None:
    bench = Bench()
    client = bench.connect()
    client.request(m.OP_PING, queue=4)
    assert bench.lines.notified == []
    bench.memory.words[(m.QUEUE_AT + 4 * m.QUEUE_STRIDE + m.QUEUE_WANT_INTERRUPT) >> 2] = 1
    client.queues[4].post(m.OP_PING)
    client.queues[4].post(m.OP_PING)
    bench.turn()
    assert bench.lines.notified == [4]


def test_the_doorbell_rings_only_for_a_service_that_sleeps() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    bench.lines.rung.clear()
    client.post(m.OP_PING)
    assert not bench.lines.rung
    bench.memory.words[(m.CONTROL_AT + m.CONTROL_NEED_WAKEUP) >> 2] = 1
    client.post(m.OP_PING, queue=9)
    assert list(bench.lines.rung) == [9 % m.VECTORS]


def test_a_slot_that_comes_while_it_falls_asleep_is_seen() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    bench.turn()
    client.queues[0].post(m.OP_PING)  # published without a ring
    bench.service.sleep()
    assert bench.service.counters.values[m.COUNTER_SLEEPS] == 0
    bench.turn()
    bench.service.sleep()
    assert bench.service.counters.values[m.COUNTER_SLEEPS] == 1
