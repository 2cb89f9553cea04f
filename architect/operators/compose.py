"""Operators that compose a missing statement from parts: a constant nothing uses, a branch, any common form.

Owns insertions without a donor at hand. Forms are those that the tree writes often; destinations are registers that
are wanted afterwards, sources registers that have a value; constants are those left without a use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import log2

from architect.effects import FLAGS, is_memory
from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits, rewritten
from architect.operators.view import View, is_assignment, kept, sized, with_registers
from architect.shapes import sort_of
from architect.statements import Reader, Statement, is_symbol, tokens
from toolchain import headers

_CONDITIONS = (
    "jc",
    "jz",
    "jnz",
    "je",
    "jne",
    "jnc",
    "jb",
    "jae",
    "ja",
    "jbe",
    "js",
    "jns",
    "jg",
    "jl",
    "jge",
    "jle",
)
_TEMPLATES = 12
_LABELS = 6


def _insert(site: Site, line: str, bits: float, note: str = "") -> Variant:
    s = site.statement
    return Variant((inserted_at(s.file, s.line, [indent(s) + line]),), bits, f"`{line}` before it{note}")


def wanted_from(site: Site) -> frozenset[str]:
    """Registers whose value is read after the gap before a site."""
    flow, node = site.view.flow(site.statement), site.view.node(site.statement)
    if flow is None or node is None:
        return frozenset()
    effect = flow.nodes[node].effects
    return (flow.live[node] - effect.writes) | effect.reads | effect.merges


def _defined(site: Site) -> frozenset[str]:
    flow, node = site.view.flow(site.statement), site.view.node(site.statement)
    return flow.defined[node] if flow is not None and node is not None else frozenset()


def orphans(site: Site) -> Iterator[Variant]:
    """A statement that uses a constant which nothing uses, in the forms in which its family is used."""
    s = site.statement
    if not site.is_gap:
        return
    near = _near_orphans(site.view, s.file)
    which = log2(len(near) + 1)
    for name in near:
        for rank, template in enumerate(_forms(site.view, name, s.file)):
            for bits, line in _fitted(site, template):
                cost = which + rank_bits(rank) + bits
                yield _insert(site, line, cost, f"; nothing uses {name}")
                if template.name == s.name and len(template.operands) == len(s.operands):
                    yield Variant((rewritten(s, line),), cost + 1.0, f"`{line}`; nothing uses {name}")


@kept
def _near_orphans(view: View, file: str) -> tuple[str, ...]:
    """Constants without a use that a file defines or includes."""
    found = [name for name in view.names.orphans if view.is_at_hand(name, file)]
    return tuple(sorted(found, key=lambda name: (view.tree.constants[name].file != file, name)))


@kept
def _forms(view: View, name: str, file: str) -> tuple[Statement, ...]:
    """Statements that use a member of the family, one per form, with ``name`` in the member's place."""
    found: dict[str, Statement] = {}
    for other in view.names.family(name, file)[:_TEMPLATES]:
        for user in view.tree.references.get(other, ()):
            if user.kind != "instruction" or is_assignment(user):
                continue
            line = _renamed(user, other, name)
            found.setdefault(sort_of(line), line)
    return tuple(found.values())[:_TEMPLATES]


def _renamed(s: Statement, name: str, other: str) -> Statement:
    """The statement with one name of it exchanged, read anew; without its labels."""
    text = s.code.text
    for token in reversed(tokens(text)):
        if token.text == name:
            text = text[: token.start] + other + text[token.end :]
    return next(iter(Reader(s.file, {}, s.routine, s.section, s.mode).line(s.line, text)))


def _fitted(site: Site, template: Statement) -> Iterator[tuple[float, str]]:
    """A template's line with each of its registers as it is or exchanged for another at hand."""
    code = template.code.text
    present = dict.fromkeys(r for t in tokens(code) if (r := headers.full_register(t.text)) and r != "rsp")
    known, wanted = _defined(site), wanted_from(site)
    hand = list(site.view.hand(site.statement))
    if template.routine == site.statement.routine or set(present) <= known:
        yield 0.0, code
    for register in present:
        for rank, other in enumerate(sorted(hand, key=lambda r: (r not in wanted, hand.index(r)))):
            if other != register:
                yield 1.0 + 0.4 * rank, with_registers(code, {register: other})


