"""Tiles of automata and Julia sets by machine code: ``draw.s``, assembled by the toolchain and called as it is.

Owns the assembling, the constants that the source includes and the calls. ``seed`` draws the same with NumPy and is the
definition; what array operations draw quickly is not here, nor is the first of it: assembling must pay. Runs on any
x86-64: SSE2 is a part of it.
"""

from __future__ import annotations

import ctypes
import itertools
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pixelvm.god import family
from pixelvm.god.family import Kind
from pixelvm.x86 import pages
from toolchain.errors import ToolError

SOURCE = Path("draw.s")
FOLDER = Path(__file__).parent
KINDS = (Kind.AUTOMATON, Kind.JULIA)
AFTER = 256  # tiles drawn by arrays in the time that assembling takes: about 60 ms
_MACHINES = ("x86_64", "amd64")
_CELLS = 64  # of a row in a register
_LOW = (1 << _CELLS) - 1

Draw = Callable[..., None]


class Code(NamedTuple):
    """The routines, callable; ``held`` keeps their pages."""

    automaton: Draw
    julia: Draw
    held: pages.Pages


def include() -> str:
    """``draw.inc``."""
    values = {
        "SIDE": family.SIDE,
        "JULIA_FRACTION": family.JULIA_FRACTION,
        "JULIA_STEPS": family.JULIA_STEPS,
        "JULIA_ESCAPE": family.JULIA_ESCAPE,
        "JULIA_GREY_SHIFT": family.JULIA_GREY.bit_length() - 1,
    }
    return "".join(f".set GOD_{name}, {value:#x}\n" for name, value in values.items())


def available() -> bool:
    """Whether this machine runs the code."""
    return platform.machine().lower() in _MACHINES


_asked = itertools.count()


def pays() -> bool:
    """Whether a tile is drawn by machine code: after ``AFTER`` others, on a machine that can."""
    return next(_asked) >= AFTER and ready()


@cache
def ready() -> bool:
    """Have the code in memory; False where this machine or its system runs none."""
    if not available():
        return False
    try:
        code()
    except ToolError:
        return False
    return True


def assemble() -> tuple[bytes, dict[str, int]]:
    """The code, and the offset of each routine.

    Raises:
        InputError: the source is in error.
    """
    from toolchain import link
    from toolchain.assemble import assemble as assembled
    from toolchain.encode import Encoder
    from toolchain.layout import Layout, OutputSection
    from toolchain.preprocess import Preprocessor

    preprocessor = Preprocessor(FOLDER, [Path()])
    preprocessor.overrides = {"draw.inc": include()}
    with Encoder() as encoder:
        made = assembled(preprocessor.run(SOURCE), encoder)
    layout = Layout(str(SOURCE), "god_julia", 0, 0, (), (), (OutputSection(".text", (".text",), "ax"),))
    image = link.link([made], layout, lines=False)
    (section,) = (one for one in image.sections if one.name == ".text")
    places = {one.name: one.address - section.address for one in image.symbols}
    return bytes(section.data), places


@cache
def code() -> Code:
    """The routines, assembled once.

    Raises:
        InputError: the source is in error.
        ToolError: the system refuses pages for machine code.
    """
    data, places = assemble()
    held = pages.code(data)
    address, quad = ctypes.c_void_p, ctypes.c_uint64
    word, number = ctypes.c_uint32, ctypes.c_int32

    def routine(name: str, *types: type) -> Draw:
        made: Draw = ctypes.CFUNCTYPE(None, *types)(held.address + places[name])
        return made

    automaton = routine("god_automaton", address, quad, quad, word)
    julia = routine("god_julia", address, number, number, word)
    return Code(automaton, julia, held)


def automaton(at: int, rule: int, row: int) -> None:
    """Draw into the tile at an address; ``row`` is ``seed.first_row``'s number."""
    code().automaton(at, row & _LOW, row >> _CELLS, rule)


def julia(at: int, cr: int, ci: int, step: int) -> None:
    """Draw into the tile at an address; c in 64ths."""
    code().julia(at, cr * family.JULIA_UNIT, ci * family.JULIA_UNIT, step)
