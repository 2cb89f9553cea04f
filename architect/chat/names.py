"""Which routine a person means: a name that the kernel has, or one that it has in other words.

Owns the likeness of names by their words: the rarer a word is among the kernel's routines, the more it says.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from architect.tools.desk import Desk

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*_\w+\b|\b0x[0-9a-fA-F]{3,16}\b")
_LEAST = 0.45  # share of a name's weight that must be found again
_ALIKE = {"pages": "page", "maps": "map", "mapping": "map", "mapped": "map", "frames": "frame", "tables": "table",
          "alloc": "alloc", "allocate": "alloc", "allocator": "alloc", "init": "init", "initialise": "init",
          "initialize": "init", "faults": "fault", "threads": "thread", "interrupts": "interrupt"}  # fmt: skip


class Meant(NamedTuple):
    """A routine that was named: as the person wrote it, and as the kernel calls it."""

    said: str
    name: str

    @property
    def renamed(self) -> bool:
        """Whether the kernel has another name for it."""
        return self.said != self.name


def identifiers(text: str) -> list[str]:
    """Words of a question that look like names of routines, and addresses."""
    return list(dict.fromkeys(_IDENTIFIER.findall(text)))


def meant(desk: Desk, text: str) -> list[Meant]:
    """The routines that a question names, exactly or in other words."""
    headers = desk.headers()
    found = []
    for said in identifiers(text):
        if said in headers:
            found.append(Meant(said, said))
        elif not said.startswith("0x"):
            near = nearest(said, headers)
            if near is not None:
                found.append(Meant(said, near))
    if not found:  # a routine whose name is one plain word of the question
        plain = [word for word in re.findall(r"\b\w+\b", text) if word in headers]
        found = [Meant(word, word) for word in plain]
    return found


def nearest(said: str, known: Iterable[str]) -> str | None:
    """The known name that shares the most telling words with ``said``, or None when none shares enough."""
    names = list(known)
    weights = _weights(names)
    wanted = _words(said)
    usual = math.log(len(names) + 1)
    scored = []
    for name in names:
        words = _words(name)
        common = sum(weights.get(word, usual) for word in wanted & words)
        every = sum(weights.get(word, usual) for word in wanted | words)
        scored.append((common / every if every else 0.0, -len(name), name))
    best = max(scored, default=(0.0, 0, ""))
    return best[2] if best[0] >= _LEAST else None


def _weights(names: list[str]) -> Mapping[str, float]:
    count = Counter(word for name in names for word in _words(name))
    return {word: math.log((len(names) + 1) / number) for word, number in count.items()}


def _words(name: str) -> frozenset[str]:
    return frozenset(_ALIKE.get(word.lower(), word.lower()) for word in _WORD.findall(name.replace("_", " ")))
