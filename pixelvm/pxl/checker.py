"""From syntax trees to the core: what is declared, and what every statement may be.

Owns declarations and statements and the errors about them; ``lower`` does names and expressions. Goes on behind an
error with the next statement.
"""

from __future__ import annotations

from collections.abc import Iterable

from pixelvm.pxl import core, fold, tree
from pixelvm.pxl.core import Block, Function, Num, Stmt, Variable
from pixelvm.pxl.faults import Errors, Fault
from pixelvm.pxl.lower import MAIN, OPERATORS, Lowering, Scalar
from toolchain.types import Place

LOCALS_MAX = 1000  # of a function
VALUES_MAX = 16  # parameters, or results, of a function: they pass over the machine's stack
_RESULT_MAX = 255


def check(declarations: Iterable[tree.Declaration], name: str, errors: Errors) -> Function | None:
    """The program that these declarations are, by its ``main``.

    Args:
        declarations: of all its sources.
        name: of the first source, for an error of the whole.
        errors: where errors go; where there are any the answer is of no use.
    """
    lowering = Lowering(errors)
    functions: list[tuple[tree.Function, Function]] = []
    for declared in declarations:
        try:
            if isinstance(declared, tree.Function):
                parameters = tuple(Variable(p.name, p.place) for p in declared.parameters)
                made = Function(declared.name, declared.place, parameters, len(declared.results))
                lowering.declare(declared.name, declared.place, made)
                if max(len(parameters), made.results) > VALUES_MAX:
                    message = f"`{declared.name}' has too many parameters or results"
                    errors.add(declared.place, message, f"at most {VALUES_MAX} each; an array for more")
                functions.append((declared, made))
            elif not isinstance(declared, tree.Use):
                lowering.declare(declared.name, declared.place, declared)
        except Fault as fault:
            errors.keep(fault.error)
    lowering.settle()
    for written, made in functions:
        _Body(lowering, made).check(written)
    main = lowering.found.get(MAIN)
    if not isinstance(main, Function):
        if not errors.found:
            errors.add(
                Place(name, 1), "there is no function `main'", "`fn main() { … }', where the program begins"
            )
        return None
    if main.parameters or main.results:
        errors.add(main.place, "`main' has parameters or results", "`fn main()'")
    return main


