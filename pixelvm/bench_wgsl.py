"""``pxos bench vm``, the WGSL engine: thousands of machines at once beside the C switch interpreter on one core.

Owns the programs that run without end (bench/many), the measure (nanoseconds of wall time for a unit of fuel, all
machines together, dispatches alone: states lie on the device) and the rows. What both compute is checked: the last
machine's state after its fuel has to be what the C interpreter makes of it.
"""

from __future__ import annotations

import math
import statistics
import time
from functools import partial
from typing import Any

from pixelvm import c_switch, load
from pixelvm.bench_peers import FOLDER
from pixelvm.host import PlainHost
from pixelvm.program import Program
from pixelvm.state import State, save
from toolchain import measure
from toolchain.command import Ui
from toolchain.errors import ToolError

STAGE = "bench"
PROGRAMS = ("loop", "calls", "sieve", "collatz")
COUNT = 8192  # machines
FUEL = 30_000  # of each machine
SINGLE = 20_000_000  # fuel of the one machine in C
ROUNDS = 3
PREFIX = "many "  # of the names of our rows
PEER = "C switch interpreter, 1 core"


def rows(ui: Ui) -> list[dict[str, Any]]:
    """Measure: a row for each program, and their geometric mean.

    Raises:
        ToolError: there is no adapter, no gcc, or the two disagree.
    """
    from pixelvm.wgsl import engine

    on = engine.gpu()
    about = {"machines": COUNT, "adapter": str(on.device.adapter)}
    found: dict[str, dict[str, list[float]]] = {}
    for name in PROGRAMS:
        program = load.load(str(FOLDER / "many" / f"{name}.pxa")).program
        runs = {"ours": partial(_many, program, name), "peer": partial(_single, program)}
        found[name] = measure.interleave(runs, ROUNDS, tick=partial(_progress, ui, name))
    made = [
        _row(f"{PREFIX}{name} wgsl", found[name]["ours"], found[name]["peer"], about) for name in PROGRAMS
    ]
    means = {
        who: [
            math.exp(statistics.fmean(math.log(pick(found[name][who])) for name in PROGRAMS))
            for pick in (min, statistics.median, max)
        ]
        for who in ("ours", "peer")
    }
    return [*made, _row(f"{PREFIX}geometric mean wgsl", means["ours"], means["peer"], about)]


def _progress(ui: Ui, name: str, text: str) -> None:
    ui.progress(f"{COUNT} machines of {name}: {text}")


def _row(what: str, ours: list[float], peer: list[float], about: dict[str, Any]) -> dict[str, Any]:
    return measure.row(what, ours, PEER, peer, "ns for a unit of fuel", 1e9, **about)


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    least, most = row["spread"]["ours"]
    speed = row["peer_value"] / row["ours"]
    return (
        f"{row['what']}: {row['machines']} machines {row['ours']:g} ns a unit of fuel together ({least:g} to {most:g}),"
        f" {row['peer']} {row['peer_value']:g}: {speed:.3g} times its speed; {row['adapter']}"
    )


def _many(program: Program, name: str) -> float:
    """Seconds for a unit of fuel; every machine has a seed of its own."""
    from pixelvm.wgsl import engine

    machines = [
        engine.Machine(program, State(program, fuel=FUEL, seed=number + 1), PlainHost())
        for number in range(COUNT)
    ]
    batches = [engine.Batch(engine.gpu(), part) for part in engine.parts(machines, engine.gpu().bytes_max)]
    engine.gpu().device.finish()
    began = time.perf_counter()
    for batch in batches:
        batch.run(engine.STEPS)
    seconds = time.perf_counter() - began
    for batch in batches:
        batch.finish()
    _check(program, name, machines[-1].state)
    return seconds / sum(FUEL - machine.state.fuel for machine in machines)


def _check(program: Program, name: str, state: State) -> None:
    wanted = State(program, fuel=FUEL, seed=COUNT)
    c_switch.run(program, wanted, PlainHost())
    if save(wanted, program) != save(state, program):
        raise ToolError(f"{name} ends otherwise on wgsl than in C", stage=STAGE)


def _single(program: Program) -> float:
    state = State(program, fuel=SINGLE, seed=1)
    began = time.perf_counter()
    c_switch.run(program, state, PlainHost())
    return (time.perf_counter() - began) / (SINGLE - state.fuel)
