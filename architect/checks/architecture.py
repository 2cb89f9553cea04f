"""A check of sources: definitions whose names say another value, for CR4_PAE is bit 5 whatever a source says.

Owns the reading of ``.set`` lines whose value is written as a number or a bit. What names mean is ``architectural``'s;
names that other things may bear as well are left alone. No gate of a repair: an image does not tell its constants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from architect.architectural import fixed
from architect.checks import Finding
from toolchain.expr import literal

RULE = "architecture"
_DEFINITION = re.compile(
    r"^[ \t]*\.(?:set|equ)[ \t]+([A-Z]\w*),[ \t]*(?:(0x[0-9a-fA-F]+|\d+)|1[ \t]*<<[ \t]*(\d{1,2}))[ \t]*(?:#.*)?$",
    re.MULTILINE,
)


def findings(sources: Mapping[str, str]) -> list[Finding]:
    """Definitions that contradict a specification, in sources by name."""
    return [
        Finding(RULE, f"{name} is {value:#x} here, but {what}", None, file, line)
        for file, text in sources.items()
        for name, value, what, line in contradictions(text)
    ]


@lru_cache(maxsize=2048)
def contradictions(text: str) -> tuple[tuple[str, int, str, int], ...]:
    """Name, value, what it must be, and line of each definition of a source that is wrong."""
    found = []
    for match in _DEFINITION.finditer(text):
        name, number, bit = match.groups()
        meant = fixed(name)
        value = literal(number) if number else 1 << int(bit)
        if value is None:
            continue  # 08: whoever assembles it says so
        if meant is not None and meant.sure and value not in meant.values:
            found.append((name, value, meant.what, text.count("\n", 0, match.start()) + 1))
    return tuple(found)
