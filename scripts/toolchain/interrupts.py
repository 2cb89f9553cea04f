"""Stretches of code that a wish to end must not cut in two: starting a child, making a folder that is to be removed.

Owns holding SIGINT, SIGTERM and SIGHUP back for a moment. Never swallows one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What asks to end inside the block takes effect at its end: no child is started and then lost sight of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, lambda *what: came.append(what))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for which, frame in came[:1]:
        meant = before[signal.Signals(which)]
        if callable(meant):
            meant(which, frame)
        elif meant == signal.SIG_DFL:
            signal.raise_signal(which)
