"""The load-time verifier: which checks an engine may leave out for a program, and where one cannot.

Owns the proof. It follows every path from the entry over intervals of stack depth, each function from the depth at its
call: what it leaves is a fixed point over all functions; how far it reaches below and grows above follows from the
chains of calls, of which a machine holds ``isa.FRAMES`` at most, so that recursion is bounded too. Never runs the
program, never changes it.

A program without findings never stops with ILLEGAL, UNDERFLOW, OVERFLOW or RETURN when it begins at its entry, or goes
on from a state that ``Verdict.covers``. ``calls`` says whether CALLS is excluded too, ``accesses`` which loads and
stores cannot trap. Fuel and divisors are always checked.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from pixelvm import isa
from pixelvm.accesses import Accesses, proved_accesses
from pixelvm.isa import Op
from pixelvm.program import Program
from pixelvm.state import State

_VISITS = 24  # of one place before a depth that still moves is taken to have no bound
_STEPS = 2_000_000  # words looked at, all together; real programs need a few for each of theirs
_FAR = isa.STACK_SLOTS + 1  # a depth this far off is as good as any beyond it

Interval = tuple[int, int]  # least and greatest depth


class Finding(NamedTuple):
    """Why the program cannot be proved: at which word, and what could happen there."""

    pc: int
    message: str


class Verdict(NamedTuple):
    """What was proved.

    Attributes:
        findings: by ``pc``; none means that the program is proved.
        calls: the calls of no path nest deeper than the machine's frames.
        accesses: ``pc`` of the loads and stores that are aligned and in bounds.
        anchors: where a machine has to come by for that (``accesses.Accesses``).
        depths: for the entry of each function, of each of its words that is reached the depth, from that at its call.
    """

    findings: tuple[Finding, ...]
    calls: bool
    accesses: frozenset[int]
    anchors: frozenset[int]
    depths: dict[int, dict[int, Interval]]

    @property
    def proved(self) -> bool:
        """No stack fault, no illegal word, no stray return, whatever the input."""
        return not self.findings

    def covers(self, program: Program, state: State) -> bool:
        """Whether what was proved holds for a sound state, whoever made it.

        Each frame must be one of the proof: called from a word of its caller that calls just this function. A machine
        goes by the depth of its whole stack, so it behaves as one whose depth is shared out among the frames in any
        way; one within the proof's intervals exists when the depth lies between the sums of their ends.
        """
        if not self.proved:
            return False
        function, low, high = program.entry, 0, 0
        for behind in state.returns:
            depth = self.depths[function].get(behind - 1)
            if depth is None or program.code[behind - 1] & 0xFF != Op.CALL:
                return False
            function, low, high = program.code[behind - 1] >> 8, low + depth[0], high + depth[1]
        depth = self.depths[function].get(state.pc)
        return depth is not None and low + depth[0] <= len(state.stack) <= high + depth[1]


def verify(program: Program, steps: int = _STEPS) -> Verdict:
    """Verify a program that is within bounds; ``steps`` bounds the time: words looked at, some more than once."""
    proof = _Proof(program, steps)
    proof.follow()
    if not proof.findings:
        proof.bound()
    findings = tuple(sorted(proof.findings))
    if findings:
        return Verdict(findings, False, *Accesses(frozenset(), frozenset()), proof.depths)
    return Verdict((), proof.nesting() <= isa.FRAMES, *proved_accesses(program), proof.depths)


class _Proof:
    """One verification.

    Attributes:
        depths: as in ``Verdict``.
        leaves: of each function the depth behind it; missing while no path is known to return.
        callers: of each function, the functions that call it.
        edges: of each function, the functions that it calls and the depth at those calls; known once it is bounded.
    """

    def __init__(self, program: Program, steps: int) -> None:
        self.code = program.code
        self.entry = program.entry
        self.findings: set[Finding] = set()
        self.depths: dict[int, dict[int, Interval]] = {}
        self.leaves: dict[int, Interval] = {}
        self.callers: defaultdict[int, set[int]] = defaultdict(set)
        self.edges: dict[int, dict[int, Interval]] = {}
        self._visits: defaultdict[int, int] = defaultdict(int)
        self._steps = steps

    # --- depths, function by function ----------------------------------------------------------------------

    def follow(self) -> None:
        """The depths of every function that can be reached, to the fixed point of what functions leave."""
        todo = [self.entry]
        while todo and not self.findings:
            function = todo.pop()
            leaves = self._function(function)
            for callee in {self.code[pc] >> 8 for pc in self._calls(function)}:
                self.callers[callee].add(function)
                if callee not in self.depths:
                    todo.append(callee)
            if leaves is not None and leaves != self.leaves.get(function):
                self._visits[function] += 1
                old = self.leaves.get(function)
                self.leaves[function] = _widened(_joined(old, leaves), old, self._visits[function])
                todo += sorted(self.callers[function])

    def _function(self, start: int) -> Interval | None:
        """Follow the paths of one function; gives the depth at its returns."""
        depths: dict[int, Interval] = {start: (0, 0)}
        visits: defaultdict[int, int] = defaultdict(int)
        self.depths[start] = depths
        leaves: Interval | None = None
        todo = [start]
        while todo:
            pc = todo.pop()
            self._steps -= 1
            if self._steps < 0:
                self._say(pc, "the program is too intricate to be proved")
            if self.findings or not self._is_legal(pc):
                return None
            if self.code[pc] & 0xFF == Op.RET:
                leaves = _joined(leaves, depths[pc])
            after = self._after(pc, depths[pc])
            if after is None:
                continue
            if after[0] < -isa.STACK_SLOTS or after[1] > isa.STACK_SLOTS:
                wrong = "shrink without end" if after[0] < 0 else f"grow over {isa.STACK_SLOTS} values"
                self._say(pc, f"the stack can {wrong} on a path through here")
                return None
            for target in self._successors(pc):
                joined = _joined(depths.get(target), after)
                if joined != depths.get(target):
                    visits[target] += 1
                    depths[target] = _widened(joined, depths.get(target), visits[target])
                    todo.append(target)
        return leaves

    def _is_legal(self, pc: int) -> bool:
        if pc >= len(self.code):
            self._say(len(self.code) - 1, "the program can run off its end here")
            return False
        if not isa.is_legal(self.code[pc], len(self.code)):
            self._say(pc, f"{self.code[pc]:#010x} is no instruction")
            return False
        return True

    def _after(self, pc: int, depth: Interval) -> Interval | None:
        """The depth behind a word; None where no path is known to come back from its call."""
        if self.code[pc] & 0xFF == Op.CALL:
            change = self.leaves.get(self.code[pc] >> 8)
            return change and (depth[0] + change[0], depth[1] + change[1])
        cost = isa.cost(self.code[pc])
        return depth[0] - cost.pops + cost.pushes, depth[1] - cost.pops + cost.pushes

    def _successors(self, pc: int) -> list[int]:
        op, target = self.code[pc] & 0xFF, self.code[pc] >> 8
        found = [target] if op in (Op.JUMP, Op.JZ, Op.JNZ) else []
        return found if op in (Op.JUMP, Op.RET, Op.HALT) else [*found, pc + 1]

    def _calls(self, function: int) -> list[int]:
        return [
            pc for pc in self.depths[function] if self.code[pc : pc + 1] and self.code[pc] & 0xFF == Op.CALL
        ]

    # --- bounds over chains of calls -----------------------------------------------------------------------

    def bound(self) -> None:
        """Findings where a chain of calls, as long as a machine holds, leaves the stack."""
        needs = {
            f: max(isa.cost(self.code[pc]).needs - d[0] for pc, d in at.items())
            for f, at in self.depths.items()
        }
        peaks = {f: max(self._top(pc, d) for pc, d in at.items()) for f, at in self.depths.items()}
        edges = self.edges = {f: self._edges(f) for f in self.depths}
        need, peak = dict(needs), dict(peaks)
        for _ in range(isa.FRAMES - 1):
            before = need, peak
            need = {f: max([needs[f], *(need[g] - low for g, (low, _) in edges[f].items())]) for f in edges}
            peak = {f: max([peaks[f], *(peak[g] + high for g, (_, high) in edges[f].items())]) for f in edges}
            if (need, peak) == before:
                break
        for pc, (low, high) in self.depths[self.entry].items():
            callee = self.code[pc] >> 8 if self.code[pc] & 0xFF == Op.CALL else None
            takes = isa.cost(self.code[pc]).needs if callee is None else need[callee]
            if (
                takes > max(low, 0) or low < -isa.STACK_SLOTS
            ):  # where it is below 0, an earlier word took too many
                self._say(pc, f"the stack can hold {max(low, 0)} values here, where {takes} are taken")
            if (
                max(self._top(pc, (low, high)), 0 if callee is None else high + peak[callee])
                > isa.STACK_SLOTS
            ):
                self._say(pc, f"the stack can grow over {isa.STACK_SLOTS} values here")
            if self.code[pc] & 0xFF == Op.RET:
                self._say(pc, "a return from the entry's own function")

    def _top(self, pc: int, depth: Interval) -> int:
        cost = isa.cost(self.code[pc])
        return depth[1] - cost.pops + cost.pushes

    def _edges(self, function: int) -> dict[int, Interval]:
        """For each function that it calls the depth at those calls."""
        found: dict[int, Interval] = {}
        for pc in self._calls(function):
            callee = self.code[pc] >> 8
            found[callee] = _joined(found.get(callee), self.depths[function][pc])
        return found

    def nesting(self) -> int:
        """Frames of the longest chain of calls; more than ``isa.FRAMES`` where functions call in circles."""
        level, frames = {self.entry}, 0
        while level and frames <= isa.FRAMES:
            frames += 1
            level = {callee for function in level for callee in self.edges[function]}
        return frames

    def _say(self, pc: int, message: str) -> None:
        self.findings.add(Finding(pc, message))


def _joined(old: Interval | None, new: Interval) -> Interval:
    return new if old is None else (min(old[0], new[0]), max(old[1], new[1]))


def _widened(new: Interval, old: Interval | None, visits: int) -> Interval:
    """A bound that moves again and again is taken to be lost."""
    if old is None or visits < _VISITS:
        return new
    return (-_FAR if new[0] < old[0] else new[0], _FAR if new[1] > old[1] else new[1])
