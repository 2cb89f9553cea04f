"""The service as processes: the ivshmem lines, restarts, a hung device, kill -9 under load. The model is the device."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolchain import launch
from toolchain.errors import InputError, ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox import metrics
from toolchain.mailbox.client import Client
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.supervisor import Options, Supervisor
from toolchain.mailbox.transport import Connection, Server

pytestmark = pytest.mark.long

HEAP = 1 << 16
SECONDS = 60.0
HANGING = """
import sys, time
from toolchain.mailbox import model, worker

class Hanging(model.Model):
    def drain(self, rows):
        if any(row[5] == 0xdead for row in rows.tolist()):
            time.sleep(3600)
        return super().drain(rows)

worker.open_device = lambda settings: Hanging(settings.heap)
sys.exit(worker.main(sys.argv[1:]))
"""


class Running:
    """A supervisor that turns in a thread, and a client."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self.supervisor = supervisor
        self.connection = Connection(path)
        self.memory = Memory.of(self.connection.memory)
        self.client = Client(self.memory, self.connection.ring)


@contextmanager
def service(path: Path, worker: tuple[str, ...] | None = None, answer_ms: int = 5000) -> Iterator[Running]:
    command = worker or (sys.executable, "-m", "toolchain.mailbox.worker")
    options = Options(path=path, device="model", heap=HEAP, worker=command, answer_ms=answer_ms)
    over = threading.Event()
    with Supervisor(options) as supervisor:
        supervisor.wait_ready()
        turning = threading.Thread(target=supervisor.run, args=(over.is_set,))
        # children die with the thread that started them (launch.spawn), and this one starts the next workers
        turning.start()
        try:
            running = Running(supervisor, path)
            running.client.connect(SECONDS)
            yield running
            running.memory.close()
            running.connection.close()
        finally:
            over.set()
            turning.join(SECONDS)


def test_a_client_over_the_socket_and_halt(tmp_path: Path) -> None:
    with service(tmp_path / "s") as running:
        client = running.client
        for number in range(50):
            done = client.request(m.OP_PING, struct.pack("<Q", number), queue=number % m.QUEUES)
            assert (done.result, done.status) == (number, 0)
        assert client.request(m.OP_ALLOC, struct.pack("<I", 100)).result == 0
        assert running.supervisor.counters[m.COUNTER_COMMANDS] == 51
        assert client.request(m.OP_HALT).status == 0
        deadline = time.monotonic() + SECONDS
        while not running.supervisor.halted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.supervisor.halted


