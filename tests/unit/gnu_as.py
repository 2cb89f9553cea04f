"""GNU as as an oracle: many statements in one run, the bytes, relocations and complaints of each apart."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from toolchain.expr import Expr
from toolchain.types import Encoding, Fixup


@dataclass(frozen=True)
class Relocation:
    """A field that as leaves to the linker: ``kind`` as in ``Fixup``, ``addend`` of the RELA entry."""

    offset: int
    size: int
    kind: str
    symbol: str
    addend: int


@dataclass(frozen=True)
class Verdict:
    """What as made of one statement: ``data`` is None when it was refused."""

    data: bytes | None
    relocations: tuple[Relocation, ...] = ()
    error: str = ""
    warning: str = ""


_COMPLAINT = re.compile(r"^[^:]*:(\d+): (Error|Warning): (.*)$")
# R_X86_64_*: number -> (bytes, kind).
_KINDS = {
    1: (8, "either"), 2: (4, "pcrel"), 4: (4, "pcrel"), 10: (4, "unsigned"), 11: (4, "signed"), 12: (2, "either"),
    13: (2, "pcrel"), 14: (1, "either"), 15: (1, "pcrel"),
}  # fmt: skip


def assemble(statements: Sequence[tuple[int, str]], prologue: str = "") -> list[Verdict]:
    """Assemble each ``(mode, statement)``; local symbols that they name are undefined.

    Args:
        statements: mode 16, 32 or 64 and the statement in Intel syntax.
        prologue: lines (``.set`` and the like) that all of them see.
    """
    lines = [".intel_syntax noprefix", *prologue.splitlines()]
    places = {}
    mode = 0
    for index, (wanted, statement) in enumerate(statements):
        if wanted != mode:
            mode = wanted
            lines.append(f".code{mode}")
        lines.append(f".Lt{index}:")
        lines.append(statement)
        places[len(lines)] = index
    lines.append(f".Lt{len(statements)}:")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "t.s"), Path(folder, "t.o")
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run = subprocess.run(
            ["as", "-Z", "--keep-locals", str(source), "-o", str(target)],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        errors: dict[int, str] = {}
        warnings: dict[int, str] = {}
        for line in run.stderr.splitlines():
            match = _COMPLAINT.match(line)
            if match and int(match[1]) in places:
                (errors if match[2] == "Error" else warnings).setdefault(places[int(match[1])], match[3])
            elif "nternal error" in line:
                raise AssertionError(line)
        marks, data, found = _read(target)
    results = []
    cursor = 0
    for index in range(len(statements)):
        begin, end = marks[index], marks[index + 1]
        mine = []
        while cursor < len(found) and found[cursor].offset < end:
            item = found[cursor]
            mine.append(Relocation(item.offset - begin, item.size, item.kind, item.symbol, item.addend))
            cursor += 1
        error = errors.get(index, "" if end > begin else "no bytes")
        warning = warnings.get(index, "")
        results.append(Verdict(None if error else data[begin:end], tuple(mine), error, warning))
    return results


def _read(path: Path) -> tuple[dict[int, int], bytes, list[Relocation]]:
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        data = elf.get_section_by_name(".text").data()
        symbols = elf.get_section_by_name(".symtab")
        marks = {
            int(symbol.name[3:]): symbol["st_value"]
            for symbol in symbols.iter_symbols()
            if symbol.name.startswith(".Lt")
        }
        found = []
        table = elf.get_section_by_name(".rela.text")
        for item in table.iter_relocations() if table is not None else ():
            size, kind = _KINDS[item["r_info_type"]]
            symbol = symbols.get_symbol(item["r_info_sym"])
            name = "" if symbol["st_info"]["type"] == "STT_SECTION" else symbol.name
            found.append(Relocation(item["r_offset"], size, kind, name, item["r_addend"]))
    found.sort(key=lambda relocation: relocation.offset)
    return marks, data, found


def difference(encoding: Encoding, verdict: Verdict) -> str:
    """How ``encoding`` differs from what as made, "" when it does not.

    A direct branch counts as equal in the form that as chose.
    """
    assert verdict.data is not None
    first = _difference(encoding, verdict)
    if first and encoding.short is not None and not _difference(encoding.short, verdict):
        return ""
    return first


def _difference(encoding: Encoding, verdict: Verdict) -> str:
    data = verdict.data
    assert data is not None
    if len(data) != len(encoding.data):
        return f"{encoding.data.hex()} is not {data.hex()}"
    mine = bytearray(encoding.data)
    left = {item.offset: item for item in verdict.relocations}
    for fixup in encoding.fixups:
        field = slice(fixup.offset, fixup.offset + fixup.size)
        relocation = left.pop(fixup.offset, None)
        if relocation is None:
            # as knew the value: a target relative to the statement itself.
            value = _value(fixup, len(data))
            mine[field] = (value & ((1 << 8 * fixup.size) - 1)).to_bytes(fixup.size, "little")
        else:
            reason = _field_difference(fixup, relocation, len(data))
            if reason:
                return reason
            mine[field] = data[field]
    if left:
        return f"as leaves fields to the linker at {sorted(left)}"
    return "" if bytes(mine) == data else f"{bytes(mine).hex()} is not {data.hex()}"


def _value(fixup: Fixup, length: int) -> int:
    assert isinstance(fixup.operand, Expr)
    value = fixup.operand.evaluate(lambda name: 0 if name == "." else None)
    assert value is not None, f"as knows {fixup.operand}, we do not"
    return value - length if fixup.kind == "pcrel" else value


def _field_difference(fixup: Fixup, relocation: Relocation, length: int) -> str:
    assert isinstance(fixup.operand, Expr)
    kind = "pcrel" if relocation.kind == "pcrel" else fixup.kind
    if (fixup.size, fixup.kind) != (relocation.size, relocation.kind):
        return f"field {fixup.size} {fixup.kind} is not {relocation.size} {relocation.kind}"
    addend = relocation.addend + (length - fixup.offset if kind == "pcrel" else 0)
    named = fixup.operand.symbol_offset()
    if named is None:
        constant = fixup.operand.constant
        named = ("", constant) if constant is not None else ("?", 0)
    mask = (1 << 8 * fixup.size) - 1  # an absolute target wraps
    if named[0] != relocation.symbol or (named[1] - addend) & mask:
        return f"{fixup.operand} is not {relocation.symbol} + {addend}"
    return ""


def refusals(statements: Sequence[tuple[int, str]]) -> list[str]:
    """The first error of each statement, "" when as takes it. Fast: for hundreds of thousands."""
    size = 60000
    batches = [statements[index : index + size] for index in range(0, len(statements), size)]
    with ThreadPoolExecutor(2) as pool:
        return [error for batch in pool.map(_refusals, batches) for error in batch]


def _refusals(statements: Sequence[tuple[int, str]]) -> list[str]:
    lines = [".intel_syntax noprefix"]
    places = {}
    mode = 0
    for index, (wanted, statement) in enumerate(statements):
        if wanted != mode:
            mode = wanted
            lines.append(f".code{mode}")
        lines.append(statement)
        places[len(lines)] = index
    run = subprocess.run(
        ["as", "-", "-o", "/dev/null"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if run.returncode not in (0, 1) or "nternal error" in run.stderr:
        # as itself dies of some statement; nothing it said counts.
        if len(statements) == 1:
            return ["as crashes"]
        half = len(statements) // 2
        return _refusals(statements[:half]) + _refusals(statements[half:])
    errors = [""] * len(statements)
    for line in run.stderr.splitlines():
        match = _COMPLAINT.match(line)
        if match and match[2] == "Error" and int(match[1]) in places:
            index = places[int(match[1])]
            errors[index] = errors[index] or match[3]
    return errors
