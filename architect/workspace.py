"""The sources of one kernel tree in a copy: what may be edited, how an edit applies, a fresh tree on disk.

Owns: reading a tree once, the fence around what a repair may touch, exact application of edits. Never writes into
the original tree but by ``commit``, which a person asks for with ``--apply``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from architect.protocols import Edit, Patch
from toolchain.errors import InputError
from toolchain.files import make_folder, unwritable, write_atomic

STAGE = "workspace"
TREE_BYTES_MAX = 64 << 20
EDITS_MAX = 64
LINE_MAX = 1000
EDITABLE_SUFFIXES = (".s", ".inc")
# Folders whose sources judge a repair or are made by the build: no repair touches them.
PROTECTED_FOLDERS = ("test", "tests", "gen", "build")

_INCLUDE = re.compile(r'^[ \t]*\.include\s+"([^"]+)"', re.MULTILINE)
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\r(?!\n)"
)
_FOREIGN = re.compile(r'^\s*(?:[\w.$]+:\s*)*(\.incbin\b|\.include\s+"(?:/|[^"]*\.\.))', re.IGNORECASE)


class TreeCopy:
    """A kernel tree as it was when the repair began, held in memory.

    Args:
        tree: the original tree.
        suffixes: of the files that a repair may edit.
        mark: a file that every such tree holds, or None.

    Attributes:
        tree: the original tree.
        files: every file of it, path relative to the tree -> bytes.
    """

    def __init__(
        self, tree: Path, suffixes: tuple[str, ...] = EDITABLE_SUFFIXES, mark: str | None = "image.toml"
    ) -> None:
        self.tree = tree
        self.suffixes = suffixes
        self.files = _read_tree(tree, mark)
        texts = {
            name: text
            for name, data in self.files.items()
            if (text := _as_text(name, data, suffixes)) is not None
        }
        guarded = _judges_includes(texts)
        self._sources = {n: t for n, t in texts.items() if not _is_protected(n) and n not in guarded}

    def sources(self) -> Mapping[str, str]:
        """File -> text of every source that may be edited."""
        return self._sources

    def digest(self) -> str:
        """SHA-256 over every file of the tree: equal trees, equal digests."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(name.encode("utf-8", "surrogateescape") + b"\0")
            total.update(hashlib.sha256(self.files[name]).digest())
        return total.hexdigest()

    def apply(self, patch: Patch) -> Mapping[str, str]:
        """The changed files only, file -> new text.

        Raises:
            InputError: an edit lies outside the fence, overlaps another, or its old lines do not stand there.
        """
        if not patch.edits:
            raise _refuse("the patch holds no edit")
        if len(patch.edits) > EDITS_MAX:
            raise _refuse(f"{len(patch.edits)} edits in one patch; at most {EDITS_MAX}")
        by_file: dict[str, list[Edit]] = {}
        for edit in patch.edits:
            by_file.setdefault(edit.file, []).append(edit)
        return {name: self._edited(name, edits) for name, edits in by_file.items()}

    def _edited(self, name: str, edits: list[Edit]) -> str:
        if name not in self._sources:
            raise _refuse(
                f"{name}: a repair may edit {' and '.join('*' + s for s in self.suffixes)} of the tree,"
                " never its judge (tests, layout)"
            )
        lines = self._sources[name].split("\n")
        last: Edit | None = None
        changed: list[str] = []
        position = 0
        for edit in sorted(edits, key=lambda e: e.line):  # stable: insertions at one line keep their order
            where = f"{name}:{edit.line}"
            _check_lines(edit, where)
            start, end = edit.line - 1, edit.line - 1 + len(edit.old)
            if last is not None and start < position:
                raise _refuse(f"{where}: overlaps the edit at line {last.line}")
            if start < 0 or end > len(lines) or tuple(lines[start:end]) != edit.old:
                found = lines[start] if 0 <= start < len(lines) else "the end of the file"
                wanted = edit.old[0] if edit.old else "a line to insert before"
                raise _refuse(f"{where}: the edit does not apply: expected {wanted!r}, found {found!r}")
            changed += lines[position:start]
            changed += ended(edit.new, lines)
            position, last = end, edit
        return "\n".join(changed + lines[position:])

    def materialise(self, target: Path, patch: Patch | None = None) -> Path:
        """Write a copy of the whole tree, with ``patch`` applied, to ``target``; what is right there is left alone.

        No file is made beside another first: whoever is killed here leaves a file cut short, which the next copy mends,
        and no litter.

        Raises:
            InputError: the patch does not apply, or ``target`` cannot be written.
        """
        changed = self.apply(patch) if patch else {}
        for name, data in self.files.items():
            path = target / name
            make_folder(path.parent, stage=STAGE)
            text = changed.get(name)
            _put(path, data if text is None else text.encode())
        return target

    def commit(self, patch: Patch) -> list[Path]:
        """Apply ``patch`` to the original tree; each file is replaced as a whole.

        Raises:
            InputError: a file changed since the repair began; then nothing at all is written.
        """
        changed = self.apply(patch)
        for name in changed:
            path = self.tree / name
            if not path.is_file() or path.read_bytes() != self.files[name]:
                raise _refuse(f"{path}: changed while the repair ran; apply patch.diff by hand")
        for name, text in changed.items():
            write_atomic(self.tree / name, text, stage=STAGE)
        return [self.tree / name for name in changed]


