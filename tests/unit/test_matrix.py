"""The sample of the boot matrix: each two values meet in it, and it stays small."""

from __future__ import annotations

import itertools

from tests.boot import matrix


def test_every_combination_is_a_point() -> None:
    every = matrix.points()
    assert len(every) == len({point.name for point in every}) == 2 * 3 * 4 * 3 * 4


def test_the_sample_brings_each_two_values_together() -> None:
    chosen = matrix.sample(matrix.points())
    for (one, firsts), (other, seconds) in itertools.combinations(matrix.AXES.items(), 2):
        for first, second in itertools.product(firsts, seconds):
            assert any(getattr(p, one) == first and getattr(p, other) == second for p in chosen)
    assert len(chosen) <= 18  # 16 would be the least: four numbers of CPUs, four displays
    assert sum(point.path == "uefi" for point in chosen) == 4
    assert chosen == matrix.sample(matrix.points())
