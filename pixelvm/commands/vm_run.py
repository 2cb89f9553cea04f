"""``pxos vm run``: run a program with this terminal as its console.

Owns the arguments and the report of a run. A part of ``pxos vm``.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_NO, STATUS_OK, STATUS_SPENT, Outcome, Ui
from toolchain.errors import InputError

if TYPE_CHECKING:
    from pixelvm.console import ConsoleHost
    from pixelvm.load import Loaded
    from pixelvm.program import Program
    from pixelvm.state import State

STAGE = "vm"
FUEL = 10_000_000
ENGINE = "python"
_WORD_MAX = 0xFFFFFFFF


def configure(run: argparse.ArgumentParser) -> None:
    """Its arguments."""
    run.add_argument(
        "--fuel",
        type=_fuel,
        metavar="N",
        help=f"how far it may run; an instruction costs 1 to 64, most 1 (default {FUEL}, interactive {_WORD_MAX})",
    )
    run.add_argument(
        "--engine",
        default=ENGINE,
        metavar="NAME",
        help=f"what runs it: python, x86, kernel, wgsl (default {ENGINE})",
    )
    run.add_argument("--seed", type=_word, metavar="N", help="of the random numbers")
    run.add_argument("--input", metavar="FILE", help="what the program reads from its console; - for stdin")
    run.add_argument("--interactive", action="store_true", help="the program reads each key as it is pressed")
    run.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write what the program writes to its console, byte for byte",
    )
    run.add_argument(
        "--screen",
        type=screen_size,
        metavar="WxH",
        help="a black screen of this size in place of the program's own picture",
    )
    run.add_argument(
        "--picture", type=Path, metavar="PNG", help="write the program's picture as it is at the end"
    )
    run.add_argument("--save", type=Path, metavar="STATE", help="write the state at the end")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="STATE",
        help="go on from a saved state, with fresh fuel and a fresh picture",
    )


def _fuel(text: str) -> int:
    return _number(text, 1)


def _word(text: str) -> int:
    return _number(text, 0)


def _number(text: str, low: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not low <= value <= _WORD_MAX:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from {low} to {_WORD_MAX}")
    return value


def screen_size(text: str) -> tuple[int, int]:
    """Width and height as a person gives them, ``64x48``."""
    from pixelvm.png import PIXELS_MAX

    width, _, height = text.partition("x")
    if width.isdecimal() and height.isdecimal() and 1 <= int(width) * int(height) <= PIXELS_MAX:
        return int(width), int(height)
    raise argparse.ArgumentTypeError(
        f"'{text}': expected width x height such as 128x128, up to {PIXELS_MAX} pixels"
    )


def run(args: argparse.Namespace, ui: Ui, loaded: Loaded, data: dict[str, Any]) -> Outcome:
    """Run; ``data`` is what is known of the program."""
    from pixelvm import engines, png
    from pixelvm.isa import SEED_DEFAULT, Stop
    from pixelvm.state import State, save
    from toolchain.files import write_atomic
    from toolchain.terminal import keys_at_once

    if args.interactive and args.input is not None:
        raise InputError("--interactive reads this terminal; leave --input away", stage=STAGE)
    engine = engines.find(args.engine)
    seed = SEED_DEFAULT if args.seed is None else args.seed
    fuel = args.fuel or (_WORD_MAX if args.interactive else FUEL)
    host = _host(args, loaded)
    state = _resumed(args, loaded.program) if args.resume else State(loaded.program, seed=seed)
    host.begin(state.written)
    state.fuel = 0
    state.add_fuel(fuel)
    try:
        with keys_at_once() if args.interactive else nullcontext():
            stop = engine(loaded.program, state, host)
    finally:
        host.show_output(end=True)
    if args.picture is not None:
        shown = png.write(png.Picture(host.width, host.height, bytes(host.pixels)))
        write_atomic(args.picture, shown, stage=STAGE)
    if args.output is not None:
        write_atomic(args.output, bytes(host.output), stage=STAGE)
    if args.save is not None:
        write_atomic(args.save, save(state, loaded.program), stage=STAGE)
    if host.failed is not None:
        message = f"pxos: cannot write to standard output: {host.failed.strerror}"
        raise InputError(message, stage=STAGE) from host.failed
    spent = fuel - state.fuel
    ui.note(_end(loaded, state, spent))
    data |= {"stop": stop.name.lower(), "result": state.result, "pc": state.pc}
    data |= {"place": loaded.place(state.pc), "spent": spent}
    data["output"] = host.output.decode("utf-8", "replace")
    ended = STATUS_NO if stop is not Stop.HALTED or state.result else STATUS_OK
    return Outcome(STATUS_SPENT if stop is Stop.FUEL else ended, data)


def _host(args: argparse.Namespace, loaded: Loaded) -> ConsoleHost:
    """The console, and the screen: the program's own picture or a black one."""
    from pixelvm.console import INPUT_MAX, ConsoleHost
    from toolchain.files import read_bounded

    asks = args.interactive or args.input == "-"
    given = b"" if asks or args.input is None else read_bounded(Path(args.input), INPUT_MAX, stage=STAGE)
    width, height = args.screen or (loaded.picture.width, loaded.picture.height)
    pixels = b"" if args.screen else loaded.picture.pixels
    shows = not args.json and args.output is None
    return ConsoleHost(shows=shows, asks=asks, input=given, width=width, height=height, pixels=pixels)


def _resumed(args: argparse.Namespace, program: Program) -> State:
    from pixelvm import state
    from toolchain.files import read_bounded

    if args.seed is not None:
        raise InputError("--seed: a resumed state has its own; leave --seed away", stage=STAGE)
    data = read_bounded(args.resume, state.BYTES_MAX, stage=STAGE)
    return state.restore(data, program, str(args.resume))


def _end(loaded: Loaded, state: State, spent: int) -> str:
    """What a person wants to know of the end of a run."""
    from pixelvm.disassembler import instruction
    from pixelvm.isa import STOPS, Stop

    if state.stop is Stop.HALTED:
        return f"halted with {state.result}, fuel spent {spent}"
    code = loaded.program.code
    where = f" `{instruction(code[state.pc], loaded.program)}'" if state.pc < len(code) else ""
    name = "out of fuel" if state.stop is Stop.FUEL else f"trap {state.stop.name}"
    return (
        f"{loaded.place(state.pc)}: {name} at{where or ' the end'}: {STOPS[state.stop]}; fuel spent {spent}"
    )
