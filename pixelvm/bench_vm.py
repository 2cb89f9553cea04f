"""``pxos bench vm``: five programs on our engines, beside those who do the same with other machines.

Owns: what is measured (processor time of the algorithm; x86 with the translation, from a cold start each time; the
kernel's engine is the routine of ``kernel/vm/run.s``, called on this machine as it is), the rows of the contract (one
for each program, engine and peer, and ``geometric mean``), and the start of a cartridge. Every run's result is checked.
The reference engine would need minutes: it runs the first part, and its figure is that multiplied; the row says so.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pixelvm import bench_peers, bench_verified, bench_wgsl, cartridge, engines, load, png
from pixelvm.bench_peers import FOLDER, PEERS, PROGRAMS, SWITCH, Run
from pixelvm.host import PlainHost
from pixelvm.isa import MASK, Stop
from pixelvm.program import Program
from pixelvm.state import State
from toolchain import measure
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.scratch import folder as scratch_folder

STAGE = "bench"
ROUNDS = 9
SLOW_ROUNDS = 2
START_ROUNDS = 30
FUEL = MASK
PART = 200_000  # fuel that the reference engine gets
_SHA_BYTES = 1 << 19  # what the program sha256 hashes
_TOGETHER = "geometric mean"

Measures = dict[str, dict[str, list[float]]]  # program -> who -> seconds


def run(ui: Ui) -> dict[str, Any]:
    """Measure.

    Returns:
        ``machine`` and ``rows`` as ``measure.row`` makes them.

    Raises:
        ToolError: a peer that is installed fails, or anybody computes something else.
        InputError: this machine does not execute x86-64 code.
    """
    found: Measures = {}
    fast: dict[str, dict[str, Run]] = {}
    slow: dict[str, dict[str, Run]] = {}
    rows: list[dict[str, Any]] = []
    with scratch_folder("pxos-bench-") as scratch:
        for name in PROGRAMS:
            program = load.load(str(FOLDER / f"{name}.pxa")).program
            fast[name] = {"x86": _x86(name, program), "kernel": _kernel(name, program)}
            slow[name] = {"python": _reference(program, _cost(name, program))}
            for peer in PEERS:
                if peer.is_there():
                    (slow if peer.is_slow else fast)[name][peer.name] = peer.prepare(name, scratch)
        for name in PROGRAMS:
            found[name] = _rounds(ui, name, fast[name], ROUNDS, 1)
        for name in PROGRAMS:
            found[name] |= _rounds(ui, name, slow[name], SLOW_ROUNDS, 0)
    for peer in PEERS:
        if not peer.is_there():
            ui.note(f"{peer.name} is not installed ({peer.install}): its figures are missing")
    for name in PROGRAMS:
        rows += _rows(f"{name} x86", found[name]["x86"], found[name])
        rows.append(_row(f"{name} kernel", found[name]["kernel"], SWITCH, found[name]))
        rows.append(_row(f"{name} python", found[name]["python"], "CPython", found[name], from_fuel=PART))
    peers = {peer.name: _together(found, peer.name) for peer in PEERS}
    rows += _rows(_TOGETHER, _together(found, "x86"), peers)
    rows.append(_row(f"{_TOGETHER} kernel", _together(found, "kernel"), SWITCH, peers))
    rows += bench_verified.rows(ui, partial(_timed, who="x86"))
    rows += _starts(ui)
    try:
        rows += bench_wgsl.rows(ui)
    except ToolError as error:
        ui.note(f"the figures of wgsl are missing: {error.message}")
    return {"machine": measure.machine(), "rows": rows}


def _rounds(ui: Ui, name: str, runs: dict[str, Run], rounds: int, warm_up: int) -> dict[str, list[float]]:
    return measure.interleave(
        runs, rounds, warm_up=warm_up, tick=lambda text: ui.progress(f"{name}: {text} ({', '.join(runs)})")
    )


def _rows(what: str, ours: list[float], found: dict[str, list[float]]) -> list[dict[str, Any]]:
    first, *others = PEERS
    rows = [_row(what, ours, first.name, found)]
    return rows + [_row(f"{what} against {peer.name}", ours, peer.name, found) for peer in others]


def _row(
    what: str, ours: list[float], peer: str, found: dict[str, list[float]], **more: object
) -> dict[str, Any]:
    measures = found.get(peer, [])
    install = next(p.install for p in PEERS if p.name == peer)
    return measure.row(
        what, ours, peer if measures else f"{peer} (not installed: {install})", measures, "ms", 1e3, **more
    )


def _together(found: Measures, who: str) -> list[float]:
    """The geometric mean over all programs: of the medians, and of the least and greatest measures."""
    if any(who not in measures for measures in found.values()):
        return []
    picks: tuple[Callable[[list[float]], float], ...] = (min, statistics.median, max)
    return [
        math.exp(statistics.fmean(math.log(pick(measures[who])) for measures in found.values()))
        for pick in picks
    ]


# --- our engines -------------------------------------------------------------------------------------------


def _x86(name: str, program: Program) -> Run:
    """From a cold start: nothing is translated yet."""
    from pixelvm.x86.translation import kept

    def run() -> float:
        kept.clear()
        return _timed(name, program, "x86")

    return run


def _kernel(name: str, program: Program) -> Run:
    """As it is: the routine decodes a program once, and translates nothing."""
    return lambda: _timed(name, program, "kernel")


def _timed(name: str, program: Program, who: str) -> float:
    """Processor seconds of a whole run."""
    engine = engines.find(who)
    state = State(program, fuel=FUEL)
    began = time.process_time()
    stop = engine(program, state, PlainHost())
    seconds = time.process_time() - began
    _check(name, state, stop, who)
    return seconds


def _cost(name: str, program: Program) -> int:
    """Fuel that the whole program spends."""
    state = State(program, fuel=FUEL)
    _check(name, state, engines.find("x86")(program, state, PlainHost()), "x86")
    return FUEL - state.fuel


def _reference(program: Program, cost: int) -> Run:
    engine = engines.find("python")

    def run() -> float:
        state = State(program, fuel=PART)
        began = time.process_time()
        engine(program, state, PlainHost())
        return (time.process_time() - began) * cost / PART

    return run


def _check(name: str, state: State, stop: Stop, engine: str) -> None:
    """It halted with the expected result; the digest is hashlib's."""
    if stop is not Stop.HALTED:
        raise ToolError(f"{name} on {engine} stops with {stop.name} at {state.pc}", stage=STAGE)
    bench_peers.check(name, engine, int.from_bytes(state.memory[:4], "little"))
    if name == "sha256":
        digest = b"".join(state.memory[at : at + 4][::-1] for at in range(0, 32, 4))
        message = bytes(i * 7 + (i >> 8) & 255 for i in range(_SHA_BYTES))
        if digest != hashlib.sha256(message).digest():
            raise ToolError(f"{engine} computes another SHA-256 than hashlib", stage=STAGE)


