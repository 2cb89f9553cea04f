"""A unified diff read back as the changes that it makes.

Owns the parts of the form that ``report.patch_text`` writes: file headers, hunks, the mark of a missing line feed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class Change:
    """The lines ``old``, from ``line`` (1-based) on, become ``new``; without ``old``, ``new`` comes before it."""

    file: str
    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


def changes(diff: str) -> list[Change]:
    """Every change of a unified diff, in its order; lines without their ends."""
    return list(_changes(diff))


def _changes(diff: str) -> Iterator[Change]:
    file, at = "", 0
    old_left = new_left = 0  # lines of either side that the hunk still holds
    old: list[str] = []
    new: list[str] = []
    for text in (*diff.split("\n"), ""):
        kind, rest = text[:1], text[1:]
        if kind == "-" and old_left:
            old.append(rest)
            at, old_left = at + 1, old_left - 1
            continue
        if kind == "+" and new_left:
            new.append(rest)
            new_left -= 1
            continue
        if kind == "\\":  # "No newline at end of file"
            continue
        if old or new:
            yield Change(file, at - len(old), tuple(old), tuple(new))
            old, new = [], []
        if kind == " " and old_left and new_left:
            at, old_left, new_left = at + 1, old_left - 1, new_left - 1
        elif hunk := _HUNK.match(text):
            old_left, new_left = int(hunk[2] or 1), int(hunk[3] or 1)
            at = int(hunk[1]) + (not old_left)  # without old lines it names the line before
        elif text.startswith("--- "):
            file = text[4:].removeprefix("a/")
