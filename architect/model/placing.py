"""Where a search/replace block belongs: exactly, or nearly and without doubt.

Owns the ladder of likeness (exact lines, blanks, comments and empty lines, a near miss that stands alone) and the
message where no step finds one place. Lines that the model repeats unchanged keep the file's own text, so that a
comment or a column is not lost because the model wrote it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from architect.statements import strip_comment

LIKE_MIN = 0.9  # likeness of lines below which a near miss is none
LEAD_MIN = 0.05  # by which it must be better than the next
SHOWN_MAX = 16  # lines of the nearest text that an error shows
PLACES_SHOWN = 6
BY_LINES = 1500  # characters
_WINDOW_EXTRA = 2
_QUICK = 0.5  # share of equal words below which likeness is not computed


class EditError(ValueError):
    """A block that cannot be read or applied; the message is what the model gets back."""


def stands(search: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether the lines stand there exactly, and some of them say something."""
    return any(line.strip() for line in search) and bool(_windows(list(search), lines, lambda line: line))


def replaced(search: Sequence[str], replace: Sequence[str], lines: Sequence[str], where: str) -> list[str]:
    """``lines`` with the block applied.

    Raises:
        EditError: there is no place, or more than one.
    """
    search, replace = _trimmed(search, replace)
    if not any(_code(line) or line.strip() for line in search):
        raise EditError(
            f"{where}: SEARCH is empty; to insert, repeat a line that stands there, and add the new ones in REPLACE"
        )
    for normal in (lambda line: line, str.rstrip, _blanks, _loose):
        found = _windows(search, lines, normal)
        if len(found) > 1:
            raise _several(found, search, where)
        if found:
            return _put(lines, found[0], found[0] + len(search), search, replace)
    spans = _significant(search, lines)
    if len(spans) > 1:
        raise _several([first for first, _ in spans], search, where)
    if spans:
        return _put(lines, *spans[0], search, replace)
    return _nearly(search, replace, lines, where)


def _trimmed(search: Sequence[str], replace: Sequence[str]) -> tuple[list[str], list[str]]:
    """Without the empty lines that both begin or end with."""
    a, b = list(search), list(replace)
    while a and not a[0].strip():
        a.pop(0)
        if b and not b[0].strip():
            b.pop(0)
    while a and not a[-1].strip():
        a.pop()
        if b and not b[-1].strip():
            b.pop()
    return a, (b if any(line.strip() for line in b) else [])


def _blanks(line: str) -> str:
    """Blanks count as one, at the ends as none."""
    return " ".join(line.split())


def _loose(line: str) -> str:
    """No blanks but between words, no difference of case."""
    return re.sub(r"\s*([,\[\]+*|()-])\s*", r"\1", _blanks(line)).lower()


def _code(line: str) -> str:
    """What of a line is assembled, loosely; empty for comments and blanks."""
    return _loose(strip_comment(line))


def _windows(search: list[str], lines: Sequence[str], normal: Callable[[str], str]) -> list[int]:
    """Where the lines stand, each made ``normal``; places that overlap count once."""
    wanted = [normal(line) for line in search]
    have = [normal(line) for line in lines]
    size, found = len(wanted), []
    start = 0
    while start + size <= len(have):
        if have[start] == wanted[0] and have[start : start + size] == wanted:
            found.append(start)
            start += size
        else:
            start += 1
    return found


