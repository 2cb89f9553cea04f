"""Operators on memory operands: the neighbouring field, the wrong size, an address where its content was meant.

Owns edits within one operand that is, or should be, in brackets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from architect.effects import CONDITION_JUMPS, effects, is_memory, registers_in
from architect.operators.base import (
    Operator,
    Site,
    Variant,
    indent,
    inserted_at,
    rank_bits,
    removed,
    replaced,
    rewritten,
)
from architect.operators.view import View, kept
from architect.statements import Span, Statement, is_register, is_symbol, split_top, tokens
from toolchain import headers
from toolchain.expr import literal

_SIZES = ("byte", "word", "dword", "qword")
_SIZE = re.compile(r"\b(byte|word|dword|qword)\s+ptr\b")
_SLOT = re.compile(r"(?:(?:byte|word|dword|qword)\s+ptr\s*)?\[\s*(\w+)\s*\+\s*(\d+|0[xX][0-9a-fA-F]+)\s*\]")
_COPIES = frozenset({"mov", "movabs"})
_STEPS = (8, -8, 4, -4, 16, -16, 1, -1, 2, -2)


def _inside(operand: Span) -> Span:
    """What stands between the brackets."""
    start = operand.text.index("[") + 1
    end = operand.text.rindex("]") if "]" in operand.text else len(operand.text)
    return Span(operand.text[start:end], operand.start + start, operand.start + end)


def offsets(site: Site) -> Iterator[Variant]:
    """A displacement more, less or other, counted in words; an index without its scale or with one."""
    s = site.statement
    for operand in s.operands if site.is_code else ():
        if not is_memory(operand.text):
            continue
        inner = _inside(operand)
        if "rip" not in inner.text or "+" in inner.text:
            for rank, step in enumerate(_STEPS):
                text = f"{inner.text} {'+' if step > 0 else '-'} {abs(step)}"
                yield Variant((replaced(s, inner, text),), 1.5 + rank_bits(rank), f"offset {step:+d}")
        parts = [p for p in split_top(inner.text, "+", inner.start) if p.text]
        if len(parts) > 1:
            for index, part in enumerate(parts):
                rest = " + ".join(p.text for p in parts if p is not part)
                bits = 1.5 + 0.5 * index + (3.0 if part.text == "rip" else 0.0)
                yield Variant((replaced(s, inner, rest),), bits, f"without {part.text}")
        for part in parts:
            full = headers.full_register(part.text)
            if full and len(parts) > 1:
                for rank, scale in enumerate((8, 4, 2)):
                    yield Variant(
                        (replaced(s, part, f"{part.text} * {scale}"),), 2.0 + rank, f"index * {scale}"
                    )
            scaled = re.match(r"(\w+)\s*\*\s*[248]$", part.text)
            if scaled:
                yield Variant((replaced(s, part, scaled[1]),), 2.5, "index not scaled")


def slots(site: Site) -> Iterator[Variant]:
    """A word on the stack by what the routine pushed before it: the first above its own, an argument behind that."""
    s = site.statement
    for operand in s.operands if site.is_code else ():
        found = _SLOT.fullmatch(operand.text.strip())
        if found is None or headers.full_register(found[1]) != "rsp":
            continue
        word = (headers.register_bits(found[1]) or s.mode) // 8  # code that says ESP pushes four bytes
        depth = _pushed(site, word)
        if depth is None:
            continue
        at = operand.start + operand.text.index(found[2], operand.text.index(found[1]) + len(found[1]))
        for rank, offset in enumerate((depth, depth + word, depth + 2 * word, depth + 3 * word)):
            if offset != literal(found[2]):
                edit = replaced(s, Span(found[2], at, at + len(found[2])), str(offset))
                yield Variant((edit,), 0.5 * rank, f"offset {offset}: {depth} bytes were pushed before it")


def _pushed(site: Site, word: int) -> int | None:
    """Bytes that the routine has on the stack at a site, straight from its beginning; None where that is not known."""
    found, place = site.view.sequence(site.statement)
    depth = 0
    for s in found[:place]:
        change = 0 if s.name in ("call", "jmp") or s.name in CONDITION_JUMPS else effects(s).stack
        if s.kind == "instruction" and change is None:
            return None
        moved = change or 0
        depth += moved * word // (s.mode // 8) if s.name.startswith(("push", "pop")) else moved
    return depth if depth >= 0 else None


def fields(site: Site) -> Iterator[Variant]:
    """A field constant added where siblings have one: ``[rdi]`` for ``[rdi + X]``."""
    s = site.statement
    for operand in s.operands if site.is_code else ():
        if not is_memory(operand.text):
            continue
        inner = _inside(operand)
        present = {t.text for t in tokens(inner.text)}
        bases = [t.text for t in tokens(inner.text) if headers.full_register(t.text)]
        if not bases:
            continue
        seen: dict[str, None] = {}
        found, place = site.view.sequence(s)
        for other in (*reversed(found[:place]), *found[place + 1 :]):
            for name in _fields_on(other, bases[0]):
                seen.setdefault(name)
        ranked = [n for name in seen for n in (name, *site.view.family(site.statement, name)[:8])]
        for rank, name in enumerate(dict.fromkeys(n for n in ranked if n not in present)):
            bits = 1.0 + rank_bits(rank) - site.view.earned(site.statement, name)
            yield Variant((replaced(s, inner, f"{inner.text} + {name}"),), bits, f"with {name}")


def _fields_on(statement: Statement, base: str) -> Iterator[str]:
    for operand in statement.operands:
        if is_memory(operand.text) and base in {t.text for t in tokens(operand.text)}:
            yield from (t.text for t in tokens(_inside(operand).text) if is_symbol(t.text))


def sizes(site: Site) -> Iterator[Variant]:
    """Another operand size before ``ptr``; segment overrides dropped or added."""
    s = site.statement
    for operand in s.operands if site.is_code else ():
        match = _SIZE.search(operand.text)
        if match:
            at = _SIZES.index(match[1])
            near = sorted((abs(at - n), n) for n in range(len(_SIZES)) if n != at)
            for rank, (_, n) in enumerate(near):
                span = Span(match[1], operand.start + match.start(1), operand.start + match.end(1))
                yield Variant((replaced(s, span, _SIZES[n]),), rank_bits(rank), f"{match[1]} -> {_SIZES[n]}")
        segment = re.search(r"\b([fg]s):", operand.text)
        if segment:
            span = Span(segment[0], operand.start + segment.start(), operand.start + segment.end())
            yield Variant((replaced(s, span, ""),), 3.0, f"without {segment[0]}")
        elif is_memory(operand.text):
            at_bracket = operand.start + operand.text.index("[")
            yield Variant((replaced(s, Span("", at_bracket, at_bracket), "gs:"),), 4.5, "per-CPU")


def brackets(site: Site) -> Iterator[Variant]:
    """The content of an address for the address, and the reverse."""
    s = site.statement
    if s.kind != "instruction":
        return
    for index, operand in enumerate(s.operands):
        if is_memory(operand.text):
            inner = _inside(operand)
            plain = re.sub(r"^\s*rip\s*\+\s*", "offset ", inner.text)
            if index == 1 and s.name == "mov":
                code = s.code.text
                lea = _SIZE.sub("", code.replace("mov", "lea", 1)).replace("  ", " ")
                yield Variant((replaced(s, s.code, lea),), 0.5, "the address, not its content")
            if "+" not in plain or "offset" in plain:
                yield Variant((replaced(s, operand, plain.strip()),), 2.0, "without brackets")
        elif headers.register_bits(operand.text) == 64 and s.name not in ("push", "pop", "call", "jmp"):
            yield Variant((replaced(s, operand, f"[{operand.text}]"),), 2.5, "what it points to")
        elif (
            index == 1
            and is_symbol(operand.text)
            and not is_register(operand.text)
            and operand.text not in site.view.tree.constants
        ):
            whole = f"offset {operand.text}"  # a name alone is the content there, in the assembler's eyes
            yield Variant((replaced(s, operand, whole),), 1.0, "the address, not its content")
        elif operand.text.startswith("offset "):
            yield Variant(
                (replaced(s, operand, f"[{operand.text[7:]}]"),), 3.0, "the content, not the address"
            )
    if s.name == "lea" and len(s.operands) == 2:
        code = s.code.text.replace("lea", "mov", 1)
        yield Variant((replaced(s, s.code, code),), 0.5, "the content, not the address")


def translations(site: Site) -> Iterator[Variant]:
    """The base of a map added to an address that is copied as it is; or left out where it is added."""
    s, after = site.statement, site.following
    if s.kind != "instruction" or s.name not in _COPIES or headers.register_bits(s.operand(0)) != 64:
        return
    target, source = s.operand(0), s.operand(1)
    bases = _bases(site.view)
    if source in bases:
        if after is not None and _adds_to(after, target):
            edits = (rewritten(s, f"mov {target}, {after.operand(1)}"), removed(after))
            yield Variant(edits, 2.0, f"without {source}")
    elif (headers.register_bits(source) == 64 or is_memory(source)) and target not in registers_in(source):
        for rank, base in enumerate(bases):
            edits = (
                rewritten(s, f"mov {target}, {base}"),
                inserted_at(s.file, s.line + 1, [f"{indent(s)}add {target}, {source}"]),
            )
            yield Variant(edits, rank_bits(rank), f"{base} added, as to other addresses")


@kept
def _bases(view: View) -> tuple[str, ...]:
    """Constants that begin a sum of two statements (``mov R, BASE``; ``add R, X``) more than once, most used first."""
    counts: Counter[str] = Counter()
    for s in view.tree.statements():
        if s.name in _COPIES and s.operand(1) in view.tree.constants:
            after = view.neighbour(s, 1)
            counts[s.operand(1)] += after is not None and _adds_to(after, s.operand(0))
    return tuple(name for name, times in counts.most_common() if times > 1)


def _adds_to(s: Statement, target: str) -> bool:
    """It adds a register or a word of memory to a 64-bit register."""
    return (
        (s.name, s.operand(0), headers.register_bits(target)) == ("add", target, 64)
        and (headers.register_bits(s.operand(1)) == 64 or is_memory(s.operand(1)))
        and target not in registers_in(s.operand(1))
    )


OPERATORS = (
    Operator("memory-offset", "the neighbouring word, a forgotten displacement, a wrong index", 4.0, offsets),
    Operator(
        "stack-slot",
        "what lies on the stack counted wrongly: the return address taken for an argument, a push not counted",
        3.5,
        slots,
    ),
    Operator("memory-field", "a field of a structure forgotten", 4.5, fields),
    Operator(
        "memory-size", "a store or load of the wrong width clobbers or misses its neighbour", 4.0, sizes
    ),
    Operator(
        "memory-address",
        "an address where its content is meant, or the reverse",
        4.3,
        brackets,
        {"page-fault": -0.3, "protection": -0.3},
    ),
    Operator(
        "address-map",
        "a physical address used as a virtual one, or the reverse: the base of the map forgotten or added twice",
        4.0,
        translations,
        {"page-fault": -1.0, "contract": -0.5},
    ),
)
