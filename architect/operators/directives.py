"""Operators on directives and data: alignment, sections, modes, rows of tables; and lines of the last good commit.

Owns edits outside of instructions that decide where and how code and data lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from architect.operators.base import (
    BLOCKS,
    EVERYWHERE,
    LAYOUT,
    Operator,
    Site,
    Variant,
    inserted_at,
    rank_bits,
    replaced,
)
from architect.protocols import Edit
from architect.statements import Span

_SECTIONS = (
    '.section .text, "ax"',
    '.section .rodata, "a"',
    '.section .data, "aw"',
    '.section .bss, "aw", @nobits',
)
_MODES = (".code64", ".code32", ".code16")
_FLAGS = ('"a"', '"aw"', '"ax"', '"awx"')
_DATA = frozenset({".byte", ".word", ".short", ".long", ".quad", ".int"})


def alignments(site: Site) -> Iterator[Variant]:
    """An alignment before a datum or routine, put in; the number of one changed is for ``number-near``."""
    s = site.statement
    if s.name in BLOCKS or (not s.labels and s.kind != "directive"):
        return
    if s.name in (".balign", ".align", ".p2align"):
        for rank, value in enumerate((8, 16, 4096, 4, 64, 32)):
            if s.operands and s.operand(0) != str(value):
                yield Variant(
                    (replaced(s, s.operands[0], str(value)),), rank_bits(rank), f"aligned to {value}"
                )
        return
    for rank, value in enumerate((8, 16, 4096, 4)):
        edit = inserted_at(s.file, s.line, [f"    .balign {value}"])
        yield Variant((edit,), 1.5 + rank_bits(rank), f"aligned to {value}")


def sections(site: Site) -> Iterator[Variant]:
    """Another section, or other flags of it."""
    s = site.statement
    if s.name in (".section", ".pushsection") and s.operands:
        names = list(dict.fromkeys(x.operand(0) for x in site.view.tree.statements() if x.name == ".section"))
        own = s.operand(0)
        kin = sorted((n for n in names if n != own), key=lambda n: (n[:4] != own[:4], n))
        for rank, name in enumerate(kin):
            yield Variant((replaced(s, s.operands[0], name),), 0.5 + rank_bits(rank), f"section {name}")
        if len(s.operands) > 1:
            for rank, flags in enumerate(f for f in _FLAGS if f != s.operand(1)):
                yield Variant((replaced(s, s.operands[1], flags),), rank_bits(rank), f"flags {flags}")
    if s.name in (".text", ".data", ".bss", ".section"):
        for rank, text in enumerate(_SECTIONS):
            span = Span(s.code.text, s.code.start, s.code.end)
            if text != s.code.text:
                yield Variant((replaced(s, span, text),), 1.5 + rank, text)
    if s.kind in ("macro", "label") and s.labels:
        for rank, text in enumerate(_SECTIONS):
            yield Variant((inserted_at(s.file, s.line, [text]),), 3.0 + rank, f"{text} before it")


def modes(site: Site) -> Iterator[Variant]:
    """The mode that code is assembled for."""
    s = site.statement
    if s.name in _MODES:
        for rank, name in enumerate(m for m in _MODES if m != s.name):
            yield Variant((replaced(s, s.code, name),), rank, f"{s.name} -> {name}")
    elif s.labels and s.section.startswith(".boot"):
        for rank, name in enumerate(_MODES):
            yield Variant((inserted_at(s.file, s.line, [name]),), 2.5 + rank, f"{name} before it")


def rows(site: Site) -> Iterator[Variant]:
    """A datum's element left out, doubled, or exchanged with its neighbour; an element of zero put in."""
    s = site.statement
    if s.name not in _DATA:
        return
    texts = [o.text for o in s.operands]
    whole = Span("", s.operands[0].start, s.operands[-1].end) if s.operands else None
    if whole and len(texts) > 1:
        for n in range(len(texts)):
            rest = ", ".join(t for i, t in enumerate(texts) if i != n)
            yield Variant((replaced(s, whole, rest),), 2.5 + 0.3 * n, f"without {texts[n]}")
        for n in range(len(texts) - 1):
            swapped = [*texts[:n], texts[n + 1], texts[n], *texts[n + 2 :]]
            yield Variant((replaced(s, whole, ", ".join(swapped)),), 1.5 + 0.3 * n, "elements exchanged")
    seen: dict[str, None] = {}
    found, place = site.view.sequence(s)
    for other in (*reversed(found[max(0, place - 6) : place]), *found[place + 1 : place + 7]):
        if other.name in _DATA:
            seen.update({o.text: None for o in other.operands})
    for rank, text in enumerate(t for t in seen if t not in texts):
        for operand in s.operands:
            yield Variant((replaced(s, operand, text),), 2.0 + rank_bits(rank), f"{operand.text} -> {text}")
    for rank, name in enumerate((".byte 0", ".short 0", ".long 0", ".quad 0")):
        yield Variant((inserted_at(s.file, s.line, [f"    {name}"]),), 3.0 + rank, f"{name} before it")


def reverts(site: Site) -> Iterator[Variant]:
    """The lines of the last good commit for those that replaced them."""
    s = site.statement
    text, good = site.view.case.sources.get(s.file), site.view.case.baseline.get(s.file)
    if text is None or good is None or text == good:
        return
    new, old = text.split("\n"), good.split("\n")
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if (tag != "equal" and j1 + 1 == s.line) or (j1 < s.line - 1 < j2 and s.line - 1 == j1):
            edit = Edit(s.file, j1 + 1, tuple(new[j1:j2]), tuple(old[i1:i2]))
            yield Variant((edit,), 0.0, "as in the last good commit")


OPERATORS = (
    Operator(
        "alignment",
        "a structure that hardware or the loader wants aligned",
        5.0,
        alignments,
        {"no-boot": -1.5},
        sorts=LAYOUT,
    ),
    Operator(
        "section",
        "code or data in a section of the wrong rights or place",
        4.5,
        sections,
        {"no-boot": -0.5},
        sorts=LAYOUT,
    ),
    Operator("mode", "code assembled for the wrong mode", 5.0, modes, {"no-boot": -1.0}, sorts=LAYOUT),
    Operator(
        "data-row", "a table with an element wrong, missing or too many", 4.5, rows, sorts=frozenset({"data"})
    ),
    Operator("revert", "what changed last broke it", 1.0, reverts, sorts=EVERYWHERE),
)
