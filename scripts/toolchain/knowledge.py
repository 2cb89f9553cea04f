"""What one unit knows while it is read: the values of its constants, what is defined, and its errors.

Owns: ``.set``, ``.equ``, ``.equiv`` and ``name = value``, lookup of symbols, and the growing list of statements with
the runs of constants in it. GNU as's rule: a symbol has a value from its assignment on, not before. Never reads
files and never expands anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from toolchain import expr
from toolchain.expr_tree import EvaluationError
from toolchain.macro import MacroFault
from toolchain.source import ASSIGN, CONSTANTS, LABEL, NAME, Constants, Statement
from toolchain.types import Diagnostic

_HEX = re.compile(r"0x[0-9a-fA-F]+")


class Knowledge:
    """Constants, labels and errors of one unit so far.

    Attributes:
        out: the statements so far.
        constants: symbols with a known value.
        equated: symbols that were ``.set`` to something whose value is not known yet.
        errors: what was wrong so far.
        note: called with every symbol whose value or existence was asked for; None when nobody listens.
    """

    def __init__(self, defines: Mapping[str, int]) -> None:
        self.out: list[Statement] = []
        self.constants = dict(defines)
        self.equated: set[str] = set()
        self.errors: list[Diagnostic] = []
        self.note: Callable[[str], None] | None = None
        self._labels: set[str] = set()
        self._labels_seen = 0
        self._open: Statement | None = None

    def fail(self, statement: Statement, message: str, expected: str = "") -> None:
        """Record an error and go on."""
        self.errors.append(statement.problem(message, expected))

    def extend(self, statements: Sequence[Statement]) -> None:
        """Append statements that were preprocessed before (a remembered include file)."""
        self.out.extend(statements)
        self._open = None

    def close_constants(self) -> None:
        """The next constant starts a run of its own (so that a remembered run is never changed)."""
        self._open = None

    def lookup(self, name: str) -> int | None:
        """The value of a symbol, if it is known here."""
        if self.note is not None:
            self.note(name)
        return self.constants.get(name)

    def defined(self, name: str) -> bool:
        """Whether a symbol has a definition so far: a value, an equation or a label."""
        if self.note is not None:
            self.note(name)
        return name in self.constants or name in self.equated or self.is_label(name)

    def is_label(self, name: str) -> bool:
        """Whether a label of this name stands in the statements so far."""
        out = self.out
        for index in range(self._labels_seen, len(out)):
            if out[index][0] == LABEL:
                self._labels.add(out[index][1])
        self._labels_seen = len(out)
        return name in self._labels

    def value(self, text: str) -> int:
        """A known value; raises ``MacroFault`` saying which name stands in the way."""
        try:
            parsed = expr.parse_cached(text.strip())
            value = parsed.evaluate(self.lookup)
        except expr.SyntaxFault as fault:
            raise MacroFault(fault.message, fault.expected) from None
        except EvaluationError as error:
            raise MacroFault(str(error)) from None
        if value is None:
            unknown = next(name for name in parsed.names() if self.constants.get(name) is None)
            what = "the address of a label" if self.defined(unknown) or unknown == "." else "not defined here"
            raise MacroFault(
                f"`{unknown}' is {what}, so the value is not known yet", "constants set above this line"
            )
        return value

    def assign(self, statement: Statement) -> None:
        """Carry out an assignment: a value that is known at once, or a statement for the assembler."""
        name, _, text = statement[1].partition(",")
        name, text = name.rstrip(), text.lstrip()
        if not text or not NAME.fullmatch(name):
            self.fail(statement, f"bad {_shown(statement)}", "a name, a comma and an expression")
            return
        if text[0] == "=":
            self.fail(statement, "`==' is not supported", "name = value")
            return
        if statement.op == ".equiv" and self.defined(name):
            self.fail(statement, f"symbol `{name}' is already defined", "a new name (.set may redefine)")
            return
        if name == ".":
            self.out.append(statement._replace(op=".org", args=text))
            return
        value: int | None
        if text[:2] == "0x" and len(text) <= expr.NUMBER_MAX and _HEX.fullmatch(text):
            value = int(text, 16)
        else:
            try:
                value = expr.parse_cached(text).evaluate(self.lookup)
            except expr.SyntaxFault as fault:
                self.fail(statement, fault.message, fault.expected)
                return
            except EvaluationError as error:
                self.fail(statement, str(error))
                return
        if value is None:
            self.constants.pop(name, None)
            self.equated.add(name)
            self.out.append(statement._replace(op=".set", args=f"{name},{text}"))
            return
        self.constants[name] = value
        self.equated.discard(name)
        current = self._open
        # A name given twice begins a new run: what is used before its first ``.set`` gets the first value.
        if (
            current is None
            or self.out[-1] is not current
            or current.constants is None
            or name in current.constants.values
        ):
            current = self._open = Statement(CONSTANTS, "", *statement[2:6], Constants({}, {}))
            self.out.append(current)
        assert current.constants is not None
        current.constants.values[name] = value
        current.constants.places[name] = statement


def _shown(statement: Statement) -> str:
    return "assignment" if statement.op == ASSIGN else f"operands of {statement.op}"
