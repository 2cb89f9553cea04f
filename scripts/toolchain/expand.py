"""Preprocessing of one unit: directives that decide which statements there are, and what constants are worth.

Owns: ``.if`` blocks, macros, repetition, ``.error``. What is known so far is ``knowledge``'s; files are the business
of ``preprocess``, which hands in an ``include`` function. Statements that mean bytes pass through untouched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from toolchain import conditional, macro
from toolchain.knowledge import Knowledge
from toolchain.macro import Macro, MacroFault
from toolchain.source import ASSIGN, BROKEN, SourceFile, Statement, has_open_quote
from toolchain.template import SPECIAL, Body
from toolchain.types import Diagnostic, Expansion

MACRO_DEPTH_MAX = 100  # gas: max_macro_nest
STATEMENTS_MAX = 2_000_000  # what expansion may add to a unit before it counts as runaway

_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"[ \t]*")

_BLOCK_END = {".macro": ".endm", ".rept": ".endr", ".irp": ".endr", ".irpc": ".endr"}


class StopUnit(Exception):
    """The rest of the unit is not read: ``.end``, or an error after which nothing makes sense."""


class _Condition:
    """An ``.if`` that is open: where, and whether its ``.else`` has been seen."""

    __slots__ = ("has_else", "opened")

    def __init__(self, opened: Statement) -> None:
        self.opened = opened
        self.has_else = False


class Expander(Knowledge):
    r"""Reads one unit.

    Attributes:
        macros: macros by name.
        warnings: what ``.warning`` said.
        sources: the files that were read.
        included: every file that was included, as often as it was.
        expansions: macros expanded so far, what ``\@`` stands for.
    """

    def __init__(
        self, include: Callable[[Expander, Statement, str], None], defines: Mapping[str, int]
    ) -> None:
        super().__init__(defines)
        self.include = include
        self.macros: dict[str, Macro] = {}
        self.warnings: list[Diagnostic] = []
        self.sources: dict[SourceFile, None] = {}
        self.included: list[SourceFile] = []
        self.expansions = 0
        self._direct: set[Macro] = set()
        self._depth = 0
        self._produced = 0
        self._conditions: list[_Condition] = []
        self._base = 0
        self._handlers: dict[str, Callable[[Statement, Sequence[Statement], int], int]] = {
            ".set": self._set, ".equ": self._set, ".equiv": self._set, ASSIGN: self._set,
            ".include": self._include, ".macro": self._macro, ".purgem": self._purge, ".exitm": self._exit,
            ".rept": self._rept, ".irp": self._irp, ".irpc": self._irp,
            ".else": self._else, ".elseif": self._else, ".endif": self._endif,
            ".endm": self._stray, ".endr": self._stray, ".end": self._end,
            ".error": self._error, ".err": self._error, ".warning": self._error, BROKEN: self._broken,
        }  # fmt: skip
        self._handlers.update(dict.fromkeys(conditional.OPENERS, self._if))

    # --- the loop ------------------------------------------------------------------------------------------

    def run(self, statements: Sequence[Statement]) -> bool:
        """Read one file, macro expansion or repetition; returns True when ``.exitm`` ended it."""
        handlers, macros, append = self._handlers, self.macros, self.out.append
        outer, base = self._base, len(self._conditions)
        self._base = base
        at, end = 0, len(statements)
        while at < end:
            statement = statements[at]
            op = statement[0]
            if op in handlers:
                at = handlers[op](statement, statements, at)
                if at < 0:
                    del self._conditions[base:]
                    self._base = outer
                    return True
            elif op in macros:
                self._call(macros[op], statement)
                at += 1
            else:
                append(statement)
                at += 1
        for left_open in self._conditions[base:]:
            self.fail(left_open.opened, f"{left_open.opened.op} without .endif", ".endif before the end")
        del self._conditions[base:]
        self._base = outer
        return False

    def _set(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        self.assign(statement)
        return at + 1

    # --- conditions ----------------------------------------------------------------------------------------

    def _holds(self, statement: Statement) -> bool:
        try:
            return conditional.holds(statement.op, statement.args, self.value, self.defined)
        except MacroFault as fault:
            self.fail(statement, f"{statement.op}: {fault.message}", fault.expected)
        except ValueError as error:
            self.fail(statement, f"bad operands of {statement.op}", str(error))
        return False

    def _if(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        self._conditions.append(_Condition(statement))
        return at + 1 if self._holds(statement) else self._skip_branch(statement, statements, at + 1)

    def _skip_branch(self, opened: Statement, statements: Sequence[Statement], at: int) -> int:
        """From a branch not taken to the first statement of the one that is, or behind the ``.endif``."""
        condition = self._conditions[-1]
        while True:
            at = conditional.next_branch(statements, at)
            if at < 0:
                return len(statements)
            branch = statements[at]
            if branch.op == ".endif":
                return at
            if condition.has_else:
                self.fail(branch, f"{branch.op} after .else", ".endif")
            elif branch.op == ".else":
                condition.has_else = True
                return at + 1
            elif self._holds(branch):
                return at + 1
            at += 1

    def _else(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        if len(self._conditions) == self._base:
            self.fail(statement, f"{statement.op} without .if", "an .if above it")
            return at + 1
        condition = self._conditions[-1]
        while statement.op != ".endif":
            if condition.has_else:
                self.fail(statement, f"{statement.op} after .else", ".endif")
            condition.has_else |= statement.op == ".else"
            at = conditional.next_branch(statements, at + 1)
            if at < 0:
                return len(statements)
            statement = statements[at]
        return at

    def _endif(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        if len(self._conditions) == self._base:
            self.fail(statement, ".endif without .if", "an .if above it")
        else:
            self._conditions.pop()
        return at + 1

    # --- macros and repetition -----------------------------------------------------------------------------

    def _block(
        self, statement: Statement, statements: Sequence[Statement], at: int
    ) -> tuple[list[Statement], int]:
        """The statements up to the end of the block that opens at ``at``, and the index behind it."""
        wanted = _BLOCK_END[statement.op]
        depth = 1
        for index in range(at + 1, len(statements)):
            op = statements[index][0]
            if op == wanted:
                depth -= 1
                if depth == 0:
                    return list(statements[at + 1 : index]), index + 1
            elif _BLOCK_END.get(op) == wanted:
                depth += 1
        self.fail(statement, f"{statement.op} without {wanted}", f"{wanted} before the end")
        return [], len(statements)

    def _macro(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        body, after = self._block(statement, statements, at)
        try:
            made = macro.define(statement.args, body, statement)
        except MacroFault as fault:
            self.fail(statement, fault.message, fault.expected)
            return after
        earlier = self.macros.get(made.name)
        if earlier is not None:
            where = "{}:{}".format(*earlier.defined.origin)
            self.fail(
                statement,
                f"macro `{made.name}' is already defined at {where}",
                "another name, or .purgem first",
            )
        elif made.name in self._handlers:
            self.fail(statement, f"`{made.name}' is a directive", "a macro name that is none")
        else:
            self.macros[made.name] = made
            self.macros_changed()
        return after

    def _call(self, called: Macro, statement: Statement) -> None:
        if self._depth >= MACRO_DEPTH_MAX:
            self._runaway(
                statement, f"macros nested more than {MACRO_DEPTH_MAX} deep: `{called.name}' calls itself?"
            )
        trail = (Expansion(called.name, statement.source.name, statement.line), *statement.trail)
        try:
            body, same = called.expand(statement.args, self.expansions, trail)
        except MacroFault as fault:
            self.fail(statement, fault.message, fault.expected)
            return
        self.expansions += 1
        if same and (called in self._direct or self._is_direct(called)):
            self._produced += len(body)
            if self._produced > STATEMENTS_MAX:
                self._runaway(statement)
            self.out += body
        else:
            self._descend(statement, body)

    def _is_direct(self, called: Macro) -> bool:
        """Whether what ``called`` expands to needs no further reading: neither directives of ours nor macros."""
        ops = called.body.ops
        if ops is None or any(op in self._handlers or op in self.macros for op in ops):
            return False
        self._direct.add(called)
        return True

    def macros_changed(self) -> None:
        """To be called when a macro was defined or purged: an instruction may be one now."""
        self._direct.clear()

    def _descend(self, statement: Statement, body: Sequence[Statement]) -> bool:
        self._produced += len(body)
        if self._produced > STATEMENTS_MAX:
            self._runaway(statement)
        self._depth += 1
        ended = self.run(body)
        self._depth -= 1
        return ended

    def _runaway(
        self,
        statement: Statement,
        message: str = f"runaway expansion: more than {STATEMENTS_MAX:,} statements",
    ) -> None:
        short = statement._replace(trail=(*statement.trail[:1], *statement.trail[1:][-1:]))
        self.fail(short, message, "a condition that ends it")
        self.out.clear()  # nobody wants millions of statements assembled
        raise StopUnit

    def _rept(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        body, after = self._block(statement, statements, at)
        try:
            count = self.value(statement.args)
        except MacroFault as fault:
            self.fail(statement, f".rept: {fault.message}", fault.expected)
            return after
        if count < 0 or count * max(len(body), 1) > STATEMENTS_MAX:
            self.fail(
                statement, f".rept {count} times", f"a count whose statements stay below {STATEMENTS_MAX:,}"
            )
            return after
        for _ in range(count):
            if self._descend(statement, body):
                break
        return after

    def _irp(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        body, after = self._block(statement, statements, at)
        try:
            split = macro.values if statement.op == ".irp" else macro.characters
            name, actuals = split(statement.args)
            templates = Body(body, [name])
        except MacroFault as fault:
            self.fail(statement, f"{statement.op}: {fault.message}", fault.expected)
            return after
        for actual in actuals:
            values = (actual, str(self.expansions))
            lines, _ = templates.substitute(values, statement.trail, SPECIAL.search(actual) is None)
            if self._descend(statement, lines):
                break
        return after

    def _exit(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        if self._depth == 0:
            self.fail(statement, ".exitm outside a macro", "a macro around it")
            return at + 1
        return -1

    def _purge(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        self.macros_changed()
        if self.macros.pop(statement.args.strip().lower(), None) is None:
            self.fail(
                statement,
                f"there is no macro `{statement.args.strip()}'",
                "the name of a macro defined above",
            )
        return at + 1

    def _stray(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        opener = ".macro" if statement.op == ".endm" else ".rept, .irp or .irpc"
        self.fail(statement, f"{statement.op} without {opener}", f"{opener} above it")
        return at + 1

    # --- the rest ------------------------------------------------------------------------------------------

    def _include(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        match = _STRING.fullmatch(statement.args)
        if match is None or not match[1]:
            self.fail(
                statement, "bad operand of .include", 'a file name in quotes, as in .include "macros.inc"'
            )
        else:
            self.include(self, statement, match[1])
        return at + 1

    def _error(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        match = _STRING.fullmatch(statement.args)
        if statement.args and match is None:
            self.fail(statement, f"bad operand of {statement.op}", "a text in quotes")
        else:
            text = match[1].replace('\\"', '"') if match is not None else f"{statement.op} directive"
            sink = self.warnings if statement.op == ".warning" else self.errors
            sink.append(statement.problem(text))
        return at + 1

    def _broken(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        if statement.args.startswith("/*"):
            self.fail(statement, "this comment has no end", "*/ before the end of the file")
        elif has_open_quote(statement.args):
            self.fail(
                statement, f"a quote is not closed in `{statement.args}'", "a closing quote on the same line"
            )
        else:
            self.fail(
                statement, f"bad statement `{statement.args}'", "a label, a directive or an instruction"
            )
        return at + 1

    def _end(self, statement: Statement, statements: Sequence[Statement], at: int) -> int:
        raise StopUnit
