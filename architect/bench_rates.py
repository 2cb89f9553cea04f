"""How many candidates a second the workers try, read from the journals that repairs leave behind.

Owns the sorting of candidates by what was asked of them (a contract alone, the first boot, all boots, a boot that
hung), and the rows. Never tries a candidate itself: ``bench_boots`` does, where repairs boot too few to tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from architect.journal import records
from architect.ladder import FIRST
from toolchain import measure

Kind = Literal["contract", "first", "booted", "tested", "hung", "empty"]
Seconds = Mapping[Kind, list[float]]  # kind -> what each took of its worker, in seconds
KINDS: Mapping[Kind, str] = {
    "contract": "contract-tested candidates/s",
    "first": "first boots/s",  # the machine alone, of those
    "booted": "booted candidates/s",  # refused by their first boot: build and checks too
    "tested": "candidates booted with all tests/s",
    "hung": "candidates that hang/s",
}
_PEER = "boots of an empty kernel/s"
_BESIDE_EMPTY: tuple[Kind, ...] = ("first", "booted")
HUNG = ("timeout", "silent")


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
            if kind == "booted":
                found["first"] += [float(boot["seconds"]) for boot in boots]
    return found


def _kind(record: Mapping[str, Any], boots: list[Mapping[str, Any]]) -> Kind | None:
    if not boots:
        return "contract" if record["gates"][-1]["gate"] == "contract" and not record["boots"] else None
    if any(boot["outcome"] in HUNG for boot in boots):
        return "hung"
    return "booted" if all(boot["what"] == FIRST for boot in boots) else "tested"


def rows(parts: Iterable[Seconds], booted: Seconds) -> list[dict[str, Any]]:
    """The rows of ``pxos bench fix``: candidates a second while every core has one.

    Args:
        parts: of each repair.
        booted: of candidates that were booted for the measure, with boots of an empty kernel between them; where
            there are any, the rows of first boots are theirs.
    """
    cores = os.cpu_count() or 1
    taken: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for part in parts:
        for kind in KINDS:
            taken[kind] += part.get(kind, [])
    if booted.get("booted"):
        taken |= {kind: booted[kind] for kind in _BESIDE_EMPTY}
    empty = booted.get("empty", [])
    made = []
    for kind, what in KINDS.items():
        if sum(taken[kind]):
            ours = [cores * len(taken[kind]) / sum(taken[kind])]
            peer = [cores * len(empty) / sum(empty)] if kind in _BESIDE_EMPTY and empty else []
            unit = "boots/s" if kind == "first" else "candidates/s"
            row = measure.row(what, ours, _PEER if peer else "", peer, unit)
            made.append({**row, "runs": len(taken[kind])})
    return made
