"""The compiler against the model of the language: random programs do the same on the machine, and all are proved."""

from __future__ import annotations

import pytest

from pixelvm import reference
from pixelvm.host import PlainHost
from pixelvm.isa import Stop
from pixelvm.pxl.compiler import compile_text
from pixelvm.state import State
from pixelvm.verifier import verify
from tests.unit.pxl_model import Model
from tests.unit.pxl_programs import program

FUEL = 60_000
SEED = 12345


def compared(seed: int) -> Stop:
    """Compile, prove and run the program of a seed; the model must agree."""
    text = program(seed)
    made = compile_text(text, "p.pxl")
    verdict = verify(made.program)
    assert verdict.proved, (seed, verdict.findings)
    host = PlainHost(width=7, height=5)
    state = State(made.program, seed=SEED)
    state.fuel = FUEL
    stop = reference.run(made.program, state, host)
    if stop is Stop.FUEL:
        return stop
    model = Model(text, made.data_labels, SEED)
    model.run()
    assert (stop.name.lower(), state.result) == (model.stop, model.result), seed
    assert bytes(host.output) == bytes(model.output), seed
    for name, address in made.data_labels.items():
        size = {"words": 64, "bytes": 32}.get(name, 4)
        assert state.memory[address : address + size] == model.memory[address : address + size], (seed, name)
    return stop


def run_many(seeds: range) -> None:
    stops = [compared(seed) for seed in seeds]
    assert stops.count(Stop.HALTED) > 0.6 * len(stops)
    assert Stop.DIVISION in stops


@pytest.mark.long
def test_programs() -> None:
    run_many(range(100))
