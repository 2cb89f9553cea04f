"""``pxos vm debug``: a program under the terminal debugger."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pixelvm.commands.vm_run import screen_size
from toolchain.command import STATUS_OK, Outcome, Ui

HELP = (
    "debug a program in the terminal: step, break, watch, go back, look at stack, locals, frames and memory"
)
EXAMPLE = "debug pixelvm/examples/fib.pxa"
INTERACTIVE = True

STAGE = "vm"
_WORD = 0xFFFFFFFF
_INPUT_MAX = 16 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("file", metavar="FILE", help="cartridge (PNG) or source")
    parser.add_argument("--input", metavar="FILE", help="what the program reads from its console")
    parser.add_argument(
        "--screen",
        type=screen_size,
        metavar="WxH",
        help="a black screen in place of the program's own picture",
    )
    parser.add_argument("--seed", type=_number, metavar="S", help="of the random numbers")
    parser.add_argument(
        "--fuel",
        type=_number,
        default=_WORD,
        metavar="N",
        help="how far it may run (default as far as it can)",
    )
    parser.add_argument(
        "--resume", type=Path, metavar="STATE", help="begin at a saved state (pxos vm run --save)"
    )


def _number(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= _WORD:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from 0 to {_WORD}")
    return value


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """A session; it ends with `quit` or with the end of standard input."""
    from pixelvm import state as states
    from pixelvm.host import PlainHost
    from pixelvm.hypervisor.console import Console
    from pixelvm.hypervisor.debugger import Debugger
    from pixelvm.isa import SEED_DEFAULT
    from pixelvm.load import load
    from toolchain.errors import InputError
    from toolchain.files import read_bounded

    if args.file == "-":
        raise InputError("-: standard input is for the commands; name a file", stage=STAGE)
    loaded = load(args.file)
    typed = b"" if args.input is None else read_bounded(Path(args.input), _INPUT_MAX, stage=STAGE)
    if args.resume is None:
        state = states.State(loaded.program, seed=SEED_DEFAULT if args.seed is None else args.seed)
    else:
        data = read_bounded(args.resume, states.BYTES_MAX, stage=STAGE)
        state = states.restore(data, loaded.program, str(args.resume))
    state.fuel = 0
    state.add_fuel(args.fuel)
    width, height = args.screen or (loaded.picture.width, loaded.picture.height)
    pixels = b"" if args.screen else loaded.picture.pixels
    host = PlainHost(input=typed, width=width, height=height, pixels=pixels)
    host.begin(state.written)
    console = Console(Debugger(loaded, state, host), sys.stdout)
    console.loop(_reader())
    return Outcome(STATUS_OK)


def _reader() -> Callable[[str], str]:
    """How a line is read: with editing and history at a terminal."""
    if sys.stdin.isatty():
        import readline

        readline.set_auto_history(True)
        return input

    def read(prompt: str) -> str:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    return read
