"""``pxos build`` and ``pxos boot`` on a foreign tree.

Owns the folders below ``--out``, what is said and the JSON; everything else is ``build``'s, ``boot``'s and
``report``'s. The tree itself is only read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import files
from toolchain.command import STATUS_OK, Outcome, Ui, paint, wants_colour
from toolchain.errors import InputError
from toolchain.foreign import build as building
from toolchain.foreign import config, tree
from toolchain.foreign.sandbox import Sandbox

STAGE = "build"
TREE_NAME = "tree"  # the copy that the build runs in, below the build folder
LOG_NAME = "build.log"
OURS = ("direct", "iso", "icount", "gpu", "module", "cmdline")  # of pxos boot: for our own kernel


@dataclass(frozen=True, slots=True)
class Made:
    """A built tree: what it says of itself, what was built, the sandbox for what follows, the folder for logs."""

    foreign: config.Foreign
    built: building.Built
    sandbox: Sandbox
    folder: Path


@contextmanager
def made(path: Path, out: Path, ui: Ui, *, unsafe: bool) -> Iterator[Made]:
    """A foreign tree, built in a copy below ``out`` that is ours while the block runs.

    Raises:
        PxError: the description is wrong, no sandbox can be had, the build fails.
    """
    foreign = config.load(path)
    inside, whole = out.resolve(), path.resolve()
    if inside.is_relative_to(whole) and inside != whole / "build":
        raise InputError(
            f"{out}: lies in the kernel tree; give --out {path / 'build'}, or a folder outside", stage=STAGE
        )
    sandbox = Sandbox(unsafe=unsafe)
    with files.claimed(out.absolute() / "foreign", stage=STAGE) as folder:
        copy = tree.Copy(tree.read(path), folder / TREE_NAME)
        ui.step(f"{foreign.name}: {foreign.build}" + ("" if not unsafe else " (without a sandbox)"))
        built = building.build(foreign, copy, sandbox)
        files.write_atomic(folder / LOG_NAME, built.log, stage=STAGE)
        ui.step(f"{foreign.artifact}: {built.kind}, {len(built.data)} bytes, {built.seconds:.2f} s")
        yield Made(foreign, built, sandbox, folder)


def build(args: argparse.Namespace, ui: Ui) -> Outcome:
    """``pxos build`` on a foreign tree: the artifact is copied into the build folder."""
    with made(args.kernel, args.out, ui, unsafe=args.unsafe_no_sandbox) as done:
        built = done.built
        target = done.folder / Path(done.foreign.artifact).name
        files.write_atomic(target, built.data, stage=STAGE)
        names = built.names
        elf = target if built.kind == "elf" else None
        if elf is None and names is not None and names.source != done.foreign.artifact:
            elf = _elf_beside(done.folder / TREE_NAME / names.source, done.folder)
    data: dict[str, Any] = {
        "elf": str(elf) if elf else None,
        "iso": str(target) if built.kind == "iso" else None,
        "map": None,
        "listing": None,
        "bytes": len(built.data),
        "symbols": len(names.image.symbols) if names else 0,
        "seconds": round(built.seconds, 3),
        "warnings": [],
        "artifact": str(target),
        "kind": built.kind,
        "names": names.source if names else None,
    }
    said = (
        f"{data['symbols']} symbols from {names.source}" if names else "no symbols (no ELF, listing or map)"
    )
    text = f"{target}: {built.kind}, {len(built.data)} bytes, {said}, {built.seconds:.2f} s"
    return Outcome(STATUS_OK, data, text)


def _elf_beside(path: Path, out: Path) -> Path | None:
    """An ELF file that the build left besides the artifact, copied to the build folder."""
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
    target = out / path.name
    shutil.copyfile(path, target)
    return target


def boot(args: argparse.Namespace, ui: Ui) -> Outcome:
    """``pxos boot`` on a foreign tree: judged as its ``pxos.toml`` says."""
    from toolchain import boot_options, qemu_args
    from toolchain.commands.boot import as_json
    from toolchain.foreign import boot as booting
    from toolchain.foreign import report as reporting

    given = [name for name in OURS if getattr(args, name, None)]
    if given:
        raise InputError(
            f"--{given[0]}: for pxOS kernels; a foreign tree's machine stands in its pxos.toml ([boot] qemu)",
            stage="boot",
        )
    qemu_args.check_timeout(args.timeout)
    with made(args.kernel, args.out, ui, unsafe=args.unsafe_no_sandbox) as done:
        folder = done.folder / "boot"
        shutil.rmtree(folder, ignore_errors=True)
        result = booting.boot(done.foreign, done.built, folder, done.sandbox, args.timeout)
        ui.step(f"{result.result.outcome} after {result.result.seconds:.2f} s; logs in {folder}")
        report = reporting.explain(result, done.built.names, args.kernel)
    data: dict[str, Any] = {**as_json(result.result, report)}
    data["judge"] = {"message": result.message, "streams": dict(result.judge.streams)}
    return Outcome(boot_options.STATUS[result.result.outcome], data, _text(result, report))


def _text(result: Any, report: Any) -> str:
    from toolchain import render

    colour = wants_colour(sys.stdout)
    if report is not None:
        return render.text(report, colour)
    style = "green" if result.good else "red"
    head = f"{result.result.outcome.upper()} after {result.result.seconds:.2f} s"
    return paint(head, style, colour) + f"\n  {result.message}"
