"""Source lines for places that an image names by symbol alone: instructions counted from the label in the source.

Owns the counting. Assembly without debug information is common, and its labels are in the sources: the n-th instruction
behind a label in the image is the n-th in the text, as long as no macro and no data stand between. Never guesses past
either.
"""

from __future__ import annotations

from dataclasses import replace

from architect.foreign.tongue import Translation
from architect.statements import Statement
from toolchain import disassemble
from toolchain.symbols import SymbolTable
from toolchain.types import CodePlace, FaultReport, Mode

_REACH = 4096  # bytes from a label that are decoded at most


def located(report: FaultReport, table: SymbolTable, translation: Translation) -> FaultReport:
    """The same report with lines for its place and its trace, where they can be counted."""
    bits = _bits(report)
    place = report.place
    return replace(
        report,
        place=_located(place, table, translation, bits) if place is not None else None,
        trace=tuple(_located(step, table, translation, bits) for step in report.trace),
    )


def _bits(report: FaultReport) -> Mode:
    """The width of the code: long mode by EFER.LMA, protected mode by CR0.PE."""
    known = report.registers
    if known.get("efer", 0) & 1 << 10:
        return 64
    return 32 if known.get("cr0", 0) & 1 else 16


def _located(place: CodePlace, table: SymbolTable, translation: Translation, bits: Mode) -> CodePlace:
    if place.line is not None or place.symbol is None or place.offset > _REACH:
        return place
    start = place.address - place.offset
    data = table.read(start, place.offset)
    if len(data) != place.offset:
        return place
    count = sum(1 for _ in disassemble.decode(data, start, bits))
    found = _statement(translation, place.symbol, count)
    return replace(place, file=found.file, line=found.line) if found is not None else place


def _statement(translation: Translation, label: str, count: int) -> Statement | None:
    """The instruction that stands ``count`` instructions behind a label; None where that cannot be said."""
    rows = sorted(translation.statements.items(), key=lambda row: row[0])
    begun: str | None = None
    for (file, number), statement in rows:
        if begun is None and label in translation.labels_at(file, number):
            begun = file
        if begun is None:
            continue
        if (
            file != begun
            or statement.kind == "macro"
            or (statement.kind == "directive" and statement.name in _DATA)
        ):
            return None
        if statement.kind == "instruction":
            if count == 0:
                return statement
            count -= 1
    return None


_DATA = frozenset(
    {".byte", ".word", ".long", ".quad", ".ascii", ".asciz", ".skip", ".zero", ".space", ".balign"}
)
