"""Operators that follow the data flow: use the value that nothing uses, make the value that nothing makes.

Owns insertions for which the routine's own anomalies ask: a store of the computed value, a definition of the missing
one, a call of what is never called, plain instructions that have no operands to get wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from architect.effects import is_memory
from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits
from architect.operators.view import View, kept, sized
from architect.protocols import Edit
from architect.statements import Statement, is_symbol, tokens
from toolchain import headers

_PLAIN = ("mfence", "sfence", "lfence", "cld", "cli", "sti", "clc", "stc", "cmc", "ret", "pause", "wbinvd", "clts",
          "cqo", "cdq", "cdqe", "swapgs", "rdmsr", "wrmsr", "rdtsc", "cpuid", "leave", "iretq", "lodsb", "stosb",
          "nop", "hlt", "std", "popfq", "pushfq")  # fmt: skip


def _insert(site: Site, line: str) -> Variant:
    s = site.statement
    return Variant((inserted_at(s.file, s.line, [indent(s) + line]),), 0.0, f"`{line}` before it")


def _costed(variant: Variant, bits: float) -> Variant:
    return Variant(variant.edits, bits, variant.note)


def _memory(site: Site) -> list[str]:
    """The memory operands of the routine, nearest to the site first."""
    found, place = site.view.sequence(site.statement)
    near = sorted(range(len(found)), key=lambda n: abs(n - place))
    seen: dict[str, None] = {}
    for n in near:
        seen.update({o.text: None for o in found[n].operands if is_memory(o.text) and found[n].name != "lea"})
    return list(seen)


def _width(site: Site, register: str) -> int:
    """The width in which the routine last wrote a register before the site."""
    found, place = site.view.sequence(site.statement)
    for s in reversed(found[:place]):
        for token in tokens(s.operand(0)):
            if headers.full_register(token.text) == register and not is_memory(s.operand(0)):
                return headers.register_bits(token.text) or 64
    return 64


_NAMES = {64: "qword", 32: "dword", 16: "word", 8: "byte"}
_BITS = {name: bits for bits, name in _NAMES.items()}


def uses(site: Site) -> Iterator[Variant]:
    """A use of a value that the routine computes and drops: a store, a move to where a value is wanted."""
    s = site.statement
    if not site.is_gap:
        return
    dead = sorted(site.view.dead_before(s))
    for register in dead:
        bits = _width(site, register)
        targets = _memory(site)
        pointers = [f"[{r}]" for r in site.view.hand(s) if r != register]
        for rank, target in enumerate(dict.fromkeys((*targets, *pointers))):
            size = next((_BITS[w] for w in _BITS if w in target.split()), bits)
            yield _costed(_insert(site, f"mov {target}, {sized(register, size)}"), rank_bits(rank))
        for rank, name in enumerate(_variables(site)):
            bonus = site.view.earned(site.statement, name)
            line = f"mov [rip + {name}], {sized(register, bits)}"
            yield _costed(_insert(site, line), 1.5 + rank_bits(rank) - bonus)
        for rank, name in enumerate(("cr3", "cr0", "cr4", "ss", "ds")):
            yield _costed(_insert(site, f"mov {name}, {sized(register, bits)}"), 3.0 + 0.5 * rank)
        wanted = [r for r in sorted(site.view.undefined_from(s)) if r != register]
        for rank, other in enumerate(dict.fromkeys((*wanted, *site.view.hand(s)))):
            if other != register:
                for name in ("mov", "or", "add", "and"):
                    bonus = 1.0 if other in wanted and name == "mov" else 0.0
                    line = f"{name} {sized(other, bits)}, {sized(register, bits)}"
                    yield _costed(_insert(site, line), 1.5 + 0.5 * rank - bonus + (name != "mov"))


def _variables(site: Site) -> list[str]:
    """Data of the same file, those that nothing uses first."""
    names = [n for file, n in site.view.tree.local_labels if file == site.statement.file]
    data = [n for n in names if n not in site.view.tree.routines and not n.startswith(".L")]
    return sorted(data, key=lambda n: not site.view.is_orphan(site.statement, n))


def definitions(site: Site) -> Iterator[Variant]:
    """A definition of a register that is used further on and that nothing has defined."""
    s = site.statement
    if not site.is_gap:
        return
    for register in sorted(site.view.undefined_from(s)):
        if register == "flags":
            yield from _comparisons(site)
            continue
        low = sized(register, 32)
        yield _costed(_insert(site, f"xor {low}, {low}"), 1.0)
        for rank, line in enumerate(_as_elsewhere(site, register)):
            yield _costed(_insert(site, line), 0.5 + rank_bits(rank))
        for rank, other in enumerate(r for r in site.view.hand(s) if r != register):
            yield _costed(_insert(site, f"mov {register}, {other}"), 0.5 + rank_bits(rank))
            yield _costed(_insert(site, f"mov {low}, {sized(other, 32)}"), 2.0 + rank_bits(rank))
        for rank, target in enumerate(_memory(site)[:8]):
            size = next((_BITS[w] for w in _BITS if w in target.split()), 64)
            if size >= 32:
                yield _costed(_insert(site, f"mov {sized(register, size)}, {target}"), 1.5 + rank_bits(rank))
            else:
                yield _costed(_insert(site, f"movzx {low}, {target}"), 1.5 + rank_bits(rank))
            yield _costed(_insert(site, f"lea {register}, [{target.split('[', 1)[1]}"), 2.5 + rank_bits(rank))
        for rank, name in enumerate(_variables(site)[:8]):
            yield _costed(_insert(site, f"lea {register}, [rip + {name}]"), 2.0 + rank_bits(rank))
            yield _costed(_insert(site, f"mov {register}, [rip + {name}]"), 2.0 + rank_bits(rank))
        for rank, name in enumerate(sorted(site.view.names.orphans)[:12]):
            yield _costed(_insert(site, f"mov {low}, {name}"), 2.5 + rank_bits(rank))
        for rank, number in enumerate(_numbers(site)):
            yield _costed(_insert(site, f"mov {low}, {number}"), 3.0 + rank_bits(rank))


def _as_elsewhere(site: Site, register: str) -> list[str]:
    """How the routine makes the register in other places, and the same with another name of a family."""
    found, place = site.view.sequence(site.statement)
    plain: dict[str, None] = {}
    for n in sorted(range(len(found)), key=lambda n: abs(n - place)):
        first = found[n].operand(0)
        if found[n].name in ("mov", "lea", "movzx", "movabs") and headers.full_register(first) == register:
            plain.setdefault(found[n].code.text)
    varied = dict(plain)
    for line in plain:
        for token in reversed(tokens(line)):
            for other in site.view.family(site.statement, token.text)[:6] if is_symbol(token.text) else ():
                varied.setdefault(line[: token.start] + other + line[token.end :])
    return list(varied)[:30]


def _comparisons(site: Site) -> Iterator[Variant]:
    """A test or comparison before a branch whose flags nothing has set."""
    hand = site.view.hand(site.statement)
    for rank, register in enumerate(hand):
        yield _costed(_insert(site, f"test {register}, {register}"), 1.0 + rank_bits(rank))
        for nth, other in enumerate(r for r in hand if r != register):
            yield _costed(_insert(site, f"cmp {register}, {other}"), 1.5 + rank_bits(rank) + rank_bits(nth))
        for nth, target in enumerate(_memory(site)[:6]):
            yield _costed(_insert(site, f"cmp {target}, {register}"), 2.0 + rank_bits(rank) + rank_bits(nth))
            yield _costed(_insert(site, f"cmp {register}, {target}"), 2.0 + rank_bits(rank) + rank_bits(nth))


def _numbers(site: Site) -> list[str]:
    found, place = site.view.sequence(site.statement)
    seen = Counter(
        t.text for s in found[max(0, place - 8) : place + 9] for o in s.operands for t in tokens(o.text)
        if t.text[0].isdigit() and t.text[-1] not in "bf"
    )  # fmt: skip
    return [n for n, _ in seen.most_common(6)] + ["1"]


def arguments(site: Site) -> Iterator[Variant]:
    """Before a call: an argument register that the header asks for, set from what is at hand."""
    s = site.statement
    if not site.is_gap:
        return
    found, place = site.view.sequence(s)
    written: set[str] = set()
    for away, other in enumerate(found[place : place + 5]):
        if other.name == "call":
            header = site.view.tree.headers.get(other.operand(0))
            for slot in header.inputs if header else ():
                full = headers.full_register(slot.register)
                if full is not None and full not in written:
                    yield from _argument(site, full, 0.5 * away)
            return
        written |= {full for t in tokens(other.operand(0)) if (full := headers.full_register(t.text))}


def _argument(site: Site, full: str, bits: float) -> Iterator[Variant]:
    low = sized(full, 32)
    for rank, other in enumerate(r for r in site.view.hand(site.statement) if r != full):
        yield _costed(_insert(site, f"mov {full}, {other}"), 0.5 + bits + rank_bits(rank))
        yield _costed(_insert(site, f"mov {low}, {sized(other, 32)}"), 2.0 + bits + rank_bits(rank))
    yield _costed(_insert(site, f"xor {low}, {low}"), 1.5 + bits)


def plain(site: Site) -> Iterator[Variant]:
    """An instruction without operands, or the clearing of a register."""
    s = site.statement
    if not site.is_gap:
        return
    header = site.view.tree.headers.get(s.routine or "")
    wants_carry = any(slot.register == "cf" for slot in (header.outputs if header else ()))
    common = _frequent(site.view)
    for rank, name in enumerate(sorted(_PLAIN, key=lambda n: -common[n])):
        bonus = 1.5 if wants_carry and name in ("clc", "stc") else 0.0
        yield _costed(_insert(site, name), 1.5 + rank_bits(rank) - bonus)
    missing = site.view.undefined_from(s)
    node, flow = site.view.node(s), site.view.flow(s)
    used = sorted(flow.live[node] if flow and node is not None else ())
    for rank, register in enumerate(r for r in used if r not in ("rsp", "rbp", "flags")):
        low = sized(register, 32)
        bonus = 1.5 if register in missing else 0.0
        yield _costed(_insert(site, f"xor {low}, {low}"), 2.5 + 0.3 * rank - bonus)


@kept
def _frequent(view: View) -> Counter[str]:
    return Counter(s.name for s in view.tree.statements() if s.kind == "instruction" and not s.operands)


_UNRAN = -3.0  # bits of calling what a contract misses the effect of


def calls(site: Site) -> Iterator[Variant]:
    """A call that is missing: of what is blamed and never ran, for ready arguments, of what nothing names, of kin."""
    s = site.statement
    if not site.is_gap:
        return
    tree = site.view.tree
    seen: dict[str, float] = dict.fromkeys(site.view.unran, _UNRAN)
    for rank, name in enumerate(_for_arguments(site)):
        seen.setdefault(name, 0.5 + rank_bits(rank) - 2.0)
    for name in sorted(n for _, n in site.view.names.loose if n in tree.routines):
        seen.setdefault(
            name, (0.0 if tree.routines[name].file == s.file else 1.0) - site.view.earned(s, name)
        )
    for name in site.view.names.uncalled:
        seen.setdefault(name, 0.0 if tree.routines[name].file == s.file else 1.0)
    for callee in tree.callees.get(s.routine or "", ()):
        seen.setdefault(callee, 2.5)
        for rank, other in enumerate(site.view.family(s, callee)[:4]):
            seen.setdefault(other, 3.0 + 0.5 * rank)
    for name, routine in tree.routines.items():
        if routine.file == s.file and name != s.routine:
            seen.setdefault(name, 3.5)
    ends = s.name.startswith("end_") or s.kind == "label"
    for rank, (name, bits) in enumerate(sorted(seen.items(), key=lambda item: item[1])):
        yield _costed(_insert(site, f"call {name}"), bits + 0.2 * rank)
        if ends:
            yield _costed(_insert(site, f"jmp {name}"), bits + 0.2 * rank)


def _for_arguments(site: Site) -> list[str]:
    """Routines that take the registers which stand set and unused before the site, those that take just them first."""
    dead = site.view.dead_before(site.statement)
    ranked = []
    for name, header in site.view.tree.headers.items() if dead else ():
        taken = {full for slot in header.inputs if (full := headers.full_register(slot.register))}
        if taken & dead:
            near = site.view.tree.routines[name].file == site.statement.file
            ranked.append((len(taken ^ dead), not near, -len(site.view.tree.references.get(name, ())), name))
    return [name for *_, name in sorted(ranked)[:24]]


def callees(site: Site) -> Iterator[Variant]:
    """Another routine called than the one that is meant: one of its file or family."""
    s = site.statement
    if (
        s.kind != "instruction"
        or s.name not in ("call", "jmp")
        or s.operand(0) not in site.view.tree.routines
    ):
        return
    tree, own = site.view.tree, s.operands[0]
    kin = list(site.view.family(site.statement, own.text)[:10])
    kin += [n for n, r in tree.routines.items() if r.file == tree.routines[own.text].file and n != own.text]
    for rank, name in enumerate(dict.fromkeys(kin)):
        bonus = site.view.earned(site.statement, name)
        line = s.text[: own.start] + name + s.text[own.end :]
        yield Variant((_line(s, line),), rank_bits(rank) - bonus, f"{own.text} -> {name}")


def _line(s: Statement, line: str) -> Edit:
    return Edit(s.file, s.line, (s.text,), (line,))


OPERATORS = (
    Operator(
        "use-value",
        "a value is computed and dropped: the store, or the move to where it is wanted, is missing",
        2.5,
        uses,
        {"page-fault": -0.5},
        sorts=GAPS,
    ),
    Operator(
        "make-value", "a register is used that nothing has set on any path", 2.5, definitions, sorts=GAPS
    ),
    Operator("set-argument", "a call without one of its arguments set", 4.5, arguments, sorts=GAPS),
    Operator(
        "plain-insert", "a step without operands forgotten: fence, cld, clc, stc, cqo", 4.3, plain, sorts=GAPS
    ),
    Operator("call-missing", "a routine that exists and that nothing calls", 4.3, calls, sorts=GAPS),
    Operator("call-other", "a call of the wrong one of like-named routines", 4.5, callees),
)
