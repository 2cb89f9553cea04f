"""Faults of ring 3: the PXFAULT blocks of scope ``user`` in a boot's serial log, explained with the programs' own ELFs.

Owns: which file a program's names come from. The kernel survives these, so no outcome depends on them; each is
explained as a fault of the kernel is (``fault.analyse``), but for the diagnosis, whose rules are the kernel's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from toolchain import programs, serial
from toolchain.errors import InputError
from toolchain.fault import analyse
from toolchain.symbols import SymbolTable
from toolchain.types import BootResult, FaultReport

NAME_MAX = 47  # characters that the kernel keeps of a module's name


class UserFault(NamedTuple):
    """One thread of ring 3 that ended by an exception."""

    program: str
    thread: str
    report: FaultReport


def found(result: BootResult, files: Mapping[str, Path]) -> list[UserFault]:
    """Every fault of ring 3 that a boot's serial log tells of, in order.

    Args:
        result: the boot.
        files: program -> its ELF; of others addresses stay bare.
    """
    tables: dict[str, SymbolTable | None] = {}
    out = []
    for block in serial.parse(result.serial.encode("latin-1", "replace")).faults:
        if block.scope != "user":
            continue
        name = block.values.get("program", "")
        if name not in tables:
            tables[name] = _names(files.get(name))
        alone = replace(
            result, outcome="fault", kernel_fault=dict(block.values), snapshot=None, qemu_log="", panic=None
        )
        report = analyse(alone, tables[name], programs.FOLDER if name in programs.names() else None)
        if report is not None:
            out.append(UserFault(name, block.values.get("thread", ""), replace(report, diagnosis=())))
    return out


def files(modules: Iterable[Path], *folders: Path) -> dict[str, Path]:
    """Program -> ELF: of modules that were given, and of programs that were built into ``folders``."""
    known = {path.name: path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    known |= {path.name[:NAME_MAX]: path for path in modules if path.is_file()}
    return known


def line(fault: UserFault) -> str:
    """One line about it."""
    return f"user fault in {fault.program or 'a program'}, thread {int(fault.thread or '0', 0)}: {fault.report.cause}"


def _names(path: Path | None) -> SymbolTable | None:
    if path is None:
        return None
    try:
        return SymbolTable(path)
    except InputError:  # a program without symbols, or somebody else's file of that name
        return None
