"""How many candidates a second the workers try, read from the journals that repairs leave behind.

Owns the sorting of candidates by what was asked of them: a contract alone, the first boot, all boots, a boot that hung.
The peer of a first boot is an empty kernel's, booted side by side on as many cores. Never tries a candidate itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from architect.bench import empty_boot_seconds
from architect.journal import records
from architect.ladder import FIRST
from toolchain import measure

Kind = Literal["contract", "first", "booted", "tested", "hung"]
Seconds = Mapping[Kind, list[float]]  # kind -> what each took of its worker, in seconds
KINDS: Mapping[Kind, str] = {
    "contract": "contract-tested candidates/s",
    "first": "first boots/s",  # the machine alone, of candidates that did not hang there
    "booted": "booted candidates/s",  # refused by their first boot: build, checks and contracts too
    "tested": "candidates booted with all tests/s",
    "hung": "candidates that hang/s",
}
_PEER = "boots of an empty kernel/s"
_BESIDE_EMPTY = ("first", "booted")
_EMPTY_BOOTS = 5  # of each core
_HUNG = ("timeout", "silent")


def of_journals(folder: Path) -> Seconds:
    """What the candidates of the repairs below ``folder`` took; those whose verdict was known already do not count."""
    found: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.glob("*/journal.jsonl")):
        for record in records(path):
            if record["kind"] != "evaluation" or record["duplicate"] or not record["gates"]:
                continue
            boots = [boot for gate in record["gates"] for boot in gate["evidence"].get("boots", ())]
            kind = _kind(record, boots)
            if kind is not None:
                found[kind].append(float(record["took"]))
            found["first"] += [
                float(boot["seconds"])
                for boot in boots
                if boot["what"] == FIRST and boot["outcome"] not in _HUNG
            ]
    return found


def _kind(record: Mapping[str, Any], boots: list[Mapping[str, Any]]) -> Kind | None:
    if not boots:
        return "contract" if record["gates"][-1]["gate"] == "contract" and not record["boots"] else None
    if any(boot["outcome"] in _HUNG for boot in boots):
        return "hung"
    return "booted" if all(boot["what"] == FIRST for boot in boots) else "tested"


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
            peer = [cores * len(empty) / sum(empty)] if kind in _BESIDE_EMPTY and empty else []
            unit = "boots/s" if kind == "first" else "candidates/s"
            made.append(
                {**measure.row(what, ours, _PEER if peer else "", peer, unit), "runs": len(taken[kind])}
            )
    return made


def empty_boots(folder: Path) -> list[float]:
    """Seconds of an empty kernel's boots with start and end of the machine, one on each core at a time."""
    cores = os.cpu_count() or 1

    def some(number: int) -> list[float]:
        return [measure.timed(lambda: empty_boot_seconds(folder / str(number))) for _ in range(_EMPTY_BOOTS)]

    with ThreadPoolExecutor(cores) as threads:
        return [seconds for part in threads.map(some, range(cores)) for seconds in part]
