"""The batch drainer and the registered shaders on a real adapter (lavapipe does), against the model and NumPy."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.unit import schemas
from tests.unit.mailbox_bench import Bench
from tests.unit.mailbox_hostile import Hostile
from tests.unit.pxos import pxos
from toolchain.gpu.device import LOOP_MAX
from toolchain.mailbox import layout as m
from toolchain.mailbox.gpu import Gpu
from toolchain.mailbox.model import Model

HEAP = 1 << 20
DATA = m.DATA_AT
WRITERS = (m.OP_ALLOC, m.OP_FREE, m.OP_MMIO_WRITE)
Words = np.ndarray[Any, np.dtype[np.uint32]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def gpu() -> Iterator[Gpu]:
    device = Gpu(HEAP)
    yield device
    device.close()


@pytest.fixture
def bench(gpu: Gpu) -> Bench:
    made = Bench(gpu)
    made.connect()
    return made


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def random_rows(chance: random.Random, held: list[int]) -> Words:
    rows = np.zeros((chance.randrange(1, 300), 16), np.uint32)
    kinds = [m.OP_ALLOC] * 5 + [m.OP_FREE] * 4 + [m.OP_MMIO_READ, m.OP_MMIO_WRITE, m.OP_PING]
    for row in rows:
        opcode = chance.choice(kinds)
        row[0] = opcode << m.OPCODE_SHIFT
        if opcode == m.OP_ALLOC:
            row[4] = chance.choice((int(2 ** chance.uniform(0, 19)), 0, 0xFFFFFFFF, HEAP, HEAP + 1))
        elif opcode == m.OP_FREE:
            wild = not held or chance.random() < 0.2
            row[4] = chance.randrange(0, 2 * HEAP, 128) if wild else chance.choice(held)
        else:
            row[4] = chance.choice((0, 0, 0, 1, 2))
            row[5] = chance.choice((0, 4, 8, 12, 16, 4092, 4096, 3, 0xFFFFFFFC))
            row[6] = chance.getrandbits(32) if opcode == m.OP_MMIO_WRITE else 0
        if chance.random() < 0.05:
            row[chance.randrange(5, 16)] = 1
    return rows


def test_random_sequences_give_what_the_model_gives() -> None:
    chance = random.Random(7)
    device, model = Gpu(HEAP), Model(HEAP)
    held: list[int] = []
    seen = set()
    for number in range(40):
        rows = random_rows(chance, held)
        if number % 2:  # and those that run all at once, on the state that the batch before has left
            rows = rows[~np.isin(rows[:, 0] >> m.OPCODE_SHIFT, WRITERS)]
        results, errors = device.drain(rows)
        wanted_results, wanted_errors = model.drain(rows)
        assert list(errors) == wanted_errors
        assert list(results) == wanted_results
        seen |= set(wanted_errors)
        allocs = rows[:, 0] >> m.OPCODE_SHIFT == m.OP_ALLOC
        held = [int(r) for r, e, a in zip(results, errors, allocs, strict=True) if a and not e] or held
    device.close()
    assert seen == {
        0, m.ERROR_NO_MEMORY, m.ERROR_NOT_ALLOCATED, m.ERROR_MISALIGNED, m.ERROR_NOT_GRANTED, m.ERROR_BAD_FIELD,
    }  # fmt: skip


def test_a_row_that_writes_is_seen_by_those_behind_it_and_by_none_before(gpu: Gpu) -> None:
    rows = np.zeros((200, 16), np.uint32)
    rows[:, 0] = m.OP_MMIO_READ << m.OPCODE_SHIFT
    rows[:, 5] = 8
    zeroed = rows[:1].copy()
    zeroed[0, 0] = m.OP_MMIO_WRITE << m.OPCODE_SHIFT
    for place in (0, 100, 199):
        gpu.drain(zeroed)
        mixed = rows.copy()
        mixed[place, 0] = m.OP_MMIO_WRITE << m.OPCODE_SHIFT
        mixed[place, 6] = 77
        results, errors = gpu.drain(mixed)
        assert not errors.any()
        assert list(results) == [0] * (place + 1) + [77] * (199 - place)
        assert set(gpu.drain(rows)[0].tolist()) == {77}


def test_a_batch_beyond_the_bound_on_loops_is_split_and_its_answers_are_whole(gpu: Gpu) -> None:
    per_command = 1 + gpu._heap_cost
    count = LOOP_MAX // per_command + 1
    rows = np.zeros((2 * count, 16), np.uint32)
    rows[:, 0] = m.OP_FREE << m.OPCODE_SHIFT
    rows[::2, 0] = m.OP_ALLOC << m.OPCODE_SHIFT
    rows[:, 4] = 0
    rows[::2, 4] = 5
    before = gpu.dispatches
    results, errors = gpu.drain(rows)
    assert gpu.dispatches - before == 3
    assert not errors.any()
    assert (results == np.where(np.arange(2 * count) % 2, m.HEAP_GRANULE, 0)).all()
    pings = np.zeros((4096, 16), np.uint32)
    pings[:, 0] = m.OP_PING << m.OPCODE_SHIFT
    pings[:, 4] = np.arange(4096)
    before = gpu.dispatches
    assert (gpu.drain(pings)[0] == np.arange(4096)).all()
    assert gpu.dispatches - before == 1


def table(bench: Bench, *rows: tuple[int, int, int, int]) -> tuple[int, int]:
    bench.memory.data(DATA, 16 * len(rows))[:] = b"".join(words(*row) for row in rows)
    return DATA, len(rows)


def find(bench: Bench, name: str) -> int:
    bench.memory.data(DATA, len(name))[:] = name.encode()
    return bench.client.request(m.OP_SYSCALL, words(m.CALL_SHADER_FIND, 0, DATA, 0, len(name))).result


def test_a_sum_of_vectors(bench: Bench) -> None:
    shader, count = find(bench, "vector_add"), 1000
    a = np.random.default_rng(1).random(count, np.float32)
    b = np.random.default_rng(2).random(count, np.float32)
    places = [DATA + 0x1000 * n for n in (1, 2, 3)]
    bench.memory.data(places[0], 4 * count)[:] = a.tobytes()
    bench.memory.data(places[1], 4 * count)[:] = b.tobytes()
    access = (m.ACCESS_READ, m.ACCESS_READ, m.ACCESS_WRITE)
    at = table(bench, *((place, 4 * count, n, access[n]) for n, place in enumerate(places)))
    done = bench.client.request(m.OP_GPU_EXECUTE, words(shader, -(-count // 64), 1, 1, *at))
    assert done.name == "OK"
    assert done.result > 0
    assert (np.frombuffer(bytes(bench.memory.data(places[2], 4 * count)), np.float32) == a + b).all()


def test_a_product_through_the_device_heap(bench: Bench) -> None:
    shader = find(bench, "matrix_product")
    rows, inner, columns = 13, 40, 9
    chance = np.random.default_rng(3)
    a, b = chance.random((rows, inner), np.float32), chance.random((inner, columns), np.float32)
    block = bench.client.request(m.OP_ALLOC, words(a.nbytes)).result
    scale = find(bench, "vector_scale")
    bench.memory.data(DATA + 0x1000, 4)[:] = struct.pack("<f", 1.0)
    bench.memory.data(DATA + 0x2000, a.nbytes)[:] = a.tobytes()
    heap = m.ACCESS_HEAP
    at = table(
        bench, (DATA + 0x1000, 4, 0, 1), (DATA + 0x2000, a.nbytes, 1, 1), (block, a.nbytes, 2, 2 | heap)
    )
    assert bench.client.request(m.OP_GPU_EXECUTE, words(scale, 9, 1, 1, *at)).name == "OK"
    bench.memory.data(DATA + 0x1000, 16)[:] = words(rows, columns, inner, 0)
    bench.memory.data(DATA + 0x2000, b.nbytes)[:] = b.tobytes()
    at = table(
        bench,
        (DATA + 0x1000, 16, 0, 1), (block, a.nbytes, 1, 1 | heap), (DATA + 0x2000, b.nbytes, 2, 1),
        (DATA + 0x4000, 4 * rows * columns, 3, 2),
    )  # fmt: skip
    assert bench.client.request(m.OP_GPU_EXECUTE, words(shader, 2, 2, 1, *at)).name == "OK"
    got = np.frombuffer(bytes(bench.memory.data(DATA + 0x4000, 4 * rows * columns)), np.float32)
    assert np.allclose(got.reshape(rows, columns), a @ b, rtol=1e-5)
    assert bench.client.request(m.OP_FREE, words(block)).name == "OK"


def run_layer(
    bench: Bench, name: str, shape: tuple[int, ...], arrays: list[Floats], out: tuple[int, ...]
) -> tuple[str, Floats]:
    """A layer by name on arrays in the data area: (the error's name, the result)."""
    shader = find(bench, name)
    at = DATA + 0x1000
    bench.memory.data(at, 16)[:] = words(*shape)
    rows = [(at, 16, 0, m.ACCESS_READ)]
    for number, array in enumerate([*arrays, np.zeros(out, np.float32)], 1):
        at += 0x4000
        bench.memory.data(at, array.nbytes)[:] = array.tobytes()
        access = m.ACCESS_WRITE if number > len(arrays) else m.ACCESS_READ
        rows.append((at, array.nbytes, number, access))
    done = bench.client.request(m.OP_GPU_EXECUTE, words(shader, 1, 1, 1, *table(bench, *rows)))
    size = rows[-1][1]
    return done.name, np.frombuffer(bytes(bench.memory.data(at, size)), np.float32).reshape(out)


def test_layers_against_numpy(bench: Bench) -> None:
    chance = np.random.default_rng(5)
    x, y = (chance.standard_normal((7, 19)).astype(np.float32) for _ in range(2))
    gain = chance.standard_normal(19).astype(np.float32)
    silu = x / (1 + np.exp(-x))
    soft = np.exp(x - x.max(1, keepdims=True))
    wanted = {
        "relu": ([x], np.maximum(x, 0)),
        "silu": ([x], silu),
        "softmax": ([x], soft / soft.sum(1, keepdims=True)),
        "swiglu": ([x, y], silu * y),
        "rms_norm": ([x, gain], x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6) * gain),
    }
    for name, (arrays, result) in wanted.items():
        error, got = run_layer(bench, name, (7, 19, 0, 0), arrays, (7, 19))
        assert error == "OK", name
        assert np.allclose(got, result, rtol=1e-4, atol=1e-5), name
    b = chance.standard_normal((19, 5)).astype(np.float32)
    error, got = run_layer(bench, "matmul", (7, 5, 19, 0), [x, b], (7, 5))
    assert error == "OK"
    assert np.allclose(got, x @ b, rtol=1e-4, atol=1e-5)


