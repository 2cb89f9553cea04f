"""From the core of one function to code: the order of evaluation, jumps, and how much the stack holds.

Owns the promise that no program overflows the stack: at a call at most ``HELD_MAX`` values wait below its arguments, so
that all frames together hold ``HELD_MAX * isa.FRAMES`` of them, and within a frame ``DEPTH_MAX`` and the arguments of
one call are on top of that. What exceeds it waits in locals. Does not know where a local lies.
"""

from __future__ import annotations

from collections.abc import Sequence

from pixelvm.isa import Op
from pixelvm.pxl import core
from pixelvm.pxl.code import Argument, Ins, Label, Ref, Routine, Span
from pixelvm.pxl.core import Addr, Block, Expr, Function, Get, Load, Not, Num, Op2, Stmt, Variable
from pixelvm.pxl.fold import COMMUTATIVE, is_flag

HELD_MAX = 3
DEPTH_MAX = 24
_LOOP_WEIGHT = 8  # a use in a loop counts as so many outside of it
_LOOPS_COUNTED = 4


def generate(function: Function, is_main: bool) -> Routine:
    """The code of a function; the return of the main one ends the program."""
    made = _Generator(function, is_main)
    made.all()
    return Routine(function, made.code, made.spans)


class _Generator:
    """One function.

    Attributes:
        code: so far.
        spans: of each local.
        depth: values on the stack here, from the function's own.
        place: of what is being generated.
    """

    def __init__(self, function: Function, is_main: bool) -> None:
        self.function, self.is_main = function, is_main
        self.code: list[Ins] = []
        self.spans: dict[Variable, Span] = {}
        self.depth = 0
        self.place = function.place
        self._start = Label()
        self._loops: list[tuple[Label, Label]] = []  # where `continue' and `break' go

    def all(self) -> None:
        """The whole function."""
        self.mark(self._start)
        self.depth = len(self.function.parameters)
        for parameter in reversed(self.function.parameters):
            self.set(parameter)
        self.statement(self.function.body)
        self.leave()
        for parameter in self.function.parameters:
            self.spans[parameter].first, self.spans[parameter].last = 0, len(self.code)

    # --- instructions --------------------------------------------------------------------------------------

    def emit(self, op: Op, argument: Argument = 0, change: int = 0) -> None:
        """One instruction, and how it changes the depth."""
        self.code.append(Ins(op, argument, self.place))
        self.depth += change

    def mark(self, label: Label) -> None:
        """The next instruction is where ``label`` is."""
        self.code.append(Ins(label, 0, self.place))

    def span(self, variable: Variable) -> Span:
        """The life of a local, one use longer."""
        span = self.spans.setdefault(variable, Span(len(self.code)))
        span.last = max(span.last, len(self.code) + 1)
        span.uses += _LOOP_WEIGHT ** min(len(self._loops), _LOOPS_COUNTED)
        return span

    def set(self, variable: Variable) -> None:
        """Take the top of the stack into a local."""
        self.span(variable)
        self.emit(Op.SET, variable, -1)

    def get(self, variable: Variable) -> None:
        """A local onto the stack."""
        self.span(variable)
        self.emit(Op.GET, variable, 1)

    def leave(self) -> None:
        """The end of the function."""
        self.emit(Op.HALT) if self.is_main else self.emit(Op.RET)

    # --- expressions ---------------------------------------------------------------------------------------

    def value(self, e: Expr) -> None:
        """Evaluate; a call leaves as many values as it has results."""
        match e:
            case Num():
                self.emit(Op.PUSH, e.value, 1)
            case Addr():
                self.emit(Op.PUSH, Ref(e.symbol, e.offset), 1)
            case Get():
                self.get(e.variable)
            case Load():
                self.value(e.address)
                self.emit(Op.LOAD8 if e.size == 1 else Op.LOAD32, Ref(e.symbol, e.offset))
            case Op2():
                self.binary(e)
            case Not():
                self.value(e.value)
                self.emit(Op.PUSH, 0, 1)
                self.emit(Op.EQ, 0, -1)
            case core.Both():
                self.decided(e)
            case core.Choice():
                self.choice(e)
            case core.Invoke():
                self.invoke(e)

    def binary(self, e: Op2) -> None:
        """An instruction with two arguments, the first written evaluated first."""
        if e.backwards and not (core.is_steady(e.a) or core.is_steady(e.b)):
            self.operands((e.b, e.a))
            if e.op not in COMMUTATIVE:
                self.emit(Op.SWAP)
        else:
            self.operands((e.a, e.b))
        self.place = e.place
        self.emit(e.op, 0, -1)

    def operands(self, values: Sequence[Expr]) -> None:
        """Several values, the first lowest; where too many would wait on the stack they wait in locals."""
        last = max((at for at, e in enumerate(values) if core.calls(e)), default=-1)
        simple = all(isinstance(e, Num | Addr | Get) for e in values[1:])
        deep = self.depth + len(values) > DEPTH_MAX and not simple
        crowded = last > 0 and self.depth + last > HELD_MAX
        waiting: list[Variable | Expr] = []
        for at, e in enumerate(values):
            if not (deep or (crowded and at <= last)) or isinstance(e, Num | Addr | Get):
                waiting.append(e)
                continue
            self.value(e)
            temporary = Variable("")
            self.set(temporary)
            waiting.append(temporary)
        for one in waiting:
            self.get(one) if isinstance(one, Variable) else self.value(one)

    def choice(self, e: core.Choice) -> None:
        """One of two values."""
        no, end = Label(), Label()
        self.condition(e.condition, no, False)
        self.value(e.yes)
        self.emit(Op.JUMP, end, -1)
        self.mark(no)
        self.value(e.no)
        self.mark(end)

    def decided(self, e: core.Both) -> None:
        """``&&`` and ``||`` as a value: where both are 0 or 1 the second is the answer when it is asked for."""
        short, end = Label(), Label()
        self.condition(e.a, short, e.either)
        self.value(e.b)
        if not is_flag(e.b):
            self.emit(Op.PUSH, 0, 1)
            self.emit(Op.NE, 0, -1)
        self.emit(Op.JUMP, end, -1)
        self.mark(short)
        self.emit(Op.PUSH, int(e.either), 1)
        self.mark(end)

    def condition(self, e: Expr, target: Label, wanted: bool) -> None:
        """Go to ``target`` where ``e`` is not 0 (``wanted``) or 0 (not ``wanted``), else on."""
        if isinstance(e, Num):
            if bool(e.value) == wanted:
                self.emit(Op.JUMP, target)
        elif isinstance(e, Not):
            self.condition(e.value, target, not wanted)
        elif isinstance(e, core.Both):
            if e.either == wanted:
                self.condition(e.a, target, wanted)
                self.condition(e.b, target, wanted)
            else:
                after = Label()
                self.condition(e.a, after, not wanted)
                self.condition(e.b, target, wanted)
                self.mark(after)
        elif isinstance(e, Op2) and e.op is Op.NE and e.b == Num(0):
            self.condition(e.a, target, wanted)
        else:
            self.value(e)
            self.emit(Op.JNZ if wanted else Op.JZ, target, -1)

    def invoke(self, e: core.Invoke) -> None:
        """A call."""
        self.operands(e.arguments)
        self.place = e.place
        change = e.results - len(e.arguments)
        if isinstance(e.callee, Function):
            self.emit(Op.CALL, e.callee, change)
        else:
            self.emit(Op.SYS, int(e.callee.number), change)

    # --- statements ----------------------------------------------------------------------------------------

    def statement(self, s: Stmt) -> None:
        """One statement: begins and ends with nothing on the stack."""
        if not isinstance(s, Block):
            self.place = s.place
        match s:
            case Block():
                for inner in s.statements:
                    self.statement(inner)
                for variable in s.variables:
                    if variable in self.spans:
                        self.spans[variable].last = len(self.code)
            case core.Set():
                self.value_into(s)
            case core.Update():
                self.update(s)
            case core.Drop():
                self.value(s.call)
                for _ in range(s.call.results):
                    self.emit(Op.DROP, 0, -1)
            case core.If():
                self.branches(s)
            case core.Loop():
                self.loop(s)
            case core.Break():
                self.emit(Op.JUMP, self._loops[-1][1])
            case core.Continue():
                self.emit(Op.JUMP, self._loops[-1][0])
            case core.Return():
                self.answer(s)
            case core.Halt():
                self.emit(Op.HALT, s.result)

    def value_into(self, s: core.Set) -> None:
        """An assignment."""
        first = s.targets[0]
        if len(s.targets) == 1 and isinstance(first, core.Cell):
            self.operands((first.address, s.value))
            self.place = s.place
            self.store(first)
            return
        self.value(s.value)
        self.place = s.place
        for target in reversed(s.targets):
            if isinstance(target, Variable):
                self.set(target)
            else:
                self.value(target.address)
                self.emit(Op.SWAP)
                self.store(target)

    def store(self, cell: core.Cell) -> None:
        """The top of the stack into memory, its address below it."""
        self.emit(Op.STORE8 if cell.size == 1 else Op.STORE32, Ref(cell.symbol, cell.offset), -2)

    def update(self, s: core.Update) -> None:
        """Read, combine and write one place in memory."""
        cell = s.target
        self.value(cell.address)
        self.value(cell.address) if isinstance(cell.address, Num | Get) else self.emit(Op.DUP, 0, 1)
        self.emit(Op.LOAD8 if cell.size == 1 else Op.LOAD32, Ref(cell.symbol, cell.offset))
        self.value(s.value)
        self.place = s.place
        self.emit(s.op, 0, -1)
        self.store(cell)

    def branches(self, s: core.If) -> None:
        """The first block whose condition holds."""
        end = Label()
        for condition, block in s.arms:
            after = Label()
            self.place = s.place
            self.condition(condition, after, False)
            self.statement(block)
            self.emit(Op.JUMP, end)
            self.mark(after)
        self.statement(s.otherwise)
        self.mark(end)

    def loop(self, s: core.Loop) -> None:
        """The condition stands behind the body: one jump each time round."""
        body, again, test, end = Label(), Label(), Label(), Label()
        if not isinstance(s.condition, Num):
            self.emit(Op.JUMP, test)
        elif not s.condition.value:
            return
        self._loops.append((again, end))
        self.mark(body)
        self.statement(s.body)
        self.mark(again)
        if s.step is not None:
            self.statement(s.step)
        self.mark(test)
        self.place = s.place
        self.condition(s.condition, body, True)
        self._loops.pop()
        self.mark(end)

    def answer(self, s: core.Return) -> None:
        """A return; what calls the function itself for its only result begins it again instead."""
        call = s.values[0] if len(s.values) == 1 else None
        if isinstance(call, core.Invoke) and call.callee is self.function:
            self.operands(call.arguments)
            self.emit(Op.JUMP, self._start, -len(call.arguments))
            return
        self.operands(s.values)
        self.place = s.place
        self.leave()
        self.depth -= len(s.values)
