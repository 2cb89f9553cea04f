"""Data flow through one routine: its control-flow graph, which registers are wanted and defined, slices backwards.

Owns the graph, macros expanded, on source text (it works on trees that do not assemble; ``toolchain.flow`` reads
linked bytes). Never judges: ``anomalies`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from architect.effects import ALL, FLAGS, Effects, effects
from architect.source import Macro, Routine, Tree
from architect.statements import Reader, Statement
from toolchain import headers

_DEPTH = 8  # of macros that call macros
OPAQUE = Effects(reads=ALL, writes=frozenset({FLAGS}), opaque=True, stack=None)
CONDITIONAL = frozenset(
    {".if", ".ifdef", ".ifndef", ".ifb", ".ifnb", ".ifc", ".rept", ".irp", ".irpc", ".else"}
)


@dataclass(frozen=True, slots=True)
class Node:
    """One instruction that executes, and the source statement that it comes from (its own, or a macro call).

    ``marks`` are kept by ``anomalies``.
    """

    statement: Statement
    site: Statement
    effects: Effects
    marks: tuple[int, int] | None = field(default=None, init=False, repr=False, compare=False)


class Flow:
    """The graph of one routine: nodes are its instructions with macros expanded, edges go by position."""

    def __init__(
        self, routine: Routine, tree: Tree, known: Mapping[int, tuple[Node, ...]] | None = None
    ) -> None:
        self.routine = routine
        self.tree = tree
        self._known = known or {}
        self.declared = tree.headers
        self.nodes, self.labels = self._read()

    def _read(self) -> tuple[tuple[Node, ...], dict[str, list[int]]]:
        nodes: list[Node] = []
        labels: dict[str, list[int]] = {}
        for site in self.routine.statements:
            for label in site.labels:
                labels.setdefault(label, []).append(len(nodes))
            if site.kind in ("instruction", "macro"):
                known = self._known.get(id(site))
                nodes += self._nodes(site) if known is None else known
        return tuple(nodes), labels

    def _nodes(self, site: Statement) -> tuple[Node, ...]:
        if site.kind == "instruction":
            return (Node(site, site, effects(site, self.declared)),)
        parts = expand(self.tree.macros, site)
        if parts is None:
            return (Node(site, site, OPAQUE),)
        return tuple(Node(part, site, effects(part, self.declared)) for part in parts)

    @cached_property
    def by_site(self) -> Mapping[int, tuple[Node, ...]]:
        """Source statement (by identity) -> its nodes, for the flow of a changed version of the routine."""
        code = (s for s in self.routine.statements if s.kind in ("instruction", "macro"))
        table: dict[int, tuple[Node, ...]] = {id(site): () for site in code}
        for node in self.nodes:
            table[id(node.site)] = (*table[id(node.site)], node)
        return table

    def nodes_of(self, site: Statement) -> list[int]:
        """The nodes that a source statement became."""
        return self._numbers.get(id(site), [])

    @cached_property
    def _numbers(self) -> dict[int, list[int]]:
        table: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            table.setdefault(id(node.site), []).append(number)
        return table

    def _resolve(self, node: int, target: str | None) -> int | None:
        if target is None:
            return None
        match = re.fullmatch(r"(\d+)([bf])", target) if target[:1].isdigit() else None
        if match:
            places = self.labels.get(match[1], [])
            before = [p for p in places if p <= node]
            after = [p for p in places if p > node]
            return (before[-1] if before else None) if match[2] == "b" else (after[0] if after else None)
        places = self.labels.get(target, [])
        return places[0] if places else None

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes that can follow it inside the routine."""
        edges: list[tuple[int, ...]] = [(node + 1,) for node in range(len(self.nodes))]
        for node, item in enumerate(self.nodes):
            effect = item.effects
            if effect.flow in ("next", "call"):
                continue
            after = [node + 1] if effect.flow == "branch" or self._may_return(node) else []
            if effect.flow in ("jump", "branch"):
                target = self._resolve(node, effect.target)
                after += [] if target is None else [target]
            edges[node] = tuple([n for n in after if n < len(self.nodes)])
        if edges:  # nothing follows the last one
            edges[-1] = tuple([n for n in edges[-1] if n < len(self.nodes)])
        return tuple(edges)

    def _may_return(self, node: int) -> bool:
        return self.nodes[node].effects.flow == "stop" and self.nodes[node].statement.name == "hlt"

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """The edges the other way."""
        table: list[list[int]] = [[] for _ in self.nodes]
        for node, after in enumerate(self.successors):
            for target in after:
                table[target].append(node)
        return tuple(map(tuple, table))

    @cached_property
    def may_change(self) -> frozenset[str]:
        """Registers that the header lets the routine change; every one when there is no header."""
        return self.routine.header.may_change() if self.routine.header else ALL

    def _live_at_exit(self, node: int) -> frozenset[str]:
        """What somebody wants when the routine is left here: its outputs, or what the jump's target takes."""
        header, effect = self.routine.header, self.nodes[node].effects
        if header is None or effect.opaque:
            return ALL | {FLAGS}
        wanted = values_of(header.outputs)
        if effect.flow in ("jump", "branch"):
            target = self.declared.get(effect.target or "")
            if target is None:
                return ALL | {FLAGS}
            taken = values_of(target.inputs)
            if never_returns(target):
                return taken | {"rsp"}
            wanted |= taken
        return wanted | (ALL - self.may_change) | {"rsp"}

    @cached_property
    def live(self) -> tuple[frozenset[str], ...]:
        """For each node the registers whose value is wanted after it."""
        return tuple([names_of(mask) for mask in self.live_masks])

    @cached_property
    def live_masks(self) -> list[int]:
        """``live`` as sets of bits, which ``mask_of`` gives."""
        count = len(self.nodes)
        after, before = [0] * count, [0] * count
        rows = []  # node, successors, wanted at the exit, bits that go, bits that come
        for node in reversed(range(count)):
            effect, following = self.nodes[node].effects, self.successors[node]
            leaves = not following or (effect.flow in ("jump", "branch") and self.leaves(node))
            wanted = mask_of(self._live_at_exit(node)) if leaves else 0
            if effect.opaque:
                rows.append((node, following, wanted, 0, EVERYTHING))
            else:
                stay = ~(mask_of(effect.writes) & ~mask_of(effect.merges))
                rows.append((node, following, wanted, stay, mask_of(effect.reads)))
        changed = True
        while changed:
            changed = False
            for node, following, out, stay, reads in rows:
                for other in following:
                    out |= before[other]
                into = (out & stay) | reads
                if into != before[node] or out != after[node]:
                    before[node], after[node] = into, out
                    changed = True
        return after

    def leaves(self, node: int) -> bool:
        """True where the jump at a node leads out of the routine."""
        return self._resolve(node, self.nodes[node].effects.target) is None

    @cached_property
    def defined(self) -> tuple[frozenset[str], ...]:
        """For each node the registers that every path has defined before it (everything without a header)."""
        return tuple([names_of(mask) for mask in self.defined_masks])

    @cached_property
    def defined_masks(self) -> list[int]:
        """``defined`` as sets of bits, which ``mask_of`` gives."""
        header = self.routine.header
        before = [EVERYTHING] * len(self.nodes)
        if before and header is not None:
            before[0] = mask_of(values_of(header.inputs)) | mask_of(frozenset({"rsp", "rbp"}))
        stay = [self._kept(node) for node in self.nodes]
        work = [0] if before else []
        reached = set(work)
        while work:
            node = work.pop()
            keeps, makes = stay[node]
            out = (before[node] & keeps) | makes
            for target in self.successors[node]:
                if target not in reached or before[target] & ~out:
                    reached.add(target)
                    before[target] &= out
                    work.append(target)
        return before

    def _kept(self, node: Node) -> tuple[int, int]:
        """The registers that stay defined by an instruction, and those that it defines."""
        effect = node.effects
        if effect.flow == "call" and not effect.opaque:
            header = self.declared.get(effect.target or "")
            if header is not None:
                changed = mask_of(header.may_change()) | mask_of(frozenset({FLAGS}))
                return ~changed, mask_of(values_of(header.outputs))
        return ~0, EVERYTHING if effect.opaque else mask_of(effect.writes)


