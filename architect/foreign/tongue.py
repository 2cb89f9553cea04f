"""A foreign tree in the words of the search: line by line, and repairs back into its own syntax.

Owns ``Translation``: one line of ours for each line of theirs, so that places agree; labels that are only jumped to
within one routine become local, as ours are; a repair comes back with the indentation, spacing and comments of the
line that it changes. Lines that have no counterpart are blank to the search and are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from architect.foreign import att, nasm
from architect.foreign.labels import local_labels, renamed, renamed_back
from architect.foreign.words import Cut, Untold, cut, head
from architect.protocols import Case, Edit, Patch
from architect.statements import Reader, Statement, label_arguments
from toolchain.types import CodePlace, FaultReport

ASSEMBLY = (".s", ".S", ".asm", ".nasm", ".inc", ".mac")
_GAS_MARKS = ("#",)
_GAS_LABEL = att.LABEL
_SET = re.compile(
    r"^\s*(?:\.(?:set|equ|equiv)\s+([\w.$]+)\s*,|([A-Za-z_.$][\w.$]*)\s*=(?!=)|#\s*define\s+(\w+)\s)"
)
_MACRO = re.compile(r"^\s*\.macro\s+([\w.$]+)")
_GLOBAL = re.compile(r"^\s*\.(?:globl|global)\s+(.*)")
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def is_assembly(name: str) -> bool:
    """Whether a file of a tree is assembly, by its name."""
    return name.endswith(ASSEMBLY)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: theirs in parts, ours, and what stands above it."""

    theirs: Cut
    ours: str
    parent: str
    told: bool


