"""What looks odd in a routine without a run: the traces that missing, surplus and mistaken statements leave.

Owns five analyses on ``dataflow.Flow``: definitions that nothing uses, registers used that nothing defined, a stack
that does not balance at a return, registers changed that the header does not allow, code that nothing reaches. An
anomaly is a hint for ranking, never a verdict: the gates judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from architect.dataflow import Flow, Flows, Node, mask_of, names_of, never_returns
from architect.effects import FLAGS, registers_in

AnomalyKind = Literal["dead", "undefined", "unbalanced", "undeclared", "unreachable", "falls-through"]


# Instructions that are there for more than the registers they write.
_SIDE_EFFECTS = frozenset({"in", "rdtsc", "rdtscp", "cpuid", "rdmsr", "xchg", "xadd", "nop", "pushf", "popf"})
# Instructions that are there for the flags alone.
_FOR_FLAGS = frozenset({"cmp", "test", "bt", "clc", "stc", "cmc"})


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something odd at one statement; ``register`` names what it is about, or is empty."""

    kind: AnomalyKind
    file: str
    line: int
    register: str = ""


class _Search:
    """The analyses of one routine."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def anomalies(self) -> Iterator[Anomaly]:
        """What looks odd without a run."""
        yield from self._dead()
        yield from self._undefined()
        yield from self._stack()
        yield from self._undeclared()
        yield from self._edges()

    def _at(self, node: int, kind: AnomalyKind, register: str = "") -> Anomaly:
        site = self.flow.nodes[node].site
        return Anomaly(kind, site.file, site.line, register)

    def _dead(self) -> Iterator[Anomaly]:
        live = self.flow.live_masks
        for node, item in enumerate(self.flow.nodes):
            made = (item.marks or _marked(item))[0]
            if made and not made & live[node]:
                yield self._at(node, "dead", min(names_of(made) - {FLAGS}, default=FLAGS))

    def _undefined(self) -> Iterator[Anomaly]:
        defined = self.flow.defined_masks
        for node, item in enumerate(self.flow.nodes):
            missing = (item.marks or _marked(item))[1] & ~defined[node]
            if missing:
                for register in sorted(names_of(missing)):
                    yield self._at(node, "undefined", register)

    def _stack(self) -> Iterator[Anomaly]:
        depth: dict[int, int | None] = {0: 0}
        framed: int | None = None
        work = [0]
        while work:
            node = work.pop()
            now = depth[node]
            statement, effect = self.flow.nodes[node].statement, self.flow.nodes[node].effects
            if statement.name == "mov" and statement.operand(0) == "rbp" and statement.operand(1) == "rsp":
                framed = now
            after = None if now is None or effect.stack is None else now + effect.stack
            if statement.name == "leave":
                after = None if framed is None else framed - 8
            elif statement.name == "mov" and statement.operand(0) == "rsp" and statement.operand(1) == "rbp":
                after = framed
            if effect.flow == "return" and statement.name.startswith("ret") and now not in (0, None):
                yield self._at(node, "unbalanced")
            if statement.name.startswith("iret") and now is not None and now > 0:
                yield self._at(node, "unbalanced")  # above what the routine left there lies no return address
            for target in self.flow.successors[node]:
                if target not in depth:
                    depth[target] = after
                    work.append(target)
                elif depth[target] is not None and depth[target] != after:
                    depth[target] = None  # a loop that pushes, or paths that differ: not known
                    work.append(target)

    def _undeclared(self) -> Iterator[Anomaly]:
        if self.flow.routine.header is None:
            return
        if never_returns(self.flow.routine.header) or not any(
            self._ends(n) for n in range(len(self.flow.nodes))
        ):
            return  # never returns: nobody sees what it changed
        code = [node.statement for node in self.flow.nodes]
        saved = {r for s in code if s.name.startswith("push") for r in registers_in(s.operand(0))}
        restored = {r for s in code if s.name.startswith("pop") for r in registers_in(s.operand(0))}
        if any(s.name == "leave" or s.operand(0) == "rsp" for s in code):
            restored.add("rbp")
        told = mask_of(self.flow.may_change | {"rsp", FLAGS} | (saved & restored))
        for node, item in enumerate(self.flow.nodes):
            changed = mask_of(item.effects.writes) & ~told
            if changed:
                told |= changed
                for register in sorted(names_of(changed)):
                    yield self._at(node, "undeclared", register)

    def _ends(self, node: int) -> bool:
        effect = self.flow.nodes[node].effects
        return effect.flow == "return" or (
            effect.flow == "jump" and self.flow.leaves(node) and not effect.opaque
        )

    def _edges(self) -> Iterator[Anomaly]:
        reached = {0}
        work = [0]
        while work:
            for target in self.flow.successors[work.pop()]:
                if target not in reached:
                    reached.add(target)
                    work.append(target)
        labelled = {p for places in self.flow.labels.values() for p in places}
        for node in range(1, len(self.flow.nodes)):
            if node not in reached and node - 1 in reached and node not in labelled:
                yield self._at(node, "unreachable")
        last = len(self.flow.nodes) - 1
        if (
            last in reached
            and self.flow.nodes[last].effects.flow in ("next", "branch", "call")
            and not self._never_back(last)
        ):
            yield self._at(last, "falls-through")

    def _never_back(self, node: int) -> bool:
        """The last node calls something without a header or that says it does not return."""
        effect = self.flow.nodes[node].effects
        header = self.flow.declared.get(effect.target or "")
        return effect.opaque or (header is not None and never_returns(header))


def _marked(node: Node) -> tuple[int, int]:
    """The registers that an instruction is there to make, none where it is there for more; and those it needs."""
    effect, name = node.effects, node.statement.name
    made = effect.writes - {"rsp"}
    if (
        "rbp" in made
        or effect.flow != "next"
        or effect.opaque
        or effect.stores
        or effect.stack != 0
        or (made == {FLAGS} and name not in _FOR_FLAGS)
        or name in _SIDE_EFFECTS
        or node.statement.prefix
    ):
        made = frozenset()
    if effect.opaque or name.startswith("push") or effect.stores:
        # Saving a register is no use of its value; a store's address is one.
        used = registers_in(" ".join(effect.stores)) if effect.stores else frozenset()
    else:
        used = effect.reads
    marks = mask_of(made), mask_of(used)
    object.__setattr__(node, "marks", marks)
    return marks


def anomalies(flows: Flows) -> dict[tuple[str, int], tuple[Anomaly, ...]]:
    """(file, line) -> what is odd there, over every routine of a tree; made once."""
    return flows.tree.once("anomalies", lambda: _of_tree(flows))


def _of_tree(flows: Flows) -> dict[tuple[str, int], tuple[Anomaly, ...]]:
    table: dict[tuple[str, int], tuple[Anomaly, ...]] = {}
    for name in flows.tree.routines:
        flow = flows.of(name)
        for anomaly in _Search(flow).anomalies() if flow and flow.nodes else ():
            known = table.get((anomaly.file, anomaly.line), ())
            table[anomaly.file, anomaly.line] = known if anomaly in known else (*known, anomaly)
    return table


def in_flow(flow: Flow) -> tuple[Anomaly, ...]:
    """What is odd in one routine."""
    return tuple(_Search(flow).anomalies()) if flow.nodes else ()


def of_routine(flow: Flow) -> Counter[tuple[str, str]]:
    """What is odd in one routine, counted by kind and register: comparable between versions of its text."""
    return Counter((a.kind, a.register) for a in _Search(flow).anomalies()) if flow.nodes else Counter()
