"""What every bench needs: interleaved runs, medians with their spread, rows of the contract, the machine.

Owns: how figures are taken and written down. Never judges one.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

DIGITS = 4  # significant digits of a figure


def machine() -> dict[str, Any]:
    """The machine of a run: processor, cores, memory, system, Python."""
    cpu = ""
    memory = 0
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [
            line.split(":", 1) for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        names = [value.strip() for _, value in lines]
        cpu = names[0] if names else ""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def timed(action: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def interleave(
    runs: Mapping[str, Callable[[], float]],
    rounds: int,
    *,
    warm_up: int = 1,
    tick: Callable[[str], None] | None = None,
) -> dict[str, list[float]]:
    """Run each measurement ``rounds`` times, one after the other in turn, so that drift of the machine hits all.

    Args:
        runs: name -> a function that returns its own measure (seconds, bytes, …).
        rounds: how many measures of each are kept.
        warm_up: rounds before them that are thrown away.
        tick: told of each round.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(warm_up + rounds):
        if tick is not None:
            tick(f"round {number + 1} of {warm_up + rounds}")
        for name, run in runs.items():
            value = run()
            if number >= warm_up:
                found[name].append(value)
    return found


def row(
    what: str,
    ours: Sequence[float],
    peer: str,
    peers: Sequence[float],
    unit: str,
    scale: float = 1.0,
    **more: object,
) -> dict[str, Any]:
    """One row of a bench: medians, their ratio, and the least and greatest of each.

    Args:
        what: the row's name, kept over time.
        ours: our measures.
        peer: the peer's name.
        peers: its measures, from the same rounds.
        unit: of the figures in the row.
        scale: what a measure is multiplied by for that unit.
        more: further keys.
    """
    own, other = statistics.median(ours), statistics.median(peers) if peers else None
    return {
        "what": what,
        "ours": _short(own * scale),
        "peer": peer,
        "peer_value": None if other is None else _short(other * scale),
        "ratio": _short(own / other) if other else None,
        "unit": unit,
        "spread": {
            "ours": [_short(min(ours) * scale), _short(max(ours) * scale)],
            "peer": [_short(min(peers) * scale), _short(max(peers) * scale)] if peers else None,
        },
        "runs": len(ours),
        **more,
    }


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
