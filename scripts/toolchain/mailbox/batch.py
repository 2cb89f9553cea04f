"""How a batch of fetched rows is taken apart: what the drainer runs, and where a barrier stands.

Owns: these two questions. Never runs a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from toolchain.mailbox import layout as m
from toolchain.mailbox.device import DRAINED

if TYPE_CHECKING:
    from toolchain.mailbox.device import Rows


@cache
def drained_flags() -> Any:
    """Opcode -> the flags, BARRIER aside, with which the drainer runs it; for others what no flags can be."""
    import numpy as np

    table = np.full(1 << 8, m.FLAGS_MASK + 1, np.uint32)
    table[list(DRAINED)] = 0
    table[m.OP_PING] = m.FLAG_DEVICE
    return table


def between_barriers(rows: Rows) -> Iterator[Rows]:
    """Parts of a batch such that a BARRIER, and a HALT, stands alone."""
    import numpy as np

    alone = (rows[:, 0] & m.FLAG_BARRIER != 0) | (rows[:, 0] >> m.OPCODE_SHIFT == m.OP_HALT)
    if not alone.any():
        yield rows
        return
    start = 0
    for place in np.flatnonzero(alone):
        if place > start:
            yield rows[start:place]
        yield rows[place : place + 1]
        start = int(place) + 1
    if start < len(rows):
        yield rows[start:]
