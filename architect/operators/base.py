"""What an edit operator is: a name, why it is there, how likely it is a priori, and a generator of variants.

Owns the vocabulary of the package (``Site``, ``Variant``, ``Operator``) and the making of edits from columns. Costs are
bits: a variant of cost 3 is held to be eight times less likely than one of cost 0. Never looks at a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log2
from typing import NamedTuple

from architect.operators.view import View
from architect.protocols import Edit
from architect.statements import ASSIGNMENTS, Span, Statement, is_symbol, tokens


class Variant(NamedTuple):
    """One way to edit a site: edits, cost in bits within its operator, and what it does, in a clause.

    A tuple: of many that are made few are ever proposed.
    """

    edits: tuple[Edit, ...]
    bits: float
    note: str


@dataclass(frozen=True, slots=True)
class Site:
    """A statement that may be changed, or before which something may be missing."""

    statement: Statement
    view: View

    @property
    def previous(self) -> Statement | None:
        """The statement with code before this one in its routine."""
        return self.view.neighbour(self.statement, -1)

    @property
    def following(self) -> Statement | None:
        """The statement with code after this one in its routine."""
        return self.view.neighbour(self.statement, 1)

    @property
    def sort(self) -> str:
        """What kind of line it is: code, label, number, constant (both assignments), data, directive."""
        s = self.statement
        if s.kind in ("instruction", "macro"):
            return "code"
        if s.kind == "label":
            return "label"
        if s.name in ASSIGNMENTS:
            return (
                "constant"
                if any(is_symbol(t.text) for o in s.operands[1:] for t in tokens(o.text))
                else "number"
            )
        return "data" if s.name in DATA else "directive"

    @property
    def is_gap(self) -> bool:
        """Code can stand before it: it executes, or it is a label within a routine."""
        s = self.statement
        return self.is_code or (s.kind == "label" and s.routine in self.view.tree.routines)

    @property
    def is_code(self) -> bool:
        """It executes: an instruction, or a macro."""
        return self.statement.kind in ("instruction", "macro")


DATA = frozenset({".byte", ".word", ".short", ".long", ".quad", ".int", ".skip", ".space", ".zero"})
CODE = frozenset({"code"})
GAPS = frozenset({"code", "label"})
NUMBERS = frozenset({"code", "number", "constant", "data", "directive"})
NAMES = frozenset({"code", "constant", "data", "directive"})
LAYOUT = frozenset({"code", "label", "data", "directive"})
EVERYWHERE = frozenset({"code", "label", "number", "constant", "data", "directive"})
# Directives that say where a block begins and ends: what it takes in is no matter of order, nor has its end a place.
BLOCKS = frozenset({
    ".macro", ".endm", ".exitm", ".rept", ".irp", ".irpc", ".endr",
    ".if", ".ifdef", ".ifndef", ".else", ".elseif", ".endif",
})  # fmt: skip

Generate = Callable[[Site], Iterable[Variant]]


@dataclass(frozen=True, slots=True)
class Operator:
    """A declared edit operator.

    Attributes:
        name: as patches and lessons say it.
        why: what mistake it mends, and why people make it.
        bits: how unlikely that mistake is a priori.
        classes: fault class -> bits to add where the failure speaks for (negative) or against it.
        generate: the variants of a site; the engine sorts them.
        sorts: the sorts of sites that it applies to (``Site.sort``).
        common: it has variants nearly everywhere and takes long to make them: taken for granted, not tried.
    """

    name: str
    why: str
    bits: float
    generate: Generate
    classes: Mapping[str, float] = field(default_factory=dict)
    sorts: frozenset[str] = CODE
    common: bool = False

    def cost(self, classes: Iterable[str]) -> float:
        """Prior cost in bits, given the classes of the failure."""
        shifts = [self.classes[c] for c in classes if c in self.classes]
        return max(0.5, self.bits + (min(shifts) if shifts else 0.0))


def rank_bits(rank: int) -> float:
    """The cost of the n-th choice of a list whose order means something."""
    return log2(rank + 1.5)


def replaced(statement: Statement, span: Span, text: str) -> Edit:
    """The statement's line with one span of columns replaced."""
    line = statement.text
    return Edit(statement.file, statement.line, (line,), (_realigned(line, span, text),))


def _realigned(line: str, span: Span, text: str) -> str:
    """Replace a span; a comment behind it keeps its column where there is room."""
    changed = line[: span.start] + text + line[span.end :]
    rest = line[span.end :]
    hash_at = rest.find("  #")
    if hash_at < 0:
        return changed.rstrip()
    gap = len(rest[hash_at:]) - len(rest[hash_at:].lstrip())
    width = max(1, gap - (len(text) - (span.end - span.start)))
    return line[: span.start] + text + rest[:hash_at] + " " * width + rest[hash_at:].lstrip()


def rewritten(statement: Statement, code: str) -> Edit:
    """The statement's line with its whole code replaced; labels and comment stay."""
    return replaced(statement, statement.code, code)


def inserted(before: Statement, lines: Sequence[str]) -> Edit:
    """New lines of code before a statement's line, in its indentation."""
    return Edit(before.file, before.line, (), tuple(indent(before) + line for line in lines))


def inserted_at(file: str, line: int, lines: Sequence[str]) -> Edit:
    """New lines, as they are, before a line."""
    return Edit(file, line, (), tuple(lines))


def removed(statement: Statement) -> Edit:
    """The line without the statement; labels on it stay."""
    kept = "".join(f"{label}:" for label in statement.labels if f"{label}:" in statement.text)
    return Edit(statement.file, statement.line, (statement.text,), (kept,) if kept else ())


def indent(statement: Statement) -> str:
    """The indentation of code beside a statement."""
    return _indent(statement.text, statement.kind == "label")


@lru_cache(maxsize=1 << 12)
def _indent(text: str, label: bool) -> str:
    lead = text[: len(text) - len(text.lstrip())]
    return lead if lead and not label else "    "
