"""Expressions: the tokens of a source, read one by one, and operators by their rank.

Owns the lower half of the grammar (PXL.md). ``parser`` builds statements and declarations upon it.
"""

from __future__ import annotations

from pixelvm.pxl import tree
from pixelvm.pxl.faults import Errors, Fault
from pixelvm.pxl.lexer import Token
from pixelvm.pxl.tree import Expression
from toolchain.types import Place

DEPTH_MAX = 100  # of expressions within expressions and blocks within blocks
COMPARISONS = frozenset(["==", "!=", "<s", "<u", "<=s", "<=u", ">s", ">u", ">=s", ">=u"])
RANKS: dict[str, int] = {
    operator: rank
    for rank, operators in enumerate(
        ("||", "&&", " ".join(COMPARISONS), "|", "^", "&", "<< >>s >>u", "+ -", "* /s /u %s %u"), 1
    )
    for operator in operators.split()
}  # a higher one binds tighter; all but comparisons go from the left
ASSIGNMENTS = frozenset(
    f"{operator}=" for operator in ["+", "-", "*", "/s", "/u", "%s", "%u", "&", "|", "^", "<<", ">>s", ">>u"]
)
UNSIGNED = frozenset(["<", "<=", ">", ">=", "/", "%", ">>", "/=", "%=", ">>="])  # say nothing of the sign


class ExpressionParser:
    """A source while it is read: where it stands, and how deep."""

    def __init__(self, found: list[Token], errors: Errors) -> None:
        self.tokens = found
        self.errors = errors
        self.at = 0
        self.depth = 0
        self._heights: dict[int, int] = {}  # of an operation, by its identity; of anything else 0

    # --- tokens --------------------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        """The next one."""
        return self.tokens[self.at]

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        return self.token.kind == "end"

    def take(self) -> Token:
        """The next one, which is read."""
        token = self.token
        if token.kind != "end":
            self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Whether the next token is one of these keywords or operators."""
        return self.token.kind in ("keyword", "operator") and self.token.text in texts

    def accept(self, text: str) -> bool:
        """Read a keyword or operator if it is there."""
        if self.sees(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str, where: str) -> Token:
        """Read a keyword or operator that must be there."""
        if not self.sees(text):
            raise self.fault(f"`{text}' is missing {where}", f"`{text}'", behind=True)
        return self.take()

    def name(self, what: str) -> Token:
        """Read a name."""
        if self.token.kind != "name":
            raise self.fault(
                f"the name of {what} is missing", "a name: letters, digits and _, no keyword", behind=True
            )
        return self.take()

    def fault(self, message: str, expected: str = "", behind: bool = False) -> Fault:
        """An error at the next token.

        Args:
            message: what is wrong.
            expected: what was expected.
            behind: something is missing; where the next token begins a line it is missing at the end of the one before.
        """
        token = self.token
        if behind and self.at and self.begins_line():
            before = self.tokens[self.at - 1]
            return Fault(
                before.place._replace(column=before.place.column + len(before.text)), message, expected
            )
        shown = token.text if token.kind == "end" else f"`{token.text}'"
        return Fault(token.place, f"{message} at {shown}", expected)

    def grown(self, node: Expression, *parts: Expression) -> Expression:
        """An operation on ``parts``; operations from the left nest without any recursion here."""
        height = 1 + max((self._heights.get(id(part), 0) for part in parts), default=0)
        if height > DEPTH_MAX:
            raise Fault(
                node.place, f"more than {DEPTH_MAX} levels of nesting", "smaller parts: functions, locals"
            )
        self._heights[id(node)] = height
        return node

    def begins_line(self) -> bool:
        """Whether the next token is the first of its line."""
        return self.at == 0 or self.tokens[self.at - 1].place.line < self.token.place.line

    def forget(self) -> None:
        """Expressions that were read do not count any more: what stood in error is gone."""
        self._heights.clear()

    def deeper(self, place: Place) -> None:
        """Count a level of nesting."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self.depth = 0
            raise Fault(place, f"more than {DEPTH_MAX} levels of nesting", "smaller parts: functions, locals")

    # --- expressions ---------------------------------------------------------------------------------------

    def values(self) -> tuple[Expression, ...]:
        """Expressions with commas between them."""
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        return tuple(found)

    def listed(self, end: str, what: str) -> tuple[Expression, ...]:
        """Expressions up to ``end``, which is read; a comma may stand before it."""
        found: list[Expression] = []
        while not self.sees(end):
            found.append(self.expression())
            if not self.accept(","):
                break
        self.expect(end, f"behind the elements of {what}")
        return tuple(found)

    def expression(self) -> Expression:
        """An expression, a choice being the loosest."""
        place = self.token.place
        self.deeper(place)
        found = self.binary(1)
        mark = self.token.place
        if self.accept("?"):
            yes = self.expression()
            self.expect(":", "between the two values of a choice")
            no = self.expression()
            found = self.grown(tree.Choice(mark, found, yes, no), found, yes, no)
        self.depth -= 1
        return found

    def binary(self, rank: int) -> Expression:
        """Operations that bind as tightly as ``rank`` or tighter."""
        left = self.operand()
        while True:
            token = self.token
            if self.sees(*UNSIGNED - {"/=", "%=", ">>="}):
                signs = f"`{token.text}s' (signed) or `{token.text}u' (unsigned)"
                self.errors.add(token.place, f"`{token.text}' does not say how", signs)
                token = token._replace(text=f"{token.text}u")
            found = RANKS.get(token.text, 0) if token.kind == "operator" else 0
            if found < max(rank, 1):
                return left
            self.take()
            self.deeper(token.place)
            right = self.binary(found + 1)
            self.depth -= 1
            left = self.grown(tree.Binary(token.place, token.text, left, right), left, right)
            if token.text in COMPARISONS and self.sees(*COMPARISONS, "<", ">", "<=", ">="):
                raise self.fault(
                    "a comparison of a comparison", "parentheses, or `&&' between two comparisons"
                )

    def operand(self) -> Expression:
        """What operators stand between."""
        token = self.take()
        if token.kind == "number":
            return tree.Number(token.place, token.value)
        if token.kind == "text":
            return tree.Text(token.place, token.data)
        if token.kind == "name" or token.text in ("word", "byte"):
            return self.named(token)
        if token.kind == "operator" and token.text in ("-", "~", "!"):
            self.deeper(token.place)
            inner = self.operand()
            self.depth -= 1
            return self.grown(tree.Unary(token.place, token.text, inner), inner)
        if token.kind == "operator" and token.text == "(":
            found = self.expression()
            self.expect(")", "behind the expression")
            return found
        if token.kind != "end":
            self.at -= 1
        raise self.fault("a value is missing", "a number, a name, a text or `('")

    def named(self, token: Token) -> Expression:
        """A name, an element, or a call."""
        if self.accept("["):
            index = self.expression()
            self.expect("]", "behind the index")
            return self.grown(tree.Index(token.place, token.text, index), index)
        if token.kind == "keyword":
            raise self.fault(f"`[' is missing behind `{token.text}'", f"`{token.text}[address]'")
        if self.accept("("):
            arguments = self.listed(")", f"the call of {token.text}")
            return self.grown(tree.Call(token.place, token.text, arguments), *arguments)
        return tree.Name(token.place, token.text)