def test_causal_attention_with_grouped_heads(bench: Bench) -> None:
    chance = np.random.default_rng(6)
    positions, heads, groups, size = 9, 4, 2, 16
    q = chance.standard_normal((positions, heads, size)).astype(np.float32)
    k, v = (chance.standard_normal((positions, groups, size)).astype(np.float32) for _ in range(2))
    error, got = run_layer(bench, "attention", (positions, heads, groups, size), [q, k, v], q.shape)
    assert error == "OK"
    for head in range(heads):
        group = head * groups // heads
        scores = q[:, head] @ k[:, group].T / np.sqrt(size)
        scores[np.triu_indices(positions, 1)] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        result = weights / weights.sum(1, keepdims=True) @ v[:, group]
        assert np.allclose(got[:, head], result, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 18, 0, 0), (0, 0, 0, 0), (1 << 31, 1 << 31, 0, 0), (19, 7, 1, 1)])
def test_a_layer_s_shape_that_its_buffers_do_not_have(bench: Bench, shape: tuple[int, ...]) -> None:
    x = np.ones((7, 19), np.float32)
    name = "attention" if shape[2] else "softmax"
    assert run_layer(bench, name, shape, [x], (7, 19))[0] == "BAD_DISPATCH"


def test_a_hostile_client_of_a_real_device(gpu: Gpu) -> None:
    bench = Bench(gpu)
    bench.connect()
    hostile = Hostile(11)
    hostile.attack([bench], 400)
    assert hostile.answered > 400


