"""What the operators know of a tree beside the statement at hand: neighbours, families, orphans, registers, shapes.

Owns the questions that several operators ask. All answers come from the tree itself: which names belong together,
which are defined and never used, which statements stand in like surroundings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from architect.anomalies import Anomaly
from architect.dataflow import Flow
from architect.effects import FLAGS
from architect.evidence import Reader
from architect.shapes import shape
from architect.source import Tree
from architect.statements import ASSIGNMENTS, Statement, tokens
from architect.told import Told
from toolchain import headers

_SPOKEN = 3.0
_DECLARING = frozenset({".globl", ".global", ".type", ".size", ".local", ".extern", ".macro", ".include"})


P = ParamSpec("P")
R = TypeVar("R")


class View:
    """One parsed tree with its data flow, for operators to ask."""

    def __init__(self, reader: Reader) -> None:
        self.tree: Tree = reader.tree
        self.flows = reader.flows
        self.case = reader.case
        self.anomalies: Mapping[tuple[str, int], tuple[Anomaly, ...]] = reader.anomalies
        self.names = reader.names
        self._hands: dict[int, tuple[str, ...]] = {}
        self.answers: dict[Any, Any] = {}  # of functions that are ``kept``

    @cached_property
    def told(self) -> Told:
        """The values that came and those that should have come."""
        return Told(self.case, self.names.values)

    def adjoining(self, first: str, second: str) -> bool:
        """Whether two constants are defined one after the other: what is named together is often wanted together."""
        a, b = self.tree.constants.get(first), self.tree.constants.get(second)
        return a is not None and b is not None and a.file == b.file and abs(a.line - b.line) == 1

    def is_at_hand(self, name: str, file: str) -> bool:
        """Whether a constant is defined in a file or in one that it includes."""
        constant = self.tree.constants.get(name)
        if constant is None:
            return False
        return constant.file == file or constant.file.rsplit("/", 1)[-1] in _included(self, file)

    @cached_property
    def unran(self) -> tuple[str, ...]:
        """Routines that a broken contract names and that no failing run executed: their call may be missing."""
        ran = {key for run in self.case.runs if run.failed for key in run.lines}
        rows = [row for gate in self.case.failures for row in gate.evidence.get("violations", ())]
        named = dict.fromkeys(str(row.get("routine")) for row in rows if isinstance(row, Mapping))
        return tuple(
            name
            for name in named
            if ran and name in self.tree.routines
            if not any(s.key in ran for s in self.tree.routines[name].statements)
        )

    # --- neighbours ------------------------------------------------------------------------------------------

    def sequence(self, statement: Statement) -> tuple[tuple[Statement, ...], int]:
        """The statements that stand with one, in order, and its place among them.

        A label that stands alone has the place of what follows it.
        """
        if id(statement) not in self.tree.places:
            following = (s for s in self.tree.files[statement.file] if s.line > statement.line)
            beside = next((s for s in following if id(s) in self.tree.places), None)
            return self.tree.places[id(beside)] if beside is not None else ((), 0)
        return self.tree.places[id(statement)]

    def neighbour(self, statement: Statement, step: int) -> Statement | None:
        """The statement ``step`` places further in the same routine, macro or datum, or None."""
        found, place = self.sequence(statement)
        wanted = place + step
        return found[wanted] if 0 <= wanted < len(found) else None

    def flow(self, statement: Statement) -> Flow | None:
        """The data flow of the routine that a statement stands in."""
        return self.flows.of(statement.routine)

    def node(self, statement: Statement) -> int | None:
        """The first node of a statement in its routine's flow; of a label, that of what follows it."""
        flow = self.flow(statement)
        if statement.kind == "label":
            found, place = self.sequence(statement)
            following = found[place] if place < len(found) else None
            return self.node(following) if following is not None and following.kind != "label" else None
        nodes = flow.nodes_of(statement) if flow else []
        return nodes[0] if nodes else None

    # --- names -----------------------------------------------------------------------------------------------

    def local_labels(self, statement: Statement) -> tuple[str, ...]:
        """The ``.L`` labels of a statement's routine in order."""
        routine = self.tree.routines.get(statement.routine or "")
        return tuple(
            n for s in (routine.statements if routine else ()) for n in s.labels if n.startswith(".L")
        )

    def is_orphan(self, statement: Statement, name: str) -> bool:
        """Nothing uses the name as it is seen from a statement's file."""
        return self.names.is_orphan(name, statement.file)

    def knows(self, statement: Statement, name: str) -> bool:
        """The name is defined where a statement could use it."""
        tree = self.tree
        return name in tree.constants or name in tree.labels or (statement.file, name) in tree.local_labels

    def earned(self, statement: Statement, name: str) -> float:
        """Bits earned by naming in a statement what nothing names; more where the diagnosis speaks of it."""
        earned = self.names.earned(name, statement.file)
        return earned + (_SPOKEN if earned and name in self.spoken else 0.0)

    @cached_property
    def spoken(self) -> frozenset[str]:
        """Constants that nothing uses and whose words the diagnosis says, as ``EFER_LME`` and "set EFER.LME"."""
        report = self.case.report
        texts = [f"{d.sentence} {d.hint}" for d in report.diagnosis] if report is not None else []
        words = {word for text in texts for word in re.findall(r"[A-Z][A-Z0-9]+", text)}
        return frozenset(
            name
            for name in self.names.orphans
            if len(parts := name.split("_")) > 1 and words.issuperset(parts)
        )

    def family(self, statement: Statement, name: str) -> tuple[str, ...]:
        """The names that a statement could name in the place of one, nearest first."""
        return self.names.family(name, statement.file)

    # --- registers -------------------------------------------------------------------------------------------

    def hand(self, statement: Statement) -> tuple[str, ...]:
        """Registers with a value before a statement that its routine names or takes, in the order of their use."""
        if id(statement) not in self._hands:
            self._hands[id(statement)] = self._hand(statement)
        return self._hands[id(statement)]

    def _hand(self, statement: Statement) -> tuple[str, ...]:
        flow, node = self.flow(statement), self.node(statement)
        if flow is None:
            return ()
        known = flow.defined[node] if node is not None else None
        seen: dict[str, None] = {}
        if flow.routine.header:
            for slot in flow.routine.header.inputs:
                seen.update({full: None for full in [headers.full_register(slot.register)] if full})
        for item in flow.nodes:
            for operand in item.statement.operands:
                for token in tokens(operand.text):
                    full = headers.full_register(token.text)
                    if full and full != "rsp":
                        seen.setdefault(full)
        return tuple(r for r in seen if known is None or r in known)

    def dead_before(self, statement: Statement) -> frozenset[str]:
        """Registers given a value that nothing uses, in the routine up to this statement."""
        routine = self.tree.routines.get(statement.routine or "")
        found = set()
        for s in routine.statements if routine else ():
            if s.line < statement.line:
                found |= {a.register for a in self.anomalies.get(s.key, ()) if a.kind == "dead"}
        return frozenset(found - {FLAGS})

    def undefined_from(self, statement: Statement) -> frozenset[str]:
        """Registers that this statement or a later one of the routine uses and nothing has defined."""
        routine = self.tree.routines.get(statement.routine or "")
        found = set()
        for s in routine.statements if routine else ():
            if s.line >= statement.line:
                found |= {a.register for a in self.anomalies.get(s.key, ()) if a.kind == "undefined"}
        return frozenset(found)

    # --- shapes ----------------------------------------------------------------------------------------------

    @cached_property
    def shapes(self) -> Mapping[str, Sequence[Statement]]:
        """Shape -> the statements of the tree that have it."""
        table: dict[str, list[Statement]] = {}
        for s in self.tree.statements():
            if s.kind in ("instruction", "macro"):
                table.setdefault(shape(s), []).append(s)
        return table


