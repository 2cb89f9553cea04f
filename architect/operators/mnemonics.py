"""Operators on mnemonics: the opposite condition, the sibling instruction, a prefix or suffix forgotten.

Owns the families of instructions that people confuse. A macro of the tree is exchanged for its siblings by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.effects import CONDITIONS, is_memory
from architect.operators.base import Operator, Site, Variant, rank_bits, replaced, rewritten
from architect.operators.view import sized
from architect.statements import PREFIXES, Span, Statement
from toolchain import headers

_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("shl", "shr", "sar", "rol", "ror"),
    ("add", "sub", "adc", "sbb"),
    ("or", "and", "xor", "test"),
    ("and", "or", "andn", "sub"),
    ("cmp", "test", "sub"),
    ("inc", "dec"),
    ("mov", "lea", "xchg", "movabs"),
    ("mov", "or", "and", "add", "xor"),
    ("movzx", "movsx", "mov"),
    ("movsx", "movsxd", "movzx"),
    ("mul", "imul", "div"),
    ("div", "idiv"),
    ("bsf", "bsr", "tzcnt", "lzcnt", "popcnt"),
    ("bt", "bts", "btr", "btc"),
    ("cli", "sti"),
    ("cld", "std"),
    ("clc", "stc", "cmc"),
    ("push", "pop"),
    ("call", "jmp"),
    ("ret", "iretq", "retfq", "sysretq"),
    ("sysret", "sysretq", "sysexit"),
    ("iret", "iretq", "iretd"),
    ("lgdt", "lidt", "lldt", "ltr"),
    ("sgdt", "sidt"),
    ("rdmsr", "wrmsr"),
    ("in", "out"),
    ("mfence", "sfence", "lfence"),
    ("invlpg", "clflush"),
    ("neg", "not"),
    ("cqo", "cdq", "cdqe"),
    ("stosb", "stosd", "stosq", "stosw"),
    ("movsb", "movsd", "movsq", "movsw"),
    ("lodsb", "lodsd", "lodsq", "lodsw"),
    ("scasb", "scasd", "scasq", "scasw"),
    ("pushfq", "popfq"),
    ("pushfd", "popfd"),
    ("xadd", "xchg", "cmpxchg"),
    ("rdtsc", "rdtscp"),
    ("hlt", "pause"),
    ("loop", "loope", "loopne"),
    ("movaps", "movups", "movdqa", "movdqu"),
    ("jmp", "jz", "jnz", "jc", "jnc"),
    (".byte", ".word", ".long", ".quad"),
    (".byte", ".short", ".long", ".quad"),
    (".ascii", ".asciz"),
    (".balign", ".align", ".p2align"),
)
_JOINING = ("or", "and", "add", "xor")  # they keep what a register held; a move replaces it
_CANON = {"e": "z", "ne": "nz", "b": "c", "nae": "c", "ae": "nc", "nb": "nc", "na": "be", "nbe": "a", "nge": "l",
          "nl": "ge", "ng": "le", "nle": "g", "pe": "p", "po": "np"}  # fmt: skip
# condition -> likeliest mistakes: opposite, off by one at the bound, signed for unsigned
_CONFUSED = {
    "z": ("ne", "b", "ae", "be", "a"),
    "nz": ("e", "a", "b", "ae"),
    "c": ("ae", "be", "a", "l", "z"),
    "nc": ("b", "a", "be", "ge", "ne"),
    "be": ("a", "b", "ae", "le"),
    "a": ("be", "ae", "b", "g", "ne"),
    "l": ("ge", "le", "g", "b"),
    "ge": ("l", "g", "le", "ae"),
    "le": ("g", "l", "ge", "be"),
    "g": ("le", "ge", "l", "a"),
    "s": ("ns", "z", "c", "le"),
    "ns": ("s", "nz", "nc", "g"),
    "o": ("no", "c"),
    "no": ("o", "nc"),
    "p": ("np",),
    "np": ("p",),
}
# Where the tree writes jc/jnc after a call (failure = CF), keep that spelling.
_CARRY = {"b": "c", "ae": "nc", "c": "b", "nc": "ae"}


def _name_span(site: Site) -> Span:
    """The columns of the mnemonic."""
    s = site.statement
    lead = len(s.prefix) if s.prefix else 0
    text = s.code.text[lead:]
    start = s.code.start + lead + len(text) - len(text.lstrip())
    return Span(s.name, start, start + len(s.name))


def _split(name: str) -> tuple[str, str] | None:
    """Stem and condition of a conditional instruction."""
    for stem in ("cmov", "set", "j"):
        if name.startswith(stem) and name[len(stem) :] in CONDITIONS:
            return stem, name[len(stem) :]
    return None


def conditions(site: Site) -> Iterator[Variant]:
    """Another condition: the opposite, one with or without equality, the other signedness; or always, or never."""
    s = site.statement
    found = _split(s.name) if s.kind == "instruction" else None
    if found is None:
        return
    stem, code = found
    carry = code in ("c", "nc")
    others = _CONFUSED[_CANON.get(code, code)]
    for rank, other in enumerate(others):
        text = stem + (_CARRY.get(other, other) if carry else other)
        yield Variant((replaced(s, _name_span(site), text),), rank_bits(rank) - 0.5, f"{s.name} -> {text}")
    extra = [
        c for c in ("z", "nz", "c", "nc", "s", "ns") if c not in others and c not in (code, _CANON.get(code))
    ]
    for rank, other in enumerate(extra):
        text = stem + other
        yield Variant((replaced(s, _name_span(site), text),), 3.0 + 0.3 * rank, f"{s.name} -> {text}")
    if stem == "j":
        yield Variant((replaced(s, _name_span(site), "jmp"),), 3.5, "always")
    if stem == "cmov":
        yield Variant((replaced(s, _name_span(site), "mov"),), 3.5, "always")


def families(site: Site) -> Iterator[Variant]:
    """An instruction or data directive for one that people confuse with it; a macro for its sibling."""
    s = site.statement
    if s.kind == "macro":
        for rank, other in enumerate(site.view.family(site.statement, s.name)[:8]):
            yield Variant((replaced(s, _name_span(site), other),), rank_bits(rank), f"{s.name} -> {other}")
        return
    seen: dict[str, float] = {}
    for family in _FAMILIES:
        if s.name in family:
            for rank, other in enumerate(o for o in family if o != s.name):
                bits = rank_bits(rank)
                seen[other] = min(seen.get(other, 99.0), bits)
    for other, bits in seen.items():
        yield Variant((replaced(s, _name_span(site), other),), bits, f"{s.name} -> {other}")
        if s.name == "mov" and other in _JOINING and (whole := _whole_register(s)) is not None:
            text = f"{other} {whole}, {s.operand(1)}"
            yield Variant((rewritten(s, text),), bits + 0.5, f"{s.name} -> {other} {whole}")


def _whole_register(s: Statement) -> str | None:
    """The 64-bit name of a 32-bit destination of a number: a move makes all of it, a sum or a union does not."""
    register = s.operand(0)
    whole = headers.full_register(register)
    number = not is_memory(s.operand(1)) and headers.full_register(s.operand(1)) is None
    return (
        whole if whole is not None and whole != register and sized(whole, 32) == register and number else None
    )


def prefixes(site: Site) -> Iterator[Variant]:
    """A lock or repeat prefix forgotten or too many; the 64-bit form of a return."""
    s = site.statement
    if s.kind != "instruction":
        return
    rest = s.code.text[len(s.prefix) :].lstrip() if s.prefix else s.code.text
    if s.prefix in PREFIXES and s.prefix:
        yield Variant((rewritten(s, rest),), 2.0, f"without {s.prefix}")
        for other in ("rep", "repe", "repne"):
            if other != s.prefix != "lock":
                yield Variant((rewritten(s, f"{other} {rest}"),), 2.0, f"{s.prefix} -> {other}")
    elif s.name[:4] in ("movs", "stos", "lods", "scas", "cmps") and not s.operands:
        for rank, other in enumerate(("rep", "repe", "repne")):
            yield Variant((rewritten(s, f"{other} {rest}"),), 0.5 + rank, f"with {other}")
    elif s.operands and is_memory(s.operand(0)) and s.name in (
        "add", "sub", "inc", "dec", "or", "and", "xor", "xadd", "cmpxchg", "bts", "btr", "btc", "not", "neg",
    ):  # fmt: skip
        yield Variant((rewritten(s, f"lock {rest}"),), 0.5, "with lock")


OPERATORS = (
    Operator(
        "condition",
        "the branch taken the wrong way, at the wrong bound, or by the wrong signedness",
        3.3,
        conditions,
        {"hang": -0.5, "failed-test": -0.3},
    ),
    Operator(
        "mnemonic-sibling",
        "an instruction confused with its sibling: shl/shr, add/sub, mov/lea, sysret/sysretq, lgdt/lidt",
        3.5,
        families,
        {"invalid-opcode": -0.5, "protection": -0.5},
        sorts=frozenset({"code", "data", "directive"}),
    ),
    Operator("prefix", "lock or rep forgotten: one element copied, an update lost", 4.0, prefixes),
)