class Translation:
    """Some sources of one tree.

    Args:
        syntax: a name of ``pxos.toml``.
        texts: file -> text; what is no assembly is left out.

    Attributes:
        exports: declarations of the names that files share by including each other; empty where they export names.
    """

    def __init__(self, syntax: str, texts: Mapping[str, str]) -> None:
        self.syntax = syntax
        self.texts = {name: text for name, text in texts.items() if is_assembly(name)}
        self._constants = frozenset(self._defined())
        self._macros = frozenset(m for t in self.texts.values() for line in t.split("\n")
                                 for m in _MACRO.findall(line))  # fmt: skip
        self._lines = {name: self._file(text) for name, text in self.texts.items()}
        plain = {name: [line.ours for line in rows] for name, rows in self._lines.items()}
        self._local = local_labels(plain)
        self._back = {name: {f".L{label}": label for label in labels} for name, labels in self._local.items()}
        self.ours = {
            name: [renamed(line, self._local[name]) for line in rows] for name, rows in plain.items()
        }
        shared = syntax == "nasm" and not any(_GLOBAL.match(line) for rows in plain.values() for line in rows)
        self.exports = "\n".join(f".globl {name}" for name in self._labels_of_all()) if shared else ""

    # --- their text to ours --------------------------------------------------------------------------------

    @cached_property
    def sources(self) -> dict[str, str]:
        """File -> text for the search."""
        return {name: "\n".join(lines) for name, lines in self.ours.items()}

    def _labels_of_all(self) -> Iterable[str]:
        """Every label that is not local: where files include each other, each sees those of all."""
        for rows in self.ours.values():
            for line in rows:
                lead = cut(line, _GAS_MARKS, _GAS_LABEL).lead
                yield from (label for label in re.findall(r"([\w.$]+):", lead) if not label.startswith(".L"))

    def _defined(self) -> Iterable[str]:
        """The names of constants, as the search names them."""
        for text in self.texts.values():
            parent = ""
            for line in text.split("\n"):
                if self.syntax == "nasm":
                    code = cut(line, nasm.COMMENTS, nasm.LABEL)
                    parent = _parent(code.lead, parent)
                    found = nasm._EQU.fullmatch(code.code) or nasm._DEFINE.fullmatch(code.code)
                    if found:
                        yield nasm.spread(found[1], parent)
                elif match := _SET.match(line):
                    yield next(filter(None, match.groups()))

    def _file(self, text: str) -> list[_Line]:
        found, parent = [], ""
        if self.syntax != "nasm":  # comments over lines, blanked out column by column
            text = _BLOCK_COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
        for raw in text.split("\n"):
            if self.syntax == "nasm":
                parts = cut(raw, nasm.COMMENTS, nasm.LABEL)
                parent = _parent(parts.lead, parent)
                lead = _spread_labels(parts.lead, parent)
                found.append(self._line(parts, lead, parent))
            else:
                marks = att.COMMENTS if self.syntax == "gas-att" else ("#", "//")
                parts = cut(raw, marks, _GAS_LABEL)
                found.append(self._line(parts, parts.lead, parent))
        return found

    def _line(self, parts: Cut, lead: str, parent: str) -> _Line:
        code, told = "", True
        if parts.code:
            try:
                code = self._to_ours(parts.code, parent)
            except Untold:
                told = False
        comment = f"  # {parts.comment}" if parts.comment else ""
        return _Line(
            parts, f"{lead}{code}{comment}".rstrip() if code or parts.lead.strip() else comment, parent, told
        )

    def _to_ours(self, code: str, parent: str) -> str:
        if self.syntax == "nasm":
            return nasm.to_intel(code, parent, self._constants.__contains__)
        if self.syntax == "gas-att" and head(code)[1] not in self._macros:
            return att.to_intel(code, self._constants.__contains__)
        return code

    # --- ours back to theirs -------------------------------------------------------------------------------

    def back(self, patch: Patch) -> Patch | None:
        """A repair of the search in the tree's own syntax; None for one that cannot be written or changes nothing."""
        edits: list[Edit] = []
        try:
            for edit in patch.edits:
                made = self._edit(edit)
                if made is not None:
                    edits.append(made)
        except Untold:
            return None
        return replace(patch, edits=tuple(edits)) if edits else None

    def _edit(self, edit: Edit) -> Edit | None:
        rows, start = self._lines[edit.file], edit.line - 1
        theirs = [row.theirs.line for row in rows[start : start + len(edit.old)]]
        if any(not row.told for row in rows[start : start + len(edit.old)]):
            raise Untold(edit.file)
        new = []
        for n, line in enumerate(edit.new):
            template = start + n if len(edit.new) == len(edit.old) else self._like(edit, line)
            new.append(self._written(edit.file, line, template, start))
        if tuple(new) == tuple(theirs):
            return None
        return Edit(edit.file, edit.line, tuple(theirs), tuple(new))

    def _like(self, edit: Edit, line: str) -> int | None:
        """Of the replaced lines the one that a new line was."""
        return next((edit.line - 1 + n for n, old in enumerate(edit.old) if old == line), None)

    def _written(self, file: str, line: str, template: int | None, near: int) -> str:
        """One line of ours as theirs; in the form of the line ``template``, or of its surroundings."""
        rows, ours = self._lines[file], self.ours[file]
        if template is not None and ours[template] == line:
            return rows[template].theirs.line
        known = self._known(file, line)
        if known is not None and template is None:
            return known
        parts = cut(line, _GAS_MARKS, _GAS_LABEL)
        place = template if template is not None else min(near, len(rows) - 1)
        code = (
            self._to_theirs(renamed_back(parts.code, self._back[file]), rows[place].parent)
            if parts.code
            else ""
        )
        if template is None:
            lead = (
                self._lead(file, near)
                if not parts.lead.strip()
                else self._labels(parts.lead, file, rows[place].parent)
            )
            return f"{lead}{_spaced(code, self._style(file))}".rstrip()
        old = rows[template].theirs
        same = parts.lead.split() == cut(ours[template], _GAS_MARKS, _GAS_LABEL).lead.split()
        lead = old.lead if same else self._labels(parts.lead, file, rows[place].parent)
        if not code:
            return lead.rstrip()
        return _aligned(lead, _spaced(code, _gap(old.code) or self._style(file)), old)

    def _known(self, file: str, line: str) -> str | None:
        """The original of a line of ours that stands somewhere already."""
        for name in (file, *(n for n in self.ours if n != file)):
            if line in self._index[name]:
                return self._lines[name][self._index[name][line]].theirs.line
        return None

    @cached_property
    def _index(self) -> dict[str, dict[str, int]]:
        return {
            name: {
                line: n
                for n, line in reversed(list(enumerate(rows)))
                if line.strip() and self._lines[name][n].told
            }
            for name, rows in self.ours.items()
        }

    def _to_theirs(self, code: str, parent: str) -> str:
        if self.syntax == "nasm":
            return nasm.from_intel(code, parent)
        if self.syntax == "gas-att" and head(code)[1] not in self._macros:
            return att.from_intel(code, self._constants.__contains__)
        return code

    def _labels(self, lead: str, file: str, parent: str) -> str:
        names = [self._back[file].get(name, name) for name in re.findall(r"([\w.$]+):", lead)]
        said = [f"{nasm.gather(n, parent) if self.syntax == 'nasm' else n}:" for n in names]
        indent = lead[: len(lead) - len(lead.lstrip())]
        return indent + " ".join(said) + (" " if said else "")

    def _lead(self, file: str, near: int) -> str:
        """The indentation of code around a line."""
        rows = self._lines[file]
        order = sorted(range(len(rows)), key=lambda n: abs(n - near))
        for n in order[:60]:
            row = rows[n].theirs
            if row.code and row.lead.strip() == "" and row.lead:
                return row.lead
        return "        "

    def _style(self, file: str) -> int:
        """At which column of a statement operands begin, mostly; 0 where they follow a single blank."""
        gaps = [_gap(row.theirs.code) for row in self._lines[file] if row.theirs.code]
        wide = [gap for gap in gaps if gap]
        return max(set(wide), key=wide.count) if len(wide) * 2 > len(gaps) else 0

    # --- cases ---------------------------------------------------------------------------------------------

    def case(self, case: Case, tree: Path) -> Case:
        """What is known of a failure, in the words of the search; ``tree`` is a folder without sources."""
        report = self.report(case.report) if case.report is not None else None
        baseline = {}
        if case.baseline:
            baseline = Translation(self.syntax, {**self.texts, **case.baseline}).sources
            baseline = {name: baseline[name] for name in case.baseline if name in baseline}
        return replace(case, tree=tree, sources=self.sources, report=report, baseline=baseline)

    def forward(self, patch: Patch) -> Patch | None:
        """A repair in the tree's own syntax in the words of the search; None for one of other files."""
        from architect.plausibility import apply
        from architect.search import difference

        texts = dict(self.texts)
        for file in {edit.file for edit in patch.edits}:
            if file not in texts:
                return None
            own = [edit for edit in patch.edits if edit.file == file]
            texts[file] = "\n".join(apply(texts[file].split("\n"), own))
        after = Translation(self.syntax, texts)
        edits = [
            edit
            for file in sorted({edit.file for edit in patch.edits})
            for edit in difference(file, self.ours[file], after.ours[file])
        ]
        return replace(patch, edits=tuple(edits)) if edits else None

    @cached_property
    def statements(self) -> dict[tuple[str, int], Statement]:
        """(file, line) -> the statement there, in the words of the search."""
        macros = label_arguments(self.sources.values())
        found = {}
        for name, lines in self.ours.items():
            reader = Reader(name, macros)
            for number, line in enumerate(lines, 1):
                for statement in reader.line(number, line):
                    found[name, number] = statement
        return found

    def labels_at(self, file: str, line: int) -> tuple[str, ...]:
        """The labels of a line as the image names them."""
        statement = self.statements.get((file, line))
        return (
            tuple(self._back[file].get(name, name) for name in statement.labels)
            if statement is not None
            else ()
        )

    def report(self, report: FaultReport) -> FaultReport:
        """The same with routines where the image names labels."""
        place = self._place(report.place) if report.place is not None else None
        homes = {label: home for _, label, home in self._homes}
        diagnosis = tuple(
            replace(d, suspects=tuple(dict.fromkeys(homes.get(name, name) for name in d.suspects)))
            for d in report.diagnosis
        )
        return replace(
            report, place=place, trace=tuple(self._place(p) for p in report.trace), diagnosis=diagnosis
        )

    def _place(self, place: CodePlace) -> CodePlace:
        statement = self.statements.get((place.file or "", place.line or 0))
        if statement is not None and statement.routine:
            return replace(place, symbol=statement.routine)
        homes = {label: home for _, label, home in self._homes}
        return replace(place, symbol=homes.get(place.symbol, place.symbol)) if place.symbol else place

    @cached_property
    def _homes(self) -> list[tuple[str, str, str]]:
        """(file, label that became local, the routine that it stands in)."""
        return [
            (name, label, statement.routine)
            for (name, _), statement in self.statements.items()
            for mark in statement.labels
            if (label := self._back[name].get(mark)) and statement.routine
        ]


