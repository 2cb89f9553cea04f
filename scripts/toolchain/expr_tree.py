"""Arithmetic on parsed expressions: GNU as's, on signed 64-bit integers.

Owns evaluation, folding and printing of the trees that ``expr`` makes. A tree is ``("n", value)``, ``("s", name)``,
``(operator, operand)`` or ``(operator, left, right)``.
"""

from __future__ import annotations

from collections.abc import Callable

Lookup = Callable[[str], "int | None"]
Tree = tuple[object, ...]

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


class EvaluationError(ValueError):
    """An operation without a result: a division by zero, a number beyond 64 bits as an operand."""


def signed64(value: int) -> int:
    """``value`` wrapped to 64 bits, two's complement, as GNU as computes."""
    value &= _MASK
    return value - (1 << 64) if value & _SIGN else value


def nothing(name: str) -> int | None:
    """A lookup that knows no name."""
    return None


def collect(tree: Tree, found: dict[str, None]) -> None:
    """Put the names in ``tree`` into ``found``, in order."""
    if tree[0] == "s":
        found[tree[1]] = None  # type: ignore[index]
    elif tree[0] != "n":
        for branch in tree[1:]:
            collect(branch, found)  # type: ignore[arg-type]


def depth(tree: Tree) -> int:
    """The most operators between the whole and a number or a name."""
    deepest = 0
    waiting: list[tuple[Tree, int]] = [(tree, 0)]
    while waiting:
        part, level = waiting.pop()
        deepest = max(deepest, level)
        if part[0] not in ("n", "s"):
            waiting += [(branch, level + 1) for branch in part[1:]]  # type: ignore[misc]
    return deepest


def terms(tree: Tree) -> int:
    """How many numbers and names it has."""
    count = 0
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if part[0] in ("n", "s"):
            count += 1
        else:
            waiting += part[1:]  # type: ignore[arg-type]
    return count


def evaluate(tree: Tree, lookup: Lookup) -> int | None:
    """The value, None when ``lookup`` does not know a name.

    Raises:
        EvaluationError: for a division by zero.
    """
    operator = tree[0]
    if operator == "n":
        return tree[1]  # type: ignore[return-value]
    if operator == "s":
        return lookup(tree[1])  # type: ignore[arg-type]
    a = evaluate(tree[1], lookup)  # type: ignore[arg-type]
    if a is None:
        return None
    if not -_SIGN <= a < _SIGN:
        a = _narrow(a)
    if len(tree) == 2:
        if operator == "u-":
            return signed64(-a)
        return ~a if operator == "u~" else int(not a)
    b = evaluate(tree[2], lookup)  # type: ignore[arg-type]
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


def fold(tree: Tree, lookup: Lookup) -> Tree:
    """``tree`` with the names that ``lookup`` knows replaced; ``tree`` itself when it knows none."""
    if tree[0] == "n":
        return tree
    if tree[0] == "s":
        value = lookup(tree[1])  # type: ignore[arg-type]
        return tree if value is None else ("n", value)
    branches = tuple(fold(branch, lookup) for branch in tree[1:])  # type: ignore[arg-type]
    return tree if all(a is b for a, b in zip(branches, tree[1:], strict=True)) else (tree[0], *branches)


def symbol_offset(tree: Tree) -> tuple[str, int] | None:
    """``(name, addend)`` of one symbol plus or minus numbers, else None."""
    if tree[0] == "s":
        return tree[1], 0  # type: ignore[return-value]
    if len(tree) == 3 and tree[0] in ("+", "-"):
        left, right = tree[1], tree[2]
        value = evaluate(right, nothing)  # type: ignore[arg-type]
        if value is not None:
            inner = symbol_offset(left)  # type: ignore[arg-type]
            return None if inner is None else (inner[0], inner[1] + (value if tree[0] == "+" else -value))
        value = evaluate(left, nothing) if tree[0] == "+" else None  # type: ignore[arg-type]
        if value is not None:
            inner = symbol_offset(right)  # type: ignore[arg-type]
            return None if inner is None else (inner[0], inner[1] + value)
    return None


def show(tree: Tree) -> str:
    """``tree`` as text, fully parenthesised."""
    if tree[0] == "n":
        return str(tree[1]) if -10 < tree[1] < 10 else hex(tree[1])  # type: ignore[arg-type, operator]
    if tree[0] == "s":
        return str(tree[1])
    if len(tree) == 2:
        return f"{str(tree[0])[1:]}{show(tree[1])}"  # type: ignore[arg-type]
    return f"({show(tree[1])} {tree[0]} {show(tree[2])})"  # type: ignore[arg-type]
