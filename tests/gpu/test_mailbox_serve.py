"""``pxos gpu serve`` as a person starts it, on a real adapter: metrics, a shader that hangs, HALT, its JSON."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import ToolError
from toolchain.gpu.adapter import choose
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.transport import Connection

SECONDS = 90.0
DATA = m.DATA_AT


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "cli", "gpu", "serve", "--json", "--socket", str(folder / "s"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def client_of(path: Path) -> Iterator[Client]:
    deadline = time.monotonic() + SECONDS
    connection = None
    while connection is None:
        try:
            connection = Connection(path)
        except ToolError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    memory = Memory.of(connection.memory)
    client = Client(memory, connection.ring)
    client.connect(SECONDS)
    yield client
    memory.close()
    connection.close()


def read_until(child: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert child.stderr is not None
    for line in child.stderr:
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"it ended without saying {pattern}")


def test_metrics_uart_and_the_answer_at_the_end(tmp_path: Path) -> None:
    uart = tmp_path / "uart.log"
    with serving(tmp_path, "--metrics", "0", "--uart", str(uart)) as child:
        address = read_until(child, r"metrics: (http://127\.0\.0\.1:\d+/metrics)")[1]
        read_until(child, r"ready, epoch 1")
        with client_of(tmp_path / "s") as client:
            assert client.features & m.FEATURE_GPU
            assert client.features & m.FEATURE_VM
            client.request(m.OP_PING, flags=m.FLAG_DEVICE)
            client.request(m.OP_UART_WRITE, words(0, 3) + b"abc", m.FLAG_INLINE)
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:
                text = answer.read().decode()
            assert re.search(r"^pxos_mailbox_commands_total 2$", text, re.M)
            assert re.search(r"^pxos_mailbox_dispatches_total 1$", text, re.M)
            assert re.search(r"^pxos_mailbox_up 1$", text, re.M)
            client.request(m.OP_HALT)
        output, _ = child.communicate(timeout=SECONDS)
        assert child.returncode == 0
    data = json.loads(output)
    schemas.validate(data, "gpu")
    assert (data["outcome"], data["counters"]["commands"], data["counters"]["on_device"]) == ("halted", 3, 1)
    assert uart.read_bytes() == b"abc"
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_shader_that_takes_too_long_is_ended_and_the_service_goes_on(tmp_path: Path) -> None:
    if not choose().software:
        pytest.skip("a GPU is done with the largest dispatch before anybody loses patience")
    with serving(tmp_path, "--answer", "0.3") as child:
        read_until(child, r"ready, epoch 1")
        with client_of(tmp_path / "s") as client:
            rows = [words(DATA + 64 + 4 * n, 4, n, access) for n, access in enumerate((1, 1, 2))]
            client.memory.data(DATA, 48)[:] = b"".join(rows)
            assert client.request(m.OP_GPU_EXECUTE, words(0, 1, 1, 1, DATA, 3), seconds=SECONDS).name == "OK"
            side = 1 << (m.GROUPS_TOTAL.bit_length() - 1) // 2  # seconds of work
            hang = client.post(m.OP_GPU_EXECUTE, words(0, side, side, 1, DATA, 3))
            later = client.post(m.OP_ALLOC, words(1))
            deadline = time.monotonic() + SECONDS
            while not client.lost():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            outcomes = {done.number: done.name for _, done in client.connect(SECONDS)}
            assert outcomes[hang or 0] == "ABORTED"
            assert outcomes[later or 0] in ("OK", "ABORTED")
            assert client.epoch == 2
            assert client.request(m.OP_GPU_EXECUTE, words(0, 1, 1, 1, DATA, 3), seconds=SECONDS).name == "OK"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--heap", "3M"), "a power of two"),
        (("--size", "64K"), "power of two from"),
        (("--size", "x"), "a power of two"),
        (("--answer", "0"), "--answer"),
        (("--spin", "9"), "--spin"),
        (("--metrics", "99999"), "a port from 0 to 65535"),
        (("--socket", "/nowhere/at/all"), "cannot listen"),
        (("--uart", "/nowhere/at/all"), "cannot write"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    place = () if "--socket" in options else ("--socket", str(tmp_path / "s"))
    answer = pxos("gpu", "serve", "-q", *place, *options)
    assert answer.status == 2
    assert said in answer.errors
    assert answer.errors.count("\n") == 1