@pytest.mark.parametrize("inner", [LOOP_MAX, LOOP_MAX + 1])
def test_the_bound_on_loops_is_asserted_on_both_of_its_sides(bench: Bench, inner: int) -> None:
    shader = find(bench, "matrix_product")
    bench.memory.data(DATA + 0x1000, 16)[:] = words(1, 1, inner, 0)
    ones = np.ones(inner, np.float32)
    first, second = DATA + 0x10000, DATA + 0x30000
    bench.memory.data(first, ones.nbytes)[:] = ones.tobytes()
    bench.memory.data(second, ones.nbytes)[:] = ones.tobytes()
    at = table(
        bench,
        (DATA + 0x1000, 16, 0, 1), (first, ones.nbytes, 1, 1), (second, ones.nbytes, 2, 1),
        (DATA + 0x2000, 4, 3, 2),
    )  # fmt: skip
    done = bench.client.request(m.OP_GPU_EXECUTE, words(shader, 1, 1, 1, *at))
    if inner > LOOP_MAX:
        assert done.name == "BAD_DISPATCH"
    else:
        assert done.name == "OK"
        assert struct.unpack("<f", bench.memory.data(DATA + 0x2000, 4))[0] == inner


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shape": (2, 1, 4, 0)}, "BAD_DISPATCH"),
        ({"shape": (1, 1, 4, 1)}, "BAD_DISPATCH"),
        ({"bindings": (0, 1, 2, 4)}, "BAD_DISPATCH"),
        ({"last": m.ACCESS_READ}, "BAD_DISPATCH"),
        ({}, "OK"),
    ],
)
def test_buffers_that_the_shader_does_not_take(bench: Bench, change: dict[str, Any], error: str) -> None:
    shader = find(bench, "matrix_product")
    bench.memory.data(DATA + 0x1000, 16)[:] = words(*change.get("shape", (1, 1, 4, 0)))
    bindings = change.get("bindings", (0, 1, 2, 3))
    access = (1, 1, 1, change.get("last", m.ACCESS_WRITE))
    sizes = (16, 16, 16, 4)
    at = table(bench, *((DATA + 0x1000 * (n + 1), sizes[n], bindings[n], access[n]) for n in range(4)))
    assert bench.client.request(m.OP_GPU_EXECUTE, words(shader, 1, 1, 1, *at)).name == error


def test_limits_and_features_are_the_adapter_s(bench: Bench, gpu: Gpu) -> None:
    assert bench.client.features & m.FEATURE_EXECUTE
    limit = bench.client.request(m.OP_SYSCALL, words(m.CALL_DEVICE_LIMIT, 0, 0)).result
    assert limit == gpu.device.limits["max-compute-invocations-per-workgroup"]


def test_info_names_adapter_limits_and_features() -> None:
    answer = pxos("gpu", "info", "--json")
    assert answer.status == 0
    schemas.validate(answer.data, "gpu")
    assert answer.data["adapter"]["name"] in pxos("gpu", "info").output
    wrong = pxos("gpu", "info", "--adapter", "no such thing")
    assert wrong.status == 2
    assert "no adapter is called" in wrong.errors
