"""String operands: what stands between quotes, as bytes.

Owns the escapes of GNU as (as manual, 3.6.1.1 Strings). A line end inside a string, an unknown escape or a missing
quote is an error here, where gas only warns.
"""

from __future__ import annotations

import re

_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]+)|(.))", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class StringFault(ValueError):
    """What is wrong with a string."""


def parse(text: str) -> bytes:
    """The bytes of one operand: a string, or several side by side.

    Raises:
        StringFault: it is not a string, or has an unknown escape.
    """
    out = b""
    at = 0
    while at < len(text):
        match = _STRING.match(text, at)
        if match is None:
            if text[at : at + 1] == '"':
                raise StringFault(f"string without closing quote: {text[at:]}")
            raise StringFault(f"`{text[at:]}' is not a string")
        out += _unescape(match[1])
        at = match.end()
        while text[at : at + 1] in (" ", "\t"):
            at += 1
    if not text:
        raise StringFault("a string is missing")
    return out


def _unescape(body: str) -> bytes:
    if "\\" not in body:
        return body.encode()
    out = b""
    at = 0
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode()
        octal, hexadecimal, letter = match.groups()
        if octal is not None:
            out += bytes([int(octal, 8) & 0xFF])
        elif hexadecimal is not None:
            out += bytes([int(hexadecimal, 16) & 0xFF])
        elif letter in _LETTERS:
            out += _LETTERS[letter].encode()
        else:
            raise StringFault(f"unknown escape `\\{letter}'")
        at = match.end()
    return out + body[at:].encode()
