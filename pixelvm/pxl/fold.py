"""Constructors of core expressions that compute what is known and take the cheaper of two equal forms.

Owns the arithmetic of constants, which is the machine's (SPEC.md, section 4). Never moves a load or a call: an operand
is left out only where computing it has no effect and cannot trap.
"""

from __future__ import annotations

from pixelvm.isa import MASK, MEMORY_MAX, Op
from pixelvm.pxl.core import Addr, Both, Choice, Expr, Load, Not, Num, Op2, Symbol, is_steady
from pixelvm.reference import signed
from toolchain.types import Place

COMMUTATIVE = (Op.ADD, Op.MUL, Op.AND, Op.OR, Op.XOR, Op.EQ, Op.NE)
_FLAGS = (Op.EQ, Op.NE, Op.LTU, Op.LTS)
_NEUTRAL = {
    Op.ADD: 0, Op.OR: 0, Op.XOR: 0, Op.SHL: 0, Op.SHR: 0, Op.SAR: 0, Op.MUL: 1, Op.DIVU: 1, Op.DIVS: 1, Op.AND: MASK,
}  # fmt: skip
_SHIFT_MAX = 31


def evaluate(op: Op, a: int, b: int) -> int | None:
    """An instruction on two numbers; None for a division by zero."""
    match op:
        case Op.ADD:
            value = a + b
        case Op.SUB:
            value = a - b
        case Op.MUL:
            value = a * b
        case Op.AND:
            value = a & b
        case Op.OR:
            value = a | b
        case Op.XOR:
            value = a ^ b
        case Op.SHL:
            value = a << (b & _SHIFT_MAX)
        case Op.SHR:
            value = a >> (b & _SHIFT_MAX)
        case Op.SAR:
            value = signed(a) >> (b & _SHIFT_MAX)
        case Op.EQ:
            value = int(a == b)
        case Op.NE:
            value = int(a != b)
        case Op.LTU:
            value = int(a < b)
        case Op.LTS:
            value = int(signed(a) < signed(b))
        case _:
            return _divided(op, a, b)
    return value & MASK


def _divided(op: Op, a: int, b: int) -> int | None:
    if b == 0:
        return None
    if op is Op.DIVU:
        return a // b
    if op is Op.REMU:
        return a % b
    quotient = abs(signed(a)) // abs(signed(b)) * (1 if (a ^ b) >> 31 == 0 else -1)
    return (quotient if op is Op.DIVS else signed(a) - quotient * signed(b)) & MASK


def is_flag(e: Expr) -> bool:
    """Whether it is 0 or 1."""
    if isinstance(e, Num):
        return e.value < 2
    return isinstance(e, Not | Both) or (isinstance(e, Op2) and e.op in _FLAGS)


def binary(place: Place, op: Op, a: Expr, b: Expr) -> Expr:
    """``a op b``."""
    if isinstance(a, Num) and isinstance(b, Num):
        value = evaluate(op, a.value, b.value)
        if value is not None:
            return Num(value)
    if op in COMMUTATIVE and isinstance(a, Num | Addr) and not isinstance(b, Num):
        a, b = b, a
    if op is Op.SUB and isinstance(b, Num):
        op, b = Op.ADD, Num(-b.value & MASK)
    if op is Op.ADD and isinstance(b, Num | Addr):
        return _sum(place, a, b)
    if isinstance(b, Num):
        return _with_number(place, op, a, b)
    return Op2(place, op, a, b)


def _sum(place: Place, a: Expr, b: Num | Addr) -> Expr:
    """``a`` and a constant: constants gather at the right."""
    if isinstance(a, Op2) and a.op is Op.ADD and isinstance(a.b, Num | Addr):
        joined = _sum(place, a.b, b)
        return _sum(place, a.a, joined) if isinstance(joined, Num | Addr) else Op2(place, Op.ADD, a, b)
    if isinstance(a, Addr) and isinstance(b, Num):
        return Addr(a.symbol, a.offset + signed(b.value))
    if isinstance(a, Num) and isinstance(b, Addr):
        return Addr(b.symbol, b.offset + signed(a.value))
    if isinstance(a, Num) and isinstance(b, Num):
        return Num((a.value + b.value) & MASK)
    return a if b == Num(0) else Op2(place, Op.ADD, a, b)


