"""A conversation as it is kept: what was said, what is proposed, what was applied, what it cost.

Owns the file of a session: JSON under ``$XDG_DATA_HOME/pxos/chat``, replaced as a whole, checked before it is believed.
Never holds a key.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError
from toolchain.files import make_folder, read_bounded, write_atomic

if TYPE_CHECKING:
    from architect.learn.memory import Level

STAGE = "chat"
VERSION = 1
BYTES_MAX = 16 << 20
TURNS_MAX = 10_000
_TEXT_MAX = 1 << 20
_TURN_MAX = 64 << 10  # characters of one turn that are kept
_KEPT_MAX = 4 << 20  # characters of all turns that are written; the oldest go first
UNNAMED_MAX, UNNAMED_DAYS = 100, 90  # conversations that nobody named: how many are kept, and how long
_DAY = 86_400.0  # seconds
_UNNAMED = re.compile(r"\d{4}-\d{2}-\d{2}-\d{6}-\d+")  # as ``fresh_name`` makes them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORMS = {
    "branch": re.compile(r"pxos/[a-z0-9-]{1,80}"),
    "commit": re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}"),
    "back": re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./+-]{0,200}"),
}
ROLES = ("user", "assistant", "tool", "note")
REMEMBERED: tuple[Level, ...] = ("session", "case")  # levels of the memory that belong to a conversation


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that was said.

    Attributes:
        role: ``user``, ``assistant``, ``tool`` (an answer of one) or ``note`` (what a command showed).
        text: what.
        name: of the tool, with its arguments, else empty.
    """

    role: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that was taken to a branch, a worktree or the tree itself, with what undoes it.

    Attributes:
        kind: ``branch``, ``worktree`` or ``copy``.
        tree: the kernel tree that holds it now.
        before: the kernel tree that the conversation was about before.
        files: file -> SHA-256 of the text that was written, by path from ``root``.
        root: the folder that the paths count from.
        branch: of the commit, or empty.
        commit: its id, or empty.
        back: what was checked out before (a branch or a commit), or empty.
        kept: the folder with the originals, or empty.
        worktree: the folder of the worktree, or empty.
    """

    kind: str
    tree: str
    before: str
    files: Mapping[str, str]
    root: str
    branch: str = ""
    commit: str = ""
    back: str = ""
    kept: str = ""
    worktree: str = ""


@dataclass
class Session:
    """One conversation."""

    name: str
    tree: str
    created: float = field(default_factory=time.time)
    turns: list[Turn] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    prompt_tokens: int = 0
    answer_tokens: int = 0
    money: str = ""
    memory: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def say(self, role: str, text: str, name: str = "") -> None:
        """Keep a turn; the oldest goes when there are too many."""
        self.turns.append(Turn(role, text[:_TURN_MAX], name[:_TURN_MAX]))
        if len(self.turns) > TURNS_MAX:
            del self.turns[0]


def folder() -> Path:
    """Where conversations are kept: ``$XDG_DATA_HOME/pxos/chat``.

    Raises:
        InputError: this user has no home folder.
    """
    from architect.lessons import default_folder

    return default_folder().parent / "chat"


def fresh_name() -> str:
    """A name from the time, e.g. ``2026-11-20-193000-4711``."""
    return f"{time.strftime('%Y-%m-%d-%H%M%S')}-{os.getpid()}"


def path_of(name: str) -> Path:
    """The file of a session.

    Raises:
        InputError: no name for a session.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} is no name of a session: letters, digits, dots, dashes, at most 64", stage=STAGE
        )
    return folder() / f"{name}.json"


def save(session: Session) -> Path:
    """Write a session as a whole or not at all; where to."""
    path = path_of(session.name)
    make_folder(path.parent, stage=STAGE)
    if not path.exists():
        prune(time.time())
    total = sum(len(turn.text) for turn in session.turns)
    while total > _KEPT_MAX:
        total -= len(session.turns.pop(0).text)
    data = {"version": VERSION, **asdict(session)}
    write_atomic(path, json.dumps(data, indent=1) + "\n", stage=STAGE)
    path.chmod(0o600)
    return path


