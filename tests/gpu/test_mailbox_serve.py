"""``pxos gpu serve`` as a person starts it, on a real adapter: metrics, a shader that hangs, HALT, its JSON."""

from __future__ import annotations

import json
import os
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
from tests.unit.test_mailbox_service import service
from toolchain.errors import ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.transport import Connection

SECONDS = 90.0
DATA = m.DATA_AT


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


@contextmanager
def serving(folder: Path, *options: str, stdin: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    with (stdin or Path(os.devnull)).open("rb") as typed:
        child = subprocess.Popen(
            [sys.executable, "-m", "cli", "gpu", "serve", "--json", "--socket", str(folder / "s"), *options],
            stdin=typed,
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
            with urllib.request.urlopen(f"{address}?name[]=up", timeout=SECONDS) as answer:
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


@pytest.mark.parametrize("kind", ["file", "fifo", "stdin"])
def test_what_is_typed_reaches_the_uart(tmp_path: Path, kind: str) -> None:
    typed = tmp_path / "typed"
    if kind == "fifo":
        os.mkfifo(typed)
    else:
        typed.write_bytes(b"hello")
    place = "-" if kind == "stdin" else str(typed)
    with serving(
        tmp_path, "--device", "model", "--uart-input", place, stdin=typed if kind == "stdin" else None
    ) as child:
        read_until(child, r"ready, epoch 1")
        with client_of(tmp_path / "s") as client:
            if kind == "fifo":
                assert client.request(m.OP_UART_READ, words(DATA, 64)).result == 0
                for _ in range(2):  # each writer leaves again
                    typed.write_bytes(b"hello")
                    assert client.request(m.OP_UART_READ, words(DATA, 2)).result == 2
                    assert client.request(m.OP_UART_READ, words(DATA + 2, 64)).result == 3
            else:
                assert client.request(m.OP_UART_READ, words(DATA, 64)).result == 5
            assert bytes(client.memory.data(DATA, 5)) == b"hello"
            assert client.request(m.OP_UART_READ, words(DATA, 64)).result == 0
            client.request(m.OP_HALT)
        child.communicate(timeout=SECONDS)
        assert child.returncode == 0


BURNING = """
import sys
from toolchain.mailbox import gpu, layers, registry, worker

burn = registry.Shader("burn", sys.argv[1], "burn", frozenset({0}), 1, lambda data, lengths: 16384)
registry.SHADERS = (burn, *registry.SHADERS)
gpu.Gpu.shaders = layers.names()
worker.open_device = lambda settings: gpu.Gpu(settings.heap)
sys.exit(worker.main(sys.argv[2:]))
"""
BURN = """
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn burn(@builtin(global_invocation_id) at: vec3<u32>) {
    var value = at.x;
    for (var n = 0u; n < 16384u; n += 1u) {
        value = value * 1664525u + 1013904223u;
    }
    out[at.x % arrayLength(&out)] = value;
}
"""


@pytest.mark.slow
def test_a_shader_that_takes_hours_is_ended_and_the_service_goes_on(tmp_path: Path) -> None:
    script, shader = tmp_path / "burning.py", tmp_path / "burn.wgsl"
    script.write_text(BURNING)
    shader.write_text(BURN)
    with service(tmp_path / "s", (sys.executable, str(script), str(shader)), answer_ms=4000) as running:
        client = running.client
        client.memory.data(DATA, 16)[:] = words(DATA + 64, 4, 0, m.ACCESS_WRITE)
        assert client.request(m.OP_GPU_EXECUTE, words(0, 1, 1, 1, DATA, 1), seconds=SECONDS).name == "OK"
        side = 1 << (m.GROUPS_TOTAL.bit_length() - 1) // 2
        hang = client.post(m.OP_GPU_EXECUTE, words(0, side, side, 1, DATA, 1))
        later = client.post(m.OP_ALLOC, words(1))
        deadline = time.monotonic() + SECONDS
        while not client.lost():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        outcomes = {done.number: done.name for _, done in client.connect(SECONDS)}
        assert outcomes[hang or 0] == "ABORTED"
        assert outcomes[later or 0] in ("OK", "ABORTED")
        assert client.epoch == 2
        assert client.request(m.OP_GPU_EXECUTE, words(0, 1, 1, 1, DATA, 1), seconds=SECONDS).name == "OK"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--heap", "3M"), "a power of two"),
        (("--size", "64K"), "power of two from"),
        (("--size", "x"), "a power of two"),
        (("--answer", "0"), "--answer 0: 0.01 to 3600"),
        (("--answer", "0.0001"), "--answer"),  # less than the millisecond in which it is told
        (("--answer", "nan"), "--answer"),
        (("--adapter", "llvm", "--device", "model"), "the model on the CPU has none"),
        (("--uart-input", "/nowhere/at/all"), "cannot read"),
        (("--uart-input", "/tmp"), "Is a directory"),
        (("--spin", "9"), "--spin"),
        (("--metrics", "99999"), "a port from 0 to 65535"),
        (("--socket", "/nowhere/at/all"), "cannot listen: No such file or directory: choose a path"),
        (("--socket", "/tmp"), "choose another path"),
        (("--uart", "/nowhere/at/all"), "cannot write"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    place = () if "--socket" in options else ("--socket", str(tmp_path / "s"))
    answer = pxos("gpu", "serve", "-q", *place, *options)
    assert answer.status == 2
    assert said in answer.errors
    assert answer.errors.count("\n") == 1
