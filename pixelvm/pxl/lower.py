"""Names and expressions: what a source calls something, as the core knows it.

Owns scopes, constants, the layout of arrays and the lowering of expressions. ``checker`` does statements upon it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from pixelvm import isa
from pixelvm.isa import Op
from pixelvm.pxl import core, fold, tree
from pixelvm.pxl.core import Addr, Expr, Function, Get, Num, Symbol, Variable
from pixelvm.pxl.faults import Errors, Fault
from toolchain.source import nearest
from toolchain.types import Place

SYSTEM = {row.name: row for row in isa.SYSTEM_CALLS.values()}
LENGTH = "len"
MAIN = "main"
SIZES = {"byte": 1, "word": 4}
OPERATORS: dict[str, Op] = {
    "+": Op.ADD, "-": Op.SUB, "*": Op.MUL, "/s": Op.DIVS, "/u": Op.DIVU, "%s": Op.REMS, "%u": Op.REMU,
    "&": Op.AND, "|": Op.OR, "^": Op.XOR, "<<": Op.SHL, ">>u": Op.SHR, ">>s": Op.SAR, "==": Op.EQ, "!=": Op.NE,
}  # fmt: skip
_ORDERS = {"<": fold.less, ">": fold.greater, "<=": fold.at_most, ">=": fold.at_least}
_BYTE_LOW, _BYTE_HIGH = -128, 255


class Scalar(NamedTuple):
    """A global word."""

    symbol: Symbol


class Array(NamedTuple):
    """An array."""

    symbol: Symbol
    size: int
    length: int


Entry: TypeAlias = Function | Scalar | Array | Num | tree.Constant | tree.Global


class Lowering:
    """The names of a program, and of the function that is being checked.

    Attributes:
        found: what each global name is; a declaration until it is first needed.
        scopes: locals, the innermost scope last.
        errors: where errors go.
    """

    def __init__(self, errors: Errors) -> None:
        self.found: dict[str, Entry] = {}
        self.scopes: list[dict[str, Variable]] = []
        self.errors = errors
        self._places: dict[str | Variable, Place] = {}
        self._open: set[str] = set()  # declarations that are being settled
        self._texts: dict[bytes, Symbol] = {}

    # --- names ---------------------------------------------------------------------------------------------

    def declare(self, name: str, place: Place, entry: Entry | Variable) -> None:
        """A new name: a local where ``entry`` is a variable.

        Raises:
            Fault: it is taken. A local hides what is global, and never another local.
        """
        if not isinstance(entry, Variable) and (name in SYSTEM or name == LENGTH):
            raise Fault(place, f"`{name}' belongs to the language", "another name")
        taken = self.local(name) if isinstance(entry, Variable) else self.found.get(name)
        if taken is not None:
            first = self._places[taken if isinstance(taken, Variable) else name]
            where = f"line {first.line}" if first.file == place.file else f"{first.file}:{first.line}"
            raise Fault(place, f"`{name}' is given twice", f"another name; the first is on {where}")
        self._places[entry if isinstance(entry, Variable) else name] = place
        if isinstance(entry, Variable):
            self.scopes[-1][name] = entry
        else:
            self.found[name] = entry

    def local(self, name: str) -> Variable | None:
        """The local of this name."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def entry(self, name: str, place: Place) -> Entry:
        """What a global name stands for, settled.

        Raises:
            Fault: nothing, or it needs itself.
        """
        entry = self.found.get(name)
        if name in SYSTEM or name == LENGTH:
            raise Fault(place, f"`{name}' is to be called", f"`{name}(…)'")
        if entry is None:
            known = [*self.found, *(n for scope in self.scopes for n in scope), *SYSTEM, LENGTH]
            raise Fault(
                place,
                f"no variable, constant or function `{name}'",
                nearest(name, known, "one that is declared"),
            )
        if isinstance(entry, tree.Constant | tree.Global):
            if name in self._open:
                raise Fault(place, f"`{name}' is made of itself", "a value that is known without it")
            self._open.add(name)
            scopes, self.scopes = self.scopes, []
            try:
                entry = self._settled(entry)
            except Fault as fault:
                self.errors.keep(fault.error)
                entry = Num(0) if isinstance(entry, tree.Constant) else Scalar(Symbol(name, 4, 4))
            finally:
                self.scopes = scopes
            self.found[name] = entry
        return entry

    def settle(self) -> None:
        """Look at every constant and global, used or not."""
        for name, entry in list(self.found.items()):
            if isinstance(entry, tree.Constant | tree.Global):
                self.entry(name, entry.place)

    def _settled(self, declared: tree.Constant | tree.Global) -> Entry:
        if isinstance(declared, tree.Constant):
            return Num(self.number(declared.value))
        if declared.element is None:
            symbol = Symbol(declared.name, 4, 4)
            self._words(symbol, declared.initial or ())
            return Scalar(symbol)
        size = SIZES[declared.element]
        symbol = Symbol(declared.name, 0, size)
        if size == 1:
            symbol.data = self._bytes(declared.initial or ())
        else:
            self._words(symbol, declared.initial or ())
        given = len(symbol.data) // size
        length = given if declared.length is None else self.number(declared.length)
        if declared.length is None and declared.initial is None:
            raise Fault(
                declared.place, f"the array `{declared.name}' has no length", "`[length]' or `= [elements]'"
            )
        if not 1 <= length <= isa.MEMORY_MAX // size:
            raise Fault(declared.place, f"an array of {length} elements", f"1 to {isa.MEMORY_MAX // size}")
        if given > length:
            raise Fault(declared.place, f"{given} elements for an array of {length}", f"at most {length}")
        symbol.size, symbol.length = length * size, length
        return Array(symbol, size, length)

    def _words(self, symbol: Symbol, items: Iterable[tree.Expression]) -> None:
        data = bytearray()
        for item in items:
            value = self.value(item)
            if isinstance(value, Addr):
                symbol.links.append((len(data), value.symbol))
                data += (value.offset & isa.MASK).to_bytes(4, "little")
            else:
                data += self.known(item.place, value).to_bytes(4, "little")
        symbol.data = bytes(data)

    def _bytes(self, items: Iterable[tree.Expression]) -> bytes:
        data = bytearray()
        for item in items:
            if isinstance(item, tree.Text):
                data += item.data
                continue
            value = self.number(item)
            number = value - (1 << 32) if value >> 31 else value
            if not _BYTE_LOW <= number <= _BYTE_HIGH:
                raise Fault(item.place, f"{number} is no byte", f"{_BYTE_LOW} to {_BYTE_HIGH}")
            data.append(number & 0xFF)
        return bytes(data)

    def text(self, data: bytes) -> Symbol:
        """The symbol of a text; equal texts are one."""
        if data not in self._texts:
            self._texts[data] = Symbol("", len(data) + 1, 1, data + b"\0")
        return self._texts[data]

    # --- expressions ---------------------------------------------------------------------------------------

    def number(self, e: tree.Expression) -> int:
        """The value of an expression that must be known now."""
        return self.known(e.place, self.value(e))

    def known(self, place: Place, value: Expr) -> int:
        """The number that a core expression is.

        Raises:
            Fault: it is none.
        """
        if isinstance(value, Num):
            return value.value
        if (
            isinstance(value, core.Op2)
            and value.b == Num(0)
            and value.op in (Op.DIVU, Op.DIVS, Op.REMU, Op.REMS)
        ):
            raise Fault(place, "division by zero", "another divisor")
        raise Fault(place, "this is not known before the program runs", "numbers, constants, len(…)")

    def value(self, e: tree.Expression) -> Expr:
        """An expression of one value."""
        match e:
            case tree.Number():
                return Num(e.value)
            case tree.Text():
                return Addr(self.text(e.data), 0)
            case tree.Name():
                return self._named(e)
            case tree.Index():
                size, address = self.address(e)
                return fold.load(e.place, size, address)
            case tree.Unary():
                return self._unary(e)
            case tree.Binary():
                return self._binary(e)
            case tree.Choice():
                return fold.choice(e.place, self.value(e.condition), self.value(e.yes), self.value(e.no))
            case tree.Call():
                return self._one(e)

    def _named(self, e: tree.Name) -> Expr:
        variable = self.local(e.name)
        if variable is not None:
            return Get(variable)
        entry = self.entry(e.name, e.place)
        match entry:
            case Num():
                return entry
            case Scalar():
                return fold.load(e.place, 4, Addr(entry.symbol, 0))
            case Array():
                return Addr(entry.symbol, 0)
        raise Fault(e.place, f"`{e.name}' is a function", f"`{e.name}(…)'")

    def address(self, e: tree.Index) -> tuple[int, Expr]:
        """Size and address of an element."""
        if e.name in SIZES:
            return SIZES[e.name], self.value(e.position)
        entry = None if self.local(e.name) else self.entry(e.name, e.place)
        if not isinstance(entry, Array):
            raise Fault(e.place, f"`{e.name}' is no array", "an array, or `word[address]' or `byte[address]'")
        return entry.size, fold.element(e.place, entry.size, entry.symbol, self.value(e.position))

    def _unary(self, e: tree.Unary) -> Expr:
        operand = self.value(e.operand)
        if e.operator == "!":
            return fold.invert(e.place, operand)
        if e.operator == "~":
            return fold.binary(e.place, Op.XOR, operand, Num(isa.MASK))
        return fold.binary(e.place, Op.SUB, Num(0), operand)

    def _binary(self, e: tree.Binary) -> Expr:
        a, b = self.value(e.left), self.value(e.right)
        if e.operator in ("&&", "||"):
            return fold.both(e.place, a, b, e.operator == "||")
        if e.operator in OPERATORS:
            return fold.binary(e.place, OPERATORS[e.operator], a, b)
        op = Op.LTS if e.operator.endswith("s") else Op.LTU
        return _ORDERS[e.operator[:-1]](e.place, op, a, b)

    def _one(self, e: tree.Call) -> Expr:
        if e.name == LENGTH and not self.local(LENGTH):
            return self._length(e)
        call = self.call(e)
        if call.results != 1:
            raise Fault(e.place, f"`{e.name}' gives {call.results} values", "a call that gives one here")
        return call

    def _length(self, e: tree.Call) -> Expr:
        argument = e.arguments[0] if len(e.arguments) == 1 else None
        if isinstance(argument, tree.Text):
            return Num(len(argument.data))
        if isinstance(argument, tree.Name) and not self.local(argument.name):
            entry = self.entry(argument.name, argument.place)
            if isinstance(entry, Array):
                return Num(entry.length)
        raise Fault(e.place, "len is of one array or text", "the name of an array, or a text")

    def call(self, e: tree.Call) -> core.Invoke:
        """A call, whatever it leaves."""
        if self.local(e.name):
            raise Fault(e.place, f"`{e.name}' is a variable here", "another name for one of them")
        callee: Entry | isa.SystemCall = SYSTEM[e.name] if e.name in SYSTEM else self.entry(e.name, e.place)
        if not isinstance(callee, Function | isa.SystemCall):
            raise Fault(e.place, f"`{e.name}' is no function", "a function or a system call")
        if e.name == MAIN:
            raise Fault(e.place, "`main' is where the program begins; it is not called", "another function")
        takes = len(callee.parameters) if isinstance(callee, Function) else callee.pops
        arguments = tuple(self.value(argument) for argument in e.arguments)
        if len(arguments) != takes:
            raise Fault(e.place, f"{len(arguments)} arguments for `{e.name}'", f"{takes}")
        return core.Invoke(e.place, callee, arguments)
