"""Source lines as statements with columns: labels, prefix, name, operands, and where they stand.

Owns the line-level reading of GNU as Intel-syntax sources. It works on text that does not assemble, keeps every
column so that an edit changes one token and nothing else, and never looks across files: ``source`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from toolchain import headers

Kind = Literal["instruction", "directive", "macro", "label", "blank"]

PREFIXES = frozenset({"lock", "rep", "repe", "repz", "repne", "repnz"})
# What is neither word nor blank; or a string, which may lack its end, and a character in quotes.
_MARK = re.compile(r"""\"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'.'|[^\w\s]""", re.DOTALL)
_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*|\d+):(?!:)")
_WORD = re.compile(r"[A-Za-z_.$\\][\w.$\\@]*")
_ASSIGN = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*=\s*(?!=)")
ASSIGNMENTS = frozenset({".set", ".equ", ".equiv", "="})
_BODY_END = {".macro": ".endm", ".rept": ".endr", ".irp": ".endr", ".irpc": ".endr"}
TOKEN = re.compile(
    r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'?|\\?[A-Za-z_.$][\w.$]*|\\@|\d\w*|<<|>>|==|!=|&&|\|\||[^\s\w]"
)
_SIZE_WORDS = ("byte", "word", "dword", "qword", "tbyte", "fword", "xmmword", "ymmword")
_OPERAND_WORDS = frozenset(
    (*_SIZE_WORDS, "ptr", "offset", "short", "near", "far", "rip", "riz", "eiz", "flat")
)
_SEGMENTS = frozenset(("cs", "ds", "es", "fs", "gs", "ss"))


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a source line: its text and its columns ``[start, end)``."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a source line.

    Attributes:
        file: relative to the kernel tree.
        line: 1-based.
        text: the whole source line, comment included.
        labels: labels that stand before it on the line.
        prefix: ``lock``, ``rep`` ... or empty.
        name: mnemonic, directive or macro in lower case; the constant's name for ``NAME = value``.
        operands: in written order, each with its columns.
        code: the columns of prefix, name and operands.
        kind: what the name is. A name that is no macro of the tree and no directive is an instruction.
        routine: the routine that it stands in, or None.
        macro: the macro whose body it stands in, or None.
        section: the section it goes to.
        mode: 16, 32 or 64.
        shape: kept by ``shapes.shape``.
        sort: kept by ``shapes.sort_of``.
        names: kept by ``names``.
    """

    file: str
    line: int
    text: str
    labels: tuple[str, ...]
    prefix: str
    name: str
    operands: tuple[Span, ...]
    code: Span
    kind: Kind
    routine: str | None
    macro: str | None
    section: str
    mode: int
    shape: str | None = field(default=None, init=False, repr=False, compare=False)
    sort: str | None = field(default=None, init=False, repr=False, compare=False)
    names: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, int]:
        """Where it stands: file and line."""
        return self.file, self.line

    def operand(self, index: int) -> str:
        """The text of one operand, or an empty string."""
        return self.operands[index].text if index < len(self.operands) else ""


def strip_comment(line: str) -> str:
    """The line up to its ``#`` comment (quotes respected), without trailing blanks."""
    if '"' not in line and "'" not in line:
        line = line.partition("#")[0]
        return (line.partition("//")[0] if "//" in line else line).rstrip()
    for position, char in _unquoted(line):
        if char == "#" or line.startswith("//", position):
            return line[:position].rstrip()
    return line.rstrip()


def _unquoted(text: str) -> Iterator[tuple[int, str]]:
    """The marks outside quotes and their places; a single quote that no other closes is one of them."""
    return ((found.start(), found[0]) for found in _MARK.finditer(text) if len(found[0]) == 1)


def split_top(text: str, separator: str, base: int = 0) -> list[Span]:
    """Split at ``separator`` outside brackets and quotes; each part with its columns, blanks trimmed."""
    if separator not in text:
        bare = text.strip()
        lead = base + len(text) - len(text.lstrip())
        return [Span(bare, lead, lead + len(bare))]
    parts: list[Span] = []
    depth = start = 0

    def add(end: int) -> None:
        raw = text[start:end]
        lead = len(raw) - len(raw.lstrip())
        parts.append(Span(raw.strip(), base + start + lead, base + start + lead + len(raw.strip())))

    for position, char in _unquoted(text):
        if char in "[(":
            depth += 1
        elif char in "])":
            depth = max(0, depth - 1)
        elif char == separator and depth == 0:
            add(position)
            start = position + 1
    add(len(text))
    return parts


def tokens(text: str, base: int = 0) -> Sequence[Span]:
    """The tokens of an operand or expression, each with its columns; a quoted string is one token."""
    found = _tokens(text)
    return [Span(t.text, base + t.start, base + t.end) for t in found] if base else found


@lru_cache(maxsize=1 << 15)
def _tokens(text: str) -> tuple[Span, ...]:
    return tuple(Span(m[0], m.start(), m.end()) for m in TOKEN.finditer(text))


def is_register(word: str) -> bool:
    """True for a general, segment, control, debug or vector register's name."""
    low = word.lower()
    return (
        headers.full_register(low) is not None
        or low in _SEGMENTS
        or bool(re.fullmatch(r"cr\d+|dr\d|[xyz]mm\d+|st\d?|rip", low))
    )