def ended(new: Sequence[str], lines: Sequence[str]) -> list[str]:
    """New lines as a file has its own: with a carriage return at the end where all of them have one."""
    ending = "\r" if len(lines) > 1 and all(line.endswith("\r") for line in lines[:-1]) else ""
    return [line.removesuffix(ending) + ending for line in new]


def _put(path: Path, content: bytes) -> None:
    """Let a file of a copy hold ``content``."""
    try:
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error, stage=STAGE) from error


def check_text(name: str, old: str, new: str) -> None:
    """Hold the lines that a new text of a whole file brings in to what is asked of an edit's.

    Raises:
        InputError: a line is none, or brings in files.
    """
    known = set(old.split("\n"))
    for number, line in enumerate(new.split("\n"), 1):
        if line not in known:
            _check_lines(Edit(name, number, (old,), (line,)), f"{name}:{number}")


def _refuse(message: str) -> InputError:
    return InputError(message, stage=STAGE)


def hidden(new: str, old: str) -> str:
    """What of ``new`` nobody sees who reads it, and ``old`` did not hold; empty where there is nothing.

    Such characters drive a terminal, or show code in another order than it has (Unicode TR 36, 2.9).
    """
    found = set(_HIDDEN.findall(new)) - set(_HIDDEN.findall(old))
    return f"the control character U+{ord(min(found)):04X}, which nobody sees" if found else ""


def _check_lines(edit: Edit, where: str) -> None:
    for line in edit.new:
        if "\n" in line or "\0" in line or len(line) > LINE_MAX:
            raise _refuse(f"{where}: a new line holds a line feed or NUL, or is longer than {LINE_MAX}")
        unseen = hidden(line.removesuffix("\r"), "".join(edit.old))
        if unseen:
            raise _refuse(f"{where}: a new line holds {unseen}")
        if _FOREIGN.match(line):
            raise _refuse(f"{where}: a repair may not bring in files: {line.strip()!r}")


def _is_protected(name: str) -> bool:
    return any(part in PROTECTED_FOLDERS for part in PurePosixPath(name).parent.parts)


def _judges_includes(texts: Mapping[str, str]) -> set[str]:
    """Include files that only tests include: their macros are part of the judge."""
    wanted: dict[str, list[bool]] = {}
    for name, text in texts.items():
        for included in _INCLUDE.findall(text):
            wanted.setdefault(PurePosixPath(included).name, []).append(_is_protected(name))
    return {n for n in texts if (uses := wanted.get(PurePosixPath(n).name)) and all(uses)}


def _as_text(name: str, data: bytes, suffixes: tuple[str, ...]) -> str | None:
    if not name.endswith(suffixes):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None  # not a text that can be edited line by line; the assembler names it


def _read_tree(tree: Path, mark: str | None) -> dict[str, bytes]:
    """Every regular file below ``tree``, hidden ones and build folders left out; links must stay inside."""
    if not tree.is_dir():
        raise _refuse(f"{tree}: no such folder; name a kernel tree with --kernel DIR")
    if mark is not None and not (tree / mark).is_file():
        raise _refuse(f"{tree}: not a kernel tree (no {mark}); name one with --kernel DIR")
    found: dict[str, bytes] = {}
    total, root = 0, tree.resolve()
    for path in walk(tree):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise _refuse(f"{path}: a link that leads out of the tree; put the file itself there")
        if not path.is_file():
            continue
        data = path.read_bytes()
        total += len(data)
        if total > TREE_BYTES_MAX:
            raise _refuse(f"{tree}: more than {TREE_BYTES_MAX >> 20} MB; is this a kernel tree?")
        found[path.relative_to(tree).as_posix()] = data
    return found


def walk(tree: Path) -> Iterable[Path]:
    """Every file below ``tree`` that belongs to it, sorted; hidden ones and build folders left out."""
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in ("build", "__pycache__"))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
