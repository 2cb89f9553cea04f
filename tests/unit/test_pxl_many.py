"""The compiler against the model of the language, in volume."""

from __future__ import annotations

import pytest

from tests.unit.test_pxl_programs import run_many


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 11_000, 1000))
def test_many_programs(first: int) -> None:
    run_many(range(first, first + 1000))
