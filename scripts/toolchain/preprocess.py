"""From a source file to the statements of one translation unit.

Owns: finding and reading files (``.include`` search path, in-memory overrides) and circular includes. What
directives mean is ``expand``'s business, what bytes they make ``assemble``'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from toolchain.errors import InputError
from toolchain.expand import Expander, StopUnit
from toolchain.replay import Memory
from toolchain.source import STAGE, SourceFile, Statement, decode, nearest, refuse, sort_diagnostics
from toolchain.types import Diagnostic

INCLUDE_DEPTH_MAX = 64
TEXTS_KEPT = 256  # texts of overrides: a search tries thousands, and comes back to few


class Unit(NamedTuple):
    """One preprocessed translation unit.

    Attributes:
        file: its name, relative to the tree.
        statements: labels, directives that mean bytes, instructions, runs of constants.
        errors: everything that was wrong (its statements are then incomplete).
        warnings: what ``.warning`` said.
        sources: the unit's file and every file it included, for telling whether it must be redone.
        binaries: files that ``.incbin`` took, with their time and size.
        reader: finds the files of ``.incbin``.
    """

    file: str
    statements: list[Statement]
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    sources: tuple[SourceFile, ...]
    binaries: dict[Path, tuple[int, int] | None]
    reader: Preprocessor


class Preprocessor:
    """Preprocesses the units of one tree; keeps file contents and the effects of include files in memory.

    A file is read once. ``refresh`` drops what has changed on disk since; ``overrides`` stands in for files.

    Args:
        tree: the kernel tree; names of files are relative to it.
        include_dirs: where ``.include`` and ``.incbin`` look, in order.
        defines: constants known to every unit.
    """

    def __init__(
        self, tree: Path, include_dirs: Sequence[Path] = (), defines: Mapping[str, int] | None = None
    ) -> None:
        self.tree = tree
        self.include_dirs = tuple(include_dirs)
        self.defines = dict(defines or {})
        self._overrides: Mapping[str, str] = {}
        self._names: dict[Path, str] = {}
        self._resolved: dict[str, SourceFile] = {}
        self._files: dict[Path, tuple[tuple[int, int], SourceFile]] = {}
        self._texts: dict[tuple[str, str], SourceFile] = {}
        self._found: dict[str, Path | None] = {}
        self._memory = Memory()
        self._open: list[SourceFile] = []

    # --- files ---------------------------------------------------------------------------------------------

    @property
    def overrides(self) -> Mapping[str, str]:
        """Texts that stand in for files, by name relative to the tree."""
        return self._overrides

    @overrides.setter
    def overrides(self, texts: Mapping[str, str]) -> None:
        self._overrides = texts
        self._forget_searches()

    def _forget_searches(self) -> None:
        self._found.clear()
        self._resolved.clear()

    def refresh(self) -> None:
        """Forget the files whose time or size on disk has changed, and every search that may end elsewhere now."""
        for path, (stamp, _) in list(self._files.items()):
            if stamp_of(path) != stamp:
                del self._files[path]
        self._forget_searches()

    def is_current(self, unit: Unit) -> bool:
        """Whether ``unit`` would come out the same now: none of its files has another content."""
        return all(map(self._is_same, unit.sources)) and all(
            stamp_of(path) == stamp for path, stamp in unit.binaries.items()
        )

    def source(self, path: Path) -> SourceFile:
        """The file at ``path``, or what overrides it.

        Raises:
            InputError: it does not exist, cannot be read, or is no text.
        """
        name = self.name_of(path)
        text = self._overrides.get(name)
        if text is not None:
            known = self._texts.pop((name, text), None) or SourceFile(name, text, path)
            self._texts[name, text] = known  # the one used last is dropped last
            if len(self._texts) > TEXTS_KEPT:
                self._memory.forget(self._texts.pop(next(iter(self._texts))))
            return known
        kept = self._files.get(path)
        if kept is None:
            try:
                stamp = stamp_of(path)
                with open(path, "rb") as stream:  # noqa: PTH123 - a third of the time of Path.open
                    data = stream.read()
            except OSError as error:
                raise refuse(name, 1, f"cannot read: {error.strerror}", "a readable file") from error
            kept = self._files[path] = (stamp or (0, 0), SourceFile(name, decode(name, data), path))
        return kept[1]

    def name_of(self, path: Path) -> str:
        """How diagnostics name ``path``: relative to the tree, else by its folder and name."""
        name = self._names.get(path)
        if name is None:
            try:
                name = path.relative_to(self.tree).as_posix()
            except ValueError:
                name = f"{path.parent.name}/{path.name}"
            self._names[path] = name
        return name

    def find(self, name: str) -> Path | None:
        """The file that ``.include "name"`` means, or None."""
        if name not in self._found:
            folders = (*self.include_dirs, self.tree)
            paths = (folder / name for folder in folders)
            is_file = os.path.isfile  # Path.is_file raises where a name is too long for the system
            self._found[name] = next(
                (p for p in paths if self.name_of(p) in self._overrides or is_file(p)), None
            )
        return self._found[name]

    def binary(self, name: str, unit: Unit) -> bytes:
        """The bytes of a file that ``unit`` takes with ``.incbin``.

        Raises:
            InputError: there is no such file, or it cannot be read.
        """
        path = self.find(name)
        if path is None:
            raise InputError(f"cannot find `{name}'", stage=STAGE)
        try:
            unit.binaries[path] = stamp_of(path)
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read `{name}': {error.strerror}", stage=STAGE) from error

    def asked(self, unit: Unit) -> list[tuple[str, Path]]:
        """The names by which the files of ``unit`` but its own have been asked for, and what each means."""
        wanted = {source.path for source in unit.sources[1:]} | unit.binaries.keys()
        return [(name, path) for name, path in self._found.items() if path is not None and path in wanted]

    # --- units ---------------------------------------------------------------------------------------------

    def run(self, file: Path | SourceFile) -> Unit:
        """Preprocess one unit. Errors are collected in the result, not raised.

        Args:
            file: a path (absolute, or relative to the tree), or text with a name.
        """
        name = file.name if isinstance(file, SourceFile) else self.name_of(self.tree / file)
        expander = Expander(self._include, self.defines)
        self._open = []
        try:
            source = file if isinstance(file, SourceFile) else self.source(self.tree / file)
            if not source.text.strip():
                raise refuse(name, 1, "the file is empty", "assembly source")
            expander.sources[source] = None
            self._open.append(source)
            expander.run(source.statements)
        except StopUnit:
            pass
        except InputError as error:
            expander.errors += [d for d in error.diagnostics if isinstance(d, Diagnostic)]
        return Unit(
            name,
            expander.out,
            tuple(expander.errors),
            tuple(expander.warnings),
            tuple(expander.sources),
            {},
            self,
        )

    def _include(self, expander: Expander, statement: Statement, name: str) -> None:
        source = self._resolved.get(name)
        if source is None:
            path = self.find(name)
            if path is None:
                expander.fail(statement, f"cannot find `{name}'", self._suggestion(name))
                return
            try:
                source = self._resolved[name] = self.source(path)
            except InputError as error:
                expander.errors += [d for d in error.diagnostics if isinstance(d, Diagnostic)]
                return
        if source in self._open or len(self._open) > INCLUDE_DEPTH_MAX:
            chain = " -> ".join([*(opened.name for opened in self._open), source.name])
            expander.fail(statement, f"circular include: {chain}", "files that do not include each other")
            return
        expander.sources[source] = None
        expander.included.append(source)
        if not self._memory.replay(expander, source, self._is_same):
            self._open.append(source)
            self._memory.record(expander, source)
            self._open.pop()

    def _is_same(self, source: SourceFile) -> bool:
        """Whether a file has the content that it had."""
        try:
            return source.path is None or self.source(source.path) is source
        except InputError:
            return False

    def _suggestion(self, name: str) -> str:
        folders = dict.fromkeys((*self.include_dirs, self.tree))
        names = {p.name for f in folders if f.is_dir() for p in f.iterdir() if p.is_file()}
        where = ", ".join(self.name_of(folder) if folder != self.tree else "the tree" for folder in folders)
        return nearest(Path(name).name, names, f"a file in {where}")


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Time and size of a file, which tell that it has changed; None when there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def preprocess(
    file: Path | str, tree: Path, include_dirs: Sequence[Path] = (), defines: Mapping[str, int] | None = None
) -> list[Statement]:
    """The statements of one unit.

    Args:
        file: its path, or its text (named ``<text>``).
        tree: the kernel tree.
        include_dirs: where ``.include`` looks, in order, before the tree.
        defines: constants known from the start.

    Raises:
        InputError: with all diagnostics of the unit.
    """
    preprocessor = Preprocessor(tree, include_dirs, defines)
    unit = preprocessor.run(SourceFile("<text>", file) if isinstance(file, str) else file)
    if unit.errors:
        found = sort_diagnostics(unit.errors)
        raise InputError(f"{unit.file}: {len(found)} errors", stage=STAGE, diagnostics=found)
    return unit.statements
