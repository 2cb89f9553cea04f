"""Labels of foreign sources: which are local in all but their name, and renaming them line by line.

Owns the question what "local" means: only jumps name the label, all of them within its own routine. Never reads a
dialect: it works on lines in the words of the search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from architect.foreign.att import LABEL
from architect.foreign.words import TOKEN, cut, is_name

MARKS = ("#",)
_GLOBAL = re.compile(r"^\s*\.(?:globl|global)\s+(.*)")


def renamed(line: str, labels: Collection[str]) -> str:
    """A line with some labels made local."""
    if not labels:
        return line
    return _words(line, lambda word: f".L{word}" if word in labels else word)


def renamed_back(code: str, table: Mapping[str, str]) -> str:
    """A statement with local labels as they were."""
    return _words(code, lambda word: table.get(word, word)) if table else code


def _words(line: str, change: Callable[[str], str]) -> str:
    """A line with its names changed; its comment stays."""
    code, mark, comment = line.partition("#")
    changed = "".join(change(word) if is_name(word) else word for word in TOKEN.findall(code))
    return changed + mark + comment if "".join(TOKEN.findall(code)) == code else line


def local_labels(files: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """The labels of each file that only jumps of their own routine name: local ones in all but their name."""
    exported = {
        w
        for rows in files.values()
        for line in rows
        if (m := _GLOBAL.match(line))
        for w in re.findall(r"[\w.$]+", m[1])
    }
    uses: dict[str, list[tuple[str, int, bool]]] = {}
    marks: dict[str, list[tuple[int, str]]] = {name: [] for name in files}
    for name, rows in files.items():
        depth = 0
        for number, line in enumerate(rows):
            parts = cut(line, MARKS, LABEL)
            low = parts.code.split(None, 1)[0].lower() if parts.code else ""
            depth += low == ".macro"
            if not depth:
                marks[name] += [(number, label) for label in re.findall(r"([A-Za-z_$][\w$]*):", parts.lead)]
            jumps = (
                bool(re.match(r"(?:j[a-z]+|loop[a-z]*)\s+[\w.$]+$", parts.code, re.IGNORECASE)) and not depth
            )
            for word in TOKEN.findall(parts.code):
                if is_name(word):
                    uses.setdefault(word, []).append((name, number, jumps))
            depth -= low == ".endm"
    found = {}
    for name, labels in marks.items():
        wanted = {
            label
            for _, label in labels
            if label not in exported and uses.get(label) and all(f == name and j for f, _, j in uses[label])
        }
        while True:
            kept = [number for number, label in labels if label not in wanted]
            out = {
                label
                for number, label in labels
                if label in wanted and not _within(number, uses[label], kept)
            }
            if not out:
                break
            wanted -= out
        found[name] = frozenset(wanted)
    return found


def _within(number: int, uses: Sequence[tuple[str, int, bool]], kept: Sequence[int]) -> bool:
    """Whether a label and all its uses stand between two labels that stay."""
    first = max((k for k in kept if k <= number), default=None)
    last = min((k for k in kept if k > number), default=1 << 30)
    return first is not None and all(first <= line < last for _, line, _ in uses)
