"""What operators keep of a view goes with it: one repair must not burden the next."""

from __future__ import annotations

import gc
import weakref
from itertools import islice
from pathlib import Path

from architect.frontier import Frontier
from tests.architect.kernels import case, sources


def test_a_frontier_that_was_used_is_let_go(tmp_path: Path) -> None:
    frontier = Frontier(case(tmp_path, sources()))
    assert list(islice(iter(frontier.pop, None), 40))
    view = weakref.ref(frontier.view)
    del frontier
    gc.collect()
    assert view() is None