# --- helpers ---------------------------------------------------------------------------------------------------


def _spread_labels(lead: str, parent: str) -> str:
    """Nasm's labels as the search names them, each with its colon."""
    return re.sub(r"([\w.$?@#~]+):?", lambda found: f"{nasm.spread(found[1], parent)}:", lead)


def _parent(lead: str, before: str) -> str:
    """Nasm's last label that is not local."""
    for name in re.findall(r"([\w.$?@#~]+):?", lead):
        if not name.startswith("."):
            before = name
    return before


def _gap(code: str) -> int:
    """The column at which a statement's operands begin, when more than a single blank leads there; else 0."""
    found = re.match(r"(\S+)(\s{2,}|\t+)(?=\S)", code)
    return found.end() if found and "\t" not in found[2] else 0


def _spaced(code: str, column: int) -> str:
    """A statement with its operands at a column, if that is not 0."""
    words = code.split(None, 1)
    return f"{words[0].ljust(column - 1)} {words[1]}" if len(words) > 1 and column else code


def _aligned(lead: str, code: str, old: Cut) -> str:
    """A new statement before an old line's comment, which keeps its column where there is room."""
    if not old.tail.strip():
        return f"{lead}{code}".rstrip()
    gap = len(old.tail) - len(old.tail.lstrip())
    column = len(old.lead) + len(old.code) + gap
    return f"{(lead + code).ljust(column - 1)} {old.tail.lstrip()}"
