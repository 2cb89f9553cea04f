"""Operators that insert or replace statements by donors: statements of the same tree from like surroundings.

Owns the adaptation of donors, which ``surroundings`` ranks. What a sibling routine does between the same two steps
is the best guess at what is missing here. Registers are taken over by aligning the donor's neighbours with ours,
local labels from our own routine, constants from the donor or its family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest

from architect.effects import registers_in
from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits, rewritten
from architect.operators.siblings import in_family_of
from architect.operators.surroundings import Donors, usable
from architect.operators.view import View, kept, with_registers
from architect.statements import Statement, tokens
from toolchain import headers

_FRESH = 1.0  # bits for using what the statement before has just made
_POOL = {1: 30, 2: 12, 3: 8, 4: 6}  # donors adapted per gap, by the length of their run

# rank, statements, registers of theirs -> ours
_Run = tuple[int, tuple[Statement, ...], dict[str, str]]


@kept
def donors_of(view: View) -> Donors:
    """The index of a view, made once."""
    return Donors(view)


def _around(site: Site, *, skip: bool) -> tuple[list[Statement], list[Statement]]:
    """The statements before and after the gap before a site (``skip``: after means after the site itself)."""
    found, place = site.view.sequence(site.statement)
    after = found[place + 1 : place + 4] if skip else found[place : place + 3]
    return list(reversed(found[max(0, place - 3) : place])), list(after)


def _runs(site: Site, length: int) -> list[_Run]:
    """Runs of donors for the gap before a site, likeliest first."""
    index = donors_of(site.view)
    key = (id(site.statement), length)
    if key not in index.runs:
        index.runs[key] = list(_find_runs(site, length, index)) if site.is_gap else []
    return index.runs[key]


def _find_runs(site: Site, length: int, index: Donors) -> Iterator[_Run]:
    """Runs that come out alike vote together: what many like places do is likelier than what one does."""
    s = site.statement
    before, after = _around(site, skip=False)
    fresh = registers_in(before[0].operand(0)) if before and "[" not in before[0].operand(0) else frozenset()
    votes: dict[tuple[str, ...], float] = {}
    first: dict[tuple[str, ...], tuple[int, dict[str, str]]] = {}
    ranked = index.ranked(before, after, length, s.routine, movable=True)
    aligned = index.aligned([number for _, number in ranked], length, before, after)
    codes = index.codes
    for (score, number), names in zip(ranked, aligned, strict=True):
        lines = codes[number : number + length]
        if names:
            lines = tuple([with_registers(line, names) for line in lines])
        if fresh and any(fresh & registers_in(line) for line in lines):
            score += _FRESH
        if lines in votes:
            votes[lines] += 2.0**score
        else:
            votes[lines] = 2.0**score
            first[lines] = number, names
    best = nlargest(_POOL[length], votes, key=votes.__getitem__)
    for rank, lines in enumerate(best):
        number, names = first[lines]
        yield rank, index.run(number, length), names


def _insertion(site: Site, lines: Sequence[str], bits: float, note: str) -> Variant:
    s = site.statement
    edit = inserted_at(s.file, s.line, [indent(s) + line for line in lines])
    return Variant((edit,), bits, f"`{'; '.join(lines)}` before it, {note}")


def insertions(length: int) -> Callable[[Site], Iterator[Variant]]:
    """The operator that inserts a donor's run of ``length`` statements before the site."""

    def generate(site: Site) -> Iterator[Variant]:
        for rank, run, names in _runs(site, length):
            lines = tuple(with_registers(r.code.text, names) for r in run)
            for bits, fitted in _labelled(site, run, lines):
                where = f"as at {run[0].file}:{run[0].line}"
                yield _insertion(site, fitted, rank_bits(rank) + bits, where)

    return generate


def in_family(site: Site) -> Iterator[Variant]:
    """A donor with one name of it exchanged in its family."""
    for rank, run, names in _runs(site, 1):
        lines = (with_registers(run[0].code.text, names),)
        for bits, changed, note in in_family_of(site, lines) if rank < 15 else ():
            where = f"as at {run[0].file}:{run[0].line}{note}"
            yield _insertion(site, changed, rank_bits(rank) + bits, where)


