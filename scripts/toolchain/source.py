"""Source files and their statements: from bytes to (mnemonic, operands) with line and column.

Owns: decoding a file, comments (``#``, ``/`` at the start of a statement, ``/* */``), the ``;`` separator, labels
at the start of a statement, string and character quoting. GNU as's rules (as manual, 3.3 Comments, 3.5 Statements;
x86: ``#`` anywhere, ``/`` at the start only). Never looks at what a statement means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from toolchain.errors import InputError
from toolchain.types import Diagnostic, Expansion, Place

STAGE = "preprocess"

LABEL = ":"  # Statement.op of a label; args is its name
ASSIGN = "="  # Statement.op of ``name = value``; args is "name,value"
CONSTANTS = "(constants)"  # Statement.op of a run of assignments whose values are known
FIRST = -1  # Statement.column of the first thing on its line
BROKEN = ""  # Statement.op of text that is no statement; args is the text


class Constants(NamedTuple):
    """A run of ``.set`` with known values: what each name is from here on, and where it was last given."""

    values: dict[str, int]
    places: dict[str, Statement]


class Statement(NamedTuple):
    """One statement. ``op`` is in lower case: a mnemonic, a directive, or one of the marks above.

    ``column`` is 0-based, or ``FIRST``. ``trail`` holds the macro expansions it came through, innermost first;
    ``line`` and ``source`` are those of the line that a person edits (in the macro's body, if it came from one).
    """

    op: str
    args: str
    line: int
    column: int
    source: SourceFile
    trail: tuple[Expansion, ...] = ()
    constants: Constants | None = None

    @property
    def place(self) -> Place:
        """Where it stands, with the source line as written."""
        text = self.source.text_of(self.line)
        column = self.column if self.column != FIRST else len(text) - len(text.lstrip(" \t"))
        return Place(self.source.name, self.line, text, column, self.trail)

    @property
    def text(self) -> str:
        """The statement in canonical spacing: mnemonic, one space, operands."""
        if self.op == LABEL:
            return f"{self.args}:"
        if self.op == ASSIGN:
            return self.args.replace(",", " = ", 1)
        return f"{self.op} {self.args}" if self.args and self.op else self.op or self.args

    @property
    def origin(self) -> tuple[str, int]:
        """File and line that a debugger should show: the outermost expansion, or its own."""
        if self.trail:
            return self.trail[-1].file, self.trail[-1].line
        return self.source.name, self.line

    def problem(self, message: str, expected: str = "") -> Diagnostic:
        """A diagnostic at this statement."""
        return Diagnostic(self.place, message, expected)


class SourceFile:
    """One file's text, cut into statements once.

    Attributes:
        name: as diagnostics and the line table name it, relative to the kernel tree.
        path: where it was read from, or None for text that was handed in.
        text: its content.
    """

    __slots__ = ("_lines", "_statements", "name", "path", "text")

    def __init__(self, name: str, text: str, path: Path | None = None) -> None:
        self.name = name
        self.path = path
        self.text = text
        self._lines: list[str] | None = None
        self._statements: list[Statement] | None = None

    @property
    def lines(self) -> list[str]:
        """The lines as written, without line ends."""
        if self._lines is None:
            text = self.text.replace("\r\n", "\n") if "\r" in self.text else self.text
            self._lines = text.split("\n")
        return self._lines

    def text_of(self, line: int) -> str:
        """Line ``line`` (from 1) as written; empty beyond the end."""
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    @property
    def statements(self) -> list[Statement]:
        """All statements of the file, in order, before any preprocessing."""
        if self._statements is None:
            self._statements = self._cut()
        return self._statements

    def _cut(self) -> list[Statement]:
        found: list[Statement] = []
        if "/*" in self.text:
            text, rest = _blank_comments("\n".join(self.lines))
            for number, line in enumerate(text.split("\n"), 1):
                scan(line, number, 0, self, (), found)
            if rest:
                number, column = text.count("\n") + 1, len(text) - text.rfind("\n") - 1
                found.append(Statement(BROKEN, rest, number, column, self))
            return found
        append, make = found.append, tuple.__new__
        for number, line in enumerate(self.lines, 1):
            if not line or line[0] == "#":
                continue
            body = line.partition("#")[0]
            if '"' not in body and ";" not in body and "/" not in body and "'" not in body and body.isascii():
                # Nothing can hide a separator or a comment here: what follows is the common case, taken apart fast.
                words = body.split(None, 1)
                if not words:
                    continue
                op = _OPS.get(words[0])
                if op is None:
                    word = words[0]
                    if len(words) == 1 and word[-1] == ":":
                        name = word[:-1]
                        if NAME.fullmatch(name) or name.isdigit():
                            append(make(Statement, (LABEL, name, number, FIRST, self, (), None)))
                            continue
                    elif NAME.fullmatch(word):
                        op = _OPS[word] = word.lower()
                if op is not None:
                    args = words[1].rstrip() if len(words) > 1 else ""
                    if not args or args[0] not in "=:":
                        append(make(Statement, (op, args, number, FIRST, self, (), None)))
                        continue
            scan(line, number, 0, self, (), found)
        return found


NAME = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)
_OPS: dict[str, str] = {}  # words that can be a mnemonic or a directive, and their lower case
_LABEL = re.compile(r"[ \t]*([A-Za-z_.$][\w.$]*|\d+)[ \t]*:", re.ASCII)
# What may hide a separator or a comment. A character constant is a quote, one character (or an escape), and,
# if it is there, a closing quote.
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:\\.|[^\\])'?|[;#\"']")
# Patterns that few files need are compiled when one does.
_HIDING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:\\.|[^\\\n])'?|#[^\n]*|/\*.*?(?:\*/|\Z)"
_CHARACTER = r"\"(?:[^\"\\]|\\.)*\"|'(\\.|[^\\])'?"
# A slash at the start of a statement begins a comment that runs to the end of the line.
_REMARK = r"[ \t]*(?:(?:[A-Za-z_.$][\w.$]*|\d+)[ \t]*:[ \t]*)*/(?!\*)"
_ESCAPES = {"b": 8, "f": 12, "n": 10, "r": 13, "t": 9}


def _blank_comments(text: str) -> tuple[str, str]:
    """``text`` with every ``/* */`` blanked out, lines and columns kept; and apart, the comment that has no end."""
    rest = ""

    def blank(match: re.Match[str]) -> str:
        nonlocal rest
        hidden = match[0]
        if not hidden.startswith("/*"):
            return hidden
        if len(hidden) < 4 or not hidden.endswith("*/"):
            rest = hidden
            return ""
        return "".join("\n" if c == "\n" else " " for c in hidden)

    return re.sub(_HIDING, blank, text, flags=re.DOTALL), rest


def scan(
    line: str,
    number: int,
    column: int,
    source: SourceFile,
    trail: tuple[Expansion, ...],
    found: list[Statement],
) -> None:
    """Append the statements of one line to ``found``.

    Args:
        line: the text, ``/* */`` already blanked.
        number: its line number.
        column: the column where ``line`` begins in the line of the file; for text from a macro, that of the
            statement in the macro's body.
        source: the file it stands in.
        trail: the macros it came through.
        found: the list to append to.
    """
    remark = re.compile(_REMARK, re.ASCII) if "/" in line else None
    begin, looked = 0, -1
    for quoted in _QUOTED.finditer(line):
        token = quoted[0]
        if remark is not None and looked != begin:
            if remark.match(line, begin):
                break
            looked = begin
        if token == "#":
            line = line[: quoted.start()]
            break
        if token == ";":
            _append(line[begin : quoted.start()], number, column + begin, source, trail, found)
            begin = quoted.end()
    _append(line[begin:], number, column + begin, source, trail, found)


def _append(
    text: str,
    number: int,
    column: int,
    source: SourceFile,
    trail: tuple[Expansion, ...],
    found: list[Statement],
) -> None:
    """Append what stands between two separators: labels, then at most one statement."""
    at = 0
    while (label := _LABEL.match(text, at)) is not None:
        found.append(Statement(LABEL, label[1], number, column + label.start(1), source, trail))
        at = label.end()
    column += at
    text = text[at:]
    body = text.strip()
    if not body or body[0] == "/":
        return
    column += len(text) - len(text.lstrip())
    word = NAME.match(body)
    op = word[0] if word is not None else ""
    args = body[len(op) :].lstrip(" \t")
    if not op or body[len(op) : len(op) + 1] == "\\":
        # No statement; or text of a macro whose first word is still to be put together, such as ``.Lname_\\@:``.
        found.append(Statement(BROKEN, body, number, column, source, trail))
        return
    if "'" in args or ('"' in args and (args.count('"') != 2 or "\\" in args)):
        if has_open_quote(args):
            found.append(Statement(BROKEN, body, number, column, source, trail))
            return
        if "'" in args:
            args = re.sub(_CHARACTER, _character, args)
    if args[:1] == "=":
        found.append(Statement(ASSIGN, f"{op},{args[1:].lstrip()}", number, column, source, trail))
    else:
        found.append(Statement(op.lower(), args, number, column, source, trail))


def has_open_quote(text: str) -> bool:
    """Whether a string or a character constant in ``text`` has no end."""
    rest = re.sub(_CHARACTER, "", text)
    return "'" in rest or '"' in rest


def _character(match: re.Match[str]) -> str:
    """A character constant as its number (what gas's scrubber does before it looks at macros); strings stay."""
    char = match[1]
    if char is None:
        return match[0]
    code = _ESCAPES.get(char[1], ord(char[1])) if len(char) == 2 else ord(char)
    return str(code) if code < 128 else match[0]


def decode(name: str, data: bytes) -> str:
    """The text of a source file.

    Raises:
        InputError: it holds NUL bytes (a binary file), or is not UTF-8.
    """
    if b"\0" in data:
        raise refuse(name, 1, "this is a binary file", "assembly source as UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {data[error.start]:#04x} is not UTF-8"
        raise refuse(name, line, message, "source as UTF-8 text (iconv -t utf-8 converts it)") from error
    return text


def refuse(name: str, line: int, message: str, expected: str = "") -> InputError:
    """The error for a file as a whole."""
    diagnostic = Diagnostic(Place(name, line), message, expected)
    return InputError(f"{name}:{line}: error: {message}", stage=STAGE, diagnostics=(diagnostic,))


def sort_diagnostics(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Each error once, by file and line."""
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (_outer(d.place), d.place.file, d.place.line, d.place.column))


def _outer(place: Place) -> tuple[str, int]:
    """The line a person sees first: the outermost expansion, or the place itself."""
    return (place.trail[-1].file, place.trail[-1].line) if place.trail else (place.file, place.line)


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to expect in place of ``name``: the known name that looks most like it, or ``otherwise``."""
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"`{near[0]}'?" if near else otherwise
