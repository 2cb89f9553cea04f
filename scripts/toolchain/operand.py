"""The operand grammar of Intel syntax, as GNU as reads it (gas ``tc-i386-intel``).

Owns the step from an operand's text to ``Reg``, ``Imm``, ``Mem``, ``Target``, ``Far`` or ``Masked``. Common shapes
go through regular expressions; everything else through an expression parser that knows ``[ ]``, ``:``, ``offset``
and ``... ptr``, then through a reduction that takes the registers out of the expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from toolchain.expr import _RANK, Expr, Parser, SyntaxFault, Tree, parse_cached, signed64, symbol
from toolchain.operand_types import Far, Imm, Masked, Mem, Operand, Target
from toolchain.registers import BY_MODE, REGISTERS, Reg, word_set
from toolchain.types import Mode

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
_SIZE_VALUES: Final = {name: size for name, size in SIZES.items() if size}
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


def wrap(value: int) -> int:
    """A literal as GNU as holds it: signed 64-bit.

    Raises:
        SyntaxFault: when it has more than 64 bits.
    """
    if not -(1 << 63) <= value < 1 << 64:
        raise SyntaxFault(f"{value:#x} is wider than 64 bits", "a value of at most 64 bits")
    return signed64(value)


_SYMBOL = re.compile(r"\d+[bf]|[A-Za-z_.][\w.$]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_.$%][\w.$]*", re.ASCII)
_ALLOWED = re.compile(r"(?:[\w%$\-+(,)*./~<>|&^!:\[\]{} \t]|'(?:\\.|[^\\])'?)*", re.ASCII)
_MASK = re.compile(r"(.*?)\s*((?:\{[^{}]*\}\s*)+)", re.ASCII)
_MEMORY = re.compile(r"(?:([A-Za-z]+)[ ]+ptr[ ]*)?(?:([a-z]s):)?\[([^\[\]()'{}:]+)\]", re.ASCII)


def parse_operand(text: str, context: OperandContext) -> Operand:
    """Parse one operand.

    Raises:
        SyntaxFault: when the text is not an operand.
    """
    reg = context.registers.get(text)
    if reg is not None:
        return reg
    if text[-1] == "]":
        match = _MEMORY.fullmatch(text)
        if match is not None:
            memory = _common_memory(match, context)
            if memory is not None:
                return memory
    elif _is_plain(text):
        # A number, a name, or an expression of them: no register, bracket or word of the grammar.
        if _SYMBOL.fullmatch(text) and context.constants(text) is None:
            address = symbol(text)
            return Target(address) if context.branch else Mem(disp=address)
        value = parse_cached(text).evaluate(context.constants)
        if value is not None:
            return Target(wrap(value)) if context.branch else Imm(wrap(value))
    return _general(text, context)


def _is_plain(text: str) -> bool:
    if "[" in text or ":" in text or "'" in text or "{" in text or "=" in text:
        return False
    return not any(
        word in WORDS or word in REGISTERS or word[0] == "%" for word in map(str.lower, _WORD.findall(text))
    )


def _common_memory(match: re.Match[str], context: OperandContext) -> Mem | None:
    """``size ptr seg:[sum]`` where the terms are registers, a scaled register, numbers and names.

    Returns None when it is something else, be it wrong or only less common.
    """
    keyword, segment, inner = match.groups()
    registers = context.registers
    size = None
    if keyword is not None:
        keyword = keyword.lower()
        size = _SIZE_VALUES.get(keyword)
        if size is None:
            return None
    if segment is not None and segment not in registers:
        return None
    base = index = None
    scale, offset, name = 1, 0, None
    for term in inner.replace("-", "+-").split("+"):
        term = term.strip()
        reg = registers.get(term)
        if reg is not None:
            if base is None:
                base = reg
            elif index is None and reg.number != 4:
                index = reg
            else:
                return None
            continue
        minus = term[:1] == "-"
        if minus:
            term = term[1:].lstrip()
        value = _simple(term, context)
        if value is not None:
            offset += -value if minus else value
        elif minus:
            return None
        elif index is None and term[-1:] in ("1", "2", "4", "8") and term[:-1].rstrip()[-1:] == "*":
            index, scale = registers.get(term[:-1].rstrip()[:-1].rstrip()), int(term[-1])
            if index is None or index.number == 4:
                return None
        elif name is None and _SYMBOL.fullmatch(term) and not _reserved(term):
            name = term
        else:
            return None
    kinds = {reg.kind for reg in (base, index) if reg is not None}
    if len(kinds) > 1 or not kinds <= _BASES or (index is not None and index.kind == "ip"):
        return None
    disp: int | Expr = signed64(offset)
    if name is not None:
        disp = symbol(name, signed64(offset))
    return Mem(size, segment, base, index, scale, disp, keyword or "")


_BASES: Final = frozenset(["r32", "r64", "ip"])


def _simple(term: str, context: OperandContext) -> int | None:
    """The value of a decimal or hexadecimal number or of a name that stands for one."""
    if term.isdigit():
        return int(term) if term[0] != "0" or term == "0" else None
    if term[:2] == "0x":
        return parse_cached(term).constant if term[2:].isalnum() else None
    if not _SYMBOL.fullmatch(term) or _reserved(term):
        return None
    return context.constants(term)


def _reserved(name: str) -> bool:
    lower = name.lower()
    return lower in REGISTERS or lower in WORDS


# --- the whole grammar -------------------------------------------------------------------------------------


class _OperandParser(Parser):
    """Adds registers, brackets, segment overrides, ``offset``, ``short`` and ``... ptr`` to the expressions."""

    def __init__(self, text: str, context: OperandContext) -> None:
        self.context = context
        super().__init__(text)

    def binary(self) -> str | None:
        if self.kind == "op" and self.value in ("[", ":"):
            return str(self.value)
        return super().binary()

    def expression(self, rank: int) -> Tree:
        left = self.operand()
        while True:
            operator = self.binary()
            if operator is None:
                return left
            own = _OPERAND_RANK[operator]
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
            if lower not in _SIZE_VALUES:
                raise SyntaxFault(f"`{name}' without `ptr'", f"`{name} ptr'")
            return ("n", _SIZE_VALUES[lower])
        return super().name(name)

    def float_register(self) -> Tree:
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


_OPERAND_RANK: Final = {**_RANK, "[": 1, ":": 10}


class _Reduction:
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
            return _ZERO
        if operator == "[":
            left = _ZERO if tree[1] is None else self.reduce(tree[1])  # type: ignore[arg-type]
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
            return inner if self.context.distance is None else _fold_differences(inner, self.context.distance)
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
        before = self.reg, self.base, self.index
        result = self.reduce(tree)
        if before != (self.reg, self.base, self.index):
            raise SyntaxFault(
                "invalid use of register", "registers only as base, index, or the whole operand"
            )
        return result

    def symbol(self, name: str) -> Tree:
        value = self.context.constants(name)
        if value is not None:
            return ("n", value)
        if self.in_bracket and not self.in_offset:
            self.bracketed_symbol = True
        return ("s", name)

    def register(self, reg: Reg) -> None:
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
            if self.in_scale or (reg.kind in ("r16", "r32", "r64") and not _stack_pointer(reg)):
                self.index = reg
            else:
                self.index, self.base = self.base, reg
        else:
            raise SyntaxFault("too many registers in a memory operand", "base and index at most")

    def scaled(self, a: Tree, b: Tree) -> Tree:
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
        return _ZERO if _ZERO in (left, right) else ("*", left, right)

    def override(self, left: Tree, right: Tree) -> Tree:
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


_ZERO: Tree = ("n", 0)


def _stack_pointer(reg: Reg) -> bool:
    return reg.number == 4


def _add(left: Tree, right: Tree) -> Tree:
    if left == _ZERO:
        return right
    return left if right == _ZERO else ("+", left, right)


def _general(text: str, context: OperandContext) -> Operand:
    if _ALLOWED.fullmatch(text) is None:
        raise SyntaxFault(
            f"invalid character in operand `{text}'", "letters, digits and the operators of expressions"
        )
    mask = ""
    match = _MASK.fullmatch(text)
    if match is not None:
        text, mask = match[1], re.sub(r"\s+", "", match[2].lower())
        if not text:
            return Masked(None, mask)
    elif "{" in text or "}" in text:
        raise SyntaxFault(f"bad decoration in `{text}'", "decorations such as {k1}{z} at the end")
    parser = _OperandParser(text, context)
    tree = parser.expression(0)
    if parser.kind != "end":
        raise SyntaxFault(f"junk `{text[parser.start :].strip()}' after expression", "an operator or the end")
    state = _Reduction(context)
    rest = state.reduce(tree)
    if state.reg is not None:
        if state.base or state.index or state.segment or rest != _ZERO or state.keyword:
            raise SyntaxFault(f"invalid use of register in `{text}'", "one register, or memory in brackets")
        return Masked(state.reg, mask) if mask else state.reg
    value = _value(rest, context, state.offset and not text.endswith("]"))
    in_brackets = text.endswith("]") and not state.offset
    symbols = _count(rest) if isinstance(value, Expr) else 0
    indirect = bool(state.base or state.index or state.bracketed_symbol or in_brackets)
    if mask and not (state.base or state.index or state.bracketed_symbol):
        raise SyntaxFault(
            f"decoration `{mask}' behind a number", "a vector register, or memory with a register"
        )
    if context.branch:
        return _branch_operand(state, value, indirect, context, mask)
    if indirect or state.segment or (symbols == 1 and not state.offset):
        return _memory(state, value, context, mask)
    if state.keyword:
        raise SyntaxFault(f"`{state.keyword} ptr' before a number", "brackets around an address")
    return Imm(value)


def _branch_operand(
    state: _Reduction, value: int | Expr, indirect: bool, context: OperandContext, mask: str
) -> Operand:
    if state.selector is not None:
        return Far(_value(state.selector, context), value)
    if indirect and state.keyword == "near" and not (state.base or state.index or state.bracketed_symbol):
        raise SyntaxFault(
            "`near ptr' before an address in brackets", "`qword ptr [...]', or the target alone"
        )
    if state.keyword == "far" and not (state.base or state.index or state.bracketed_symbol or state.segment):
        raise SyntaxFault("a far jump or call needs a segment", "selector:offset, or memory with a register")
    if indirect or state.segment or state.keyword not in ("", "near", "far"):
        return _memory(state, value, context, mask)
    return Target(value)


def _memory(state: _Reduction, disp: int | Expr, context: OperandContext, mask: str) -> Mem:
    base, index = state.base, state.index
    if (
        index is not None
        and base is not None
        and base.kind == index.kind == "r16"
        and base.number >= 6 > index.number
    ):
        base, index = index, base
    _check_address(base, index, state.scale, context.mode)
    size = SIZES[state.keyword] if state.keyword else None
    return Mem(size, state.segment, base, index, state.scale, disp, state.keyword, mask)


def _check_address(base: Reg | None, index: Reg | None, scale: int, mode: Mode) -> None:
    """Which registers may form an address (Intel SDM vol. 2A, tables 2-1 to 2-3)."""
    if base is None and index is None:
        return
    fine = True
    kinds = ("r32", "r64", "ip") if mode == 64 else ("r16", "r32")
    if base is not None:
        fine = base.kind in kinds
        if base.kind == "r16":
            fine &= base.number in ((3, 5) if index is not None else (3, 5, 6, 7))
    if index is not None and fine:
        if index.kind in ("xmm", "ymm", "zmm"):
            fine = base is None or base.kind in ("r32", "r64")
        elif index.kind == "r16":
            fine = (
                mode != 64
                and index.number in (6, 7)
                and base is not None
                and base.kind == "r16"
                and scale == 1
            )
        else:
            fine = index.kind in kinds and index.kind != "ip" and not _stack_pointer(index)
            fine &= base is None or base.kind == index.kind
    if not fine:
        names = "+".join(reg.name for reg in (base, index) if reg is not None)
        raise SyntaxFault(f"`[{names}]' is not a base and index of {mode}-bit mode", "base + index*scale")


def _value(tree: Tree, context: OperandContext, keep_differences: bool = False) -> int | Expr:
    expression = Expr(tree)
    if expression.constant is None and context.distance is not None and not keep_differences:
        expression = Expr(_fold_differences(tree, context.distance))
    return expression if expression.constant is None else wrap(expression.constant)


def _fold_differences(tree: Tree, distance: Callable[[str, str], int | None]) -> Tree:
    if tree[0] in ("n", "s"):
        return tree
    if tree[0] == "-" and len(tree) == 3 and tree[1][0] == "s" and tree[2][0] == "s":  # type: ignore[index]
        value = 0 if tree[1] == tree[2] else distance(tree[1][1], tree[2][1])  # type: ignore[index]
        if value is not None:
            return ("n", value)
    return (tree[0], *(_fold_differences(branch, distance) for branch in tree[1:]))  # type: ignore[arg-type]


def _count(tree: Tree) -> int:
    """How often an address occurs in ``tree``: 0 for a number or a difference of symbols, 1 for an address."""
    operator = tree[0]
    if operator == "n":
        return 0
    if operator == "s":
        return 1
    counts = [_count(branch) for branch in tree[1:]]  # type: ignore[arg-type]
    if operator == "+":
        total = counts[0] + counts[1]
    elif operator == "-":
        total = counts[0] - counts[1]
    elif any(counts):
        raise SyntaxFault(f"`{Expr(tree)}' is no address and no number", "a symbol plus or minus a number")
    else:
        return 0
    if total not in (0, 1, -1):
        raise SyntaxFault(f"`{Expr(tree)}' is no address and no number", "a symbol plus or minus a number")
    return total
