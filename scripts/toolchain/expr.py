"""Expressions of the dialect: GNU as's operators, precedence and 64-bit arithmetic.

Owns the lexer, the parser and the evaluator. Names are left as names (``1b`` and ``1f`` for numeric local labels,
``.`` for the current address); who knows their values hands a lookup to ``Expr.evaluate``. It never sees registers
or memory operands (``insn`` does) and never decides how wide a value may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn

from toolchain.errors import InputError
from toolchain.types import Diagnostic, Place

Lookup = Callable[[str], "int | None"]
# A tree is ("n", value) | ("s", name) | (operator, operand) | (operator, left, right).
Tree = tuple[object, ...]

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


class EvaluationError(ValueError):
    """An operation without a result: a division by zero, a number beyond 64 bits as an operand."""


def signed64(value: int) -> int:
    """``value`` wrapped to 64 bits, two's complement, as GNU as computes."""
    value &= _MASK
    return value - (1 << 64) if value & _SIGN else value


class Expr:
    """A parsed expression. Immutable; equal when the trees are equal.

    Attributes:
        tree: nested tuples, ``("n", value)``, ``("s", name)``, ``(operator, operand[, operand])``.
        constant: the value when no name occurs in it, else None. A literal keeps its full width (``.octa``); the
            result of an operation is wrapped to a signed 64-bit integer.
    """

    __slots__ = ("_names", "constant", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        found: dict[str, None] = {}
        _collect(tree, found)
        self._names = tuple(found)
        self.constant: int | None = None if found else _evaluate(tree, _nothing)

    def names(self) -> tuple[str, ...]:
        """The symbols that occur, each once, in order (``.`` and ``1f`` included)."""
        return self._names

    def evaluate(self, lookup: Lookup) -> int | None:
        """The value with the symbols' values from ``lookup``; None when one of them is not yet known.

        Raises:
            EvaluationError: for a division by zero.
        """
        return self.constant if self.constant is not None else _evaluate(self.tree, lookup)

    def fold(self, lookup: Lookup) -> Expr:
        """This expression with every name that ``lookup`` knows replaced by its number."""
        if not self._names:
            return self
        tree = _fold(self.tree, lookup)
        return self if tree is self.tree else Expr(tree)

    def symbol_offset(self) -> tuple[str, int] | None:
        """``(name, addend)`` when this is one symbol plus or minus a constant, else None."""
        return _symbol_offset(self.tree)

    def difference(self) -> tuple[str, str] | None:
        """``(left, right)`` when this is ``left - right`` of two symbols, else None."""
        tree = self.tree
        if tree[0] == "-" and len(tree) == 3 and tree[1][0] == "s" and tree[2][0] == "s":  # type: ignore[index]
            return tree[1][1], tree[2][1]  # type: ignore[index]
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash(self.tree)

    def __str__(self) -> str:
        return _show(self.tree)

    def __repr__(self) -> str:
        return f"Expr({_show(self.tree)})"


def number(value: int) -> Expr:
    """The expression that is just ``value``."""
    return Expr(("n", value))


def symbol(name: str, addend: int = 0) -> Expr:
    """``name + addend``."""
    return Expr(("s", name) if not addend else ("+", ("s", name), ("n", addend)))


def fail(place: Place, message: str, expected: str = "") -> NoReturn:
    """Raise the ``InputError`` of one diagnostic at ``place``."""
    diagnostic = Diagnostic(place, message, expected)
    raise InputError(f"{place.file}:{place.line}: {message}", stage="assemble", diagnostics=(diagnostic,))


def parse(text: str, place: Place) -> Expr:
    """Parse a whole expression.

    Args:
        text: the expression alone, comments already stripped.
        place: where it stands, for errors.

    Raises:
        InputError: with one diagnostic, when the text is not an expression.
    """
    try:
        return parse_cached(text)
    except SyntaxFault as fault:
        fail(place, fault.message, fault.expected)


class SyntaxFault(ValueError):
    """What is wrong with a text, without its place; ``parse`` and ``insn.parse`` turn it into an ``InputError``."""

    def __init__(self, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


@lru_cache(maxsize=8192)
def parse_cached(text: str) -> Expr:
    """``parse`` without a place; raises ``SyntaxFault``."""
    if text.isdecimal() and text.isascii() and (text[0] != "0" or text == "0"):
        return Expr(("n", int(text)))
    parser = Parser(text)
    tree = parser.expression(0)
    if parser.kind != "end":
        raise SyntaxFault(f"junk `{text[parser.start :].strip()}' after expression", "an operator or the end")
    try:
        return Expr(tree)
    except EvaluationError as error:
        raise SyntaxFault(str(error)) from None


# --- lexer -------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""[ \t]*(?:
    (?P<label>\d+[bf](?![\w.$]))
  | (?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)(?P<tail>[\w.$]*)
  | (?P<name>[A-Za-z_.$][\w.$]*)
  | '(?P<char>\\.|[^\\])'?
  | (?P<op>\|\||&&|==|<>|!=|<=|>=|<<|>>|!!|[-+*/%|&^~!<>()\[\]:,{}])
  | (?P<end>$)
  )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPES = {"b": 8, "f": 12, "n": 10, "r": 13, "t": 9}

# Rank of each binary operator: gas/doc "Infix Operators"; higher binds tighter, all are left-associative.
_RANK = {
    "||": 2, "&&": 3, "==": 4, "!=": 4, "<>": 4, "<": 4, "<=": 4, ">=": 4, ">": 4, "+": 5, "-": 5,
    "|": 7, "!": 7, "^": 7, "!!": 7, "&": 7, "*": 8, "/": 8, "%": 8, "<<": 8, ">>": 8,
}  # fmt: skip
# Intel syntax spells some operators as words, in any case.
_WORDS = {
    "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>", "mod": "%",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


class Parser:
    """A precedence climber over one text; ``insn`` derives its operand parser from it.

    ``kind`` and ``value`` are the current token: ``number``, ``name``, ``op`` or ``end``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.start = 0
        self.kind = "end"
        self.value: str | int = ""
        self.advance()

    def advance(self) -> None:
        """Read the next token."""
        self.start = self.position
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            rest = self.text[self.position :].strip()
            raise SyntaxFault(f"bad expression at `{rest}'", "a number, a name or an operator")
        self.position = match.end()
        group = match.lastgroup
        if group == "tail":
            digits, tail = match["number"], match["tail"]
            if tail:
                raise SyntaxFault(f"junk `{tail}' after number `{digits}'", "decimal, 0x, 0b or 0 (octal) digits")
            self.kind, self.value = "number", _number(digits)
        elif group == "label":
            self.kind, self.value = "name", match["label"]
        elif group == "char":
            char = match["char"]
            code = _ESCAPES.get(char[1], ord(char[1])) if len(char) == 2 else ord(char)
            if code > 127:
                raise SyntaxFault(f"character `{char}' is not ASCII", "an ASCII character or its code")
            self.kind, self.value = "number", code
        else:
            self.kind, self.value = group or "end", match[group] if group else ""

    def expression(self, rank: int) -> Tree:
        """Everything that binds tighter than ``rank``."""
        left = self.operand()
        while True:
            operator = self.binary()
            if operator is None or _RANK[operator] <= rank:
                return left
            self.advance()
            left = (operator, left, self.expression(_RANK[operator]))

    def binary(self) -> str | None:
        """The binary operator that the current token spells, or None."""
        if self.kind == "op":
            return self.value if self.value in _RANK else None  # type: ignore[return-value]
        if self.kind == "name":
            return _WORDS.get(str(self.value).lower())
        return None

    def operand(self) -> Tree:
        """A number, a name, a parenthesised expression, or one of these behind unary operators."""
        kind, value = self.kind, self.value
        if kind == "number":
            self.advance()
            return ("n", value)
        if kind == "name":
            return self.name(str(value))
        if kind == "op":
            if value == "(":
                self.advance()
                inner = self.expression(0)
                if self.value != ")" or self.kind != "op":
                    raise SyntaxFault("missing `)'", "a closing parenthesis")
                self.advance()
                return inner
            if value in ("-", "~", "!"):
                self.advance()
                return (f"u{value}", self.operand())
            if value == "+":
                self.advance()
                return self.operand()
        raise SyntaxFault("missing operand" if kind == "end" else f"bad expression at `{value}'", "a number or a name")

    def name(self, name: str) -> Tree:
        """A name token at the place of an operand."""
        lower = name.lower()
        if lower == "not":
            self.advance()
            return ("u~", self.operand())
        if lower in _WORDS:
            raise SyntaxFault(f"invalid use of operator `{name}'", "a number or a name")
        self.advance()
        return ("s", "." if name == "$" else name)


def _number(digits: str) -> int:
    if digits[0] == "0" and len(digits) > 1:
        if digits[1] in "xX":
            return int(digits[2:], 16)
        if digits[1] in "bB":
            return int(digits[2:], 2)
        if not digits.strip("01234567"):
            return int(digits, 8)
        raise SyntaxFault(f"`{digits}' is not octal", "digits 0 to 7 after a leading 0")
    return int(digits)


# --- arithmetic --------------------------------------------------------------------------------------------


def _nothing(name: str) -> int | None:
    return None


def _collect(tree: Tree, found: dict[str, None]) -> None:
    if tree[0] == "s":
        found[tree[1]] = None  # type: ignore[index]
    elif tree[0] != "n":
        for branch in tree[1:]:
            _collect(branch, found)  # type: ignore[arg-type]


def _evaluate(tree: Tree, lookup: Lookup) -> int | None:
    operator = tree[0]
    if operator == "n":
        return tree[1]  # type: ignore[return-value]
    if operator == "s":
        return lookup(tree[1])  # type: ignore[arg-type]
    a = _evaluate(tree[1], lookup)  # type: ignore[arg-type]
    if a is None:
        return None
    if not -_SIGN <= a < _SIGN:
        a = _narrow(a)
    if len(tree) == 2:
        if operator == "u-":
            return signed64(-a)
        return ~a if operator == "u~" else int(not a)
    b = _evaluate(tree[2], lookup)  # type: ignore[arg-type]
    if b is None:
        return None
    if not -_SIGN <= b < _SIGN:
        b = _narrow(b)
    return signed64(_apply(operator, a, b))  # type: ignore[arg-type]


def _narrow(value: int) -> int:
    if value > _MASK:
        raise EvaluationError(f"{value:#x} is wider than 64 bits")
    return signed64(value)


def _apply(operator: str, a: int, b: int) -> int:
    """One binary operation on signed 64-bit values; the caller wraps the result."""
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    if operator in ("/", "%"):
        if b == 0:
            raise EvaluationError("division by zero")
        quotient = abs(a) // abs(b)
        if (a < 0) != (b < 0):
            quotient = -quotient
        return quotient if operator == "/" else a - b * quotient
    if operator in ("<<", ">>"):
        # A count of 64 or more (negative ones are huge when read unsigned) shifts everything out.
        if not 0 <= b < 64:
            return 0
        return a << b if operator == "<<" else (a & _MASK) >> b
    if operator == "&":
        return a & b
    if operator == "|":
        return a | b
    if operator in ("^", "!!"):
        return a ^ b
    if operator == "!":
        return a | ~b
    if operator == "&&":
        return int(bool(a) and bool(b))
    if operator == "||":
        return int(bool(a) or bool(b))
    # A comparison that holds is all ones.
    return -int(_COMPARE[operator](a, b))


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _fold(tree: Tree, lookup: Lookup) -> Tree:
    if tree[0] == "n":
        return tree
    if tree[0] == "s":
        value = lookup(tree[1])  # type: ignore[arg-type]
        return tree if value is None else ("n", value)
    branches = tuple(_fold(branch, lookup) for branch in tree[1:])  # type: ignore[arg-type]
    return tree if all(a is b for a, b in zip(branches, tree[1:], strict=True)) else (tree[0], *branches)


def _symbol_offset(tree: Tree) -> tuple[str, int] | None:
    if tree[0] == "s":
        return tree[1], 0  # type: ignore[return-value]
    if len(tree) == 3 and tree[0] in ("+", "-"):
        left, right = tree[1], tree[2]
        value = _evaluate(right, _nothing)  # type: ignore[arg-type]
        if value is not None:
            inner = _symbol_offset(left)  # type: ignore[arg-type]
            return None if inner is None else (inner[0], inner[1] + (value if tree[0] == "+" else -value))
        value = _evaluate(left, _nothing) if tree[0] == "+" else None  # type: ignore[arg-type]
        if value is not None:
            inner = _symbol_offset(right)  # type: ignore[arg-type]
            return None if inner is None else (inner[0], inner[1] + value)
    return None


def _show(tree: Tree) -> str:
    if tree[0] == "n":
        return str(tree[1]) if -10 < tree[1] < 10 else hex(tree[1])  # type: ignore[arg-type, operator]
    if tree[0] == "s":
        return str(tree[1])
    if len(tree) == 2:
        return f"{str(tree[0])[1:]}{_show(tree[1])}"  # type: ignore[arg-type]
    return f"({_show(tree[1])} {tree[0]} {_show(tree[2])})"  # type: ignore[arg-type]
