"""``pxos.toml``: how somebody else's kernel is built, booted and judged.

Owns: the keys, what each may hold, and errors that name key and line. ``schemas/files/pxos-toml.json`` says the same to
programs. What QEMU may be told is ``machine``'s. Never looks at the tree beside the file.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from toolchain import kerneltree, tomlfile
from toolchain.errors import InputError
from toolchain.foreign import machine

STAGE = "pxos.toml"
NAME = kerneltree.FOREIGN
Syntax = Literal["gas-intel", "gas-att", "nasm"]
SYNTAXES: tuple[str, ...] = get_args(Syntax)
SUFFIXES = (".s", ".S", ".asm", ".nasm", ".inc", ".mac", ".c", ".h")  # what a repair can edit
TIMEOUT_SECONDS = 10.0
TIMEOUT_MAX = 600.0
EXIT_MAX = 255
DISKS_MAX = 3  # beside the artifact: IDE takes four

_REPEATS_MAX = 1000  # of a bounded repetition in a pattern
_TABLES: Mapping[str, tuple[str, ...]] = {
    "kernel": ("name", "sources", "syntax", "build", "artifact"),
    "boot": ("qemu", "disks", "timeout"),
    "judge": ("ready", "forbid", "expect_exit"),
}
_NEEDED = (("kernel", "sources"), ("kernel", "syntax"), ("kernel", "build"), ("kernel", "artifact"))


@dataclass(frozen=True, slots=True)
class Foreign:
    """A foreign kernel tree, as its ``pxos.toml`` describes it.

    Attributes:
        tree: the folder that holds the file.
        name: for people.
        sources: globs, relative to the tree, of the files that a repair may edit.
        syntax: of the assembly among them.
        build: a shell command, run in the tree.
        artifact: what it makes, relative to the tree: an ISO image, an ELF file, or a flat disk image.
        qemu: checked arguments of the machine.
        disks: what else the build makes for the machine: raw images, relative to the tree, each a further hard disk.
        timeout: seconds of a boot.
        ready: a regular expression that says that the kernel is up, or None.
        forbid: regular expressions of which none may appear.
        expect_exit: QEMU's exit status by isa-debug-exit, or None.
    """

    tree: Path
    name: str
    sources: tuple[str, ...]
    syntax: Syntax
    build: str
    artifact: str
    qemu: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    timeout: float = TIMEOUT_SECONDS
    ready: str | None = None
    forbid: tuple[str, ...] = ()
    expect_exit: int | None = None

    def may_edit(self, name: str) -> bool:
        """Whether a file, by its path relative to the tree, is one of the declared sources."""
        return name.endswith(SUFFIXES) and any(_glob(pattern).fullmatch(name) for pattern in self.sources)


def is_foreign(tree: Path) -> bool:
    """Whether a folder says itself how it is built, booted and judged."""
    return (tree / NAME).is_file()


def load(tree: Path) -> Foreign:
    """The description of a tree.

    Raises:
        InputError: there is none, or it is wrong; with a line for every key in error.
    """
    path = tree / NAME
    text = tomlfile.text(path, stage=STAGE, missing=f"write one with pxos init {tree}")
    return parse(text, tree, str(path))


def parse(text: str, tree: Path, name: str = NAME) -> Foreign:
    """The description in a text; ``name`` stands before complaints.

    Raises:
        InputError: as for ``load``.
    """
    table = tomlfile.parse(text, name, stage=STAGE)
    reader = _Reader(text, name, table)
    made = Foreign(
        tree=tree,
        name=reader.get("kernel", "name", _text) or tree.resolve().name,
        sources=reader.get("kernel", "sources", _globs) or (),
        syntax=reader.get("kernel", "syntax", _syntax) or "nasm",
        build=reader.get("kernel", "build", _text) or "",
        artifact=reader.get("kernel", "artifact", _inside) or "",
        qemu=reader.get("boot", "qemu", _arguments) or (),
        disks=reader.get("boot", "disks", _disks) or (),
        timeout=reader.get("boot", "timeout", _seconds) or TIMEOUT_SECONDS,
        ready=reader.get("judge", "ready", _pattern),
        forbid=reader.get("judge", "forbid", _patterns) or (),
        expect_exit=reader.get("judge", "expect_exit", _status),
    )
    reader.finish()
    return made


class _Wrong(Exception):
    """What is wrong with a value, and what would be right."""


class _Reader:
    """Takes values out of the tables and gathers every complaint."""

    def __init__(self, text: str, name: str, table: Mapping[str, Any]) -> None:
        self.lines = text.split("\n")
        self.name = name
        self.table = table
        self.errors: list[tuple[int, str]] = []
        for key, value in table.items():
            if key not in _TABLES:
                self._complain(key, "", f"no such table; there are {', '.join(f'[{t}]' for t in _TABLES)}")
            elif not isinstance(value, dict):
                self._complain(key, "", f"write it as a table: [{key}]")
            else:
                for inner in value.keys() - set(_TABLES[key]):
                    self._complain(key, inner, f"no such key; there are {', '.join(_TABLES[key])}")

    def get(self, table: str, key: str, check: Callable[[Any], Any]) -> Any:
        """One value, checked; None where it is absent or wrong."""
        rows = self.table.get(table)
        value = rows.get(key) if isinstance(rows, dict) else None
        if value is None:
            if (table, key) in _NEEDED:
                self._complain(table, "", f"the key {key} is missing")
            return None
        try:
            return check(value)
        except _Wrong as wrong:
            self._complain(table, key, str(wrong))
            return None

    def finish(self) -> None:
        """Raise if anything was wrong."""
        judge = self.table.get("judge")
        if not isinstance(judge, dict) or not judge.keys() & {"ready", "expect_exit"}:
            self._complain("judge", "", "give ready or expect_exit: success must be told from silence")
        if self.errors:
            lines = [f"{self.name}:{line}: {what}" for line, what in sorted(self.errors)]
            raise InputError(lines[0], stage=STAGE, diagnostics=lines)

    def _complain(self, table: str, key: str, what: str) -> None:
        where = f"[{table}]" + (f" {key}" if key else "")
        self.errors.append((_line(self.lines, table, key), f"{where}: {what}"))


def _line(lines: list[str], table: str, key: str) -> int:
    """The line of a key, else of its table, else 1 (dotted and inline tables are found by the key's name)."""
    found, inside = 1, False
    for number, line in enumerate(lines, 1):
        head = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        if head:
            inside = head[1] == table
            found = number if inside else found
        elif key and re.match(rf"\s*(?:{re.escape(table)}\s*\.\s*)?[\"']?{re.escape(key)}[\"']?\s*=", line):
            if inside or table in line.partition("=")[0]:
                return number
        elif re.match(rf"\s*{re.escape(table)}\s*=", line):
            found = number
    return found


# --- values ------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _Wrong("expected a text on one line")
    return value


def _inside(value: Any) -> str:
    """A path of the tree."""
    text = _text(value)
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or text.startswith("~"):
        raise _Wrong(f"{text!r} leads out of the tree; name a file in it")
    return path.as_posix()


def _disks(value: Any) -> tuple[str, ...]:
    rows = [value] if isinstance(value, str) else value
    if not isinstance(rows, list) or not 0 < len(rows) <= DISKS_MAX:
        raise _Wrong(f'expected 1 to {DISKS_MAX} raw disk images that the build makes, e.g. ["fs.img"]')
    return tuple(_inside(row) for row in rows)


def _globs(value: Any) -> tuple[str, ...]:
    rows = [value] if isinstance(value, str) else value
    if not isinstance(rows, list) or not rows:
        raise _Wrong('expected globs of the files that a repair may edit, e.g. ["src/**/*.asm"]')
    return tuple(_inside(row) for row in rows)


def _syntax(value: Any) -> Syntax:
    if value not in SYNTAXES:
        raise _Wrong(f"{value!r}: choose one of {', '.join(SYNTAXES)}")
    return cast(Syntax, value)


def _arguments(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise _Wrong(f"{value!r}: {str(error).lower()}") from error
    elif isinstance(value, list) and all(isinstance(word, str) for word in value):
        words = value
    else:
        raise _Wrong('expected arguments of QEMU: a text, or a list of texts, e.g. ["-m", "64M"]')
    try:
        return machine.checked(words)
    except machine.Refused as refused:
        raise _Wrong(str(refused)) from refused


def _seconds(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not 0 < value <= TIMEOUT_MAX:
        raise _Wrong(f"{value!r}: give seconds above 0, at most {TIMEOUT_MAX:g}")
    return float(value)


def _status(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= EXIT_MAX:
        raise _Wrong(
            f"{value!r}: give QEMU's exit status, 0 to {EXIT_MAX} (a value v at isa-debug-exit: 2v + 1)"
        )
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    rows = [value] if isinstance(value, str) else value
    if not isinstance(rows, list):
        raise _Wrong("expected a regular expression, or a list of them")
    return tuple(_pattern(row) for row in rows)


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("expected a regular expression")
    try:
        compiled = re.compile(value, re.MULTILINE)
        deep = _nested(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Wrong(f"{value!r} is no regular expression: {error}") from error
    if deep:
        raise _Wrong(f"{value!r} repeats a repetition, which can take for ever; write it without")
    if compiled.search(""):
        raise _Wrong(f"{value!r} matches nothing at all, so silence would be success")
    return value


def _nested(pattern: str) -> bool:
    """Whether an open repetition stands inside another: the time of such a search grows without bound."""
    from re import _parser  # type: ignore[attr-defined]

    def deep(items: Any, inside: bool) -> bool:
        for name, value in items:
            word = str(name)
            if word in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
                wide = value[1] > _REPEATS_MAX
                if (wide and inside) or deep(value[2], inside or wide):
                    return True
            elif word == "SUBPATTERN":
                if deep(value[3], inside):
                    return True
            elif word == "BRANCH":
                if any(deep(branch, inside) for branch in value[1]):
                    return True
            elif word in ("ASSERT", "ASSERT_NOT") and deep(value[1], inside):
                return True
        return False

    return deep(_parser.parse(pattern), inside=False)


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` stay in a folder, ``**`` goes through any number of them."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + r"(?:[^/]+/)*", at + 3
        elif pattern.startswith("**", at):
            out, at = out + r".*", at + 2
        elif pattern[at] in "*?":
            out, at = out + ("[^/]*" if pattern[at] == "*" else "[^/]"), at + 1
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return re.compile(out)
