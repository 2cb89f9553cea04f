"""What Tab offers: commands, their words, symbols, files, sessions, tools.

Owns the choice; nothing here knows a terminal. Symbols come from the sources' headers: nothing is built for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from architect.chat.commands import COMMANDS
from toolchain.errors import PxError

if TYPE_CHECKING:
    from architect.tools.desk import Desk

MOST = 200
_VALUES = {
    "machine=": ("q35", "pc"), "display=": ("std", "bochs", "virtio", "none"),
    "engine=": ("auto", "lessons", "search", "llm"),
}  # fmt: skip
_MINIMUM = 2  # characters of a word in a free question before symbols are offered


def offers(desk: Desk, line: str) -> tuple[str, list[str]]:
    """The word that is being written at the end of ``line``, and what it may become, best first."""
    if line.startswith("/") and " " not in line:
        return line, [f"/{name}" for name in COMMANDS if name.startswith(line[1:])]
    word = line.rpartition(" ")[2]
    if not line.startswith("/"):
        return word, _found(word, _symbols(desk) + _files(desk)) if len(word) >= _MINIMUM else []
    command = COMMANDS.get(line[1:].partition(" ")[0])
    if command is None:
        return word, []
    known: list[str] = []
    name, mark, _ = word.partition("=")
    if mark and name + mark in _VALUES:
        known = [f"{name}={value}" for value in _VALUES[name + mark]]
    else:
        for kind in command.takes:
            known += _SOURCES[kind](desk) if kind in _SOURCES else [kind]
    if "path" in command.takes:
        return word, _paths(word)
    return word, _found(word, known)


def _found(word: str, known: Iterable[str]) -> list[str]:
    """Those that begin with the word; where none does, those that hold it."""
    known = list(dict.fromkeys(known))
    begun = [name for name in known if name.startswith(word)]
    return (begun or [name for name in known if word.lower() in name.lower()])[:MOST]


def _symbols(desk: Desk) -> list[str]:
    with suppress(PxError):
        return sorted(desk.headers())
    return []


def _files(desk: Desk) -> list[str]:
    with suppress(PxError):
        return sorted({**desk.texts(), **desk.sources()})
    return []


def _sessions(desk: Desk) -> list[str]:
    from architect.chat import session

    with suppress(PxError):
        return session.names()
    return []


def _tools(desk: Desk) -> list[str]:
    from architect.tools.table import TOOLS

    return list(TOOLS)


def _commands(desk: Desk) -> list[str]:
    return list(COMMANDS)


def _paths(word: str) -> list[str]:
    """Files and folders that a path may become."""
    head, mark, tail = word.rpartition("/")
    folder = Path(head + mark).expanduser() if mark else Path()
    with suppress(OSError):
        names = sorted(
            p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith(".")
        )
        return [head + mark + name for name in names if name.startswith(tail)][:MOST]
    return []


_SOURCES: dict[str, Callable[[Desk], list[str]]] = {
    "symbol": _symbols,
    "file": _files,
    "session": _sessions,
    "tool": _tools,
    "command": _commands,
}
