"""Code before it is words: instructions whose operands are labels, functions, locals and places in memory.

Owns the shapes between generator, optimiser and linker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pixelvm.isa import Op
from pixelvm.pxl.core import Function, Symbol, Variable
from toolchain.types import Place


class Label:
    """A place in the code of a function."""


class Ref(NamedTuple):
    """The address of a symbol and some bytes; without a symbol the bytes alone."""

    symbol: Symbol | None
    offset: int


Argument: TypeAlias = int | Label | Function | Variable | Ref


@dataclass(slots=True)
class Ins:
    """One instruction; with a label for ``op`` the place that it names."""

    op: Op | Label
    argument: Argument
    place: Place


class Span:
    """Where a local lives.

    Attributes:
        first: index of the first instruction that knows it.
        last: index behind the last one.
        uses: how often it is read and written, those in loops counted many times.
    """

    def __init__(self, first: int) -> None:
        self.first, self.last, self.uses = first, first, 0


class Routine(NamedTuple):
    """A function as code, its locals not yet in slots."""

    function: Function
    code: list[Ins]
    spans: dict[Variable, Span]
