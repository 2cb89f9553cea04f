"""The tool that measures: round trips through the mailbox, boots, builds, shaders, and what a routine costs.

Every figure is taken at that moment on this machine, beside a peer from the same run where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from architect.tools import subcommand
from architect.tools.base import Answer, schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from architect.tools.desk import Desk

STAGE = "tools"
SECONDS, SECONDS_MAX = 180.0, 600.0
_OF_THE_KERNEL = ("boot", "build", "pixel", "boot-units", "instructions")
BENCHES = ("mailbox", "boot", "build", "shaders", "vm", "pixel")


class Measure:
    """``measure``."""

    name = "measure"
    summary = (
        "Measure now, on this machine, beside a peer: mailbox (round trips polled and by doorbell), boot, build,"
        " shaders, vm, pixel; boot-units (ticks of each boot unit of the kernel at hand); instructions (of a boot of"
        " the kernel at hand, by icount: exact and repeatable)."
    )
    parameters = schema(
        ("what",),
        what={"type": "string", "enum": [*BENCHES, "boot-units", "instructions"]},
        seconds={"type": "number", "minimum": 1, "maximum": SECONDS_MAX},
    )

    def call(self, desk: Desk, what: str, seconds: float = SECONDS) -> Answer:
        """One measurement."""
        if what in _OF_THE_KERNEL:
            desk.need_native(f"{self.name} {what}")
        if what == "instructions":
            return _instructions(desk)
        if what == "boot-units":
            return _units(desk)
        words = ["bench", what]
        if what in _OF_THE_KERNEL:
            words += ["--kernel", str(desk.on_disk())]
        data = subcommand.pxos(words, seconds, desk.say)
        return Answer(
            "\n".join(map(row_text, data["rows"])) + f"\n{machine_text(data['machine'])}", dict(data)
        )


def row_text(row: Mapping[str, Any]) -> str:
    """One row of a bench for people."""
    text = f"{row['what']}: {row['ours']:g} {row['unit']}"
    if row.get("peer_value") is not None:
        text += f"; {row['peer']}: {row['peer_value']:g} {row['unit']} (ratio {row['ratio']:g})"
    tail = ", ".join(f"{name} {row[name]:g}" for name in ("p50", "p99", "p999") if name in row)
    return f"{text}; {tail}" if tail else text


def machine_text(machine: Mapping[str, Any]) -> str:
    """On which machine it was measured."""
    return f"on {machine['cpu']}, {machine['cores']} cores, {machine['system']}"


def _instructions(desk: Desk) -> Answer:
    """Instructions from reset to PXREADY, by QEMU's instruction counter."""
    result = desk.boot(icount=True, timeout=60.0)
    if result.ready_tsc is None:
        return Answer(f"the boot did not reach PXREADY: {result.outcome}", ok=False)
    rows = sorted(result.units, key=lambda unit: unit.tsc_start - unit.tsc)
    lines = [f"instructions to ready: {result.ready_tsc}"]
    lines += [f"  {unit.name:<14} {unit.tsc - unit.tsc_start:>10}" for unit in rows]
    return Answer("\n".join(lines), {"instructions": result.ready_tsc})


def _units(desk: Desk) -> Answer:
    """Ticks of each boot unit, as the live kernel tells them."""
    import json

    said = json.loads(desk.live().ask("units -j"))
    rows = sorted(said["units"], key=lambda row: -int(row["ticks"]))
    lines = [f"{row['name']:<14} {row['state']:<5} {row['ticks']:>12} ticks" for row in rows]
    return Answer("\n".join(lines), said)