def branches(site: Site) -> Iterator[Variant]:
    """A branch after a comparison or call whose flags nothing reads, or a jump before a label."""
    s, before = site.statement, site.previous
    if not site.is_gap or before is None:
        return
    labels = _targets(site)
    flow, node = site.view.flow(before), site.view.node(before)
    if flow is None or node is None:
        return
    effect = flow.nodes[node].effects
    called = site.view.tree.headers.get(before.operand(0)) if before.name == "call" else None
    if called is not None and any(slot.register == "cf" for slot in called.outputs):
        for rank, label in enumerate(labels):
            yield _insert(site, f"jc {label}", rank_bits(rank) - 1.0)
            yield _insert(site, f"jnc {label}", 1.5 + rank_bits(rank))
    elif FLAGS in effect.writes and FLAGS not in flow.live[node]:
        compared = before.name in ("cmp", "test", "bt", "bts", "btr", "dec", "sub", "and")
        for rank, label in enumerate(labels):
            for nth, jump in enumerate(_CONDITIONS):
                yield _insert(
                    site, f"{jump} {label}", rank_bits(rank) + 0.4 * nth + (0.0 if compared else 3.0)
                )
    for rank, label in enumerate(labels):
        yield _insert(
            site, f"jmp {label}", rank_bits(rank) + (0.5 if s.labels or _labelled_next(site) else 3.0)
        )


def _labelled_next(site: Site) -> bool:
    """A label of its own line stands right before the site."""
    above = site.view.tree.by_line.get((site.statement.file, site.statement.line - 1), ())
    return any(s.labels for s in above)


def _targets(site: Site) -> list[str]:
    """Local labels of the routine, unused ones first, then those nearest below, then above."""
    s = site.statement
    places = site.view.tree.local_labels

    def order(name: str) -> tuple[bool, bool, int]:
        away = places[s.file, name].line - s.line
        return (not site.view.is_orphan(s, name), away < 0, abs(away))

    return sorted(dict.fromkeys(site.view.local_labels(s)), key=order)[:_LABELS]


@kept
def _frequencies(view: View) -> tuple[tuple[str, str, float], ...]:
    """Mnemonic and operand sorts of the tree's two-operand instructions with what each costs in bits."""
    counts: Counter[tuple[str, str]] = Counter()
    for s in view.tree.statements():
        if s.kind == "instruction" and len(s.operands) == 2 and not s.prefix:
            counts[s.name, sort_of(s).split(" ", 1)[1]] += 1
    total = counts.total() or 1
    common = [(name, sorts, log2(total / n)) for (name, sorts), n in counts.most_common(60) if n > 2]
    return tuple(common)


def anything(site: Site) -> Iterator[Variant]:
    """Any common form with a wanted destination and defined sources."""
    s = site.statement
    if not site.is_gap or site.view.node(s) is None:
        return
    wanted = [r for r in site.view.hand(s) if r in wanted_from(site)]
    wanted += [r for r in sorted(wanted_from(site)) if r not in wanted and r in site.view.undefined_from(s)]
    known = [r for r in site.view.hand(s) if r in _defined(site)]
    memory = _memory(site)
    numbers = _immediates(site)
    for name, sorts, bits in _frequencies(site.view):
        first, second = sorts.split(",", 1)
        needs_flags = name in ("cmp", "test", "bt")
        targets = _operands(first, known if needs_flags else wanted, memory, [])
        sources = _operands(second, known, memory, numbers)
        if needs_flags and FLAGS not in wanted_from(site):
            continue
        for rank, target in enumerate(targets):
            for nth, source in enumerate(sources):
                if target != source or name in ("xor", "test"):
                    yield _insert(
                        site, f"{name} {target}, {source}", bits + rank_bits(rank) + rank_bits(nth) - 3.0
                    )


def _operands(sort: str, registers: list[str], memory: list[str], numbers: list[str]) -> list[str]:
    if sort in ("r64", "r32", "r16", "r8"):
        return [sized(r, int(sort[1:])) for r in registers][:8]
    if sort == "mem":
        return memory[:5]
    if sort in ("number", "name"):
        return [n for n in numbers if is_symbol(n) == (sort == "name")][:6]
    return []


def _memory(site: Site) -> list[str]:
    found, place = site.view.sequence(site.statement)
    near = sorted(range(len(found)), key=lambda n: abs(n - place))
    seen: dict[str, None] = {}
    for n in near:
        seen.update({o.text: None for o in found[n].operands if is_memory(o.text)})
    return list(seen)


def _immediates(site: Site) -> list[str]:
    """Numbers and constants that the routine uses, nearest first; constants that nothing uses before them."""
    found, place = site.view.sequence(site.statement)
    near = sorted(range(len(found)), key=lambda n: abs(n - place))
    seen: dict[str, None] = dict.fromkeys(_near_orphans(site.view, site.statement.file)[:3])
    for n in near:
        for operand in found[n].operands[1:]:
            text = operand.text
            if not is_memory(text) and headers.full_register(text) is None and not text.startswith(".L"):
                seen.setdefault(text)
    return list(seen)


OPERATORS = (
    Operator(
        "orphan-insert",
        "a constant is defined and nothing uses it: the statement that did is missing or names another",
        3.0,
        orphans,
        sorts=GAPS,
        common=True,
    ),
    Operator(
        "branch-insert", "a result is tested, or a path ends, and no jump follows", 3.8, branches, sorts=GAPS
    ),
    Operator(
        "compose",
        "a step forgotten that nothing else of the tree resembles",
        5.5,
        anything,
        sorts=GAPS,
        common=True,
    ),
)
