"""The search on C sources: small edits of one line, the likeliest place and the commonest mistake first.

Owns the operators on C (constants, operators, names, arguments, order, missing and surplus statements) and their
order. It reads tokens, not C: the compiler refuses what is no C, in a tenth of a second. What the boot executed says
where; mistakes and places are counted in bits, as for assembly, so that both searches can be merged.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import log2

from architect.protocols import Case, Edit, Patch

SUFFIXES = (".c", ".h")
NAME = "search"
_TOKEN = re.compile(
    r"/\*.*?\*/|//.*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])+'|0[xX][0-9a-fA-F]+[uUlL]*|\d[\w.]*|[A-Za-z_]\w*"
    r"|<<=|>>=|<<|>>|->|\+\+|--|&&|\|\||[-+*/%&|^<>=!]=|\s+|."
)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_KEYWORDS_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while define include ifdef ifndef endif uint8_t uint16_t uint32_t uint64_t int8_t int16_t
int32_t int64_t size_t uintptr_t bool asm __asm__ NULL true false
"""
_KEYWORDS = frozenset(_KEYWORDS_TEXT.split())
_SWAPS: Mapping[str, tuple[str, ...]] = {
    "<": ("<=", "!=", ">", ">="), "<=": ("<", ">=", ">", "=="), ">": (">=", "<", "<=", "!="), ">=": (">", "<=", "<"),
    "==": ("!=", "=", "<=", ">="), "!=": ("==", "<", ">"), "+": ("-", "|", "*"), "-": ("+", "*"), "*": ("/", "+", "<<"),
    "/": ("%", "*", ">>"), "%": ("/", "&", "*"), "<<": (">>", "*"), ">>": ("<<", "/"), "&": ("|", "&&", "^", "%"),
    "|": ("&", "||", "^", "+"), "^": ("|", "&"), "&&": ("||", "&"), "||": ("&&", "|"), "++": ("--",), "--": ("++",),
    "+=": ("-=", "=", "|=", "*="), "-=": ("+=", "="), "*=": ("/=", "="), "/=": ("*=", "%=", "="),
    "|=": ("=", "&=", "^=", "+="),
    "&=": ("|=", "=", "^="), "^=": ("|=", "=", "&="), "<<=": (">>=",), ">>=": ("<<=",), "=": ("==", "+=", "|="),
}  # fmt: skip
_STATEMENT = re.compile(r"^\s+[^#/{}].*;\s*(?://.*|/\*.*\*/)?$")
_FUNCTION = re.compile(r"^[A-Za-z_][\w\s*]*?\b([A-Za-z_]\w*)\s*\([^;]*$")
_DEFINE = re.compile(r"^\s*#\s*define\s+([A-Za-z_]\w*)\s+\S")
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
SHARE = 0.4  # how far the variants of a line share it: a longer line has more to be wrong
PRIORS = {  # bits: how unlikely a mistake of each kind is in a line that can have it
    "c-operator": 2.5, "c-constant": 3.0, "c-name": 3.0, "c-off-by-one": 3.0, "c-arguments": 3.0, "c-unary": 3.5,
    "c-donor": 4.0, "c-order": 4.5, "c-missing": 4.5, "c-delete": 6.5,
}  # fmt: skip
_UNRUN = 0.02  # of the weight of a line that the boot did not execute
_NEARBY = 0.35  # of a line beside one that it did
_DIED = 6.0  # times, for the function in which it died
_MENTIONED = 0.45  # of a constant's definition that executed lines name
_DONORS = 40  # lines that may be missing, for one gap
_WORDS = 12  # other names that one name is tried as


def is_c(name: str) -> bool:
    """Whether a file of a tree is C, by its name."""
    return name.endswith(SUFFIXES)


@dataclass(frozen=True, slots=True)
class Way:
    """One edit: how unlikely its mistake is, in bits, what it is, and the edits."""

    bits: float
    operator: str
    note: str
    edits: tuple[Edit, ...]


