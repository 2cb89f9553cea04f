"""From a kernel tree to its products on disk: ELF, map, listing, ISO; the stages wired together.

Owns: one build in a process that makes just one, and writing the products as wholes. Variants of one tree in one
process are ``session``'s. Never looks into a source itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import InputError
from toolchain.kerneltree import GENERATED, STAGE, kernel_tree, reader, source_names, sources
from toolchain.session import Session, no_collection

if TYPE_CHECKING:
    from toolchain.command import Ui
    from toolchain.objects import Objects
    from toolchain.parallel import Assembly
    from toolchain.types import BuildResult, Image

__all__ = ["GENERATED", "Session", "build", "kernel_tree", "once", "source_names", "sources"]

NAME = "pxos"  # of the products: pxos.elf, pxos.iso, pxos.map, pxos.lst


def once(tree: Path, cache: Path | None = None) -> tuple[Image, dict[str, str]]:
    """Build ``tree`` once, on two cores where there are two.

    Args:
        tree: the kernel tree.
        cache: where object files are kept between runs (``objects.folder``); None to keep nothing.

    Returns:
        The image, and the text of every source by its name in the line table.

    Raises:
        InputError: ``tree`` is no kernel tree; every error of every unit, or of the link.
    """
    kernel_tree(tree)
    with no_collection():
        found = _without_errors(tree.resolve(), cache)
    if found is not None:
        return found
    with Session(tree) as session:
        return session.build(), session.sources()


def _without_errors(tree: Path, cache: Path | None) -> tuple[Image, dict[str, str]] | None:
    """``once`` for a tree without errors; None when there are any, which ``Session`` tells all at once."""
    from toolchain import forked
    from toolchain.encode_guard import Guard

    guard, twin = Guard(), Guard()
    kept: Objects | None = None
    try:
        if cache is not None:
            from toolchain.objects import Objects

            kept = Objects(cache, tree)
        known = kept is not None and kept.load()
        if not known:
            # The worker loads its libraries while this process loads the rest.
            guard.start_with(twin) if forked.available() else guard.start()
        from toolchain import generate, layout

        loaded = layout.load(tree / "image.toml")
        preprocessor = reader(tree, loaded, generate.texts(tree))
        names = source_names(tree, loaded.sources, {})
        made, texts = kept.find(names, preprocessor) if kept is not None and known else ({}, {})
        missing = {name: (tree / name).stat().st_size for name in names if name not in made}
        new: Assembly | None = None
        if missing:
            from toolchain.parallel import assemble

            answers = kept.answers() if kept is not None else {}
            tracer = kept.trace if kept is not None else None
            new = assemble(missing, preprocessor, (guard, twin), answers, tracer)
            if new is None:
                return None
            made |= {name: item.object for name, item in new.made.items()}
            texts |= new.texts
        from toolchain import link

        image = link.link([made[name] for name in names], loaded)
        if kept is not None:
            kept.keep(names, new)
        return image, texts
    except InputError:
        return None
    finally:
        twin.close()
        guard.close()


def build(
    tree: Path,
    out: Path,
    iso: bool = True,
    ui: Ui | None = None,
    cmdline: str = "",
    modules: Sequence[Path] = (),
    cache: Path | None = None,
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
        cache: where object files are kept between runs, or None; the products are the same bytes either way.

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
    image, read = once(tree, cache)
    if ui is not None:
        for warning in image.warnings:
            ui.note(warning)
    from toolchain import elf, generate, listing
    from toolchain.files import make_folder, write_atomic
    from toolchain.forked import Forked, available
    from toolchain.types import BuildResult

    with no_collection():
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
