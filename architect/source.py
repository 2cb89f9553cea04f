"""A kernel tree as the search sees it: routines, constants, macros, labels, and who names whom.

Owns the view across files. It never judges what it reads: ``flow`` knows what an instruction does, ``localise``
what is suspicious.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from architect.statements import ASSIGNMENTS, Reader, Statement, label_arguments, names, symbols
from toolchain import generate, headers

_T = TypeVar("_T")

GENERATED = "gen"
_DATA_LINES = 24  # of a long table
_DECLARING = frozenset({".globl", ".global", ".type", ".size", ".local", ".extern", ".macro", ".include"})


@dataclass(frozen=True, slots=True)
class Routine:
    """A stretch of code under a global label, up to the next one. ``header`` is what its comment promises."""

    name: str
    file: str
    first: int
    last: int
    statements: tuple[Statement, ...]
    header: headers.Routine | None


@dataclass(frozen=True, slots=True)
class Constant:
    """``.set NAME, expression``."""

    name: str
    expression: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro of the tree with its parameters and the statements of its body."""

    name: str
    parameters: tuple[str, ...]
    file: str
    line: int
    body: tuple[Statement, ...]


class Tree:
    """Every source of one kernel tree, parsed; ``editable`` says which of them a patch may touch."""

    _last: ClassVar[Tree | None] = None

    def __init__(self, sources: Mapping[str, str], read_only: Mapping[str, str] | None = None) -> None:
        self._derived: dict[str, Any] = {}
        self.editable = frozenset(sources)
        self.texts: dict[str, str] = {**(read_only or {}), **sources}
        self.lines: dict[str, list[str]] = {f: t.split("\n") for f, t in self.texts.items()}
        self.label_arguments = label_arguments(self.texts.values())
        self.files: dict[str, tuple[Statement, ...]] = {}
        known = self._last if self._last and self._last.label_arguments == self.label_arguments else None
        for file, lines in sorted(self.lines.items()):
            if known is not None and known.texts.get(file) == self.texts[file]:
                self.files[file] = known.files[file]  # a variant of the same tree differs in few files
                continue
            reader = Reader(file, self.label_arguments)
            self.files[file] = tuple(s for n, text in enumerate(lines, 1) for s in reader.line(n, text))

    @classmethod
    def of(cls, tree: Path, sources: Mapping[str, str]) -> Tree:
        """The tree of a case: its editable sources, and what lies beside them or is generated for them to read.

        The last one is kept, so that it can be made before the case is known.
        """
        other = {}
        for path in sorted(tree.rglob("*")):
            name = path.relative_to(tree).as_posix()
            if path.suffix in (".s", ".S", ".inc") and name not in sources and path.is_file():
                other[name] = path.read_text(encoding="utf-8", errors="replace")
        if (tree / "boot.toml").is_file():
            other |= {f"{GENERATED}/{name}": text for name, text in generate.texts(tree).items()}
        texts = {**other, **sources}
        last = cls._last
        if last is None or last.texts != texts or last.editable != frozenset(sources):
            last = cls._last = cls(sources, other)
        return last

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """What others make of this tree alone, by name: made when it is first asked for, and once."""
        if name not in self._derived:
            self._derived[name] = make()
        made: _T = self._derived[name]
        return made

    def statements(self) -> Iterator[Statement]:
        """Every statement of every file."""
        for statements in self.files.values():
            yield from statements

    @cached_property
    def routines(self) -> dict[str, Routine]:
        """Name -> routine, for labels that instructions (or macro calls) follow."""
        found: dict[str, Routine] = {}
        for file, statements in self.files.items():
            declared = {h.name: h for h in headers.parse(self.texts[file], file)}
            group: list[Statement] = []
            for statement in (*statements, None):
                if statement is not None and statement.routine and not _starts(statement, statement.routine):
                    if group:
                        group.append(statement)
                    continue
                self._close(found, group, declared)
                group = [statement] if statement is not None and statement.routine else []
        return found

    def _executes(self, statement: Statement, depth: int = 4) -> bool:
        """Whether it becomes code: an instruction, or a macro with one in it; one that is not known may."""
        if statement.kind != "macro":
            # a label made of a parameter reads like an instruction
            return statement.kind == "instruction" and not statement.name.endswith(":")
        macro = self.macros.get(statement.name)
        return macro is None or (depth > 0 and any(self._executes(s, depth - 1) for s in macro.body))

    def _close(
        self, found: dict[str, Routine], group: list[Statement], declared: Mapping[str, headers.Routine]
    ) -> None:
        if not any(self._executes(s) for s in group):
            return
        name = group[0].routine
        assert name is not None
        body = [s for s in group if s.macro is None]
        code = [s for s in body if s.kind in ("instruction", "macro", "directive")]
        last = code[-1].line if code else group[0].line
        kept = tuple(s for s in body if s.line <= last)
        found.setdefault(name, Routine(name, group[0].file, group[0].line, last, kept, declared.get(name)))

    @cached_property
    def headers(self) -> dict[str, headers.Routine]:
        """Name -> what the routine's header promises, for those that have one."""
        return {name: r.header for name, r in self.routines.items() if r.header is not None}

    @cached_property
    def by_line(self) -> dict[tuple[str, int], tuple[Statement, ...]]:
        """(file, line) -> the statements there."""
        table: dict[tuple[str, int], list[Statement]] = {}
        for statement in self.statements():
            table.setdefault(statement.key, []).append(statement)
        return {key: tuple(value) for key, value in table.items()}

    @cached_property
    def places(self) -> dict[int, tuple[tuple[Statement, ...], int]]:
        """Statement (by identity) -> the sequence of its routine, macro or datum, and its place in it."""
        groups: dict[tuple[str, str | None, str | None, str], list[Statement]] = {}
        for s in self.statements():
            if s.kind in ("instruction", "macro", "directive"):
                groups.setdefault((s.file, s.macro, s.routine, s.section), []).append(s)
        found = [tuple(group) for group in groups.values()]
        return {id(s): (group, n) for group in found for n, s in enumerate(group)}

    @cached_property
    def sequences(self) -> tuple[tuple[Statement, ...], ...]:
        """Every such sequence of the tree."""
        return tuple({id(group): group for group, _ in self.places.values()}.values())

    def data(self, file: str, label: str) -> list[tuple[str, int]]:
        """The lines of a datum, from its label as seen from a file to the next global one; empty if there is none."""
        first = self.local_labels.get((file, label)) or self.labels.get(label)
        if first is None:
            return []
        found: list[tuple[str, int]] = []
        for s in self.files[first.file]:
            if s.line >= first.line and s.routine == label and _holds_data(s):
                found.append(s.key)
                if len(found) >= _DATA_LINES:
                    break
        return found or [first.key]

    @cached_property
    def constants(self) -> dict[str, Constant]:
        """Name -> the first ``.set``/``.equ``/``=`` of it."""
        found: dict[str, Constant] = {}
        for s in self.statements():
            if s.name in ASSIGNMENTS and len(s.operands) > 1 and s.macro is None:
                name = s.operands[0].text
                found.setdefault(name, Constant(name, s.operands[1].text, s.file, s.line))
        return found

    @cached_property
    def labels(self) -> dict[str, Statement]:
        """Every label but ``.L`` and numeric ones -> the statement that carries it."""
        found: dict[str, Statement] = {}
        for (_, label), s in self.local_labels.items():
            if not label.startswith(".L"):
                found.setdefault(label, s)
        return found

    @cached_property
    def exported(self) -> frozenset[str]:
        """Names that every file sees: declared global, by a directive or by a macro such as ``function NAME``."""
        exporting = {
            name: position
            for name, macro in self.macros.items()
            for b in macro.body
            if b.name in (".global", ".globl") and b.operand(0).lstrip("\\") in macro.parameters
            for position in [macro.parameters.index(b.operand(0).lstrip("\\"))]
        }
        found = set()
        for s in self.statements():
            if s.name in (".global", ".globl"):
                found |= {o.text for o in s.operands}
            elif s.name in exporting and len(s.operands) > exporting[s.name]:
                found.add(s.operands[exporting[s.name]].text.split()[0])
        return frozenset(found)

    @cached_property
    def local_labels(self) -> dict[tuple[str, str], Statement]:
        """(file, label) -> the statement that carries it, for every label that is no number."""
        found: dict[tuple[str, str], Statement] = {}
        for statement in self.statements():
            for label in statement.labels:
                if not label.isdigit():
                    found.setdefault((statement.file, label), statement)
        return found

    @cached_property
    def macros(self) -> dict[str, Macro]:
        """Name -> macro."""
        found: dict[str, Macro] = {}
        for file, statements in self.files.items():
            for s in statements:
                if s.name == ".macro" and s.operands:
                    words = [w for o in s.operands for w in o.text.split()]
                    parameters = tuple(re.split(r"[:=]", w)[0] for w in words[1:])
                    body = tuple(b for b in statements if b.macro == words[0] and b.line > s.line)
                    found.setdefault(words[0], Macro(words[0], parameters, file, s.line, body[:-1]))
        return found

    @cached_property
    def brackets(self) -> dict[str, frozenset[int]]:
        """Macro -> the operands that it only labels and declares, as ``function NAME`` does: no use of the name."""
        return {
            name: frozenset(
                n for n, p in enumerate(macro.parameters) if not any(_uses(b, p) for b in macro.body)
            )
            for name, macro in self.macros.items()
        }

    @cached_property
    def references(self) -> dict[str, tuple[Statement, ...]]:
        """Symbol -> the statements whose operands name it; declarations (``.globl``, ``.set X``) do not count."""
        table: dict[str, list[Statement]] = {}
        for s in self.statements():
            if s.name in _DECLARING:
                continue
            skip = s.operands[0].start if s.operands and s.name in ASSIGNMENTS else -1
            for word in {t.text for t in symbols(s) if t.start != skip}:
                table.setdefault(word, []).append(s)
        return {name: tuple(found) for name, found in table.items()}

    @cached_property
    def callees(self) -> dict[str, tuple[str, ...]]:
        """Routine -> the routines that it names (calls, jumps, tables), in the order of their first naming."""
        graph: dict[str, tuple[str, ...]] = {}
        for name, routine in self.routines.items():
            seen: dict[str, None] = {}
            for s in routine.statements:
                for word in self._named(s):
                    if word in self.routines and word != name:
                        seen.setdefault(word)
            graph[name] = tuple(seen)
        return graph

    def _named(self, statement: Statement) -> Iterator[str]:
        yield from names(statement)
        if statement.kind == "macro" and statement.name in self.macros:
            for inner in self.macros[statement.name].body:
                yield from names(inner)

    @cached_property
    def callers(self) -> dict[str, tuple[str, ...]]:
        """Routine -> the routines that name it."""
        table: dict[str, list[str]] = {}
        for caller, callees in self.callees.items():
            for callee in callees:
                table.setdefault(callee, []).append(caller)
        return {name: tuple(found) for name, found in table.items()}

    def reachable(self, roots: Sequence[str], limit: int = 12) -> dict[str, int]:
        """Routine -> the least number of calls from any of ``roots`` (themselves 0)."""
        depth = {name: 0 for name in roots if name in self.routines}
        frontier = list(depth)
        for level in range(1, limit):
            frontier = [c for name in frontier for c in self.callees.get(name, ()) if c not in depth]
            for name in frontier:
                depth.setdefault(name, level)
        return depth


def _starts(statement: Statement, routine: str) -> bool:
    return routine in statement.labels


def _uses(statement: Statement, parameter: str) -> bool:
    """Whether a statement of a macro's body does more with a parameter than label or declare it."""
    return statement.name not in _DECLARING and any(f"\\{parameter}" in o.text for o in statement.operands)


def _holds_data(s: Statement) -> bool:
    return s.kind in ("directive", "macro") and s.name not in ASSIGNMENTS
