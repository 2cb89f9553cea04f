"""What a repair teaches: its edit with registers, constants, symbols and labels as holes, and where it stood.

Owns the form of ``Lesson.edit`` and its inverse, finding the places of another tree where the same edit makes
sense. A lesson's edit is plain JSON: ``{"operator": ..., "steps": [{"routine", "role", "file", "before", "remove",
"insert", "after"}]}``, the last four lists of shapes (``architect.shape``). Never boots, never stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from typing import Any

from architect import shape
from architect.protocols import Case, Edit, Patch
from architect.statements import Reader, label_arguments

CONTEXT = 3  # statements kept on either side of an edit
WINDOW = 5  # statements on either side of a place in which a lesson's context is looked for
GAP = 0.5  # how much less a statement of the context counts for each that stands in between
NEARBY = 8  # statements around a place whose registers and labels are tried for unbound holes
# The distance of a place from the lesson's: what of its context is missing, how far down the list of suspects its
# routine is, and whether it is the very routine.
MISSING, RANK, FAR, HOME = 2.0, 0.5, 9, 4.0
VARIANTS_MAX = 6  # ways of filling unbound holes at one place


@dataclass(frozen=True, slots=True)
class Row:
    """One statement of a source: its line (0-based), its text, the routine that it stands in, its mnemonic."""

    line: int
    text: str
    routine: str
    name: str


class Listing:
    """A source as statements, with the routine of each.

    Args:
        text: the source.
        macros: ``statements.label_arguments`` of the tree: which macros make labels of their arguments.
    """

    def __init__(self, text: str, macros: Mapping[str, tuple[int, ...]]) -> None:
        reader = Reader("", macros)
        self.lines = text.split("\n")
        self.rows: list[Row] = []
        self.labels: list[tuple[int, str]] = []
        for number, line in enumerate(self.lines):
            for statement in reader.line(number + 1, line):
                self.labels += [(number, label) for label in statement.labels]
                if statement.code.text:
                    text = statement.code.text
                    self.rows.append(Row(number, text, statement.routine or "", shape.mnemonic(text)))

    def at(self, line: int) -> int:
        """Index of the first row at or after a 0-based line."""
        return next((n for n, row in enumerate(self.rows) if row.line >= line), len(self.rows))

    def routine_at(self, line: int) -> str:
        """The routine that a 0-based line belongs to."""
        before = [row for row in self.rows if row.line <= line]
        return before[-1].routine if before else ""


def listings(sources: Mapping[str, str]) -> dict[str, Listing]:
    """The listing of every source of a tree."""
    macros = label_arguments(sources.values())
    return {name: Listing(text, macros) for name, text in sources.items()}


def role(routine: str, case: Case) -> str:
    """What the routine is to the failure: ``faulting``, ``suspect``, ``caller``, ``unit`` or ``elsewhere``."""
    report = case.report
    if report is None:
        return "elsewhere"
    if report.place and report.place.symbol == routine:
        return "faulting"
    if any(routine in d.suspects for d in report.diagnosis):
        return "suspect"
    if any(place.symbol == routine for place in report.trace):
        return "caller"
    return "unit" if report.unit and report.unit.replace("-", "_") in routine else "elsewhere"


def generalise(patch: Patch, case: Case) -> dict[str, Any]:
    """The edit of a proved patch in the form that a lesson keeps."""
    namer = shape.Namer()
    macros = label_arguments(case.sources.values())
    steps = []
    for edit in patch.edits:
        rows = Listing(case.sources[edit.file], macros)
        line, old, new = _trimmed(edit)
        start, end = rows.at(line), rows.at(line + len(old))
        routine = rows.routine_at(line - 1 if not old and line else line)
        before = [row.text for row in rows.rows[max(0, start - CONTEXT) : start]]
        after = [row.text for row in rows.rows[end : end + CONTEXT]]
        steps.append(
            {
                "routine": routine,
                "role": role(routine, case),
                "file": edit.file,
                "before": [namer.shape(text) for text in before],
                "remove": [namer.shape(row.text) for row in rows.rows[start:end]],
                "insert": [namer.shape(text) for text in map(shape.statement, new) if text],
                "after": [namer.shape(text) for text in after],
            }
        )
    kind = patch.operator.split(":", 2)[-1] if patch.operator.startswith("lesson:") else patch.operator
    return {"operator": kind, "steps": steps}


def _trimmed(edit: Edit) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The edit without the lines that its two sides share at either end; the line 0-based."""
    old, new, line = edit.old, edit.new, edit.line - 1
    while old and new and old[0] == new[0]:
        old, new, line = old[1:], new[1:], line + 1
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return line, old, new


