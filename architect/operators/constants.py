"""Operators on numbers and named constants: the wrong member of a family, a flag too many or too few, off by one.

Owns edits of one token or one term within an expression. Names are exchanged within their own family only (names of
the tree that share words), numbers for those that the architecture makes likely.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import log2

from architect.architectural import descriptors
from architect.operators.base import NAMES, NUMBERS, Operator, Site, Variant, rank_bits, replaced
from architect.operators.uses import walks, width_used
from architect.operators.view import declares, is_assignment
from architect.series import fitting
from architect.shapes import shape
from architect.statements import Reader, Span, Statement, is_register, is_symbol, tokens
from toolchain.expr import literal

_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)$")
_FAMILY_LIMIT = 40
_FAMILY_NEAR = 6
_SERIES = 0.3  # bits: few values keep the steps of the definitions around, and one of a run does
_ROUND = 64  # below it a number may as well be a count
# Shifts and sizes that the architecture is made of: page-table levels, ECAM fields, canonical addresses, words.
_SHIFTS = (12, 21, 30, 39, 9, 48, 47, 16, 32, 20, 15, 8, 3, 4, 24)
_MASKS = (0x1FF, 0xFFF, 0xF, 0xFF, 0x1F, 0x7, 0x3, 0xFFFF, 0xFFFFFFFF, 0xFC, 0x3F)
_STRIDES = (1, 2, 4, 8, 16)  # what a pointer goes on by
_SHIFT_NAMES = frozenset({"shl", "shr", "sar", "sal", "rol", "ror", "shld", "shrd"})
_SWAPS = {
    "+": ("-",),
    "-": ("+",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&", "^"),
    "*": ("+",),
    "/": ("*",),
}


def _editable_operands(s: Statement) -> Iterator[Span]:
    """Operands that are uses: not the name that an assignment gives, nothing of a declaration."""
    if declares(s) or s.name in (".section", ".pushsection", ".macro", ".irp", ".rept"):
        return
    yield from s.operands[1:] if is_assignment(s) else s.operands


def _names(site: Site) -> Iterator[Span]:
    for operand in _editable_operands(site.statement):
        if operand.text.startswith('"'):
            continue
        for token in tokens(operand.text, operand.start):
            if is_symbol(token.text) and not token.text.startswith(".L"):
                yield token


def siblings(site: Site) -> Iterator[Variant]:
    """A name for another of its family; those first that the tree uses in such a statement."""
    s = site.statement
    for token in _names(site):
        family = site.view.family(s, token.text)[:_FAMILY_LIMIT]
        known = {other: _stands(site, token, other) for other in family}
        for rank, other in enumerate(sorted(family, key=lambda n: not known[n])):
            bits = rank_bits(rank) - site.view.earned(s, other) + (0.0 if known[other] else 1.0)
            yield Variant((replaced(s, token, other),), bits, f"{token.text} -> {other}")
    for operand in _editable_operands(s):
        names = [t.text for t in tokens(operand.text) if is_symbol(t.text)]
        if (
            not names
            or "[" in operand.text
            or operand.text.startswith(('"', "offset"))
            or names[0] == operand.text
        ):
            continue
        seen = dict.fromkeys(o for name in names for o in (name, *site.view.family(s, name)[:8]))
        for rank, other in enumerate(n for n in seen if n in site.view.tree.constants):
            bits = 1.5 + rank_bits(rank) - site.view.earned(s, other)
            yield Variant((replaced(s, operand, other),), bits, f"{operand.text} -> {other}")


def _stands(site: Site, token: Span, other: str) -> bool:
    """A statement of the tree is of this shape with the other name in place of the token."""
    s = site.statement
    if s.kind != "instruction":
        return False
    start, end = token.start - s.code.start, token.end - s.code.start
    text = s.code.text[:start] + other + s.code.text[end:]
    changed = next(iter(Reader(s.file, {}, mode=s.mode).line(s.line, text)))
    return shape(changed) in site.view.shapes


def flags(site: Site) -> Iterator[Variant]:
    """One flag of a family more or fewer in an or-expression (or in a value that could be one)."""
    s = site.statement
    for operand in _editable_operands(s):
        if "[" in operand.text or operand.text.startswith('"'):
            continue
        names = [t for t in tokens(operand.text, operand.start) if is_symbol(t.text)]
        parts = _terms(operand)
        if len(parts) > 1:
            for rank, part in enumerate(parts):
                rest = " | ".join(p.text for p in parts if p is not part)
                yield Variant((replaced(s, operand, rest),), 3.0 + rank_bits(rank), f"without {part.text}")
        if not names or any(t.text in ("+", "-", "*", "<<") for t in tokens(operand.text)):
            continue
        present = {t.text for t in names}
        seen: dict[str, None] = {}
        for name in names:
            seen.update(
                {
                    n: None
                    for n in site.view.family(site.statement, name.text)[:_FAMILY_LIMIT]
                    if n not in present
                }
            )
        unused = [n for n in seen if n in site.view.names.orphans]
        for n, first in enumerate(unused[:4]):
            for second in unused[n + 1 : 4]:
                text = f"{operand.text} | {first} | {second}"
                bits = (0.0 if site.view.adjoining(first, second) else 2.0) + 0.5 * n
                yield Variant((replaced(s, operand, text),), bits, f"with {first} and {second}")
        for rank, other in enumerate(seen):
            if other in site.view.tree.constants:
                bits = 0.5 + rank_bits(rank) - site.view.earned(site.statement, other)
                yield Variant((replaced(s, operand, f"{operand.text} | {other}"),), bits, f"with {other}")


def _terms(operand: Span) -> list[Span]:
    """The terms of a top-level or-expression, or one term."""
    depth, start, found = 0, 0, []
    for n, char in enumerate(operand.text):
        depth += (char in "([") - (char in ")]")
        if char == "|" and depth == 0:
            found.append((start, n))
            start = n + 1
    found.append((start, len(operand.text)))
    return [Span(operand.text[a:b].strip(), operand.start + a, operand.start + b) for a, b in found]


def numbers(site: Site) -> Iterator[Variant]:
    """A literal for one near it: ±1, doubled, halved, a shift or mask of the architecture, one bit toggled."""
    s = site.statement
    for operand in _editable_operands(s):
        if operand.text.startswith('"'):
            continue
        for token in tokens(operand.text, operand.start):
            if _NUMBER.fullmatch(token.text):
                for bits, value, note in _near(site, operand, token):
                    text = _written(value, token.text)
                    yield Variant((replaced(s, token, text),), bits, f"{token.text} -> {text} ({note})")


def _near(site: Site, operand: Span, token: Span) -> Iterator[tuple[float, int, str]]:
    s = site.statement
    value = literal(token.text)
    if value is None:
        return
    scale = "*" in operand.text and "[" in operand.text and value in (1, 2, 4, 8)
    seen = {value}
    ranked: list[tuple[float, int, str]] = []
    if scale:
        ranked += [(1.0 + rank_bits(n), v, "scale") for n, v in enumerate((8, 4, 2, 1))]
    shifting = s.name in _SHIFT_NAMES or "<<" in operand.text or ">>" in operand.text
    if shifting and value < 64:
        ranked += [(1.0 + rank_bits(n), v, "shift") for n, v in enumerate(_SHIFTS)]
        ranked += [(0.5, bits, "the width of what is used of it") for bits in width_used(site)]
    if s.name in ("add", "sub") and value in _STRIDES and walks(site):
        ranked += [
            (1.0 + 0.5 * abs(_STRIDES.index(v) - _STRIDES.index(value)), v, "stride") for v in _STRIDES
        ]
    if s.name in ("and", "test") or value in _MASKS:
        ranked += [(1.5 + rank_bits(n), v, "mask") for n, v in enumerate(_MASKS)]
        ranked.append((2.5, ~value, "inverted"))
    ones = value > 2 and value & (value + 1) == 0
    if ones:
        ranked += [(1.0, value << 1 | 1, "one bit wider"), (1.0, value >> 1, "one bit narrower")]
        ranked += _agreeing(site)
    # what is aligned, or all ones, is so on purpose
    round_ = value >= _ROUND and (ones or value % 8 == 0)
    ranked += [(4.0 if round_ else 2.0, value + d, "off by one") for d in (1, -1)]
    ranked += [(2.7, value + d, "one word off") for d in (8, -8, 4, -4, 2, -2)]
    ranked += [(3.0, value * 2, "doubled"), (3.0, value // 2, "halved"), (4.0, value * 8, "bytes, not bits"),
               (4.0, value // 8, "bits, not bytes"), (4.5, value * 16, "x16"), (4.5, value // 16, "/16"),
               (4.0, value << 12, "pages"), (4.0, value >> 12, "pages"), (3.5, value * 4, "x4"),
               (3.5, value // 4, "/4")]  # fmt: skip
    ranked += [(3.0, v, "zero or one") for v in (0, 1)]
    width = 64 if value >> 32 else 32 if value >> 16 else 16
    if value > 15 or not shifting:
        several = value.bit_count() > 2 and value & (value + 1)  # a set of bits: one of them is wrong
        if several:
            ranked = [(bits + 2.5, other, note) for bits, other, note in ranked]
        base = log2(width) + (0.5 if several else 3.0)
        ranked += [
            (base - (0.5 if value >> n & 1 else 0.0), value ^ 1 << n, f"bit {n}") for n in range(width)
        ]
        ranked += [
            (base + 0.7, value ^ 3 << n, f"bit {n} and {n + 1} exchanged")
            for n in range(width - 1)
            if (value >> n & 1) != (value >> n + 1 & 1)
        ]
    for came, wanted in site.view.told.pairs:
        ranked += [
            (4.0, v, "as told") for v in (value + wanted - came, value ^ came ^ wanted) if v >> 64 == 0
        ]
    ranked += [(1.5 + rank_bits(n), v, note) for n, (v, note) in enumerate(descriptors(value))]
    if is_assignment(s) and token.text == operand.text:
        ranked += [
            (_SERIES + 0.5 * n, v, "as its run goes") for n, v in enumerate(fitting(site.view.tree, s))
        ]
    for other in _elsewhere(site, value):
        ranked.append((3.0, other, "used beside it"))
    for bits, candidate, note in sorted(ranked):
        if candidate not in seen and (candidate >= 0 or note == "inverted"):
            seen.add(candidate)
            yield bits, candidate, note


def _agreeing(site: Site) -> Iterator[tuple[float, int, str]]:
    """The masks that a constant could be by others of its family: a size less one, as many ones as a width says."""
    s = site.statement
    if not is_assignment(s):
        return
    values = site.view.names.values
    for rank, other in enumerate(site.view.family(s, s.operand(0))[:_FAMILY_NEAR]):
        known = values.get(other, 0)
        for mask in (known - 1, (1 << known) - 1 if 0 < known < 64 else 0):
            if mask > 2 and mask & (mask + 1) == 0:
                yield 0.5 + 0.5 * rank, mask, f"as {other} has it"


def _elsewhere(site: Site, value: int) -> Iterator[int]:
    """The literals of the statements around: what was copied and not adapted, or mixed up."""
    found, place = site.view.sequence(site.statement)
    for s in found[max(0, place - 6) : place + 7]:
        for operand in s.operands:
            for token in tokens(operand.text):
                if _NUMBER.fullmatch(token.text):
                    other = literal(token.text)
                    if other is not None and other != value:
                        yield other


def _written(value: int, like: str) -> str:
    if value < 0:
        return f"~{_written(~value, like)}"
    return (
        f"{value:#0{len(like) if like.startswith('0x0') else 0}x}" if like[:2].lower() == "0x" else str(value)
    )


def named(site: Site) -> Iterator[Variant]:
    """A literal for a constant of the tree that the neighbours' names point to, and ``- 1`` and the like on names."""
    s = site.statement
    for operand in _editable_operands(s):
        if operand.text.startswith('"') or "[" in operand.text:
            continue
        parts = tokens(operand.text, operand.start)
        for token in parts:
            if token.text in _SWAPS and token.start > operand.start:
                for rank, other in enumerate(_SWAPS[token.text]):
                    yield Variant((replaced(s, token, other),), 2.0 + rank, f"{token.text} -> {other}")
        for match in re.finditer(r"\s*(?:[-+*/|&]|<<|>>)\s*~?\s*(?:0x[0-9a-fA-F]+|[\w.]+)", operand.text):
            if match.start():
                span = Span(match[0], operand.start + match.start(), operand.start + match.end())
                yield Variant((replaced(s, span, ""),), 1.0, f"without {match[0].strip()}")
        yield from _terms_more(site, operand)
        plain = len(parts) == 1 and _NUMBER.fullmatch(
            operand.text
        )  # other numbers for it are ``numbers``' business
        if any(is_symbol(t.text) for t in parts) or (
            (is_assignment(s) or s.kind == "directive") and not plain
        ):
            for rank, tail in enumerate(
                (" - 1", " + 1", " * 8", " / 8", " << 12", " >> 12", " * 2", " * 16")
            ):
                text = f"{operand.text}{tail}" if len(parts) == 1 else f"({operand.text}){tail}"
                yield Variant((replaced(s, operand, text),), 2.0 + 0.5 * rank, f"{operand.text}{tail}")
        if operand.text.startswith("~"):
            yield Variant((replaced(s, operand, operand.text[1:].strip()),), 2.0, "not inverted")
        elif not is_register(operand.text) and s.name in ("and", "or", "test", "mov", *(".set", "=")):
            inverse = f"~{operand.text}" if len(parts) == 1 else f"~({operand.text})"
            if any(is_symbol(t.text) for t in parts):
                yield Variant((replaced(s, operand, inverse),), 3.0, "inverted")


