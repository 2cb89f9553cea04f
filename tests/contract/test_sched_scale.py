"""What a scheduling decision costs, in instructions, from 16 threads to 1,024: it grows with the logarithm."""

from __future__ import annotations

import itertools

from architect.contracts import sched
from tests.contract.planting import kernel
from toolchain.harness import Harness

COUNTS = (16, 64, 256, 1024)
MOST = 400  # with 64 threads
LEVEL = 50  # instructions that one level of both heaps may cost: each factor of 4 adds two levels


def test_a_decision_grows_with_the_logarithm_of_the_threads() -> None:
    harness = Harness(kernel())
    costs = {count: sched.cost(harness, count) for count in COUNTS}
    print("instructions of a decision, by threads:", costs)
    assert costs[64] < MOST, costs
    steps = [after - before for before, after in itertools.pairwise(costs.values())]
    assert all(0 < step <= 2 * LEVEL for step in steps), costs
    assert max(steps) - min(steps) <= LEVEL, costs  # equal factors, equal steps
