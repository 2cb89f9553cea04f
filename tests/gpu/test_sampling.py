"""Sampling: the order, the cuts, the generator, the frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from toolchain.errors import InputError
from toolchain.gpu import tensor
from toolchain.gpu.device import Device
from toolchain.gpu.sampling import Sampler

Array = np.ndarray[Any, np.dtype[Any]]
WORD = 1 << 32


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 as in Salmon et al. (2011), figure 3 and section 4.3."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q % WORD, (p >> 32) ^ c[3] ^ k[1], p % WORD]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return c


def sample(device: Device, logits: Array, **parameters: Any) -> list[int]:
    tokens = Sampler(device).sample(tensor.upload(device, logits), **parameters)
    return [int(token) for token in tensor.download(device, tokens)]


def kept(logits: Array, temperature: float, top_k: int, top_p: float) -> tuple[list[int], Array]:
    """The tokens that may be drawn, in order of likelihood, and their weights."""
    order = np.lexsort((np.arange(len(logits)), -logits.astype(np.float64)))
    if top_k:
        order = order[:top_k]
    weights = np.exp((logits[order].astype(np.float64) - logits.max()) / temperature)
    reach = np.cumsum(weights) / weights.sum()
    count = int(np.searchsorted(reach, top_p * (1 - 1e-12)) + 1) if top_p < 1 else len(order)
    return [int(t) for t in order[:count]], weights[:count]


def test_the_generator_is_philox() -> None:
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([WORD - 1] * 4, [WORD - 1] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("seed", [0, 1, 0x0123456789ABCDEF, WORD**2 - 1])
def test_a_draw_is_named_by_seed_step_and_row(device: Device, seed: int) -> None:
    logits = np.full((3, 1 << 12), -2.5, np.float32)  # equal weights: the token is the draw's high bits
    for step in (0, 7, WORD - 1):
        found = sample(device, logits, temperature=1.0, seed=seed, step=step)
        expected = [philox([row, step, 0, 0], [seed % WORD, seed >> 32])[0] >> 20 for row in range(3)]
        assert found == expected


def test_greedy_takes_the_first_of_the_greatest(device: Device) -> None:
    rng = np.random.default_rng(1)
    for columns in (1, 2, 255, 256, 257, 5000):
        logits = rng.integers(-50, 50, (4, columns)).astype(np.float32)
        assert sample(device, logits) == [int(i) for i in logits.argmax(axis=1)]
    hostile = np.array(
        [[np.nan, -np.inf, -1], [-np.inf] * 3, [1, np.inf, np.inf], [-0.0, 0.0, -1]], np.float32
    )
    assert sample(device, hostile) == [2, 0, 1, 0]
    assert sample(device, np.array([3, 9, 4], np.float32)) == [1]


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (7, 1.0), (0, 0.6), (40, 0.9), (1, 1.0), (0, 1e-5)])
def test_draws_are_where_the_weights_by_index_say(device: Device, top_k: int, top_p: float) -> None:
    rng = np.random.default_rng(2)
    for columns, temperature in ((1, 1.0), (50, 0.7), (1000, 1.5)):
        logits = (rng.standard_normal((40, columns)) * 2).astype(np.float32)
        found = sample(device, logits, temperature=temperature, top_k=top_k, top_p=top_p, seed=9, step=3)
        for row, token in enumerate(found):
            tokens, weights = kept(logits[row], temperature, top_k, top_p)
            assert token in tokens
            by_index = np.argsort(tokens)
            reach = np.concatenate([[0.0], np.cumsum(weights[by_index]) / weights.sum()])
            at = int(np.searchsorted(np.array(tokens)[by_index], token))
            draw = philox([row, 3, 0, 0], [9, 0])[0] / WORD
            slack = 1e-6 * columns  # weights are held to 2^-21 of the greatest
            assert reach[at] - slack <= draw <= reach[at + 1] + slack


def test_equal_logits_are_cut_by_index(device: Device) -> None:
    logits = np.array([[1, 2, 2, 2, 0, 2]], np.float32)
    drawn = [
        {sample(device, logits, temperature=1.0, top_k=k, seed=s)[0] for s in range(40)} for k in (1, 2, 3)
    ]
    assert drawn == [{1}, {1, 2}, {1, 2, 3}]
    behind = np.array([[2, 5, 2, 2]], np.float32)
    assert {sample(device, behind, temperature=9.0, top_k=2, seed=s)[0] for s in range(40)} == {0, 1}
    halves = np.array([[5, 5]], np.float32)
    assert {sample(device, halves, temperature=1.0, top_p=0.5, seed=s)[0] for s in range(30)} == {0}
    assert {sample(device, halves, temperature=1.0, top_p=0.51, seed=s)[0] for s in range(30)} == {0, 1}


def test_frequencies_are_the_probabilities(device: Device) -> None:
    logits = np.tile(np.log(np.array([1, 2, 3, 4], np.float32)), (4000, 1))
    counts = np.bincount(sample(device, logits, temperature=1.0, seed=4), minlength=4)
    expected = np.array([400, 800, 1200, 1600])
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3  # chi-square, 3 degrees, 0.001


def test_impossible_tokens_are_never_drawn(device: Device) -> None:
    logits = np.tile(np.array([-np.inf, 0, np.nan, 1, -1e38], np.float32), (200, 1))
    assert set(sample(device, logits, temperature=2.0, seed=5)) == {1, 3}
    assert set(sample(device, logits[:, [0, 2]], temperature=2.0, seed=5)) == {0}


@pytest.mark.parametrize("columns", [40_000, 130_000])
def test_both_sides_of_what_a_workgroup_of_256_may_loop(device: Device, columns: int) -> None:
    logits = np.random.default_rng(6).standard_normal((1, columns), np.float32)
    tokens, _ = kept(logits[0], 1.0, 50, 1.0)
    assert sample(device, logits, temperature=1.0, top_k=50, seed=1)[0] in tokens


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"temperature": -1.0}, "temperature -1"), ({"temperature": 1e-9}, "temperature 1e-09"),
        ({"temperature": float("nan")}, "temperature nan"), ({"top_p": 0.0}, "top_p 0"),
        ({"top_p": 1.5}, "top_p 1.5"), ({"top_k": -1}, "top_k -1"), ({"seed": WORD**2}, "a seed has 64 bits"),
        ({"step": -1}, "step -1"),
    ],
)  # fmt: skip
def test_parameters_outside_their_range_are_named(
    device: Device, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        sample(device, np.zeros((1, 4), np.float32), **parameters)


def test_rows_that_are_too_long_are_refused(device: Device) -> None:
    with pytest.raises(InputError, match="iterations of one invocation"):
        Sampler(device).sample(tensor.empty(device, (400_000,)))