# A set of registers as bits: one for each name that was ever asked for.
_BITS: dict[str, int] = {}


@lru_cache(maxsize=1 << 12)
def mask_of(registers: frozenset[str]) -> int:
    """A set of registers as bits of a number."""
    mask = 0
    for name in registers:
        mask |= 1 << _BITS.setdefault(name, len(_BITS))
    return mask


@lru_cache(maxsize=1 << 12)
def names_of(mask: int) -> frozenset[str]:
    """The set of registers whose bits are those of a number."""
    return frozenset([name for name, bit in _BITS.items() if mask >> bit & 1])


EVERYTHING = mask_of(ALL | {FLAGS})


def values_of(slots: Iterable[headers.Slot]) -> frozenset[str]:
    """The 64-bit registers that a header's slots name, and ``"flags"`` where one of them is a flag."""
    return frozenset(headers.full_register(slot.register) or FLAGS for slot in slots)


def never_returns(header: headers.Routine) -> bool:
    """True where a header says so in words ("does not return")."""
    return "not return" in f"{header.summary} {header.context}".lower()


def expand(macros: Mapping[str, Macro], call: Statement, depth: int = 0) -> list[Statement] | None:
    """The instructions that a macro call becomes, or None when it takes conditionals or loops to know."""
    macro = macros.get(call.name)
    if macro is None or depth > _DEPTH or any(s.name in CONDITIONAL for s in macro.body):
        return None
    given = [o.text for o in call.operands]
    if len(given) == 1 and len(macro.parameters) > 1:
        given = given[0].split()
    values = {name: given[n] if n < len(given) else "" for n, name in enumerate(macro.parameters)}
    reader = Reader(
        call.file, dict.fromkeys(macros, ()), routine=call.routine, section=call.section, mode=call.mode
    )
    found: list[Statement] = []
    for statement in macro.body:
        text = statement.code.text
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(f"\\{name}", values[name])
        for part in reader.line(call.line, text):
            if part.kind == "instruction":
                found.append(part)
            elif part.kind == "macro":
                inner = expand(macros, part, depth + 1)
                if inner is None:
                    return None
                found += inner
    return found


class Flows:
    """The flows of a tree's routines, made when first asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._made = tree.once("flows", dict[str, Flow])

    def of(self, routine: str | None) -> Flow | None:
        """The flow of a routine, or None when there is no such routine."""
        if routine is None or routine not in self.tree.routines:
            return None
        if routine not in self._made:
            self._made[routine] = Flow(self.tree.routines[routine], self.tree)
        return self._made[routine]
