"""Operators for trees that do not assemble: misspelt names, lost punctuation, definitions and includes left out.

Owns edits of lines that the assembler names. Known words come from the tree and from the instruction set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache

from architect.effects import MNEMONICS
from architect.operators.base import (
    EVERYWHERE,
    Operator,
    Site,
    Variant,
    inserted_at,
    rank_bits,
    replaced,
    rewritten,
)
from architect.operators.view import View, kept, sized
from architect.protocols import Edit
from architect.statements import Span, is_symbol, tokens
from toolchain import headers

_DIRECTIVES = (
    ".align", ".ascii", ".asciz", ".balign", ".bss", ".byte", ".code16", ".code32", ".code64", ".data", ".else",
    ".elseif", ".endif", ".endm", ".endr", ".equ", ".error", ".extern", ".global", ".globl", ".if", ".ifdef",
    ".ifndef", ".include", ".intel_syntax", ".irp", ".long", ".macro", ".octa", ".org", ".p2align", ".popsection",
    ".pushsection", ".quad", ".rept", ".section", ".set", ".short", ".size", ".skip", ".space", ".string", ".text",
    ".type", ".word", ".zero",
)  # fmt: skip
_KEYWORDS = ("ptr", "offset", "byte", "word", "dword", "qword", "rip", "cr0", "cr2", "cr3", "cr4", "cs", "ds", "es",
             "fs", "gs", "ss")  # fmt: skip
_BLOCKS = {".endif": (".if", ".ifdef", ".ifndef"), ".endm": (".macro",), ".endr": (".rept", ".irp", ".irpc")}
_REACH = 3
_NEAREST = 12


@kept
def _vocabulary(view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that can begin a statement, and names that can stand in an operand."""
    heads = {*MNEMONICS, *_DIRECTIVES, *view.tree.macros}
    words = {*view.tree.constants, *view.tree.labels, *_KEYWORDS}
    words |= {sized(r, bits) for r in headers.GENERAL for bits in (64, 32, 16, 8)}
    return tuple(sorted(heads)), tuple(sorted(words))


@lru_cache(maxsize=1 << 14)
def distance(a: str, b: str) -> int:
    """Edits between two words: insertion, deletion, replacement, exchange of neighbours (Damerau).

    Words more than ``_REACH`` edits apart count as just beyond it.
    """
    if abs(len(a) - len(b)) > _REACH or len(set(a) ^ set(b)) > 2 * _REACH:
        return _REACH + 1
    rows = [list(range(len(b) + 1))]
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
        if min(row) > _REACH and min(rows[-2]) > _REACH:
            return _REACH + 1
    return rows[-1][-1]


