"""The .pxl language in plain Python, read from PXL.md and from the syntax tree: what a program must do.

Shares the parser with the compiler and nothing behind it: no checker, no folding, no code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from pixelvm.isa import next_random
from pixelvm.pxl import tree
from pixelvm.pxl.faults import Errors
from pixelvm.pxl.parser import parse

M = 0xFFFFFFFF
RECURSION = 10_000  # Python's calls for 63 of the program's


class Trap(Exception):
    """The machine's trap of this name."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Return(Exception):
    def __init__(self, values: list[int]) -> None:
        self.values = values


class _Halt(Exception):
    def __init__(self, result: int) -> None:
        self.result = result


def signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _divide(a: int, b: int, sign: str, remainder: bool) -> int:
    if b == 0:
        raise Trap("division")
    if sign == "s":
        a, b = signed(a), signed(b)
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a - quotient * b if remainder else quotient


_BINARY: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << (b % 32),
    ">>u": lambda a, b: a >> (b % 32),
    ">>s": lambda a, b: signed(a) >> (b % 32),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "<u": lambda a, b: int(a < b),
    "<s": lambda a, b: int(signed(a) < signed(b)),
    "<=u": lambda a, b: int(a <= b),
    "<=s": lambda a, b: int(signed(a) <= signed(b)),
    ">u": lambda a, b: int(a > b),
    ">s": lambda a, b: int(signed(a) > signed(b)),
    ">=u": lambda a, b: int(a >= b),
    ">=s": lambda a, b: int(signed(a) >= signed(b)),
    "/u": lambda a, b: _divide(a, b, "u", False),
    "/s": lambda a, b: _divide(a, b, "s", False),
    "%u": lambda a, b: _divide(a, b, "u", True),
    "%s": lambda a, b: _divide(a, b, "s", True),
}


