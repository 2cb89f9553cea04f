"""Gates side by side: what needs no boot beside the boots, and a finalist's boots beside each other.

Owns the order in which they begin, and how many run at a time. What a gate asks is ``verify``'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

from architect.protocols import GateResult
from architect.terms import BOOTS, REST, STATIC, THOROUGH, UEFI, Terms
from architect.verify import Trial
from toolchain import qemu_args

_ORDER = (*THOROUGH, UEFI)
_WAITING = 1  # boots besides one for each core: a kernel in its tests often waits for a timer


class Make(Protocol):
    """Puts the finalist on trial."""

    def __call__(self, *, iso: Callable[[], Path], folder: Path, terms: Terms) -> Trial:
        """A trial whose logs go to ``folder``."""


def every(
    make: Callable[[tuple[str, ...]], Trial], gates: Sequence[str]
) -> tuple[Trial, tuple[GateResult, ...]]:
    """Try a kernel by every gate, none left out because another failed; what needs no boot is asked beside the boots.

    Args:
        make: puts the kernel on trial before some of the gates.
        gates: names.

    Returns:
        The trial that booted, if any did, and what all gates said, in their order.
    """
    parts = [tuple(name for name in gates if (name in STATIC) == static) for static in (True, False)]
    trials = [make(part) for part in parts if part]
    with ThreadPoolExecutor(1) as threads:
        booted = threads.submit(trials[-1].run, stop=False)
        for trial in trials[:-1]:
            trial.run(stop=False)
        booted.result()
    said = {gate.gate: gate for trial in trials for gate in trial.gates}
    return trials[-1], tuple(said[name] for name in gates if name in said)


def final(
    make: Make,
    folder: Path,
    iso: Callable[[Literal["hybrid", "bios"]], Path],
    patience: float,
    boots: int,
) -> tuple[tuple[GateResult, ...], int]:
    """Every gate of a finalist, in the usual order, and the boots taken.

    The slowest begins first, so that all others fit beside it. Nothing begins any more once a gate has said no.

    Args:
        make: puts the kernel on trial.
        folder: where logs go, a folder for each boot.
        iso: makes the ISO; called once.
        patience: seconds without a line of the contract after which a boot counts as hung.
        boots: how many are granted. With none, what needs one fails with ``NO_BOOTS``.
    """
    uefi = boots > 0 and qemu_args.has_uefi()
    wanted = (*([(UEFI,)] if uefi else []), BOOTS[:-1], *((name,) for name in (BOOTS[-1], *REST)))
    trials: list[Trial] = []

    def run(names: tuple[str, ...], granted: int, image: Callable[[], Path]) -> None:
        if all(gate.passed for trial in trials for gate in trial.gates):
            trial = make(iso=image, folder=folder / names[0], terms=Terms(names, patience, granted))
            trials.append(trial)
            trial.run()

    with ThreadPoolExecutor(1) as maker, ThreadPoolExecutor((os.cpu_count() or 1) + _WAITING) as pool:
        image: Future[Path] = maker.submit(iso, "hybrid" if uefi else "bios") if boots > 0 else Future()
        begun = [
            pool.submit(run, names, int(number < boots), image.result) for number, names in enumerate(wanted)
        ]
        run(STATIC, 0, image.result)
        for one in begun:
            one.result()
    found = sorted((gate for trial in trials for gate in trial.gates), key=lambda g: _ORDER.index(g.gate))
    return tuple(found), sum(trial.boots for trial in trials)
