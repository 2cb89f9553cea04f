"""What a boot is made of, for ``pxos bench boot``: instructions of each boot unit, bytes of the image, memory.

Owns: these rows, and what each is to reach at most. Instructions are ticks under icount, where one instruction is one
tick of the TSC; a unit's are those between its two PXBOOT lines. Memory is what the kernel keeps of the RAM above the
first megabyte once its shell is there, before any thread of a program: image, tables, blocks of the heap, stacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolchain import measure, qemu
from toolchain.errors import GuestFault
from toolchain.types import BootConfig, BootResult, Unit
from toolchain.typist import Typist

STAGE = "bench"
APART = {"clock": "timer calibration", "framebuffer": "framebuffer fill"}  # unit -> its row
OWN = "instructions to ready without these"
BETWEEN = "between units"
REACH_INSTRUCTIONS = 1_000_000
REACH_IMAGE = 400_000  # bytes
REACH_MEMORY = 4 << 20  # bytes
_MEGABYTE = 1 << 20
_KIB = 1 << 10


def instructions(
    boots: Sequence[tuple[int, BootResult]], peers: Sequence[float], peer: str
) -> list[dict[str, Any]]:
    """The rows of instructions.

    Args:
        boots: ticks at the kernel's first instruction, and the boot under icount, of each round.
        peers: instructions of the peer from its own first one to its readiness, or nothing.
        peer: its name.
    """
    totals = [float((result.ready_tsc or 0) - entry) for entry, result in boots]
    units = [_units(result.units) for _, result in boots]
    row = measure.row("instructions to ready", totals, peer, peers, "instructions")
    rows = [row]
    for unit, what in APART.items():
        rows.append(_row(what, [float(of.get(unit, 0)) for of in units]))
    own = [total - sum(of.get(unit, 0) for unit in APART) for total, of in zip(totals, units, strict=True)]
    rows.append(_row(OWN, own, reach=REACH_INSTRUCTIONS))
    for unit in units[0]:
        if unit not in APART:
            rows.append(_row(f"unit {unit}", [float(of[unit]) for of in units]))
    rest = [total - sum(of.values()) for total, of in zip(totals, units, strict=True)]
    rows.append(_row(BETWEEN, rest))
    return rows


def _units(units: Sequence[Unit]) -> Mapping[str, int]:
    return {unit.name: unit.tsc - unit.tsc_start for unit in units}


def _row(what: str, ours: Sequence[float], unit: str = "instructions", **more: Any) -> dict[str, Any]:
    return measure.row(what, ours, "", [], unit, **more)


def image(elf: Path, empty: Path, peer: Path | None) -> dict[str, Any]:
    """Bytes of the kernel's file; of a peer's disk image those up to its last byte that is not zero."""
    other = len(peer.read_bytes().rstrip(b"\0")) if peer else empty.stat().st_size
    name = f"{peer.name}" if peer else "empty PVH kernel"
    return measure.row("image", [float(elf.stat().st_size)], name, [float(other)], "bytes", reach=REACH_IMAGE)


def memory(elf: Path) -> dict[str, Any]:
    """Bytes of RAM that the kernel keeps.

    Raises:
        GuestFault: the shell does not answer.
    """
    with Typist("mem -j", "poweroff") as person:
        result = qemu.boot(BootConfig(elf), console=person)
    line = next((line for line in result.serial.splitlines() if line.startswith('{"command":"mem"')), None)
    if line is None:
        raise GuestFault(f"the shell did not answer: the boot ended as {result.outcome}", stage=STAGE)
    said = json.loads(line)
    usable = sum(
        int(row["length"], 16)
        for row in said["map"]
        if row["type"] == "usable" and int(row["base"], 16) >= _MEGABYTE
    )
    free = (said["total_kib"] - said["used_kib"]) * _KIB
    return _row("memory before the first user thread", [float(usable - free)], "bytes", reach=REACH_MEMORY)
