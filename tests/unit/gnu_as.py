"""GNU as as an oracle: many statements in one run, the bytes, relocations and complaints of each apart."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile


@dataclass(frozen=True)
class Verdict:
    """What as made of one statement: ``data`` is None when it was refused."""

    data: bytes | None
    relocations: tuple[tuple[int, str, str, int], ...] = ()
    error: str = ""
    warning: str = ""


_COMPLAINT = re.compile(r"^[^:]*:(\d+): (Error|Warning): (.*)$")


def assemble(statements: Sequence[tuple[int, str]], prologue: str = "") -> list[Verdict]:
    """Assemble each ``(mode, statement)`` in a section of its own.

    Args:
        statements: mode 16, 32 or 64 and the statement in Intel syntax.
        prologue: lines (``.set`` and the like) that all of them see.
    """
    lines = [".intel_syntax noprefix", *prologue.splitlines()]
    places = {}
    for index, (mode, statement) in enumerate(statements):
        lines.append(f".code{mode}")
        lines.append(f".Lt{index}:")
        lines.append(statement)
        places[len(lines)] = index
    lines.append(f".Lt{len(statements)}:")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "t.s"), Path(folder, "t.o")
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run = subprocess.run(
            ["as", "-Z", "--keep-locals", str(source), "-o", str(target)], capture_output=True, text=True, check=False
        )
        errors: dict[int, str] = {}
        warnings: dict[int, str] = {}
        for line in run.stderr.splitlines():
            match = _COMPLAINT.match(line)
            if match and int(match[1]) in places:
                (errors if match[2] == "Error" else warnings).setdefault(places[int(match[1])], match[3])
            elif "Internal error" in line:
                raise AssertionError(line)
        with target.open("rb") as stream:
            elf = ELFFile(stream)
            text = elf.get_section_by_name(".text")
            data = text.data()
            symbols = elf.get_section_by_name(".symtab")
            marks: dict[int, int] = {}
            for symbol in symbols.iter_symbols():
                if symbol.name.startswith(".Lt"):
                    marks[int(symbol.name[3:])] = symbol["st_value"]
            found: list[tuple[int, str, str, int]] = []
            table = elf.get_section_by_name(".rela.text")
            if table is not None:
                for item in table.iter_relocations():
                    name = symbols.get_symbol(item["r_info_sym"]).name
                    found.append((item["r_offset"], str(item["r_info_type"]), name, item["r_addend"]))
    found.sort()
    results = []
    cursor = 0
    for index in range(len(statements)):
        begin, end = marks[index], marks[index + 1]
        mine = []
        while cursor < len(found) and found[cursor][0] < end:
            offset, kind, name, addend = found[cursor]
            mine.append((offset - begin, kind, name, addend))
            cursor += 1
        error = errors.get(index, "" if end > begin else "no bytes")
        results.append(
            Verdict(None if error else data[begin:end], tuple(mine), error, warnings.get(index, ""))
        )
    return results
