"""The mailbox's operations, the model of the device behind them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from tests.unit.mailbox_bench import HEAP, Bench, control, words
from toolchain.errors import InputError
from toolchain.mailbox import layout as m
from toolchain.mailbox.device import CommandError, Execute
from toolchain.mailbox.model import Model

DATA = m.DATA_AT


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
