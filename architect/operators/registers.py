"""Operators on registers and operand order: the neighbour's register, the wrong width, source for destination.

Owns edits that exchange registers at hand in the routine. Which exchanges leave values unused or undefined is judged
later, for all operators alike, by the data flow of the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.operators.base import Operator, Site, Variant, rank_bits, replaced
from architect.operators.view import sized, with_register
from architect.statements import Span, is_register, tokens
from toolchain import headers

_CONTROL = {
    "cr0": ("cr4", "cr3"), "cr2": ("cr3",), "cr3": ("cr4", "cr2", "cr0"), "cr4": ("cr0", "cr3"),
    "ds": ("ss", "es"), "es": ("ds",), "ss": ("ds",), "fs": ("gs",), "gs": ("fs",),
}  # fmt: skip


def _registers(site: Site) -> Iterator[Span]:
    if site.is_code:
        for operand in site.statement.operands:
            if not operand.text.startswith('"'):
                yield from (t for t in tokens(operand.text, operand.start) if is_register(t.text))


def exchanged(site: Site) -> Iterator[Variant]:
    """One register for another that holds a value here (of the same width), or that is about to be given one."""
    s = site.statement
    hand = site.view.hand(s)
    dead = site.view.dead_before(s)
    missing = site.view.undefined_from(s)
    for token in _registers(site):
        full = headers.full_register(token.text)
        if full is None:
            for rank, other in enumerate(_CONTROL.get(token.text.lower(), ())):
                yield Variant((replaced(s, token, other),), 1.5 + rank, f"{token.text} -> {other}")
            continue
        others = [r for r in (*hand, *sorted(missing - set(hand))) if r != full]
        others.sort(key=lambda r: r not in dead and r not in missing)
        for rank, other in enumerate(others):
            bits = rank_bits(rank) - (1.5 if other in dead or other in missing else 0.0)
            bits += 3.0 if full == "rsp" or other == "rsp" else 0.0
            text = with_register(other, token.text)
            yield Variant((replaced(s, token, text),), bits, f"{token.text} -> {text}")


def exchanged_everywhere(site: Site) -> Iterator[Variant]:
    """Both operands' registers exchanged for each other, and one register in the whole statement."""
    s = site.statement
    found = [t for t in _registers(site) if headers.full_register(t.text)]
    names = list(dict.fromkeys(t.text for t in found))
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if headers.register_bits(first) == headers.register_bits(second):
                swap = {first: second, second: first}
                code = _map(s.code, swap)
                yield Variant((replaced(s, s.code, code),), 2.0, f"{first} <-> {second}")


def _map(code: Span, names: dict[str, str]) -> str:
    text, shift = code.text, 0
    for token in tokens(code.text):
        if token.text in names:
            new = names[token.text]
            text = text[: token.start + shift] + new + text[token.end + shift :]
            shift += len(new) - len(token.text)
    return text


def widths(site: Site) -> Iterator[Variant]:
    """The same register in another width: upper halves lost or kept."""
    s = site.statement
    for token in _registers(site):
        full, bits = headers.full_register(token.text), headers.register_bits(token.text)
        if full is None or bits is None:
            continue
        near = {64: (32, 16, 8), 32: (64, 16, 8), 16: (32, 64, 8), 8: (32, 16, 64)}[bits]
        for rank, other in enumerate(b for b in near if b != 64 or s.mode == 64):
            text = sized(full, other)
            yield Variant((replaced(s, token, text),), rank_bits(rank), f"{token.text} -> {text}")
    general = {t.text: full for t in _registers(site) if (full := headers.full_register(t.text))}
    sizes = {headers.register_bits(name) for name in general}
    if len(sizes) == 1 and len(general) > 1:
        (bits,) = sizes
        for rank, other in enumerate({64: (32,), 32: (64, 16), 16: (32,), 8: (32,)}[bits or 64]):
            names = {name: sized(full, other) for name, full in general.items()}
            yield Variant(
                (replaced(s, s.code, _map(s.code, names)),), rank_bits(rank), f"all {other} bits wide"
            )


def order(site: Site) -> Iterator[Variant]:
    """Two operands the other way round."""
    s = site.statement
    if s.kind == "instruction" and len(s.operands) == 2:
        a, b = s.operands
        text = f"{b.text}, {a.text}"
        yield Variant((replaced(s, Span("", a.start, b.end), text),), 0.0, "operands exchanged")
    if len(s.operands) > 2:
        for index in range(len(s.operands) - 1):
            a, b = s.operands[index], s.operands[index + 1]
            edit = replaced(s, Span("", a.start, b.end), f"{b.text}, {a.text}")
            yield Variant((edit,), 2.0, f"{a.text} and {b.text} exchanged")


OPERATORS = (
    Operator(
        "register-other",
        "a register confused with another that is in use in the routine",
        3.3,
        exchanged,
    ),
    Operator(
        "register-pair", "two registers of a statement confused with each other", 4.5, exchanged_everywhere
    ),
    Operator(
        "register-width",
        "a value cut off or not extended: eax for rax, al for eax; upper half of a 64-bit address lost",
        3.7,
        widths,
        {"page-fault": -0.3},
    ),
    Operator("operand-order", "source and destination confused (AT&T order, or haste)", 4.0, order),
)
