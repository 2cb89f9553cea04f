"""Lessons as text that a person reviews, edits and keeps under version control: TOML, and back without loss.

Owns the form of that file and the checks of what comes in: it is untrusted until every key has its type and every
list its bound. Never touches the store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from architect.protocols import Lesson, Signature
from toolchain import tomlfile
from toolchain.errors import InputError
from toolchain.files import read_bounded

STAGE = "lessons"
FILE_BYTES_MAX = 8 << 20
STEPS_MAX = 16
SHAPES_MAX = 64
GUARDS_MAX = 16
TEXT_MAX = 2000

_HEAD = """\
# Lessons of the architect. In shapes, {rN:bits=seen} is a register, {cN=seen} a constant, {sN=seen} a symbol,
# {lN} a local label; one name is one thing throughout a lesson.
"""
_STEP_LISTS = ("before", "remove", "insert", "after")
_STEP_TEXT = ("routine", "role", "file")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dump(lessons: Sequence[Lesson]) -> str:
    """The lessons as TOML; ``load`` gives equal ones back."""
    parts = [_HEAD]
    for lesson in lessons:
        signature = {name: getattr(lesson.signature, name) for name in Signature.__dataclass_fields__}
        parts.append(f"\n[[lesson]]\nid = {lesson.id}\ncause = {_value(lesson.cause)}\n")
        parts.append(f"helped = {lesson.helped}\nmisled = {lesson.misled}\n")
        parts.append("\n[lesson.signature]\n" + _rows(signature))
        parts.append("\n[lesson.edit]\n" + _rows({"operator": lesson.edit["operator"]}))
        for step in lesson.edit["steps"]:
            rows = {name: step[name] for name in (*_STEP_TEXT, *_STEP_LISTS)}
            parts.append("\n[[lesson.edit.step]]\n" + _rows(rows))
        parts += ["\n[[lesson.guard]]\n" + _rows(guard) for guard in lesson.guards]
        parts += ["\n[[lesson.evidence]]\n" + _rows(run) for run in lesson.evidence.get("runs", ())]
    return "".join(parts)


def _rows(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(k)} = {_value(v)}\n" for k, v in table.items() if v is not None)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):  # a JSON string is a TOML basic string but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    items = [_value(item) for item in value]
    line = "[" + ", ".join(items) + "]"
    return line if len(line) <= 90 else "[\n" + "".join(f"  {item},\n" for item in items) + "]"


def read(path: Path) -> list[Lesson]:
    """The lessons of a file that ``dump`` wrote or a person did.

    Raises:
        InputError: the file cannot be read, is not TOML, or holds something else: which lesson, which key.
    """
    data = read_bounded(path, FILE_BYTES_MAX, stage=STAGE)
    try:
        return load(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})", stage=STAGE) from error


def load(text: str, name: str = "lessons") -> list[Lesson]:
    """The lessons of a TOML text; ``name`` stands before each complaint.

    Raises:
        InputError: not TOML, or not lessons.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{name}: holds bytes that are not UTF-8 text", stage=STAGE) from error
    data = tomlfile.parse(text, name, stage=STAGE)
    rows = data.get("lesson")
    if not isinstance(rows, list):
        raise InputError(f"{name}: no [[lesson]] in it; `pxos lessons export` shows the form", stage=STAGE)
    return [_lesson(row, f"{name}: lesson[{number}]") for number, row in enumerate(rows)]


class _Table:
    """A table of untrusted TOML: every access says what was expected where."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise InputError(f"{where}: expected a table", stage=STAGE)
        self.data: dict[str, Any] = data
        self.where = where

    def wrong(self, key: str, expected: str) -> InputError:
        found = repr(self.data[key])[:80] if key in self.data else "missing"
        return InputError(f"{self.where}.{key}: {found}; expected {expected}", stage=STAGE)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.data.get(key, default)
        if not isinstance(value, str) or len(value) > TEXT_MAX:
            raise self.wrong(key, f"a text of at most {TEXT_MAX} characters")
        return value

    def optional(self, key: str) -> str | None:
        return self.text(key) if key in self.data else None

    def count(self, key: str) -> int:
        value = self.data.get(key, 0)
        if type(value) is not int or not 0 <= value < 1 << 53:
            raise self.wrong(key, "a count")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.data.get(key, [])
        good = isinstance(value, list) and len(value) <= SHAPES_MAX
        if not good or not all(isinstance(v, str) and len(v) <= TEXT_MAX and "\n" not in v for v in value):
            raise self.wrong(key, f"a list of at most {SHAPES_MAX} texts of one line")
        return list(value)

    def tables(self, key: str, most: int) -> list[_Table]:
        value = self.data.get(key, [])
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(key, f"at most {most} tables")
        return [_Table(item, f"{self.where}.{key}[{n}]") for n, item in enumerate(value)]

    def table(self, key: str) -> _Table:
        return _Table(self.data.get(key, {}), f"{self.where}.{key}")


def _lesson(row: Any, where: str) -> Lesson:
    top = _Table(row, where)
    seen = top.table("signature")
    vector = seen.data.get("vector")
    if vector is not None and (type(vector) is not int or not 0 <= vector <= 255):
        raise seen.wrong("vector", "an exception vector, 0 to 255")
    signature = Signature(
        outcome=seen.text("outcome"),
        vector=vector,
        error_bits=tuple(seen.texts("error_bits")),
        walk_level=seen.optional("walk_level"),
        unit=seen.optional("unit"),
        mnemonic=seen.optional("mnemonic"),
        routine=seen.optional("routine"),
        rules=tuple(seen.texts("rules")),
        failed_gate=seen.optional("failed_gate"),
    )
    edit = top.table("edit")
    steps = edit.tables("step", STEPS_MAX)
    if not steps:
        raise edit.wrong("step", "at least one [[lesson.edit.step]]")
    return Lesson(
        id=top.count("id"),
        signature=signature,
        cause=top.text("cause"),
        edit={"operator": edit.text("operator", "by-hand"), "steps": [_step(step) for step in steps]},
        evidence={"runs": [run.data for run in top.tables("evidence", SHAPES_MAX)]},
        helped=top.count("helped"),
        misled=top.count("misled"),
        guards=tuple(_guard(row) for row in top.tables("guard", GUARDS_MAX)),
    )


def _guard(row: _Table) -> dict[str, Any]:
    from architect.learn import guards

    return guards.to_json(guards.from_json(row.data, row.where))


def _step(step: _Table) -> dict[str, Any]:
    made = {name: step.text(name, "") for name in _STEP_TEXT}
    lists = {name: step.texts(name) for name in _STEP_LISTS}
    if not lists["remove"] and not lists["insert"]:
        raise step.wrong("insert", "statements to insert or to remove")
    return {**made, **lists}
