"""The values that pass between the stages of the toolchain. Frozen, typed, without behaviour worth a name.

Named tuples: a build makes thousands of them, and dataclasses cost its start ten milliseconds. Those of a boot are
defined in ``types_boot`` and found here as well; they are loaded when first named.

Producers and consumers: ``preprocess`` makes ``Place`` and statements; ``insn`` parses operands; ``encode`` makes
``Encoding``; ``assemble``/``link`` make ``Image``; ``build`` makes ``BuildResult``; ``qemu`` makes ``BootResult``;
``fault`` makes ``FaultReport``. All addresses are integers, all virtual unless the name says ``physical``.
"""

from __future__ import annotations

from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from toolchain.printable import printable

if TYPE_CHECKING:
    from toolchain.types_boot import (
        BootConfig as BootConfig,
    )
    from toolchain.types_boot import (
        BootResult as BootResult,
    )
    from toolchain.types_boot import (
        CodePlace as CodePlace,
    )
    from toolchain.types_boot import (
        Diagnosis as Diagnosis,
    )
    from toolchain.types_boot import (
        Exception_ as Exception_,
    )
    from toolchain.types_boot import (
        FaultReport as FaultReport,
    )
    from toolchain.types_boot import (
        MemoryChunk as MemoryChunk,
    )
    from toolchain.types_boot import (
        OutcomeName as OutcomeName,
    )
    from toolchain.types_boot import (
        PciBar as PciBar,
    )
    from toolchain.types_boot import (
        Screen as Screen,
    )
    from toolchain.types_boot import (
        Snapshot as Snapshot,
    )
    from toolchain.types_boot import (
        SourceLine as SourceLine,
    )
    from toolchain.types_boot import (
        Unit as Unit,
    )
    from toolchain.types_boot import (
        Walk as Walk,
    )
    from toolchain.types_boot import (
        WalkLevel as WalkLevel,
    )

Mode = Literal[16, 32, 64]
CMDLINE_MAX = 2048  # bytes of a kernel's command line; GRUB dies of a word of 8192 (YYLMAX of its lexer)

# --- source ------------------------------------------------------------------------------------------------


class Expansion(NamedTuple):
    """One step of a macro's trail: ``name`` was expanded at ``file:line``."""

    name: str
    file: str
    line: int


class Place(NamedTuple):
    """Where a statement stands: the line that a person edits, and the macros that it came through.

    ``file`` is relative to the kernel tree (``cpu/idt.s``); ``text`` is the source line as written;
    ``column`` is the 0-based column of the statement in it.
    """

    file: str
    line: int
    text: str = ""
    column: int = 0
    trail: tuple[Expansion, ...] = ()


