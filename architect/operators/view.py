"""What the operators know of a tree beside the statement at hand: neighbours, families, orphans, registers, shapes.

Owns the questions that several operators ask. All answers come from the tree itself: which names belong together,
which are defined and never used, which statements stand in like surroundings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

from architect.anomalies import Anomaly
from architect.dataflow import Flow
from architect.effects import FLAGS
from architect.evidence import Reader
from architect.source import Tree
from architect.statements import ASSIGNMENTS, Statement, is_register, is_symbol, symbols, tokens
from toolchain import expr, headers

_DECLARING = frozenset({".globl", ".global", ".type", ".size", ".local", ".extern", ".macro", ".include"})


class View:
    """One parsed tree with its data flow, for operators to ask."""

    def __init__(self, reader: Reader) -> None:
        self.tree: Tree = reader.tree
        self.flows = reader.flows
        self.case = reader.case
        self.anomalies: Mapping[tuple[str, int], tuple[Anomaly, ...]] = reader.anomalies
        self._families: dict[str, tuple[str, ...]] = {}

    # --- neighbours ------------------------------------------------------------------------------------------

    @cached_property
    def _places(self) -> dict[int, tuple[tuple[Statement, ...], int]]:
        """Statement (by identity) -> the sequence of its routine, macro or datum, and its place in it."""
        groups: dict[tuple[str, str | None, str | None, str], list[Statement]] = {}
        for s in self.tree.statements():
            if s.kind in ("instruction", "macro", "directive"):
                groups.setdefault((s.file, s.macro, s.routine, s.section), []).append(s)
        found = [tuple(group) for group in groups.values()]
        return {id(s): (group, n) for group in found for n, s in enumerate(group)}

    def sequence(self, statement: Statement) -> tuple[tuple[Statement, ...], int]:
        """The statements that stand with one, in order, and its place among them.

        A label that stands alone has the place of what follows it.
        """
        if id(statement) not in self._places:
            following = (s for s in self.tree.files[statement.file] if s.line > statement.line)
            beside = next((s for s in following if id(s) in self._places), None)
            return self._places[id(beside)] if beside is not None else ((), 0)
        return self._places[id(statement)]

    @cached_property
    def sequences(self) -> tuple[tuple[Statement, ...], ...]:
        """Every such sequence of the tree."""
        return tuple({id(group): group for group, _ in self._places.values()}.values())

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

    @cached_property
    def values(self) -> dict[str, int]:
        """The constants of the tree whose value can be known without assembling it."""
        known: dict[str, int] = {}

        def value(name: str, depth: int = 0) -> int | None:
            if name in known or name not in self.tree.constants or depth > 12:
                return known.get(name)
            try:
                parsed = expr.parse_cached(self.tree.constants[name].expression)
                found = parsed.evaluate(lambda inner: value(inner, depth + 1))
            except ValueError:
                return None
            if found is not None:
                known[name] = found
            return found

        for name in self.tree.constants:
            value(name)
        return known

    @cached_property
    def orphans(self) -> frozenset[str]:
        """Names defined and never used: constants, data, routines. What should name them may be missing."""
        used = set(self.tree.references) | self._entries
        names = [*self.tree.constants, *self.tree.labels]
        return frozenset(n for n in names if n not in used)

    @cached_property
    def _entries(self) -> set[str]:
        """Names that tables outside the sources use: the units of boot.toml, the entries of image.toml."""
        found: set[str] = set()
        for name in ("boot.toml", "image.toml"):
            path = self.case.tree / name
            if path.is_file():
                found |= set(_strings(tomllib.loads(path.read_text(encoding="utf-8"))))
        return found

    def local_labels(self, statement: Statement) -> tuple[str, ...]:
        """The ``.L`` labels of a statement's routine in order."""
        routine = self.tree.routines.get(statement.routine or "")
        return tuple(
            n for s in (routine.statements if routine else ()) for n in s.labels if n.startswith(".L")
        )

    @cached_property
    def unused_labels(self) -> frozenset[tuple[str, str]]:
        """(file, ``.L`` label) that no operand of the file names."""
        used = {(s.file, t.text) for s in self.tree.statements() for t in symbols(s)}
        return frozenset(k for k in self.tree.local_labels if k[1].startswith(".L") and k not in used)

    def is_orphan(self, statement: Statement, name: str) -> bool:
        """Nothing of the tree uses the name (a ``.L`` label: nothing of the statement's file)."""
        return name in self.orphans or (statement.file, name) in self.unused_labels

    def family(self, name: str) -> tuple[str, ...]:
        """Names of the same sort that share words with ``name``, nearest first; orphans count as nearer."""
        if name not in self._families:
            self._families[name] = self._make_family(name)
        return self._families[name]

    def _make_family(self, name: str) -> tuple[str, ...]:
        sort = self._sort(name)
        if sort is None:
            return ()
        own = self.values.get(name)
        ranked = []
        for other in self._sorts.get(sort, ()):
            if other == name or (own is not None and self.values.get(other) == own):
                continue
            score = self._likeness(name, other)
            if score > 0:
                ranked.append((-score - (3.0 if other in self.orphans else 0.0), other))
        return tuple(other for _, other in sorted(ranked))

    def _likeness(self, name: str, other: str) -> float:
        a, b = _words(name), _words(other)
        front = _common(a, b)
        back = _common(a[::-1], b[::-1])
        if front + back == 0:
            return 0.0
        return 2.0 * front + 1.5 * back - 0.3 * abs(len(a) - len(b)) + self._nearness(name, other)

    def _nearness(self, name: str, other: str) -> float:
        places = [self._defined_at(n) for n in (name, other)]
        if places[0] is None or places[1] is None or places[0][0] != places[1][0]:
            return 0.0
        return 2.0 / (1 + abs(places[0][1] - places[1][1]) / 4)

    def _defined_at(self, name: str) -> tuple[str, int] | None:
        if name in self.tree.constants:
            constant = self.tree.constants[name]
            return constant.file, constant.line
        return self.tree.labels[name].key if name in self.tree.labels else None

    def _sort(self, name: str) -> str | None:
        if name in self.tree.constants:
            return "constant"
        if name in self.tree.routines:
            return "routine"
        if name in self.tree.labels:
            return "data"
        return "macro" if name in self.tree.macros else None

    @cached_property
    def _sorts(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for name in (*self.tree.constants, *self.tree.labels, *self.tree.macros):
            sort = self._sort(name)
            if sort:
                table.setdefault(sort, []).append(name)
        return table

    # --- registers -------------------------------------------------------------------------------------------

    def hand(self, statement: Statement) -> tuple[str, ...]:
        """Registers with a value before a statement that its routine names or takes, in the order of their use."""
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


def with_register(name: str, like: str) -> str:
    """A register (by its 64-bit name) in the width of another: ``with_register("rbx", "ecx") == "ebx"``."""
    return sized(name, headers.register_bits(like) or 64)


@lru_cache(maxsize=256)
def sized(full: str, bits: int) -> str:
    """The name of a general register's low ``bits``."""
    if full[1].isdigit():
        return full + {64: "", 32: "d", 16: "w", 8: "b"}[bits]
    stem = full[1:]
    if bits == 8:
        return stem[0] + "l" if stem.endswith("x") else stem + "l"
    return {64: "r", 32: "e", 16: ""}[bits] + stem


def shape(statement: Statement) -> str:
    """The statement with registers and local labels as their sorts, constants by name: what it does, not to what."""
    return f"{statement.prefix} {statement.name} " + ",".join(_shape_of(o.text) for o in statement.operands)


@lru_cache(maxsize=1 << 14)
def _shape_of(operand: str) -> str:
    parts = []
    for token in tokens(operand):
        text = token.text
        bits = headers.register_bits(text)
        if bits is not None and headers.full_register(text) != "rsp":
            parts.append(f"r{bits}")
        elif text.startswith(".L") or (text[0].isdigit() and text[-1] in "bf" and text[:-1].isdigit()):
            parts.append("L")
        else:
            parts.append(text)
    return "".join(parts)


@lru_cache(maxsize=1 << 14)
def coarse(operand: str) -> str:
    """The sort of an operand alone: register of a width, memory, number, symbol."""
    if "[" in operand:
        return "mem"
    bits = headers.register_bits(operand)
    if bits is not None:
        return f"r{bits}"
    if is_register(operand):
        return operand.lower()
    return "name" if any(is_symbol(t.text) for t in tokens(operand)) else "number"


def sort_of(statement: Statement) -> str:
    """Mnemonic and sorts of operands."""
    return f"{statement.name} " + ",".join(coarse(o.text) for o in statement.operands)


def is_assignment(statement: Statement) -> bool:
    """``.set``, ``.equ``, ``=``."""
    return statement.name in ASSIGNMENTS and len(statement.operands) > 1


def declares(statement: Statement) -> bool:
    """A directive whose operands are no uses: ``.globl``, ``.type`` and the like."""
    return statement.name in _DECLARING


@lru_cache(maxsize=1 << 13)
def _words(name: str) -> tuple[str, ...]:
    return tuple(w for w in name.replace(".", "_").upper().split("_") if w)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for v in value.values() for s in _strings(v)]
    return [s for v in value for s in _strings(v)] if isinstance(value, list) else []
