"""The terminal of the person who runs a command: keys without waiting for Enter.

Owns its mode while that is needed. Reads and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keys_at_once() -> Iterator[None]:
    """Each key is read as it is pressed, unechoed; Ctrl-C still interrupts. Undone in any case.

    Where standard input is no terminal nothing changes.
    """
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
