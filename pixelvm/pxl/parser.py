"""From tokens to the syntax tree.

Owns the grammar (PXL.md) and how reading goes on behind an error: at the next statement or declaration. Never looks at
what a name stands for.
"""

from __future__ import annotations

from pixelvm.pxl import tree
from pixelvm.pxl.expressions import ASSIGNMENTS, UNSIGNED, ExpressionParser
from pixelvm.pxl.faults import Errors, Fault
from pixelvm.pxl.lexer import Token, tokens
from pixelvm.pxl.tree import Block, Declaration, Expression, Name, Statement
from toolchain.types import Place

_DECLARATIONS = ("fn", "var", "const", "use", "include")


_STATEMENTS = ("var", "if", "while", "for", "break", "continue", "halt", "return")


class _Unclosed(Fault):
    """A brace is missing where a function or the file ends: no block around it can go on."""


def parse(text: str, name: str, errors: Errors) -> tuple[Declaration, ...]:
    """The declarations of a source; errors go to ``errors`` and what they stand in is left out."""
    return _Parser(tokens(text, name, errors), errors).declarations()


class _Parser(ExpressionParser):
    """One source while it is read."""

    # --- declarations --------------------------------------------------------------------------------------

    def declarations(self) -> tuple[Declaration, ...]:
        """Everything, to the end of the file."""
        found: list[Declaration] = []
        while not self.ended:
            try:
                found.append(self.declaration())
            except Fault as fault:
                self.errors.keep(fault.error)
                self.depth = 0
                while not self.ended and not (
                    self.sees("fn", "use", "include")
                    or (self.sees("var", "const") and self.token.place.column == 0)
                ):
                    self.at += 1
        return tuple(found)

    def declaration(self) -> Declaration:
        """One of the outermost level."""
        if not self.sees(*_DECLARATIONS):
            raise self.fault("no declaration begins", ", ".join(f"`{word}'" for word in _DECLARATIONS))
        keyword = self.take()
        if keyword.text == "fn":
            return self.function()
        if keyword.text == "use":
            word = self.name("a library")
            self.expect(";", "behind the library")
            return tree.Use(word.place, word.text, True)
        if keyword.text == "include":
            if self.token.kind != "text":
                raise self.fault("the name of a file is missing", 'text such as "other.pxl"')
            text = self.take()
            self.expect(";", "behind the file")
            return tree.Use(text.place, text.data.decode(errors="replace"), False)
        word = self.name("a constant" if keyword.text == "const" else "a variable")
        if keyword.text == "const":
            self.expect("=", "behind the name of a constant")
            value = self.expression()
            self.expect(";", "behind the constant")
            return tree.Constant(word.place, word.text, value)
        return self.variable(word)

    def variable(self, word: Token) -> tree.Global:
        """A global, behind its name."""
        element: tree.ElementKind | None = None
        count = initial = None
        if self.accept(":"):
            if not self.sees("word", "byte"):
                raise self.fault("the kind of an array's elements is missing", "`word[…]' or `byte[…]'")
            element = "word" if self.take().text == "word" else "byte"
            self.expect("[", "behind the kind of elements")
            count = None if self.sees("]") else self.expression()
            self.expect("]", "behind the number of elements")
        if self.accept("="):
            initial = self.initial(element)
        self.expect(";", "behind the variable")
        return tree.Global(word.place, word.text, element, count, initial)

    def initial(self, element: tree.ElementKind | None) -> tuple[Expression, ...]:
        """What memory holds at the start."""
        if element is None or self.token.kind == "text":
            return (self.expression(),)
        self.expect("[", "before the elements")
        return self.listed("]", "an array")

    def function(self) -> tree.Function:
        """A function, behind ``fn``."""
        word = self.name("a function")
        self.expect("(", "behind the function's name")
        parameters: list[Name] = []
        while not self.sees(")"):
            parameter = self.name("a parameter")
            parameters.append(Name(parameter.place, parameter.text))
            if not self.accept(","):
                break
        self.expect(")", "behind the parameters")
        results: list[Name] = []
        if self.accept("->"):
            while not results or self.accept(","):
                result = self.name("a result")
                results.append(Name(result.place, result.text))
        return tree.Function(word.place, word.text, tuple(parameters), tuple(results), self.block())

    # --- statements ----------------------------------------------------------------------------------------

    def block(self) -> Block:
        """Statements between braces; behind an error it goes on with the next of them."""
        begin = self.expect("{", "before the statements")
        self.deeper(begin.place)
        found: list[Statement] = []
        while not self.sees("}"):
            if self.ended or self.sees("fn"):
                fault = self.fault("`}' is missing", f"`}}' for the `{{' on line {begin.place.line}")
                raise _Unclosed(fault.error.place, fault.error.message, fault.error.expected)
            first = self.at
            try:
                found.append(self.statement())
            except _Unclosed:
                raise
            except Fault as fault:
                self.errors.keep(fault.error)
                self.recover(first)
        self.depth -= 1
        return Block(begin.place, tuple(found), self.take().place)

    def recover(self, first: int) -> None:
        """Go on behind the next ``;``, at a brace of this block's level, or where a line begins with a statement.

        Args:
            first: the token that the statement in error began with.
        """
        level = self.depth
        braces = 0
        while not self.ended and not self.sees("fn"):
            if braces == 0 and self.at > first and self.sees(*_STATEMENTS) and self.begins_line():
                break
            if braces == 0 and self.sees("}"):
                break
            token = self.take()
            if token.kind == "operator":
                braces += (token.text == "{") - (token.text == "}")
                if (token.text == ";" and braces == 0) or (token.text == "}" and braces == 0):
                    break
        self.depth = level
        self.forget()

    def statement(self) -> Statement:
        """One statement."""
        depth = self.depth
        try:
            if self.sees("{"):
                return self.block()
            if self.token.kind == "keyword" and self.token.text in ("if", "while", "for"):
                return self.compound()
            found = self.simple()
            if not self.accept(";"):
                fault = self.fault("`;' is missing behind the statement", "`;'", behind=True)
                if not (self.begins_line() or self.sees("}")):
                    raise fault
                self.errors.keep(fault.error)  # the statement is whole, and the next one too
            return found
        except Fault:
            self.depth = depth
            raise

    def compound(self) -> Statement:
        """``if``, ``while`` and ``for``."""
        keyword = self.take()
        if keyword.text == "if":
            return self.branches(keyword.place)
        if keyword.text == "while":
            condition = self.expression()
            return tree.While(keyword.place, condition, self.block())
        first = None if self.sees(";") else self.simple()
        self.expect(";", "behind the beginning of `for'")
        test = None if self.sees(";") else self.expression()
        self.expect(";", "behind the condition of `for'")
        step = None if self.sees("{") else self.simple()
        return tree.For(keyword.place, first, test, step, self.block())

    def branches(self, place: Place) -> tree.If:
        """An ``if`` with every ``else if`` of it."""
        condition = self.expression()
        arms = [(condition, self.block())]
        while self.accept("else"):
            if not self.accept("if"):
                return tree.If(place, tuple(arms), self.block())
            condition = self.expression()
            arms.append((condition, self.block()))
        return tree.If(place, tuple(arms), None)

    def simple(self) -> Statement:
        """A statement without a block."""
        place = self.token.place
        if self.accept("var"):
            return self.declare(place)
        if self.accept("break"):
            return tree.Break(place)
        if self.accept("continue"):
            return tree.Continue(place)
        if self.accept("halt"):
            return tree.Halt(place, None if self.sees(";") else self.expression())
        if self.accept("return"):
            values = () if self.sees(";") else self.values()
            return tree.Return(place, values)
        if not (self.token.kind == "name" or self.sees("word", "byte")):
            raise self.fault("no statement begins", "an assignment, a call, `if', `while', `return' …")
        return self.assignment(place)

    def declare(self, place: Place) -> tree.Declare:
        """Locals, behind ``var``."""
        names: list[Name] = []
        while not names or self.accept(","):
            word = self.name("a variable")
            names.append(Name(word.place, word.text))
        if self.sees(":"):
            raise self.fault("an array inside a function is not possible", "an array outside of functions")
        value = self.expression() if self.accept("=") else None
        return tree.Declare(place, tuple(names), value)

    def assignment(self, place: Place) -> Statement:
        """An assignment, or a call."""
        left = self.operand()
        if isinstance(left, tree.Call):
            return tree.Evaluate(left.place, left)
        targets = [self.target(left)]
        while self.accept(","):
            targets.append(self.target(self.operand()))
        operator = self.token.text
        if self.sees(*UNSIGNED):
            raise self.fault(
                f"`{operator}' does not say how", f"`{operator[:-1]}s=' (signed) or `{operator[:-1]}u='"
            )
        if self.accept("="):
            return tree.Assign(place, tuple(targets), "", self.expression())
        if not self.sees(*ASSIGNMENTS):
            raise self.fault("an assignment is missing", "`=' or an operator with `=', or `(' for a call")
        if len(targets) > 1:
            raise self.fault(f"`{operator}' for more than one", "`='")
        self.take()
        return tree.Assign(place, tuple(targets), operator[:-1], self.expression())

    def target(self, found: Expression) -> tree.Name | tree.Index:
        """What can be assigned to."""
        if not isinstance(found, tree.Name | tree.Index):
            raise Fault(
                found.place, "nothing can be assigned to this", "a variable or an element of an array"
            )
        return found
