"""By which gates a kernel is tried, on which machines, and how long it may take.

Owns the names of the gates in their order and the terms of one trial. Never tries anything: ``verify`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from architect.ladder import Probe

STATIC = ("checks", "contract")
BOOTS = ("boot", "tests", "claims")
QUICK = (*STATIC, *BOOTS)
BOOT_FIRST = (*BOOTS, *STATIC)  # cheaper when every routine would be looked at
# Machines on which a repaired kernel must boot besides the usual one: a repair that suits only that one is none.
MACHINES: Mapping[str, Mapping[str, Any]] = {
    "machine-pc": {"machine": "pc"},
    "machine-bochs": {"display": "bochs"},
    "claims-bochs": {
        "display": "bochs",
        "inspect_ready": True,
    },  # measured there too, or only one display is served
    "machine-headless": {"display": "none", "memory": "64M"},
}
REST = ("iso", *MACHINES)
THOROUGH = (*QUICK, *REST)
UEFI = (
    "iso-uefi"  # of the finalist alone, where the firmware is installed: it takes as long as all other boots
)
FINAL_BOOTS = 4 + len(
    MACHINES
)  # with tests, a look at PXREADY, the ISO on both firmwares, the other machines
NEED_READY = frozenset(("tests", "claims"))
BOOTING = frozenset((*THOROUGH, UEFI)) - {"checks", "contract", "tests"}
ISO_TIMEOUT_FACTOR = 8.0  # GRUB alone takes ten times as long as qboot
UEFI_TIMEOUT_FACTOR = 30.0
WHOLE_FACTOR = 20.0  # the bound of a whole boot, for a kernel that says line after line and never ends
PATIENCE_FACTOR = (
    4.0  # the deadline of a candidate that came further than the unpatched kernel and was cut short
)


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms a kernel is tried.

    Attributes:
        gates: names, in order.
        timeout: seconds without a line of the contract after which a direct boot counts as hung.
        boots: how many boots are granted.
        routines: the routines whose code changed; None for all.
        files: the sources whose data changed.
        probe: the first boot, which only refuses; None where every boot is asked in full.
        hangs: the unpatched kernel ends at its deadline too.
        explain: whether every violation is told, and every death gets a whole fault report; else the first violation
            found, and a report only of what came further than ``reached``.
        reached: how far the unpatched kernel came; one that comes further earns patience.
    """

    gates: tuple[str, ...]
    timeout: float
    boots: int
    routines: tuple[str, ...] | None = None
    reached: float = 1.0
    hangs: bool = False
    explain: bool = True
    files: tuple[str, ...] = ()
    probe: Probe | None = None
