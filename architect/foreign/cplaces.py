"""The C sources of a tree as the search reads them, and how suspicious each of their lines is.

Owns ``Sources`` (lines, tokens, which function a line stands in, definitions) and the weights of lines: what the boot
executed, where it died, what it said rightly and wrongly. It reads tokens, not C. Never proposes an edit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from architect.protocols import Case
from architect.spectrum import ochiai

SUFFIXES = (".c", ".h")
TOKEN = re.compile(
    r"/\*.*?\*/|//.*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])+'|0[xX][0-9a-fA-F]+[uUlL]*|\d[\w.]*|[A-Za-z_]\w*"
    r"|<<=|>>=|<<|>>|->|\+\+|--|&&|\|\||[-+*/%&|^<>=!]=|\s+|."
)
NAME = re.compile(r"[A-Za-z_]\w*")
_KEYWORDS_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while define include ifdef ifndef endif uint8_t uint16_t uint32_t uint64_t int8_t int16_t
int32_t int64_t size_t uintptr_t bool asm __asm__ NULL true false
"""
KEYWORDS = frozenset(_KEYWORDS_TEXT.split())
_FUNCTION = re.compile(r"^[A-Za-z_][\w\s*]*?\b([A-Za-z_]\w*)\s*\([^;]*$")
DEFINE = re.compile(r"^\s*#\s*define\s+([A-Za-z_]\w*)\s+\S")
_VOID = re.compile(r"\b([A-Za-z_]\w*)\s*\(\s*void\s*\)")
STATEMENT = re.compile(r"^\s+[^#/{}].*;\s*(?://.*|/\*.*\*/)?$")
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_POINTER = re.compile(r"\*\s*(?:const\s+)?([A-Za-z_]\w*)|\b([A-Za-z_]\w*)\s*\[")
_NO_CODE = re.compile(r"\s*(?://|/\*|\*(?:\s|/|$)|#\s*(?:include|ifndef|endif))")  # `*p = 0;` is code
_PIECE = re.compile(r"[\[(]([^()\[\]\"']{2,40})[\])]")
_UNRUN = 0.02  # of the weight of a line that the boot did not execute
_NEARBY = 0.35  # of a line beside one that it did
_DIED = 6.0  # times, for the function in which it died
_MENTIONED = 0.45  # of a constant's definition that executed lines name


def is_c(name: str) -> bool:
    """Whether a file of a tree is C, by its name."""
    return name.endswith(SUFFIXES)


class Sources:
    """The C files of a tree, their lines as tokens, and which function each line stands in."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.lines = {n: t.split("\n") for n, t in texts.items() if n.endswith(SUFFIXES)}
        self.functions: dict[tuple[str, int], str] = {}
        self.defines: dict[str, tuple[str, int]] = {}
        self.called: set[str] = set()
        self._bodies: dict[tuple[str, str], list[int]] = {}
        self._words: dict[tuple[str, str], list[str]] = {}
        self._statements: dict[str, list[tuple[int, str, frozenset[str]]]] = {}
        self._donors: dict[tuple[str, str], Mapping[str, bool]] = {}
        self._pieces: dict[str, Mapping[str, tuple[int, frozenset[str]]]] = {}
        whole = "\n".join(map("\n".join, self.lines.values()))
        self.pointers = {word for found in _POINTER.findall(whole) for word in found if word}
        for name, rows in self.lines.items():
            self._scan(name, rows)
        for (name, number), function in self.functions.items():
            self._bodies.setdefault((name, function), []).append(number)
        self.names = tuple(dict.fromkeys(filter(None, self.functions.values())))
        self.without_arguments = frozenset(_VOID.findall(whole))

    def _scan(self, name: str, rows: Sequence[str]) -> None:
        function, depth, waiting = "", 0, ""
        for number, line in enumerate(rows, 1):
            found = _FUNCTION.match(line) if depth == 0 else None
            waiting = found[1] if found else waiting
            if depth == 0 and line.startswith("{"):
                function = waiting
            define = DEFINE.match(line)
            if define:
                self.defines.setdefault(define[1], (name, number))
            code = "".join(
                t for t in TOKEN.findall(line) if t[0] not in "\"'" and not t.startswith(("//", "/*"))
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
        return self._bodies[name, home] if home else []

    def words(self, name: str, number: int) -> list[str]:
        """The names that a line's function knows, the oftenest first."""
        home = (name, self.functions.get((name, number), ""))
        if home not in self._words:
            found = Counter(w for n in self.body(name, number) for w in names_of(self.lines[name][n - 1]))
            self._words[home] = sorted(found, key=lambda word: -found[word])
        return self._words[home]

    def statements(self, name: str, number: int) -> Mapping[str, bool]:
        """The file's statements that name only what a line's function names: text -> whether it stands in there."""
        home = (name, self.functions.get((name, number), ""))
        if home not in self._donors:
            if name not in self._statements:
                rows = enumerate(self.lines[name], 1)
                found = [(n, row) for n, row in rows if STATEMENT.match(row)]
                self._statements[name] = [(n, row.strip(), frozenset(names_of(row))) for n, row in found]
            own, body = set(self.words(name, number)), set(self.body(name, number))
            known = self._statements[name]
            self._donors[home] = {text: n in body for n, text, names in known if names <= own}
        return self._donors[home]

    def pieces(self, name: str) -> Mapping[str, tuple[int, frozenset[str]]]:
        """What stands in brackets or parentheses in a file: how often, and the names in it."""
        if name not in self._pieces:
            found = Counter(text.strip() for row in self.lines[name] for text in _PIECE.findall(row))
            self._pieces[name] = {text: (times, frozenset(names_of(text))) for text, times in found.items()}
        return self._pieces[name]


def names_of(line: str) -> list[str]:
    """The names in a line, as often as they stand there; no keywords, nothing of comments and texts."""
    return [t for t in TOKEN.findall(line) if NAME.fullmatch(t) and t not in KEYWORDS]


def weights(case: Case, sources: Sources) -> dict[tuple[str, int], float]:
    """How suspicious each line of C is: what the boot executed, where it died, what these lines name."""
    ran = {key for run in case.runs if run.failed for key in run.lines}
    pointed = {(d.place.file, d.place.line) for d in case.diagnostics}
    place = case.report.place if case.report is not None else None
    homes = {place.symbol} if place is not None and case.report is not None and case.report.chain else set()
    blamed = _blame(case)
    found: dict[tuple[str, int], float] = {}
    for name, rows in sources.lines.items():
        for number, line in enumerate(rows, 1):
            if not line.strip() or _NO_CODE.match(line):
                continue
            key = (name, number)
            near = any((name, number + step) in ran for step in (-1, 1))
            weight = 1.0 if key in ran or not ran else _NEARBY if near else _UNRUN
            weight *= blamed(key)
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
            for word in names_of(sources.lines[key[0]][key[1] - 1]):
                home = sources.defines.get(word)
                if home is not None:
                    found[home] = max(found.get(home, 0.0), _MENTIONED)
    return found


def _blame(case: Case) -> Callable[[tuple[str, int]], float]:
    """How well each line explains which judgements failed and which did not; 1 where only one row is known."""
    if len(case.runs) < 2:
        return lambda key: 1.0
    table = ochiai([(run.failed, run.weight, dict.fromkeys(run.lines, 1.0)) for run in case.runs])
    most = max(table.values(), default=1.0)

    def blamed(key: tuple[str, int]) -> float:
        near = [table[key[0], key[1] + step] for step in (0, 1, -1) if (key[0], key[1] + step) in table]
        return (near[0] / most) ** 2 if near else 1.0

    return blamed
