"""Sources and manual in pieces that answer questions: a routine, a section, a shader's function, a block of includes.

Owns where a piece begins and ends, its title and its summary. Never searches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_ROUTINE = re.compile(r"^\s*(?:local_)?function\s+([\w.$]+)")
_END = re.compile(r"^\s*end_(?:local_)?function\b")
_HEADING = re.compile(r"^(#{1,6})\s+(.*)")
_SHADER_FUNCTION = re.compile(r"^\s*(?:@[\w()., ]+\s*)*fn\s+(\w+)")
_TABLE = re.compile(r"^\s*\[+([^\[\]]+)\]+")
_SET = re.compile(r"^\s*(?:\.set|\.equ|\.macro)\s+([\w.$]+)")


class Piece(NamedTuple):
    """A piece of a file.

    Attributes:
        file: its name.
        line: where it begins, 1-based.
        kind: ``routine``, ``section``, ``shader``, ``table``, ``constants`` or ``file``.
        title: what it is called.
        summary: what it is about, in a line or some.
        body: its text.
    """

    file: str
    line: int
    kind: str
    title: str
    summary: str
    body: str


def pieces(file: str, text: str) -> Iterator[Piece]:
    """The pieces of a file, in order; every line is in one of them."""
    rows = text.split("\n")
    if file.endswith(".s"):
        yield from _assembly(file, rows)
    elif file.endswith(".md"):
        yield from _markdown(file, rows)
    elif file.endswith(".wgsl"):
        yield from _shader(file, rows)
    elif file.endswith(".toml"):
        yield from _split(file, rows, "table", _TABLE)
    else:
        yield from _blocks(file, rows)


def _assembly(file: str, rows: list[str]) -> Iterator[Piece]:
    start = 0
    number = 0
    while number < len(rows):
        found = _ROUTINE.match(rows[number])
        if not found:
            number += 1
            continue
        head = number
        while head > start and rows[head - 1].startswith("#"):
            head -= 1
        if any(row.strip() for row in rows[start:head]):
            yield _rest(file, rows, start, head)
        end = next((n for n in range(number, len(rows)) if _END.match(rows[n])), len(rows) - 1)
        summary = "\n".join(row.lstrip("# ") for row in rows[head:number])
        yield Piece(file, head + 1, "routine", found[1], summary, "\n".join(rows[number : end + 1]))
        start = number = end + 1
    if any(row.strip() for row in rows[start:]):
        yield _rest(file, rows, start, len(rows))


def _rest(file: str, rows: list[str], start: int, end: int) -> Piece:
    """What stands between routines: the head of the file, data."""
    while start < end - 1 and not rows[start].strip():
        start += 1
    comments = [row.lstrip("# ") for row in rows[start:end] if row.startswith("#")]
    return Piece(file, start + 1, "file", file, "\n".join(comments), "\n".join(rows[start:end]))


def _markdown(file: str, rows: list[str]) -> Iterator[Piece]:
    trail: list[tuple[int, str]] = []
    start, fenced = 0, False
    for number, row in enumerate([*rows, "# "]):
        if row.startswith("```"):
            fenced = not fenced
        found = _HEADING.match(row) if not fenced or number == len(rows) else None
        if not found:
            continue
        if any(line.strip() for line in rows[start:number]):
            title = " / ".join(name for _, name in trail) or file
            yield from _paragraphs(file, rows, start, number, title)
        level = len(found[1])
        trail = [pair for pair in trail if pair[0] < level] + [(level, found[2].strip())]
        start = number


def _paragraphs(file: str, rows: list[str], start: int, end: int, title: str) -> Iterator[Piece]:
    """A section, in parts of some 40 lines that end at blank ones."""
    begin = start
    while begin < end:
        cut = end
        if end - begin > 40:
            cut = next((n for n in range(begin + 25, end) if not rows[n].strip()), end)
        body = "\n".join(rows[begin:cut])
        if body.strip():
            first = begin
            while first < cut - 1 and not rows[first].strip():
                first += 1
            yield Piece(file, first + 1, "section", title, "", body)
        begin = max(cut, begin + 1)


def _shader(file: str, rows: list[str]) -> Iterator[Piece]:
    heads = [n for n, row in enumerate(rows) if _SHADER_FUNCTION.match(row)]
    starts = []
    for number in heads:
        while number > 0 and rows[number - 1].startswith(("//", "@")):
            number -= 1
        starts.append(number)
    if not starts or starts[0] > 0:
        end = starts[0] if starts else len(rows)
        about = [row.lstrip("/ ") for row in rows[:end] if row.startswith("//")]
        yield Piece(file, 1, "shader", file, "\n".join(about), "\n".join(rows[:end]))
    for head, start, end in zip(heads, starts, [*starts, len(rows)][1:], strict=True):
        found = _SHADER_FUNCTION.match(rows[head])
        assert found is not None
        about = [row.lstrip("/ ") for row in rows[start:head] if row.startswith("//")]
        yield Piece(file, start + 1, "shader", found[1], "\n".join(about), "\n".join(rows[start:end]))


def _split(file: str, rows: list[str], kind: str, head: re.Pattern[str]) -> Iterator[Piece]:
    starts = [n for n, row in enumerate(rows) if head.match(row)]
    for start, end in zip([0, *starts], [*starts, len(rows)], strict=True):
        body = "\n".join(rows[start:end])
        if body.strip():
            found = head.match(rows[start])
            yield Piece(file, start + 1, kind, found[1] if found else file, "", body)


def _blocks(file: str, rows: list[str]) -> Iterator[Piece]:
    """Blocks between blank lines."""
    start = 0
    for number, row in enumerate([*rows, ""]):
        if row.strip():
            continue
        block = rows[start:number]
        if any(line.strip() for line in block):
            names = [found[1] for line in block if (found := _SET.match(line))]
            about = " ".join(line.partition("#")[2].strip() for line in block if "#" in line)
            yield Piece(file, start + 1, "constants", " ".join(names) or file, about, "\n".join(block))
        start = number + 1