# --- the start of a cartridge ------------------------------------------------------------------------------


def _starts(ui: Ui) -> list[dict[str, Any]]:
    """From the bytes of a PNG file to the first instruction, nothing known beforehand, in wall time."""
    rows = []
    worst: tuple[float, str] = (0.0, "")
    for name in PROGRAMS:
        program = load.load(str(FOLDER / f"{name}.pxa")).program
        runs: dict[str, Run] = {"ours": _start(png.write(cartridge.pack(program).picture))}
        peer = bench_peers.compiled(name)
        if peer is not None:
            runs["wasmtime"] = peer
        found = measure.interleave(runs, START_ROUNDS, tick=lambda text: ui.progress(f"start: {text}"))
        rows.append(
            measure.row(
                f"start {name}", found["ours"], "wasmtime: compile and instantiate", found.get("wasmtime", []),
                "ms", 1e3, instructions=len(program.code),
            )
        )  # fmt: skip
        worst = max(worst, (statistics.median(found["ours"]), name))
    slowest = next(row for row in rows if row["what"] == f"start {worst[1]}")
    return [*rows, {**slowest, "what": "start, slowest", "program": worst[1]}]


def _start(file: bytes) -> Run:
    from pixelvm.x86.translation import kept

    engine = engines.find("x86")

    def run() -> float:
        kept.clear()
        began = time.perf_counter()
        program = cartridge.read(file, "cartridge").program
        state = State(program, fuel=1)
        engine(program, state, PlainHost())
        return time.perf_counter() - began

    return run


def text(data: dict[str, Any]) -> str:
    """The figures for a person: who needs how many milliseconds for what, then the ratios and the starts."""
    names = [*PROGRAMS, _TOGETHER]
    table: dict[str, dict[str, float | None]] = {"x86": {}, "kernel": {}, "python *": {}}
    ratios, starts, together = [], [], []
    for row in data["rows"]:
        what, peer = row["what"], row["peer"]
        if what.startswith("start"):
            starts.append(_start_line(row))
            continue
        if what.startswith(bench_wgsl.PREFIX):
            together.append(bench_wgsl.line(row))
            continue
        if what.startswith(bench_verified.PREFIX):
            together.append(bench_verified.line(row))
            continue
        name = next(name for name in names if what.startswith(name))
        engine = {f"{name} python": "python *", f"{name} kernel": "kernel"}.get(what, "x86")
        table[engine][name] = row["ours"]
        if engine == "x86":
            table.setdefault(peer, {})[name] = row["peer_value"]
        if name == _TOGETHER and row["ratio"] is not None:
            ratios.append(f"{engine} / {peer}: {row['ratio']:g}")
    width = max(map(len, table))
    lines = [f"{'ms of processor time':<{width}}" + "".join(f"{name:>16}" for name in names)]
    for who, values in table.items():
        cells = (values.get(name) for name in names)
        lines.append(
            f"{who:<{width}}" + "".join(f"{'-' if cell is None else f'{cell:g}':>16}" for cell in cells)
        )
    machine = data["machine"]
    return "\n".join(
        [
            *lines,
            f"* the first {PART} units of fuel, multiplied",
            f"{_TOGETHER}: {', '.join(ratios)}",
            *starts,
            *together,
            f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}",
        ]
    )


def _start_line(row: dict[str, Any]) -> str:
    least, most = row["spread"]["ours"]
    peer = "" if row["peer_value"] is None else f"; {row['peer']} {row['peer_value']:g} ms"
    return (
        f"{row['what']}: {row['ours']:g} ms ({least:g} to {most:g}), {row['instructions']} instructions{peer}"
    )
