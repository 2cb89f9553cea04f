"""Seed codes on the GPU: every family, every corner of its fields, word for word what NumPy draws."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from pixelvm.god import family, gpu, seed, shader
from pixelvm.god.family import FAMILIES, Code, Family
from pixelvm.god.gpu import Painter
from tests.unit.god_tiles import some
from toolchain.gpu.device import LOOP_MAX, Device

CORNERS_MAX = 16  # of one family


@pytest.fixture(scope="module")
def painter(device: Device) -> Painter:
    return Painter(device)


def corners(kind: Family) -> list[Code]:
    """Codes whose fields are each at their least or greatest value."""
    ends = product(*((field.least, field.greatest) for field in kind.fields))
    found = [family.code(kind.kind, *values) for values in ends]
    return [one for one in found if one is not None][:CORNERS_MAX]


def agree(painter: Painter, codes: list[Code]) -> None:
    for one, ours in zip(codes, painter.expand(codes), strict=True):
        assert np.array_equal(ours, seed.expand(one)), one


@pytest.mark.parametrize("kind", FAMILIES.values(), ids=lambda kind: kind.name)
def test_a_family_is_the_same(painter: Painter, kind: Family) -> None:
    chance = random.Random(kind.name)
    agree(painter, corners(kind) + [some(chance, kind) for _ in range(8)])


@pytest.mark.slow
def test_many_codes_are_the_same(painter: Painter) -> None:
    chance = random.Random(1)
    kinds = list(FAMILIES.values())
    agree(painter, [some(chance, chance.choice(kinds)) for _ in range(4 * gpu.BATCH + 3)])


def test_more_than_a_batch(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "BATCH", 4)
    chance = random.Random(2)
    agree(painter, [some(chance, kind) for kind in FAMILIES.values()])


def test_loops_stay_below_the_limit() -> None:
    assert gpu.ITERATIONS <= LOOP_MAX


def test_the_shader_holds_the_constants_of_the_families() -> None:
    text = shader.SHADER.read_text(encoding="utf-8")
    assert shader.generated(text) == text, "run python -m pixelvm.god.shader"
    assert shader.generated(text.replace("const JULIA: u32 = 82u;", "")) == text
