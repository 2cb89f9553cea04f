"""Builds of many variants of one kernel tree in one process: the repair loop's way from sources to an image.

Owns: what is kept of a tree between two builds (texts, object files, the fields of the last link), and which units
must be redone. Never writes a file.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.errors import InputError
from toolchain.kerneltree import GENERATED, STAGE, fits, kernel_tree, reader, source_names

if TYPE_CHECKING:
    from toolchain.encode import Encoder
    from toolchain.layout import Layout
    from toolchain.link import Origin
    from toolchain.objectfile import ObjectFile
    from toolchain.pool import Pool
    from toolchain.preprocess import Preprocessor, Unit
    from toolchain.types import Image

VARIANTS_KEPT = 4  # object files kept of one unit: the tree's own and what candidates made of it lately


class Session:
    """Builds variants of one kernel tree in this process; only units whose sources changed are redone.

    Use as a context manager, or call ``close``: a worker process belongs to it.

    Args:
        tree: the kernel tree (``image.toml``, ``boot.toml``, sources).
        cache_dir: where encodings are kept between processes, or None.
        still: nobody changes the tree on disk while the session lives, so it is read once.

    Attributes:
        redone: names of the units that the last ``build`` assembled anew.

    Raises:
        InputError: ``tree`` is no kernel tree.
    """

    def __init__(self, tree: Path, cache_dir: Path | None = None, *, still: bool = False) -> None:
        kernel_tree(tree)
        self._still = still
        self._names: list[str] = []
        self._texts: tuple[str | None, dict[str, str]] | None = None
        # The worker loads its libraries while this process loads the rest.
        from toolchain.encode import Encoder
        from toolchain.link import Kept
        from toolchain.pool import Pool

        self._encoder: Encoder = Encoder(cache_dir)
        self._pool = Pool(self._encoder)
        self._link = Kept()
        self.tree = tree.resolve()
        self.redone: tuple[str, ...] = ()
        self._layout: tuple[tuple[int, int], Layout] | None = None
        self._preprocessor: Preprocessor | None = None
        self._kept: dict[str, list[tuple[Unit, ObjectFile]]] = {}
        self._current: dict[str, Unit] = {}
        self._linked: tuple[list[ObjectFile], Layout] | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Let the encoder's worker load its libraries, for instructions whose like was never encoded."""
        self._encoder.prepare()

    def close(self) -> None:
        """End the worker process."""
        self._encoder.close()

    def build(
        self,
        overrides: Mapping[str, str] | None = None,
        *,
        lines: bool = True,
        only: Collection[str] | None = None,
    ) -> Image:
        """Assemble and link the tree as it is on disk now, with some files replaced.

        Args:
            overrides: name relative to the tree -> text that stands in for (or adds) that file.
            lines: whether the image gets a line table.
            only: the units that the overrides can change (``Variants.seen``), of a tree that was built before and is
                ``still``; any when None. The lines of the others are those of the tree as it is.

        Returns:
            The image; equal sources give equal images, in whatever order they were built.

        Raises:
            InputError: every error of every unit, or of the link.
        """
        with no_collection():
            return self._build(dict(overrides or {}), lines, only)

    def sources(self) -> dict[str, str]:
        """Text of every file that the last ``build`` read, by its name in the line table."""
        return {s.name: s.text for unit in self._current.values() for s in unit.sources}

    def _build(self, overrides: dict[str, str], lines: bool, only: Collection[str] | None) -> Image:
        from toolchain import link

        if "image.toml" in overrides:
            raise InputError(
                "image.toml: the layout cannot be replaced in memory; edit the file", stage=STAGE
            )
        layout = self._load_layout()
        preprocessor = self._prepared(layout, overrides)
        names = self._unit_names(layout, overrides)
        self._current = {}
        found: dict[str, ObjectFile] = {}
        if only is not None:
            own = {name: self._kept[name][0] for name in names if name not in only}
            self._current = {name: kept[0] for name, kept in own.items()}
            found = {name: kept[1] for name, kept in own.items()}
        found |= self._assembled([name for name in names if name not in found], preprocessor)
        units = [found[name] for name in names]
        image = link.link(units, layout, self._link, lines=lines)
        self._linked = (units, layout)
        return image

    def some(self, names: Sequence[str], overrides: Mapping[str, str]) -> dict[str, ObjectFile]:
        """Some units of a variant, assembled; what is said of the last ``build`` stays.

        Raises:
            InputError: every error of these units.
        """
        with no_collection():
            return self._assembled(names, self._prepared(self._load_layout(), overrides))

    @property
    def pool(self) -> Pool:
        """Numbers and encodes the instructions of every unit."""
        return self._pool

    def units(self) -> dict[str, Unit]:
        """The preprocessed units of the last ``build``, by name."""
        return {name: self._current[name] for name in sorted(self._current)}

    def layout(self) -> Layout:
        """The layout of the last image."""
        return self._load_layout()

    def _prepared(self, layout: Layout, overrides: Mapping[str, str]) -> Preprocessor:
        texts = self._generated(overrides.get("boot.toml"))
        preprocessor = self._refreshed(layout)
        preprocessor.overrides = {**overrides, **{f"{GENERATED}/{n}": text for n, text in texts.items()}}
        return preprocessor

    def origins(self) -> list[Origin]:
        """Which source lines each piece of the last image came from; empty before a ``build``."""
        from toolchain import link

        return link.origins(*self._linked) if self._linked else []

    def objects(self) -> list[ObjectFile]:
        """The units of the last image, assembled; empty before a ``build``. What is kept of a unit is one object."""
        return list(self._linked[0]) if self._linked else []

    def _generated(self, boot_toml: str | None) -> dict[str, str]:
        from toolchain import generate

        if not self._still or self._texts is None or self._texts[0] != boot_toml:
            self._texts = (boot_toml, generate.texts(self.tree, boot_toml))
        return self._texts[1]

    def _unit_names(self, layout: Layout, overrides: Mapping[str, str]) -> list[str]:
        """All of the tree and of ``overrides``; what the tree has is looked up once when it is still."""
        if not self._still:
            return source_names(self.tree, layout.sources, overrides)
        if not self._names:
            self._names = source_names(self.tree, layout.sources, {})
        added = {name for name in overrides if fits(name, layout.sources)}.difference(self._names)
        return sorted((*self._names, *added)) if added else self._names

    def _load_layout(self) -> Layout:
        from toolchain import layout
        from toolchain.link import Kept

        path = self.tree / "image.toml"
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if self._layout is None or self._layout[0] != stamp:
            self._layout = (stamp, layout.load(path))
            self._preprocessor = None
            self._link = Kept()
        return self._layout[1]

    def _refreshed(self, layout: Layout) -> Preprocessor:
        if self._preprocessor is None:
            self._preprocessor = reader(self.tree, layout, {})
            self._kept.clear()
        elif not self._still:
            self._preprocessor.refresh()
        return self._preprocessor

    def _assembled(self, names: Sequence[str], pre: Preprocessor) -> dict[str, ObjectFile]:
        from toolchain.assemble import assemble_units

        found: dict[str, ObjectFile] = {}
        fresh: list[Unit] = []
        for name in names:
            variants = self._kept.setdefault(name, [])
            for variant in variants:
                if pre.is_current(variant[0]):
                    self._current[name], found[name] = variant
                    break
            else:
                unit = pre.run(Path(name))
                self._current[name] = unit
                fresh.append(unit)
        self.redone = tuple(unit.file for unit in fresh)
        for unit, made in zip(fresh, assemble_units(fresh, self._pool), strict=True):
            variants = self._kept[unit.file]
            if len(variants) >= VARIANTS_KEPT:
                del variants[1]  # the first is the tree's own, which every candidate comes back to
            variants.append((unit, made))
            found[unit.file] = made
        return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: a build makes many objects and hardly any cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