def kept(function: Callable[Concatenate[View, P], R]) -> Callable[Concatenate[View, P], R]:
    """Keep what a function answers of a view, for as long as the view lives."""

    @wraps(function)
    def answer(view: View, /, *arguments: P.args, **named: P.kwargs) -> R:
        key = (function, arguments, tuple(named.items()))
        if key not in view.answers:
            view.answers[key] = function(view, *arguments, **named)
        found: R = view.answers[key]
        return found

    return answer


@kept
def _included(view: View, file: str) -> frozenset[str]:
    """The names that a file's `.include` lines say."""
    return frozenset(s.operand(0).strip('"') for s in view.tree.files[file] if s.name == ".include")


def with_register(name: str, like: str) -> str:
    """A register (by its 64-bit name) in the width of another: ``with_register("rbx", "ecx") == "ebx"``."""
    return sized(name, headers.register_bits(like) or 64)


def with_registers(line: str, names: Mapping[str, str]) -> str:
    """A line with registers exchanged, each in its own width; ``names`` has them by their 64-bit names."""
    if not names:
        return line
    out, last = [], 0
    for start, end, text, full in _named_registers(line):
        if full in names:
            out += [line[last:start], with_register(names[full], text)]
            last = end
    return "".join(out) + line[last:]


@lru_cache(maxsize=1 << 14)
def _named_registers(line: str) -> tuple[tuple[int, int, str, str], ...]:
    """The registers of a line: columns, name, 64-bit name."""
    return tuple(
        (token.start, token.end, token.text, full)
        for token in tokens(line)
        if (full := headers.full_register(token.text)) is not None
    )


@lru_cache(maxsize=256)
def sized(full: str, bits: int) -> str:
    """The name of a general register's low ``bits``."""
    if full[1].isdigit():
        return full + {64: "", 32: "d", 16: "w", 8: "b"}[bits]
    stem = full[1:]
    if bits == 8:
        return stem[0] + "l" if stem.endswith("x") else stem + "l"
    return {64: "r", 32: "e", 16: ""}[bits] + stem


def is_assignment(statement: Statement) -> bool:
    """``.set``, ``.equ``, ``=``."""
    return statement.name in ASSIGNMENTS and len(statement.operands) > 1


def declares(statement: Statement) -> bool:
    """A directive whose operands are no uses: ``.globl``, ``.type`` and the like."""
    return statement.name in _DECLARING
