"""Operands of Intel syntax, from their text to ``Reg``, ``Imm``, ``Mem``, ``Target``, ``Far`` or ``Masked``.

Owns what an operand means, as GNU as reads it. Common shapes are read here term by term; everything else goes
through ``operand_grammar``.
"""

from __future__ import annotations

import re
from typing import Final

from toolchain.expr import NUMBER_MAX, Expr, SyntaxFault, Tree, parse_cached, signed64, symbol
from toolchain.operand_grammar import (
    BRANCHES,
    SIZE_VALUES,
    SIZES,
    WORDS,
    ZERO,
    Constants,
    Distance,
    OperandContext,
    OperandParser,
    Reduction,
    fold_differences,
    stack_pointer,
)
from toolchain.operand_types import Far, Imm, Masked, Mem, Operand, Target
from toolchain.registers import REGISTERS, Reg
from toolchain.types import Mode

__all__ = ["BRANCHES", "WORDS", "Constants", "Distance", "OperandContext", "parse_operand", "wrap"]


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
_DECORATIONS = re.compile(r"(?:\{[^{}]*\}\s*)+", re.ASCII)
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
    elif _SYMBOL.fullmatch(text):
        if not _reserved(text):
            value = context.constants(text)
            if value is None:
                address = symbol(text)
                return Target(address) if context.branch else Mem(disp=address)
            return Target(wrap(value)) if context.branch else Imm(wrap(value))
    elif _is_plain(text):
        # A number, or an expression of numbers and names: no register, bracket or word of the grammar.
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
        size = SIZE_VALUES.get(keyword)
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
        if "*" in term:
            left, _, right = term.partition("*")
            index, before = registers.get(left.rstrip()), index
            right = right.lstrip()
            if before is not None or minus or index is None or index.number == 4 or right not in _SCALES:
                return None
            scale = int(right)
            continue
        value = _number(term)
        if value is None:
            if not _SYMBOL.fullmatch(term) or _reserved(term):
                return None
            value = context.constants(term)
            if value is None:
                if minus or name is not None:
                    return None
                name = term
                continue
        offset += -value if minus else value
    for reg in (base, index):
        if reg is not None and reg.kind not in _BASES:
            return None
    if index is not None and (index.kind == "ip" or (base is not None and base.kind != index.kind)):
        return None
    disp = signed64(offset)
    return Mem(size, segment, base, index, scale, disp if name is None else symbol(name, disp), keyword or "")


_BASES: Final = frozenset(["r32", "r64", "ip"])
_SCALES: Final = frozenset(["1", "2", "4", "8"])


def _number(term: str) -> int | None:
    """The value of a plain decimal or hexadecimal number."""
    if term.isdigit() and term.isascii():
        return int(term) if (term[0] != "0" or term == "0") and len(term) <= NUMBER_MAX else None
    if term[:2] == "0x" and term[2:].isalnum():
        return parse_cached(term).constant
    return None


def _reserved(name: str) -> bool:
    lower = name.lower()
    return lower in REGISTERS or lower in WORDS


def _general(text: str, context: OperandContext) -> Operand:
    if _ALLOWED.fullmatch(text) is None:
        raise SyntaxFault(
            f"invalid character in operand `{text}'", "letters, digits and the operators of expressions"
        )
    mask = ""
    if "{" in text or "}" in text:
        bare, brace, behind = text.partition("{")
        if _DECORATIONS.fullmatch(brace + behind) is not None:
            text, mask = bare.rstrip(), "".join((brace + behind).lower().split())
            if not text:
                return Masked(None, mask)
    if "{" in text or "}" in text:
        raise SyntaxFault(f"bad decoration in `{text}'", "decorations such as {k1}{z} at the end")
    parser = OperandParser(text, context)
    tree = parser.expression(0)
    if parser.kind != "end":
        raise SyntaxFault(f"junk `{text[parser.start :].strip()}' after expression", "an operator or the end")
    state = Reduction(context)
    rest = state.reduce(tree)
    if state.reg is not None:
        if state.base or state.index or state.segment or rest != ZERO or state.keyword:
            raise SyntaxFault(f"invalid use of register in `{text}'", "one register, or memory in brackets")
        return Masked(state.reg, mask) if mask else state.reg
    value = _value(rest, context, state.offset and not text.endswith("]"))
    in_brackets = text.endswith("]") and not state.offset
    symbols = _count(rest) if isinstance(value, Expr) else 0
    if symbols < 0:
        raise SyntaxFault(f"`{value}' is no address and no number", "a symbol plus or minus a number")
    indirect = bool(state.base or state.index or state.bracketed_symbol or in_brackets)
    if mask and not (state.base or state.index or state.bracketed_symbol or state.segment):
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
    state: Reduction, value: int | Expr, indirect: bool, context: OperandContext, mask: str
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


def _memory(state: Reduction, disp: int | Expr, context: OperandContext, mask: str) -> Mem:
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
            fine = index.kind in kinds and index.kind != "ip" and not stack_pointer(index)
            fine &= base is None or base.kind == index.kind
    if not fine:
        names = "+".join(reg.name for reg in (base, index) if reg is not None)
        raise SyntaxFault(f"`[{names}]' is not a base and index of {mode}-bit mode", "base + index*scale")


def _value(tree: Tree, context: OperandContext, keep_differences: bool = False) -> int | Expr:
    expression = Expr(tree)
    if expression.constant is None and not keep_differences:
        expression = Expr(fold_differences(tree, context.distance))
    return expression if expression.constant is None else wrap(expression.constant)


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
    if total not in (0, 1, -1) or (
        operator == "-" and total < 0 and counts[0] == 0
    ):  # gas: no number minus an address
        raise SyntaxFault(f"`{Expr(tree)}' is no address and no number", "a symbol plus or minus a number")
    return total
