"""The conditions of ``.if`` and its relatives, and where their branches end.

Owns: one function per family of conditions (as manual, 7.46 .if) and the search for the matching ``.else``,
``.elseif``, ``.endif``. Keeps no state; ``expand`` holds the stack of open conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolchain.macro import squeeze
from toolchain.source import Statement

_COMPARISONS: dict[str, Callable[[int], bool]] = {
    ".if": lambda value: value != 0,
    ".ifne": lambda value: value != 0,
    ".ifeq": lambda value: value == 0,
    ".ifge": lambda value: value >= 0,
    ".ifgt": lambda value: value > 0,
    ".ifle": lambda value: value <= 0,
    ".iflt": lambda value: value < 0,
}
_DEFINED = {".ifdef": True, ".ifndef": False, ".ifnotdef": False}
_BLANK = {".ifb": True, ".ifnb": False}
_SAME = {".ifc": True, ".ifnc": False}
_SAME_STRINGS = {".ifeqs": True, ".ifnes": False}

OPENERS = frozenset([*_COMPARISONS, *_DEFINED, *_BLANK, *_SAME, *_SAME_STRINGS])


def holds(op: str, args: str, value: Callable[[str], int], defined: Callable[[str], bool]) -> bool:
    """Whether a condition is met.

    Args:
        op: the directive, one of ``OPENERS``, or ``.elseif`` (which reads as ``.if``).
        args: its operands.
        value: evaluates an expression to a known number; raises when it cannot.
        defined: tells whether a symbol is defined so far.

    Raises:
        ValueError: the operands do not fit the directive; the text says what is expected.
    """
    compare = _COMPARISONS.get(".if" if op == ".elseif" else op)
    if compare is not None:
        return compare(value(args))
    if op in _DEFINED:
        name = args.strip()
        if not name or any(c in name for c in " \t,"):
            raise ValueError("one symbol name")
        return defined(name) is _DEFINED[op]
    if op in _BLANK:
        return (not args.strip()) is _BLANK[op]
    if op in _SAME:
        left, comma, right = _halves(squeeze(args))
        if not comma:
            raise ValueError("two strings with a comma between them")
        return (left == right) is _SAME[op]
    left, comma, right = _halves(squeeze(args))
    if not (comma and _is_string(left) and _is_string(right)):
        raise ValueError("two quoted strings with a comma between them")
    return (left == right) is _SAME_STRINGS[op]


def _halves(text: str) -> tuple[str, bool, str]:
    """The text before and after the first comma that stands outside quotes."""
    quote = ""
    for at, char in enumerate(text):
        if quote:
            if char == quote and text[at - 1] != "\\":
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == ",":
            return text[:at].strip(), True, text[at + 1 :].strip()
    return text.strip(), False, ""


def _is_string(text: str) -> bool:
    return len(text) >= 2 and text[0] == text[-1] == '"'


def next_branch(statements: Sequence[Statement], at: int) -> int:
    """Index of the ``.else``, ``.elseif`` or ``.endif`` that ends the branch open at ``at``; -1 when there is none."""
    depth = 0
    for index in range(at, len(statements)):
        op = statements[index][0]
        if op in OPENERS:
            depth += 1
        elif depth == 0 and op in (".else", ".elseif", ".endif"):
            return index
        elif op == ".endif":
            depth -= 1
    return -1
