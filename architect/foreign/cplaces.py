"""The C sources of a tree as the search reads them, and how suspicious each of their lines is.

Owns ``Sources`` (lines, tokens, which function a line stands in, definitions) and the weights of lines: what the boot
executed, where it died, what it said rightly and wrongly. It reads tokens, not C. Never proposes an edit.
"""

from __future__ import annotations

import re
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
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_POINTER = re.compile(r"\*\s*(?:const\s+)?([A-Za-z_]\w*)|\b([A-Za-z_]\w*)\s*\[")
_NO_CODE = re.compile(r"\s*(?://|/\*|\*(?:\s|/|$)|#\s*(?:include|ifndef|endif))")  # `*p = 0;` is code
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
        whole = "\n".join(map("\n".join, self.lines.values()))
        self.pointers = {word for found in _POINTER.findall(whole) for word in found if word}
        for name, rows in self.lines.items():
            self._scan(name, rows)

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
        return [
            n for n in range(1, len(self.lines[name]) + 1) if self.functions.get((name, n)) == home and home
        ]

    def words(self, name: str, number: int) -> list[str]:
        """The names that a line's function knows, the oftenest first."""
        found: dict[str, int] = {}
        for n in self.body(name, number):
            for word in names_of(self.lines[name][n - 1]):
                found[word] = found.get(word, 0) + 1
        return sorted(found, key=lambda w: -found[w])


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
