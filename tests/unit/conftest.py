"""What the unit tests share: one encoder for all of a worker's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolchain.encode import Encoder


@pytest.fixture(scope="session")
def encoder() -> Iterator[Encoder]:
    with Encoder() as made:
        yield made
