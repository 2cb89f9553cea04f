"""From checked functions to a program: what is reached, where everything lies, and the words.

Owns the order of functions and of memory. Only functions that can be called and what their code names get in. Address
0 belongs to no variable; the first word of memory is the compiler's.
"""

from __future__ import annotations

from collections.abc import Iterable

from pixelvm import isa, names, program
from pixelvm.assembler import Assembly
from pixelvm.isa import Op
from pixelvm.names import Global, Names
from pixelvm.program import Program
from pixelvm.pxl import optimiser
from pixelvm.pxl.code import Ins, Label, Ref, Routine
from pixelvm.pxl.core import Function, Symbol
from pixelvm.pxl.faults import STAGE
from pixelvm.pxl.generator import generate
from pixelvm.pxl.slots import BASE, Memory, Spots, place_locals
from toolchain.errors import InputError
from toolchain.types import Place

_FIRST = 4  # the address of the first symbol
_SHORT = 1 << 23  # a `push` alone gives less than this, and as much below 0


def link(main: Function, name: str) -> Assembly:
    """The program that begins with ``main``.

    Args:
        main: checked, as all that it calls.
        name: of the source, for errors.

    Raises:
        InputError: it is larger than a machine.
    """
    routines = _routines(main)
    memory = Memory()
    code: dict[Function, list[Ins]] = {}
    spots: dict[Function, Spots] = {}
    short: dict[Function, list[Ins]] = {}
    for function, recursive in _callees_first(main, routines):
        made, spots[function] = place_locals(routines[function], recursive, memory)
        code[function] = optimiser.improved(optimiser.inlined(made, short))
        body = None if recursive or function is main else optimiser.short_body(code[function])
        if body is not None:
            short[function] = body
    live = _live(main, code)
    return _placed({function: (code[function], spots[function]) for function in live}, name)


def _routines(main: Function) -> dict[Function, Routine]:
    """Code for every function that ``main`` leads to, in the order of their first calls."""
    found: dict[Function, Routine] = {}
    todo = [main]
    while todo:
        function = todo.pop()
        if function not in found:
            found[function] = generate(function, function is main)
            optimiser.forward(found[function])
            todo += reversed(_called(found[function].code))
    return found


def _called(code: Iterable[Ins]) -> list[Function]:
    return list(dict.fromkeys(ins.argument for ins in code if isinstance(ins.argument, Function)))


def _callees_first(main: Function, routines: dict[Function, Routine]) -> list[tuple[Function, bool]]:
    """Every function behind those that it calls, where no circle prevents it, and whether it can call itself.

    R. Tarjan, "Depth-first search and linear graph algorithms", SIAM Journal on Computing 1 (2), 1972.
    """
    calls = {function: _called(routine.code) for function, routine in routines.items()}
    number = {main: 0}
    lowest = {main: 0}
    open_: list[Function] = [main]  # whose circle is not complete
    waiting = {main}
    order: list[tuple[Function, bool]] = []
    path = [(main, iter(calls[main]))]
    while path:
        function, callees = path[-1]
        callee = next(callees, None)
        if callee is not None and callee not in number:
            number[callee] = lowest[callee] = len(number)
            open_.append(callee)
            waiting.add(callee)
            path.append((callee, iter(calls[callee])))
        elif callee is not None:
            if callee in waiting:
                lowest[function] = min(lowest[function], number[callee])
        else:
            path.pop()
            if path:
                lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[function])
            if lowest[function] == number[function]:
                circle = [open_.pop()]
                while circle[-1] is not function:
                    circle.append(open_.pop())
                waiting.difference_update(circle)
                recursive = len(circle) > 1 or function in calls[function]
                order += [(member, recursive) for member in circle]
    return order


def _live(main: Function, code: dict[Function, list[Ins]]) -> list[Function]:
    """What is still called when short functions are inlined; ``main`` first."""
    found: dict[Function, None] = {}
    todo = [main]
    while todo:
        function = todo.pop()
        if function not in found:
            found[function] = None
            todo += reversed(_called(code[function]))
    return list(found)