def _nearest(word: str, known: tuple[str, ...]) -> list[tuple[float, str]]:
    """Known words near one, with their cost in bits."""
    found = []
    most, low, size = min(_REACH, max(1, len(word) // 2)), word.lower(), len(word)
    for other in known:
        if abs(len(other) - size) > most:  # as many edits at least
            continue
        away = distance(low, other.lower())
        if 0 < away <= most or (away == 0 and other != word):
            found.append((1.5 * away - SequenceMatcher(None, word, other).ratio(), other))
    return sorted(found)[:_NEAREST]


def misspelt(site: Site) -> Iterator[Variant]:
    """A word for a known one near it."""
    s = site.statement
    if s.kind in ("blank", "label"):
        return
    heads, words = _vocabulary(site.view)
    if s.name not in heads and s.name != "=":
        start = s.code.start + s.code.text.lower().find(s.name.lower())
        for bits, other in _nearest(s.name, heads):
            yield Variant(
                (replaced(s, Span(s.name, start, start + len(s.name)), other),), bits, f"{s.name} -> {other}"
            )
    local = tuple(site.view.local_labels(s))
    for operand in s.operands:
        if operand.text.startswith('"'):
            continue
        for token in tokens(operand.text, operand.start):
            if not is_symbol(token.text) or token.text in words or token.text in local:
                continue
            for bits, other in _nearest(token.text, (*words, *local)):
                yield Variant((replaced(s, token, other),), bits, f"{token.text} -> {other}")
            for rank, other in enumerate(site.view.family(site.statement, token.text)[:6]):
                yield Variant((replaced(s, token, other),), 3.0 + rank_bits(rank), f"{token.text} -> {other}")
            if token.text.startswith(".L"):
                near = sorted(local, key=lambda n: not site.view.is_orphan(s, n))
                for rank, other in enumerate(near[:8]):
                    yield Variant((replaced(s, token, other),), 2.5 + rank, f"{token.text} -> {other}")


def punctuation(site: Site) -> Iterator[Variant]:
    """One bracket, comma, quote or colon put in or taken out."""
    s = site.statement
    if s.kind == "blank":
        return
    code = s.code.text or s.text.strip()
    start = s.text.find(code)
    span = Span(code, start, start + len(code))
    for opening, closing in (("[", "]"), ("(", ")")):
        if code.count(opening) > code.count(closing):
            places = [len(code), *(m.start() for m in re.finditer(r"\s*,", code))]
            for rank, at in enumerate(places):
                text = code[:at] + closing + code[at:]
                yield Variant((replaced(s, span, text),), 0.5 * rank, f"with {closing}")
        elif code.count(opening) < code.count(closing):
            for rank, match in enumerate(re.finditer(r"(?<=[\s,:])(?=\w)", code)):
                text = code[: match.start()] + opening + code[match.start() :]
                yield Variant((replaced(s, span, text),), 0.5 * rank, f"with {opening}")
            text = code.replace(closing, "", 1)
            yield Variant((replaced(s, span, text),), 1.5, f"without {closing}")
    if code.count('"') % 2:
        yield Variant((replaced(s, span, code + '"'),), 0.0, 'with "')
    words = list(re.finditer(r"(?<=[\w\])])\s+(?=[\w\[.~-])", code))
    for rank, match in enumerate(words):
        text = code[: match.start()] + ", " + code[match.end() :]
        yield Variant((replaced(s, span, text),), 1.0 + rank, "with a comma")
    for rank, match in enumerate(re.finditer(r",", code)):
        text = code[: match.start()] + code[match.end() :]
        yield Variant((replaced(s, span, text),), 2.5 + rank, "without a comma")
    if s.kind == "instruction" and not s.operands:
        yield Variant((replaced(s, span, code + ":"),), 1.0, "a label")
    if s.kind in ("instruction", "macro", "directive"):
        for rank, match in enumerate(re.finditer(r"[#;/!@$%]", code)):
            text = code[: match.start()] + code[match.end() :]
            yield Variant((replaced(s, span, text),), 1.0 + rank, f"without {match[0]}")


def operand_sizes(site: Site) -> Iterator[Variant]:
    """A memory operand given the size that it lacks."""
    s = site.statement
    for operand in s.operands if s.kind == "instruction" else ():
        if "[" in operand.text and " ptr" not in operand.text:
            for rank, name in enumerate(("dword", "qword", "byte", "word")):
                yield Variant(
                    (replaced(s, operand, f"{name} ptr {operand.text}"),), 0.5 + rank, f"{name} ptr"
                )


def definitions(site: Site) -> Iterator[Variant]:
    """A local label that is used and defined nowhere, put before this statement."""
    s = site.statement
    if s.kind not in ("instruction", "macro"):
        return
    used = {
        t.text
        for x in (
            site.view.tree.routines[s.routine].statements if s.routine in site.view.tree.routines else ()
        )
        for o in x.operands
        for t in tokens(o.text)
        if t.text.startswith(".L") and (s.file, t.text) not in site.view.tree.local_labels
    }
    before = site.previous
    ended = before is not None and before.name in ("jmp", "ret", "return_frame")
    for name in sorted(used):
        edit = inserted_at(s.file, s.line, [f"{name}:"])
        yield Variant((edit,), 0.0 if ended else 2.0, f"{name}: before it")


def lost_headers(site: Site) -> Iterator[Variant]:
    """The line that begins or ends a routine or a datum, where a name is used and nothing defines it."""
    s = site.statement
    if s.name not in ("end_function", "end_object", ".size") or not s.operands:
        return
    name = s.operands[0].text.split()[0]
    if name in site.view.tree.labels:
        return
    found, place = site.view.sequence(s)
    macro = {"end_function": "function", "end_object": "object"}.get(s.name)
    first = next((x for x in reversed(found[:place]) if x.name.startswith("end_")), None)
    lines = site.view.tree.lines[s.file]
    low = first.line if first else 1
    for rank, line in enumerate(range(low + 1, s.line)):
        text = lines[line - 1].strip()
        if text and not text.startswith("#"):
            new = f"{macro} {name}" if macro in site.view.tree.macros else f"{name}:"
            yield Variant((inserted_at(s.file, line, [new]),), 0.5 + rank_bits(rank), f"{new} before it")


def includes(site: Site) -> Iterator[Variant]:
    """The include file that defines the constants or macros that this file names and does not have."""
    s = site.statement
    if s.name not in (".include", ".intel_syntax"):
        return
    tree = site.view.tree
    following = site.following
    if s.name == ".intel_syntax" and following is not None and following.name == ".include":
        return
    wanted: dict[str, int] = {}
    for x in tree.files[s.file]:
        names = [t.text for o in x.operands for t in tokens(o.text)] + [x.name]
        for name in names:
            where = tree.constants.get(name) or tree.macros.get(name)
            if where is not None and where.file.endswith(".inc"):
                wanted[where.file] = wanted.get(where.file, 0) + 1
    present = {x.operand(0).strip('"') for x in tree.files[s.file] if x.name == ".include"}
    for rank, file in enumerate(sorted(wanted, key=lambda f: -wanted[f])):
        short = file.rsplit("/", 1)[-1]
        if short not in present and file != s.file:
            edit = inserted_at(s.file, s.line + 1, [f'.include "{short}"'])
            yield Variant((edit,), 0.5 * rank, f"include {short}")


def blocks(site: Site) -> Iterator[Variant]:
    """The end of a conditional, macro or repetition that is never ended."""
    s = site.statement
    statements = site.view.tree.files[s.file]
    for end, begins in _BLOCKS.items():
        opened = sum(x.name in begins for x in statements)
        closed = sum(x.name == end for x in statements)
        if opened > closed and s.kind != "blank":
            yield Variant((inserted_at(s.file, s.line, [end]),), 1.5, f"{end} before it")
            if s is statements[-1] or s.line == max(x.line for x in statements if x.kind != "blank"):
                yield Variant((inserted_at(s.file, s.line + 1, [end]),), 0.0, f"{end} after it")
        elif closed > opened and s.name == end:
            yield Variant((Edit(s.file, s.line, (s.text,), ()),), 0.5, f"without {end}")


def doubled(site: Site) -> Iterator[Variant]:
    """A label or constant defined twice: one of them taken out or renamed to what nothing defines."""
    s = site.statement
    for label in s.labels:
        twice = [x for x in site.view.tree.files[s.file] if label in x.labels]
        if len(twice) < 2 or f"{label}:" not in s.text:
            continue
        text = s.text.replace(f"{label}:", "", 1)
        edit = Edit(s.file, s.line, (s.text,), (text,) if text.strip() else ())
        yield Variant((edit,), 1.5, f"without the second {label}")
        used = {t.text for x in site.view.tree.files[s.file] for o in x.operands for t in tokens(o.text)}
        undefined = [
            n for n in sorted(used) if n.startswith(".L") and (s.file, n) not in site.view.tree.local_labels
        ]
        for rank, name in enumerate(undefined):
            edit = Edit(s.file, s.line, (s.text,), (s.text.replace(f"{label}:", f"{name}:", 1),))
            yield Variant((edit,), 0.5 * rank, f"{label} -> {name}")


@kept
def _undefined(view: View) -> tuple[str, ...]:
    """Names that some statement uses and that are no constant, macro or label that every file sees."""
    tree = view.tree
    used = {
        t.text for x in tree.statements() for o in x.operands for t in tokens(o.text) if is_symbol(t.text)
    }
    known = {*tree.constants, *tree.labels, *tree.macros}
    return tuple(sorted(n for n in used if n not in known and n[-1:] not in "bf"))


def mislabelled(site: Site) -> Iterator[Variant]:
    """A label's own name misspelt: renamed to what is used near it and defined nowhere."""
    s = site.statement
    for label in s.labels:
        if label.isdigit() or label not in s.text:
            continue
        start = s.text.index(label)
        undefined = tuple(n for n in _undefined(site.view) if (s.file, n) not in site.view.tree.local_labels)
        for bits, other in _nearest(label, undefined):
            span = Span(label, start, start + len(label))
            yield Variant((replaced(s, span, other),), bits, f"{label} -> {other}")


def dropped(site: Site) -> Iterator[Variant]:
    """A last operand lost: what like statements nearby have in its place."""
    s = site.statement
    if s.kind != "instruction" or not s.operands:
        return
    found, place = site.view.sequence(s)
    seen: dict[str, None] = {}
    for other in (*reversed(found[:place]), *found[place + 1 :]):
        if other.name == s.name and len(other.operands) == len(s.operands) + 1:
            seen.setdefault(other.operands[-1].text)
    hand = [sized(r, 64) for r in site.view.hand(s)]
    for rank, text in enumerate((*seen, *(h for h in hand if h not in seen))):
        yield Variant((rewritten(s, f"{s.code.text}, {text}"),), 1.0 + rank_bits(rank), f"with {text}")


UNASSEMBLED = "unassembled"
_ONLY = {UNASSEMBLED: -8.0}

OPERATORS = tuple(
    Operator(name, why, 10.0 + bits, generate, _ONLY, EVERYWHERE)
    for name, why, bits, generate in (
        ("spelling", "a name typed wrong", 0.0, misspelt),
        ("label-spelling", "a label's name typed wrong", 0.5, mislabelled),
        ("punctuation", "a bracket, comma, quote or colon lost or too many", 0.5, punctuation),
        ("size-missing", "a memory operand without a size", 1.0, operand_sizes),
        ("label-missing", "a label used and defined nowhere", 1.0, definitions),
        ("header-missing", "a routine's or datum's first line lost", 1.0, lost_headers),
        ("include-missing", "a file that uses constants or macros it does not include", 1.0, includes),
        ("block-end", "a conditional, macro or repetition not ended, or ended twice", 1.0, blocks),
        ("defined-twice", "a label copied with its statement", 1.0, doubled),
        ("operand-missing", "an operand lost", 1.5, dropped),
    )
)