def _significant(search: list[str], lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where the code of the lines stands, whatever comments and empty lines are between; (first, behind the last)."""
    wanted = [code for line in search if (code := _code(line))]
    have = [(n, code) for n, line in enumerate(lines) if (code := _code(line))]
    if not wanted:
        return []
    texts = [code for _, code in have]
    size = len(wanted)
    places = [i for i in range(len(texts) - size + 1) if texts[i : i + size] == wanted]
    return [(have[i][0], have[i + size - 1][0] + 1) for i in places]


def _put(lines: Sequence[str], first: int, end: int, search: list[str], replace: list[str]) -> list[str]:
    """``replace`` in the place of a stretch; what the model repeats unchanged stays as the file has it.

    Lines of the stretch that the model left out (comments, empty lines) stay too, unless they stand within what it
    replaces; a line that it repeats and that is not there is not brought in.
    """
    own = list(lines[first:end])
    shift = _shift(search, own)
    at = _places(search, own)
    made: list[str] = []
    kept = 0  # how far the file's own lines have been dealt with
    for kind, a, b, c, d in SequenceMatcher(None, search, replace, autojunk=False).get_opcodes():
        places = [at[n] for n in range(a, b) if n in at]
        if kind == "equal":
            if places:
                made += own[kept : max(places) + 1]
                kept = max(places) + 1
            continue
        if places:
            made += own[kept : min(places)]
            kept = max(places) + 1
        made += [_shifted(line, shift) for line in replace[c:d]]
    return [*lines[:first], *made, *own[kept:], *lines[end:]]


def _places(search: list[str], own: list[str]) -> dict[int, int]:
    """Which line of the stretch each searched one is, both counted from 0, in order."""
    a, b = ([_code(line) or _blanks(line) for line in part] for part in (search, own))
    found: dict[int, int] = {}
    for kind, first, last, start, end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind in ("equal", "replace"):
            found.update(zip(range(first, last), range(start, end), strict=False))
    return found


def _shift(search: list[str], own: list[str]) -> tuple[str, str]:
    """The indents of the first line that says something: as the model wrote it, and as the file has it."""
    ours = next((line for line in own if line.strip()), "")
    theirs = next((line for line in search if line.strip()), "")
    return theirs[: len(theirs) - len(theirs.lstrip())], ours[: len(ours) - len(ours.lstrip())]


def _shifted(line: str, shift: tuple[str, str]) -> str:
    theirs, ours = shift
    return ours + line[len(theirs) :] if theirs != ours and line.strip() and line.startswith(theirs) else line


def _nearly(search: list[str], replace: list[str], lines: Sequence[str], where: str) -> list[str]:
    """The one stretch that is nearly what was searched for.

    Raises:
        EditError: none is near enough, or two are.
    """
    ranked = _ranked(search, lines)
    if not ranked:
        raise EditError(f"{where}: nothing like the SEARCH lines stands there")
    like, first, end = ranked[0]
    other = next((row for row in ranked[1:] if row[1] >= end or row[2] <= first), (0.0, 0, 0))
    if like >= LIKE_MIN and like - other[0] >= LEAD_MIN:
        return _put(lines, first, end, search, replace)
    why = "two places are alike" if like >= LIKE_MIN else "the SEARCH lines do not stand there"
    shown = _numbered(lines, first, end)
    if like >= LIKE_MIN:
        shown += f"\nand\n{_numbered(lines, other[1], other[2])}"
    raise EditError(
        f"{where}: {why}. The nearest text is:\n{shown}\nCopy the lines exactly, with their context."
    )


def _ranked(search: list[str], lines: Sequence[str]) -> list[tuple[float, int, int]]:
    """(likeness, first, behind the last) of stretches of about that size, best first."""
    wanted = "\n".join(_loose(line) for line in search)
    have = [_loose(line) for line in lines]
    words = set(wanted.split())
    rows: list[tuple[float, int, int]] = []
    for size in range(max(1, len(search) - _WINDOW_EXTRA), len(search) + _WINDOW_EXTRA + 1):
        for first in range(len(have) - size + 1):
            text = "\n".join(have[first : first + size])
            near = len(words & set(text.split())) / max(1, len(words))
            if near >= _QUICK or len(rows) == 0:
                rows.append((near, first, first + size))
    rows.sort(key=lambda row: (-row[0], row[1], row[2]))
    exact = [(_likeness(wanted, "\n".join(have[first:end])), first, end) for _, first, end in rows[:60]]
    return sorted(exact, key=lambda row: (-row[0], abs(row[2] - row[1] - len(search)), row[1]))


def _likeness(a: str, b: str) -> float:
    """By characters; of long texts by lines, for characters would take minutes."""
    if len(a) > BY_LINES:
        return SequenceMatcher(None, a.split("\n"), b.split("\n"), autojunk=False).ratio()
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def _numbered(lines: Sequence[str], first: int, end: int) -> str:
    shown = [f"{n + 1:5}: {lines[n]}" for n in range(first, min(end, first + SHOWN_MAX))]
    return "\n".join(shown)


def _several(places: Sequence[int], search: Sequence[str], where: str) -> EditError:
    told = ", ".join(str(place + 1) for place in places[:PLACES_SHOWN])
    return EditError(
        f"{where}: the SEARCH lines stand {len(places)} times, at lines {told}; repeat more of the lines around the "
        "one that is meant"
    )
