"""What the names of a source stand for, while it is read: labels, constants, and the numbers made of them.

Owns which names are given and the scope of those that begin with a dot. Never reads a statement: ``assembler`` does.
"""

from __future__ import annotations

import re

from pixelvm import isa
from toolchain import expr

_NAME = re.compile(r"\.?[A-Za-z_][A-Za-z0-9_]*")
_NUMBERS_LOW, _NUMBERS_HIGH = -(1 << 31), isa.MASK


class Fault(Exception):
    """What is wrong with a statement; ``text`` is the part of it that a caret shall point at."""

    def __init__(self, message: str, expected: str = "", text: str = "") -> None:
        super().__init__(message)
        self.message, self.expected, self.text = message, expected, text


def within(value: int, low: int, high: int, text: str) -> int:
    """The value, which ``text`` stands for, where it lies in a range.

    Raises:
        Fault: it does not.
    """
    if not low <= value <= high:
        raise Fault(f"{value} is out of range", f"{low} to {high}", text)
    return value


class Labels:
    """The names of one source so far.

    Attributes:
        values: of each name in full: the index of a word of code, an address in memory, or a constant.
        kinds: of each name: code, data, constant.
        scope: the label that names with a dot belong to.
    """

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.scope = ""
        self._lines: dict[str, int] = {}  # where each name was given

    def of(self, kind: str) -> dict[str, int]:
        """The names of one kind."""
        return {name: value for name, value in self.values.items() if self.kinds[name] == kind}

    def kind(self, name: str, scope: str) -> str | None:
        """What a name is, as it is written in a scope."""
        return self.kinds.get(_full(name, scope))

    def define(self, name: str, kind: str, value: int, line: int) -> None:
        """Give a name; a label without a dot begins a scope.

        Raises:
            Fault: it is no name, or was given before.
        """
        if not _NAME.fullmatch(name):
            raise Fault(f"`{name}' is no name", "letters, digits and _", name)
        full = _full(name, self.scope)
        if full in self.values:
            raise Fault(
                f"`{name}' is given twice", f"another name; the first is on line {self._lines[full]}", name
            )
        if kind != "constant" and not name.startswith("."):
            self.scope = name
        self.values[full], self.kinds[full], self._lines[full] = value, kind, line

    def value(self, text: str, scope: str | None = None) -> int:
        """The number that an expression stands for, in a scope (None: this one).

        Raises:
            Fault: it is no expression of known names, or has more than 32 bits.
        """
        scope = self.scope if scope is None else scope
        for name in _parsed(text).names():
            if _full(name, scope) not in self.values:
                raise Fault(f"no label or constant `{name}'", "a name that is given in this source", name)
        value = self._evaluated(text, scope)
        assert value is not None
        return value

    def known(self, text: str) -> int | None:
        """The same here; None when a name in it is not known yet."""
        return self._evaluated(text, self.scope)

    def bounded(self, text: str, low: int, high: int) -> int:
        """A number that must be known here, in a range."""
        return within(self.value(text), low, high, text)

    def _evaluated(self, text: str, scope: str) -> int | None:
        try:
            value = _parsed(text).evaluate(lambda name: self.values.get(_full(name, scope)))
        except expr.EvaluationError as error:
            raise Fault(str(error), getattr(error, "expected", ""), text) from error
        if value is not None and not _NUMBERS_LOW <= value <= _NUMBERS_HIGH:
            raise Fault(f"{value} has more than 32 bits", f"{_NUMBERS_LOW} to {_NUMBERS_HIGH}", text)
        return value


def _full(name: str, scope: str) -> str:
    return scope + name if name.startswith(".") else name


def _parsed(text: str) -> expr.Expr:
    if not text:
        raise Fault("a number is missing", "a number, a name or an expression")
    try:
        return expr.parse_cached(text)
    except expr.SyntaxFault as error:
        raise Fault(str(error), error.expected, text) from error
