"""What is translated at a time: the code that one place leads to without a call, as basic blocks.

Owns the walk over a program's words: where blocks begin, what each costs and needs, how often a loop makes it run.
Knows nothing of x86. A block goes through a `jump` into the code behind it, so that a loop whose test stands at its
head is one block; it ends before an instruction that is not legal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pixelvm import isa
from pixelvm.isa import Op, System

LENGTH = 96  # instructions of a block
JUMPS = 2  # that a block goes through
UNIT = 192  # instructions that are walked over for one unit: what a cartridge's start waits for
_DEEP = 3  # loops inside one another that count
_ITERATIONS = 8  # how often a loop is taken to run
_LOOPS = 64  # that are looked at

_RANDOM = isa.word(Op.SYS, System.RANDOM)
_CONDITIONAL = (Op.JZ, Op.JNZ)


class Block(NamedTuple):
    """Instructions that are executed one after the other.

    Attributes:
        start: ``pc`` of the first.
        steps: ``pc`` and word of each.
        fuel: of all of them.
        needs: values that must be on the stack at its start.
        growth: most values above those at its start that the stack holds in it.
        after: where it goes on when the last step falls through or is a jump; None behind `ret` and `halt`.
    """

    start: int
    steps: list[tuple[int, int]]
    fuel: int
    needs: int
    growth: int
    after: int | None


class Walk:
    """The places that ``start`` leads to, through jumps, conditions, behind calls and system calls.

    Args:
        code: the program's words.
        start: where to begin.
        known: whether a place begins a block elsewhere already; the walk ends there.
    """

    def __init__(self, code: tuple[int, ...], start: int, known: Callable[[int], bool]) -> None:
        self.code, self.start = code, start
        self.leaders = {start}  # where blocks begin, those that are not walked over among them
        self.inside: set[int] = set()  # the leaders that are
        self.cut: set[int] = set()  # the leaders where it ended only because it was long enough
        self.loops: list[tuple[int, int]] = []  # first and last place of each
        self.locals: list[tuple[int, int]] = []  # where one is used, and the word
        self.calls: list[int] = []  # where functions are called
        self._known = known
        self._walk()

    def _walk(self) -> None:
        code, size = self.code, len(self.code)
        seen: set[int] = set()
        todo = [self.start]
        while todo:
            pc = todo.pop()
            if pc not in seen and pc != self.start:
                if self._known(pc):
                    continue
                if len(seen) >= UNIT:
                    self.cut.add(pc)
                    continue
            self.inside.add(pc)
            run = 0
            while pc not in seen:
                if run and (pc in self.leaders or run >= LENGTH or self._known(pc)):
                    self._lead(pc, todo)
                    break
                seen.add(pc)
                run += 1
                if pc >= size or not isa.is_legal(code[pc], size):
                    break
                word = code[pc]
                op = word & 0xFF
                if op in _BRANCHES:
                    target = word >> 8
                    if op == Op.CALL:
                        self.calls.append(pc)
                    else:
                        if target <= pc:
                            self.loops.append((target, pc))
                        self._lead(target, todo)
                    if op == Op.JUMP:
                        break
                    self._lead(pc + 1, todo)
                    break
                if op in _ENDS:
                    break
                if op in _LOCALS:
                    self.locals.append((pc, word))
                pc += 1
                if op == Op.SYS and word != _RANDOM:
                    self._lead(pc, todo)
                    break

    def _lead(self, pc: int, todo: list[int]) -> None:
        self.leaders.add(pc)
        todo.append(pc)

    def weights(self) -> tuple[dict[int, int], int]:
        """How often each local is taken to be used and how often functions to be called, once outside of loops."""
        loops = self.loops[:_LOOPS]

        def weight(pc: int) -> int:
            deep = sum(first <= pc <= last for first, last in loops)
            return int(_ITERATIONS ** min(deep, _DEEP))

        uses: dict[int, int] = {}
        for pc, word in self.locals:
            uses[word >> 8] = uses.get(word >> 8, 0) + weight(pc)
        return uses, sum(map(weight, self.calls))

    def block(self, start: int) -> Block:
        """The block that begins at a leader."""
        code, size = self.code, len(self.code)
        steps: list[tuple[int, int]] = []
        fuel = needs = growth = depth = 0
        pc: int | None = start
        passed = {start}
        while pc is not None and pc < size:
            if steps and pc in self.leaders and pc not in passed:
                break
            word = code[pc]
            if not isa.is_legal(word, size):
                break
            takes, pops, pushes, costs = isa.cost(word)
            steps.append((pc, word))
            fuel += costs
            needs = max(needs, takes - depth)
            depth += pushes - pops
            growth = max(growth, depth)
            op = word & 0xFF
            if op == Op.JUMP:
                pc = word >> 8
                if len(passed) > JUMPS or pc in passed or pc not in self.inside:
                    break
                passed.add(pc)
            elif op in _CONDITIONAL or op == Op.CALL or (op == Op.SYS and word != _RANDOM):
                pc += 1
                break
            elif op in _ENDS:
                pc = None
            else:
                pc += 1
        return Block(start, steps, fuel, needs, growth, pc)


_BRANCHES = frozenset((Op.JUMP, Op.JZ, Op.JNZ, Op.CALL))
_ENDS = frozenset((Op.RET, Op.HALT))
_LOCALS = frozenset((Op.GET, Op.SET))
