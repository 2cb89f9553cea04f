"""The search on C sources: small edits of one line, the likeliest place and the commonest mistake first.

Owns the operators on C (constants, operators, names, arguments, order, missing and surplus statements) and their
order. It reads tokens, not C: the compiler refuses what is no C, in a tenth of a second. What the boot executed says
where; mistakes and places are counted in bits, as for assembly, so that both searches can be merged.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import log2

from architect.foreign.cplaces import DEFINE, KEYWORDS, NAME, STATEMENT, TOKEN, Sources, names_of, weights
from architect.protocols import Case, Edit, Patch

ENGINE = "search"
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)")
_SWAPS: Mapping[str, tuple[str, ...]] = {
    "<": ("<=", "!=", ">", ">="), "<=": ("<", ">=", ">", "=="), ">": (">=", "<", "<=", "!="), ">=": (">", "<=", "<"),
    "==": ("!=", "=", "<=", ">="), "!=": ("==", "<", ">"), "+": ("-", "|", "*"), "-": ("+", "*"), "*": ("/", "+", "<<"),
    "/": ("%", "*", ">>"), "%": ("/", "&", "*"), "%=": ("/=", "="), "<<": (">>", "*"), ">>": ("<<", "/"),
    "&": ("|", "&&", "^", "%"), "|": ("&", "||", "^", "+"), "^": ("|", "&"), "&&": ("||", "&"), "||": ("&&", "|"),
    "++": ("--",), "--": ("++",),
    "+=": ("-=", "=", "|=", "*="), "-=": ("+=", "="), "*=": ("/=", "="), "/=": ("*=", "%=", "="),
    "|=": ("=", "&=", "^=", "+="),
    "&=": ("|=", "=", "^="), "^=": ("|=", "=", "&="), "<<=": (">>=",), ">>=": ("<<=",), "=": ("==", "+=", "|="),
}  # fmt: skip
_STEPS = ("++", "--")
_COMBINED = ("&=", "|=", "^=", "&", "|", "^")  # operators on bits: a mask may stand there for its complement
_TYPES = frozenset({"char", "int", "long", "short", "unsigned", "signed", "void", "bool", "size_t", "uintptr_t"}
                   | {f"{sign}int{bits}_t" for sign in ("u", "") for bits in (8, 16, 32, 64)})  # fmt: skip
SHARE = 0.4  # how far the variants of a line share it: a longer line has more to be wrong
PRIORS = {  # bits: how unlikely a mistake of each kind is in a line that can have it
    "c-operator": 2.5, "c-constant": 3.0, "c-name": 3.0, "c-off-by-one": 3.0, "c-arguments": 3.0, "c-unary": 3.5,
    "c-donor": 4.0, "c-order": 4.5, "c-missing": 4.5, "c-delete": 6.5,
}  # fmt: skip
LEAST = 3.0  # bits that any way has beside its place's: (1 - SHARE) of the least prior and the least variant
AHEAD = 500  # places in a row whose edits are made before one is proposed, though a cheaper one may lie further on
_DONORS = 40  # lines that may be missing, for one gap
_WORDS = 12  # other names that one name is tried as


@dataclass(frozen=True, slots=True)
class Way:
    """One edit: how unlikely its mistake is, in bits, what it is, and the edits."""

    bits: float
    operator: str
    note: str
    edits: tuple[Edit, ...]


class CSearch:
    """Proposes edits of C lines, likeliest first."""

    name = ENGINE

    def propose(self, case: Case) -> Iterator[Patch]:
        """Every edit of every line, by the bits of its place and its mistake; made as they are needed."""
        sources = Sources(case.sources)
        found = weights(case, sources)
        whole = sum(found.values()) or 1.0
        number = count()
        places = [(-log2(weight / whole), next(number), *key) for key, weight in found.items()]
        heapq.heapify(places)
        heap: list[tuple[float, int, Way]] = []
        seen: set[tuple[Edit, ...]] = set()
        opened = 0
        while heap or places:
            if places and opened < AHEAD and not (heap and heap[0][0] <= places[0][0] + LEAST):
                bits, _, file, line = heapq.heappop(places)
                opened += 1
                for made in shared(list(ways(sources, file, line))):
                    heapq.heappush(heap, (bits + made.bits, next(number), made))
                continue
            opened = 0
            if not heap:
                continue
            cost, _, way = heapq.heappop(heap)
            if way.edits not in seen:
                seen.add(way.edits)
                edit = way.edits[0]
                yield Patch(way.edits, ENGINE, way.operator, f"{edit.file}:{edit.line}: {way.note}", cost)

    def observe(self, evaluation: object) -> None:
        """Nothing is learnt from one candidate for another."""

    def earned(self, patch: object) -> float:
        """So nothing is earned."""
        return 0.0


def shared(found: Sequence[Way]) -> Iterator[Way]:
    """The edits of one line with its operators sharing the line, and each operator's variants the operator."""
    groups: dict[str, list[Way]] = {}
    for way in found:
        groups.setdefault(way.operator, []).append(way)
    line = log2(sum(2.0 ** -PRIORS[name] for name in groups)) if groups else 0.0
    for name, rows in groups.items():
        among = log2(sum(2.0**-way.bits for way in rows))
        for way in rows:
            yield replace(way, bits=way.bits + SHARE * (among + line) + PRIORS[name])


