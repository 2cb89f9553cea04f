"""Which units of a kernel can see an edit of its include files: those that name what the edit changes.

Owns the names that include files define (constants and macros), what of them hangs on what, and which of them each unit
names. Everything is judged by words: a unit that names nothing that an edit can change is assembled to the same object.
Where an edit changes more than constants and macros, it is taken to concern every unit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

_WORD = re.compile(r"[\w.$]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# A word with a parameter of a macro or of .irp in it, which may become any name that has its other parts.
_PASTED = re.compile(r"(?<![\w.$])[\w.$]*(?:\\(?:\(\)|@|\w+)[\w.$]*)+")
_PARAMETER = re.compile(r"\\(?:\(\)|@|\w+)")
_ASSIGNMENT = re.compile(r"\s*(?:\.(?:set|equ)\s+([\w.$]+)\s*,|([\w.$]+)\s*=(?!=))")
_OPENING = re.compile(r"\s*\.(?:if\w*|rept|irpc?)\b")
_CLOSING = re.compile(r"\s*\.(?:endif|endr)\b")
_ANYTHING = ""  # owner of what is neither constant nor macro
_NOTHING = " "  # owner of blank lines


class _Line(NamedTuple):
    """A line of an include file: its text, the name that it defines or helps to define, and whether it may change."""

    text: str
    owner: str
    fixed: bool = False


class Names(NamedTuple):
    """The names in a text: whole words, and patterns of those that are pasted together."""

    words: frozenset[str]
    pasted: tuple[re.Pattern[str], ...]


class Index:
    """Who names what, by word."""

    def __init__(self, rows: Iterable[tuple[str, Names]]) -> None:
        self._words: dict[str, set[str]] = {}
        self._pasted: list[tuple[re.Pattern[str], str]] = []
        for owner, named in rows:
            for word in named.words:
                self._words.setdefault(word, set()).add(owner)
            self._pasted += [(pattern, owner) for pattern in named.pasted]

    def naming(self, names: Collection[str]) -> set[str]:
        """Everyone who names one of ``names``."""
        found = set().union(*(self._words.get(name, ()) for name in names))
        return found | {owner for pattern, owner in self._pasted if any(map(pattern.fullmatch, names))}


class Reach:
    """The include files and units of one tree as it is.

    Args:
        includes: name -> text of every file that a unit includes.
        units: name -> text of every unit.
    """

    def __init__(self, includes: Mapping[str, str], units: Mapping[str, str]) -> None:
        self.includes = {name: _lines(text) for name, text in includes.items()}
        lines = [line for lines in self.includes.values() for line in lines]
        self._owners = Index((line.owner, names_of(line.text)) for line in lines)
        self._units = Index((name, names_of(text)) for name, text in units.items())

    def units(self, changed: Mapping[str, str]) -> frozenset[str] | None:
        """The units that may see it when these include files have these texts; None when any may."""
        names = self.owners(changed)
        return None if names is None else self.naming(names)

    def owners(self, changed: Mapping[str, str]) -> set[str] | None:
        """The constants and macros that are others when these include files have these texts; None for new files."""
        names: set[str] = set()
        for file, text in changed.items():
            if file not in self.includes:
                return None
            names.update(_differing(self.includes[file], _lines(text)))
        return names - {_NOTHING}

    def naming(self, changed: Collection[str]) -> frozenset[str] | None:
        """The units that name one of some constants and macros, or what hangs on it; None when any may."""
        names = set(changed)
        fresh = set(names)
        while fresh and _ANYTHING not in names:
            fresh = self._owners.naming(fresh) - names
            names |= fresh
        if _ANYTHING in names:
            return None
        return frozenset(self._units.naming(names))


def _differing(old: Sequence[_Line], new: Sequence[_Line]) -> Iterator[str]:
    """The owners of the lines between what two texts begin and end with alike; both texts' lines count."""
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    end = 0
    while end < min(len(old), len(new)) - first and old[-1 - end] == new[-1 - end]:
        end += 1
    for lines in (old, new):
        yield from (_ANYTHING if line.fixed else line.owner for line in lines[first : len(lines) - end])


def _lines(text: str) -> list[_Line]:
    """The lines of an include file with their owners."""
    if "/*" in text or "\\\n" in text:
        return [_Line(line, _ANYTHING) for line in text.split("\n")]
    found = []
    macro, depth, blocks = "", 0, 0
    for line in text.split("\n"):
        code = line.partition("#")[0] if '"' not in line else line
        words = code.split(None, 2)
        op = words[0] if words else ""
        assigned = _ASSIGNMENT.match(code)
        owner, fixed = _ANYTHING, False
        if op == ".macro":
            macro = macro or (words[1].rstrip(",") if len(words) > 1 else "")
            owner, fixed = macro, True
            depth += 1
        elif op == ".endm":
            owner, fixed = macro, True
            depth -= 1
            macro = macro if depth > 0 else ""
        elif depth:
            owner = macro
        elif _OPENING.match(code) or _CLOSING.match(code):
            blocks += 1 if _OPENING.match(code) else -1
        elif not op:
            owner = _NOTHING
        elif assigned and not blocks and ";" not in code:
            owner = assigned[1] or assigned[2]
        found.append(_Line(code if owner != _NOTHING else "", owner, fixed))
    return found


@lru_cache(maxsize=1 << 13)
def names_of(text: str) -> Names:
    """The names in a text."""
    words = frozenset(_WORD.findall(text))
    patterns = []
    if "\\" in text:
        for pasted in {*_PASTED.findall(_STRING.sub("", text))}:
            if not _PARAMETER.fullmatch(
                pasted
            ):  # a parameter alone: its value stands where the macro is used
                literal = [re.escape(part) for part in _PARAMETER.split(pasted)]
                patterns.append(re.compile(r"[\w.$]*".join(literal)))
    return Names(words, tuple(patterns))
