"""Rows of like statements of which one was forgotten: another name of a family, or the twin of a register.

Owns copies of statements nearby. Code from further away, adapted to where it goes, is ``donors``' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from architect.effects import effects
from architect.operators.base import BLOCKS, GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits
from architect.operators.view import with_registers
from architect.statements import Statement, is_symbol, tokens
from toolchain import headers

_FAMILY = 5
_NEAR = 3  # statements away from which a twin is copied
_NEVER = -1000  # where a register is given its value that is given none: far away


def in_family_of(site: Site, lines: tuple[str, ...]) -> Iterator[tuple[float, tuple[str, ...], str]]:
    """One name of the lines for another of its family, throughout."""
    names = dict.fromkeys(t.text for line in lines for t in tokens(line) if is_symbol(t.text))
    for name in names:
        if name.startswith(".L"):
            continue
        for rank, other in enumerate(site.view.family(site.statement, name)[:_FAMILY]):
            bonus = site.view.earned(site.statement, other)
            changed = tuple(_renamed(line, name, other) for line in lines)
            yield 0.7 * rank - bonus, changed, f", with {other}"
            together = _renamed_alike(site, lines, name, other, list(names))
            if together != changed:
                yield 0.7 * rank - bonus, together, f", with {other} and what goes with it"


def _renamed_alike(
    site: Site, lines: tuple[str, ...], name: str, other: str, names: Sequence[str]
) -> tuple[str, ...]:
    """The lines with the word in which two names differ exchanged in every name where that gives a known one."""
    ours, theirs = name.split("_"), other.split("_")
    differ = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    if len(ours) != len(theirs) or len(differ) != 1:
        return tuple(_renamed(line, name, other) for line in lines)
    word, new = differ[0]
    for each in names:
        alike = "_".join(new if part == word else part for part in each.split("_"))
        if alike != each and site.view.knows(site.statement, alike):
            lines = tuple(_renamed(line, each, alike) for line in lines)
    return lines


def _renamed(line: str, name: str, other: str) -> str:
    out, last = [], 0
    for token in tokens(line):
        if token.text == name:
            out += [line[last : token.start], other]
            last = token.end
    return "".join(out) + line[last:]


def siblings(site: Site) -> Iterator[Variant]:
    """A copy of a statement nearby (or of up to three) with one name of it exchanged in its family."""
    s = site.statement
    if s.kind == "blank" or (s.kind == "label" and not site.is_gap):
        return
    found, place = site.view.sequence(s)
    for length in (1, 2, 3):
        rank = 0
        for start in sorted(
            range(max(0, place - 6), min(len(found), place + 4)), key=lambda n: _away(n, length, place)
        ):
            run = found[start : start + length]
            if len(run) < length or any(r.labels for r in run) or not all(_copied(r) for r in run):
                continue
            for bits, lines, note in in_family_of(site, tuple(r.code.text for r in run)):
                edit = inserted_at(s.file, s.line, [indent(s) + line for line in lines])
                cost = rank_bits(rank) + bits + 1.3 * (length - 1)
                yield Variant((edit,), cost, f"`{'; '.join(lines)}` beside its like{note}")
            rank += 1


def _away(start: int, length: int, place: int) -> float:
    """How far a run lies from the gap before ``place``; a run that ends there is nearest."""
    return abs(start + length - place) if start < place else start - place + 0.5


def _copied(s: Statement) -> bool:
    """Whether a copy can stand where it is put: the beginning of a block has no end there."""
    return (
        s.kind in ("instruction", "macro", "directive")
        and bool(s.operands)
        and not s.name.startswith("end_")
        and s.name not in BLOCKS
    )


def twins(site: Site) -> Iterator[Variant]:
    """A copy of a statement nearby for another register that was given its value beside that one's."""
    s = site.statement
    if not site.is_gap:
        return
    found, place = site.view.sequence(s)
    near = sorted(
        range(max(0, place - _NEAR), min(len(found), place + _NEAR)), key=lambda n: _away(n, 1, place)
    )
    made: dict[str, int] = {}  # register -> the last statement before the gap that gives it its value
    for number in range(place):
        made.update(dict.fromkeys(effects(found[number]).writes, number))
    for rank, number in enumerate(near):
        line = found[number].code.text
        if found[number].kind != "instruction" or found[number].labels or not found[number].operands:
            continue
        ours = headers.full_register(found[number].operand(0))
        if ours is None or ours == "rsp":
            continue
        others = [r for r in site.view.hand(s) if r not in (ours, "rsp", "rbp")]
        here = made.get(ours, _NEVER)
        away = {r: abs(made.get(r, _NEVER) - here) for r in others}
        others.sort(key=away.__getitem__)
        for nth, other in enumerate(others):
            text = with_registers(line, {ours: other})
            edit = inserted_at(s.file, s.line, [indent(s) + text])
            yield Variant((edit,), rank_bits(rank) + rank_bits(nth), f"`{text}` beside its like")


OPERATORS = (
    Operator(
        "sibling-insert",
        "one member of a row of like statements forgotten: a field, a register, a table's entry",
        3.8,
        siblings,
        {"failed-test": -0.3},
        sorts=frozenset({"code", "label", "data"}),
        common=True,
    ),
    Operator(
        "twin-insert",
        "two values treated alike, and one forgotten: base and size, low half and high half",
        4.0,
        twins,
        sorts=GAPS,
    ),
)
