"""A WGSL file as the repair sees it: code without comments, functions, who calls whom, loops.

Owns the lexical view; it is no parser of WGSL: what does not compile is read as well. Never judges but for loops that
cannot end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Identifiers, numbers, operators of up to three characters, attributes (WGSL, section 3).
TOKEN = re.compile(
    r"@?[A-Za-z_]\w*|0[xX][0-9a-fA-F]+[iu]?|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?[fhiu]?"
    r"|>>=|<<=|->|\+\+|--|&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%&|^]=|[^\s]"
)
NUMBER = re.compile(r"^(?:\d|\.\d)")
WORD = re.compile(r"^[A-Za-z_]\w*$")
_FUNCTION = re.compile(r"\bfn\s+(\w+)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a line; ``start`` and ``end`` are columns."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Function:
    """``fn name`` from line ``first`` (its attributes included) to ``last``, both 1-based."""

    name: str
    first: int
    last: int
    calls: frozenset[str]


def blanked(text: str) -> str:
    """The code with comments made of spaces: lines and columns stay."""
    return _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def tokens(line: str) -> list[Token]:
    """The tokens of a line of blanked code."""
    return [Token(m[0], m.start(), m.end()) for m in TOKEN.finditer(line)]


def functions(text: str) -> list[Function]:
    """The functions of a file, in order."""
    code = blanked(text)
    found = []
    for match in _FUNCTION.finditer(code):
        start = code.find("{", match.end())
        end = _closing(code, start) if start >= 0 else len(code) - 1
        head = max(code.rfind(";", 0, match.start()), code.rfind("}", 0, match.start())) + 1
        head += len(code[head:]) - len(code[head:].lstrip())
        calls = frozenset(re.findall(r"\b(\w+)\s*\(", code[match.end() : end]))
        lines = (code.count("\n", 0, min(head, match.start())) + 1, code.count("\n", 0, end) + 1)
        found.append(Function(match[1], *lines, calls))
    return found


def _closing(code: str, start: int) -> int:
    """Where the brace at ``start`` closes; the end of the text when it does not."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] == "{") - (code[at] == "}")
        if depth == 0:
            return at
    return len(code) - 1


def reached(entry: str, known: Mapping[str, Function]) -> frozenset[str]:
    """The functions that an entry point can run, itself among them."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting += known[name].calls
    return frozenset(found)


def parts(text: str) -> Iterator[str]:
    """The files that a file's head puts behind it."""
    for line in text.splitlines():
        if not line.startswith("//"):
            return
        if line.startswith("// Parts: "):
            yield from line.removeprefix("// Parts: ").split()


# --- loops ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endless:
    """A loop that nothing ends: its line (1-based) and why."""

    line: int
    why: str


def endless(text: str) -> Iterator[Endless]:
    """The loops of a file whose end nothing brings about.

    A ``for`` or ``while`` must change in its update or body something that its condition names, or leave by break or
    return; a ``loop`` must leave. That is necessary and not sufficient: the probes run under the driver's bound.
    """
    code = blanked(text)
    for match in re.finditer(r"\b(for|while|loop)\b\s*", code):
        line = code.count("\n", 0, match.start()) + 1
        head, body_at = "", match.end()
        if match[1] != "loop" and code[match.end() : match.end() + 1] == "(":
            close = _bracket(code, match.end())
            head, body_at = code[match.end() + 1 : close], close + 1
        elif match[1] == "while":
            body_at = code.find("{", match.end())
            head = code[match.end() : body_at]
        start = code.find("{", body_at)
        if start < 0:
            continue  # the compiler says it better
        body = code[start : _closing(code, start)]
        if re.search(r"\b(?:break|return)\b", body):
            continue
        parts = head.split(";")
        condition = head if match[1] == "while" else parts[1] if len(parts) == 3 else ""
        named = set(re.findall(r"[A-Za-z_]\w*", condition))
        changed = set(_assigned(body)) | (set(_assigned(parts[2])) if len(parts) == 3 else set())
        if match[1] == "loop" or not named:
            yield Endless(line, "the loop has no end")
        elif not named & changed:
            yield Endless(line, f"the loop changes nothing that its condition '{condition.strip()}' names")


def _bracket(code: str, start: int) -> int:
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] == "(") - (code[at] == ")")
        if depth == 0:
            return at
    return len(code) - 1


def _assigned(code: str) -> Iterator[str]:
    """The variables that code assigns to, calls that get a pointer included."""
    for match in re.finditer(
        r"([A-Za-z_]\w*)(?:\[[^\]]*\]|\.\w+)*\s*(?:\+\+|--|(?:[-+*/%&|^]|<<|>>)?=(?!=))", code
    ):
        yield match[1]
    for match in re.finditer(r"&\s*([A-Za-z_]\w*)", code):
        yield match[1]
