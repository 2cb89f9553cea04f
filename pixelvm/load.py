"""A program from a file that a person names: a cartridge, its bytes, assembly source, or ``.pxl`` source.

Owns how they are told apart and the one line about a file that is none. Reads, never writes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pixelvm import assembler, cartridge, png, program
from pixelvm.names import Names
from pixelvm.png import Picture
from pixelvm.program import Program
from toolchain.errors import InputError
from toolchain.files import read_bounded
from toolchain.types import Place

STAGE = "vm"
_STDIN = "<stdin>"
_PXL = re.compile(r"(?:\s|//.*\n)*(?:fn|var|const|use|include)\b(?!\s*:)")  # how such a source begins


class Loaded(NamedTuple):
    """A program and the picture that it is; where it was made from source also what the source knows.

    Attributes:
        program: within bounds.
        picture: as a cartridge.
        places: for each word the statement that it came from.
        code_labels: names of code: labels, functions.
        data_labels: names of data and their addresses.
        names: of variables, with their types and where they lie.
    """

    program: Program
    picture: Picture
    places: tuple[Place, ...] = ()
    code_labels: Mapping[str, int] = MappingProxyType({})
    data_labels: Mapping[str, int] = MappingProxyType({})
    names: Names = Names()

    def place(self, pc: int) -> str:
        """Where a word stands, for a person: ``file:line`` of its source, else its index."""
        if pc < len(self.places):
            return f"{self.places[pc].file}:{self.places[pc].line}"
        return f"pixel {pc}"


def load(name: str) -> Loaded:
    """The program in file ``name``; ``-`` is standard input.

    Raises:
        InputError: it cannot be read, is neither a cartridge nor source, or is one in error.
    """
    if name == "-":
        name, data = _STDIN, sys.stdin.buffer.read(png.FILE_MAX + 1)
        if len(data) > png.FILE_MAX:
            raise InputError(f"{name}: more than {png.FILE_MAX >> 20} MiB", stage=STAGE)
    else:
        data = read_bounded(Path(name), png.FILE_MAX, stage=STAGE)
    if data.startswith(png.SIGNATURE):
        packed = cartridge.read(data, name)
        return Loaded(packed.program, packed.picture)
    if data.startswith(program.MAGIC):
        made_before = program.from_bytes(data, name)
        return Loaded(made_before, cartridge.pack(made_before).picture)
    text = _text(data, name)
    if name.endswith(".pxl") or (name == _STDIN and _PXL.match(text)):
        from pixelvm.pxl import compiler

        made = compiler.compile_text(text, name, None if name == _STDIN else compiler.read_source)
    else:
        made = assembler.assemble(text, name)
    picture = cartridge.pack(made.program).picture
    return Loaded(made.program, picture, made.places, made.code_labels, made.data_labels, made.names)


def picture(name: str) -> Picture:
    """The picture in PNG file ``name``.

    Raises:
        InputError: it cannot be read or is no picture that a cartridge can be.
    """
    return png.read(read_bounded(Path(name), png.FILE_MAX, stage=STAGE), name)


def _text(data: bytes, name: str) -> str:
    if not data.strip():
        raise InputError(f"{name}: empty; expected a cartridge or Pixel VM source (.pxa, .pxl)", stage=STAGE)
    if len(data) > assembler.SOURCE_MAX:
        raise InputError(f"{name}: more than {assembler.SOURCE_MAX >> 20} MiB of source", stage=STAGE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"{name}: neither a cartridge (PNG) nor source as UTF-8 text", stage=STAGE)
    return text
