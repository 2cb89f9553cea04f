"""What the dialects of x86 assembly share, and cutting a line of source into its parts.

Owns registers, sizes, the split of a line into label, code and comment with their columns, and the tokens of an
expression. Never knows which dialect it reads but by the comment characters that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_EIGHT = (
    [f"{a}{b}" for a in "abcd" for b in "lh"]
    + ["sil", "dil", "bpl", "spl"]
    + [f"r{n}b" for n in range(8, 16)]
)
_SIXTEEN = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp"]
SIZES: dict[str, int] = {
    **dict.fromkeys(_EIGHT, 1),
    **dict.fromkeys([*_SIXTEEN, *(f"r{n}w" for n in range(8, 16))], 2),
    **dict.fromkeys([*(f"e{r}" for r in _SIXTEEN), *(f"r{n}d" for n in range(8, 16))], 4),
    **dict.fromkeys([*(f"r{r}" for r in _SIXTEEN), *(f"r{n}" for n in range(8, 16))], 8),
}
SEGMENTS = frozenset({"cs", "ds", "es", "fs", "gs", "ss"})
REGISTERS = frozenset(
    {*SIZES, *SEGMENTS, "rip", "eip"}
    | {f"{kind}{n}" for kind in ("cr", "dr", "xmm", "ymm", "zmm", "mm") for n in range(32)}
    | {"st", *(f"st{n}" for n in range(8))}
)
SIZE_WORDS = {1: "byte", 2: "word", 4: "dword", 8: "qword"}
SIZE_BYTES = {word: size for size, word in SIZE_WORDS.items()}
LETTERS = {"b": 1, "w": 2, "l": 4, "q": 8}
SUFFIXES = {size: letter for letter, size in LETTERS.items()}
PREFIXES = frozenset({"lock", "rep", "repe", "repz", "repne", "repnz"})
TOKEN = re.compile(
    r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'?|[A-Za-z_.$?@][\w.$?@#~]*|\d\w*|<<|>>|==|!=|&&|\|\||\s+|[^\s\w]"
)
_NAME = re.compile(r"[A-Za-z_.?@$][\w.$?@#~]*")


class Untold(Exception):
    """A statement that has no counterpart in the other dialect: it stays as it is, and no operator touches it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A line in parts that joined give the line: labels (blanks included), code, and what follows it."""

    lead: str
    code: str
    tail: str

    @property
    def line(self) -> str:
        """The whole."""
        return self.lead + self.code + self.tail

    @property
    def comment(self) -> str:
        """The words of the comment, without its mark."""
        return self.tail.strip().lstrip("#;/*").strip()


def cut(line: str, marks: Sequence[str], label: re.Pattern[str]) -> Cut:
    """Cut a line at its comment and behind its labels.

    Args:
        line: one line of source.
        marks: what begins a comment.
        label: matches one label with the blanks before it.
    """
    end = len(line)
    quote, position = "", 0
    while position < len(line):
        char = line[position]
        if quote:
            if char == "\\" and quote == '"':
                position += 1
            elif char == quote:
                quote = ""
        elif char == '"':
            quote = char
        elif char == "'" and line.find("'", position + 1) in (position + 2, position + 3):
            position = line.find("'", position + 1)
        elif line.startswith(tuple(marks), position):
            end = position
            break
        position += 1
    body = line[:end]
    start = 0
    while (found := label.match(body, start)) is not None and found.end() > start:
        start = found.end()
    while start < len(body) and body[start].isspace():
        start += 1
    code = body[start:].rstrip()
    return Cut(line[:start], code, line[start + len(code) :])


def split(text: str, separator: str = ",") -> list[str]:
    """The parts of an operand list, split outside brackets and quotes, blanks trimmed; none for an empty text."""
    parts, depth, start, quote = [], 0, 0, ""
    position = 0
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\" and quote == '"':
                position += 1
            elif char == quote:
                quote = ""
        elif char == '"' or (char == "'" and "'" in text[position + 1 : position + 4]):
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
        position += 1
    parts.append(text[start:].strip())
    return parts if text.strip() else []


def head(code: str) -> tuple[str, str, str]:
    """(prefix, mnemonic, the rest) of a statement."""
    words = code.split(None, 1)
    if len(words) > 1 and words[0].lower() in PREFIXES:
        prefix = words[0].lower()
        words = words[1].split(None, 1)
        return prefix, words[0], words[1].strip() if len(words) > 1 else ""
    return "", words[0] if words else "", words[1].strip() if len(words) > 1 else ""


def is_name(word: str) -> bool:
    """Whether a word of an expression names a symbol."""
    return bool(_NAME.fullmatch(word)) and word.lower() not in REGISTERS and word != "."


def names(text: str) -> list[str]:
    """The symbols that an expression names."""
    return [word for word in TOKEN.findall(text) if is_name(word) and word.lower() not in _NOT_NAMES]


_NOT_NAMES = frozenset(
    (*SIZE_BYTES, "ptr", "offset", "short", "near", "far", "rel", "abs", "tword", "oword", "fword")
)
