"""How long the boots and the proof of one repair may take, measured by an empty kernel on the machine at hand.

Owns the factors and the boot that they are multiples of. Never ends anything itself.
"""

from __future__ import annotations

from pathlib import Path

from architect.terms import PATIENCE_FACTOR
from architect.tried import STAGE
from toolchain.files import make_folder, write_atomic
from toolchain.types import BootConfig

# How long a kernel may say nothing is a multiple of what a whole boot of an empty one takes on this machine, as loaded
# as it is: the longest silence of a healthy kernel, in its tests, takes eight. The minima are for disturbed clocks.
EMPTY_SECONDS = 10.0
DEADLINE_FACTOR, DEADLINE_MIN = 60.0, 3.0  # of the unpatched kernel
CANDIDATE_FACTOR, CANDIDATE_MIN = 24.0, 1.0
# What a finalist's gates and what follows take on two free cores: by the processor time of the diagnosis, which others'
# load does not stretch, and by a boot of an empty kernel where the tree does not assemble. UEFI takes the most of it.
PROOF_OF_GATES, PROOF_OF_UNIT = 2.5, 150.0
FINAL_MIN = 10.0  # of the finalist, which is rarely wrong: a host that is busy elsewhere must not refuse it


def empty_boot_seconds(folder: Path) -> float:
    """How long this machine, as loaded as it is, takes to boot a kernel that writes one byte and ends."""
    from toolchain import accel, qemu

    make_folder(folder, stage=STAGE)
    path = folder / "empty.elf"
    write_atomic(path, accel.empty_kernel(), stage=STAGE)
    config = BootConfig(image=path, cmdline="exit", timeout=EMPTY_SECONDS, log_dir=folder / "empty")
    return qemu.boot(config).seconds


def original_timeout(unit: float) -> float:
    """How long the unpatched kernel may say nothing, in seconds, where an empty kernel boots in ``unit``."""
    return max(DEADLINE_MIN, DEADLINE_FACTOR * unit)


def candidates_timeout(unit: float) -> float:
    """The same of a candidate."""
    return max(CANDIDATE_MIN, CANDIDATE_FACTOR * unit)


def finalists_patience(timeout: float) -> float:
    """The same of a finalist, where a candidate has ``timeout``."""
    return max(PATIENCE_FACTOR * timeout, FINAL_MIN)


def proof_seconds(busy: float) -> float:
    """What the proof of a repair takes where its diagnosis took ``busy`` seconds of processor time."""
    return PROOF_OF_GATES * busy


def proof_seconds_unbuilt(unit: float) -> float:
    """The same of a tree that does not assemble, by a boot of an empty kernel."""
    return PROOF_OF_UNIT * unit
