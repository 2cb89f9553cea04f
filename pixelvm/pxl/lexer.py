"""From text to tokens with their places.

Owns what a word, a number, a string and an operator look like. Never looks at how they stand together.

An operator whose meaning depends on the sign carries a letter: ``<s`` is signed, ``<u`` unsigned; no letter or digit
may follow it. ``//`` begins a comment.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pixelvm.pxl.faults import Errors
from toolchain.types import Place

KEYWORDS = frozenset(
    [
        "fn",
        "var",
        "const",
        "use",
        "include",
        "if",
        "else",
        "while",
        "for",
        "break",
        "continue",
        "return",
        "halt",
        "word",
        "byte",
    ]
)
WORD_MAX = 0xFFFFFFFF
TOKENS_MAX = 400_000  # of one source

Kind = Literal["name", "keyword", "number", "text", "operator", "end"]


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: what it is.
        text: as written; of a keyword or operator what it is told by.
        place: where its first character stands.
        value: of a number (a character is one).
        data: of a text, its bytes.
    """

    kind: Kind
    text: str
    place: Place
    value: int = 0
    data: bytes = b""


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//.*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][A-Za-z0-9_]*)
  | (?P<text>"[^"\\]*(?:\\.[^"\\]*)*"?)
  | (?P<char>'(?:[^'\\]|\\x[0-9a-fA-F]{2}|\\.)?'?)
  | (?P<operator>
        (?:>>|/|%)[su](?![A-Za-z0-9_])=?
      | (?:<=|>=|<|>)[su](?![A-Za-z0-9_])
      | <<=?|>>=?|==|!=|<=|>=|&&|\|\||->|[-+*/%&|^]=|[-+*/%&|^~!<>=(){}\[\],;:?])
  | (?P<other>.)""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]*[0-9a-fA-F]|0[bB][01_]*[01]|0|[1-9][0-9_]*")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.)|$)")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "e": "\x1b", '"': '"', "'": "'", "\\": "\\"}


def tokens(text: str, name: str, errors: Errors) -> list[Token]:
    """The tokens of a source, the last of them ``end``; what is none is reported and left out."""
    found: list[Token] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if len(found) > TOKENS_MAX:
            errors.add(Place(name, number, line), "the source is too long", f"at most {TOKENS_MAX} tokens")
            break
        for match in _TOKEN.finditer(line):
            group = match.lastgroup
            if group != "space":
                place = Place(name, number, line, match.start())
                token = _token(str(group), match[0], place, errors)
                if token is not None:
                    found.append(token)
    last = lines[-1].rstrip("\r")
    found.append(Token("end", "the end of the file", Place(name, len(lines), last, len(last))))
    return found


def _token(group: str, text: str, place: Place, errors: Errors) -> Token | None:
    if group == "name":
        return Token("keyword" if text in KEYWORDS else "name", text, place)
    if group == "operator":
        return Token("operator", text, place)
    if group == "number":
        return _number(text, place, errors)
    if group == "text":
        if len(text) < 2 or not text.endswith('"') or not _closes(text):
            errors.add(place, "the text has no closing quote on its line", '"')
        return Token(
            "text",
            text,
            place,
            data=_bytes(text.strip('"') if "\\" not in text else text[1:-1], place, errors),
        )
    if group == "char":
        data = _bytes(text[1:-1], place, errors) if len(text) > 2 and text.endswith("'") else b""
        if len(data) != 1:
            errors.add(place, f"{text} is no character", "one ASCII character between two '")
        return Token("number", text, place, data[0] if data else 0)
    errors.add(place, f"no token begins with `{text}'", "a name, a number or an operator")
    return None


def _closes(text: str) -> bool:
    """Whether the last quote of a text is no escaped one."""
    body = text[:-1]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _number(text: str, place: Place, errors: Errors) -> Token:
    if not _NUMBER.fullmatch(text):
        errors.add(place, f"`{text}' is no number", "decimal digits, or 0x or 0b and digits; _ may part them")
        return Token("number", text, place)
    value = int(text.replace("_", ""), 0)
    if value > WORD_MAX:
        errors.add(place, f"{text} has more than 32 bits", f"0 to {WORD_MAX}")
    return Token("number", text, place, value & WORD_MAX)


def _bytes(body: str, place: Place, errors: Errors) -> bytes:
    """The bytes of what stands between quotes; text is UTF-8."""
    out, at = b"", 0
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode(errors="replace")
        at = match.end()
        if match[1]:
            out += bytes((int(match[1], 16),))
        elif match[2] in _LETTERS:
            out += _LETTERS[match[2]].encode()
        else:
            column = place.column + 1 + match.start()
            errors.add(
                place._replace(column=column),
                f"unknown escape `{match[0]}'",
                r"\n \r \t \0 \e \" \' \\ or \x41",
            )
    return out + body[at:].encode(errors="replace")
