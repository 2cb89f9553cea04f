"""A check of definitions by their names: CR4_PAE is bit 5, whatever a source says.

Owns the reading of ``.set`` lines whose value is written as a number or a bit. What names mean is ``architectural``'s;
names that other things may bear as well are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from architect.architectural import fixed
from architect.checks import Finding, Subject

RULE = "architecture"
_DEFINITION = re.compile(
    r"^[ \t]*\.(?:set|equ)[ \t]+([A-Z]\w*),[ \t]*(?:(0x[0-9a-fA-F]+|\d+)|1[ \t]*<<[ \t]*(\d{1,2}))[ \t]*(?:#.*)?$",
    re.MULTILINE,
)


def check(subject: Subject) -> Iterator[Finding]:
    """Definitions that contradict a specification."""
    for file, text in subject.sources.items():
        for name, value, what, line in contradictions(text):
            yield Finding(RULE, f"{name} is {value:#x} here, but {what}", None, file, line)


@lru_cache(maxsize=2048)
def contradictions(text: str) -> tuple[tuple[str, int, str, int], ...]:
    """Name, value, what it must be, and line of each definition of a source that is wrong."""
    found = []
    for match in _DEFINITION.finditer(text):
        name, number, bit = match.groups()
        meant = fixed(name)
        value = int(number, 0) if number else 1 << int(bit)
        if meant is not None and meant.sure and value not in meant.values:
            found.append((name, value, meant.what, text.count("\n", 0, match.start()) + 1))
    return tuple(found)