def _terms_more(site: Site, operand: Span) -> Iterator[Variant]:
    """A further term of the family at the end of the expression or of one of its parentheses."""
    s = site.statement
    names = dict.fromkeys(t.text for t in tokens(operand.text) if is_symbol(t.text))
    near = dict.fromkeys(o for name in names for o in site.view.family(s, name)[:6] if o not in names)
    places = [m.start() for m in re.finditer(r"\)", operand.text)] + [len(operand.text)]
    for rank, other in enumerate(near):
        for nth, at in enumerate(places):
            span = Span("", operand.start + at, operand.start + at)
            for step, sign in enumerate(("+", "-")):
                bits = 2.0 + rank_bits(rank) + 0.3 * nth + step - site.view.earned(s, other)
                yield Variant((replaced(s, span, f" {sign} {other}"),), bits, f"{sign} {other}")


def literals_by_name(site: Site) -> Iterator[Variant]:
    """A bare number for the constant that sibling statements have in that place."""
    s = site.statement
    for index, operand in enumerate(s.operands):
        if not _NUMBER.fullmatch(operand.text) or s.kind != "instruction":
            continue
        seen: dict[str, None] = {}
        found, place = site.view.sequence(s)
        for other in (*found[max(0, place - 8) : place], *found[place + 1 : place + 9]):
            if other.name == s.name and len(other.operands) > index:
                text = other.operand(index)
                if is_symbol(text) and text in site.view.tree.constants:
                    seen.update(dict.fromkeys((text, *site.view.family(site.statement, text)[:6])))
        for rank, name in enumerate(seen):
            yield Variant((replaced(s, operand, name),), 1.0 + rank_bits(rank), f"{operand.text} -> {name}")


OPERATORS = (
    Operator(
        "constant-sibling",
        "a register, field, level or flag of the right family but the wrong member: names differ in one word",
        3.0,
        siblings,
        {"page-fault": -0.3, "wrong-value": -0.3},
        sorts=NAMES,
    ),
    Operator(
        "flag-term",
        "one bit of a control register, entry or descriptor forgotten or set too early (NXE, WP, OSFXSR, PCD)",
        3.5,
        flags,
        {"invalid-opcode": -1.5, "page-fault": -0.5, "reserved-bit": -2.0, "protection": -0.5},
        sorts=NAMES,
    ),
    Operator(
        "number-near",
        "off by one, wrong unit (bytes, bits, pages), wrong shift 12/21/30/39, wrong mask, wrong scale",
        3.7,
        numbers,
        {"wrong-value": -0.3},
        sorts=NUMBERS,
    ),
    Operator(
        "expression-term",
        "limit for size (minus one), a sign or shift the wrong way round, a mask for its complement",
        3.8,
        named,
        sorts=NUMBERS,
    ),
    Operator(
        "number-named",
        "a number typed where its neighbours use the constant",
        5.5,
        literals_by_name,
    ),
)
