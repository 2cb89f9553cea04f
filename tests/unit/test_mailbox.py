"""The mailbox's protocol and operations: a client and a service in one process, the model of the device behind it."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Sequence

import pytest

from tests.unit import mailbox_bench
from tests.unit.mailbox_bench import HEAP, SECONDS, Bench
from toolchain.errors import InputError, Timeout
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.allocator import Heap
from toolchain.mailbox.client import Client, Refused
from toolchain.mailbox.device import CommandError, DeviceLost, Execute
from toolchain.mailbox.memory import Memory, create
from toolchain.mailbox.model import Model

DATA = m.DATA_AT


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def control(bench: Bench, field: int) -> int:
    return bench.memory.words[(m.CONTROL_AT + field) >> 2]


@pytest.fixture(autouse=True, params=["python", "machine code"])
def rings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of the protocol with both."""
    if request.param == "machine code":
        if not native.available():
            pytest.skip("the machine code is for x86-64 Linux")
        monkeypatch.setattr(mailbox_bench, "RINGS", [native.NativeRings])


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


# --- operations --------------------------------------------------------------------------------------------------


def test_uart_both_ways() -> None:
    bench = Bench(typed=b"typed")
    client = bench.connect()
    bench.memory.data(DATA, 5)[:] = b"hello"
    assert client.request(m.OP_UART_WRITE, words(DATA, 5)).result == 5
    inline = words(0, 4) + b", it"
    assert client.request(m.OP_UART_WRITE, inline, m.FLAG_INLINE).result == 4
    assert bench.paper.written == b"hello, it"
    assert client.request(m.OP_UART_READ, words(DATA + 64, 3)).result == 3
    assert bytes(bench.memory.data(DATA + 64, 5)) == b"typ\0\0"
    assert client.request(m.OP_UART_READ, words(DATA + 64, 64)).result == 2
    assert client.request(m.OP_UART_READ, words(DATA + 64, 64)).result == 0


@pytest.mark.parametrize(
    ("opcode", "body", "flags", "error"),
    [
        (0x00, b"", m.FLAG_DEVICE, "UNKNOWN_OPCODE"),
        (0x7F, b"", 0, "UNKNOWN_OPCODE"),
        (0xFF, b"", 0, "UNKNOWN_OPCODE"),
        (m.OP_TIMESTAMP, b"", m.FLAG_INLINE, "BAD_FLAGS"),
        (m.OP_TIMESTAMP, b"", 1 << 15, "BAD_FLAGS"),
        (m.OP_PING, b"", m.FLAG_INLINE, "BAD_FLAGS"),
        (m.OP_ALLOC, words(1), m.FLAG_DEVICE, "BAD_FLAGS"),
        (m.OP_TIMESTAMP, words(1), 0, "BAD_FIELD"),
        (m.OP_PING, words(1, 2, 3), 0, "BAD_FIELD"),
        (m.OP_UART_WRITE, words(DATA, m.UART_MAX + 1), 0, "BAD_FIELD"),
        (m.OP_UART_WRITE, words(DATA - 1, 4), 0, "OUT_OF_RANGE"),
        (m.OP_UART_WRITE, words(m.BYTES_MIN - 3, 4), 0, "OUT_OF_RANGE"),
        (m.OP_UART_WRITE, words(0xFFFFFFFF, 4), 0, "OUT_OF_RANGE"),
        (m.OP_UART_WRITE, words(0, m.INLINE_MAX + 1), m.FLAG_INLINE, "BAD_FIELD"),
        (m.OP_UART_READ, words(m.CONTROL_AT, 4), 0, "OUT_OF_RANGE"),
        (m.OP_GPU_EXECUTE, words(0, 1, 1, 1, DATA, 0), 0, "NOT_SUPPORTED"),
        (m.OP_VM_RUN, words(DATA, 4, DATA, 4, 1), 0, "NOT_SUPPORTED"),
        (m.OP_SYSCALL, words(999), 0, "NOT_SUPPORTED"),
        (m.OP_SYSCALL, words(m.CALL_SHADER_FIND, 0, DATA, 0, 4), 0, "UNKNOWN_SHADER"),
        (m.OP_SYSCALL, words(m.CALL_LOG, 0, DATA, 0, 1 << 16), 0, "BAD_FIELD"),
        (m.OP_SYSCALL, words(m.CALL_LOG, 0, 0, 1, 4), 0, "OUT_OF_RANGE"),
        (m.OP_SYSCALL, words(m.CALL_DEVICE_LIMIT, 0, 99), 0, "BAD_FIELD"),
        (m.OP_STATISTICS, words(DATA, 4), 0, "MISALIGNED"),
        (m.OP_MMIO_READ, words(9, 0), 0, "NOT_GRANTED"),
        (m.OP_MMIO_READ, words(0, m.WINDOW_SIZE), 0, "NOT_GRANTED"),
        (m.OP_MMIO_READ, words(0, 2), 0, "MISALIGNED"),
        (m.OP_MMIO_WRITE, words(m.WINDOW_HEAP, 0, 1), 0, "NOT_GRANTED"),
        (m.OP_ALLOC, words(0), 0, "BAD_FIELD"),
        (m.OP_ALLOC, words(1, 1), 0, "BAD_FIELD"),
        (m.OP_ALLOC, words(HEAP + 1), 0, "NO_MEMORY"),
        (m.OP_FREE, words(3), 0, "MISALIGNED"),
        (m.OP_FREE, words(0), 0, "NOT_ALLOCATED"),
        (m.OP_FREE, words(0xFFFFFF00), 0, "NOT_ALLOCATED"),
    ],
)
def test_what_is_wrong_is_answered_with_its_error(opcode: int, body: bytes, flags: int, error: str) -> None:
    bench = Bench()
    done = bench.connect().request(opcode, body, flags)
    assert (done.name, done.result) == (error, 0)


