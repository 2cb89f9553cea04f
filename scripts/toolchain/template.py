r"""Text of a macro or a repetition, with the actuals in place of ``\name``, ``\@``, ``\(text)``.

Owns substitution. A body is cut once where text is put in; what cannot become anything but one statement is put
together without being read anew. Never binds arguments; ``macro`` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from toolchain.source import BROKEN, LABEL, NAME, Statement, scan
from toolchain.types import Expansion

_LABEL_TEXT = re.compile(r"[\w.$\\@()]+:", re.ASCII)
SPECIAL = re.compile(
    r"[\"';#/=:]"
)  # what makes operands more than words: quotes, separators, comments, assignments
_MARK = re.compile(r"\\(?:(\()|@|([A-Za-z_.$][\w.$]*)&?)", re.ASCII)

# How a template becomes a statement: as it is; by putting text into its operands, or into the name of a label; by
# putting text in and reading the line anew.
PLAIN, OPERANDS, NAMED, TEXT = range(4)
_LAST = -1


class Template:
    """One statement of a body, cut where text is put in.

    Attributes:
        line: the statement as written.
        pieces: text and the index of the value behind it (``_LAST`` for none), alternating.
        column: where the statement stands in its line.
        kind: ``PLAIN``, ``OPERANDS``, ``NAMED`` or ``TEXT``.
    """

    __slots__ = ("column", "kind", "line", "pieces")

    def __init__(self, line: Statement, names: Sequence[str]) -> None:
        self.line = line
        self.kind = PLAIN
        self.pieces: tuple[tuple[str, int], ...] = ()
        self.column = line.column
        if "\\" not in line.args:
            return
        text = line.args
        if line.op == BROKEN and _LABEL_TEXT.fullmatch(text):
            self.kind, text = NAMED, text[:-1]
        elif line.op == BROKEN or SPECIAL.search(text):
            self.kind, text = TEXT, line.text
            self.column = line.place.column
        else:
            self.kind = OPERANDS
        self.pieces = _cut_at_marks(text, names)


def _cut_at_marks(text: str, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    pieces = []
    literal = ""
    at = 0
    closed = text.rfind(")")
    for mark in _MARK.finditer(text):
        if mark.start() < at:
            continue  # between \( and )
        literal += text[at : mark.start()]
        at = mark.end()
        opened, name = mark.groups()
        if opened is not None and at <= closed:
            end = text.index(")", at)
            literal += text[at:end]
            at = end + 1
        elif opened is not None:
            literal += mark[0]
        elif name is None or name in names:
            pieces.append((literal, len(names) if name is None else names.index(name)))
            literal = ""
        else:
            literal += mark[0]
    pieces.append((literal + text[at:], _LAST))
    return tuple(pieces)


class Body:
    """The templates of a macro or a repetition.

    Attributes:
        templates: one per statement.
        ops: mnemonics and directives that the body consists of, or None when text put in may bring others.
        counts: tells that the number of the expansion occurs.
    """

    __slots__ = ("counts", "ops", "templates")

    def __init__(self, lines: Sequence[Statement], names: Sequence[str]) -> None:
        self.templates = [Template(line, names) for line in lines]
        fixed = all(t.kind != TEXT and (t.kind == NAMED or t.line.op != BROKEN) for t in self.templates)
        self.ops = frozenset([line[0] for line in lines]) - {BROKEN} if fixed else None
        self.counts = any("\\@" in line.args for line in lines)

    def substitute(
        self, values: Sequence[str], trail: tuple[Expansion, ...], tame: bool
    ) -> tuple[list[Statement], bool]:
        """The statements with ``values`` (and the number of the expansion behind them) in place of their names.

        Args:
            values: one per name, then the number of the expansion.
            trail: the expansions that the result came through.
            tame: no value holds any of ``SPECIAL``.

        Returns:
            The statements, and whether they have the mnemonics and directives of the body and no others.
        """
        found: list[Statement] = []
        same = True
        append, make = found.append, tuple.__new__
        values = [*values, ""]
        for template in self.templates:
            op, args, row, column, source, _, _ = template.line
            kind = template.kind
            if kind == PLAIN:
                append(make(Statement, (op, args, row, column, source, trail, None)))
                continue
            text = "".join([literal + values[index] for literal, index in template.pieces])
            if kind == OPERANDS:
                if tame or not SPECIAL.search(text):
                    append(make(Statement, (op, text.strip(), row, column, source, trail, None)))
                    continue
                text = f"{op} {text}"
            elif kind == NAMED:
                if NAME.fullmatch(text):
                    append(make(Statement, (LABEL, text, row, column, source, trail, None)))
                    continue
                text += ":"
            scan(text, row, template.column, source, trail, found)
            same = False
        return found, same