def _agreement(
    shapes: Sequence[str], near: Sequence[Row], bound: shape.Binding
) -> tuple[float, shape.Binding]:
    """How much of a lesson's context stands near a place, in the same order, gaps allowed; and the holes it fills."""
    agreed, position = 0.0, 0
    for wanted in shapes:
        first = shape.mnemonic(wanted)
        for gap, row in enumerate(near[position:]):
            if row.name != first:
                continue
            more = shape.match(wanted, row.text, bound)
            if more is not None:
                bound, agreed, position = more, agreed + 1 / (1 + GAP * gap), position + gap + 1
                break
    return agreed, bound


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step of a lesson fits: rows ``start:end`` of a file, how much of the context agreed, the holes."""

    file: str
    start: int
    end: int
    agreed: float
    bound: Mapping[str, str]


class Adapter:
    """Finds in a case where the edits of lessons fit, and fills them in.

    Args:
        case: the kernel at hand.
        rank: routine -> how likely it is at fault, 0 is likeliest; others come last.
    """

    def __init__(self, case: Case, rank: Mapping[str, int]) -> None:
        self.case = case
        self.rank = rank
        self.listings = listings(case.sources)
        self._used_with: dict[frozenset[str], list[str]] = {}

    def edits(self, lesson_edit: Mapping[str, Any]) -> Iterator[tuple[float, tuple[Edit, ...]]]:
        """Ways of making the lesson's edit here, each with a distance: 0 for the same edit in the same context."""
        steps = lesson_edit["steps"]
        first = self._ways(steps[0])
        if len(steps) == 1:
            yield from ((distance, (edit,)) for distance, edit in first)
            return
        for distance, edit in islice(first, VARIANTS_MAX):
            others = [next(iter(self._ways(step)), None) for step in steps[1:]]
            rest = [other for other in others if other is not None]
            if len(rest) == len(steps) - 1:
                yield distance + sum(d for d, _ in rest), (edit, *(e for _, e in rest))

    def _ways(self, step: Mapping[str, Any]) -> list[tuple[float, Edit]]:
        found: list[tuple[float, Edit]] = []
        for place in self._places(step):
            found += self._filled(step, place)
        return sorted(found, key=lambda pair: pair[0])

    def _places(self, step: Mapping[str, Any]) -> Iterator[Place]:
        remove = step["remove"]
        context = len(step["before"]) + len(step["after"])
        needed = min(context, 1 if remove else 2)
        sound = self._sound(step)
        for name, listing in self.listings.items():
            rows = listing.rows
            for start in range(len(rows) - len(remove) + 1):
                bound: shape.Binding | None = {}
                for wanted, row in zip(remove, rows[start:], strict=False):
                    bound = shape.match(wanted, row.text, bound) if bound is not None else None
                if bound is None or (start < len(rows) and (name, rows[start].routine) in sound):
                    continue
                end = start + len(remove)
                before = list(reversed(rows[max(0, start - WINDOW) : start]))
                agreed, bound = _agreement(list(reversed(step["before"])), before, bound)
                more, bound = _agreement(step["after"], rows[end : end + WINDOW], bound)
                if agreed + more >= needed:
                    yield Place(name, start, end, agreed + more, bound)

    def _sound(self, step: Mapping[str, Any]) -> set[tuple[str, str]]:
        """The routines, by file, where the edit stands as it was made: they do not want it again."""
        whole = [*step["before"][-1:], *step["insert"], *step["after"][:1]]
        if step["remove"] or len(whole) < len(step["insert"]) + 2:
            return set()
        found = set()
        for name, listing in self.listings.items():
            rows = listing.rows
            for start in range(len(rows) - len(whole) + 1):
                bound: shape.Binding | None = {}
                for wanted, row in zip(whole, rows[start:], strict=False):
                    bound = shape.match(wanted, row.text, bound) if bound is not None else None
                    if bound is None:
                        break
                else:
                    found.add((name, rows[start].routine))
        return found

    @staticmethod
    def _stands(texts: Sequence[str], near: Sequence[Row]) -> bool:
        """Whether what would be inserted stands close by already."""
        there = {shape.tokens(row.text) for row in near}
        return bool(texts) and all(shape.tokens(text) in there for text in texts)

    def _filled(self, step: Mapping[str, Any], place: Place) -> Iterator[tuple[float, Edit]]:
        listing = self.listings[place.file]
        rows = listing.rows
        at = rows[place.start] if place.start < len(rows) else rows[-1]
        wanted = {hole: seen for text in step["insert"] for hole, seen in shape.holes(text).items()}
        free = [hole for hole in wanted if hole not in place.bound]
        choices = [self._choices(hole, wanted[hole], step, listing, place) for hole in free]
        missing = len(step["before"]) + len(step["after"]) - place.agreed
        base = MISSING * missing + RANK * min(self.rank.get(at.routine, FAR), FAR)
        base -= HOME * (at.routine == step["routine"])
        distinct = (values for values in product(*choices) if len(set(values)) == len(values))
        for turn, values in enumerate(islice(distinct, VARIANTS_MAX)):
            bound = {**place.bound, **dict(zip(free, values, strict=True))}
            filled = [shape.fill(text, bound) for text in step["insert"]]
            texts = [text for text in filled if text is not None]
            near = rows[max(0, place.start - CONTEXT) : place.end + CONTEXT]
            if len(texts) < len(filled) or (not step["remove"] and self._stands(texts, near)):
                continue
            edit = self._edit(listing, place, texts)
            if edit is not None:
                yield base + turn, edit

    def _edit(self, listing: Listing, place: Place, texts: Sequence[str]) -> Edit | None:
        removed = listing.rows[place.start : place.end]
        if removed:
            first, last = removed[0].line, removed[-1].line
        else:
            previous = listing.rows[place.start - 1].line if place.start else -1
            first, last = previous + 1, previous
        old = tuple(listing.lines[first : last + 1])
        indent = _indent(listing.lines[removed[0].line] if removed else listing.lines[max(0, first - 1)])
        comment = _comment(old[0]) if len(old) == len(texts) == 1 else ""
        new = tuple(indent + text + (f"  {comment}" if comment else "") for text in texts)
        labels = [label for line in old for label in shape.split_labels(line)[0]]
        new = (*(f"{label}:" for label in labels), *new)  # labels on removed lines stay
        same = [shape.statement(line) for line in old] == [shape.statement(line) for line in new]
        return None if same else Edit(place.file, first + 1, old, new)

    def _choices(
        self, hole: str, seen: str, step: Mapping[str, Any], listing: Listing, place: Place
    ) -> list[str]:
        line = listing.rows[min(place.start, len(listing.rows) - 1)].line
        near = listing.rows[max(0, place.start - NEARBY) : place.end + NEARBY]
        near = sorted(near, key=lambda row: abs(row.line - line))
        if hole[0] == "r":
            around = dict.fromkeys(r for row in near for r in shape.registers(row.text))
            taken = set(place.bound.values())
            return [r for r in dict.fromkeys([seen, *around]) if r and r not in taken]
        if hole[0] == "l":
            local = [(n, name) for n, name in listing.labels if name.startswith(".L")]
            return [
                name for _, name in sorted(local, key=lambda pair: (pair[0] < line, abs(pair[0] - line)))
            ][:3]
        if hole[0] == "s":
            return [seen] if seen in self._words else []
        known = [seen] if seen[0].isdigit() or seen in self._words else []
        return [*known, *(c for c in self._slot_constants(step) if c not in known)]

    def _slot_constants(self, step: Mapping[str, Any]) -> list[str]:
        """Constants that this tree uses with the mnemonics of the inserted statements, commonest first."""
        kinds = frozenset(shape.mnemonic(text) for text in step["insert"])
        if kinds not in self._used_with:
            self._used_with[kinds] = self._constants_with(kinds)
        return self._used_with[kinds]

    def _constants_with(self, kinds: frozenset[str]) -> list[str]:
        counts: dict[str, int] = {}
        for listing in self.listings.values():
            for row in listing.rows:
                if row.name in kinds:
                    for constant in shape.constants(row.text):
                        counts[constant] = counts.get(constant, 0) + 1
        return sorted(counts, key=lambda c: -counts[c])

    @cached_property
    def _words(self) -> frozenset[str]:
        """Every name that the sources mention."""
        rows = (row for listing in self.listings.values() for row in listing.rows)
        defined = {name for listing in self.listings.values() for _, name in listing.labels}
        return frozenset(defined | {t for row in rows for t in shape.tokens(row.text)})


def resembles(patch: Patch, lesson_edit: Mapping[str, Any]) -> bool:
    """Whether a patch makes the lesson's kind of edit: the same shapes removed and inserted, context aside."""
    steps = lesson_edit["steps"]
    if len(patch.edits) != len(steps):
        return False
    for edit, step in zip(patch.edits, steps, strict=True):
        _, old, new = _trimmed(edit)
        bound: shape.Binding | None = {}
        for shapes, lines in ((step["remove"], old), (step["insert"], new)):
            texts = [text for text in map(shape.statement, lines) if text]
            if len(texts) != len(shapes):
                return False
            for wanted, text in zip(shapes, texts, strict=True):
                bound = shape.match(wanted, text, bound) if bound is not None else None
        if bound is None:
            return False
    return True


def _comment(line: str) -> str:
    """The ``#`` comment that ends a line, or nothing."""
    found = line.find("#", len(line) - len(line.lstrip()) + len(shape.strip_comment(line)))
    return line[found:].rstrip() if found >= 0 else ""


def _indent(line: str) -> str:
    lead = line[: len(line) - len(line.lstrip())]
    return lead or "    "
