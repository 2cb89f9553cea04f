"""Engines of the Pixel VM that are wrong in one thing each: what differential fuzzing has to find."""

from __future__ import annotations

from unittest import mock

from pixelvm import reference
from pixelvm.host import Host
from pixelvm.isa import MASK, Op, Stop, System
from pixelvm.program import Program
from pixelvm.state import State

FAULT = "sar"  # which of them ``run`` is; a test sets it


def run(program: Program, state: State, host: Host) -> Stop:
    """The reference, but for one thing."""
    if FAULT == "sar":
        with mock.patch.dict(reference._BINARY, {Op.SAR: lambda a, n: a >> (n & 31)}):
            return reference.run(program, state, host)
    if FAULT == "putc":
        calls = {System.PUTC: lambda at, to: to.put(at.written + 1, at.stack.pop() & 0xFF)}
        with mock.patch.dict(reference._CALLS, calls):
            return reference.run(program, state, host)
    if FAULT == "returns" and len(state.returns) > 1:
        state.returns[0], state.returns[-1] = state.returns[-1], state.returns[0]
    stop = reference.run(program, state, host)
    if FAULT == "trap" and stop is Stop.BOUNDS:
        state.fuel = (state.fuel - 1) & MASK
    return stop