@lru_cache(maxsize=1 << 14)
def is_symbol(word: str) -> bool:
    """True for a word of an operand that names something of the source (no register, keyword, number)."""
    return (
        bool(_WORD.fullmatch(word))
        and not is_register(word)
        and word.lower() not in _OPERAND_WORDS
        and not word.startswith("\\")
        and word != "."
    )


def symbols(statement: Statement) -> Iterator[Span]:
    """The symbols that a statement's operands name, with their columns."""
    for operand in statement.operands:
        for token in tokens(operand.text, operand.start):
            if is_symbol(token.text):
                yield token


def names(statement: Statement) -> tuple[str, ...]:
    """The symbols that a statement's operands name, each once, in the order of their first naming."""
    known = statement.names
    if known is None:
        known = tuple(dict.fromkeys([token.text for token in symbols(statement)]))
        object.__setattr__(statement, "names", known)
    return known


@dataclass
class Reader:
    """State of the walk over one file.

    ``macros`` names the tree's macros and, for each, the arguments that become labels (``function NAME``).
    """

    file: str
    macros: Mapping[str, tuple[int, ...]]
    routine: str | None = None
    section: str = ".text"
    mode: int = 64
    bodies: list[tuple[str, str | None]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def line(self, number: int, text: str) -> Iterator[Statement]:
        """The statements of one source line; a blank line is one blank statement."""
        code = strip_comment(text)
        for part in split_top(code, ";"):
            yield self._statement(number, text, code, part)

    def _statement(self, number: int, text: str, code: str, part: Span) -> Statement:
        position, labels = part.start, []
        while match := _LABEL.match(code, position):
            labels.append(match[1])
            position = match.end()
        while position < part.end and code[position].isspace():
            position += 1
        assign = _ASSIGN.match(code, position) if position < part.end else None
        if assign and not assign[1].startswith(".L"):
            value = Span(code[assign.end() : part.end], assign.end(), part.end)
            pair = (Span(assign[1], assign.start(1), assign.end(1)), value)
            whole = Span(code[position : part.end], position, part.end)
            return self._make(number, text, labels, "", "=", pair, whole, "directive")
        words = code[position : part.end]
        prefix, start = "", position
        match = re.match(r"(\S+)\s+(?=\S)", words)
        if match and match[1].lower() in PREFIXES:
            prefix, position = match[1].lower(), position + match.end()
            words = code[position : part.end]
        name = words.split(None, 1)[0] if words.strip() else ""
        rest = position + len(name)
        operands = tuple(o for o in split_top(code[rest : part.end], ",", rest) if o.text) if name else ()
        labels += [_bare(operands[i].text) for i in self.macros.get(name, ()) if i < len(operands)]
        kind: Kind = "blank"
        if name.startswith("."):
            kind = "directive"
        elif name:
            kind = "macro" if name in self.macros else "instruction"
        elif labels:
            kind = "label"
        if name in _BODY_END:
            first = operands[0].text.split()[0] if operands else ""
            self.bodies.append((_BODY_END[name], first if name == ".macro" else None))
        whole = Span(code[start : part.end], start, part.end)
        statement = self._make(number, text, labels, prefix, name, operands, whole, kind)
        if self.bodies and name == self.bodies[-1][0]:
            self.bodies.pop()
        return statement

    def _make(
        self, number: int, text: str, labels: list[str], prefix: str, name: str,
        operands: tuple[Span, ...], code: Span, kind: Kind,
    ) -> Statement:  # fmt: skip
        low = name if kind == "macro" else name.lower()
        self._directive(low, operands)
        macro = next((m for _, m in reversed(self.bodies) if m), None)
        for label in labels:
            if not label.startswith(".L") and not label.isdigit() and macro is None:
                self.routine = label
        return Statement(
            self.file, number, text, tuple(labels), prefix, low, operands, code, kind,
            self.routine if macro is None else None, macro, self.section, self.mode,
        )  # fmt: skip

    def _directive(self, name: str, operands: tuple[Span, ...]) -> None:
        if name in (".section", ".pushsection"):
            self.stack.append(self.section)
            self.section = operands[0].text if operands else ""
        elif name in (".text", ".data", ".bss"):
            self.section = name
        elif name == ".popsection" and self.stack:
            self.section = self.stack.pop()
        elif name in (".code16", ".code32", ".code64"):
            self.mode = int(name[5:])


def _bare(argument: str) -> str:
    return argument.split()[0]


def label_arguments(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Every macro of some sources -> the positions of those arguments that its body uses as labels."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        for match in re.finditer(r"(?ms)^[ \t]*\.macro[ \t]+([\w.$]+)([^\n]*)\n(.*?)^[ \t]*\.endm", text):
            names = [re.split(r"[:=]", w)[0] for w in strip_comment(match[2]).replace(",", " ").split()]
            labels = re.findall(r"(?m)^[ \t]*\\(\w+)(?:\\\(\))?:", match[3])
            found[match[1]] = tuple(names.index(n) for n in labels if n in names)
    return found
