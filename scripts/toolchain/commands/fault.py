"""``pxos fault``: a fault report from saved logs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.command import STATUS_OK, Outcome, Ui, wants_colour
from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.types import BootResult

HELP = "Make a fault report from what a boot left: its folder, or serial logs and QEMU logs in any order."
EXAMPLE = "pxos fault build/boot --elf build/pxos.elf --kernel kernel"

STAGE = "fault"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "logs", nargs="+", type=Path, metavar="LOG", help="serial log, QEMU log, boot.json, or folder"
    )
    parser.add_argument("--elf", type=Path, metavar="FILE", help="the kernel that was booted, for names")
    parser.add_argument("--kernel", type=Path, metavar="DIR", help="its tree, for source lines")
    parser.add_argument(
        "--module",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the ELF of a user program, for the names of its faults (hello and stress are found beside the logs)",
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Read the logs and report."""
    from toolchain import fault, render, saved_logs
    from toolchain.symbols import SymbolTable

    result = saved_logs.read(args.logs)
    elf = args.elf or _booted(args.logs, result, ui)
    if args.kernel is not None and not args.kernel.is_dir():
        raise InputError(f"{args.kernel}: no such folder; name a kernel tree (--kernel DIR)", stage=STAGE)
    report = fault.analyse(result, SymbolTable(elf) if elf else None, args.kernel)
    if report is not None:
        return Outcome(STATUS_OK, render.as_json(report), render.text(report, wants_colour(sys.stdout)))
    return _of_programs(args, result) or _of_nothing(result)


def _of_programs(args: argparse.Namespace, result: BootResult) -> Outcome | None:
    """The first fault of ring 3, whole, and a line for each of the others; None where there is none."""
    from toolchain import programs, render, user_faults

    folders = [folder.parent / programs.OUT for log in args.logs for folder in (log, log.parent)]
    faults = user_faults.found(result, user_faults.files(args.module, *folders))
    if not faults:
        return None
    text = render.text(faults[0].report, wants_colour(sys.stdout))
    others = [f"  {user_faults.line(fault)}" for fault in faults[1:]]
    return Outcome(STATUS_OK, render.as_json(faults[0].report), "\n".join([text, *others]))


def _of_nothing(result: BootResult) -> Outcome:
    from toolchain import render, saved_logs

    report = saved_logs.nothing_found(result)
    return Outcome(STATUS_OK, render.as_json(report), render.text(report, wants_colour(sys.stdout)))


def _booted(logs: list[Path], result: BootResult, ui: Ui) -> Path | None:
    """The ELF that the saved command line names, when it is still the one that was booted."""
    if "-kernel" not in result.command[:-1]:
        return None
    elf = Path(result.command[result.command.index("-kernel") + 1])
    newest = max(path.stat().st_mtime for path in logs)
    if not elf.is_file():
        return None
    if elf.stat().st_mtime > newest:
        ui.note(f"{elf} was built after these logs: no names (give the right one with --elf)")
        return None
    return elf
