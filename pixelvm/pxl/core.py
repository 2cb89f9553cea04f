"""The core of a program: names resolved, constants known, operators those of the machine.

Owns the shapes between the checker and the code generator. An address is an expression, a symbol and an offset, added
up modulo 2^32 as the machine's loads and stores do. Expressions change nothing but by calls.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from pixelvm.isa import Op, SystemCall
from toolchain.types import Place


class Symbol:
    """Something in memory: a global, an array, the bytes of a text.

    Attributes:
        name: for people and debuggers; empty for texts.
        size: bytes.
        align: its address is a multiple of it.
        data: what it holds at the start; zeros follow.
        length: elements of an array; None for anything else.
        links: (offset, symbol): words of ``data`` that are the address of a symbol.
        address: where it lies, once that is known.
    """

    def __init__(self, name: str, size: int, align: int, data: bytes = b"") -> None:
        self.name, self.size, self.align, self.data = name, size, align, data
        self.length: int | None = None
        self.links: list[tuple[int, Symbol]] = []
        self.address = -1


class Variable:
    """A local: a parameter, a declared one or a temporary of the generator.

    Attributes:
        name: as written; empty for a temporary.
        begin: where it is declared.
        end: where its block ends.
    """

    def __init__(self, name: str, begin: Place | None = None) -> None:
        self.name = name
        self.begin, self.end = begin, begin


class Function:
    """A function.

    Attributes:
        name: as written.
        place: of its name.
        parameters: its first locals.
        results: how many values it leaves.
        body: empty until it is checked.
        end: of its text.
        locals: parameters and what it declares, in the order of the source.
    """

    def __init__(self, name: str, place: Place, parameters: tuple[Variable, ...], results: int) -> None:
        self.name, self.place, self.parameters, self.results = name, place, parameters, results
        self.body = Block((), ())
        self.end = place
        self.locals: list[Variable] = []


# --- expressions: one value each, but for calls -------------------------------------------------------------


class Num(NamedTuple):
    """A number, unsigned."""

    value: int


class Addr(NamedTuple):
    """The address of a symbol, and some bytes."""

    symbol: Symbol
    offset: int


class Get(NamedTuple):
    """A local."""

    variable: Variable


class Load(NamedTuple):
    """What lies in memory; ``size`` is 1 or 4."""

    place: Place
    size: int
    address: Expr
    symbol: Symbol | None
    offset: int


class Op2(NamedTuple):
    """An instruction with two arguments; ``backwards``: the second was written first and is evaluated first."""

    place: Place
    op: Op
    a: Expr
    b: Expr
    backwards: bool = False


class Not(NamedTuple):
    """1 when the value is 0, else 0."""

    place: Place
    value: Expr


class Both(NamedTuple):
    """``a && b``, or where ``either`` is set ``a || b``: 1 or 0; ``b`` is evaluated only where it decides."""

    place: Place
    a: Expr
    b: Expr
    either: bool


class Choice(NamedTuple):
    """One of two values."""

    place: Place
    condition: Expr
    yes: Expr
    no: Expr


class Invoke(NamedTuple):
    """A call of a function, or of the system."""

    place: Place
    callee: Function | SystemCall
    arguments: tuple[Expr, ...]

    @property
    def results(self) -> int:
        """How many values it leaves."""
        return self.callee.results if isinstance(self.callee, Function) else self.callee.pushes


Expr: TypeAlias = Num | Addr | Get | Load | Op2 | Not | Both | Choice | Invoke

# --- statements --------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A place in memory that is written; as ``Load``."""

    size: int
    address: Expr
    symbol: Symbol | None
    offset: int


class Set(NamedTuple):
    """Targets get values: one, or the results of a call. Of several targets none has an address to be computed."""

    place: Place
    targets: tuple[Variable | Cell, ...]
    value: Expr


class Update(NamedTuple):
    """A place in memory is read, combined with a value and written; its address is computed once."""

    place: Place
    target: Cell
    op: Op
    value: Expr


class Drop(NamedTuple):
    """A call whose results nobody wants."""

    place: Place
    call: Invoke


class Block(NamedTuple):
    """Statements; its locals end with it."""

    statements: tuple[Stmt, ...]
    variables: tuple[Variable, ...]


class If(NamedTuple):
    """Conditions and their blocks in order, and the block for none of them."""

    place: Place
    arms: tuple[tuple[Expr, Block], ...]
    otherwise: Block


class Loop(NamedTuple):
    """While the condition holds: the body, then the step; ``continue`` goes on with the step."""

    place: Place
    condition: Expr
    body: Block
    step: Stmt | None


class Break(NamedTuple):
    """Leave the innermost loop."""

    place: Place


class Continue(NamedTuple):
    """Go on with the innermost loop."""

    place: Place


class Return(NamedTuple):
    """Leave the function."""

    place: Place
    values: tuple[Expr, ...]


class Halt(NamedTuple):
    """End the program."""

    place: Place
    result: int


Stmt: TypeAlias = Set | Update | Drop | Block | If | Loop | Break | Continue | Return | Halt


def is_steady(e: Expr) -> bool:
    """Whether a value is the same wherever in its statement it is computed, and computing it cannot trap."""
    if isinstance(e, Num | Addr | Get):
        return True
    if isinstance(e, Op2):
        divides = e.op in (Op.DIVU, Op.DIVS, Op.REMU, Op.REMS)
        safe = not divides or (isinstance(e.b, Num) and e.b.value != 0)
        return safe and is_steady(e.a) and is_steady(e.b)
    return isinstance(e, Not) and is_steady(e.value)


def calls(e: Expr) -> bool:
    """Whether a function is called in it (the system's calls take no frame)."""
    match e:
        case Num() | Addr() | Get():
            return False
        case Load():
            return calls(e.address)
        case Op2() | Both():
            return calls(e.a) or calls(e.b)
        case Not():
            return calls(e.value)
        case Choice():
            return calls(e.condition) or calls(e.yes) or calls(e.no)
        case Invoke():
            return isinstance(e.callee, Function) or any(map(calls, e.arguments))
