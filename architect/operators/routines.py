"""The operator on routines that are gone: called, promised by a header perhaps, and nowhere defined.

Owns the making of a routine after its sibling, the one whose name differs in one word (``port_read`` for
``port_write``). What the sibling loads is stored where the header, or the callers' habits, hand over one value more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from architect.effects import is_memory
from architect.operators.base import Operator, Site, Variant, inserted_at, rank_bits
from architect.operators.view import View, kept, sized
from architect.source import Routine
from architect.statements import strip_comment, tokens
from toolchain import headers

_UNDEFINED = re.compile(r"undefined (?:symbol|reference to) `([A-Za-z_]\w*)'")
_SLOT = re.compile(r"\b(r[a-z0-9]+|e[a-z]{2})\s*=")
_LOAD = re.compile(r"(\s*)mov\s+(\w+),\s*((?:(?:byte|word|dword|qword)\s+ptr\s+)?\[.*\])\s*$")


def after_sibling(site: Site) -> Iterator[Variant]:
    """The missing routine as its sibling is, names exchanged; then with what that loads stored instead."""
    named = {token.text for operand in site.statement.operands for token in tokens(operand.text)}
    for name in _missing(site.view):
        for nth, routine in enumerate(_siblings(site.view, name) if name in named else ()):
            words = _differing(routine.name, name)
            assert words is not None
            lines = [_renamed(line, routine.name, name, *words) for line in _text(site.view, routine)]
            place, blank = _place(site.view, routine, name)
            for rank, (note, body) in enumerate(_bodies(site.view, routine, name, lines)):
                edit = inserted_at(routine.file, place, [*blank, *body])
                yield Variant((edit,), rank_bits(rank) + nth, f"{name} as {routine.name}{note}")


@kept
def _siblings(view: View, name: str) -> tuple[Routine, ...]:
    """The routines whose names differ in one word; those beside a header of the missing one first."""
    found = [routine for routine in view.tree.routines.values() if _differing(routine.name, name)]
    return tuple(sorted(found, key=lambda routine: (_header(view, routine, name) is None, routine.name)))


@kept
def _missing(view: View) -> tuple[str, ...]:
    """The symbols that the linker found nowhere."""
    texts = [str(gate.evidence.get("first", "")) + gate.message for gate in view.case.failures]
    found = dict.fromkeys(name for text in texts for name in _UNDEFINED.findall(text))
    return tuple(name for name in found if name not in view.tree.labels)


def _differing(name: str, other: str) -> tuple[str, str] | None:
    """The word in which two names differ: ``read32`` and ``write32``, the number at its end left out."""
    ours, theirs = name.split("_"), other.split("_")
    differ = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    if len(ours) != len(theirs) or len(ours) < 2 or len(differ) != 1:
        return None
    a, b = differ[0]
    return (a.rstrip("0123456789"), b.rstrip("0123456789")) if a.rstrip("0123456789") else None


def _text(view: View, routine: Routine) -> list[str]:
    return view.tree.lines[routine.file][routine.first - 1 : routine.last]


def _renamed(line: str, name: str, other: str, word: str, new: str) -> str:
    """The routine's name, and the word in its local labels."""
    line = re.sub(rf"\b{re.escape(name)}\b", other, line)
    return re.sub(r"\.L\w+", lambda found: _label(found[0], word, new), line)


def _label(label: str, word: str, new: str) -> str:
    parts = label.split("_")
    changed = "_".join(new if part == word else part for part in parts)
    return changed if changed != label else f"{label}_{new}"


def _header(view: View, routine: Routine, name: str) -> int | None:
    """The line of a header that stands without its routine, in the sibling's file."""
    start = re.compile(rf"\s*#\s*{re.escape(name)}\s+--")
    lines = view.tree.lines[routine.file]
    return next((n for n, line in enumerate(lines, 1) if start.match(line)), None)


def _place(view: View, routine: Routine, name: str) -> tuple[int, list[str]]:
    """The line after the routine's own header; after the sibling, and a blank line, where there is none."""
    line = _header(view, routine, name)
    if line is None:
        return routine.last + 1, [""]
    lines = view.tree.lines[routine.file]
    while line <= len(lines) and lines[line - 1].lstrip().startswith("#"):
        line += 1
    return line, []


def _bodies(view: View, routine: Routine, name: str, lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The sibling's body, and with one of its loads turned into a store of what only the missing routine takes."""
    yield "", lines
    for register in _taken(view, routine, name):
        for n, line in enumerate(lines):
            load = _LOAD.match(strip_comment(line).rstrip())
            bits = headers.register_bits(load[2]) if load else None
            if load and bits and is_memory(load[3]):
                stored = f"{load[1]}mov {load[3]}, {sized(register, bits)}"
                yield f", which stores {register}", [*lines[:n], stored, *lines[n + 1 :]]


def _taken(view: View, routine: Routine, name: str) -> list[str]:
    """Registers, by their 64-bit names, that the missing routine's header has and its sibling's has not."""
    line = _header(view, routine, name)
    lines = view.tree.lines[routine.file]
    told = next((t for t in lines[line : line + 6] if "In:" in t), "") if line is not None else ""
    theirs: Mapping[str, None] = dict.fromkeys(
        headers.full_register(slot.register) or ""
        for slot in (routine.header.inputs if routine.header else ())
    )
    found = [headers.full_register(name) for name in _SLOT.findall(told)]
    return [name for name in found if name is not None and name not in theirs]


OPERATORS = (
    Operator(
        "routine-missing",
        "a routine lost in a merge, or not written yet, that a sibling shows how to write",
        4.0,
        after_sibling,
        {"unassembled": -2.5},
    ),
)