class _Body:
    """The body of one function."""

    def __init__(self, lowering: Lowering, function: Function) -> None:
        self.lowering = lowering
        self.errors = lowering.errors
        self.function = function
        self.loops = 0
        self.locals = 0

    def check(self, written: tree.Function) -> None:
        """Fill in the function's body."""
        self.lowering.scopes = [{}]
        for parameter, variable in zip(written.parameters, self.function.parameters, strict=True):
            try:
                self.lowering.declare(parameter.name, parameter.place, variable)
            except Fault as fault:
                self.errors.keep(fault.error)
        self.function.end = written.body.end
        self.function.locals = list(self.function.parameters)
        self.function.body = self.block(written.body)
        self._end(self.function.parameters, written.body.end)
        self.lowering.scopes = []
        if self.function.results and not _ends(self.function.body):
            self.errors.add(
                written.body.end, f"`{written.name}' can end without its result", "`return' on every path"
            )

    def block(self, written: tree.Block) -> Block:
        """Statements with a scope of their own."""
        self.lowering.scopes.append({})
        found = [made for statement in written.statements if (made := self.statement(statement)) is not None]
        variables = tuple(self.lowering.scopes.pop().values())
        self._end(variables, written.end)
        return Block(tuple(found), variables)

    @staticmethod
    def _end(variables: Iterable[Variable], end: Place) -> None:
        for variable in variables:
            variable.end = end

    def statement(self, written: tree.Statement) -> Stmt | None:
        """One statement; None when it is in error."""
        try:
            return self._statement(written)
        except Fault as fault:
            self.errors.keep(fault.error)
            if isinstance(written, tree.Declare):
                self._declare(written)  # what follows may name them
            return None

    def _statement(self, written: tree.Statement) -> Stmt:
        match written:
            case tree.Declare():
                return self._declared(written)
            case tree.Assign():
                return self._assigned(written)
            case tree.Evaluate():
                return core.Drop(written.place, self.lowering.call(written.call))
            case tree.Block():
                return self.block(written)
            case tree.If():
                return self._if(written)
            case tree.While():
                return core.Loop(
                    written.place, self.condition(written.condition), self._looped(written.body), None
                )
            case tree.For():
                return self._for(written)
            case tree.Return():
                return self._return(written)
            case tree.Halt():
                return self._halt(written)
            case tree.Break() | tree.Continue():
                what = "break" if isinstance(written, tree.Break) else "continue"
                if not self.loops:
                    raise Fault(written.place, f"`{what}' outside of a loop", "`while' or `for' around it")
                return (core.Break if what == "break" else core.Continue)(written.place)

    def condition(self, written: tree.Expression) -> core.Expr:
        """A value that is asked whether it is 0; one in error is 0, so that what it decides is looked at."""
        try:
            return self.lowering.value(written)
        except Fault as fault:
            self.errors.keep(fault.error)
            return Num(0)

    # --- variables -----------------------------------------------------------------------------------------

    def _declare(self, written: tree.Declare) -> list[Variable]:
        made = []
        for name in written.names:
            variable = Variable(name.name, written.place)
            self.function.locals.append(variable)
            self.locals += 1
            if self.locals == LOCALS_MAX + 1:
                self.errors.add(
                    name.place, f"more than {LOCALS_MAX} locals", "a smaller function, or an array"
                )
            try:
                self.lowering.declare(name.name, name.place, variable)
            except Fault as fault:
                self.errors.keep(fault.error)
            made.append(variable)
        return made

    def _declared(self, written: tree.Declare) -> Stmt:
        if written.value is None:
            values = [core.Set(written.place, (variable,), Num(0)) for variable in self._declare(written)]
            return values[0] if len(values) == 1 else Block(tuple(values), ())
        value = self._values(written.value, len(written.names))  # it cannot name what it declares
        return core.Set(written.place, tuple(self._declare(written)), value)

    def _values(self, written: tree.Expression, count: int) -> core.Expr:
        """An expression that gives ``count`` values."""
        if count == 1:
            return self.lowering.value(written)
        if not isinstance(written, tree.Call):
            raise Fault(
                written.place, f"one value for {count} variables", f"a call that gives {count} values"
            )
        call = self.lowering.call(written)
        if call.results != count:
            message = f"`{written.name}' gives {call.results} values for {count} variables"
            raise Fault(written.place, message, f"{call.results} variables")
        return call

    def _assigned(self, written: tree.Assign) -> Stmt:
        targets = [self._target(target, len(written.targets)) for target in written.targets]
        if len(targets) > 1 and len({t.name for t in written.targets}) < len(targets):
            raise Fault(written.place, "a variable is assigned to twice", "each target once")
        if not written.operator:
            return core.Set(written.place, tuple(targets), self._values(written.value, len(targets)))
        (target,), op = targets, OPERATORS[written.operator]
        value = self.lowering.value(written.value)
        if isinstance(target, Variable):
            return core.Set(written.place, (target,), fold.binary(written.place, op, core.Get(target), value))
        return core.Update(written.place, target, op, value)

    def _target(self, written: tree.Name | tree.Index, count: int) -> Variable | core.Cell:
        if isinstance(written, tree.Index):
            if count > 1:
                raise Fault(
                    written.place, "an element among several targets", "a variable, and an assignment of it"
                )
            size, address = self.lowering.address(written)
            return core.Cell(size, *fold.parted(address))
        variable = self.lowering.local(written.name)
        if variable is not None:
            return variable
        entry = self.lowering.entry(written.name, written.place)
        if not isinstance(entry, Scalar):
            raise Fault(
                written.place,
                f"`{written.name}' cannot be assigned to",
                "a variable, or an element of an array",
            )
        return core.Cell(4, *fold.parted(core.Addr(entry.symbol, 0)))

    # --- control -------------------------------------------------------------------------------------------

    def _if(self, written: tree.If) -> core.If:
        arms = tuple((self.condition(condition), self.block(block)) for condition, block in written.arms)
        otherwise = Block((), ()) if written.otherwise is None else self.block(written.otherwise)
        return core.If(written.place, arms, otherwise)

    def _looped(self, written: tree.Block) -> Block:
        self.loops += 1
        body = self.block(written)
        self.loops -= 1
        return body

    def _for(self, written: tree.For) -> Stmt:
        self.lowering.scopes.append({})
        first = None if written.first is None else self.statement(written.first)
        condition = Num(1) if written.condition is None else self.condition(written.condition)
        step = None if written.step is None else self.statement(written.step)
        if isinstance(written.step, tree.Declare | tree.Break | tree.Continue):
            self.errors.add(
                written.step.place, "this cannot be the step of a loop", "an assignment or a call"
            )
        loop = core.Loop(written.place, condition, self._looped(written.body), step)
        variables = tuple(self.lowering.scopes.pop().values())
        self._end(variables, written.body.end)
        for variable in variables:
            variable.begin = written.place  # where the condition stands for its code
        return Block((loop,) if first is None else (first, loop), variables)

    def _return(self, written: tree.Return) -> core.Return:
        values = tuple(self.lowering.value(value) for value in written.values)
        if len(values) != self.function.results:
            message = f"{len(values)} values from `{self.function.name}'"
            raise Fault(written.place, message, f"{self.function.results}, as `->' says")
        return core.Return(written.place, values)

    def _halt(self, written: tree.Halt) -> core.Halt:
        result = 0 if written.value is None else self.lowering.number(written.value)
        if result > _RESULT_MAX:
            assert written.value is not None
            raise Fault(written.value.place, f"{result} is no result of a program", f"0 to {_RESULT_MAX}")
        return core.Halt(written.place, result)


def _ends(statement: Stmt) -> bool:
    """Whether no path goes on behind it."""
    match statement:
        case core.Return() | core.Halt():
            return True
        case Block():
            return any(map(_ends, statement.statements))
        case core.If():
            return all(_ends(block) for _, block in statement.arms) and _ends(statement.otherwise)
        case core.Loop():
            endless = isinstance(statement.condition, Num) and statement.condition.value != 0
            return endless and not _breaks(statement.body)
    return False


def _breaks(statement: Stmt) -> bool:
    """Whether it leaves the loop around it."""
    match statement:
        case core.Break():
            return True
        case Block():
            return any(map(_breaks, statement.statements))
        case core.If():
            return any(_breaks(block) for _, block in statement.arms) or _breaks(statement.otherwise)
    return False
