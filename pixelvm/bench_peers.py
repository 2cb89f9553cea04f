"""Who ``pxos bench vm`` measures beside our engines: how each peer is found, and how it runs a program.

Owns the peers' command lines and what their programs print. Each runs the same algorithm from ``pixelvm/bench`` in its
own language and reports the processor seconds of the algorithm alone, but for an interpreter that cannot tell: there
it is the process's. A result that is not the expected one is an error, never a figure.
"""

from __future__ import annotations

import importlib.util
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from toolchain.errors import ToolError

STAGE = "bench"
FOLDER = Path(__file__).resolve().parent / "bench"
_SECONDS = 120  # for one run of a peer

EXPECTED = {"fib": 2178309, "sieve": 166152, "matrix": 3231711232, "sha256": 539981238, "life": 1072}
PROGRAMS = tuple(EXPECTED)

Run = Callable[[], float]


class Peer(NamedTuple):
    """One peer.

    Attributes:
        name: as rows have it.
        install: how it comes onto a machine.
        is_slow: it needs so long that it is run less often.
        is_there: whether this machine has it.
        prepare: makes a program ready, its files in a folder; gives what runs it once and measures seconds.
    """

    name: str
    install: str
    is_slow: bool
    is_there: Callable[[], bool]
    prepare: Callable[[str, Path], Run]


def check(name: str, peer: str, result: int) -> None:
    """The result is the expected one.

    Raises:
        ToolError: it is not.
    """
    if result != EXPECTED[name]:
        raise ToolError(f"{peer} computes {result} for {name}; expected {EXPECTED[name]}", stage=STAGE)


def _output(peer: str, command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ToolError(
            f"{peer}: exit status {result.returncode}: {last[0]}",
            stage=STAGE, command=command, returncode=result.returncode, output_tail=result.stderr,
        )  # fmt: skip
    return result.stdout


def _printing(name: str, peer: str, command: list[str]) -> Run:
    """A program that prints its seconds and its result."""

    def run() -> float:
        seconds, result = _output(peer, command).split()
        check(name, peer, int(result))
        return float(seconds)

    return run


def _python(name: str, folder: Path) -> Run:
    code = (
        "import runpy, sys, time; run = runpy.run_path(sys.argv[1])['run']; began = time.process_time();"
        "result = run(); print(f'{time.process_time() - began:.9f} {result}')"
    )
    return _printing(name, "CPython", [sys.executable, "-c", code, str(FOLDER / f"{name}.py")])


def _lua(name: str, folder: Path) -> Run:
    return _printing(name, "Lua 5.4", ["lua5.4", str(FOLDER / "harness.lua"), str(FOLDER / f"{name}.lua")])


def _luajit(name: str, folder: Path) -> Run:
    own = FOLDER / f"{name}_jit.lua"  # where Lua's operators and LuaJIT's functions differ
    program = own if own.is_file() else FOLDER / f"{name}.lua"
    return _printing(name, "LuaJIT", ["luajit", str(FOLDER / "harness.lua"), str(program)])


def _native(name: str, folder: Path) -> Run:
    made = folder / name
    _output("gcc", ["gcc", "-O2", "-w", "-o", str(made), str(FOLDER / f"{name}.c")])
    return _printing(name, "C", [str(made)])


def _wasmtime(name: str, folder: Path) -> Run:
    import wasmtime

    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, (FOLDER / f"{name}.wat").read_text())

    def run() -> float:
        store = wasmtime.Store(engine)
        export = wasmtime.Instance(store, module, []).exports(store)["run"]
        assert isinstance(export, wasmtime.Func)
        began = time.process_time()
        result = export(store)
        seconds = time.process_time() - began
        check(name, "wasmtime", int(result) & 0xFFFFFFFF)
        return seconds

    return run


def _interpreted(name: str, folder: Path) -> Run:
    made = folder / f"{name}.wasm"
    _output("wat2wasm", ["wat2wasm", str(FOLDER / f"{name}.wat"), "-o", str(made)])

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = _output("wasm-interp", ["wasm-interp", str(made), "--run-all-exports"])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        check(name, "wasm-interp", int(text.rpartition(":")[2]))
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def _module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _programs(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) is not None for name in names)


def _switch(name: str, folder: Path) -> Run:
    from pixelvm import c_switch, isa, load
    from pixelvm.host import PlainHost
    from pixelvm.state import State

    program = load.load(str(FOLDER / f"{name}.pxa")).program
    c_switch.compiled()

    def run() -> float:
        state = State(program, fuel=isa.MASK)
        began = time.process_time()
        c_switch.run(program, state, PlainHost())
        seconds = time.process_time() - began
        check(name, SWITCH, int.from_bytes(state.memory[:4], "little"))
        return seconds

    return run


SWITCH = "C switch interpreter"  # of the Pixel VM itself: what the kernel's engine is measured by
PEERS = (
    Peer("LuaJIT", "apt install luajit", False, _programs("luajit"), _luajit),
    Peer("wasmtime", "pip install wasmtime", False, _module("wasmtime"), _wasmtime),
    Peer("C (gcc -O2)", "apt install gcc", False, _programs("gcc"), _native),
    Peer(SWITCH, "apt install gcc", False, _programs("gcc"), _switch),
    Peer("Lua 5.4", "apt install lua5.4", False, _programs("lua5.4"), _lua),
    Peer("CPython", "it is what runs this", True, lambda: True, _python),
    Peer("wasm-interp", "apt install wabt", True, _programs("wasm-interp", "wat2wasm"), _interpreted),
)  # fmt: skip


def compiled(name: str) -> Run | None:
    """What wasmtime needs from the text of a module to its first instruction; None where it is not installed."""
    if not _module("wasmtime")():
        return None
    import wasmtime

    engine = wasmtime.Engine()
    binary = bytes(wasmtime.wat2wasm((FOLDER / f"{name}.wat").read_text()))

    def run() -> float:
        began = time.perf_counter()
        store = wasmtime.Store(engine)
        wasmtime.Instance(store, wasmtime.Module(engine, binary), [])
        return time.perf_counter() - began

    return run
