"""The engines by name: the one table of what can run a program.

Owns the names and how an engine is found; an engine is imported when it is asked for. All of them give the state that
the reference gives (``state.save``), bit for bit, for the same program, state and answers of the host. Runs nothing.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple, Protocol

from pixelvm.host import Host
from pixelvm.isa import Stop
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.errors import InputError

STAGE = "vm"


class Run(Protocol):
    """An engine: runs ``state``, which it changes in place, until it halts, traps or wants more fuel.

    A state that has stopped for another reason than fuel stays as it is. The result is ``state.stop`` too.
    """

    def __call__(self, program: Program, state: State, host: Host) -> Stop:
        """Run; ``program`` is within bounds (``program.checked``)."""


class Engine(NamedTuple):
    """One row: where the engine's ``run`` lives, and what it is."""

    name: str
    module: str
    what: str


ENGINES: dict[str, Engine] = {
    row.name: row
    for row in (
        Engine("python", "pixelvm.reference", "the reference, in plain Python"),
        Engine("x86", "pixelvm.x86.engine", "x86-64 machine code, translated as it runs"),
        Engine("kernel", "pixelvm.kernel_engine", "the kernel's own, in assembly"),
        Engine("wgsl", "pixelvm.wgsl.engine", "a compute shader, by wgpu"),
    )
}
NAMES = tuple(ENGINES)
DEFAULT = "python"


def find(name: str) -> Run:
    """The engine of that name.

    Raises:
        InputError: there is none, or this machine cannot run it.
    """
    row = ENGINES.get(name)
    if row is None:
        raise InputError(f"no engine is called '{name}' (there are: {', '.join(NAMES)})", stage=STAGE)
    try:
        found: Run = importlib.import_module(row.module).run
    except ImportError as error:
        raise InputError(
            f"engine {name} cannot be used here: {error}; --engine {DEFAULT} always can", stage=STAGE
        ) from error
    return found
