"""One kernel tree as the rules see it: routines that can be edited, their flows, names, and where values come from.

Owns the walk back from the use of a register to the instructions that may have given it its value. Never judges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from architect.dataflow import Flow, Flows
from architect.effects import is_memory
from architect.names import Names
from architect.source import Tree
from architect.statements import Statement
from toolchain import headers

ENTRY = -1  # the value that a register had when the routine was entered


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One place that a rule suspects. ``sort`` says what kind of place, ``message`` says it to a person."""

    rule: str
    sort: str
    message: str
    file: str
    line: int
    routine: str | None = None


class View:
    """The parsed tree with what the rules share.

    Args:
        folder: the tree, for what lies beside the sources (boot.toml, generated includes).
        sources: file -> text of the sources to look at.
        only: look at the routines of these files alone, or at all when None.
    """

    def __init__(self, folder: Path, sources: Mapping[str, str], only: Collection[str] | None = None) -> None:
        self.tree = Tree.of(folder, sources)
        self.only = None if only is None or any(f.endswith(".inc") for f in only) else frozenset(only)
        self._flows = Flows(self.tree)
        self.names = Names(self.tree, folder)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The flows of the routines that may be edited: a kernel's tests do odd things on purpose."""
        files = self.tree.editable if self.only is None else self.tree.editable & self.only
        found = (self._flows.of(name) for name, r in self.tree.routines.items() if r.file in files)
        return tuple(flow for flow in found if flow is not None and flow.nodes)

    def givers(self, flow: Flow, node: int, register: str) -> frozenset[int]:
        """The nodes whose write of a register may be what a node reads; ``ENTRY`` for the caller's value."""
        found: set[int] = set()
        seen: set[int] = set()
        work = [node]
        while work:
            at = work.pop()
            if at == 0:
                found.add(ENTRY)
            for before in flow.predecessors[at]:
                if before in seen:
                    continue
                seen.add(before)
                effect = flow.nodes[before].effects
                if (register in effect.writes and register not in effect.merges) or (
                    effect.opaque and effect.flow == "next"
                ):
                    found.add(before)
                else:
                    work.append(before)
        return frozenset(found)

    def values(self) -> Mapping[str, int]:
        """The constants whose value is known."""
        return self.names.values


def kinds(statement: Statement) -> str:
    """A statement's mnemonic with the kinds of its operands: ``mov r64, r64``, ``xor zero``."""
    texts = [o.text for o in statement.operands]
    if statement.name in ("xor", "sub") and len(texts) == 2 and texts[0] == texts[1]:
        return "zero"
    return f"{statement.name} " + ", ".join(map(kind, texts))


def kind(operand: str) -> str:
    """``r64``, ``mem``, ``cr`` or ``imm``."""
    if is_memory(operand):
        return "mem"
    bits = headers.register_bits(operand)
    if bits is not None:
        return f"r{bits}"
    return "cr" if operand.lower().startswith("cr") and operand[2:].isdigit() else "imm"


def code(flow: Flow) -> Iterator[tuple[int, Statement]]:
    """The instructions of a routine with their numbers."""
    for number, node in enumerate(flow.nodes):
        yield number, node.statement
