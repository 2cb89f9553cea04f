"""What a proof saves: the programs of ``pxos bench vm`` on translated code without the checks that it excludes.

Owns these rows: processor time of a run whose code is there already; the peer is our own code with every check.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from pixelvm import load
from pixelvm.bench_peers import FOLDER, PROGRAMS
from pixelvm.program import Program
from toolchain import measure
from toolchain.command import Ui

ROUNDS = 9
PREFIX = "verified "  # of the names of our rows
PEER = "x86 with every check"
_NEVER = 1 << 62  # fuel for each word of a program


def rows(ui: Ui, timed: Callable[[str, Program], float]) -> list[dict[str, Any]]:
    """Measure: a row for each program, and their geometric mean; ``timed`` gives the seconds of one run."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in PROGRAMS:
        program = load.load(str(FOLDER / f"{name}.pxa")).program
        run = partial(timed, name, program)
        runs = {"ours": partial(_warm, run, 0), "peer": partial(_warm, run, _NEVER)}
        found[name] = measure.interleave(runs, ROUNDS, tick=partial(_progress, ui, name))
    means = {
        who: [
            math.exp(statistics.fmean(math.log(pick(found[name][who])) for name in PROGRAMS))
            for pick in (min, statistics.median, max)
        ]
        for who in ("ours", "peer")
    }
    return [_row(f"{PREFIX}{name}", each) for name, each in {**found, "geometric mean": means}.items()]


def _progress(ui: Ui, name: str, text: str) -> None:
    ui.progress(f"{name} with and without checks: {text}")


def _warm(run: Callable[[], float], trial: int) -> float:
    """The second run of two: the code is made in the first one."""
    from pixelvm.x86.translation import TRIAL, kept

    kept.clear()
    kept.trial = trial
    try:
        run()
        return run()
    finally:
        kept.clear()
        kept.trial = TRIAL


def _row(what: str, measures: dict[str, list[float]]) -> dict[str, Any]:
    return measure.row(what, measures["ours"], PEER, measures["peer"], "ms", 1e3)


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    return f"{row['what']}: {row['ours']:g} ms, {row['peer']} {row['peer_value']:g}: {row['ratio']:.3g} of its time"
