"""The sheet of one place in the kernel: name, header, source, who calls it, what it calls.

Owns what ``/explain`` shows, put together from the linked image and the sources at that moment. Never judges.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from architect.tools.base import Answer
from architect.tools.reading import find_symbol, numbered, place_of
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk
    from toolchain.headers import Routine
    from toolchain.symbols import SymbolTable
    from toolchain.types import Symbol

SOURCE_LINES = 60
CALLERS_MAX = 20
_AROUND = 6  # source lines before and after an address inside a long routine
_BRANCH = re.compile(r"^(call|j\w+|loop\w*)\b")


def sheet(desk: Desk, what: str) -> Answer:
    """Everything that is known of a symbol or an address.

    Raises:
        InputError: nothing of that name; the kernel does not assemble (then names are looked up in the sources).
    """
    try:
        table = desk.table()
    except InputError:
        return _from_sources(desk, what)
    address, symbol = find_symbol(table, what)
    place = table.place(address)
    section = table.section_at(address)
    if symbol is None:
        where = (
            f"in section {section.name}, but in no symbol of it"
            if section
            else "no section of the kernel holds it"
        )
        return Answer(
            f"{address:#x}: {where}. {_region(address)}", {"address": hex(address)}, ok=section is not None
        )
    header = desk.headers().get(symbol.name)
    start, end = table.extent(symbol)
    title = f"{symbol.name}" + (f"+{address - symbol.address:#x}" if address != symbol.address else "")
    lines = [
        f"{title} = {address:#x}, {symbol.kind}, {end - start} bytes, section {symbol.section or 'none'}"
    ]
    lines.append(f"defined at {symbol.file}:{symbol.line}")
    data: dict[str, Any] = {
        "symbol": symbol.name,
        "address": hex(address),
        "file": symbol.file,
        "line": symbol.line,
    }
    if symbol.kind == "func":
        callers, callees = edges(desk, table, symbol)
        data |= {"callers": callers, "calls": callees}
        lines.append("called by: " + (", ".join(callers[:CALLERS_MAX]) or "nobody by name"))
        lines.append("calls: " + (", ".join(callees[:CALLERS_MAX]) or "nothing"))
    source = _source(desk, symbol, place.line if address != symbol.address else None)
    lines += source or _promise(header)
    return Answer("\n".join(lines), data)


def _from_sources(desk: Desk, what: str) -> Answer:
    """What the sources alone tell, of a kernel that does not assemble."""
    name, begin, end = place_of(desk, what.partition("+")[0])
    lines = [
        f"{what}: the kernel does not assemble as it is, so this is from the sources alone; {name}:{begin}"
    ]
    lines.append(numbered(desk.texts()[name], begin, min(end, begin + SOURCE_LINES)))
    return Answer("\n".join(lines), {"symbol": what, "file": name, "line": begin})


def _promise(header: Routine | None) -> list[str]:
    if header is None:
        return []
    lines = [header.summary]
    for name, slots in (("In", header.inputs), ("Out", header.outputs)):
        text = ", ".join(f"{s.register} = {s.name}{':' + s.type if s.type else ''}" for s in slots)
        lines.append(f"  {name + ':':<10} {text or 'none'}")
    lines.append(f"  Clobbers:  {', '.join(header.clobbers) or 'none'}")
    return [*lines, f"  Context:   {header.context or 'not said'}"]


def edges(desk: Desk, table: SymbolTable, symbol: Symbol) -> tuple[list[str], list[str]]:
    """The routines that branch into a routine, and those that it branches to, sorted by name."""
    graph = desk.remember("edges", lambda: _graph(table))
    callers = sorted({a for a, b in graph if b == symbol.name and a != b})
    return callers, sorted({b for a, b in graph if a == symbol.name and a != b})


def _graph(table: SymbolTable) -> set[tuple[str, str]]:
    """(from, to) for each direct branch from one routine into another; names taken by LEA count too."""
    from toolchain import disassemble

    found = set()
    for instruction in disassemble.image(table):
        if instruction.target is None:
            continue
        taken = instruction.text.startswith("lea")
        target = table.symbol_at(instruction.target)
        if target is None or target.kind != "func" or not (taken or _BRANCH.match(instruction.text)):
            continue
        source = table.symbol_at(instruction.address)
        if source is not None and (not taken or target.address == instruction.target):
            found.add((source.name, target.name))
    return found


def _source(desk: Desk, symbol: Symbol, line: int | None) -> list[str]:
    text = desk.texts().get(symbol.file)
    if text is None:
        return []
    try:
        name, begin, end = place_of(desk, symbol.name)
    except InputError:  # a label that a macro makes
        name, begin, end = symbol.file, max(1, symbol.line - 1), symbol.line + _AROUND
    whole = desk.texts()[name]
    if line is None or end - begin <= SOURCE_LINES:
        shown = min(end, begin + SOURCE_LINES)
        rest = [f"… to line {end}"] if shown < end else []
        return [f"{name}:", numbered(whole, begin, shown, mark=line or 0), *rest]
    head = begin  # of a long routine its header, and what stands around the line
    rows = whole.split("\n")
    while head < end and rows[head - 1].startswith("#"):
        head += 1
    first, last = max(head, line - _AROUND), min(end, line + _AROUND)
    return [f"{name}:", numbered(whole, begin, head, mark=line), "…", numbered(whole, first, last, mark=line)]


def _region(address: int) -> str:
    from toolchain.harness import DIRECT_BASE

    if address >= DIRECT_BASE and address < DIRECT_BASE + (1 << 46):
        return f"In the direct map it is physical {address - DIRECT_BASE:#x}; /walk {address:#x} shows what maps it."
    return f"/walk {address:#x} shows what maps it, if anything."