class Diagnostic(NamedTuple):
    """One error of a source, for a person: place, what is wrong, what was expected."""

    place: Place
    message: str
    expected: str = ""

    def __str__(self) -> str:
        """As an error; see ``shown``."""
        return self.shown("error")

    def shown(self, severity: str) -> str:
        """``file:line: severity: message``, the source line with a caret, what was expected, the macro trail.

        Of a long line the part around the caret is shown, of a long trail its ends; nothing that a terminal obeys.
        """
        parts = [f"{printable(self.place.file, '')}:{self.place.line}: {severity}: {_shown(self.message)}"]
        if self.place.text:
            begin = max(0, self.place.column - SHOWN_MAX // 2)
            text = printable(self.place.text[begin : begin + SHOWN_MAX], "\t")
            parts.append(f"    {text}")
            lead = "".join("\t" if c == "\t" else " " for c in text[: self.place.column - begin])
            parts.append(f"    {lead}^")
        if self.expected:
            parts.append(f"    expected {_shown(self.expected)}")
        trail = [
            f"    in macro {e.name}, expanded at {printable(e.file, '')}:{e.line}" for e in self.place.trail
        ]
        if len(trail) > TRAIL_MAX:
            trail[TRAIL_MAX - 2 : -1] = [f"    … {len(trail) - TRAIL_MAX + 1} more expansions"]
        return "\n".join(parts + trail)


SHOWN_MAX = 200  # characters of a line or a message
TRAIL_MAX = 8  # lines of a macro trail


def _shown(text: str) -> str:
    """``text`` for a person, its middle left out when it is long."""
    if len(text) > 2 * SHOWN_MAX:
        text = f"{text[:SHOWN_MAX]} … {text[-SHOWN_MAX // 2 :]}"
    return printable(text, "\t")


# --- encoding ----------------------------------------------------------------------------------------------


class Fixup(NamedTuple):
    """A field of an instruction whose value the linker writes.

    Attributes:
        offset: byte offset of the field in the instruction.
        size: 1, 2, 4 or 8 bytes.
        kind: ``"pcrel"`` (value - address after the instruction), ``"signed"`` (sign-extended by the CPU; must
            fit signed), ``"unsigned"`` (must fit unsigned), ``"either"`` (both readings are allowed).
        operand: the expression, an ``expr.Expr``.
    """

    offset: int
    size: int
    kind: Literal["pcrel", "signed", "unsigned", "either"]
    operand: object


class Encoding(NamedTuple):
    """The bytes of one instruction, with the fields still to be filled (zero in ``data``).

    ``short`` is the two-byte form of a relaxable branch (``jmp``/``jcc`` to an expression), else None.
    """

    data: bytes
    fixups: tuple[Fixup, ...] = ()
    short: Encoding | None = None


# --- the linked image --------------------------------------------------------------------------------------


class Section(NamedTuple):
    """An output section. ``data`` is empty for ``.bss`` (``nobits``), whose length is ``size``."""

    name: str
    address: int
    physical: int
    size: int
    data: bytes
    flags: str
    align: int
    nobits: bool = False


class Symbol(NamedTuple):
    """A symbol of the image. ``kind`` is ``func``, ``object`` or ``notype``; ``size`` 0 when unknown."""

    name: str
    address: int
    size: int
    kind: Literal["func", "object", "notype"]
    section: str | None
    file: str
    line: int
    is_global: bool


class Symbols(tuple[Symbol, ...]):
    """The symbols of an image, with what is looked up in them."""

    def __reduce__(self) -> tuple[type[Symbols], tuple[tuple[Symbol, ...]]]:
        return Symbols, (tuple(self),)  # what is looked up is found again

    @cached_property
    def addresses(self) -> dict[str, int]:
        """Name -> address; of several, the last."""
        return {symbol.name: symbol.address for symbol in self}

    @cached_property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Name -> indices."""
        found: dict[str, tuple[int, ...]] = {}
        for index, symbol in enumerate(self):
            found[symbol.name] = (*found.get(symbol.name, ()), index)
        return found

    @cached_property
    def routines(self) -> dict[str | None, list[Symbol]]:
        """Section -> the routines in it that have a size, by address."""
        found: dict[str | None, list[Symbol]] = {}
        for symbol in self:
            if symbol.kind == "func" and symbol.size > 0:
                found.setdefault(symbol.section, []).append(symbol)
        for rows in found.values():
            rows.sort(key=attrgetter("address", "name"))
        return found

    @classmethod
    def of(cls, image: Image) -> Symbols:
        """Those of an image."""
        return image.symbols if isinstance(image.symbols, cls) else cls(image.symbols)

    def resized(self, index: int, size: int) -> Symbols:
        """These with another size of one of them."""
        made = Symbols((*self[:index], self[index]._replace(size=size), *self[index + 1 :]))
        made.addresses, made.places = self.addresses, self.places
        return made


class Line(NamedTuple):
    """One row of the line table: the instruction at ``address`` (``length`` bytes) came from ``file:line``.

    An instruction from a macro has the line of the outermost expansion here (what gdb should stop at).
    """

    address: int
    length: int
    file: str
    line: int


class Image(NamedTuple):
    """A linked kernel in memory, before any file format. ``warnings``: what ``.warning`` said, ready to be shown."""

    entry: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    lines: tuple[Line, ...]
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class BuildResult(NamedTuple):
    """What ``pxos build`` made. Paths are None for what was not asked for."""

    elf: Path
    iso: Path | None
    map: Path
    listing: Path
    bytes: int
    symbols: int
    seconds: float
    warnings: tuple[str, ...] = ()
    modules: Path | None = None


def __getattr__(name: str) -> Any:
    """A type of ``types_boot``."""
    if not name.startswith("_"):
        from toolchain import types_boot

        if hasattr(types_boot, name):
            globals()[name] = getattr(types_boot, name)
            return globals()[name]
    raise AttributeError(f"module 'toolchain.types' has no attribute '{name}'")
