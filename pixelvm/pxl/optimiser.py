"""Shorter code for the same effect: values that need no local, jumps that lead straight on, pairs that cancel out.

Owns the rewriting of one function's code. Every rule keeps what the program does; fuel, and the moment of a trap about
fuel or calls, may change. ``forward`` runs before locals have slots, ``improved`` behind that.
"""

from __future__ import annotations

from collections import Counter

from pixelvm import isa
from pixelvm.isa import Op
from pixelvm.pxl.code import Ins, Label, Ref, Routine
from pixelvm.pxl.core import Function, Variable
from pixelvm.pxl.fold import COMMUTATIVE, evaluate

INLINE_MAX = 8  # instructions of a function that is put where it is called
_ROUNDS = 20
_NOWHERE = Label()  # stands where an instruction was, so that indexes stay
_BINARY = (*COMMUTATIVE, Op.SUB, Op.SHL, Op.SHR, Op.SAR, Op.LTU, Op.LTS)
_JUMPS = (Op.JUMP, Op.JZ, Op.JNZ)
_ENDS = (Op.JUMP, Op.RET, Op.HALT)
_PURE = (Op.PUSH, Op.GET, Op.DUP, Op.OVER)
_OPPOSITE = {Op.JZ: Op.JNZ, Op.JNZ: Op.JZ, Op.EQ: Op.NE, Op.NE: Op.EQ}


def forward(routine: Routine) -> None:
    """A local that is read once, right behind its setting, stays on the stack; one that is never read is not set."""
    reads = Counter(ins.argument for ins in routine.code if ins.op is Op.GET)
    before: list[int] = []  # indexes of what precedes
    passed: set[Variable] = set()
    code = routine.code
    for at, ins in enumerate(code):
        variable = ins.argument
        previous = code[before[-1]] if before else None
        if (
            ins.op is Op.GET
            and isinstance(variable, Variable)
            and reads[variable] == 1
            and previous is not None
            and previous.op is Op.SET
            and previous.argument is variable
        ):
            code[before.pop()] = code[at] = Ins(_NOWHERE, 0, ins.place)
            passed.add(variable)
        elif ins.op is not _NOWHERE:
            before.append(at)
    for ins in code:
        if ins.op is Op.SET and (ins.argument in passed or not reads[ins.argument]):
            ins.op, ins.argument = Op.DROP, 0
    used = {ins.argument for ins in code}
    for variable in [variable for variable in routine.spans if variable not in used]:
        del routine.spans[variable]


def inlined(code: list[Ins], short: dict[Function, list[Ins]]) -> list[Ins]:
    """Calls of short functions replaced by what they do."""
    out: list[Ins] = []
    for ins in code:
        body = short.get(ins.argument) if isinstance(ins.argument, Function) else None
        out += [ins] if body is None else [Ins(one.op, one.argument, one.place) for one in body]
    return out


def short_body(code: list[Ins]) -> list[Ins] | None:
    """What a function does, when that is short and needs no frame: no locals, jumps or calls."""
    *body, end = code
    plain = (Op.GET, Op.SET, Op.CALL, Op.RET, Op.HALT, *_JUMPS)
    if (
        end.op is Op.RET
        and len(body) <= INLINE_MAX
        and not any(i.op in plain or isinstance(i.op, Label) for i in body)
    ):
        return body
    return None


def improved(code: list[Ins]) -> list[Ins]:
    """The code of a function with its locals in slots."""
    for _ in range(_ROUNDS):
        before = [(ins.op, ins.argument) for ins in code]
        code = _reached(_windows(_led_on(code)))
        if before == [(ins.op, ins.argument) for ins in code]:
            break
    return code


def _led_on(code: list[Ins]) -> list[Ins]:
    """Jumps to jumps, to returns and to what follows anyway."""
    places = {ins.op: at for at, ins in enumerate(code) if isinstance(ins.op, Label)}
    out: list[Ins] = []
    for at, ins in enumerate(code):
        if ins.op in _JUMPS:
            ins.argument = _end_of_chain(code, places, ins.argument)
            goal = code[_behind_labels(code, places[ins.argument])]
            if ins.op is Op.JUMP and goal.op in (Op.RET, Op.HALT):
                out.append(Ins(goal.op, goal.argument, goal.place))
                continue
            if at < places[ins.argument] and _behind_labels(code, at + 1) > places[ins.argument]:
                if ins.op is not Op.JUMP:
                    out.append(Ins(Op.DROP, 0, ins.place))
                continue
            if ins.op is Op.JUMP and out and out[-1].op in (Op.JZ, Op.JNZ):
                over = places[out[-1].argument]  # type: ignore[index]
                if at < over < _behind_labels(code, at + 1):
                    out[-1] = Ins(_OPPOSITE[Op(out[-1].op)], ins.argument, out[-1].place)
                    continue
        out.append(ins)
    return out


