"""How many candidates a second the workers try, read from the journals that repairs leave behind.

Owns the sorting of candidates by what was asked of them: a contract alone, a boot that ended, a boot that hung. The
peer of those that boot is an empty kernel, booted side by side on as many cores. Never tries a candidate itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from architect.bench import empty_boot_seconds
from architect.journal import records
from toolchain import measure

Kind = Literal["contract", "booted", "hung"]
Seconds = Mapping[Kind, list[float]]  # kind -> what each candidate took of its worker, in seconds
KINDS: Mapping[Kind, str] = {
    "contract": "contract-tested candidates/s",
    "booted": "booted candidates/s",
    "hung": "candidates that hang/s",
}
_PEER = "boots of an empty kernel/s"
_EMPTY_BOOTS = 5  # of each core
_HUNG = ("timeout", "silent")


def of_journals(folder: Path) -> Seconds:
    """What the candidates of the repairs below ``folder`` took; those whose verdict was known already do not count."""
    found: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.glob("*/journal.jsonl")):
        for record in records(path):
            kind = _kind(record)
            if kind is not None:
                found[kind].append(sum(float(gate["seconds"]) for gate in record["gates"]))
    return found


def _kind(record: Mapping[str, Any]) -> Kind | None:
    if record["kind"] != "evaluation" or record["duplicate"] or not record["gates"]:
        return None
    boot = next((gate for gate in record["gates"] if gate["gate"] == "boot"), None)
    if record["boots"] and boot is not None:
        return "hung" if boot["evidence"].get("outcome") in _HUNG else "booted"
    return "contract" if record["gates"][-1]["gate"] == "contract" else None


def rows(parts: Iterable[Seconds], empty: list[float]) -> list[dict[str, Any]]:
    """The rows of ``pxos bench fix``: candidates a second while every core has one.

    Args:
        parts: of each repair.
        empty: seconds of boots of an empty kernel, as many side by side as there are cores.
    """
    cores = os.cpu_count() or 1
    taken: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for part in parts:
        for kind, seconds in part.items():
            taken[kind] += seconds
    made = []
    for kind, what in KINDS.items():
        if sum(taken[kind]):
            ours = [cores * len(taken[kind]) / sum(taken[kind])]
            peer = [cores * len(empty) / sum(empty)] if kind == "booted" and empty else []
            made.append(measure.row(what, ours, _PEER if peer else "", peer, "candidates/s"))
    return made


def empty_boots(folder: Path) -> list[float]:
    """Seconds of an empty kernel's boots, as many side by side as there are cores."""
    cores = os.cpu_count() or 1

    def some(number: int) -> list[float]:
        return [empty_boot_seconds(folder / str(number)) for _ in range(_EMPTY_BOOTS)]

    with ThreadPoolExecutor(cores) as threads:
        return [seconds for part in threads.map(some, range(cores)) for seconds in part]
