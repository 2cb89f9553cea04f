"""Where locals lie: in the sixteen of the machine's frame, and what is left over in memory.

Owns the choice (the most used first, locals whose lives do not meet share) and the instructions for those in memory.
Those of a function that cannot call itself have a place of their own; else they lie on a stack in memory, whose frame
begins where the last local of the machine's frame says.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from pixelvm import isa
from pixelvm.isa import Op
from pixelvm.pxl.code import Ins, Label, Ref, Routine, Span
from pixelvm.pxl.core import Symbol, Variable

_WORD = 4
BASE = isa.LOCALS - 1  # the local that holds the frame's address


class Memory:
    """The stack of frames in memory, shared by all functions that need it.

    Attributes:
        pointer: the word that holds the address of the next frame.
        stack: room for as many frames as the machine has.
    """

    def __init__(self) -> None:
        self.stack = Symbol("", 0, _WORD)
        self.pointer = Symbol("", _WORD, _WORD, bytes(_WORD))
        self.pointer.links.append((0, self.stack))

    def reserve(self, frame: int) -> None:
        """Frames of up to so many bytes lie on it."""
        self.stack.size = max(self.stack.size, frame * isa.FRAMES)


Spots = dict[Variable, int | Ref]


def place_locals(routine: Routine, recursive: bool, memory: Memory) -> tuple[list[Ins], Spots]:
    """The code of a routine with its locals in slots or in memory, and where each of them lies.

    Returns:
        The code; for each local its slot, or its place in memory: behind a symbol, or behind the address in ``BASE``.
    """
    found = _coloured(routine.spans)
    if recursive and any(number >= isa.LOCALS for number in found.values()):
        found = {variable: n if n < BASE else n + 1 for variable, n in found.items()}
    words = max(found.values(), default=-1) + 1 - isa.LOCALS
    frame = Symbol("", _WORD * max(words, 0), _WORD)
    base = None if recursive else frame
    spots: Spots = {
        variable: n if n < isa.LOCALS else Ref(base, _WORD * (n - isa.LOCALS))
        for variable, n in found.items()
    }
    if words <= 0:
        return [_slotted(ins, found) for ins in routine.code], spots
    if recursive:
        memory.reserve(frame.size)
        return list(_on_stack(routine.code, found, frame.size, memory)), spots
    return list(_in_place(routine.code, found, frame)), spots


def _coloured(spans: dict[Variable, Span]) -> dict[Variable, int]:
    """A number for each local, different where lives meet; the most used get the low numbers."""
    taken: list[list[tuple[int, int]]] = []  # of each number the lives, by their beginnings
    found: dict[Variable, int] = {}
    for variable in sorted(spans, key=lambda v: -spans[v].uses):
        life = (spans[variable].first, spans[variable].last)
        number = next((n for n, lives in enumerate(taken) if _is_free(lives, life)), len(taken))
        if number == len(taken):
            taken.append([])
        insort(taken[number], life)
        found[variable] = number
    return found


def _is_free(lives: list[tuple[int, int]], life: tuple[int, int]) -> bool:
    """Whether a life meets none of those that do not meet each other."""
    at = bisect_left(lives, life)
    before = at == 0 or lives[at - 1][1] <= life[0]
    return before and (at == len(lives) or life[1] <= lives[at][0])


def _slotted(ins: Ins, found: dict[Variable, int]) -> Ins:
    if isinstance(ins.argument, Variable):
        return Ins(ins.op, found[ins.argument], ins.place)
    return ins


def _in_place(code: list[Ins], found: dict[Variable, int], frame: Symbol) -> Iterable[Ins]:
    for ins in code:
        number = found[ins.argument] if isinstance(ins.argument, Variable) else 0
        if number < isa.LOCALS:
            yield _slotted(ins, found)
            continue
        yield Ins(Op.PUSH, 0, ins.place)
        yield from _access(ins, Ref(frame, _WORD * (number - isa.LOCALS)))


def _access(ins: Ins, at: Ref) -> Iterable[Ins]:
    """Read or write a local in memory; its base is on the stack."""
    if ins.op is Op.GET:
        yield Ins(Op.LOAD32, at, ins.place)
    else:
        yield Ins(Op.SWAP, 0, ins.place)
        yield Ins(Op.STORE32, at, ins.place)


def _on_stack(code: list[Ins], found: dict[Variable, int], frame: int, memory: Memory) -> Iterable[Ins]:
    place, pointer = code[0].place, Ref(memory.pointer, 0)
    yield Ins(Op.PUSH, 0, place)
    yield Ins(Op.LOAD32, pointer, place)
    yield Ins(Op.SET, BASE, place)
    yield Ins(Op.PUSH, 0, place)
    yield Ins(Op.GET, BASE, place)
    yield Ins(Op.PUSH, frame, place)
    yield Ins(Op.ADD, 0, place)
    yield Ins(Op.STORE32, pointer, place)
    for ins in code:
        number = found[ins.argument] if isinstance(ins.argument, Variable) else 0
        if ins.op is Op.RET:
            yield Ins(Op.PUSH, 0, ins.place)
            yield Ins(Op.GET, BASE, ins.place)
            yield Ins(Op.STORE32, pointer, ins.place)
        if number < isa.LOCALS or isinstance(ins.op, Label):
            yield _slotted(ins, found)
            continue
        yield Ins(Op.GET, BASE, ins.place)
        yield from _access(ins, Ref(None, _WORD * (number - isa.LOCALS)))
