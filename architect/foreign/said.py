"""Which lines of a foreign tree made what was said wrongly, and which made what was said rightly.

Owns the comparison of what a failing boot said with the tree's ``ready``, piece by piece: the sources hold the fixed
texts of the line that must come, and what stands between two of them was made by the code between their uses. A piece
that came out right speaks for the code that made it, one that did not against it. Judgements of that kind are rows for
spectrum-based localisation (``architect.spectrum``). Never runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from architect.coverage import Run
from architect.foreign.cplaces import Sources, is_c
from architect.foreign.tongue import Translation
from architect.statements import names

Key = tuple[str, int]
LEAST = 2  # characters of a text that tell it from others
# Rows that a wrong piece weighs (the boot itself, which ran all that ran, is one): those of the code that said it, and
# of this with what its values come from. A number of the wanted form with another value was rather computed wrongly,
# another form rather written wrongly.
WRONG = {True: 3.0, False: 4.0}
SOURCE = {True: 1.5, False: 1.0}
RIGHT = 1.0
TEXT = 2.0  # the same, for a fixed text that came as it stands: many characters went the same way
_DEPTH = 4  # calls away from the code of a piece
_STRING = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']{2,})'|`([^`]*)`")
_WORD = re.compile(r"[A-Za-z_.$][\w.$]*")
_ASSIGNED = r"\b{}\b\s*(?:\[[^]]*\]\s*)?(?:[-+*/%&|^]|<<|>>)?=(?!=)"
_ESCAPED = re.compile(r"\\([^\w\s])")
_NAME_OF_RUN = "the boot"


@dataclass(frozen=True, slots=True)
class Piece:
    """What was said between two fixed texts: where these are used, and whether it came out right.

    Attributes:
        begin: the line that uses the text before it.
        end: the line that uses the text behind it, or None.
        right: whether it is what was wanted.
        formed: of a wrong one: whether it has the form of what was wanted.
    """

    begin: Key
    end: Key | None
    right: bool
    formed: bool = False


def rows(
    said: Mapping[str, str],
    ready: str,
    sources: Mapping[str, str],
    translation: Translation,
    ran: frozenset[Key],
) -> tuple[Run, ...]:
    """Rows for the spectrum beside the one of the boot itself; none where nothing of the line was said.

    Args:
        said: stream -> its text.
        ready: the expression that proves success.
        sources: file -> text, of what may be edited.
        translation: the assembly among them.
        ran: the lines that the boot executed.
    """
    code = _Code(sources, translation)
    texts = _fixed(ready, code)
    lines = [line for text in said.values() for line in text.split("\n")]
    tried = [_pieces(line, ready, texts, code.uses) for line in lines]
    pieces = max(tried, key=lambda row: (len(row), sum(p.right or p.formed for p in row)), default=[])
    if not pieces:
        return ()
    found = [
        Run(_NAME_OF_RUN, False, TEXT, code.reached(code.after(piece.begin)) & ran, frozenset())
        for piece in pieces
        if piece.end is not None or piece.right
    ]
    for piece in pieces:
        own = code.between(piece.begin, piece.end)
        reached = code.reached(own) & ran
        if piece.right:
            found.append(Run(_NAME_OF_RUN, False, RIGHT, reached, frozenset()))
        else:
            found.append(Run(_NAME_OF_RUN, True, WRONG[piece.formed], reached, frozenset()))
            behind = (code.behind(own) | code.reached(code.before(pieces[0].begin))) & ran
            found.append(Run(_NAME_OF_RUN, True, SOURCE[piece.formed], behind | reached, frozenset()))
    return tuple(run for run in found if run.lines)


def _fixed(ready: str, code: _Code) -> list[tuple[int, int, str]]:
    """The texts of the sources that ``ready`` holds: (where in it, where it ends, text); longest first wins."""
    found: list[tuple[int, int, str]] = []
    for text in sorted(code.uses, key=len, reverse=True):
        for escaped in dict.fromkeys((text, re.escape(text), re.escape(text).replace("\\ ", " "))):
            at = ready.find(escaped)
            end = at + len(escaped)
            if at >= 0 and not any(at < e and a < end for a, e, _ in found):
                found.append((at, end, text))
                break
    return sorted(found)


def _pieces(
    line: str, ready: str, texts: Sequence[tuple[int, int, str]], uses: Mapping[str, Key]
) -> list[Piece]:
    """What one line says, compared; ends with the first piece that has no end."""
    if not texts or (at := line.find(texts[0][2])) < 0:
        return []
    at += len(texts[0][2])
    found: list[Piece] = []
    for (_, end, text), (start, _, following) in pairwise(texts):
        wanted, next_at = ready[end:start], line.find(following, at)
        if next_at < 0:
            begun = _matches(wanted, line[at:], whole=False)
            # the value came, and then another text than the one that was wanted: that choice is what went wrong
            if begun:
                found.append(Piece(uses[text], uses[following], True))
                found.append(Piece(uses[following], None, False, formed=True))
            else:
                found.append(Piece(uses[text], uses[following], False))
            return found
        found.append(_piece(uses[text], uses[following], wanted, line[at:next_at]))
        at = next_at + len(following)
    _, end, text = texts[-1]
    if ready[end:].strip("$"):
        found.append(_piece(uses[text], None, ready[end:].rstrip("$"), line[at:]))
    return found


def _piece(begin: Key, end: Key | None, wanted: str, said: str) -> Piece:
    """One piece, compared."""
    return Piece(begin, end, _matches(wanted, said, whole=True), _formed(wanted, said))


def _formed(wanted: str, said: str) -> bool:
    """Whether what was said is a number as what was wanted is one: as many digits, or decimal without leading zeros."""
    if re.fullmatch(r"[1-9]\d*|0", wanted):
        return bool(re.fullmatch(r"[1-9]\d*|0", said))
    digits = re.fullmatch(r"[0-9A-Fa-f]+", wanted)
    return digits is not None and bool(re.fullmatch(rf"[0-9A-Fa-f]{{{len(wanted)}}}", said))


def _matches(wanted: str, said: str, *, whole: bool) -> bool:
    """Whether a part of an expression is what was said, or what that begins with."""
    try:
        expression = re.compile(wanted)
    except re.error:  # cut in the middle of a group
        plain = _ESCAPED.sub(r"\1", wanted)
        return said == plain if whole else said.startswith(plain)
    return bool(expression.fullmatch(said) if whole else expression.match(said))


class _Code:
    """The code of a tree in both languages: what names what, line by line. Only as much as a call graph needs."""

    def __init__(self, sources: Mapping[str, str], translation: Translation) -> None:
        self.c = Sources({name: text for name, text in sources.items() if is_c(name)})
        self.texts = sources
        self.home: dict[Key, str] = {key: name for key, name in self.c.functions.items() if name}
        self.words: dict[Key, frozenset[str]] = {
            key: frozenset(_WORD.findall(_STRING.sub("", self.c.lines[key[0]][key[1] - 1]))) - {home}
            for key, home in self.home.items()
        }
        self.written: dict[str, set[Key]] = {}
        for key, s in translation.statements.items():
            if s.routine and key[0] in sources:
                self.home[key] = s.routine
                self.words[key] = frozenset(names(s))
                if s.kind == "instruction" and s.operands and "[" in s.operand(0):
                    for name in names(s):
                        self.written.setdefault(name, set()).add(key)
        self._translation = translation
        self.bodies: dict[str, set[Key]] = {}
        for key, name in self.home.items():
            self.bodies.setdefault(name, set()).add(key)

    @cached_property
    def uses(self) -> dict[str, Key]:
        """Fixed text -> the first line of code that uses it."""
        found: dict[str, Key] = {}
        for key, text in self._strings():
            shown = text.split("\\n")[0].split("\\0")[0]
            if len(shown.strip()) >= LEAST:
                found.setdefault(shown, key)
        return found

    def _strings(self) -> Iterator[tuple[Key, str]]:
        for key in sorted(self.home):
            if is_c(key[0]):
                for found in _STRING.findall(self.c.lines[key[0]][key[1] - 1]):
                    yield key, found[0]
        label = ""
        for _, s in sorted(self._translation.statements.items()):
            label = s.labels[-1] if s.labels else label
            if s.name in (".ascii", ".asciz", ".string") and s.operands and label:
                users = sorted(k for k, words in self.words.items() if label in words)
                text = s.operand(0)
                if users and text[:1] in "\"'":
                    yield users[0], text[1:-1]
            if s.name.startswith(".as") or s.kind == "instruction":
                label = ""

    def between(self, begin: Key, end: Key | None) -> set[Key]:
        """The lines of code from one use to the next in the same function, else to the function's end."""
        body = self.bodies.get(self.home.get(begin, ""), set())
        last = end[1] if end is not None and end[0] == begin[0] and end[1] >= begin[1] else None
        return {k for k in body if k[0] == begin[0] and begin[1] <= k[1] and (last is None or k[1] <= last)}

    def after(self, use: Key) -> set[Key]:
        """The lines of one statement that says a text: assembly calls in the line behind the one that names it."""
        lines = {use} if is_c(use[0]) else {use, (use[0], use[1] + 1)}
        return {key for key in lines if self.home.get(key) == self.home.get(use)}

    def before(self, begin: Key) -> set[Key]:
        """The lines of the same function before a use: what is said may have been made there."""
        body = self.bodies.get(self.home.get(begin, ""), set())
        return {k for k in body if k[0] == begin[0] and k[1] < begin[1]}

    def reached(self, lines: set[Key]) -> frozenset[Key]:
        """Some lines and those of the functions that they call or jump to."""
        found, last = set(lines), set(lines)
        for _ in range(_DEPTH):
            called = {word for key in last for word in self.words.get(key, ()) if word in self.bodies}
            last = {key for name in called for key in self.bodies[name]} - found
            found |= last
        return frozenset(found)

    def behind(self, lines: set[Key]) -> frozenset[Key]:
        """The lines that write what some lines name: assignments of their function, stores to data anywhere."""
        wanted = {word for key in lines for word in self.words.get(key, ())} - set(self.bodies)
        homes = {self.home[key] for key in lines if key in self.home}
        found: set[Key] = set()
        for word in wanted:
            written = self.written.get(word, set())
            found |= {k for at in written for k in self.bodies.get(self.home[at], ())}
        for home in homes:
            for key in self.bodies[home]:
                if is_c(key[0]):
                    text = self.c.lines[key[0]][key[1] - 1]
                    if any(re.search(_ASSIGNED.format(re.escape(w)), text) for w in wanted & self.words[key]):
                        found |= self.reached({key})
        return frozenset(found)
