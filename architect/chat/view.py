"""What the person sees: text, code, diffs, progress, on a terminal with colour or as plain lines.

Owns the form of output, and that nothing which a guest, a source or a model wrote can drive the terminal: what is not
printable is replaced before it is written. Never decides what to say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TextIO

from toolchain.command import Ui, paint
from toolchain.printable import printable

GAS, NASM, WGSL, DIFF, JSON, PYTHON = "gas", "nasm", "wgsl", "diff", "json", "python"
_LANGUAGES = {
    "asm": GAS, "s": GAS, "gas": GAS, "assembly": GAS, "x86asm": GAS, "nasm": NASM, "wgsl": WGSL, "diff": DIFF,
    "patch": DIFF, "json": JSON, "python": PYTHON, "py": PYTHON,
}  # fmt: skip
_SUFFIXES = {".s": GAS, ".inc": GAS, ".asm": NASM, ".nasm": NASM, ".wgsl": WGSL, ".py": PYTHON, ".json": JSON}
_NUMBER = re.compile(r"[> ] *\d+(?:  |$)|….*")  # as excerpts have them: ">   53      mov rax, rdi"
_FENCE = re.compile(r"^\s*(```+|~~~+)\s*([\w+-]*)")


def language_of(file: str) -> str:
    """The language of a source by its name; empty for prose."""
    return next((name for suffix, name in _SUFFIXES.items() if file.endswith(suffix)), "")


def clean(text: str) -> str:
    """``text`` with a replacement for what a terminal obeys: escape sequences, bells, carriage returns."""
    return printable(text.replace("\r\n", "\n"))


class View:
    """Plain text: one answer, line by line.

    Args:
        stream: where it goes; None for standard output.
        colour: whether styles may be used.
    """

    colour = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self._open = False

    def text(self, text: str) -> None:
        """Words of ours or of a tool, as they are."""
        self._line(clean(text))

    def heading(self, text: str) -> None:
        """A line that stands out."""
        self._line(paint(clean(text), "bold", self.colour))

    def note(self, text: str) -> None:
        """A remark in passing: progress, costs."""
        self._line(paint(clean(text), "dim", self.colour))

    def good(self, text: str) -> None:
        """The answer is yes."""
        self._line(paint(clean(text), "green", self.colour))

    def bad(self, text: str) -> None:
        """The answer is no, or it could not be done."""
        self._line(paint(clean(text), "red", self.colour))

    def code(self, text: str, language: str) -> None:
        """Source code."""
        self._line(self.coloured(clean(text), language))

    def diff(self, text: str) -> None:
        """A unified diff."""
        self.code(text.rstrip("\n"), DIFF)

    def coloured(self, text: str, language: str) -> str:
        """``text`` with its syntax in colour where colour is wanted and the language is known."""
        return highlight(text, language) if self.colour else text

    def prose(self, text: str) -> None:
        """Markdown: code between fences gets its colours."""
        stream = self.stream_prose()
        stream.feed(text)
        stream.close()

    def stream_prose(self) -> Prose:
        """For an answer that comes in pieces."""
        return Prose(self)

    def end(self) -> None:
        """The end of one answer."""
        self.stream.flush()

    def piece(self, text: str) -> None:
        """Part of a line, as it comes."""
        self._open = not text.endswith("\n") if text else self._open
        self.stream.write(text)
        self.stream.flush()

    def _line(self, text: str) -> None:
        if self._open:
            self.stream.write("\n")
            self._open = False
        self.stream.write(text + "\n")
        self.stream.flush()


class ColourView(View):
    """The same on a terminal that shows colours."""

    colour = True


class Prose:
    """Markdown that comes in pieces: lines of prose at once, code in colour line by line."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.language: str | None = None
        self._rest = ""
        self._shown = 0  # characters of the line in progress that were written already

    def feed(self, text: str) -> None:
        """The next piece."""
        self._rest += clean(text)
        while "\n" in self._rest:
            line, _, self._rest = self._rest.partition("\n")
            self._whole(line)
        if self.language is None and not self._rest.lstrip().startswith(("`", "~")):
            self.view.piece(self._rest[self._shown :])
            self._shown = len(self._rest)

    def close(self) -> None:
        """The end of the answer."""
        if self._rest:
            self._whole(self._rest)
        self._rest = ""

    def _whole(self, line: str) -> None:
        fence = _FENCE.match(line)
        if self._shown:
            self.view.piece(line[self._shown :] + "\n")
        elif fence and (self.language is None or not fence[2]):
            self.language = (
                _LANGUAGES.get(fence[2].lower(), fence[2].lower()) if self.language is None else None
            )
            self.view.piece(paint(line, "dim", self.view.colour) + "\n")
        elif self.language is not None:
            self.view.piece(self.view.coloured(line, self.language) + "\n")
        else:
            self.view.piece(line + "\n")
        self._shown = 0


def highlight(text: str, language: str) -> str:
    """Source code with ANSI colours; unchanged for a language that is not known."""
    if language == DIFF:
        from architect.report import coloured

        return coloured(text, True)
    if language not in (GAS, NASM, WGSL, JSON, PYTHON):
        return text
    from pygments import format as paint_tokens
    from pygments.formatters.terminal import TERMINAL_COLORS, TerminalFormatter
    from pygments.token import Comment, Text, Whitespace

    plain = ("", "")
    scheme = {**TERMINAL_COLORS, Whitespace: plain, Text: plain, Comment: ("brightblack", "brightblack")}
    rows = text.split("\n")
    numbers = _numbers(rows)
    code = "\n".join(row[len(number) :] for row, number in zip(rows, numbers, strict=True))
    shown = str(paint_tokens(_tokens(code, language), TerminalFormatter(colorscheme=scheme))).rstrip("\n")
    # Styles end at each line's end, so a line's number can stand before it.
    return "\n".join(
        (paint(number, "dim", True) if number else "") + row
        for number, row in zip_longest(numbers, shown.split("\n"), fillvalue="")
    )


def _numbers(rows: Sequence[str]) -> list[str]:
    """What stands before the code in each row of an excerpt: its line's number; empty where the text is no excerpt."""
    found = [_NUMBER.match(row) for row in rows]
    if not all(number or not row.strip() for number, row in zip(found, rows, strict=True)):
        return [""] * len(rows)
    return [number[0] if number else "" for number in found]


def _tokens(text: str, language: str) -> Iterator[tuple[object, str]]:
    from pygments.lexers import get_lexer_by_name

    # Our dialect of GNU as writes Intel syntax, whose registers bear no %: the lexer of NASM knows them.
    lexer = get_lexer_by_name(NASM if language == GAS else language, stripnl=False, ensurenl=False)
    if language != GAS:
        yield from lexer.get_tokens(text)
        return
    from pygments.token import Comment

    for number, line in enumerate(text.split("\n")):
        if number:
            yield Comment, "\n"
        code, mark, comment = _comment(line)
        yield from lexer.get_tokens(code)
        if mark:
            yield Comment, mark + comment


def _comment(line: str) -> tuple[str, str, str]:
    """A line of GNU as at its ``#``, quotes minded."""
    quoted = False
    for at, char in enumerate(line):
        if char == '"' and (at == 0 or line[at - 1] != "\\"):
            quoted = not quoted
        elif char == "#" and not quoted:
            return line[:at], "#", line[at + 1 :]
    return line, "", ""


class Progress(Ui):
    """Steps of long work, on standard error; on a terminal in grey above what follows."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)

    def _print(self, text: str) -> None:
        super()._print(paint(clean(text), "dim", self.colour))
