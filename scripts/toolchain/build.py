"""From a kernel tree to an image, in memory or on disk: the stages wired together.

Owns: which units a tree has, which of them must be redone, and writing the products as wholes. ``Session`` is for a
process that builds many variants of one tree (the repair loop); ``build`` is ``pxos build``. Never looks into a
source itself.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.command import Ui
    from toolchain.encode import Encoder
    from toolchain.layout import Layout
    from toolchain.link import Origin
    from toolchain.objectfile import ObjectFile
    from toolchain.parallel import Second
    from toolchain.preprocess import Preprocessor, Unit
    from toolchain.types import BuildResult, Image

STAGE = "build"
NAME = "pxos"  # of the products: pxos.elf, pxos.iso, pxos.map, pxos.lst
VARIANTS_KEPT = 4  # object files kept of one unit: the tree's own and what candidates made of it lately
SOURCE_SUFFIXES = (".s", ".inc")
GENERATED = Path("gen")  # where the generated includes seem to lie; they are never read from disk


def once(tree: Path) -> tuple[Image, dict[str, str]]:
    """Build ``tree`` once, on two cores where there are two.

    Returns:
        The image, and the text of every source by its name in the line table.

    Raises:
        InputError: ``tree`` is no kernel tree; every error of every unit, or of the link.
    """
    from toolchain import forked

    kernel_tree(tree)
    if forked.available():
        with _no_collection():
            found = _on_two_cores(tree.resolve())
        if found is not None:
            return found
    with Session(tree) as session:
        return session.build(), session.sources()


def kernel_tree(path: Path | None) -> Path:
    """``path``, when it is a folder with an ``image.toml``; None for ``./kernel``, else for this checkout's kernel.

    Raises:
        InputError: it is none; the message says how to name one.
    """
    if path is None:
        here = Path("kernel")
        path = here if here.is_dir() else Path(__file__).resolve().parents[2] / "kernel"
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; name a kernel tree (--kernel DIR)", stage=STAGE)
    if not (path / "image.toml").is_file():
        message = f"{path}: no kernel tree: it has no image.toml; name one (--kernel DIR)"
        raise InputError(message, stage=STAGE)
    return path


def sources(tree: Path) -> dict[str, str]:
    """The units and include files of ``tree``: name relative to it -> text (bytes that are no UTF-8 replaced)."""
    found = (p for p in sorted(tree.rglob("*")) if p.suffix in SOURCE_SUFFIXES and p.is_file())
    return {path.relative_to(tree).as_posix(): path.read_text(errors="replace") for path in found}


def _on_two_cores(tree: Path) -> tuple[Image, dict[str, str]] | None:
    """``once`` with half of the units in another process; None when there are errors to be told, or little to do."""
    # The worker loads its libraries while this process loads the rest.
    from toolchain.encode_guard import Guard

    guard, twin = Guard(), Guard()
    guard.start_with(twin)
    second: Second | None = None
    try:
        from toolchain import generate, layout
        from toolchain.assemble import assemble_units
        from toolchain.encode import Encoder
        from toolchain.parallel import Second, share
        from toolchain.pool import Pool

        loaded = layout.load(tree / "image.toml")
        preprocessor = _preprocessor(tree, loaded, generate.texts(tree))
        names = source_names(tree, loaded.sources, {})
        own, others = share(tree, names)
        if not others:
            return None
        second = Second(others, preprocessor, twin, guard.leave)
        units = [preprocessor.run(Path(name)) for name in own]
        made = {item.file: item for item in assemble_units(units, Pool(Encoder(guard=guard)))}
        guard.dismiss()
        from toolchain import link

        found = second.result()
        if found is None:
            return None
        made |= {item.file: item for item in found[0]}
        texts = {source.name: source.text for unit in units for source in unit.sources}
        return link.link([made[name] for name in names], loaded), texts | found[1]
    except InputError:
        return None
    finally:
        if second is not None:
            second.cancel()
        twin.close()
        guard.close()


def _preprocessor(tree: Path, layout: Layout, generated: Mapping[str, str]) -> Preprocessor:
    from toolchain.preprocess import Preprocessor

    made = Preprocessor(tree, [GENERATED, *(tree / folder for folder in layout.include)])
    made.overrides = {f"{GENERATED}/{name}": text for name, text in generated.items()}
    return made


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

    def close(self) -> None:
        """End the worker process."""
        self._encoder.close()

    def build(self, overrides: Mapping[str, str] | None = None, *, lines: bool = True) -> Image:
        """Assemble and link the tree as it is on disk now, with some files replaced.

        Args:
            overrides: name relative to the tree -> text that stands in for (or adds) that file.
            lines: whether the image gets a line table.

        Returns:
            The image; equal sources give equal images, in whatever order they were built.

        Raises:
            InputError: every error of every unit, or of the link.
        """
        with _no_collection():
            return self._build(dict(overrides or {}), lines)

    def sources(self) -> dict[str, str]:
        """Text of every file that the last ``build`` read, by its name in the line table."""
        return {s.name: s.text for unit in self._current.values() for s in unit.sources}

    def _build(self, overrides: dict[str, str], lines: bool) -> Image:
        from toolchain import link

        if "image.toml" in overrides:
            raise InputError(
                "image.toml: the layout cannot be replaced in memory; edit the file", stage=STAGE
            )
        layout = self._load_layout()
        preprocessor = self._prepared(layout, overrides)
        names = self._unit_names(layout, overrides)
        self._current = {}
        found = self._assembled(names, preprocessor)
        units = [found[name] for name in names]
        image = link.link(units, layout, self._link, lines=lines)
        self._linked = (units, layout)
        return image

    def some(self, names: Sequence[str], overrides: Mapping[str, str]) -> dict[str, ObjectFile]:
        """Some units of a variant, assembled; what is said of the last ``build`` stays.

        Raises:
            InputError: every error of these units.
        """
        with _no_collection():
            return self._assembled(names, self._prepared(self._load_layout(), overrides))

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
        added = {name for name in overrides if _fits(name, layout.sources)}.difference(self._names)
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
            self._preprocessor = _preprocessor(self.tree, layout, {})
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


def source_names(tree: Path, patterns: Sequence[str], overrides: Mapping[str, str]) -> list[str]:
    """Names of the units of ``tree``, sorted: files on disk and in ``overrides`` that fit one of ``patterns``.

    Raises:
        InputError: there is none.
    """
    names = {path.relative_to(tree).as_posix() for p in patterns for path in tree.glob(p) if path.is_file()}
    names |= {name for name in overrides if _fits(name, patterns)}
    if not names:
        what = ", ".join(patterns)
        raise InputError(f"{tree}: no source fits {what} (image.toml: image.sources)", stage=STAGE)
    return sorted(names)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(name, p) or fnmatch(name, p.removeprefix("**/")) for p in patterns)


def build(
    tree: Path,
    out: Path,
    iso: bool = True,
    ui: Ui | None = None,
    cmdline: str = "",
    modules: Sequence[Path] = (),
) -> BuildResult:
    """Build ``tree`` and write ELF, map, listing and, if asked for, the ISO under ``out``.

    Args:
        tree: the kernel tree.
        out: the build folder; made if it does not exist. ``out/gen`` gets the generated includes.
        iso: make the ISO too.
        ui: told of each step.
        cmdline: the kernel's command line in the ISO.
        modules: files that become boot modules, or names of user programs (``toolchain.programs``): an archive
            under ``out``, which the ISO holds too.

    Returns:
        Where the products are. Each was written as a whole; when anything fails before, none was touched.

    Raises:
        InputError: errors in the sources, or ``out`` cannot be written.
        ToolError: a program that the ISO needs is missing or failed.
    """
    from toolchain import modules as modules_module
    from toolchain import programs

    began = time.monotonic()
    if iso:
        from toolchain.iso import check_tools

        check_tools()
    packed = modules_module.archive(programs.resolve(modules, out)) if modules else b""
    image, read = once(tree)
    if ui is not None:
        for warning in image.warnings:
            ui.note(warning)
    from toolchain import elf, generate, listing
    from toolchain.files import make_folder, write_atomic
    from toolchain.forked import Forked, available
    from toolchain.types import BuildResult

    with _no_collection():
        child = Forked(lambda: listing.listing_text(image, read)) if available() else None
        try:
            data = elf.write(image)
            map_ = listing.map_text(image)
            lines: Any = child.result() if child is not None else None
        finally:
            if child is not None:
                child.cancel()
        if lines is None:
            lines = listing.listing_text(image, read)
    make_folder(out, stage=STAGE)
    generate.generate(tree, out)
    elf_path = out / f"{NAME}.elf"
    write_atomic(elf_path, data, stage=STAGE)
    map_path, listing_path = out / f"{NAME}.map", out / f"{NAME}.lst"
    write_atomic(map_path, map_, stage=STAGE)
    write_atomic(listing_path, lines, stage=STAGE)
    if ui is not None:
        ui.step(f"{elf_path}: {len(data)} bytes")
    modules_path = iso_path = None
    if packed:
        modules_path = out / modules_module.NAME
        write_atomic(modules_path, packed, stage=STAGE)
    if iso:
        from toolchain import iso as iso_module

        iso_path = out / f"{NAME}.iso"
        iso_module.make(elf_path, iso_path, cmdline=cmdline, modules=packed)
        if ui is not None:
            ui.step(f"{iso_path}: BIOS and UEFI")
    seconds = round(time.monotonic() - began, 3)
    sizes = len(data), len(image.symbols)
    return BuildResult(
        elf_path, iso_path, map_path, listing_path, *sizes, seconds, image.warnings, modules_path
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: a build makes many objects and hardly any cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