class Model:
    """One run.

    Attributes:
        output: what it wrote to the console.
        memory: from address 0.
        stop: ``halted`` or a trap's name.
        result: of the halt.
    """

    def __init__(self, text: str, addresses: dict[str, int], seed: int) -> None:
        errors = Errors()
        declared = parse(text, "model", errors)
        assert not errors.found
        self.functions = {d.name: d for d in declared if isinstance(d, tree.Function)}
        self.constants = {d.name: d for d in declared if isinstance(d, tree.Constant)}
        self.globals = {d.name: d for d in declared if isinstance(d, tree.Global)}
        self.addresses = addresses
        self.memory = bytearray(1 << 16)
        self.output = bytearray()
        self.seed = seed
        self.stop, self.result = "", 0
        for name, address in addresses.items():
            self._fill(self.globals[name], address)

    def _fill(self, declared: tree.Global, address: int) -> None:
        size = 1 if declared.element == "byte" else 4
        for item in declared.initial or ():
            if isinstance(item, tree.Text):
                self.memory[address : address + len(item.data)] = item.data
                address += len(item.data)
            else:
                self.store(size, address, self.value(item, {}))
                address += size

    def run(self) -> None:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(RECURSION)
        try:
            self._run()
        finally:
            sys.setrecursionlimit(before)

    def _run(self) -> None:
        try:
            self.call("main", [])
            self.stop = "halted"
        except _Halt as halt:
            self.stop, self.result = "halted", halt.result
        except Trap as trap:
            self.stop = str(trap)

    # --- memory ---

    def load(self, size: int, address: int) -> int:
        self._check(size, address & M)
        return int.from_bytes(self.memory[address & M : (address & M) + size], "little")

    def store(self, size: int, address: int, value: int) -> None:
        self._check(size, address & M)
        self.memory[address & M : (address & M) + size] = (value & M & ((1 << 8 * size) - 1)).to_bytes(
            size, "little"
        )

    def _check(self, size: int, address: int) -> None:
        if address % size:
            raise Trap("alignment")
        if address + size > len(self.memory):
            raise Trap("bounds")

    def place(self, e: tree.Index, frame: dict[str, int]) -> tuple[int, int]:
        position = self.value(e.position, frame)
        if e.name in ("word", "byte"):
            return (4 if e.name == "word" else 1), position
        size = 1 if self.globals[e.name].element == "byte" else 4
        return size, self.addresses[e.name] + size * position

    # --- expressions ---

    def value(self, e: tree.Expression, frame: dict[str, int]) -> int:
        return self._value(e, frame) & M

    def _value(self, e: tree.Expression, frame: dict[str, int]) -> int:
        match e:
            case tree.Number():
                return e.value
            case tree.Name():
                return self._name(e.name, frame)
            case tree.Index():
                return self.load(*self.place(e, frame))
            case tree.Unary():
                value = self.value(e.operand, frame)
                return {"-": -value, "~": ~value, "!": int(not value)}[e.operator]
            case tree.Binary():
                a = self.value(e.left, frame)
                if e.operator == "&&":
                    return int(bool(a and self.value(e.right, frame)))
                if e.operator == "||":
                    return int(bool(a or self.value(e.right, frame)))
                return _BINARY[e.operator](a, self.value(e.right, frame))
            case tree.Choice():
                return self.value(e.yes if self.value(e.condition, frame) else e.no, frame)
            case tree.Call():
                (value,) = self.results(e, frame)
                return value
        raise AssertionError(e)

    def _name(self, name: str, frame: dict[str, int]) -> int:
        if name in frame:
            return frame[name]
        if name in self.constants:
            return self.value(self.constants[name].value, {})
        address = self.addresses[name]
        return address if self.globals[name].element else self.load(4, address)

    def results(self, e: tree.Call, frame: dict[str, int]) -> list[int]:
        arguments = [self.value(argument, frame) for argument in e.arguments]
        if e.name == "putc":
            self.output.append(arguments[0] & 0xFF)
            return []
        if e.name == "random":
            self.seed = next_random(self.seed)
            return [self.seed]
        if e.name == "size":
            return [7, 5]
        if e.name == "pixel":
            return [0]
        return self.call(e.name, arguments)

    def call(self, name: str, arguments: list[int]) -> list[int]:
        function = self.functions[name]
        frame = {p.name: a for p, a in zip(function.parameters, arguments, strict=True)}
        try:
            self.block(function.body, frame)
        except _Return as done:
            return done.values
        return []

    # --- statements ---

    def block(self, block: tree.Block, frame: dict[str, int]) -> None:
        inner = dict(frame)
        try:
            for statement in block.statements:
                self.statement(statement, inner)
        finally:
            for name in frame:
                frame[name] = inner[name]

    def statement(self, s: tree.Statement, frame: dict[str, int]) -> None:
        match s:
            case tree.Declare():
                values = [0] * len(s.names)
                if s.value is not None:
                    values = self.many(s.value, len(s.names), frame)
                for declared, value in zip(s.names, values, strict=True):
                    frame[declared.name] = value
            case tree.Assign():
                self.assign(s, frame)
            case tree.Evaluate():
                self.results(s.call, frame)
            case tree.Block():
                self.block(s, frame)
            case tree.If():
                for condition, block in s.arms:
                    if self.value(condition, frame):
                        self.block(block, frame)
                        return
                if s.otherwise is not None:
                    self.block(s.otherwise, frame)
            case tree.While():
                self.loop(s.condition, s.body, None, frame)
            case tree.For():
                inner = dict(frame)
                try:
                    if s.first is not None:
                        self.statement(s.first, inner)
                    self.loop(s.condition, s.body, s.step, inner)
                finally:
                    for name in frame:
                        frame[name] = inner[name]
            case tree.Break():
                raise _Break
            case tree.Continue():
                raise _Continue
            case tree.Return():
                raise _Return([self.value(value, frame) for value in s.values])
            case tree.Halt():
                raise _Halt(0 if s.value is None else self.value(s.value, frame))

    def loop(
        self,
        test: tree.Expression | None,
        body: tree.Block,
        step: tree.Statement | None,
        frame: dict[str, int],
    ) -> None:
        while test is None or self.value(test, frame):
            try:
                self.block(body, frame)
            except _Break:
                return
            except _Continue:
                pass
            if step is not None:
                self.statement(step, frame)

    def many(self, e: tree.Expression, count: int, frame: dict[str, int]) -> list[int]:
        if count > 1:
            assert isinstance(e, tree.Call)
            return self.results(e, frame)
        return [self.value(e, frame)]

    def assign(self, s: tree.Assign, frame: dict[str, int]) -> None:
        first = s.targets[0]
        if isinstance(first, tree.Index):
            size, address = self.place(first, frame)
            if s.operator:
                old = self.load(size, address)
                self.store(size, address, _BINARY[s.operator](old, self.value(s.value, frame)))
            else:
                self.store(size, address, self.value(s.value, frame))
            return
        if s.operator:
            old = self._name(first.name, frame)
            self.put(first.name, _BINARY[s.operator](old, self.value(s.value, frame)), frame)
            return
        for target, value in zip(s.targets, self.many(s.value, len(s.targets), frame), strict=True):
            assert isinstance(target, tree.Name)
            self.put(target.name, value, frame)

    def put(self, name: str, value: int, frame: dict[str, int]) -> None:
        if name in frame:
            frame[name] = value & M
        else:
            self.store(4, self.addresses[name], value)