def ways(sources: Sources, name: str, number: int) -> Iterator[Way]:
    """The edits of one line."""
    line = sources.lines[name][number - 1]
    tokens = TOKEN.findall(line)
    starts = [sum(map(len, tokens[:n])) for n in range(len(tokens))]

    def put(n: int, text: str, bits: float, operator: str, note: str, length: int = 1) -> Way:
        end = starts[n] + sum(map(len, tokens[n : n + length]))
        new = line[: starts[n]] + text + line[end:]
        return Way(bits, operator, note, (Edit(name, number, (line,), (new,)),))

    known = sources.words(name, number)
    in_code = (name, number) in sources.functions or bool(DEFINE.match(line))
    for n, token in enumerate(tokens):
        before = next((t for t in reversed(tokens[:n]) if not t.isspace()), "")
        if _NUMBER.fullmatch(token):
            yield from _numbers(token, lambda text, bits, note, n=n: put(n, text, bits, "c-constant", note))
        if not in_code or token[0] in "\"'" or token.startswith(("//", "/*")):
            continue
        if token in _SWAPS and not (
            token in "*&-+" and before in ("", "(", ",", "=", "return", "&", "|", "<<")
        ):
            for rank, other in enumerate(_SWAPS[token]):
                if other != "==" or _compares(tokens[:n]):
                    yield put(n, other, 3.0 + 0.7 * rank, "c-operator", f"{other} instead of {token}")
        if token in _STEPS:
            yield from _step(tokens, n, token, put)
        if token == "(" and before in _COMBINED:
            yield put(n, "~(", 4.0, "c-unary", "with ~")
        if token in ("!", "~") or (token in "-" and before in ("", "(", ",", "=", "return")):
            yield put(n, "", 4.0, "c-unary", f"without {token}")
        if NAME.fullmatch(token) and token not in KEYWORDS:
            yield from _named(sources, tokens, n, token, known, put)
        if token == "return" and n + 2 < len(tokens) and tokens[n + 2] != ";":
            for sign in ("~", "!", "-"):
                yield put(n, f"return {sign}", 4.0, "c-unary", f"with {sign}", 2)
    for found in re.finditer(r"\b(?:if|while)\s*\((.*)\)(?=[^()]*$)", line):
        new = f"{line[: found.start(1)]}!({found[1]}){line[found.end(1) :]}"
        yield Way(4.5, "c-unary", "the condition the other way round", (Edit(name, number, (line,), (new,)),))
    yield from _arguments(name, number, line)
    yield from _brackets(sources, name, number, line)
    if (name, number) in sources.functions:
        yield from _statements(sources, name, number, line)


def _compares(before: Sequence[str]) -> bool:
    """Whether what follows these tokens stands in a condition: elsewhere a comparison would be thrown away."""
    return any(token in ("if", "while", "for", "return", "?", "&&", "||") for token in before)


