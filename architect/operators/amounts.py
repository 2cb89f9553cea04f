"""Operators that put right an amount between its making and its use: an offset added, a mask, a rounding up.

Owns insertions of arithmetic on a value that was made just before. The amounts are the expressions of the routine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits
from architect.operators.compose import wanted_from
from architect.operators.view import View, kept, sized
from architect.statements import Statement, is_symbol, tokens
from architect.told import value_of
from toolchain import headers

_DWORD = (1 << 32) - 1
_FRESH = 2  # statements back to one that makes a value
_AROUND = 14  # statements to each side whose expressions are taken
_EXPRESSIONS = 12
_NAMED = 2
_STEPS = (("add", 0.0), ("sub", 1.5), ("and", 2.0), ("or", 2.0))
_ALWAYS = ("8", "16")  # structures that loaders and the CPU want aligned


def adjustments(site: Site) -> Iterator[Variant]:
    """A sum or mask of an expression of the routine on a value that was made just before and is used afterwards."""
    found, place = site.view.sequence(site.statement)
    for nth, register in enumerate(_made(site, found, place)):
        for rank, text in enumerate(_expressions(found, place)):
            for name, cost in _STEPS:
                yield _inserted(site, [f"{name} {register}, {text}"], rank_bits(nth) + rank_bits(rank) + cost)


def missing(site: Site) -> Iterator[Variant]:
    """The constant by which a value that waits to be used is wrong, as a broken contract tells: added, taken or set."""
    s = site.statement
    for demand, registers in site.view.told.waiting(s.file, s.line):
        came, wanted = registers.get(demand.register, 0) & demand.mask, demand.wanted
        ways = [("add", wanted - came & demand.mask), ("sub", came - wanted & demand.mask)]
        ways += [("or", wanted & ~came)] if came | wanted == wanted else []
        whole = (
            s.mode == 64 and registers.get(demand.register, 0) > _DWORD
        )  # 32 bits would clear the upper half
        register = sized(demand.register, 64 if whole else 32)
        for verb, amount in ways:
            for rank, name in enumerate(_named(site.view, s.file, amount)):
                yield _inserted(site, [f"{verb} {register}, {name}"], rank_bits(rank))


@kept
def _named(view: View, file: str, value: int) -> tuple[str, ...]:
    """Constants of a value that a file defines or includes; those that it uses first."""
    if not 0 < value < 1 << 31:
        return ()
    found = []
    for name, known in view.names.values.items():
        if known == value and view.is_at_hand(name, file):
            used = any(user.file == file for user in view.tree.references.get(name, ()))
            found.append((not used, name))
    return tuple(name for _, name in sorted(found))


def roundings(site: Site) -> Iterator[Variant]:
    """A value made just before rounded up: to whole units before a division, or to the next multiple."""
    found, place = site.view.sequence(site.statement)
    units = [text for text in _expressions(found, place) if not set(text) & set("|~&")]
    for nth, register in enumerate(_made(site, found, place)):
        for rank, unit in enumerate((*_shifted(site, found, place, register), *units, *_ALWAYS)):
            cost = rank_bits(nth) + rank_bits(rank)
            whole = unit if re.fullmatch(r"\w+", unit) else f"({unit})"
            yield _inserted(site, [f"add {register}, {unit} - 1"], cost)
            yield _inserted(site, [f"add {register}, {unit} - 1", f"and {register}, -{whole}"], cost + 0.5)


def _inserted(site: Site, lines: list[str], bits: float) -> Variant:
    s = site.statement
    edit = inserted_at(s.file, s.line, [indent(s) + line for line in lines])
    return Variant((edit,), bits, f"`{'; '.join(lines)}` before it")


def _made(site: Site, found: Sequence[Statement], place: int) -> list[str]:
    """The registers that statements just before give a value which is used afterwards, as these name them."""
    if not site.is_gap:
        return []
    wanted = wanted_from(site)
    made: dict[str, None] = {}
    for s in reversed(found[max(0, place - _FRESH) : place]):
        target = s.operand(0) if s.kind == "instruction" and len(s.operands) > 1 else ""
        if headers.full_register(target) in wanted and (headers.register_bits(target) or 0) >= 32:
            made.setdefault(target)
    return list(made)


def _shifted(site: Site, found: Sequence[Statement], place: int, register: str) -> Iterator[str]:
    """The unit by which the value is divided right after: two to the power of the shift, by name if it has one."""
    values = site.view.names.values
    for s in found[place : place + _FRESH]:
        if s.name not in ("shr", "sar") or s.operand(0) != register or s.operand(1) in ("cl", ""):
            continue
        count = value_of(s.operand(1), values)
        if count is not None and 0 < count < 64:
            words = set(s.operand(1).split("_"))
            named = [name for name, value in values.items() if value == 1 << count]
            yield from sorted(named, key=lambda name: -len(words & set(name.split("_"))))[:_NAMED]
        yield f"(1 << ({s.operand(1)}))"


def _expressions(found: Sequence[Statement], place: int) -> list[str]:
    """Immediate expressions of the statements around a place, nearest first, and the products in each."""
    seen: dict[str, None] = {}
    near = range(max(0, place - _AROUND), min(len(found), place + _AROUND))
    for n in sorted(near, key=lambda n: abs(n - place)):
        for operand in found[n].operands[1:]:
            names = [t.text for t in tokens(operand.text) if is_symbol(t.text) and t.text.isupper()]
            if "[" in operand.text or not names:
                continue
            seen.setdefault(operand.text)
            product = re.fullmatch(r"(\w+) \* \((\w+) [-+] (\w+)\)", operand.text)
            if product:
                seen.update({f"{product[1]} * {product[2]}": None, f"{product[1]} * {product[3]}": None})
            seen.update(dict.fromkeys(names))
    return list(seen)[:_EXPRESSIONS]


OPERATORS = (
    Operator(
        "adjust-insert",
        "an offset, a skip or a mask forgotten between a value's making and its use",
        4.0,
        adjustments,
        {"wrong-value": -0.3, "contract": -0.3},
        sorts=GAPS,
    ),
    Operator(
        "told-insert",
        "an offset or a bit forgotten, and a value wrong by exactly that",
        3.0,
        missing,
        sorts=GAPS,
    ),
    Operator(
        "round-insert",
        "a size or an address not rounded up: the last part of a unit, the padding between structures",
        4.5,
        roundings,
        {"contract": -0.3},
        sorts=GAPS,
    ),
)
