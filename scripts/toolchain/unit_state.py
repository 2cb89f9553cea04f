"""What the assembler knows of a unit while it reads it: sections, labels, constants, expressions.

Owns the state that instructions and directives share, and the meaning of an expression at the place where it stands
(a constant set above is a number, ``1f`` is the next label 1, ``.`` is here). Never encodes, never computes addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from toolchain import expr_tree
from toolchain.expr import Expr, SyntaxFault, number, parse_cached, symbol
from toolchain.expr_tree import EvaluationError
from toolchain.fragment import Align, Code, Datum, Label, Org, SectionBuilder, Space
from toolchain.preprocess import Unit
from toolchain.resolve import Linear, Resolver
from toolchain.source import Statement
from toolchain.types import Diagnostic, Mode

# Names the assembler makes up for numeric labels and for places that only an expression names.
HIDDEN = "$L"
TERMS_MAX = 128  # numbers and labels that a name may stand for; each of its uses is as long
_FEW = 16  # constants that are quicker taken one by one than by copying all
_IDENTIFIER = re.compile(r"(?<![\w.$])[A-Za-z_.$][\w.$]*", re.ASCII)


@lru_cache(maxsize=4096)
def split(args: str) -> tuple[str, ...]:
    """Operands at the commas outside quotes and parentheses, stripped."""
    if '"' not in args and "(" not in args:
        return tuple([piece.strip() for piece in args.split(",")])
    pieces, depth, begin, quoted, at = [], 0, 0, False, 0
    while at < len(args):
        char = args[at]
        if quoted:
            if char == "\\":
                at += 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth <= 0:
            pieces.append(args[begin:at].strip())
            begin = at + 1
        at += 1
    pieces.append(args[begin:].strip())
    return tuple(pieces)


class _Fixed(Resolver):
    """Resolves only what no relaxation can change: distances inside one fragment."""

    def term(self, name: str, section: SectionBuilder, here: int) -> Linear:
        label = self.labels.get(name)
        if label is None or label.fragment is None:
            return 0, {name: 1}
        return label.offset, {id(label.fragment): 1}


def _plain(digits: str) -> str:
    """A number as it is written without zeros before it: 01 is the label 1."""
    return digits.lstrip("0") or "0"


class UnitState:
    """Sections, labels and constants of one unit.

    Attributes:
        errors: everything that was wrong so far, the preprocessor's errors first.
        mode: the mode of the code that is read now, 16, 32 or 64.
        intel: whether instructions are in Intel syntax.
        section: the section that is read into; ``items`` is its list.
        labels: by name; hidden ones begin with ``HIDDEN``.
        constants: what names stand for at this point; ``first_constants`` what they were first.
        equations: names that stand for an expression of labels at this point; ``first_equations`` likewise.
    """

    def __init__(self, unit: Unit, mode: Mode, intel: bool) -> None:
        self.unit = unit
        self.errors: list[Diagnostic] = list(unit.errors)
        self.mode: Mode = mode
        self.intel = intel
        self.sections: dict[str, SectionBuilder] = {}
        for name, flags, kind in ((".text", "ax", ""), (".data", "aw", ""), (".bss", "aw", "nobits")):
            self.sections[name] = SectionBuilder(name, len(self.sections), flags, kind, None)
        self.section = self.sections[".text"]
        self.items: list[Code | Datum | Label | Align | Org | Space] = self.section.items
        self.labels: dict[str, Label] = {}
        self.constants: dict[str, int] = dict(unit.reader.defines)
        self.first_constants: dict[str, int] = dict(self.constants)
        self.equations: dict[str, Expr] = {}
        self.first_equations: dict[str, Expr] = {}
        self.globals: dict[str, Statement] = {}
        self.weak: set[str] = set()
        self.kinds: dict[str, Literal["func", "object", "notype"]] = {}
        self.sizes: dict[str, tuple[Expr, Statement]] = {}
        self._numeric: dict[str, int] = {}
        self._hidden = 0

    def fail(self, statement: Statement, message: str, expected: str = "") -> None:
        """Record an error and go on."""
        self.errors.append(statement.problem(message, expected))

    def settle(self, labels: Iterable[Label]) -> None:
        """Put everything up to ``labels`` into fragments; see ``assemble``."""
        raise NotImplementedError

    # --- labels --------------------------------------------------------------------------------------------

    def label(self, statement: Statement) -> None:
        """A label at this place."""
        name = statement[1]
        if name[0] in "0123456789":
            name = _plain(name)
            count = self._numeric[name] = self._numeric.get(name, 0) + 1
            name = f"{HIDDEN}{name}${count}"
        elif name in self.labels or name in self.constants or name in self.equations:
            where = self._defined_at(name)
            self.fail(statement, f"symbol `{name}' is already defined{where}", "a name of its own")
            return
        elif name == "." or name.startswith(HIDDEN):
            self.fail(statement, f"`{name}' cannot be a label", "letters, digits, _ and .")
            return
        made = self.labels[name] = Label(name, self.section, statement)
        self.items.append(made)

    def _defined_at(self, name: str) -> str:
        label = self.labels.get(name)
        return "" if label is None else " at {}:{}".format(*label.statement.origin)

    def numeric(self, name: str) -> str:
        """The name behind ``1b`` or ``1f`` at this place; there may be no such label."""
        digits = _plain(name[:-1])
        count = self._numeric.get(digits, 0)
        return f"{HIDDEN}{digits}${count + 1 if name[-1] == 'f' else count}"

    def hidden_label(self, statement: Statement) -> str:
        """The name of a new label at this place."""
        self._hidden += 1
        name = f"{HIDDEN}$dot${self._hidden}"
        made = self.labels[name] = Label(name, self.section, statement)
        self.items.append(made)
        return name

    # --- constants and expressions -------------------------------------------------------------------------

    def take_constants(self, statement: Statement) -> None:
        """A run of constants from the preprocessor."""
        run = statement.constants
        assert run is not None
        if not self.labels.keys().isdisjoint(run.values):
            for name in self.labels.keys() & run.values.keys():
                message = f"symbol `{name}' is already defined{self._defined_at(name)}"
                self.fail(run.places[name], message, "a name of its own")
        self.constants.update(run.values)
        if len(run.values) < _FEW:
            for name, value in run.values.items():
                self.first_constants.setdefault(name, value)
        else:
            self.first_constants = run.values | self.first_constants
        if self.equations:
            for name in run.values:
                self.equations.pop(name, None)

    def equate(self, statement: Statement) -> None:
        """``.set name, expression`` with labels, or with names that are not known yet."""
        name, _, text = statement.args.partition(",")
        if name in self.labels:
            message = f"symbol `{name}' is already defined{self._defined_at(name)}"
            self.fail(statement, message, "a name of its own")
            return
        value = self.expression(text, statement, settle=True)
        if value is None:
            return
        if isinstance(value, int):
            self.constants[name] = value
            self.first_constants.setdefault(name, value)
            self.equations.pop(name, None)
        elif name in value.names():
            self.fail(statement, f"`{name}' is defined by itself", "names defined above")
        elif expr_tree.terms(value.tree) > TERMS_MAX:
            self.fail(statement, f"`{name}' stands for more than {TERMS_MAX} terms", "a label plus a number")
        else:
            self.constants.pop(name, None)
            self.equations[name] = value
            self.first_equations.setdefault(name, value)

    def expression(self, text: str, statement: Statement, settle: bool = False) -> int | Expr | None:
        """What an expression means at this place.

        Args:
            text: the expression.
            statement: where it stands, for errors.
            settle: ``.`` is this place, and a distance that is already fixed is a number (as it is for
                directives that need one); else ``.`` is left for the field that the value goes to.

        Returns:
            A number, an expression of labels, or None after an error.
        """
        try:
            parsed = parse_cached(text)
            value = parsed.constant
            if value is None:
                value = parsed.evaluate(self.constants.get)
        except SyntaxFault as fault:
            self.fail(statement, fault.message, fault.expected)
            return None
        except EvaluationError as error:
            self.fail(statement, str(error))
            return None
        if value is not None:
            return value
        bound = self._bind(parsed, statement, settle)
        return self._settled(bound) if settle else bound

    def _bind(self, parsed: Expr, statement: Statement, settle: bool) -> Expr:
        """``parsed`` with everything resolved that depends on this place."""
        names: dict[str, Expr] = {}
        for name in parsed.names():
            value = self.constants.get(name)
            if value is not None:
                names[name] = number(value)
            elif name[0] in "0123456789":
                names[name] = symbol(self.numeric(name))
            elif name in self.equations:
                names[name] = self.equations[name]
            elif name == "." and settle:
                names[name] = symbol(self.hidden_label(statement))
        return rename(parsed, names) if names else parsed

    def _settled(self, bound: Expr) -> int | Expr:
        """The number that ``bound`` is if nothing can change it any more, else ``bound``."""
        names = bound.names()
        if len(names) < 2 or not all(name in self.labels for name in names):
            return bound
        self.settle([self.labels[name] for name in names])
        value = _Fixed(self.labels, {}, {}, frozenset()).number(bound, self.section, 0)
        return bound if value is None else value

    def spell_out(self, args: str) -> str:
        """Operands with the expression in place of every name that stands for one."""
        equations = self.equations

        def value(match: re.Match[str]) -> str:
            found = equations.get(match[0])
            return match[0] if found is None else str(found)

        return _IDENTIFIER.sub(value, args)


def rename(operand: Expr, names: dict[str, Expr]) -> Expr:
    """``operand`` with expressions in place of the names that have one."""

    def walk(tree: tuple[object, ...]) -> tuple[object, ...]:
        if tree[0] == "n":
            return tree
        if tree[0] == "s":
            known = names.get(tree[1])  # type: ignore[call-overload]
            return known.tree if known is not None else tree
        return (tree[0], *(walk(branch) for branch in tree[1:]))  # type: ignore[arg-type]

    return Expr(walk(operand.tree))