class Sources:
    """The C files of a tree, their lines as tokens, and which function each line stands in."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.lines = {n: t.split("\n") for n, t in texts.items() if n.endswith(SUFFIXES)}
        self.functions: dict[tuple[str, int], str] = {}
        self.defines: dict[str, tuple[str, int]] = {}
        self.called: set[str] = set()
        for name, rows in self.lines.items():
            self._scan(name, rows)

    def _scan(self, name: str, rows: Sequence[str]) -> None:
        function, depth, waiting = "", 0, ""
        for number, line in enumerate(rows, 1):
            found = _FUNCTION.match(line) if depth == 0 else None
            waiting = found[1] if found else waiting
            if depth == 0 and line.startswith("{"):
                function = waiting
            define = _DEFINE.match(line)
            if define:
                self.defines.setdefault(define[1], (name, number))
            code = "".join(
                t for t in _TOKEN.findall(line) if t[0] not in "\"'" and not t.startswith(("//", "/*"))
            )
            if depth or found:
                self.functions[name, number] = function if depth else waiting
            if depth:
                self.called |= set(_CALL.findall(code))
            depth = max(0, depth + code.count("{") - code.count("}"))
            if found and "{" in code:
                function = found[1]

    def body(self, name: str, number: int) -> list[int]:
        """The lines of the function that a line stands in."""
        home = self.functions.get((name, number))
        return [
            n for n in range(1, len(self.lines[name]) + 1) if self.functions.get((name, n)) == home and home
        ]

    def words(self, name: str, number: int) -> list[str]:
        """The names that a line's function knows, the oftenest first."""
        found: dict[str, int] = {}
        for n in self.body(name, number):
            for word in _names(self.lines[name][n - 1]):
                found[word] = found.get(word, 0) + 1
        return sorted(found, key=lambda w: -found[w])


def _names(line: str) -> list[str]:
    return [t for t in _TOKEN.findall(line) if _NAME.fullmatch(t) and t not in _KEYWORDS]


def weights(case: Case, sources: Sources) -> dict[tuple[str, int], float]:
    """How suspicious each line of C is: what the boot executed, where it died, what these lines name."""
    ran = {key for run in case.runs if run.failed for key in run.lines}
    pointed = {(d.place.file, d.place.line) for d in case.diagnostics}
    place = case.report.place if case.report is not None else None
    homes = {place.symbol} if place is not None and case.report is not None and case.report.chain else set()
    found: dict[tuple[str, int], float] = {}
    for name, rows in sources.lines.items():
        for number, line in enumerate(rows, 1):
            if not line.strip() or line.lstrip().startswith(
                ("//", "/*", "*", "#include", "#ifndef", "#endif")
            ):
                continue
            key = (name, number)
            near = any((name, number + step) in ran for step in (-1, 1))
            weight = 1.0 if key in ran or not ran else _NEARBY if near else _UNRUN
            if pointed:
                weight = (
                    4.0
                    if key in pointed
                    else 0.5
                    if any((name, number + s) in pointed for s in (-1, 1))
                    else 0.02
                )
            if sources.functions.get(key) in homes:
                weight *= _DIED
            found[key] = weight
    for key in list(ran):
        if key[0] in sources.lines and 0 < key[1] <= len(sources.lines[key[0]]):
            for word in _names(sources.lines[key[0]][key[1] - 1]):
                home = sources.defines.get(word)
                if home is not None:
                    found[home] = max(found.get(home, 0.0), _MENTIONED)
    return found


