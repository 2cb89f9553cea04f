"""``pxos init``: a ``pxos.toml`` for somebody else's kernel, by looking at its tree."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolchain.command import STATUS_OK, Outcome, Ui

HELP = """Write a pxos.toml for a kernel tree of any make, by looking at it, for pxos build, boot, check and fix.

Each key is written with the reason for its value; nothing is run. Read it, above all [judge] ready, and correct it.

  [kernel] name         the kernel's name, for people
           sources      globs of the files that a repair may edit; nothing else is ever edited
           syntax       gas-intel, gas-att or nasm: the dialect of the assembly among them (C is told by its names)
           build        a shell command, run in a sandbox: no network, no home, limits, a filter on system calls
           artifact     what it makes: an ISO image, an ELF file (Multiboot, Multiboot2, PVH) or a flat disk image
  [boot]   qemu         arguments of QEMU for the machine; what names host files or networks is refused
           timeout      seconds of a boot
  [judge]  ready        regular expression that must appear on COM1, the debug port (0xe9) or the VGA text screen
           forbid       regular expressions of which none may appear
           expect_exit  QEMU's exit status by isa-debug-exit, 2v + 1 for the value v"""
EXAMPLE = "cd ../mykernel && pxos init && pxos boot && pxos fix"
STAGE = "init"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the tree (default .)"
    )
    parser.add_argument("--force", action="store_true", help="write over a pxos.toml that is there")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Look, write, say why."""
    from toolchain import files
    from toolchain.errors import InputError
    from toolchain.foreign import config, guess

    path = args.folder / config.NAME
    if path.exists() and not args.force:
        raise InputError(f"{path}: is there already; pxos init --force writes over it", stage=STAGE)
    found = guess.Look(args.folder).guesses()
    text = guess.toml(found)
    config.parse(text, args.folder, str(path))
    files.write_atomic(path, text, stage=STAGE)
    rows = [{"table": g.table, "key": g.key, "value": g.value, "why": g.why} for g in found]
    lines = [f"{path}: written; read it, above all [judge] ready"]
    lines += [f"  [{g.table}] {g.key} = {g.value}\n      {g.why}" for g in found]
    return Outcome(STATUS_OK, {"file": str(path), "guesses": rows}, "\n".join(lines))