def test_one_client_at_a_time_and_the_next_finds_a_fresh_session(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with service(path) as running:
        with pytest.raises(ToolError, match="has a client already"):
            Connection(path)
        running.client.post(m.OP_PING)
        running.connection.close()
        deadline = time.monotonic() + SECONDS
        second = None
        while second is None and time.monotonic() < deadline:
            try:
                second = Connection(path)
            except ToolError:
                time.sleep(0.01)
        assert second is not None
        memory = Memory.of(second.memory)
        client = Client(memory, second.ring)
        client.connect(SECONDS)
        assert client.request(m.OP_PING, struct.pack("<Q", 9)) == (0, 9, 0)
        memory.close()
        running.connection = second


def test_the_socket_is_ours_alone_and_what_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with service(path) as running:
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(InputError, match="in use"):
            Server(path, 0, running.supervisor.bells)
    assert not path.exists()
    import socket

    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with service(path):
        pass


def test_a_path_that_is_too_long_or_no_place(tmp_path: Path) -> None:
    for path, words in ((tmp_path / ("x" * 120), "longer"), (tmp_path / "none" / "s", "cannot listen")):
        with pytest.raises(InputError, match=words), Supervisor(Options(path=path, device="model")):
            pass


def test_a_hung_device_is_ended_and_the_client_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    with service(tmp_path / "s", (sys.executable, str(script)), answer_ms=300) as running:
        client = running.client
        assert client.request(m.OP_PING, struct.pack("<2I", 1, 2), m.FLAG_DEVICE).status == 0
        client.post(m.OP_PING, struct.pack("<2I", 1, 0xDEAD), m.FLAG_DEVICE)
        client.post(m.OP_PING, struct.pack("<2I", 3, 4))
        deadline = time.monotonic() + SECONDS
        while not client.lost() and time.monotonic() < deadline:
            time.sleep(0.01)
        outcomes = {c.number: c.name for _, c in client.connect(SECONDS)}
        assert outcomes[1] == "ABORTED"  # the one that hung
        assert outcomes[2] in ("OK", "ABORTED")
        assert running.supervisor.restarts == 1
        assert client.request(m.OP_PING, struct.pack("<2I", 5, 6), m.FLAG_DEVICE).status == 0


def test_a_worker_that_never_starts_is_an_error(tmp_path: Path) -> None:
    options = Options(path=tmp_path / "s", worker=("/bin/false",))
    with pytest.raises(ToolError, match="does not start"), Supervisor(options) as supervisor:
        supervisor.wait_ready()


def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    with service(tmp_path / "s") as running:
        worker = running.supervisor.worker
    assert worker.poll() is not None


def kill_under_load(running: Running, kills: int) -> tuple[Counter[str], int]:
    """Kill the worker while four queues are kept full; every command must have exactly one outcome."""
    client = running.client
    outcomes: dict[tuple[int, int, int], str] = {}  # (epoch, queue, number) -> name
    posted: set[tuple[int, int, int]] = set()

    def note(epoch: int, queue: int, number: int, name: str) -> None:
        key = (epoch, queue, number)
        assert key in posted
        assert key not in outcomes, f"a second outcome of {key}"
        outcomes[key] = name

    for number in range(kills):
        victim, epoch = running.supervisor.worker.pid, client.epoch
        deadline = time.monotonic() + SECONDS
        answered = 0
        killed = False
        while not client.lost():
            assert time.monotonic() < deadline, "the death was not noticed"
            for queue in range(4):
                index = client.post(m.OP_PING, flags=m.FLAG_DEVICE * (queue & 1), queue=queue)
                if index is not None:
                    posted.add((epoch, queue, index))
                done = client.queues[queue].take()
                if done is not None:
                    note(epoch, queue, done.number, done.name)
                    answered += 1
            if answered > 20 + 3 * number and not killed:
                os.kill(victim, signal.SIGKILL)
                killed = True
        for queue, done in client.connect(SECONDS):
            note(epoch, queue, done.number, done.name)
        assert client.epoch != epoch
    assert posted == outcomes.keys()
    return Counter(outcomes.values()), len(posted)


def test_kill_9_under_load(tmp_path: Path) -> None:
    with service(tmp_path / "s") as running:
        names, _ = kill_under_load(running, 3)
        assert names["OK"] >= 60
        assert set(names) <= {"OK", "ABORTED"}
        assert running.supervisor.restarts == 3
        assert running.client.request(m.OP_PING).status == 0


@pytest.mark.slow
def test_kill_9_a_hundred_times(tmp_path: Path) -> None:
    with service(tmp_path / "s") as running:
        names, posted = kill_under_load(running, 100)
        assert sum(names.values()) == posted
        assert set(names) <= {"OK", "ABORTED"}
        assert running.supervisor.restarts == 100


def test_the_end_of_the_supervisor_s_process_ends_everything(tmp_path: Path) -> None:
    child = launch.spawn(
        [sys.executable, "-m", "cli", "gpu", "serve", "--device", "model", "--socket", str(tmp_path / "s")],
        stderr=2,
    )
    deadline = time.monotonic() + SECONDS
    connection = None
    while connection is None:
        assert time.monotonic() < deadline
        try:
            connection = Connection(tmp_path / "s")
        except ToolError:
            time.sleep(0.02)
    memory = Memory.of(connection.memory)
    client = Client(memory, connection.ring)
    client.connect(SECONDS)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    while not client.lost():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    beat = memory.quads[(m.CONTROL_AT + m.CONTROL_HEARTBEAT) >> 3]
    time.sleep(4 * m.HEARTBEAT_MS / 1000)
    assert memory.quads[(m.CONTROL_AT + m.CONTROL_HEARTBEAT) >> 3] == beat, "the worker lives on"
    memory.close()
    connection.close()


def test_metrics_are_prometheus_text_on_the_loopback() -> None:
    figures = {"pxos_a_total": ("counter", "things", 3.0), "pxos_b": ("gauge", "level", 0.5)}
    with metrics.served(0, lambda: figures) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS)
        with pytest.raises(InputError, match="choose another port"), metrics.served(port, lambda: figures):
            pass
    assert text == (
        "# HELP pxos_a_total things\n# TYPE pxos_a_total counter\npxos_a_total 3\n"
        "# HELP pxos_b level\n# TYPE pxos_b gauge\npxos_b 0.5\n"
    )