def _end_of_chain(code: list[Ins], places: dict[Label, int], label: object) -> Label:
    """Where a jump to ``label`` ends up when all it finds are jumps."""
    seen: set[object] = set()
    while label not in seen:
        seen.add(label)
        goal = code[_behind_labels(code, places[label])]  # type: ignore[index]
        if goal.op is not Op.JUMP:
            break
        label = goal.argument
    assert isinstance(label, Label)
    return label


def _behind_labels(code: list[Ins], at: int) -> int:
    """Index of the first instruction from ``at`` on; code never ends with a label."""
    while at < len(code) - 1 and isinstance(code[at].op, Label):
        at += 1
    return at


def _reached(code: list[Ins]) -> list[Ins]:
    """Without what no path reaches and labels that nothing names."""
    named = {ins.argument for ins in code if ins.op in _JUMPS}
    out: list[Ins] = []
    dead = False
    for ins in code:
        if isinstance(ins.op, Label):
            if ins.op not in named:
                continue
            dead = False
        if not dead:
            out.append(ins)
        dead = dead or ins.op in _ENDS
    return out


def _windows(code: list[Ins]) -> list[Ins]:
    """Neighbours that cancel out or join."""
    out: list[Ins] = []
    for ins in code:
        out.append(ins)
        while _shortened(out):
            pass
    return out


def _shortened(out: list[Ins]) -> bool:
    """Apply one rule to the last instructions; whether there was one."""
    if len(out) < 2:
        return False
    a, b = out[-2], out[-1]
    if a.op in _PURE and b.op is Op.DROP:
        del out[-2:]
    elif a.op is Op.SWAP and (b.op is Op.SWAP or b.op in COMMUTATIVE):
        out[-2:] = [] if b.op is Op.SWAP else [b]
    elif a.op is Op.GET and b.op is Op.SET and a.argument == b.argument:
        del out[-2:]
    elif a.op is Op.DUP and b.op is Op.SWAP:
        del out[-1]
    elif a.op is Op.PUSH and isinstance(a.argument, int) and b.op in (Op.JZ, Op.JNZ):
        out[-2:] = [Ins(Op.JUMP, b.argument, b.place)] if (a.argument == 0) == (b.op is Op.JZ) else []
    elif len(out) >= 3 and a.op is Op.PUSH and isinstance(a.argument, int) and b.op in _BINARY:
        return _number_applied(out, a.argument, b)
    elif len(out) >= 3 and out[-3].op is Op.PUSH and out[-3].argument == 0 and a.op in (Op.EQ, Op.NE):
        if b.op not in (Op.JZ, Op.JNZ) or isinstance(out[-3].argument, Ref):
            return False
        op = _OPPOSITE[Op(b.op)] if a.op is Op.EQ else Op(b.op)
        out[-3:] = [Ins(op, b.argument, b.place)]
    else:
        return False
    return True


def _number_applied(out: list[Ins], number: int, b: Ins) -> bool:
    """``push number`` and an operation, behind something that can take it in."""
    op, first = Op(b.op), out[-3]  # type: ignore[arg-type]
    if first.op is Op.PUSH and isinstance(first.argument, int):
        value = evaluate(op, first.argument, number)
        assert value is not None  # no division is among them
        out[-3:] = [Ins(Op.PUSH, value, b.place)]
        return True
    if op is Op.ADD and first.op is Op.ADD and len(out) >= 4:
        inner = out[-4]
        if inner.op is Op.PUSH and isinstance(inner.argument, int):
            out[-4:] = [Ins(Op.PUSH, (inner.argument + number) & isa.MASK, inner.place), first]
            return True
    if op in (Op.EQ, Op.NE) and number == 0 and first.op in (Op.EQ, Op.NE, Op.LTU, Op.LTS):
        if op is Op.NE:
            del out[-2:]
            return True
        if first.op in _OPPOSITE:
            out[-3:] = [Ins(_OPPOSITE[Op(first.op)], 0, first.place)]
            return True
    return False
