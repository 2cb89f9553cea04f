"""The mailbox after a loss: of the device, of the service, of the client; and its simplest client."""

from __future__ import annotations

from tests.unit.mailbox_bench import HEAP, SECONDS, Bench, control, words
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client
from toolchain.mailbox.device import DeviceLost
from toolchain.mailbox.model import Model

DATA = m.DATA_AT


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
