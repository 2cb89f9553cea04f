"""Seed codes and tiles for the tests of God Pixel."""

from __future__ import annotations

import random

import numpy as np

from pixelvm.god import family, seed
from pixelvm.god.container import Content
from pixelvm.god.family import Code, Family, Kind

CARPET_BASE, CARPET_MASK = 0, 3  # places of its fields


def some(chance: random.Random, kind: Family) -> Code:
    """A legal code of a family."""
    values = [chance.randint(field.least, field.greatest) for field in kind.fields]
    if kind.kind is Kind.CARPET:
        values[CARPET_MASK] &= (1 << (values[CARPET_BASE] + 2) ** 2) - 1
    return Code(kind, tuple(values))


def code(name: str, *values: int) -> Code:
    """The code of these values."""
    return Code(family.BY_NAME[name], values)


def tile(word: Code) -> Content:
    """The picture of a code."""
    return Content(seed.expand(word).astype("<u4").tobytes(), family.SIDE, family.SIDE)


def noise(width: int, height: int, number: int = 1) -> Content:
    """A picture that nothing compresses."""
    return Content(np.random.default_rng(number).bytes(4 * width * height), width, height)
