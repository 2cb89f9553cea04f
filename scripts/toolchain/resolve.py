"""From expressions with labels to numbers and relocations, once every fragment has its address.

Owns the linear form of an expression: a constant plus sections and symbols with their coefficients. What comes out
is a number, one symbol plus a constant, or that minus the place of the field (as the x86-64 psABI's relocations
can say it); anything else is an error, as it is for GNU as. Ranges of fields are checked here and by ``link``.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchain.expr import Expr
from toolchain.expr_tree import EvaluationError, Tree, evaluate, nothing, signed64
from toolchain.fragment import Fragment, Label, Patch, SectionBuilder
from toolchain.objectfile import Relocation
from toolchain.source import Statement
from toolchain.types import Diagnostic

Key = int | str  # a section of the unit by index, or a symbol that is not defined here (or may be replaced)
Linear = tuple[int, dict[Key, int]]


CHAIN_MAX = 64  # names that are defined through each other
LOOKUPS_MAX = 10_000  # equations that one expression may lead through


class ResolveFault(ValueError):
    """Why an expression is neither a number nor an address."""


def bounds(kind: str, size: int) -> tuple[int, int]:
    """The least and the greatest value of a field, both included."""
    bits = 8 * size
    low, high = -(1 << bits - 1), (1 << bits) - 1
    if kind == "unsigned":
        low = 0
    elif kind == "data":
        low = -high  # gas takes a number for data if it or its negative fits
    elif kind in ("pcrel", "signed"):
        high = (1 << bits - 1) - 1
    return low, high


BOUNDS = {
    (kind, size): bounds(kind, size)
    for kind in ("pcrel", "signed", "unsigned", "either", "data")
    for size in (1, 2, 4, 8, 16)
}  # fmt: skip


def range_text(kind: str, size: int) -> str:
    """What fits, for a person."""
    low, high = bounds(kind, size)
    return f"a value from {low:#x} to {high:#x}"


class Resolver:
    """Resolves the expressions of one unit.

    Args:
        labels: labels by name, hidden ones included.
        constants: what names without a label stand for when they are used before their ``.set``.
        equations: names that were ``.set`` to an expression of labels.
        weak: names of weak symbols: another unit may replace them.
    """

    refuses_negative = (
        True  # as gas does: a number minus an address is nothing, even if another address follows
    )

    def __init__(
        self,
        labels: Mapping[str, Label],
        constants: Mapping[str, int],
        equations: Mapping[str, Expr],
        weak: frozenset[str],
    ) -> None:
        self.labels = labels
        self.constants = constants
        self.equations = equations
        self.weak = weak
        self._resolving: set[str] = set()
        self._lookups = 0

    def term(self, name: str, section: SectionBuilder, here: int) -> Linear:
        """What a name is: ``here`` is the offset in ``section`` that ``.`` means."""
        label = self.labels.get(name)
        if label is not None:
            return (0, {name: 1}) if name in self.weak else (label.address, {label.section.index: 1})
        if name == ".":
            return here, {section.index: 1}
        value = self.constants.get(name)
        if value is not None:
            return value, {}
        equation = self.equations.get(name)
        if equation is None:
            return 0, {name: 1}
        if name in self._resolving:
            raise ResolveFault(f"`{name}' is defined by itself")
        self._lookups = self._lookups + 1 if self._resolving else 0
        if len(self._resolving) >= CHAIN_MAX or self._lookups > LOOKUPS_MAX:
            raise ResolveFault(f"`{name}' is defined through too many other names")
        self._resolving.add(name)
        try:
            return self.linear(equation.tree, section, here)
        finally:
            self._resolving.discard(name)

    def linear(self, tree: Tree, section: SectionBuilder, here: int) -> Linear:
        """The linear form of ``tree``.

        Raises:
            ResolveFault: an address takes part in something else than a sum or difference.
        """
        operator = tree[0]
        if operator == "n":
            return tree[1], {}  # type: ignore[return-value]
        if operator == "s":
            return self.term(tree[1], section, here)  # type: ignore[arg-type]
        a, terms = self.linear(tree[1], section, here)  # type: ignore[arg-type]
        if len(tree) == 2:
            if operator == "u-":
                return signed64(-a), {key: -count for key, count in terms.items()}
            if terms:
                raise ResolveFault(f"`{str(operator)[1:]}' of an address")
            return (~a if operator == "u~" else int(not a)), {}
        b, others = self.linear(tree[2], section, here)  # type: ignore[arg-type]
        if operator in ("+", "-"):
            if others and not terms and operator == "-" and self.refuses_negative:
                raise ResolveFault("a number minus an address")
            sign = 1 if operator == "+" else -1
            merged = dict(terms)
            for key, count in others.items():
                merged[key] = merged.get(key, 0) + sign * count
            return signed64(a + sign * b), {key: count for key, count in merged.items() if count}
        if (terms or others) and not (
            operator in ("==", "!=", "<>", "<", "<=", ">", ">=") and terms == others
        ):
            raise ResolveFault(f"`{operator}' of an address")
        value = evaluate((operator, ("n", a), ("n", b)), nothing)
        assert value is not None
        return value, {}

    def number(self, operand: Expr, section: SectionBuilder, here: int) -> int | None:
        """The value of an expression in which all addresses cancel out; else None."""
        try:
            value, terms = self.linear(operand.tree, section, here)
        except (ResolveFault, EvaluationError):
            return None
        return None if terms else value

    def offset(self, operand: Expr, section: SectionBuilder, here: int) -> int | None:
        """The offset in ``section`` that an expression means: a number, or an address in it; else None."""
        try:
            value, terms = self.linear(operand.tree, section, here)
        except (ResolveFault, EvaluationError):
            return None
        return value if not terms or terms == {section.index: 1} else None

    def patch(
        self, patch: Patch, fragment: Fragment, section: SectionBuilder, data: bytearray
    ) -> Relocation | Diagnostic | None:
        """Fill one field in ``data`` (the section's bytes), or say what the linker must do, or what is wrong."""
        base = fragment.address
        position = base + patch.offset
        size, kind = patch.size, patch.kind
        tree = patch.operand.tree
        pair = (str(tree[1]), 0) if tree[0] == "s" else patch.operand.symbol_offset()
        if pair is not None and kind == "pcrel":
            # The common case, a branch or a RIP-relative operand, without the general way.
            label = self.labels.get(pair[0])
            if label is not None and pair[0] not in self.weak and label.fragment is not None:
                value = label.fragment.address + label.offset + pair[1]
                if label.section is section:
                    return _fill(data, position, size, kind, value - base - patch.end, patch)
                index = label.section.index
                return Relocation(
                    position, size, kind, index, value - patch.end + patch.offset, patch.statement
                )
        try:
            if pair is not None:
                value, terms = self.term(pair[0], section, base + patch.start)
                value += pair[1]
            else:
                value, terms = self.linear(patch.operand.tree, section, base + patch.start)
            target, relative = _target(terms, section.index)
        except (ResolveFault, EvaluationError) as fault:
            return patch.statement.problem(
                f"cannot resolve `{patch.operand}': {fault}", "a label plus or minus numbers"
            )
        if kind == "pcrel":
            if relative:
                return patch.statement.problem(
                    f"cannot resolve `{patch.operand}': it is relative twice", "a label"
                )
            if target == section.index:
                return _fill(data, position, size, kind, value - (base + patch.end), patch)
            return Relocation(
                position, size, kind, target, value - (patch.end - patch.offset), patch.statement
            )
        if relative:
            return Relocation(position, size, "pcrel", target, value + position, patch.statement)
        if target is None:
            # All labels cancelled out: the field holds a plain number, read signed or unsigned.
            return _fill(data, position, size, "either" if kind == "unsigned" else kind, value, patch)
        if kind == "data":
            kind = (
                "unsigned" if size == 4 else "either"
            )  # the overflow rules of R_X86_64_32 and of _8, _16, _64
        return Relocation(position, size, kind, target, value, patch.statement)


def _target(terms: dict[Key, int], here: int) -> tuple[Key | None, bool]:
    """The one symbol of a linear form, and whether the section of the field is subtracted from it."""
    if not terms:
        return None, False
    if len(terms) == 1:
        ((key, count),) = terms.items()
        if count == 1:
            return key, False
    elif len(terms) == 2 and terms.get(here) == -1:
        (key,) = (key for key in terms if key != here)
        if terms[key] == 1:
            return key, True
    raise ResolveFault("it is no difference of labels of one section")


def _fill(
    data: bytearray, position: int, size: int, kind: str, value: int, patch: Patch
) -> Diagnostic | None:
    low, high = BOUNDS[kind, size]
    if not low <= value <= high:
        return out_of_range(patch.statement, str(patch.operand), kind, size, value)
    data[position : position + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return None


def out_of_range(statement: Statement, what: str, kind: str, size: int, value: int) -> Diagnostic:
    """The error for a value that its field cannot hold."""
    if kind == "pcrel":
        message = f"`{what}' is {abs(value):#x} bytes {'ahead' if value > 0 else 'back'}: too far for {8 * size} bits"
        return statement.problem(message, f"a distance that fits in {8 * size} bits")
    return statement.problem(
        f"`{what}' is {value:#x}: it does not fit in {8 * size} bits", range_text(kind, size)
    )