def test_registers_of_the_granted_windows() -> None:
    client = Bench().connect()
    assert client.request(m.OP_MMIO_WRITE, words(m.WINDOW_SCRATCH, 8, 77)).result == 0
    assert client.request(m.OP_MMIO_READ, words(m.WINDOW_SCRATCH, 8)).result == 77
    assert client.request(m.OP_MMIO_WRITE, words(m.WINDOW_SCRATCH, 8, 78)).result == 77
    block = client.request(m.OP_ALLOC, words(300)).result
    heap = [client.request(m.OP_MMIO_READ, words(m.WINDOW_HEAP, 4 * n)).result for n in range(4)]
    assert heap == [HEAP, HEAP - 512, HEAP // 2, 1]
    assert client.request(m.OP_FREE, words(block)).result == 512
    assert client.request(m.OP_FREE, words(block)).name == "NOT_ALLOCATED"


def test_calls() -> None:
    bench = Bench()
    client = bench.connect()
    assert client.request(m.OP_SYSCALL, words(m.CALL_VERSION)).result == m.VERSION
    random_bits = {client.request(m.OP_SYSCALL, words(m.CALL_RANDOM)).result for _ in range(4)}
    assert len(random_bits) == 4
    assert client.request(m.OP_SYSCALL, words(m.CALL_WALL_CLOCK)).result > 1_700_000_000 * 10**9
    bench.memory.data(DATA, 6)[:] = b"a\x1b[2Jz"
    assert client.request(m.OP_SYSCALL, words(m.CALL_LOG, 0, DATA, 0, 6)).result == 6
    assert bench.said == ["a?[2Jz"]


def test_statistics_say_how_many_went_where() -> None:
    bench = Bench()
    client = bench.connect()
    for opcode, body, flags in (
        (m.OP_PING, b"", 0), (m.OP_PING, b"", m.FLAG_DEVICE), (m.OP_ALLOC, words(1), 0), (0x11, b"", 0),
    ):  # fmt: skip
        client.request(opcode, body, flags)
    assert client.request(m.OP_STATISTICS, words(DATA, 8 * m.COUNTER_COUNT)).result == 8 * m.COUNTER_COUNT
    values = struct.unpack(f"<{m.COUNTER_COUNT}Q", bench.memory.data(DATA, 8 * m.COUNTER_COUNT))
    assert values[m.COUNTER_COMMANDS] == 4
    assert (values[m.COUNTER_ON_CPU], values[m.COUNTER_ON_DEVICE]) == (2, 2)
    assert (values[m.COUNTER_ERRORS], values[m.COUNTER_SESSIONS]) == (1, 1)


def test_everything_pending_goes_to_the_device_at_once() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    for queue in (0, 7):
        for n in range(100):
            assert client.queues[queue].post(m.OP_PING, words(n), m.FLAG_DEVICE) == n
    bench.turn()
    assert bench.device.dispatches == 1
    assert [client.queues[7].take() for _ in range(100)] == [(n, n, 0) for n in range(100)]


def test_a_barrier_orders_and_nothing_else_does() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    queue = client.queues[0]
    device_ping, ping = (m.OP_PING, b"", m.FLAG_DEVICE), (m.OP_PING, b"", 0)
    for opcode, body, flags in (device_ping, ping):
        queue.post(opcode, body, flags)
    bench.turn()
    assert [queue.take().number for _ in range(2)] == [1, 0]  # type: ignore[union-attr]
    queue.post(*device_ping)
    queue.post(m.OP_PING, b"", m.FLAG_BARRIER)
    queue.post(*device_ping)
    queue.post(*ping)
    bench.turn()
    assert [queue.take().number for _ in range(4)] == [2, 3, 5, 4]  # type: ignore[union-attr]


def test_halt_comes_after_what_was_before_it() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    queue = client.queues[0]
    for opcode in (m.OP_TIMESTAMP, m.OP_ALLOC, m.OP_HALT, m.OP_TIMESTAMP):
        queue.post(opcode, words(9) if opcode == m.OP_ALLOC else b"")
    bench.turn()
    assert [queue.take().number for _ in range(3)] == [0, 1, 2]  # type: ignore[union-attr]
    assert queue.take() is None
    assert bench.service.halted
    assert control(bench, m.CONTROL_SERVICE_STATUS) & m.SERVICE_HALTED


def test_the_pixel_vm_runs_what_it_is_given() -> None:
    seen = []

    def vm(program: bytes, state: bytes | None, fuel: int, seed: int) -> tuple[int, bytes, bytes]:
        seen.append((program, state, fuel, seed))
        if program == b"bad!":
            raise InputError("no program", stage="vm")
        return 7, b"state", b"said"

    bench = Bench(vm=vm)
    client = bench.connect()
    assert client.features & m.FEATURE_VM
    bench.memory.data(DATA, 4)[:] = b"prog"
    done = client.request(m.OP_VM_RUN, words(DATA, 4, DATA + 64, 8, 1000, 5, 0))
    assert (done.result & 0xFFFFFFFF, done.result >> 32, done.status) == (7, 5, 0)
    assert bytes(bench.memory.data(DATA + 64, 5)) == b"state"
    assert bench.paper.written == b"said"
    client.request(m.OP_VM_RUN, words(DATA, 4, DATA + 64, 5, 1000, 5, 1))
    assert seen == [(b"prog", None, 1000, 5), (b"prog", b"state", 1000, 5)]
    assert client.request(m.OP_VM_RUN, words(DATA, 4, DATA + 64, 4, 1, 0, 0)).name == "OUT_OF_RANGE"
    assert client.request(m.OP_VM_RUN, words(DATA, 4, DATA + 64, 8, 0, 0, 0)).name == "BAD_FIELD"
    bench.memory.data(DATA, 4)[:] = b"bad!"
    assert client.request(m.OP_VM_RUN, words(DATA, 4, DATA + 64, 8, 1, 0, 0)).name == "BAD_PROGRAM"


class Squarer(Model):
    """A device with one shader: squares the words of binding 0 into binding 1."""

    features = m.FEATURE_EXECUTE
    shaders: Sequence[str] = ("square",)

    def execute(self, work: Execute) -> int:
        source, target = work.buffers
        if source.length != target.length or not source.reads or not target.writes:
            raise CommandError(m.ERROR_BAD_DISPATCH)
        values = struct.unpack(f"<{source.length // 4}I", source.view)
        target.view[:] = struct.pack(f"<{len(values)}I", *(v * v for v in values))
        return 123


def test_execute_finds_a_shader_by_name_and_runs_it_on_buffers() -> None:
    bench = Bench(Squarer(HEAP))
    client = bench.connect()
    bench.memory.data(DATA, 6)[:] = b"square"
    shader = client.request(m.OP_SYSCALL, words(m.CALL_SHADER_FIND, 0, DATA, 0, 6)).result
    table, source, target = DATA + 64, DATA + 256, DATA + 512
    bench.memory.data(source, 12)[:] = words(2, 3, 4)
    rows = [(source, 12, 0, m.ACCESS_READ), (target, 12, 1, m.ACCESS_WRITE)]
    bench.memory.data(table, 32)[:] = words(*rows[0], *rows[1])
    done = client.request(m.OP_GPU_EXECUTE, words(shader, 1, 1, 1, table, 2))
    assert (done.result, done.name) == (123, "OK")
    assert bytes(bench.memory.data(target, 12)) == words(4, 9, 16)


@pytest.mark.parametrize(
    ("rows", "body", "error"),
    [
        ([(DATA, 12, 0, 1)], (1, 1, 1, 1, DATA, 1), "UNKNOWN_SHADER"),
        ([(DATA, 12, 0, 1)], (0, 0, 1, 1, DATA, 1), "BAD_DISPATCH"),
        ([(DATA, 12, 0, 1)], (0, m.GROUPS_MAX + 1, 1, 1, DATA, 1), "BAD_DISPATCH"),
        ([(DATA, 12, 0, 1)], (0, 4096, 4096, 2, DATA, 1), "BAD_DISPATCH"),
        ([(DATA, 12, 0, 1)], (0, 1, 1, 1, DATA, m.BUFFERS_MAX + 1), "BAD_FIELD"),
        ([(DATA, 12, 0, 1)], (0, 1, 1, 1, m.BYTES_MIN - 8, 1), "OUT_OF_RANGE"),
        ([(DATA, 12, 0, 8)], (0, 1, 1, 1, DATA, 1), "BAD_FIELD"),
        ([(DATA + 1, 12, 0, 1)], (0, 1, 1, 1, DATA, 1), "MISALIGNED"),
        ([(DATA, 0, 0, 1)], (0, 1, 1, 1, DATA, 1), "MISALIGNED"),
        ([(0, 12, 0, 1)], (0, 1, 1, 1, DATA, 1), "OUT_OF_RANGE"),
        ([(128, 12, 0, 5)], (0, 1, 1, 1, DATA, 1), "MISALIGNED"),
        ([(HEAP, 12, 0, 5)], (0, 1, 1, 1, DATA, 1), "OUT_OF_RANGE"),
        ([(DATA, 12, 0, 1), (DATA + 64, 4, 0, 1)], (0, 1, 1, 1, DATA, 2), "BAD_DISPATCH"),
        ([(DATA + 64, 12, 0, 1), (DATA + 68, 12, 1, 2)], (0, 1, 1, 1, DATA, 2), "BAD_DISPATCH"),
        ([(DATA + 64, 12, 0, 1), (DATA + 68, 12, 1, 1)], (0, 1, 1, 1, DATA, 2), "BAD_DISPATCH"),
    ],
)
def test_a_dispatch_that_cannot_be(rows: list[tuple[int, ...]], body: tuple[int, ...], error: str) -> None:
    bench = Bench(Squarer(HEAP))
    client = bench.connect()
    for n, row in enumerate(rows):
        bench.memory.data(DATA + 16 * n, 16)[:] = words(*row)
    assert client.request(m.OP_GPU_EXECUTE, words(*body)).name == error


# --- recovery ----------------------------------------------------------------------------------------------------


class Dying(Model):
    """A device that is lost at its second dispatch."""

    def drain(self, rows: object) -> tuple[object, object]:
        if self.dispatches:
            raise DeviceLost
        return super().drain(rows)  # type: ignore[arg-type]


def test_a_lost_device_answers_what_was_on_it_and_asks_for_a_reset() -> None:
    bench = Bench(Dying(HEAP))
    client = bench.connect()
    assert client.request(m.OP_ALLOC, words(1)).status == 0
    for opcode in (m.OP_ALLOC, m.OP_PING):
        client.post(opcode, words(1))
    bench.turn()
    names = {done.number: done.name for done in (client.queues[0].take() for _ in range(2)) if done}
    assert names == {1: "DEVICE_LOST", 2: "OK"}
    assert client.lost()
    assert control(bench, m.CONTROL_CAUSE) == m.ERROR_DEVICE_LOST
    bench.device = Model(HEAP)
    bench.serve()
    assert client.connect(SECONDS) == []
    assert client.request(m.OP_ALLOC, words(1)) == (0, 0, 0)


def test_a_new_service_leaves_standing_answers_and_aborts_the_rest() -> None:
    bench = Bench()
    client = bench.connect()
    bench.turn()
    for n in range(3):
        client.post(m.OP_PING, words(n))
    bench.turn()
    for n in range(3, 5):
        client.post(m.OP_PING, words(n))
    bench.serve()  # the old one is gone without a word
    assert client.lost()
    outcomes = client.connect(SECONDS)
    assert [(q, c.number, c.result, c.name) for q, c in outcomes] == [
        (0, 0, 0, "OK"), (0, 1, 1, "OK"), (0, 2, 2, "OK"), (0, 3, 0, "ABORTED"), (0, 4, 0, "ABORTED"),
    ]  # fmt: skip
    assert client.request(m.OP_PING, words(6)) == (0, 6, 0)
    assert client.epoch == 2


def test_the_epoch_skips_zero() -> None:
    bench = Bench()
    bench.memory.words[(m.CONTROL_AT + m.CONTROL_EPOCH) >> 2] = 0xFFFFFFFF
    assert bench.serve().epoch == 1


def test_a_client_that_comes_again_begins_anew() -> None:
    bench = Bench()
    client = bench.connect()
    client.request(m.OP_PING)
    again = Client(bench.memory, bench.lines.rung.append, pause=bench.turn)
    again.connect(SECONDS)
    assert again.request(m.OP_PING, words(3)) == (0, 3, 0)


# --- the compatibility page --------------------------------------------------------------------------------------


def simple(bench: Bench, command: int) -> tuple[int, int]:
    """The simplest client: (STATUS, RESP)."""
    page = bench.memory.words
    page[m.CMD >> 2] = command
    page[m.DOORBELL >> 2] = 1
    bench.turn()
    assert page[m.DOORBELL >> 2] == 0
    return page[m.STATUS >> 2], page[m.RESP >> 2]


def test_the_simplest_client() -> None:
    bench = Bench(typed=b"k")
    good, bad = m.STATUS_READY | m.STATUS_COMPLETE, m.STATUS_READY | m.STATUS_COMPLETE | m.STATUS_ERROR
    assert bench.memory.words[m.STATUS >> 2] == m.STATUS_READY
    assert simple(bench, m.OP_UART_WRITE << 24 | ord("!")) == (good, 1)
    assert bench.paper.written == b"!"
    assert simple(bench, m.OP_UART_READ << 24) == (good, ord("k"))
    assert simple(bench, m.OP_UART_READ << 24) == (bad, m.ERROR_NO_DATA)
    assert simple(bench, m.OP_ALLOC << 24 | 8) == (good, 0)
    assert simple(bench, m.OP_ALLOC << 24 | 4) == (good, 512)
    assert simple(bench, m.OP_FREE << 24 | 8) == (good, 256)
    assert simple(bench, m.OP_FREE << 24 | 8) == (bad, m.ERROR_NOT_ALLOCATED)
    assert simple(bench, m.OP_PING << 24 | 0x5A << 16 | 0x1234) == (good, 0x1234)
    assert simple(bench, m.OP_SYSCALL << 24 | m.CALL_VERSION) == (good, m.VERSION)
    assert simple(bench, m.OP_STATISTICS << 24 | m.COUNTER_ERRORS) == (good, 1)
    assert simple(bench, m.OP_STATISTICS << 24 | m.COUNTER_COUNT) == (bad, m.ERROR_BAD_FIELD)
    assert simple(bench, 0x42 << 24) == (bad, m.ERROR_UNKNOWN_OPCODE)
    bench.memory.data(DATA + 128, m.SLOT_SIZE)[:] = words(m.OP_MMIO_WRITE << 24, 0, 0, 0, 0, 12, 99) + bytes(
        36
    )
    assert simple(bench, m.OP_MMIO_WRITE << 24 | 2) == (good, 0)
    assert simple(bench, m.OP_MMIO_READ << 24 | 12) == (good, 99)
    assert simple(bench, m.OP_MMIO_WRITE << 24 | 0xFFFF) == (bad, m.ERROR_OUT_OF_RANGE)
    assert simple(bench, m.OP_HALT << 24) == (good, 0)
    assert bench.service.halted


def test_a_command_that_a_dead_service_had_begun_is_aborted() -> None:
    bench = Bench()
    page = bench.memory.words
    page[m.DOORBELL >> 2], page[m.STATUS >> 2] = 1, m.STATUS_BUSY
    bench.serve()
    assert page[m.STATUS >> 2] == m.STATUS_READY | m.STATUS_COMPLETE | m.STATUS_ERROR
    assert (page[m.RESP >> 2], page[m.DOORBELL >> 2]) == (m.ERROR_ABORTED, 0)


# --- the allocator, the memory -----------------------------------------------------------------------------------


class FirstFit:
    """The rule of the specification, plainly: the lowest aligned place where the whole block is free."""

    def __init__(self, size: int) -> None:
        self.granules = [False] * (size // m.HEAP_GRANULE)
        self.used: dict[int, int] = {}

    def allocate(self, size: int) -> tuple[int, int]:
        count = 1
        while count * m.HEAP_GRANULE < size:
            count *= 2
        for at in range(0, len(self.granules) - count + 1, count):
            if not any(self.granules[at : at + count]):
                self.granules[at : at + count] = [True] * count
                self.used[at] = count
                return at * m.HEAP_GRANULE, 0
        return 0, m.ERROR_NO_MEMORY

    def free(self, offset: int) -> tuple[int, int]:
        if offset % m.HEAP_GRANULE:
            return 0, m.ERROR_MISALIGNED
        count = self.used.pop(offset // m.HEAP_GRANULE, 0)
        if not count:
            return 0, m.ERROR_NOT_ALLOCATED
        at = offset // m.HEAP_GRANULE
        self.granules[at : at + count] = [False] * count
        return count * m.HEAP_GRANULE, 0


@pytest.mark.parametrize("seed", range(8))
def test_the_heap_is_aligned_first_fit(seed: int) -> None:
    chance = random.Random(seed)
    heap, plain = Heap(HEAP), FirstFit(HEAP)
    held: list[int] = []
    for _ in range(1500):
        if chance.random() < 0.55:
            size = int(2 ** chance.uniform(0, 14))
            got = heap.allocate(size)
            assert got == plain.allocate(size)
            if not got[1]:
                held.append(got[0])
        else:
            wild = chance.random() < 0.2 or not held
            offset = chance.randrange(0, 2 * HEAP, 128) if wild else held.pop(chance.randrange(len(held)))
            assert heap.free(offset) == plain.free(offset)
            held = [block for block in held if block != offset]
        assert heap.used == len(plain.used)
        assert heap.free_bytes == plain.granules.count(False) * m.HEAP_GRANULE
    for offset in held:
        assert heap.free(offset)[1] == 0
    assert heap.largest() == heap.free_bytes == HEAP


def test_the_memory_cannot_be_cut_off_and_its_size_is_checked() -> None:
    handle = create(m.BYTES_MIN)
    try:
        with pytest.raises(OSError, match="permitted"):
            os.ftruncate(handle, 4096)
        memory = Memory.of(handle)
        assert memory.size == m.BYTES_MIN
        memory.close()
    finally:
        os.close(handle)
    for size in (0, 4096, m.BYTES_MIN + 1, m.BYTES_MAX * 2):
        with pytest.raises(InputError, match="power of two"):
            create(size)
    with pytest.raises(ValueError, match="bytes at"):
        Memory(bytearray(m.BYTES_MIN)).data(m.BYTES_MIN - 4, 8)
