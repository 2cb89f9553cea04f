"""The whole operand grammar of Intel syntax: the parser and the reduction behind ``operand``.

Owns brackets, segment overrides, ``offset``, ``short`` and ``... ptr`` as operators of expressions (gas
``tc-i386-intel``), and the step that takes the registers out of such an expression. What the outcome is, a number or
memory or a target, ``operand`` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from toolchain.expr import RANK, Expr, Parser, SyntaxFault, Tree, signed64
from toolchain.expr_tree import evaluate, nothing
from toolchain.registers import BY_MODE, REGISTERS, Reg, word_set
from toolchain.types import Mode

ZERO: Final[Tree] = ("n", 0)
Constants = Callable[[str], "int | None"]
Distance = Callable[[str, str], "int | None"]

# Words of the operand grammar that are never symbols.
WORDS: Final = word_set(
    """byte word dword fword qword tbyte oword xmmword ymmword zmmword mmword near far ptr short offset st
    and or xor not shl shr mod eq ne lt le gt ge flat $"""
)
SIZES: Final = {
    "byte": 1, "word": 2, "dword": 4, "fword": 6, "qword": 8, "mmword": 8, "tbyte": 10, "oword": 16,
    "xmmword": 16, "ymmword": 32, "zmmword": 64, "near": 0, "far": 0,
}  # fmt: skip
# `near` and `far` as numbers: gas gives them MASM's type codes per mode; nobody means them.
SIZE_VALUES: Final = {name: size for name, size in SIZES.items() if size}
BRANCHES: Final = word_set(
    """jmp call ljmp lcall jo jno jb jc jnae jae jnb jnc je jz jne jnz jbe jna ja jnbe js jns jp jpe jnp jpo jl jnge
    jge jnl jle jng jg jnle jcxz jecxz jrcxz loop loope loopz loopne loopnz xbegin"""
)


class OperandContext:
    """What an operand's meaning depends on: the mode, whether it belongs to a jump or call, what names stand for."""

    __slots__ = ("branch", "constants", "distance", "mode", "registers")

    def __init__(
        self, mode: Mode, branch: bool, constants: Constants, distance: Distance | None = None
    ) -> None:
        self.mode = mode
        self.branch = branch
        self.constants = constants
        self.distance = distance
        self.registers = BY_MODE[mode]


class OperandParser(Parser):
    """Adds registers, brackets, segment overrides, ``offset``, ``short`` and ``... ptr`` to the expressions."""

    def __init__(self, text: str, context: OperandContext) -> None:
        self.context = context
        super().__init__(text)

    def binary(self) -> str | None:
        """As in expressions, and `[` and `:`."""
        if self.kind == "op" and self.value in ("[", ":"):
            return str(self.value)
        return super().binary()

    def expression(self, rank: int) -> Tree:
        """Everything that binds tighter than ``rank``; ``[`` takes its closing bracket along."""
        left = self.operand()
        while True:
            operator = self.binary()
            if operator is None:
                return left
            own = _RANKS[operator]
            if own <= rank:
                return left
            self.advance()
            right = self.expression(own)
            if operator == "[":
                self.close("]")
            left = (operator, left, right)

    def close(self, bracket: str) -> None:
        """Take the closing bracket."""
        if self.kind != "op" or self.value != bracket:
            raise SyntaxFault(f"missing `{bracket}'", f"a closing `{bracket}'")
        self.advance()

    def operand(self) -> Tree:
        """As in expressions, and ``[...]`` and ``%register``."""
        if self.kind == "op":
            if self.value == "[":
                self.advance()
                inner = self.expression(0)
                self.close("]")
                return ("[", None, inner)
            if self.value == "%":
                self.advance()
                if self.kind != "name" or str(self.value).lower() not in self.context.registers:
                    raise SyntaxFault(f"bad register name `%{self.value}'", "a register of this mode")
        return super().operand()

    def name(self, name: str) -> Tree:
        """A register, a word of the grammar, or a symbol."""
        lower = name.lower()
        if lower == "st":
            return self.float_register()
        if lower in REGISTERS:
            if lower not in self.context.registers:
                raise SyntaxFault(
                    f"no register `{name}' in {self.context.mode}-bit mode", "a register of this mode"
                )
            self.advance()
            return ("r", self.context.registers[lower])
        if lower in ("offset", "short"):
            self.advance()
            return (lower, self.expression(9))
        if lower in SIZES:
            self.advance()
            if self.kind == "name" and str(self.value).lower() == "ptr":
                self.advance()
                return ("ptr", lower, self.expression(9))
            if lower not in SIZE_VALUES:
                raise SyntaxFault(f"`{name}' without `ptr'", f"`{name} ptr'")
            return ("n", SIZE_VALUES[lower])
        return super().name(name)

    def float_register(self) -> Tree:
        """``st`` or ``st(n)``."""
        self.advance()
        number = 0
        if self.kind == "op" and self.value == "(":
            self.advance()
            if self.kind != "number" or not 0 <= int(self.value) <= 7:
                raise SyntaxFault("bad x87 register", "st(0) to st(7)")
            number = int(self.value)
            self.advance()
            self.close(")")
        return ("r", REGISTERS[f"st({number})"])