def _is_value(tokens: Sequence[str], n: int) -> bool:
    """Whether a name is read as a value: not declared, assigned, counted, indexed, called, nor the name of a field."""
    after = next((t for t in tokens[n + 1 :] if not t.isspace()), "")
    before = next((t for t in reversed(tokens[:n]) if not t.isspace()), "")
    assigned = after in _SWAPS and after.endswith("=") and after not in ("==", "!=", "<=", ">=")
    return not (
        assigned
        or after in ("[", "(", "{", "->", ".", *_STEPS)
        or before in ("->", ".", "sizeof", "struct", "define", *_STEPS)
        or before in _TYPES
        or bool(NAME.fullmatch(after))
    )


def _is_truth(tokens: Sequence[str], n: int) -> bool:
    """Whether a name stands for true or false: nobody counts one too many of that."""
    around = (reversed(tokens[:n]), tokens[n + 1 :])
    before, after = (next((t for t in side if not t.isspace()), "") for side in around)
    return after in ("?", "&&", "||") or before in ("!", "&&", "||")


def _step(tokens: Sequence[str], n: int, token: str, put: Callable[..., Way]) -> Iterator[Way]:
    """A counter that steps after it is used instead of before, or before instead of after."""
    name = n + 1 if n + 1 < len(tokens) and NAME.fullmatch(tokens[n + 1]) else n - 1
    if name < 0 or not NAME.fullmatch(tokens[name]):
        return
    other = {"++": "--", "--": "++"}[token]
    first = min(name, n)

    def swapped(sign: str) -> str:
        return f"{tokens[name]}{sign}" if name > n else f"{sign}{tokens[name]}"

    for sign, bits in ((token, 3.5), (other, 5.0)):
        yield put(first, swapped(sign), bits, "c-operator", f"{swapped(sign)}: the other order", 2)


