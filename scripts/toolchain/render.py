"""A FaultReport for people and for programs.

Owns: the text (the first screen says what died, where, why, and what to try) and the JSON form. Addresses and
register values are ``0x`` strings in JSON: beyond 2^53 many readers of JSON lose digits. Never computes anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolchain.clues import describe
from toolchain.command import paint
from toolchain.types import CodePlace, Diagnosis, FaultReport, Unit, Walk

_GENERAL = (
    ("rax", "rbx", "rcx", "rdx"), ("rsi", "rdi", "rbp", "rsp"), ("r8", "r9", "r10", "r11"),
    ("r12", "r13", "r14", "r15"), ("rip", "rflags", "cs", "ss"), ("cr0", "cr2", "cr3", "cr4"),
    ("efer", "idt_limit", "idt_base", "gdt_base"),
)  # fmt: skip
_WIDTH = 18  # of a 64-bit number with 0x
_CONTROL = dict.fromkeys((*range(32), 127, *range(128, 160)), ".")


def text(report: FaultReport, colour: bool = False) -> str:
    """The report for a person, without a final newline.

    Args:
        report: from ``fault.analyse``.
        colour: ANSI styles; pass True for a terminal only.
    """
    return "\n".join(_lines(report, colour))


def _lines(report: FaultReport, colour: bool) -> Iterator[str]:
    yield paint(f"{report.outcome.upper()}  {_safe(report.cause)}", "red", colour)
    if report.program:
        of = ", a fault of ring 3" if report.scope == "user" else ", in a system call or an interrupt of its"
        yield f"  program     {_safe(report.program)}{of}"
    if report.unit:
        yield f"  boot unit   {_safe(report.unit)}" + (
            f", after {_progress(report.units)}" if report.units else ""
        )
    if report.instruction:
        yield f"  instruction {report.instruction}"
    for diagnosis in report.diagnosis:
        yield ""
        yield from _diagnosis(diagnosis, colour)
    if report.source:
        yield _heading(f"source of {report.place.file if report.place else ''}", colour)
        for line in report.source:
            mark = ">" if line.marked else " "
            row = f"{mark} {line.number:5}  {_safe(line.text)}"
            yield paint(row, "bold", colour and line.marked)
    if len(report.chain) > 1 or (report.chain and report.chain[0].decoded):
        yield _heading("exception chain", colour)
        for number, item in enumerate(report.chain, 1):
            error = f"  error {item.error:#x}" if item.error is not None else ""
            decoded = f" ({', '.join(item.decoded)})" if item.decoded else ""
            cr2 = f"  cr2 {item.cr2:#x}" if item.cr2 is not None else ""
            yield f"  {number}. {item.name:<5}{error}{decoded}{cr2}  [{item.source}]"
    if report.walk:
        yield _heading(f"page walk of {report.walk.address:#x}, CR3 {report.walk.cr3:#x}", colour)
        yield from _walk(report.walk, colour)
    if report.trace:
        yield _heading("trace", colour)
        for place in report.trace:
            yield f"  {_place(place)}"
    if report.registers:
        yield _heading("registers", colour)
        yield from _registers(report.registers)
    if report.serial_tail:
        yield _heading("last lines on the serial port", colour)
        for said in report.serial_tail:
            yield f"  {_safe(said)}"


def _heading(words: str, colour: bool) -> str:
    return "\n" + paint(words, "cyan", colour)


def _safe(words: str) -> str:
    """Guest text on a person's terminal: no control characters."""
    return words.expandtabs(8).translate(_CONTROL)


def _progress(units: tuple[Unit, ...]) -> str:
    done = [unit.name for unit in units if unit.state in ("ok", "skip")]
    return f"{len(done)} done ({_safe(', '.join(done[-6:]))})" if done else "none done"


def _diagnosis(diagnosis: Diagnosis, colour: bool) -> Iterator[str]:
    yield paint(f"  {_safe(diagnosis.sentence)}", "yellow", colour)
    if diagnosis.suspects:
        yield f"    look at   {', '.join(diagnosis.suspects)}"
    if diagnosis.hint:
        yield f"    try       {_safe(diagnosis.hint)}"


def _place(place: CodePlace) -> str:
    return f"{place.address:#018x}  {describe(place)}" if place.symbol else f"{place.address:#018x}"


def _walk(walk: Walk, colour: bool) -> Iterator[str]:
    for level in walk.levels:
        entry = "not read" if level.entry is None else f"{level.entry:#018x}"
        row = f"  {level.level:<4} [{level.index:3}] at {level.entry_address:#x}: {entry}  {' '.join(level.flags)}"
        yield paint(row, "red", colour and level.level == walk.ends_at)
    yield f"  -> {walk.reason}"


def _registers(registers: dict[str, int]) -> Iterator[str]:
    for row in _GENERAL:
        cells = [f"{name:>9} {registers[name]:#0{_WIDTH}x}" for name in row if name in registers]
        if cells:
            yield " ".join(cells)


def as_json(report: FaultReport) -> dict[str, Any]:
    """The report as JSON values, see ``schemas/fault.json``."""
    return {
        "outcome": report.outcome,
        "scope": report.scope,
        "cause": report.cause,
        "chain": [
            {
                "vector": item.vector,
                "name": item.name,
                "error": item.error,
                "decoded": list(item.decoded),
                "rip": _hex(item.rip),
                "cr2": _hex(item.cr2),
                "source": item.source,
            }
            for item in report.chain
        ],
        "registers": {name: _hex(value) for name, value in report.registers.items()},
        "place": _place_json(report.place),
        "instruction": report.instruction,
        "source": [
            {"number": line.number, "text": line.text, "marked": line.marked} for line in report.source
        ],
        "trace": [_place_json(place) for place in report.trace],
        "stack": [_hex(value) for value in report.stack],
        "walk": _walk_json(report.walk) if report.walk else None,
        "unit": report.unit,
        "units": units_json(report.units),
        "diagnosis": [
            {"rule": d.rule, "sentence": d.sentence, "suspects": list(d.suspects), "hint": d.hint}
            for d in report.diagnosis
        ],
        "serial_tail": list(report.serial_tail),
        "panic": list(report.panic) if report.panic else None,
        "program": report.program,
    }


def units_json(units: tuple[Unit, ...]) -> list[dict[str, Any]]:
    """Boot units as JSON values."""
    return [
        {"name": u.name, "state": u.state, "tsc": u.tsc, "tsc_start": u.tsc_start, "values": dict(u.values)}
        for u in units
    ]


def _hex(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"


def _place_json(place: CodePlace | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {
        "address": _hex(place.address),
        "symbol": place.symbol,
        "offset": place.offset,
        "file": place.file,
        "line": place.line,
    }


def _walk_json(walk: Walk) -> dict[str, Any]:
    return {
        "address": _hex(walk.address),
        "cr3": _hex(walk.cr3),
        "levels": [
            {
                "level": level.level,
                "index": level.index,
                "entry_address": _hex(level.entry_address),
                "entry": _hex(level.entry),
                "flags": list(level.flags),
            }
            for level in walk.levels
        ],
        "mapped": walk.mapped,
        "physical": _hex(walk.physical),
        "page_size": walk.page_size,
        "ends_at": walk.ends_at,
        "reason": walk.reason,
    }
