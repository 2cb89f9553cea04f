"""Sections of a unit while it is assembled: fragments that end where a size is not known yet.

Owns the data structures between the passes, as GNU as has them (``frags.h``): a fragment is bytes of fixed size, then
at most one thing whose size depends on addresses: a branch, an alignment, an ``.org``, a ``.skip`` of a label
difference. Two labels of one fragment have a known distance. Never computes an address; ``relax`` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.expr import Expr
from toolchain.source import Statement
from toolchain.types import Encoding, Mode

SECTION_MAX = 1 << 28  # bytes of an input section in the file: more is a mistake, and would eat all memory


class Label:
    """A place in a section: an offset in a fragment."""

    __slots__ = ("fragment", "name", "offset", "section", "statement")

    def __init__(self, name: str, section: SectionBuilder, statement: Statement) -> None:
        self.name = name
        self.section = section
        self.statement = statement
        self.fragment: Fragment | None = None
        self.offset = 0

    @property
    def address(self) -> int:
        """Offset in the section, as far as relaxation has come."""
        return self.fragment.address + self.offset if self.fragment is not None else 0


class Branch:
    """A jump with a short and a long form. ``target`` is set when it can be short: a label and an addend."""

    __slots__ = ("encoding", "is_long", "operand", "short", "target")

    def __init__(self, encoding: Encoding, short: Encoding, operand: Expr) -> None:
        self.encoding = encoding
        self.short = short
        self.operand = operand
        self.target: tuple[Label, int] | None = None
        self.is_long = True


class Align:
    """``.align``: ``fill`` is None for the nops of code; ``limit`` is the most bytes to skip, 0 for any."""

    __slots__ = ("boundary", "fill", "limit", "mode", "statement")

    def __init__(
        self, boundary: int, fill: bytes | None, limit: int, mode: Mode, statement: Statement
    ) -> None:
        self.boundary = boundary
        self.fill = fill
        self.limit = limit
        self.mode = mode
        self.statement = statement


class Org:
    """``.org``: up to ``target``, an offset in the section."""

    __slots__ = ("fill", "statement", "target")

    def __init__(self, target: Expr, fill: int, statement: Statement) -> None:
        self.target = target
        self.fill = fill
        self.statement = statement


class Space:
    """``.skip`` or ``.fill`` whose count is not known when it is read."""

    __slots__ = ("count", "pattern", "statement")

    def __init__(self, count: Expr, pattern: bytes, statement: Statement) -> None:
        self.count = count
        self.pattern = pattern
        self.statement = statement


Variable = Branch | Align | Org | Space


class Patch:
    """A field to fill: ``size`` bytes at ``offset`` of its fragment.

    ``start`` and ``end`` are the offsets of the instruction (or datum) it belongs to: what ``.`` means, and what a
    PC-relative field counts from.
    """

    __slots__ = ("end", "kind", "offset", "operand", "size", "start", "statement")

    def __init__(
        self, offset: int, size: int, kind: str, operand: Expr, statement: Statement, start: int, end: int
    ) -> None:
        self.offset = offset
        self.size = size
        self.kind = kind
        self.operand = operand
        self.statement = statement
        self.start = start
        self.end = end


class Fragment:
    """Bytes of fixed size, then what ``variable`` says.

    Attributes:
        parts: the bytes; ``size`` is their total.
        patches: fields in them.
        rows: (offset, length, statement, True for an instruction) of them.
        address: offset in the section, as far as relaxation has come.
        grown: size of the variable part, likewise.
        region: how many alignments and ``.org`` come before (gas uses it to guess how far labels move).
    """

    __slots__ = (
        "address",
        "grown",
        "marker",
        "parts",
        "patches",
        "region",
        "rows",
        "size",
        "statement",
        "variable",
    )

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.patches: list[Patch] = []
        self.rows: list[tuple[int, int, Statement, bool]] = []
        self.variable: Variable | None = None
        self.statement: Statement | None = None
        self.address = 0
        self.grown = 0
        self.region = 0
        self.marker = False


class Datum:
    """Bytes of a data directive; ``fields`` are those still to be filled: (offset, size, kind, operand)."""

    __slots__ = ("data", "fields", "statement")

    def __init__(
        self, data: bytes, statement: Statement, fields: Sequence[tuple[int, int, str, Expr]] = ()
    ) -> None:
        self.data = data
        self.statement = statement
        self.fields = fields


class Code:
    """An instruction: which request of the pool it is, and the names that mean something else at this place."""

    __slots__ = ("names", "request", "statement")

    def __init__(self, request: int, statement: Statement, names: dict[str, Expr] | None = None) -> None:
        self.request = request
        self.statement = statement
        self.names = names


class SectionBuilder:
    """One input section.

    Attributes:
        index: its number in the unit.
        flags: letters of the section's flags (``a``, ``w``, ``x``).
        nobits: it takes no room in the file.
        align: the largest alignment asked for.
        items: what was read and is not in ``fragments`` yet.
    """

    __slots__ = ("align", "flags", "fragments", "index", "items", "kind", "name", "opened")

    def __init__(self, name: str, index: int, flags: str, kind: str, opened: Statement | None) -> None:
        self.name = name
        self.index = index
        self.flags = flags
        self.kind = kind
        self.opened = opened
        self.align = 1
        self.items: list[Code | Datum | Label | Align | Org | Space] = []
        self.fragments: list[Fragment] = [Fragment()]

    @property
    def nobits(self) -> bool:
        """Whether it holds zeros only."""
        return self.kind == "nobits"

    @property
    def is_code(self) -> bool:
        """Whether alignment is filled with nops."""
        return "x" in self.flags

    def size(self) -> int:
        """Bytes, as far as relaxation has come."""
        last = self.fragments[-1]
        return last.address + last.size + last.grown