def _with_number(place: Place, op: Op, a: Expr, b: Num) -> Expr:
    n = b.value
    if n == _NEUTRAL.get(op):
        return a
    if op in (Op.AND, Op.MUL) and n == 0 and is_steady(a):
        return Num(0)
    if n and n & (n - 1) == 0:
        shift = Num(n.bit_length() - 1)
        if op is Op.MUL:
            return Op2(place, Op.SHL, a, shift)
        if op is Op.DIVU:
            return Op2(place, Op.SHR, a, shift)
        if op is Op.REMU:
            return binary(place, Op.AND, a, Num(n - 1))
    if op is Op.EQ and n == 0:
        return invert(place, a)
    if op is Op.NE and n == 0 and is_flag(a):
        return a
    return Op2(place, op, a, b)


def less(place: Place, op: Op, a: Expr, b: Expr) -> Expr:
    """``a < b``; ``op`` is LTU or LTS."""
    return binary(place, op, a, b)


def greater(place: Place, op: Op, a: Expr, b: Expr) -> Expr:
    """``a > b``: the arguments change places, their order of evaluation does not."""
    folded = binary(place, op, b, a)
    return folded._replace(backwards=True) if isinstance(folded, Op2) else folded


def at_most(place: Place, op: Op, a: Expr, b: Expr) -> Expr:
    """``a <= b``: with a constant that is not the last number ``a < b + 1``."""
    low, high = (0, MASK) if op is Op.LTU else (1 << 31, (1 << 31) - 1)
    if isinstance(b, Num) and b.value != high:
        return less(place, op, a, Num((b.value + 1) & MASK))
    if isinstance(a, Num) and a.value != low:
        return less(place, op, Num((a.value - 1) & MASK), b)
    return invert(place, greater(place, op, a, b))


def at_least(place: Place, op: Op, a: Expr, b: Expr) -> Expr:
    """``a >= b``."""
    low, high = (0, MASK) if op is Op.LTU else (1 << 31, (1 << 31) - 1)
    if isinstance(b, Num) and b.value != low:
        return greater(place, op, a, Num((b.value - 1) & MASK))
    if isinstance(a, Num) and a.value != high:
        return greater(place, op, Num((a.value + 1) & MASK), b)
    return invert(place, less(place, op, a, b))


def invert(place: Place, e: Expr) -> Expr:
    """``!e``."""
    if isinstance(e, Num):
        return Num(int(e.value == 0))
    if isinstance(e, Not) and is_flag(e.value):
        return e.value
    if isinstance(e, Op2) and e.op in (Op.EQ, Op.NE):
        return e._replace(op=Op.NE if e.op is Op.EQ else Op.EQ)
    return Not(place, e)


def truth(place: Place, e: Expr) -> Expr:
    """1 where ``e`` is not 0."""
    return e if is_flag(e) else binary(place, Op.NE, e, Num(0))


def both(place: Place, a: Expr, b: Expr, either: bool) -> Expr:
    """``a && b`` or ``a || b``."""
    if isinstance(a, Num):
        return Num(int(either)) if bool(a.value) == either else truth(place, b)
    return Both(place, a, b, either)


def choice(place: Place, condition: Expr, yes: Expr, no: Expr) -> Expr:
    """``condition ? yes : no``."""
    if isinstance(condition, Num):
        return yes if condition.value else no
    return Choice(place, condition, yes, no)


def parted(address: Expr) -> tuple[Expr, Symbol | None, int]:
    """An address as what is computed, a symbol and an offset that a load or store can carry."""
    base, rest = address, Num(0)
    if isinstance(address, Op2) and address.op is Op.ADD and isinstance(address.b, Num | Addr):
        base, rest = address.a, address.b  # type: ignore[assignment]
    elif isinstance(address, Num | Addr):
        base, rest = Num(0), address  # type: ignore[assignment]
    symbol, offset = (rest.symbol, rest.offset) if isinstance(rest, Addr) else (None, rest.value)
    if 0 <= offset < MEMORY_MAX:
        return base, symbol, offset
    return address, None, 0


def load(place: Place, size: int, address: Expr) -> Expr:
    """The byte or word at an address."""
    return Load(place, size, *parted(address))


def element(place: Place, size: int, symbol: Symbol, index: Expr) -> Expr:
    """The address of an element of an array."""
    added = Num(0)
    if size != 1:
        shifted = isinstance(index, Op2) and index.op is Op.ADD
        if shifted and isinstance(index.b, Num) and index.b.value < MEMORY_MAX // size:  # type: ignore[union-attr]
            added, index = Num(index.b.value * size), index.a  # type: ignore[union-attr]
        index = binary(place, Op.MUL, index, Num(size))
    return binary(place, Op.ADD, binary(place, Op.ADD, index, Addr(symbol, 0)), added)