def in_registers(site: Site) -> Iterator[Variant]:
    """A donor with one register of it exchanged for another at hand."""
    for rank, run, names in _runs(site, 1):
        for bits, changed, note in (
            _re_registered(site, with_registers(run[0].code.text, names)) if rank < 15 else ()
        ):
            where = f"as at {run[0].file}:{run[0].line}{note}"
            yield _insertion(site, changed, rank_bits(rank) + bits, where)


def replacements(site: Site) -> Iterator[Variant]:
    """The whole statement for what stands in like surroundings."""
    s = site.statement
    if not site.is_code:
        return
    before, after = _around(site, skip=True)
    index = donors_of(site.view)
    told = {s.code.text}
    numbers = [number for _, number in index.ranked(before, after, 1, s.routine)[:15]]
    aligned = index.aligned(numbers, 1, before, after)
    for rank, (number, names) in enumerate(zip(numbers, aligned, strict=True)):
        run = index.run(number, 1)
        if not usable(run[0]) or run[0] is s:
            continue
        like = 0.0 if run[0].name == s.name else 1.0
        plain = (with_registers(run[0].code.text, names),)
        for bits, lines in _labelled(site, run, plain):
            if lines[0] not in told:
                told.add(lines[0])
                where = f"`{lines[0]}` as at {run[0].file}:{run[0].line}"
                yield Variant((rewritten(s, lines[0]),), rank_bits(rank) + bits + like, where)


def _labelled(
    site: Site, run: Sequence[Statement], lines: tuple[str, ...]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    """The lines with local labels of our routine for the donor's."""
    theirs = {t.text for line in lines for t in tokens(line) if t.text.startswith(".L")}
    ours = site.view.local_labels(site.statement)
    if not theirs or run[0].routine == site.statement.routine:
        yield 0.0, lines
        return
    if len(theirs) > 1 or not ours:
        return
    (name,) = theirs
    word = name.rsplit("_", 1)[-1]
    line = site.statement.line
    places = site.view.tree.local_labels

    def order(label: str) -> tuple[bool, bool, int]:
        away = places[site.statement.file, label].line - line
        return (
            not (site.view.is_orphan(site.statement, label) or label.rsplit("_", 1)[-1] == word),
            away < 0,
            abs(away),
        )

    for rank, label in enumerate(sorted(ours, key=order)[:4]):
        yield 1.0 * rank, tuple(x.replace(name, label) for x in lines)


def _re_registered(site: Site, line: str) -> Iterator[tuple[float, tuple[str, ...], str]]:
    """One register of the line for another at hand."""
    present = dict.fromkeys(r for t in tokens(line) if (r := headers.full_register(t.text)) and r != "rsp")
    dead = site.view.dead_before(site.statement)
    missing = site.view.undefined_from(site.statement)
    hand = sorted(site.view.hand(site.statement), key=lambda r: r not in dead)
    for register in present:
        for rank, other in enumerate(dict.fromkeys((*sorted(missing), *hand))):
            if other != register:
                bonus = 1.5 if other in dead or other in missing else 0.0
                yield 1.5 + 0.4 * rank - bonus, (with_registers(line, {register: other}),), f", with {other}"


_STEP = "a step forgotten that like places of the tree have: the store, the flag, the check, the fence"
_CLASSES = {"page-fault": -0.3, "contract": -0.3}

OPERATORS = (
    Operator("donor-insert", _STEP, 2.3, insertions(1), _CLASSES, sorts=GAPS, common=True),
    Operator(
        "donor-insert-2", f"{_STEP} (two statements)", 4.0, insertions(2), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-insert-3", f"{_STEP} (three statements)", 5.5, insertions(3), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-insert-4", f"{_STEP} (four statements)", 6.5, insertions(4), _CLASSES, sorts=GAPS, common=True
    ),
    Operator(
        "donor-family",
        f"{_STEP} (of another member of a family)",
        4.0,
        in_family,
        _CLASSES,
        sorts=GAPS,
        common=True,
    ),
    Operator(
        "donor-registers",
        f"{_STEP} (in other registers)",
        4.0,
        in_registers,
        _CLASSES,
        sorts=GAPS,
        common=True,
    ),
    Operator("donor-replace", "a statement unlike those in like places", 5.0, replacements, common=True),
)