def prune(now: float) -> list[str]:
    """Drop conversations that nobody named: the oldest above ``UNNAMED_MAX``, and those older than ``UNNAMED_DAYS``.

    What a person has named is kept until the person removes it. Gives the names of what was dropped.
    """
    unnamed = [name for name in names() if _UNNAMED.fullmatch(name)]
    gone = []
    for rank, name in enumerate(unnamed):
        path = path_of(name)
        with suppress(OSError):  # another chat may do the same
            if rank >= UNNAMED_MAX or now - path.stat().st_mtime > UNNAMED_DAYS * _DAY:
                path.unlink()
                gone.append(name)
    return gone


def names() -> list[str]:
    """The sessions that are kept, newest first."""
    found = [path for path in folder().glob("*.json") if _NAME.fullmatch(path.stem)]
    ages: dict[Path, float] = {}
    for path in found:
        with suppress(OSError):  # another chat may have dropped it
            ages[path] = path.stat().st_mtime
    return [path.stem for path in sorted(ages, key=ages.__getitem__, reverse=True)]


def load(name: str) -> Session:
    """A session that was kept.

    Raises:
        InputError: no such session, or a file that is none; one line that says what is wrong.
    """
    path = path_of(name)
    data = read_bounded(path, BYTES_MAX, stage=STAGE, missing="/load lists those that are kept")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "no JSON") from error
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise _damaged(path, f"not of version {VERSION}")
    try:
        return _session(value, name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}".splitlines()[0][:100]) from error


def _session(value: Mapping[str, Any], name: str) -> Session:
    turns = [
        Turn(_one_of(row["role"], ROLES), _text(row["text"]), _text(row["name"]))
        for row in _rows(value["turns"], TURNS_MAX)
    ]
    applied = [Applied(**_applied(row)) for row in _rows(value["applied"], TURNS_MAX)]
    return Session(
        name,
        _text(value["tree"]),
        float(value["created"]),
        turns,
        _texts(value["changes"]),
        _texts(value["bases"]),
        applied,
        _count(value["prompt_tokens"]),
        _count(value["answer_tokens"]),
        _text(value["money"]),
        _memory(value.get("memory", {})),
    )


def _memory(value: Any) -> dict[str, list[dict[str, Any]]]:
    """What was kept in mind, as it was dumped; nothing of it is believed before it was read as a memory."""
    from architect.learn.memory import Memory

    if not isinstance(value, dict) or not set(value) <= set(REMEMBERED):
        raise ValueError("a memory is expected")
    kept = Memory()
    try:
        for level, rows in value.items():
            kept.load(level, rows)
    except InputError as error:
        raise ValueError(error.message) from error
    return {level: kept.dump(level) for level in REMEMBERED}


def _applied(row: Mapping[str, Any]) -> dict[str, Any]:
    """What undoes a change, held to what ``changes`` writes: /undo runs git and writes files by it."""
    fields: dict[str, Any] = {key: _text(row[key]) for key in Applied.__slots__ if key != "files"}
    _one_of(fields["kind"], ("branch", "worktree", "copy"))
    for key, form in _FORMS.items():
        if fields[key] and not form.fullmatch(fields[key]):
            raise ValueError(f"{key} is none")
    files = _texts(row["files"])
    if any(not name or name.startswith("/") or ".." in name.split("/") for name in files):
        raise ValueError("a file outside the tree")
    return {**fields, "files": files}


def _rows(value: Any, most: int) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or len(value) > most or not all(isinstance(row, dict) for row in value):
        raise ValueError("a list of objects is expected")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("an object is expected")
    return {_text(key): _text(text) for key, text in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        raise ValueError("a text is expected")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a count is expected")
    return value


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    return str(value)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: no session of a chat ({why}); move it away, /load names others", stage=STAGE)
