"""Expressions of the dialect: GNU as's operators, precedence and 64-bit arithmetic.

Owns the lexer, the parser and the evaluator. Names are left as names (``1b`` and ``1f`` for numeric local labels,
``.`` for the current address); who knows their values hands a lookup to ``Expr.evaluate``. It never sees registers
or memory operands (``insn`` does) and never decides how wide a value may be.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

from toolchain import expr_tree
from toolchain.errors import InputError
from toolchain.expr_tree import EvaluationError, Lookup, Tree, signed64
from toolchain.types import Diagnostic, Place

__all__ = [
    "RANK", "EvaluationError", "Expr", "Lookup", "Parser", "SyntaxFault", "Tree", "fail", "number", "parse",
    "parse_cached", "signed64", "symbol",
]  # fmt: skip


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
        expr_tree.collect(tree, found)
        self._names = tuple(found)
        self.constant: int | None = None if found else expr_tree.evaluate(tree, expr_tree.nothing)

    def names(self) -> tuple[str, ...]:
        """The symbols that occur, each once, in order (``.`` and ``1f`` included)."""
        return self._names

    def evaluate(self, lookup: Lookup) -> int | None:
        """The value with the symbols' values from ``lookup``; None when one of them is not yet known.

        Raises:
            EvaluationError: for a division by zero.
        """
        return self.constant if self.constant is not None else expr_tree.evaluate(self.tree, lookup)

    def fold(self, lookup: Lookup) -> Expr:
        """This expression with every name that ``lookup`` knows replaced by its number."""
        if not self._names:
            return self
        tree = expr_tree.fold(self.tree, lookup)
        return self if tree is self.tree else Expr(tree)

    def symbol_offset(self) -> tuple[str, int] | None:
        """``(name, addend)`` when this is one symbol plus or minus a constant, else None."""
        return expr_tree.symbol_offset(self.tree)

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
        return expr_tree.show(self.tree)

    def __repr__(self) -> str:
        return f"Expr({expr_tree.show(self.tree)})"


def number(value: int) -> Expr:
    """The expression that is just ``value``."""
    return Expr(("n", value))


def symbol(name: str, addend: int = 0) -> Expr:
    """``name + addend``."""
    expression = Expr.__new__(Expr)  # nothing to search or to compute
    expression.tree = ("s", name) if not addend else ("+", ("s", name), ("n", addend))
    expression._names = (name,)
    expression.constant = None
    return expression


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


DEPTH_MAX = 128  # operators from an expression to its innermost part; Python's stack holds some more
NUMBER_MAX = 1024  # digits; Python turns no number of more than 4,300 into decimal digits, or back
_TOO_DEEP, _SHORTER = "the expression is nested too deeply", "a shorter one, or a name for a part of it"


@lru_cache(maxsize=8192)
def parse_cached(text: str) -> Expr:
    """``parse`` without a place; raises ``SyntaxFault``."""
    if text.isdecimal() and text.isascii() and (text[0] != "0" or text == "0") and len(text) <= NUMBER_MAX:
        return Expr(("n", int(text)))
    try:
        parser = Parser(text)
        tree = parser.expression(0)
        if parser.kind != "end":
            rest = text[parser.start :].strip()
            raise SyntaxFault(f"junk `{rest}' after expression", "an operator or the end")
        if len(text) > DEPTH_MAX and expr_tree.depth(tree) > DEPTH_MAX:
            raise SyntaxFault(_TOO_DEEP, _SHORTER)
        return Expr(tree)
    except EvaluationError as error:
        raise SyntaxFault(str(error)) from None
    except RecursionError:
        raise SyntaxFault(_TOO_DEEP, _SHORTER) from None


def literal(text: str) -> int | None:
    """The value of a number as a source writes it (010 is octal, as for GNU as); None of what is none, such as 08."""
    try:
        return parse_cached(text).constant
    except SyntaxFault:
        return None


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
RANK = {
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
                raise SyntaxFault(
                    f"junk `{tail}' after number `{digits}'", "decimal, 0x, 0b or 0 (octal) digits"
                )
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
            if operator is None or RANK[operator] <= rank:
                return left
            self.advance()
            left = (operator, left, self.expression(RANK[operator]))

    def binary(self) -> str | None:
        """The binary operator that the current token spells, or None."""
        if self.kind == "op":
            return self.value if self.value in RANK else None
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
        raise SyntaxFault(
            "missing operand" if kind == "end" else f"bad expression at `{value}'", "a number or a name"
        )

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
    if len(digits) > NUMBER_MAX:
        raise SyntaxFault(f"a number of {len(digits):,} digits", f"at most {NUMBER_MAX:,} digits")
    if digits[0] == "0" and len(digits) > 1:
        if digits[1] in "xX":
            return int(digits[2:], 16)
        if digits[1] in "bB":
            return int(digits[2:], 2)
        if not digits.strip("01234567"):
            return int(digits, 8)
        raise SyntaxFault(f"`{digits}' is not octal", "digits 0 to 7 after a leading 0")
    return int(digits)
