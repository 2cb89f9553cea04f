"""The trajectory of a run as JSON lines: what was asked, answered, proposed, judged, in the order in which it happened.

Owns the form of that file: writing a step, reading a file that may be anybody's. A line is
``{"v": 1, "n": N, "at": S, "kind": KIND, ...}``: ``n`` counts from 0 without a gap, ``at`` is seconds of wall time
since the file was opened (a resumed run goes on from its last). A step is written with one ``write`` to an append-only
file and taken back when it does not fit; a line that a killed run left cut is removed when the file is opened again:
every line is whole or absent. Never decides what happens next, and shows nothing (``architect.learn.replay`` does).

Kinds, and what their steps hold at least:

    run        what: what kind of run ("fix", "chat", ...); further keys as the writer likes
    diagnosis  failures: gates as ``journal.gate_to_json`` writes them; cause: text or null
    proposal   id: counts the proposals of the file from 1; patch: as ``journal.patch_to_json`` writes it
    gate       of: the proposal's id (0: none of them), passed, gates: list of gates; final: the finalist's gates
    request    id: counts the requests from 1; model, max_output, same: how many leading messages equal those of the
               request before; messages: the others (role, content, tool_calls, tool_call_id); tools: their names
    reply      to: the request's id; text, tool_calls, usage, finish, money; or error: {kind, message} where it failed
    tool       name, arguments (JSON text), text, ok
    note       text: a line for the reader
    end        outcome, reason

Whoever talks to a model wraps it in ``architect.learn.recorded.RecordingModel``, which writes both sides; the fix
loop's file is ``Journal.trajectory``.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.errors import InputError
from toolchain.files import make_folder, read_bounded, unwritable

STAGE = "trajectory"
VERSION = 1
KINDS = ("run", "diagnosis", "proposal", "gate", "request", "reply", "tool", "note", "end")
FILE_BYTES_MAX = 256 << 20
LINE_BYTES_MAX = 16 << 20
TEXT_MAX = 1 << 20  # characters of one text; what is longer is cut, and says so
_SECONDS_MAX = 1e10
_OWN = ("v", "n", "at", "kind")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a trajectory. ``data`` holds the keys of its kind; ``at`` is in seconds."""

    n: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read: its whole steps, and whether a cut line stood behind them."""

    path: Path
    steps: tuple[Step, ...]
    cut: bool


class Trajectory:
    """A file that steps are appended to; ``Trajectory.open`` makes one. Several threads may write.

    Attributes:
        path: the file.
        length: steps in it.
        proposals, requests: how many of each; the next one's id is one more.
    """

    def __init__(self, path: Path, fd: int, steps: tuple[Step, ...]) -> None:
        self.path = path
        self.length = len(steps)
        self.proposals = sum(step.kind == "proposal" for step in steps)
        self.requests = sum(step.kind == "request" for step in steps)
        self._fd = fd
        self._lock = threading.Lock()
        self._began = time.monotonic() - (steps[-1].at if steps else 0.0)

    @classmethod
    def open(cls, path: Path, *, resume: bool = False) -> Trajectory:
        """The file at ``path``, made with its folders; emptied unless ``resume``, which goes on behind its last step.

        Raises:
            InputError: it cannot be written, or is to be resumed and is no trajectory.
        """
        make_folder(path.parent, stage=STAGE)
        steps: tuple[Step, ...] = ()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            if resume and path.exists():
                data = read_bounded(path, FILE_BYTES_MAX, stage=STAGE)
                whole = data.rfind(b"\n") + 1
                steps = tuple(_steps(data[:whole], str(path)))
                if whole != len(data):
                    os.truncate(path, whole)
            else:
                flags |= os.O_TRUNC
            fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise unwritable(path, error, stage=STAGE) from error
        return cls(path, fd, steps)

    def write(self, kind: str, data: Mapping[str, Any]) -> int:
        """Append one step; its number. ``data`` is JSON-able (what is not is written as text), long texts are cut.

        Raises:
            InputError: the disk is full, or the file cannot be written any more; nothing of the step stands in it.
        """
        if kind not in KINDS:
            raise ValueError(f"no kind of step: {kind}")
        with self._lock:
            at = round(time.monotonic() - self._began, 3)
            row = {"v": VERSION, "n": self.length, "at": at, "kind": kind, **_bounded(data)}
            # Guest and model text may hold lone surrogates: as escapes they are ASCII like the rest.
            line = json.dumps(row, default=str, ensure_ascii=True).encode("ascii") + b"\n"
            if len(line) > LINE_BYTES_MAX:
                raise InputError(f"{self.path}: a step of {len(line)} bytes is too long", stage=STAGE)
            before = os.fstat(self._fd).st_size
            try:
                if os.write(self._fd, line) != len(line):
                    raise OSError(28, "No space left on device")
            except OSError as error:
                os.ftruncate(self._fd, before)
                raise unwritable(self.path, error, stage=STAGE) from error
            self.length += 1
            self.proposals += kind == "proposal"
            self.requests += kind == "request"
            return self.length - 1

    def forget(self) -> None:
        """In a child process: leave the file to the parent."""
        os.close(self._fd)

    def close(self) -> None:
        """Write no more; the file stays."""
        os.close(self._fd)


def _bounded(value: Any) -> Any:
    """The same with every long text cut."""
    if isinstance(value, str) and len(value) > TEXT_MAX:
        return f"{value[:TEXT_MAX]} [{len(value) - TEXT_MAX} more characters]"
    if isinstance(value, Mapping):
        return {str(key): _bounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value]
    return value


# --- reading -----------------------------------------------------------------------------------------------


def read(path: Path) -> Reading:
    """A trajectory, whoever wrote it: every step is checked before anything is made of it.

    Raises:
        InputError: it cannot be read, is empty, or a line is no step: which, and why.
    """
    data = read_bounded(path, FILE_BYTES_MAX, stage=STAGE)
    whole = data.rfind(b"\n") + 1
    steps = tuple(_steps(data[:whole], str(path)))
    if not steps:
        what = "its only line is cut" if data.strip() else "is empty"
        raise InputError(f"{path}: {what}; expected the trajectory of a run (JSON lines)", stage=STAGE)
    return Reading(path, steps, whole != len(data))


def _steps(data: bytes, name: str) -> list[Step]:
    steps = []
    for number, line in enumerate(data.split(b"\n")[:-1]):
        where = f"{name}:{number + 1}"
        if len(line) > LINE_BYTES_MAX:
            raise InputError(f"{where}: longer than a step may be ({LINE_BYTES_MAX >> 20} MiB)", stage=STAGE)
        steps.append(_step(line, number, where))
    return steps


def _step(line: bytes, number: int, where: str) -> Step:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{where}: not a step of a trajectory (no JSON object)", stage=STAGE) from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a step of a trajectory (no JSON object)", stage=STAGE)
    if row.get("v") != VERSION:
        shown = repr(row.get("v"))[:40]
        raise InputError(f"{where}: form {shown}; this pxos reads form {VERSION}", stage=STAGE)
    at, kind = row.get("at"), row.get("kind")
    if row.get("n") != number or type(row["n"]) is not int:
        raise InputError(f"{where}: expected step {number}, found {row.get('n')!r:.40}", stage=STAGE)
    if kind not in KINDS:
        raise InputError(f"{where}: no kind of step: {kind!r:.40}", stage=STAGE)
    if not isinstance(at, int | float) or not 0 <= at < _SECONDS_MAX:
        raise InputError(f"{where}: 'at' is {at!r:.40}, expected seconds", stage=STAGE)
    data = {key: value for key, value in row.items() if key not in _OWN}
    for key, (good, expected) in _FORMS.get(kind, {}).items():
        if not good(data.get(key)):
            found = repr(data.get(key))[:40]
            raise InputError(f"{where}: '{key}' of a {kind} is {found}, expected {expected}", stage=STAGE)
    return Step(number, float(at), kind, data)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _is_patch(value: Any) -> bool:
    from architect.journal import patch_from_json

    try:
        patch_from_json(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True


def _are_gates(value: Any) -> bool:
    from architect.journal import gate_from_json

    try:
        for item in value:
            gate_from_json(item)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return isinstance(value, list)


def _are_calls(value: Any) -> bool:
    keys = ("id", "name", "arguments")
    return value is None or (
        isinstance(value, list)
        and all(isinstance(call, dict) and all(_text(call.get(key)) for key in keys) for call in value)
    )


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and row.get("role") in ("system", "user", "assistant", "tool")
        and _text(row.get("content"))
        and _are_calls(row.get("tool_calls"))
        and isinstance(row.get("tool_call_id"), str | None)
        for row in value
    )


_Form = tuple[Callable[[Any], bool], str]
_TEXT: _Form = (_text, "a text")
_COUNT: _Form = (_count, "a count")
_FORMS: dict[str, dict[str, _Form]] = {
    "run": {"what": _TEXT},
    "diagnosis": {"failures": (_are_gates, "a list of gates")},
    "proposal": {"id": _COUNT, "patch": (_is_patch, "a patch")},
    "gate": {"of": _COUNT, "passed": (_flag, "true or false"), "gates": (_are_gates, "a list of gates")},
    "request": {
        "id": _COUNT,
        "same": _COUNT,
        "max_output": _COUNT,
        "messages": (_are_messages, "a list of messages"),
    },
    "reply": {"to": _COUNT, "tool_calls": (_are_calls, "a list of tool calls")},
    "tool": {"name": _TEXT, "text": _TEXT, "ok": (_flag, "true or false")},
    "note": {"text": _TEXT},
    "end": {"outcome": _TEXT, "reason": _TEXT},
}
