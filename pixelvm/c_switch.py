"""The C switch interpreter (switch.c) as an engine: compiled by the machine's own gcc when it is asked for.

Owns isa.h, which it writes from isa.py, the compilation, and the way of a state into C and back. A peer for
``pxos bench vm`` and no engine of ours; the tests hold it to the reference all the same, or its speed would mean
nothing.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixelvm import isa
from pixelvm.host import Host, answered
from pixelvm.isa import Op, Operand, Stop, System
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.errors import ToolError

STAGE = "bench"
SOURCE = Path(__file__).parent / "bench/switch.c"
COMMAND = ("gcc", "-O2", "-std=c17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_SECONDS = 120

_WORD = ctypes.c_uint32


class CMachine(ctypes.Structure):
    """``machine`` of switch.c."""

    _fields_ = (
        *((name, _WORD) for name in (
            "pc", "fuel", "stop", "result", "seed", "written", "read", "depth", "frames", "memory"
        )),
        ("stack", _WORD * isa.STACK_SLOTS),
        ("returns", _WORD * isa.FRAMES),
        ("locals", (_WORD * isa.LOCALS) * isa.FRAMES),
    )  # fmt: skip


_CALL = ctypes.CFUNCTYPE(None, _WORD, ctypes.POINTER(CMachine), ctypes.POINTER(_WORD), ctypes.POINTER(_WORD))


def header() -> str:
    """isa.h."""
    lines = ["/* Written by c_switch.py from isa.py. */"]
    for name in ("STACK_SLOTS", "FRAMES", "LOCALS"):
        lines.append(f"#define {name} {getattr(isa, name)}")
    for kind, prefix in ((Op, "OP"), (Stop, "STOP"), (System, "SYS")):
        lines += [f"#define {prefix}_{one.name} {int(one)}u" for one in kind]
    lines += [
        "typedef struct { uint32_t limit, is_target, needs, pops, pushes, fuel; } row;",
        "static const row ROWS[256] = {",
    ]
    for op, row in isa.INSTRUCTIONS.items():
        target = int(row.operand is Operand.TARGET)
        limit = 0 if target else isa.operand_limit(row.operand, 0)
        lines.append(f"    [{op}] = {{{limit}, {target}, {row.pops}, {row.pops}, {row.pushes}, {row.fuel}}},")
    lines += ["};", "static const row CALLS[] = {"]
    for number, call in isa.SYSTEM_CALLS.items():
        lines.append(f"    [{number}] = {{0, 0, {call.pops}, {call.pops}, {call.pushes}, {call.fuel}}},")
    return "\n".join([*lines, "};", ""])


@lru_cache(maxsize=1)
def compiled() -> Any:
    """The interpreter, loaded.

    Raises:
        ToolError: there is no gcc, or it refuses the source.
    """
    if shutil.which(COMMAND[0]) is None:
        raise ToolError("gcc is not installed: apt-get install gcc", stage=STAGE, command=COMMAND)
    with tempfile.TemporaryDirectory(prefix="pxos-switch-") as name:
        folder = Path(name)
        (folder / "isa.h").write_text(header())
        command = [*COMMAND, f"-I{folder}", "-o", str(folder / "switch.so"), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise ToolError(
                f"gcc refuses {SOURCE.name}: {done.stderr.strip().splitlines()[0]}",
                stage=STAGE,
                command=command,
                returncode=done.returncode,
                output_tail=done.stderr,
            )
        library = ctypes.CDLL(str(folder / "switch.so"))
    library.run.argtypes = (
        ctypes.POINTER(CMachine), ctypes.POINTER(_WORD), _WORD, ctypes.POINTER(ctypes.c_uint8), _CALL,
    )  # fmt: skip
    library.run.restype = None
    return library


@lru_cache(maxsize=64)
def _words(program: Program) -> Any:
    return (_WORD * len(program.code))(*program.code)


def run(program: Program, state: State, host: Host) -> Stop:
    """Run until it halts, traps or wants more fuel, as ``reference.run`` does."""
    if state.stop not in (Stop.RUNNING, Stop.FUEL):
        return state.stop
    machine = CMachine()
    for name in ("pc", "fuel", "seed", "written", "read"):
        setattr(machine, name, getattr(state, name))
    machine.result, machine.memory = state.result, len(state.memory)
    machine.depth, machine.frames = len(state.stack), len(state.locals)
    machine.stack[: len(state.stack)] = state.stack
    machine.returns[: len(state.returns)] = state.returns
    for frame, values in zip(machine.locals, state.locals, strict=False):
        frame[:] = values
    memory = (ctypes.c_uint8 * len(state.memory)).from_buffer(state.memory)
    failed: list[BaseException] = []
    call = _CALL(lambda number, m, arguments, answers: _call(host, number, m[0], arguments, answers, failed))
    compiled().run(machine, _words(program), len(program.code), memory, call)
    del memory
    if failed:
        raise failed[0]
    for name in ("pc", "fuel", "result", "seed", "written", "read"):
        setattr(state, name, getattr(machine, name))
    state.stop = Stop(machine.stop)
    state.stack = machine.stack[: machine.depth]
    state.returns = machine.returns[: machine.frames - 1]
    state.locals = [machine.locals[at][:] for at in range(machine.frames)]
    return state.stop


def _call(host: Host, number: int, m: Any, arguments: Any, answers: Any, failed: list[BaseException]) -> None:
    """One system call; what a host raises is kept for the caller, for C cannot carry it."""
    try:
        found = answered(host, System(number), m, arguments)
    except BaseException as error:
        failed.append(error)
        return
    for at, value in enumerate(found):
        answers[at] = value
