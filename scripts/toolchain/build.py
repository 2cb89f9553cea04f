"""From a kernel tree to its products on disk: ELF, map, listing, ISO; the stages wired together.

Owns: one build in a process that makes just one, and writing the products as wholes. Variants of one tree in one
process are ``session``'s. Never looks into a source itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.fresh import Fresh
from toolchain.kerneltree import GENERATED, STAGE, kernel_tree, source_names, sources
from toolchain.session import Session, no_collection

if TYPE_CHECKING:
    from toolchain.command import Ui
    from toolchain.objects import Products
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
    with no_collection(), Fresh(tree.resolve(), cache) as fresh:
        found = _image(tree, fresh)
        fresh.keep()
    return found


def _image(tree: Path, fresh: Fresh) -> tuple[Image, dict[str, str]]:
    """The image and its sources' texts; a tree in error is built again by what tells all errors at once."""
    found = fresh.image()
    if found is None:
        with Session(tree) as session:
            found = session.build(), session.sources()
    return found


def build(
    tree: Path,
    out: Path,
    iso: bool = True,
    ui: Ui | None = None,
    cmdline: str = "",
    modules: Sequence[Path] = (),
    cache: Path | None = None,
    spared: list[object] | None = None,
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
        spared: gets what only memory is left of (``command.Outcome``).

    Returns:
        Where the products are. Each was written as a whole; when anything fails before, none was touched.

    Raises:
        InputError: errors in the sources, or ``out`` cannot be written.
        ToolError: a program that the ISO needs is missing or failed.
    """
    from toolchain import generate, programs
    from toolchain import modules as modules_module
    from toolchain.files import write_atomic
    from toolchain.types import BuildResult

    began = time.monotonic()
    if iso:
        from toolchain.iso import check_tools, grub_config

        check_tools()
        grub_config(cmdline)  # what is wrong with it is told before anything is made
    packed = modules_module.archive(programs.resolve(modules, out)) if modules else b""
    kernel_tree(tree)
    with no_collection(), Fresh(tree.resolve(), cache) as fresh:
        made = fresh.products()
        if made is None or not made.stand_in(out):
            made = _write(tree, out, fresh)
        generate.write(fresh.generated or generate.texts(tree), out)
    if spared is not None:
        spared.append(fresh)
    elf, map_, listing = (out / f"{NAME}.{kind}" for kind in _KINDS)
    if ui is not None:
        for warning in made.warnings:
            ui.note(warning)
        ui.step(f"{elf}: {made.bytes} bytes")
    modules_path = iso_path = None
    if packed:
        modules_path = out / modules_module.NAME
        write_atomic(modules_path, packed, stage=STAGE)
    if iso:
        from toolchain import iso as iso_module

        iso_path = out / f"{NAME}.iso"
        iso_module.make(elf, iso_path, cmdline=cmdline, modules=packed)
        if ui is not None:
            ui.step(f"{iso_path}: BIOS and UEFI")
    seconds = round(time.monotonic() - began, 3)
    return BuildResult(
        elf, iso_path, map_, listing, made.bytes, made.symbols, seconds, made.warnings, modules_path
    )


_KINDS = ("elf", "map", "lst")


def _write(tree: Path, out: Path, fresh: Fresh) -> Products:
    """Make the ELF, its map and its listing, and write them when all three are made."""
    image, read = _image(tree, fresh)
    from toolchain import elf, forked, listing
    from toolchain.files import make_folder, write_together
    from toolchain.objects import Products
    from toolchain.sealed import digest

    def rest() -> tuple[bool, bytes]:
        """What a second process does meanwhile."""
        return fresh.keep(), listing.listing_text(image, read).encode()

    child = forked.Forked(rest) if forked.available() else None
    try:
        data, map_ = elf.write(image), listing.map_text(image).encode()
        found: Any = child.result() if child is not None else None
    finally:
        if child is not None:
            child.cancel()
    may_keep, lines = rest() if found is None else found
    contents = dict(zip(_KINDS, (data, map_, lines), strict=True))
    make_folder(out, stage=STAGE)
    write_together({out / f"{NAME}.{kind}": content for kind, content in contents.items()}, stage=STAGE)
    made = Products((), len(data), len(image.symbols), image.warnings)
    if may_keep:
        files = [(f"{NAME}.{kind}", len(content), digest(content)) for kind, content in contents.items()]
        fresh.keep_products(made._replace(files=tuple(files)))
    return made