def _numbers(token: str, put: object) -> Iterator[Way]:
    found = _NUMBER.fullmatch(token)
    assert found is not None
    value, suffix = int(found[1], 0 if found[1][:2].lower() == "0x" else 10), found[2]
    others = [(value + 1, 2.5), (value - 1, 2.5), (value * 2, 3.0), (value // 2, 3.0), (0, 3.5), (1, 3.5)]
    others += [(value + 4, 4.5), (value - 4, 4.5), (value * 4, 4.5), (value << 4, 4.0), (value >> 4, 4.0)]
    others += [(value ^ 0xFF, 6.0), (value * 8, 4.5), (value // 8, 4.5), (16, 4.0)]
    others += [(other, 4.5) for other in (2, 4, 8, 10, 15, 31, 32)]
    others += [(value ^ 1 << bit, 5.5) for bit in range(max(8, value.bit_length() + 1))]
    shown = (lambda v: f"{v:#x}") if found[1][:2].lower() == "0x" else str
    done = {value}
    for other, bits in others:
        if other not in done and other >= 0:
            done.add(other)
            yield put(f"{shown(other)}{suffix}", bits, f"{shown(other)} instead of {token}")  # type: ignore[operator]


def _named(
    sources: Sources, tokens: Sequence[str], n: int, token: str, known: Sequence[str], put: object
) -> Iterator[Way]:
    """Another name of the same sort, or the value beside."""
    upper = token.isupper()
    called = n + 1 < len(tokens) and tokens[n + 1] == "("
    if called:
        others = [w for w in sources.names if w != token]
    elif upper:
        family = [
            w
            for w in sources.defines
            if w != token and sources.defines[w][0] == sources.defines.get(token, ("",))[0]
        ]
        others = sorted(
            family, key=lambda w: abs(sources.defines[w][1] - sources.defines.get(token, ("", 0))[1])
        )
    else:
        others = [w for w in known if w != token and not w.isupper() and w not in sources.names]
    for rank, other in enumerate(others[:_WORDS]):
        yield put(n, other, 3.5 + log2(rank + 1.5), "c-name", f"{other} instead of {token}")  # type: ignore[operator]
    if not called and n + 1 < len(tokens) and _is_value(tokens, n):
        for text in (f"{token} - 1", f"{token} + 1") if not _is_truth(tokens, n) else ():
            yield put(n, text, 4.0, "c-off-by-one", f"{text} instead of {token}")  # type: ignore[operator]
        yield put(n, f"~{token}", 6.0, "c-unary", f"~{token}")  # type: ignore[operator]
        if not upper and token in sources.pointers:
            yield put(n, f"*{token}", 5.0, "c-unary", f"what {token} points to")  # type: ignore[operator]
    after = "".join(tokens[n + 1 :]).lstrip()
    beside = re.match(r"[+-]\s*1\b", after)
    if beside:
        length = len(
            TOKEN.findall(
                tokens[n]
                + "".join(tokens[n + 1 :])[: len("".join(tokens[n + 1 :])) - len(after) + beside.end()]
            )
        )
        yield put(n, token, 3.5, "c-off-by-one", f"{token} alone", length)  # type: ignore[operator]


def _arguments(name: str, number: int, line: str) -> Iterator[Way]:
    """Two arguments of a call exchanged."""
    for found in re.finditer(r"\(([^()\"']*,[^()\"']*)\)", line):
        parts = [part.strip() for part in found[1].split(",")]
        for n in range(len(parts) - 1):
            swapped = [*parts[:n], parts[n + 1], parts[n], *parts[n + 2 :]]
            new = f"{line[: found.start(1)]}{', '.join(swapped)}{line[found.end(1) :]}"
            if new != line:
                yield Way(
                    4.0, "c-arguments", "two arguments exchanged", (Edit(name, number, (line,), (new,)),)
                )


def _brackets(sources: Sources, name: str, number: int, line: str) -> Iterator[Way]:
    """What stands in brackets or parentheses as it stands in others of the file."""
    pieces = sources.pieces(name)
    for found in re.finditer(r"[\[(]([^()\[\]\"']+)[\])]", line):
        mine = set(names_of(found[1]))
        near = [
            p for p, (_, names) in pieces.items() if p != found[1].strip() and mine & names and "," not in p
        ]
        for rank, other in enumerate(sorted(near, key=lambda p: -pieces[p][0])[:8]):
            new = line[: found.start(1)] + other + line[found.end(1) :]
            edit = Edit(name, number, (line,), (new,))
            yield Way(4.0 + log2(rank + 1.5), "c-donor", f"{other} instead of {found[1].strip()}", (edit,))


def _statements(sources: Sources, name: str, number: int, line: str) -> Iterator[Way]:
    """A statement left out, moved, or missing."""
    rows = sources.lines[name]
    body = sources.body(name, number)
    indent = line[: len(line) - len(line.lstrip())]
    if STATEMENT.match(line):
        yield Way(6.5, "c-delete", f"without `{line.strip()}`", (Edit(name, number, (line,), ()),))
        for away in (1, 2, 3):
            other = number + away
            if other in body and STATEMENT.match(rows[other - 1]):
                edits = (
                    Edit(name, number, (line,), (rows[other - 1],)),
                    Edit(name, other, (rows[other - 1],), (line,)),
                )
                yield Way(4.0 + away, "c-order", "two statements exchanged", edits)
        for away in (2, 3, 4):
            if number + away in body:
                edits = (Edit(name, number, (line,), ()), Edit(name, number + away, (), (line,)))
                yield Way(5.5 + 0.5 * away, "c-order", f"moved down by {away - 1}", edits)
            if number - away in body:
                edits = (Edit(name, number - away, (), (line,)), Edit(name, number, (line,), ()))
                yield Way(5.5 + 0.5 * away, "c-order", f"moved up by {away}", edits)
    if line.strip() in ("{", "") or number not in body:
        return
    uncalled = [f for f in sources.names if f not in sources.called]
    donors = [(f"{f}();", 3.0) for f in uncalled if f in sources.without_arguments]
    for text, inside in sources.statements(name, number).items():
        if text not in (line.strip(), "break;"):
            donors.append((text, 6.0 if inside else 7.0))
    donors += [
        (f"{word}{step};", 5.5)
        for word in sources.words(name, number)[:6]
        if word.islower()
        for step in ("++", "--")
    ]
    for rank, (text, bits) in enumerate(dict(donors).items()):
        if rank >= _DONORS:
            break
        edit = Edit(name, number, (), (indent + text,))
        yield Way(bits + 0.2 * log2(rank + 1), "c-missing", f"`{text}` before it", (edit,))