def _placed(bodies: dict[Function, tuple[list[Ins], Spots]], name: str) -> Assembly:
    code = {function: body for function, (body, _) in bodies.items()}
    symbols, end = _laid_out(code.values())
    memory = -(-end // isa.MEMORY_STEP) * isa.MEMORY_STEP
    if memory > isa.MEMORY_MAX:
        raise InputError(
            f"{name}: its variables need {end} bytes; a machine has {isa.MEMORY_MAX}", stage=STAGE
        )
    starts: dict[Function | Label, int] = {}
    at = 0
    for function, body in code.items():
        starts[function] = at
        for ins in body:
            if isinstance(ins.op, Label):
                starts[ins.op] = at
            else:
                at += 1 + (ins.op is Op.PUSH and not _is_short(_number(ins)))
    words: list[int] = []
    places: list[Place] = []
    for body in code.values():
        for ins in body:
            if isinstance(ins.op, Label):
                continue
            made = _words(ins, starts)
            words += made
            places += [ins.place] * len(made)
    made_program = Program(tuple(words), _data(symbols), memory, 0)
    functions = {function.name: starts[function] for function in code}
    named = {symbol.name: symbol.address for symbol in symbols if symbol.name}
    ends = [*list(functions.values())[1:], len(words)]
    routines = tuple(
        _named(function, starts[function], end, spots)
        for (function, (_, spots)), end in zip(bodies.items(), ends, strict=True)
    )
    variables = tuple(
        Global(s.name, s.address, s.align, s.length)
        for s in sorted(symbols, key=lambda s: s.address)
        if s.name
    )
    known = Names(routines, variables)
    return Assembly(program.checked(made_program, name), tuple(places), functions, named, known)


def _named(function: Function, first: int, last: int, spots: Spots) -> names.Routine:
    """What is known of a function's variables."""
    return names.Routine(
        function.name, function.place.file, _spot(function.place), _spot(function.end), first, last,
        tuple(
            names.Local(v.name, "word", _spot(v.begin), _spot(v.end), _where(spots.get(v)))
            for v in function.locals
            if v.begin is not None and v.end is not None
        ),
    )  # fmt: skip


def _spot(place: Place) -> names.Spot:
    return place.line, place.column


def _where(spot: int | Ref | None) -> names.Where | None:
    match spot:
        case int():
            return names.Where(spot)
        case Ref(None, offset):
            return names.Where(BASE, offset)
        case Ref(Symbol() as symbol, offset) if symbol.address >= 0:
            return names.Where(0, symbol.address + offset, True)
    return None


def _words(ins: Ins, starts: dict[Function | Label, int]) -> list[int]:
    assert not isinstance(ins.op, Label)
    if isinstance(ins.argument, Function | Label):
        return [isa.word(ins.op, starts[ins.argument])]
    value = _number(ins)
    if ins.op is Op.PUSH and not _is_short(value):
        return [isa.word(Op.PUSH, value), isa.word(Op.HIGH, value >> 24 & 0xFF)]
    return [isa.word(ins.op, value)]


def _number(ins: Ins) -> int:
    """The operand of an instruction whose symbol has its address."""
    if isinstance(ins.argument, Ref):
        return ins.argument.offset + (ins.argument.symbol.address if ins.argument.symbol else 0)
    assert isinstance(ins.argument, int)
    return ins.argument


def _is_short(value: int) -> bool:
    value &= isa.MASK
    return value < _SHORT or value >= isa.MASK + 1 - _SHORT


# --- memory ------------------------------------------------------------------------------------------------


def _laid_out(bodies: Iterable[list[Ins]]) -> tuple[list[Symbol], int]:
    """Every symbol that code or another symbol names, with its address, and the end of them.

    What has something in it comes first, so that a program carries no zeros.
    """
    found: dict[Symbol, None] = {}
    todo = [
        ins.argument.symbol
        for body in bodies
        for ins in body
        if isinstance(ins.argument, Ref) and ins.argument.symbol is not None
    ]
    todo.reverse()
    while todo:
        symbol = todo.pop()
        if symbol not in found:
            found[symbol] = None
            todo += [linked for _, linked in reversed(symbol.links)]
    order = sorted(found, key=lambda s: (not (any(s.data) or s.links), -s.align))
    at = _FIRST
    for symbol in order:
        at += -at % symbol.align
        symbol.address = at
        at += max(symbol.size, len(symbol.data))
    return order, at


def _data(symbols: list[Symbol]) -> bytes:
    """What memory begins with."""
    filled = [symbol for symbol in symbols if any(symbol.data) or symbol.links]
    data = bytearray(max((symbol.address + len(symbol.data) for symbol in filled), default=0))
    for symbol in filled:
        content = bytearray(symbol.data)
        for offset, linked in symbol.links:
            value = int.from_bytes(content[offset : offset + 4], "little") + linked.address
            content[offset : offset + 4] = (value & isa.MASK).to_bytes(4, "little")
        data[symbol.address : symbol.address + len(content)] = content
    return bytes(data)
