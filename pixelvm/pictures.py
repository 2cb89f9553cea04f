"""The pictures of the examples: ``python -m pixelvm.pictures`` writes them into pixelvm/examples/pictures.

Owns which there are: of every ``.pxl`` example its cartridge, and of those that draw what they have drawn at the end. A
test fails while a picture is not what its example gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pixelvm import engines, isa, load, png
from pixelvm.host import PlainHost
from pixelvm.isa import Stop
from pixelvm.png import Picture
from pixelvm.state import State
from toolchain.errors import InputError, InternalError
from toolchain.files import make_folder, write_atomic

STAGE = "vm"
EXAMPLES = Path(__file__).with_name("examples")
FOLDER = EXAMPLES / "pictures"
ENGINE = "x86"  # any of them gives the same; where this one cannot run the reference takes minutes


class Drawn(NamedTuple):
    """How a picture is drawn: the screen, the console's input, the seed."""

    width: int
    height: int
    input: bytes = b""
    seed: int = isa.SEED_DEFAULT


DRAWN = {
    "2048": Drawn(128, 128, b"asdw" * 12, 7),
    "life": Drawn(128, 96, b"250"),
    "mandelbrot": Drawn(256, 192),
    "sort": Drawn(192, 128),
}


def names() -> list[str]:
    """The examples in ``.pxl``."""
    return sorted(path.stem for path in EXAMPLES.glob("*.pxl"))


def pictures() -> dict[str, bytes]:
    """The PNG of each file name.

    Raises:
        InputError: an example does not compile.
        InternalError: one does not end.
    """
    made: dict[str, bytes] = {}
    for name in names():
        loaded = load.load(str(EXAMPLES / f"{name}.pxl"))
        made[f"{name}.cartridge.png"] = png.write(loaded.picture)
        if name in DRAWN:
            made[f"{name}.png"] = png.write(_drawn(loaded, DRAWN[name]))
    return made


def _drawn(loaded: load.Loaded, how: Drawn) -> Picture:
    try:
        run = engines.find(ENGINE)
    except InputError:
        run = engines.find(engines.DEFAULT)
    host = PlainHost(input=how.input, width=how.width, height=how.height)
    state = State(loaded.program, seed=how.seed)
    state.fuel = isa.MASK
    if run(loaded.program, state, host) is not Stop.HALTED or state.result:
        raise InternalError(f"{loaded.place(state.pc)}: {state.stop.name}", stage=STAGE)
    return Picture(how.width, how.height, bytes(host.pixels))


def main() -> None:
    """Write the pictures."""
    make_folder(FOLDER, stage=STAGE)
    for name, data in pictures().items():
        write_atomic(FOLDER / name, data, stage=STAGE)


if __name__ == "__main__":
    main()
