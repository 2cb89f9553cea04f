"""What the unit tests share: one encoder for all of a worker's tests, and a folder of bad things."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.bad_things import made, things
from toolchain.encode import Encoder

__all__ = ["made", "things"]


@pytest.fixture(scope="session")
def encoder() -> Iterator[Encoder]:
    with Encoder() as made:
        yield made
