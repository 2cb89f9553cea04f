r"""Text of a macro or a repetition, with the actuals in place of ``\name``, ``\@``, ``\(text)``.

Owns substitution. A body is cut once where text is put in; what cannot become anything but one statement is put
together without being read anew. Never binds arguments; ``macro`` does.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from toolchain.source import BROKEN, LABEL, Statement, scan
from toolchain.types import Expansion

_NAME = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)
_LABEL_TEXT = re.compile(r"[\w.$\\@()]+:", re.ASCII)
_SPECIAL = re.compile(r"[\"';#/]")  # what makes operands more than words: quotes, separators, comments
_MARK = re.compile(r"\\(?:\(([^)]*)\)|@|([A-Za-z_.$][\w.$]*)&?)", re.ASCII)


class Template:
    """One statement of a body, cut where text is put in.

    Attributes:
        line: the statement as written.
        pieces: text and the name of the parameter behind it ("" for none), alternating; empty when nothing is put in.
        column: where the statement stands in its line.
        kind: ``operands`` when ``pieces`` are those of its operands, ``label`` when they are the name of a label,
            ``text`` when they are a text that must be read anew.
    """

    __slots__ = ("column", "kind", "line", "pieces")

    def __init__(self, line: Statement, names: Container[str]) -> None:
        self.line = line
        self.kind = "operands"
        self.pieces: tuple[tuple[str, str], ...] = ()
        self.column = line.column
        if "\\" not in line.args:
            return
        text = line.args
        if line.op == BROKEN and _LABEL_TEXT.fullmatch(text):
            self.kind, text = "label", text[:-1]
        elif line.op == BROKEN or _SPECIAL.search(text):
            self.kind, text = "text", line.text
            self.column = line.place.column
        self.pieces = _cut_at_marks(text, names)


def _cut_at_marks(text: str, names: Container[str]) -> tuple[tuple[str, str], ...]:
    pieces = []
    literal = ""
    at = 0
    for mark in _MARK.finditer(text):
        literal += text[at : mark.start()]
        at = mark.end()
        quoted, name = mark.groups()
        if quoted is not None:
            literal += quoted
        elif name is None or name in names:
            pieces.append((literal, name or "@"))
            literal = ""
        else:
            literal += mark[0]
    pieces.append((literal + text[at:], ""))
    return tuple(pieces)


def compile_body(body: Sequence[Statement], names: Container[str]) -> tuple[Template, ...]:
    """The templates of a body whose parameters are ``names``."""
    return tuple([Template(line, names) for line in body])


def substitute(
    body: Sequence[Template], actuals: dict[str, str], number: int, trail: tuple[Expansion, ...]
) -> list[Statement]:
    """``body`` with the actuals in place of their names; the result's statements carry ``trail``."""
    found: list[Statement] = []
    append, make = found.append, tuple.__new__
    values = {**actuals, "@": str(number), "": ""}
    for template in body:
        line = template.line
        if not template.pieces:
            op, args, row, column, source, old_trail, constants = line
            append(
                line
                if old_trail is trail
                else make(Statement, (op, args, row, column, source, trail, constants))
            )
            continue
        text = "".join([literal + values[name] for literal, name in template.pieces])
        if template.kind == "operands":
            if not _SPECIAL.search(text) and text[:1] not in ("=", ":", " ", ""):
                append(make(Statement, (line[0], text, line[2], line[3], line[4], trail, None)))
                continue
            text = f"{line[0]} {text}"
        elif template.kind == "label":
            if _NAME.fullmatch(text):
                append(make(Statement, (LABEL, text, line[2], line[3], line[4], trail, None)))
                continue
            text += ":"
        scan(text, line[2], template.column, line[4], trail, found)
    return found
