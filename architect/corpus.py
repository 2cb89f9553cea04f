"""The corpus of seeded kernel bugs: read, validate, plant into a copy of the kernel.

Owns the form of ``tests/bugs/*.toml``; what a bug breaks and what a right repair must satisfy is judged by
``architect.invariants`` and ``architect.bench_fix``. No engine reads this module or its data.

A file holds one bug:

    id = "nx-without-nxe"              the file's name
    tree = "kernel"                    which tree it is planted in: kernel (may be left out) or shaders
    class = "feature-not-enabled"
    report = "..."                     what a person would say of it
    shows = "fault"                    fault, hang, failed-test, wrong-value, rejected (by the assembler)
    expect = "fault"                   outcome of a direct boot with the command line `test`; of shaders:
                                       rejected, hang, wrong-value
    noticed_by = "boot"                the cheapest gate that sees it: assembles, checks, contract, boot, tests, claims;
                                       of shaders: compiles, loops, reference
    reference_edits = 1                how many edits mend it

    [[plant]]                          the edit that plants it; more than one is allowed
    file = "boot/entry32.s"
    find = "..."                       stands exactly once in the file
    replace = "..."

    [[invariant]]                      what holds in the sound kernel and must hold after a right repair
    kind = "contract"
    routine = "page_map"
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import tomlfile
from toolchain.errors import InputError

STAGE = "corpus"
SHOWS = ("fault", "hang", "failed-test", "wrong-value", "rejected")
TREES: Mapping[str, tuple[str, ...]] = {  # tree -> the gates that may notice a bug of it
    "kernel": ("assembles", "checks", "contract", "boot", "tests", "claims", "iso"),
    "shaders": ("compiles", "loops", "reference"),
}
SUFFIXES = (".s", ".inc", ".wgsl")
_TEXTS = ("id", "class", "report", "shows", "expect", "noticed_by")
_LEFT_OUT = shutil.ignore_patterns(".git", "bugs", "build", "__pycache__")


@dataclass(frozen=True, slots=True)
class Plant:
    """One edit that plants a bug: ``find`` stands exactly once in ``file`` (relative to the kernel tree)."""

    file: str
    find: str
    replace: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug of the corpus. ``invariants`` are tables with a ``kind`` and its arguments."""

    id: str
    cls: str
    report: str
    shows: str
    expect: str
    noticed_by: str
    reference_edits: int
    plants: tuple[Plant, ...]
    invariants: tuple[Mapping[str, Any], ...]
    file: Path
    tree: str = "kernel"


def load(folder: Path) -> list[Bug]:
    """Every bug of a folder and of those below it, in the order of their paths.

    Raises:
        InputError: a file is no TOML, lacks a key or has a wrong one; two bugs share an id.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of bugs", stage=STAGE)
    bugs = [read(path) for path in sorted(folder.rglob("*.toml"), key=lambda p: (len(p.parts), p))]
    known: dict[str, Path] = {}
    for bug in bugs:
        if known.setdefault(bug.id, bug.file) is not bug.file:
            raise InputError(f"{bug.file}: {known[bug.id]} has the id '{bug.id}' too", stage=STAGE)
    if not bugs:
        raise InputError(f"{folder}: no bug in it (*.toml)", stage=STAGE)
    return bugs


def read(path: Path) -> Bug:
    """One bug; ``InputError`` names the file and the key that is wrong."""
    data = tomlfile.load(path, stage=STAGE)
    for key in _TEXTS:
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise InputError(f"{path}: '{key}' is missing or no text", stage=STAGE)
    if data["id"] != path.stem:
        raise InputError(f"{path}: id '{data['id']}' is not the file's name", stage=STAGE)
    tree = data.get("tree", "kernel")
    if tree not in TREES:
        raise InputError(f"{path}: 'tree' is '{tree}', expected one of {', '.join(TREES)}", stage=STAGE)
    for key, allowed in (("shows", SHOWS), ("noticed_by", TREES[tree])):
        if data[key] not in allowed:
            raise InputError(
                f"{path}: '{key}' is '{data[key]}', expected one of {', '.join(allowed)}", stage=STAGE
            )
    edits = data.get("reference_edits")
    if not isinstance(edits, int) or edits < 1:
        raise InputError(f"{path}: 'reference_edits' must be a number from 1 up", stage=STAGE)
    plants = tuple(_plant(path, row) for row in _rows(path, data, "plant"))
    invariants = tuple(_rows(path, data, "invariant"))
    if not plants or not invariants:
        raise InputError(f"{path}: needs at least one [[plant]] and one [[invariant]]", stage=STAGE)
    if any(not isinstance(row.get("kind"), str) for row in invariants):
        raise InputError(f"{path}: every [[invariant]] needs a 'kind'", stage=STAGE)
    return Bug(
        data["id"], data["class"], data["report"], data["shows"], data["expect"], data["noticed_by"],
        edits, plants, invariants, path, tree,
    )  # fmt: skip


def _rows(path: Path, data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = data.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: expected [[{key}]] tables", stage=STAGE)
    return rows


def _plant(path: Path, row: Mapping[str, Any]) -> Plant:
    values = [row.get(key) for key in ("file", "find", "replace")]
    if not all(isinstance(value, str) for value in values) or not values[1]:
        raise InputError(f"{path}: every [[plant]] needs the texts 'file', 'find' and 'replace'", stage=STAGE)
    return Plant(*(str(value) for value in values))


def changed(bug: Bug, sources: Mapping[str, str]) -> dict[str, str]:
    """The changed files only: file -> text with the bug in it.

    Raises:
        InputError: a plant does not apply to these sources any more.
    """
    texts: dict[str, str] = {}
    for plant in bug.plants:
        if plant.file not in sources:
            raise InputError(f"{bug.file}: the {bug.tree} has no file '{plant.file}'", stage=STAGE)
        text = texts.get(plant.file, sources[plant.file])
        count = text.count(plant.find)
        if count != 1:
            first = plant.find.strip().splitlines()[0]
            raise InputError(
                f"{bug.file}: '{first}' stands {count} times in {plant.file}, expected once", stage=STAGE
            )
        texts[plant.file] = text.replace(plant.find, plant.replace)
    return texts


def diff(bug: Bug, sources: Mapping[str, str]) -> str:
    """What planting a bug changes, as a unified diff."""
    return "".join(
        line
        for name, text in sorted(changed(bug, sources).items())
        for line in difflib.unified_diff(
            sources[name].splitlines(keepends=True), text.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )


def sources(tree: Path) -> dict[str, str]:
    """File -> text of every assembly source, include and shader of a tree."""
    paths = sorted(p for p in tree.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    return {str(p.relative_to(tree)): p.read_text(encoding="utf-8") for p in paths}


def plant(bug: Bug, tree: Path, target: Path) -> Path:
    """A copy of ``tree`` with the bug in it, without history, corpus or build products; returns ``target``."""
    files = {one.file for one in bug.plants}
    texts = changed(
        bug, {name: (tree / name).read_text("utf-8") for name in files if (tree / name).is_file()}
    )
    shutil.copytree(tree, target, ignore=_LEFT_OUT, symlinks=True)
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return target