_RANKS: Final = {**RANK, "[": 1, ":": 10}


class Reduction:
    """Takes registers, brackets and modifiers out of an operand's tree; what stays is the displacement."""

    def __init__(self, context: OperandContext) -> None:
        self.context = context
        self.reg: Reg | None = None
        self.base: Reg | None = None
        self.index: Reg | None = None
        self.scale = 1
        self.segment: str | None = None
        self.selector: Tree | None = None
        self.keyword = ""
        self.offset = False
        self.in_bracket = 0
        self.in_offset = 0
        self.in_scale = 0
        self.bracketed_symbol = False

    def reduce(self, tree: Tree) -> Tree:
        """``tree`` without registers; they are in ``base`` and ``index`` afterwards, or in ``reg``."""
        operator = tree[0]
        if operator == "n":
            return tree
        if operator == "s":
            return self.symbol(str(tree[1]))
        if operator == "r":
            self.register(tree[1])  # type: ignore[arg-type]
            return ZERO
        if operator == "[":
            left = ZERO if tree[1] is None else self.reduce(tree[1])  # type: ignore[arg-type]
            self.in_bracket += not self.in_offset
            right = self.reduce(tree[2])  # type: ignore[arg-type]
            self.in_bracket -= not self.in_offset
            return _add(left, right)
        if operator == "offset":
            self.offset = True
            self.in_offset += 1
            inner = self.without_registers(tree[1])  # type: ignore[arg-type]
            self.in_offset -= 1
            # `offset (a - b)` is folded, in `offset a - b` the operator takes `a` alone and keeps it symbolic.
            return fold_differences(inner, self.context.distance)
        if operator in ("ptr", "short"):
            inner = tree[-1]  # type: ignore[assignment]
            if inner[0] == "r":
                raise SyntaxFault("invalid use of register", "a memory operand")
            if operator == "ptr" and not self.keyword:
                self.keyword = str(tree[1])
            return self.reduce(inner)
        if operator == ":":
            return self.override(tree[1], tree[2])  # type: ignore[arg-type]
        if len(tree) == 2:
            return (operator, self.without_registers(tree[1]))  # type: ignore[arg-type]
        if operator == "*" and self.in_bracket:
            return self.scaled(tree[1], tree[2])  # type: ignore[arg-type]
        if operator in ("+", "-"):
            left = self.reduce(tree[1])  # type: ignore[arg-type]
            right = self.reduce(tree[2]) if operator == "+" else self.without_registers(tree[2])  # type: ignore[arg-type]
            return _add(left, right) if operator == "+" else (operator, left, right)
        return (operator, self.without_registers(tree[1]), self.without_registers(tree[2]))  # type: ignore[arg-type]

    def without_registers(self, tree: Tree) -> Tree:
        """``reduce``, refusing registers."""
        before = self.reg, self.base, self.index
        result = self.reduce(tree)
        if before != (self.reg, self.base, self.index):
            raise SyntaxFault(
                "invalid use of register", "registers only as base, index, or the whole operand"
            )
        return result

    def symbol(self, name: str) -> Tree:
        """A name: its number when it stands for one."""
        value = self.context.constants(name)
        if value is not None:
            return ("n", value)
        if self.in_bracket and not self.in_offset:
            self.bracketed_symbol = True
        return ("s", name)

    def register(self, reg: Reg) -> None:
        """A register: the operand itself outside brackets, base or index inside."""
        if self.in_offset:
            raise SyntaxFault("invalid use of register", "a symbol after `offset'")
        if not self.in_bracket:
            if self.reg is not None:
                raise SyntaxFault("invalid use of register", "one register, or memory in brackets")
            self.reg = reg
        elif self.index is None and reg.kind in ("xmm", "ymm", "zmm"):
            self.index = reg
        elif self.base is None and not self.in_scale:
            self.base = reg
        elif self.index is None:
            if self.in_scale or (reg.kind in ("r16", "r32", "r64") and not stack_pointer(reg)):
                self.index = reg
            else:
                self.index, self.base = self.base, reg
        else:
            raise SyntaxFault("too many registers in a memory operand", "base and index at most")

    def scaled(self, a: Tree, b: Tree) -> Tree:
        """A product in brackets: a register times a number, or numbers alone."""
        had_index = self.index is not None
        if not self.in_scale:
            self.scale_factor: int = 1
        self.in_scale += 1
        left = self.reduce(a)
        other = right = None
        if not had_index and self.index is not None:
            other = b
        right = self.reduce(b)
        if other is None and not had_index and self.index is not None:
            other = a
        if other is not None:
            factor = Expr(right if other is b else left).constant
            self.scale_factor *= factor or 0
        self.in_scale -= 1
        if not self.in_scale and self.index is not None and not had_index:
            if self.scale_factor not in (1, 2, 4, 8):
                raise SyntaxFault("bad scale factor", "1, 2, 4 or 8")
            self.scale = self.scale_factor
        return ZERO if ZERO in (left, right) else ("*", left, right)

    def override(self, left: Tree, right: Tree) -> Tree:
        """``segment:memory``, or ``selector:offset`` of a far branch."""
        if right[0] == "r":
            raise SyntaxFault("invalid use of register", "a memory operand behind `:'")
        if left[0] == "r":
            if self.segment is not None:
                raise SyntaxFault("redundant segment override", "one segment register")
            if left[1].kind != "seg":  # type: ignore[attr-defined]
                raise SyntaxFault("segment register name expected", "cs, ds, es, fs, gs or ss before `:'")
            self.segment = left[1].name  # type: ignore[attr-defined]
        elif self.context.branch and self.selector is None:
            self.selector = self.without_registers(left)
        else:
            raise SyntaxFault("segment register name expected", "cs, ds, es, fs, gs or ss before `:'")
        return self.reduce(right)