class CSearch:
    """Proposes edits of C lines, likeliest first."""

    name = NAME

    def propose(self, case: Case) -> Iterator[Patch]:
        """Every edit of every line, by the bits of its place and its mistake; made as they are needed."""
        sources = Sources(case.sources)
        found = weights(case, sources)
        whole = sum(found.values()) or 1.0
        number = count()
        heap: list[tuple[float, int, tuple[str, int] | None, Way | None]] = []
        for key, weight in found.items():
            heapq.heappush(heap, (-log2(weight / whole), next(number), key, None))
        seen: set[tuple[Edit, ...]] = set()
        while heap:
            cost, _, place, way = heapq.heappop(heap)
            if way is not None:
                if way.edits not in seen:
                    seen.add(way.edits)
                    edit = way.edits[0]
                    yield Patch(way.edits, NAME, way.operator, f"{edit.file}:{edit.line}: {way.note}", cost)
                continue
            assert place is not None
            for made in shared(list(ways(sources, *place))):
                heapq.heappush(heap, (cost + made.bits, next(number), None, made))

    def observe(self, evaluation: object) -> None:
        """Nothing is learnt from one candidate for another."""


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
    tokens = _TOKEN.findall(line)
    starts = [sum(map(len, tokens[:n])) for n in range(len(tokens))]

    def put(n: int, text: str, bits: float, operator: str, note: str, length: int = 1) -> Way:
        end = starts[n] + sum(map(len, tokens[n : n + length]))
        new = line[: starts[n]] + text + line[end:]
        return Way(bits, operator, note, (Edit(name, number, (line,), (new,)),))

    known = sources.words(name, number)
    in_code = (name, number) in sources.functions or bool(_DEFINE.match(line))
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
                yield put(n, other, 3.0 + 0.7 * rank, "c-operator", f"{other} instead of {token}")
        if token in ("!", "~") or (token in "-" and before in ("", "(", ",", "=", "return")):
            yield put(n, "", 4.0, "c-unary", f"without {token}")
        if _NAME.fullmatch(token) and token not in _KEYWORDS:
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
        others = [w for w in dict.fromkeys(f for f in sources.functions.values()) if w and w != token]
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
        others = [w for w in known if w != token and not w.isupper() and w not in sources.functions.values()]
    for rank, other in enumerate(others[:_WORDS]):
        yield put(n, other, 3.5 + log2(rank + 1.5), "c-name", f"{other} instead of {token}")  # type: ignore[operator]
    if not called and n + 1 < len(tokens):
        for text in (f"{token} - 1", f"{token} + 1"):
            yield put(n, text, 4.0, "c-off-by-one", f"{text} instead of {token}")  # type: ignore[operator]
        yield put(n, f"~{token}", 6.0, "c-unary", f"~{token}")  # type: ignore[operator]
        if not upper:
            yield put(n, f"*{token}", 5.0, "c-unary", f"what {token} points to")  # type: ignore[operator]
    after = "".join(tokens[n + 1 :]).lstrip()
    beside = re.match(r"[+-]\s*1\b", after)
    if beside:
        length = len(
            _TOKEN.findall(
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
    pieces: dict[str, int] = {}
    for row in sources.lines[name]:
        for text in re.findall(r"[\[(]([^()\[\]\"']{2,40})[\])]", row):
            pieces[text.strip()] = pieces.get(text.strip(), 0) + 1
    for found in re.finditer(r"[\[(]([^()\[\]\"']+)[\])]", line):
        mine = set(_names(found[1]))
        near = [p for p in pieces if p != found[1].strip() and mine & set(_names(p)) and "," not in p]
        for rank, other in enumerate(sorted(near, key=lambda p: -pieces[p])[:8]):
            new = line[: found.start(1)] + other + line[found.end(1) :]
            edit = Edit(name, number, (line,), (new,))
            yield Way(4.0 + log2(rank + 1.5), "c-donor", f"{other} instead of {found[1].strip()}", (edit,))


def _statements(sources: Sources, name: str, number: int, line: str) -> Iterator[Way]:
    """A statement left out, moved, or missing."""
    rows = sources.lines[name]
    body = sources.body(name, number)
    indent = line[: len(line) - len(line.lstrip())]
    if _STATEMENT.match(line):
        yield Way(6.5, "c-delete", f"without `{line.strip()}`", (Edit(name, number, (line,), ()),))
        for away in (1, 2, 3):
            other = number + away
            if other in body and _STATEMENT.match(rows[other - 1]):
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
    uncalled = [f for f in dict.fromkeys(sources.functions.values()) if f and f not in sources.called]
    donors = [
        (f"{f}();", 3.0)
        for f in uncalled
        if re.search(rf"\b{f}\s*\(\s*void\s*\)", "\n".join(rows) + _all(sources))
    ]
    own = set(_names("\n".join(rows[n - 1] for n in body)))
    for n, row in enumerate(rows, 1):
        if _STATEMENT.match(row) and set(_names(row)) <= own and row.strip() not in (line.strip(), "break;"):
            donors.append((row.strip(), 6.0 + (0.0 if n in body else 1.0)))
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


def _all(sources: Sources) -> str:
    return "\n".join("\n".join(rows) for rows in sources.lines.values())
