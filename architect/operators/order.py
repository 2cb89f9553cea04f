"""Operators on order: neighbours the wrong way round, a statement too early or too late, surplus statements.

Owns moves within a routine and deletions. A deletion silences weak judges, so it is penalised.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.operators.base import (
    BLOCKS,
    GAPS,
    LAYOUT,
    Operator,
    Site,
    Variant,
    indent,
    inserted_at,
    rank_bits,
    removed,
)
from architect.protocols import Edit
from architect.statements import Statement

_REACH = 12


def _movable(s: Statement) -> bool:
    """A statement alone on its line, and no end of a block."""
    if s.name in BLOCKS:
        return False
    return s.kind in ("instruction", "macro", "directive") and not s.labels and ";" not in s.code.text


def neighbours(site: Site) -> Iterator[Variant]:
    """A statement exchanged with the next one."""
    s, after = site.statement, site.following
    if after is None or not _movable(s) or not _movable(after) or after.text.strip() == s.text.strip():
        return
    if after.name.startswith("end_"):
        return  # that it ends there is what its name says, and nothing runs in another order
    edits = (
        Edit(s.file, s.line, (s.text,), (after.text,)),
        Edit(s.file, after.line, (after.text,), (s.text,)),
    )
    yield Variant(edits, 0.0, "exchanged with the next statement")


def moves(site: Site) -> Iterator[Variant]:
    """A statement moved up or down in its routine; a group of two or three moved as a whole."""
    s = site.statement
    if not _movable(s):
        return
    found, place = site.view.sequence(s)
    for size in (1, 2, 3):
        block = found[place : place + size]
        if len(block) < size or not all(_movable(b) for b in block) or block[-1].line - s.line != size - 1:
            continue
        lines = tuple(b.text for b in block)
        cut = Edit(s.file, s.line, lines, ())
        for away in range(1, _REACH + 1):
            bits = rank_bits(away) + 1.5 * (size - 1)
            if away > 1 or size > 1:
                up = site.view.neighbour(s, -away)
                if up is not None and up.line < s.line:
                    yield Variant((inserted_at(s.file, up.line, lines), cut), bits, f"moved up by {away}")
            down = site.view.neighbour(block[-1], away + 1)
            if down is not None and (away > 1 or size > 1):
                yield Variant((cut, inserted_at(s.file, down.line, lines)), bits, f"moved down by {away}")


def labels(site: Site) -> Iterator[Variant]:
    """A label moved over the next or the previous statement: a loop that begins or ends one statement off."""
    s = site.statement
    if s.kind != "label" or len(s.labels) != 1 or not (s.labels[0].startswith(".L") or s.labels[0].isdigit()):
        return
    lines = site.view.tree.lines[s.file]
    for step, note in ((1, "down"), (-1, "up")):
        for away in range(1, 7):
            at = s.line - 1 + step * away
            if not 0 <= at < len(lines):
                break
            other = site.view.tree.by_line.get((s.file, at + 1), ())
            if not other or other[0].routine != s.routine:
                break
            target = at + 2 if step > 0 else at + 1
            if any(o.kind != "blank" for o in other):
                edits = (Edit(s.file, s.line, (s.text,), ()), inserted_at(s.file, target, (s.text,)))
                yield Variant(edits, rank_bits(away - 1), f"label moved {note} by {away}")


def deletions(site: Site) -> Iterator[Variant]:
    """A statement left out, or two that belong together."""
    s = site.statement
    if not site.is_code and s.kind != "directive":
        return
    if (
        s.name.startswith(("end_", ".macro", ".endm", ".if", ".endif", ".include"))
        or s.name in site.view.tree.macros
    ):
        return
    odd = site.view.anomalies.get(s.key, ())
    bonus = 2.0 if any(a.kind == "dead" for a in odd) else 0.0
    yield Variant((removed(s),), max(0.0, 1.0 - bonus), f"without `{s.code.text}`")
    after = site.following
    if after is not None and _movable(after) and _movable(s):
        yield Variant((removed(s), removed(after)), 4.0, f"without `{s.code.text}` and `{after.code.text}`")


def repeats(site: Site) -> Iterator[Variant]:
    """A statement that says again what the one before it says, left out: a line pasted twice, or merged twice."""
    s, before = site.statement, site.previous
    if before is None or not _movable(s) or s.code.text != before.code.text or s.line != before.line + 1:
        return
    yield Variant((removed(s),), 0.0, f"without the second `{s.code.text}`")


def jumps(site: Site) -> Iterator[Variant]:
    """A jump to another label of the routine."""
    s = site.statement
    if s.kind != "instruction" or len(s.operands) != 1 or not s.name.startswith("j"):
        return
    target = s.operands[0]
    if target.text[0].isdigit() and target.text[-1] in "bf":
        other = target.text[:-1] + ("f" if target.text[-1] == "b" else "b")
        yield Variant((_to(site, other),), 1.0, f"to {other}")
        return
    if not target.text.startswith(".L"):
        return
    labels = [n for n in site.view.local_labels(s) if n != target.text]
    labels.sort(
        key=lambda n: (
            not site.view.is_orphan(s, n),
            abs(site.view.tree.local_labels[s.file, n].line - s.line),
        )
    )
    for rank, name in enumerate(labels):
        bonus = 4.0 if site.view.is_orphan(s, name) else 0.0
        yield Variant((_to(site, name),), rank_bits(rank) - bonus, f"to {name}")


def _to(site: Site, label: str) -> Edit:
    s = site.statement
    span = s.operands[0]
    line = s.text[: span.start] + label + s.text[span.end :]
    return Edit(s.file, s.line, (s.text,), (line,))


def guards(site: Site) -> Iterator[Variant]:
    """A jump to a label that nothing jumps to: the branch that should is missing."""
    s = site.statement
    if not site.is_code:
        return
    unused = [n for n in site.view.local_labels(s) if site.view.is_orphan(s, n)]
    for rank, name in enumerate(unused):
        for nth, jump in enumerate(("jc", "jz", "jnz", "jmp", "jnc", "jae", "jb", "jbe", "ja", "js")):
            lines = (f"{indent(s)}{jump} {name}",)
            bits = rank_bits(rank) + rank_bits(nth) - 1.0
            yield Variant((inserted_at(s.file, s.line, lines),), bits, f"{jump} {name} before it")


OPERATORS = (
    Operator(
        "order-neighbours",
        "two statements in the wrong order: header before body, enable before set-up, save after clobber",
        3.5,
        neighbours,
        sorts=LAYOUT - {"label"},
    ),
    Operator(
        "order-move", "a statement too early or too late by a few lines", 5.0, moves, sorts=LAYOUT - {"label"}
    ),
    Operator(
        "label-move",
        "a loop or exit label one statement off",
        5.5,
        labels,
        {"hang": -1.0},
        sorts=frozenset({"label"}),
    ),
    Operator("repeat", "the same statement twice: pasted, or merged from two sides", 3.0, repeats),
    Operator("jump-target", "a jump to the wrong label", 4.3, jumps, {"hang": -0.7}),
    Operator(
        "jump-missing", "a check whose branch is missing: its label stands unused", 4.5, guards, sorts=GAPS
    ),
    Operator(
        "delete",
        "a statement too many; penalised, since leaving out what fails satisfies weak tests",
        6.0,
        deletions,
        {"unassembled": -1.0},
        sorts=LAYOUT - {"label"},
    ),
)
