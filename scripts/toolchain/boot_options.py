"""The options that every command that boots shares, and what it boots: an image, or a tree that is built first.

Owns: the arguments of ``boot``, ``run`` and ``debug``, the exit status of each outcome, and finding image, symbols
and tree. Never boots.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.command import STATUS_INVALID, STATUS_NO, STATUS_OK, STATUS_SPENT, Ui
from toolchain.errors import InputError
from toolchain.kerneltree import tree_here

if TYPE_CHECKING:
    from toolchain.symbols import SymbolTable
    from toolchain.types import BootConfig

STATUS = {
    "ready": STATUS_OK,
    "tests-passed": STATUS_OK,
    "fault": STATUS_NO,
    "panic": STATUS_NO,
    "reset": STATUS_NO,
    "shutdown": STATUS_NO,
    "tests-failed": STATUS_NO,
    "qemu-died": STATUS_INVALID,
    "timeout": STATUS_SPENT,
    "silent": STATUS_SPENT,
}
LOG_FOLDER = "boot"  # under the build folder
STAGE = "boot"
_ELF_MAGIC = b"\x7fELF"
_SECONDS = {
    "direct": 20.0,
    "bios": 60.0,
    "uefi": 120.0,
}  # deadlines: 100 times what a boot takes, on a loaded machine


@dataclass(frozen=True, slots=True)
class Target:
    """What is booted: the image, where its names and sources come from, and an archive of boot modules (None: none)."""

    image: Path
    elf: Path | None
    tree: Path | None
    modules: Path | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shared arguments."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--direct", action="store_true", help="boot the ELF by PVH, without a boot loader (the default)"
    )
    how.add_argument("--iso", action="store_true", help="boot the ISO by GRUB")
    parser.add_argument(
        "--firmware", choices=("bios", "uefi"), default="bios", help="for --iso (default bios)"
    )
    parser.add_argument(
        "--accel",
        choices=("tcg", "kvm", "auto"),
        default="tcg",
        help="auto times a probe first (default tcg)",
    )
    parser.add_argument(
        "--icount", action="store_true", help="deterministic: one instruction, one tick of the TSC"
    )
    parser.add_argument("--machine", choices=("q35", "pc"), default="q35", help="chipset (default q35)")
    parser.add_argument("--cpu", default="max", metavar="MODEL", help="CPU model of QEMU (default max)")
    parser.add_argument("--smp", type=int, default=1, metavar="N", help="processors (default 1)")
    parser.add_argument("--memory", default="128M", metavar="SIZE", help="e.g. 64M, 8G (default 128M)")
    parser.add_argument(
        "--display", choices=("std", "bochs", "virtio", "none"), default="std", help="graphics device"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="start the GPU service, and give the machine its mailbox device"
    )
    parser.add_argument(
        "--cmdline", default="", metavar="TEXT", help="the kernel's command line, e.g. test, test=paging"
    )
    parser.add_argument(
        "--module",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a boot module: a program that the kernel's shell runs (hello and stress are built for it; pxos vm pack"
        " X.pxl X.pxvm makes others; run NAME starts one); may be given several times",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="deadline in seconds (default 20, ISO 60 or 120)"
    )
    parser.add_argument(
        "--kernel",
        type=Path,
        default=tree_here() or Path("kernel"),
        metavar="DIR",
        help="kernel tree, or a built ELF or ISO (default: this folder if it has a pxos.toml, else ./kernel)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build"), metavar="DIR", help="build folder (default build)"
    )


def target(args: argparse.Namespace, ui: Ui) -> Target:
    """Build the tree that ``--kernel`` names, or take the image that it names.

    Raises:
        InputError: the tree does not build, or the file is neither ELF nor ISO for this way of booting; an argument
            is out of range (asked first: a build would be in vain).
        ToolError: QEMU is missing (likewise).
    """
    from toolchain import qemu_args

    qemu_args.qemu_path()
    if args.kernel.is_file():
        with args.kernel.open("rb") as file:
            is_elf = file.read(len(_ELF_MAGIC)) == _ELF_MAGIC
        if is_elf and args.iso:
            raise InputError(f"{args.kernel}: an ELF boots with --direct; name a tree or an ISO", stage=STAGE)
        if not is_elf and args.module:
            raise InputError(
                f"{args.kernel}: an ISO has its own modules; pack them with pxos build", stage=STAGE
            )
        return Target(args.kernel, args.kernel if is_elf else None, None, _modules(args))
    if not args.kernel.is_dir():
        raise InputError(
            f"{args.kernel}: no such file or folder; name a kernel tree, an ELF or an ISO (--kernel)",
            stage=STAGE,
        )
    qemu_args.check_options(_asked(args, args.out, iso=args.iso))
    from toolchain import build, objects

    cache = objects.folder()
    built = build.build(args.kernel, args.out, iso=args.iso, ui=ui, modules=args.module, cache=cache)
    image = built.iso if args.iso else built.elf
    assert image is not None
    return Target(image, built.elf, args.kernel, built.modules)


def _modules(args: argparse.Namespace) -> Path | None:
    """The archive of the modules for an ELF that was built before."""
    if not args.module:
        return None
    from toolchain import files, modules, programs

    files.make_folder(args.out, stage=STAGE)
    path: Path = args.out / modules.NAME
    files.write_atomic(path, modules.archive(programs.resolve(args.module, args.out)), stage=STAGE)
    return path


@contextmanager
def config(args: argparse.Namespace, target: Target, name: str = LOG_FOLDER) -> Iterator[BootConfig]:
    """The boot that the arguments ask for, with a log folder that no other boot uses meanwhile.

    Args:
        args: what ``configure`` parsed.
        target: what is booted.
        name: of the log folder under the build folder; a second boot at the same time gets ``name-2``.

    Raises:
        InputError: an argument is out of range, or they exclude each other; the folder cannot be written.
        PxError: the GPU service was asked for and does not start.
    """
    from toolchain import files

    made = replace(_config(args, target.image), modules=target.modules)
    with ExitStack() as stack:
        folder = stack.enter_context(files.claimed(args.out / name, stage=STAGE))
        if args.gpu:
            from toolchain.mailbox import attach

            made = replace(made, extra_args=stack.enter_context(attach.service(folder)))
        yield replace(made, log_dir=folder)


def _config(args: argparse.Namespace, image: Path) -> BootConfig:
    from toolchain import qemu_args

    made = _asked(args, image, iso=args.iso or not is_direct(image))
    qemu_args.check(made)
    return made


def _asked(args: argparse.Namespace, image: Path, *, iso: bool) -> BootConfig:
    from toolchain.types import BootConfig

    if args.firmware == "uefi" and not iso:
        raise InputError("--firmware uefi needs --iso: a direct boot has no firmware of its own", stage=STAGE)
    seconds = args.timeout if args.timeout is not None else _SECONDS[args.firmware if iso else "direct"]
    return BootConfig(
        image,
        path="iso" if iso else "direct",
        firmware=args.firmware,
        accel=args.accel,
        machine=args.machine,
        cpu=args.cpu,
        smp=args.smp,
        memory=args.memory,
        display=args.display,
        icount=args.icount,
        cmdline=args.cmdline,
        timeout=seconds,
    )


def is_direct(image: Path) -> bool:
    """True for an ELF, False for anything else (an ISO)."""
    with image.open("rb") as file:
        return file.read(len(_ELF_MAGIC)) == _ELF_MAGIC


def symbols(target: Target, ui: Ui) -> SymbolTable | None:
    """Names for the target's addresses, or None where its ELF is not known or cannot be read as one.

    A report without names is better than none: QEMU loads what a debugger would refuse.
    """
    if target.elf is None:
        return None
    from toolchain.symbols import SymbolTable

    try:
        return SymbolTable(target.elf)
    except InputError as error:
        ui.note(f"no names: {error.message}")
        return None