def stack_pointer(reg: Reg) -> bool:
    """Whether ``reg`` is (e/r)sp, which cannot be an index."""
    return reg.number == 4


def _add(left: Tree, right: Tree) -> Tree:
    if left == ZERO:
        return right
    return left if right == ZERO else ("+", left, right)


def fold_differences(tree: Tree, distance: Distance | None) -> Tree:
    """``tree`` with the differences of labels that ``distance`` knows replaced by their numbers.

    As gas does it, from left to right: both sides may be a label with a number added (``1 + a - b``).
    """
    if tree[0] in ("n", "s"):
        return tree
    folded: Tree = (tree[0], *(fold_differences(branch, distance) for branch in tree[1:]))  # type: ignore[arg-type]
    if tree[0] != "-" or len(tree) != 3:
        return folded
    left, right = _label_and_number(folded[1]), _label_and_number(folded[2])  # type: ignore[arg-type]
    if left is None or right is None or left[0] is None or right[0] is None:
        return folded
    value = 0 if left[0] == right[0] else None
    if value is None and distance is not None:
        value = distance(left[0], right[0])
    return folded if value is None else ("n", signed64(value + left[1] - right[1]))


def _label_and_number(tree: Tree) -> tuple[str | None, int] | None:
    """``(label, number)`` of a sum of at most one label and numbers, None of any other tree."""
    operator = tree[0]
    if operator == "s":
        return str(tree[1]), 0
    if operator in ("+", "-") and len(tree) == 3:
        left, right = _label_and_number(tree[1]), _label_and_number(tree[2])  # type: ignore[arg-type]
        if (
            left is None
            or right is None
            or (right[0] is not None and (operator == "-" or left[0] is not None))
        ):
            return None
        return left[0] or right[0], left[1] + right[1] if operator == "+" else left[1] - right[1]
    value = evaluate(tree, nothing)
    return None if value is None else (None, value)
