"""Finds processes of this machine by a mark that a test gave them. Ends none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal


def having(mark: str, where: Literal["cmdline", "environ"] = "cmdline") -> set[int]:
    """Numbers of the processes whose command line or environment holds ``mark``; never this one, and no zombie.

    Source: proc_pid_cmdline(5), proc_pid_environ(5): parts end in a NUL, and a zombie has none.
    """
    found = set()
    for place in Path("/proc").glob(f"[0-9]*/{where}"):
        try:
            held = place.read_bytes()
        except OSError:
            continue  # it has just ended, or is another user's
        if mark.encode() in held:
            found.add(int(place.parent.name))
    return found - {os.getpid()}
