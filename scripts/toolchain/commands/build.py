"""``pxos build``: a kernel tree to ELF, map, listing and bootable ISO."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from toolchain.command import STATUS_OK, Outcome, Ui
from toolchain.kerneltree import FOREIGN, tree_here

HELP = (
    "Assemble and link a kernel tree; write the ELF, its map and listing, and a bootable ISO. A tree with a pxos.toml"
    " is built by its own command, in a sandbox."
)
EXAMPLE = "pxos build --kernel kernel --out build --no-iso"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--kernel",
        type=Path,
        metavar="DIR",
        help="kernel tree (default: this folder if it has a pxos.toml, else ./kernel, else this checkout's)",
        default=tree_here(),
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build"), metavar="DIR", help="build folder (default build)"
    )
    parser.add_argument("--no-iso", action="store_true", help="ELF only")
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="assemble everything anew: neither use nor keep object files of earlier runs (so does PXOS_NO_CACHE=1)",
    )
    parser.add_argument("--cmdline", default="", metavar="TEXT", help="the kernel's command line in the ISO")
    parser.add_argument(
        "--module",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a boot module in the ISO: a program that the kernel's shell runs (hello and stress are built for it; pxos"
        " vm pack X.pxl X.pxvm makes others; run NAME starts one); may be given several times",
    )
    parser.add_argument(
        "--programs", action="store_true", help="the user programs too, as ELF files under OUT/programs"
    )
    parser.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run a foreign tree's build command (pxos.toml) without a sandbox: only for a tree that you trust",
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Build."""
    if args.kernel is not None and (args.kernel / FOREIGN).is_file():
        from toolchain.foreign import commands as foreign

        return foreign.build(args, ui)
    if args.no_iso and args.module:
        from toolchain.errors import InputError

        raise InputError("--module: a boot module goes into the ISO: leave --no-iso away", stage="build")
    spared: list[object] = []
    gc.disable()  # from the first import on: a build makes many objects and hardly any cycle
    try:
        from toolchain.build import build, kernel_tree

        result = build(
            kernel_tree(args.kernel),
            args.out,
            iso=not args.no_iso,
            ui=ui,
            cmdline=args.cmdline,
            modules=args.module,
            cache=None if args.no_cache else _cache(),
            spared=spared,
        )
    finally:
        gc.freeze()  # what is left is not searched for cycles when the process ends
        gc.enable()
    programs: list[Path] = []
    if args.programs:
        from toolchain import programs as made

        programs = [made.build(name, args.out) for name in made.names()]
    data = {
        "elf": str(result.elf),
        "iso": str(result.iso) if result.iso else None,
        "map": str(result.map),
        "listing": str(result.listing),
        "bytes": result.bytes,
        "symbols": result.symbols,
        "seconds": result.seconds,
        "warnings": list(result.warnings),
        "programs": [str(path) for path in programs],
    }
    products = ", ".join(str(p) for p in (result.elf, result.iso, *programs) if p)
    return Outcome(
        STATUS_OK,
        data,
        f"{products}: {result.bytes} bytes, {result.symbols} symbols, {result.seconds:.2f} s",
        spared,
    )


def _cache() -> Path | None:
    from toolchain import objects

    return objects.folder()
