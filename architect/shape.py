"""Shapes of assembly statements: registers, constants, symbols and local labels as holes.

Owns turning statements into shapes, matching shapes against other statements, and filling them in again. A shape is
readable text, e.g. ``mov qword ptr [{r1:64=rdx} + {r2:64=rax}*8], {r3:64=rsi}``. Never knows of lessons or faults.

Holes: ``{rN:bits=seen}`` a general register of that width (one hole is one register, in whatever width);
``{cN=seen}`` a constant, number or upper-case name; ``{sN=seen}`` a symbol; ``{lN}`` a local label. rsp and rbp
stay as they are: they are structure, not data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from toolchain.headers import full_register, register_bits

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'?|\{[^}]*\}|\\?[\w.$@]+|<<|>>|\S')
_LABEL = re.compile(r"^\s*([A-Za-z_.$][\w.$]*|\d+):")
_HOLE = re.compile(r"\{([rcsl])(\d+)(?::(\d+))?(?:=(.*))?\}")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)$")
_LOCAL = re.compile(r"(?:\.L[\w.$]+|\d+[bf])$")
_SIZES = ("ptr", "byte", "word", "dword", "qword", "fword", "tbyte", "xmmword")
_WORDS = frozenset((*_SIZES, "offset", "short", "near", "far", "rel", "rep", "repe", "repne", "lock"))
_STRUCTURE = ("rsp", "rbp")
_HIGH_BYTES = ("ah", "bh", "ch", "dh")
_SMALL = ("0", "1", "2", "4", "8")
_PREFIXES = ("lock", "rep", "repe", "repz", "repne", "repnz")


def strip_comment(line: str) -> str:
    """``line`` without its ``#`` comment and surrounding blanks."""
    quoted = False
    for n, char in enumerate(line):
        if char == '"' and (n == 0 or line[n - 1] != "\\"):
            quoted = not quoted
        elif char == "#" and not quoted:
            return line[:n].strip()
    return line.strip()


def split_labels(line: str) -> tuple[tuple[str, ...], str]:
    """The labels that a line defines, and the statement after them (empty when there is none)."""
    text, labels = strip_comment(line), []
    while found := _LABEL.match(text):
        labels.append(found[1])
        text = text[found.end() :].strip()
    return tuple(labels), text


def statement(line: str) -> str:
    """The statement of a line, without labels and comment."""
    return split_labels(line)[1]


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The tokens of a statement or of a shape; a hole is one token."""
    return tuple(_TOKEN.findall(text))


def mnemonic(text: str) -> str:
    """The first word of a statement that is not a prefix, in lower case."""
    words = [t.lower() for t in tokens(text)]
    return next((w for w in words if w not in _PREFIXES), "")


def registers(text: str) -> tuple[str, ...]:
    """The general registers (64-bit names) that a statement names, in order, without rsp and rbp."""
    found = (full_register(t) for t in tokens(text)[1:])
    return tuple(dict.fromkeys(r for r in found if r and r not in _STRUCTURE))


def constants(text: str) -> tuple[str, ...]:
    """The constants (numbers and upper-case names) of a statement, in order."""
    return tuple(t for n, t in enumerate(tokens(text)) if n and _kind(t) == "c")


def _kind(token: str) -> str | None:
    """Which hole a token is, or None for a token that stays."""
    full = full_register(token)
    if full:
        return None if full in _STRUCTURE or token.lower() in _HIGH_BYTES else "r"
    if _NUMBER.match(token):
        return None if token in _SMALL else "c"
    if _LOCAL.match(token):
        return "l"
    if not re.match(r"[A-Za-z_]", token) or token.lower() in _WORDS or _is_special(token):
        return None
    return "c" if token.upper() == token else "s"


def _is_special(token: str) -> bool:
    return re.fullmatch(r"(?:[cdefgs]s|[cd]r\d+|xmm\d+|ymm\d+|st|riz|rip)", token.lower()) is not None


@dataclass
class Namer:
    """Gives the same hole to the same thing over all statements of one lesson."""

    holes: dict[tuple[str, str], int] = field(default_factory=dict)

    def shape(self, text: str) -> str:
        """The shape of a statement; its mnemonic stays."""
        parts = tokens(text)
        first = next((n for n, t in enumerate(parts) if t.lower() not in _PREFIXES), 0)
        return join([self._hole(token) if n > first else token for n, token in enumerate(parts)])

    def _hole(self, token: str) -> str:
        kind = _kind(token)
        if kind is None:
            return token
        key = (kind, full_register(token) or token)
        number = self.holes.setdefault(key, 1 + sum(1 for k, _ in self.holes if k == kind))
        if kind == "r":
            return f"{{r{number}:{register_bits(token)}={key[1]}}}"
        return f"{{l{number}}}" if kind == "l" else f"{{{kind}{number}={token}}}"


def join(parts: list[str]) -> str:
    """Tokens as a person writes them: ``mov qword ptr [rax + rcx*8 - 8], -1``."""
    out, tight = "", True
    for n, part in enumerate(parts):
        unary = part in ("-", "~", "+") and (n < 2 or parts[n - 1] in "[(,+-*/|&^<>=")
        if not (tight or part in "],):*" or (part in "[(" and parts[n - 1].endswith(":"))):
            out += " "
        out += part
        tight = unary or part in ("[", "(", ":", "*")
    return out


Binding = dict[str, str]


def match(shape: str, text: str, bound: Mapping[str, str]) -> Binding | None:
    """``bound`` extended so that ``shape`` reads as the statement ``text``, or None."""
    wanted, given = tokens(shape), tokens(text)
    if len(wanted) != len(given):
        return None
    result = dict(bound)
    for want, got in zip(wanted, given, strict=True):
        hole = _HOLE.fullmatch(want)
        if hole is None:
            if want.lower() != got.lower():
                return None
            continue
        kind, bits = hole[1], hole[3]
        if _kind(got) != kind and not (kind == "c" and _NUMBER.match(got)):
            return None
        if kind == "r" and str(register_bits(got)) != bits:
            return None
        name = kind + hole[2]
        value = full_register(got) or got
        if result.setdefault(name, value) != value:
            return None
    return result


def holes(shape: str) -> dict[str, str]:
    """The holes of a shape: name -> what was seen there (empty for labels)."""
    found = (_HOLE.fullmatch(t) for t in tokens(shape))
    return {h[1] + h[2]: h[4] or "" for h in found if h}


def fill(shape: str, bound: Mapping[str, str]) -> str | None:
    """The statement that a shape means under a binding; None when a hole has no value."""
    out: list[str] = []
    for token in tokens(shape):
        hole = _HOLE.fullmatch(token)
        if hole is None:
            out.append(token)
            continue
        value = bound.get(hole[1] + hole[2], hole[4] if hole[1] in "cs" else None)
        if not value:
            return None
        out.append(_part(value, int(hole[3])) if hole[1] == "r" else value)
    return join(out)


@lru_cache(maxsize=256)
def _part(register: str, bits: int) -> str:
    """The name of the low ``bits`` of a 64-bit register: ``_part("rax", 32) == "eax"``."""
    if register[1].isdigit():
        return register + {64: "", 32: "d", 16: "w", 8: "b"}[bits]
    stem = register[1:]
    low = stem[0] + "l" if stem.endswith("x") else stem + "l"
    return {64: register, 32: "e" + stem, 16: stem, 8: low}[bits]
