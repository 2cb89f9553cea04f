"""Where a wrong value can have come from: backward slices that cross calls and variables.

Owns the walk. It starts at one instruction and the registers that it read, goes back through the control flow,
into the routines whose results were used, out to the callers that passed arguments, and through variables and
structure fields to the stores that filled them. Weights fall with every step; never judges.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from architect.dataflow import Flow, Flows
from architect.effects import FLAGS, registers_in
from architect.source import Tree
from architect.statements import is_symbol, tokens

Key = tuple[str, int]
_Note = Callable[[Flow, int, float], None]
_Push = Callable[[str, int, frozenset[str], float], None]

_STEP = 0.85  # one definition further away
_CALL = 0.7  # into the routine that made the value
_CALLER = 0.6  # out to the routine that passed it
_STORE = 0.6  # through memory
_CONTROL = 0.4  # the branch that led here, and what it compared
_LEAST = 0.02
_STATES = 1500


@dataclass(frozen=True, slots=True)
class Start:
    """An instruction (``node`` of ``routine``) and the registers whose values are in question before it."""

    routine: str
    node: int
    registers: frozenset[str]
    weight: float = 1.0


@dataclass(order=True)
class _State:
    order: float
    routine: str = field(compare=False)
    node: int = field(compare=False)
    registers: frozenset[str] = field(compare=False)


class Slicer:
    """Slices over one tree."""

    def __init__(self, flows: Flows) -> None:
        self.flows = flows
        self.tree: Tree = flows.tree

    @cached_property
    def stores(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Symbol or field constant -> (routine, node) of the instructions that store to a place it names."""
        table: dict[str, list[tuple[str, int]]] = {}
        for name in self.tree.routines:
            flow = self.flows.of(name)
            for index, node in enumerate(flow.nodes if flow else ()):
                for operand in node.effects.stores:
                    for symbol in named(operand):
                        table.setdefault(symbol, []).append((name, index))
        return {symbol: tuple(found) for symbol, found in table.items()}

    def backward(self, starts: Collection[Start], callers: Collection[str] = ()) -> dict[Key, float]:
        """Source lines -> weight in (0, 1], the starting lines themselves included.

        Args:
            starts: where to begin.
            callers: routines known to be on the stack; when given, others are not followed outwards.
        """
        found: dict[Key, float] = {}
        work: list[_State] = []
        seen: set[tuple[str, int, frozenset[str]]] = set()

        def note(flow: Flow, node: int, weight: float) -> None:
            site = flow.nodes[node].site
            found[site.key] = max(found.get(site.key, 0.0), weight)

        def push(routine: str, node: int, registers: frozenset[str], weight: float) -> None:
            state = (routine, node, registers)
            if registers and weight >= _LEAST and state not in seen and len(seen) < _STATES:
                seen.add(state)
                heapq.heappush(work, _State(-weight, *state))

        for start in starts:
            flow = self.flows.of(start.routine)
            if flow and start.node < len(flow.nodes):
                note(flow, start.node, start.weight)
                push(start.routine, start.node, start.registers, start.weight)
                for routine, node, registers in self._memory(flow, start.node):
                    push(routine, node, registers, start.weight * _STORE)
        while work:
            state = heapq.heappop(work)
            weight = -state.order
            flow = self.flows.of(state.routine)
            assert flow is not None
            if not flow.predecessors[state.node] or state.node == 0:
                for routine, node in self._call_sites(state.routine, callers):
                    push(routine, node, state.registers, weight * _CALLER)
            for before in flow.predecessors[state.node]:
                self._step(flow, before, state.registers, weight, note, push)
        return found

    def _step(
        self, flow: Flow, before: int, wanted: frozenset[str], weight: float, note: _Note, push: _Push
    ) -> None:
        effect = flow.nodes[before].effects
        name = flow.routine.name
        made = effect.writes & wanted
        if effect.flow == "branch":
            note(flow, before, weight * _CONTROL)
            push(name, before, wanted | {FLAGS}, weight)
            return
        if not made:
            push(name, before, wanted, weight)
            return
        step = weight * (_CONTROL if made == {FLAGS} else _STEP)
        note(flow, before, step)
        rest = (wanted - (made - effect.merges)) | (effect.reads - {FLAGS, "rsp"})
        if made == {FLAGS}:
            rest = wanted - made
        push(name, before, rest, weight if made == {FLAGS} else step)
        if effect.flow == "call" and effect.target in self.tree.routines:
            callee = self.flows.of(effect.target)
            for index, node in enumerate(callee.nodes if callee else ()):
                if node.effects.flow == "return":
                    push(effect.target, index, made, step * _CALL)
        for routine, place, registers in self._memory(flow, before):
            store = self.flows.of(routine)
            assert store is not None
            note(store, place, step * _STORE)
            push(routine, place, registers, step * _STORE)

    def _memory(self, flow: Flow, node: int) -> Iterator[tuple[str, int, frozenset[str]]]:
        """The stores that can have filled what a node loads: those that name the same variable or field."""
        for operand in flow.nodes[node].effects.loads:
            for symbol in named(operand):
                for routine, index in self.stores.get(symbol, ()):
                    other = self.flows.of(routine)
                    assert other is not None
                    source = other.nodes[index].statement.operand(1)
                    yield routine, index, registers_in(source)

    def _call_sites(self, routine: str, callers: Collection[str]) -> Iterator[tuple[str, int]]:
        for caller in self.tree.callers.get(routine, ()):
            if callers and caller not in callers:
                continue
            flow = self.flows.of(caller)
            for index, node in enumerate(flow.nodes if flow else ()):
                if node.effects.target == routine:
                    yield caller, index


def named(operand: str) -> Iterator[str]:
    """The symbols and constants that a memory operand names."""
    return (t.text for t in tokens(operand) if is_symbol(t.text) and not t.text[0].isdigit())
