"""The Pixel VM behind the mailbox's operation VM_RUN, and the worker process that has it.

Owns: what bytes a program and a state have there (``program.to_bytes``, ``state.save``), the bound on fuel. Never
serves: ``toolchain.mailbox.worker`` does.
"""

from __future__ import annotations

import struct
import sys

NAME = "mailbox"
FUEL_MAX = (
    1_000_000  # of one command: the interpreter runs it well within the time in which a command is answered
)


def run(program: bytes, state: bytes | None, fuel: int, seed: int) -> tuple[int, bytes, bytes]:
    """Run a program until it stops, or until its fuel or FUEL_MAX is spent (it can be resumed then).

    Args:
        program: as ``pixelvm.program`` writes it.
        state: to go on from, as ``pixelvm.state`` writes it (bytes behind it are ignored); None to start.
        fuel: how far.
        seed: of ``random``, when it starts.

    Returns:
        The stop code, the state, and what it wrote to its console.

    Raises:
        InputError: no program, or no state of it.
    """
    from pixelvm import program as programs
    from pixelvm import reference
    from pixelvm import state as states
    from pixelvm.host import PlainHost

    loaded = programs.from_bytes(program, NAME)
    amount = min(fuel, FUEL_MAX)
    if state is None:
        at = states.State(loaded, fuel=amount, seed=seed)
    else:
        at = states.restore(state[: _length(state)], loaded, NAME)
        at.fuel = 0
        at.add_fuel(amount)
    host = PlainHost()
    host.begin(at.written)
    stop = reference.run(loaded, at, host)
    return int(stop), states.save(at, loaded), bytes(host.output)


def _length(data: bytes) -> int:
    """How many of the bytes are the state that they begin with, by its own header; all, where it has none."""
    from pixelvm import isa
    from pixelvm import state as states

    head = struct.Struct(f"<{len(states.FIELDS)}I")
    if len(data) < states.HEADER:
        return len(data)
    numbers = dict(
        zip((f.name for f in states.FIELDS), head.unpack_from(data, len(states.MAGIC)), strict=True)
    )
    words: int = numbers["depth"] + numbers["frames"] - 1 + numbers["frames"] * isa.LOCALS
    return states.HEADER + 4 * words + int(numbers["memory"])


if __name__ == "__main__":
    from toolchain.mailbox import worker

    sys.exit(worker.main(sys.argv[1:], run))
