"""The syntax tree of a source, as written: what the parser makes and the checker reads.

Owns the shapes. ``place`` is that of the first token, of an operation that of its operator.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from toolchain.types import Place

ElementKind = Literal["word", "byte"]

# --- expressions -------------------------------------------------------------------------------------------


class Number(NamedTuple):
    """A number or a character."""

    place: Place
    value: int


class Text(NamedTuple):
    """A string: the address of its bytes, behind which a zero lies."""

    place: Place
    data: bytes


class Name(NamedTuple):
    """A local, a global, a constant, or an array (its address)."""

    place: Place
    name: str


class Index(NamedTuple):
    """An element of an array, or (``name`` is ``word`` or ``byte``) of memory at an address."""

    place: Place
    name: str
    position: Expression


class Unary(NamedTuple):
    """``-``, ``~`` or ``!``."""

    place: Place
    operator: str
    operand: Expression


class Binary(NamedTuple):
    """An operation on two values, ``&&`` and ``||`` among them."""

    place: Place
    operator: str
    left: Expression
    right: Expression


class Choice(NamedTuple):
    """``condition ? yes : no``."""

    place: Place
    condition: Expression
    yes: Expression
    no: Expression


class Call(NamedTuple):
    """A call of a function, of a system call, or ``len``."""

    place: Place
    name: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Number | Text | Name | Index | Unary | Binary | Choice | Call

# --- statements --------------------------------------------------------------------------------------------


class Declare(NamedTuple):
    """New locals; without a value they are 0."""

    place: Place
    names: tuple[Name, ...]
    value: Expression | None


class Assign(NamedTuple):
    """``targets = value``, or with an operator ``target op= value``."""

    place: Place
    targets: tuple[Name | Index, ...]
    operator: str
    value: Expression


class Evaluate(NamedTuple):
    """A call whose results nobody wants."""

    place: Place
    call: Call


class Block(NamedTuple):
    """Statements between braces; ``end`` is the place of the closing one."""

    place: Place
    statements: tuple[Statement, ...]
    end: Place


class If(NamedTuple):
    """Conditions and their blocks in order, and the block for none of them."""

    place: Place
    arms: tuple[tuple[Expression, Block], ...]
    otherwise: Block | None


class While(NamedTuple):
    """A loop."""

    place: Place
    condition: Expression
    body: Block


class For(NamedTuple):
    """A loop with a beginning and a step; each part may be missing."""

    place: Place
    first: Statement | None
    condition: Expression | None
    step: Statement | None
    body: Block


class Break(NamedTuple):
    """Leave the innermost loop."""

    place: Place


class Continue(NamedTuple):
    """Go on with the innermost loop's step or condition."""

    place: Place


class Return(NamedTuple):
    """Leave the function with its results."""

    place: Place
    values: tuple[Expression, ...]


class Halt(NamedTuple):
    """End the program; without a value with 0."""

    place: Place
    value: Expression | None


Statement: TypeAlias = (
    Declare | Assign | Evaluate | Block | If | While | For | Break | Continue | Return | Halt
)

# --- declarations ------------------------------------------------------------------------------------------


class Use(NamedTuple):
    """Another source belongs to this one: one of the library (``use``) or a file beside it (``include``)."""

    place: Place
    name: str
    library: bool


class Constant(NamedTuple):
    """A name for a number."""

    place: Place
    name: str
    value: Expression


class Global(NamedTuple):
    """A word in memory (``element`` is None), or an array.

    Attributes:
        place: of its name.
        name: its name.
        element: what an array is made of.
        length: elements; None when the initial value says so.
        initial: a text, or a list of numbers, texts and names.
    """

    place: Place
    name: str
    element: ElementKind | None
    length: Expression | None
    initial: tuple[Expression, ...] | None


class Function(NamedTuple):
    """A function; the names of its results tell the reader what they are."""

    place: Place
    name: str
    parameters: tuple[Name, ...]
    results: tuple[Name, ...]
    body: Block


Declaration: TypeAlias = Use | Constant | Global | Function
