"""Why a foreign kernel died: the fault report from QEMU's log and the registers, in the mode that the CPU was in.

Owns what ``fault.analyse`` cannot know of a kernel without PXFAULT blocks: real-mode addresses (segment and offset),
code that only guest memory holds, and sentences in the words of this tree's own judge.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from toolchain import disassemble, fault, qemulog, vectors
from toolchain.clues import describe
from toolchain.foreign.boot import Boot
from toolchain.foreign.names import Names
from toolchain.symbols import SymbolTable
from toolchain.types import CodePlace, Diagnosis, FaultReport, Mode

_MAX_INSTRUCTION = 15
_WRMSR = b"\x0f\x30"
_MODES = {16: "real mode", 32: "protected mode", 64: "long mode"}
_EFER_LMA, _CR0_PE = 1 << 10, 1
_BIOS = 0xC0000  # where ROMs begin
_IDT_REAL = 0x3FF  # limit of the interrupt vector table that a BIOS leaves


def explain(boot: Boot, names: Names | None, tree: Path) -> FaultReport | None:
    """The report of a boot that did not end well; None for one that did, or whose QEMU died."""
    table = names.table() if names is not None else None
    result = boot.result
    if result.outcome in ("panic", "shutdown") and _log(boot).final_chain():
        result = replace(
            result, outcome="fault"
        )  # its own handler told the exception; the log knows it as well
    report = fault.analyse(result, table, tree)
    if report is None:
        return None
    report = replace(report, outcome=boot.result.outcome)
    bits = _bits(boot)
    linear = _linear(boot, report, bits)
    if linear is not None:
        place = table.place(linear) if table is not None else CodePlace(linear)
        report = replace(
            report,
            place=place,
            source=fault.source_lines(tree, place),
            instruction=_instruction(boot, table, linear, bits or 64),
        )
    kept = tuple(d for d in report.diagnosis if _applies(d, names))
    return replace(report, cause=_cause(boot, report, bits), diagnosis=(*_rules(boot, report, bits), *kept))


def _applies(diagnosis: Diagnosis, names: Names | None) -> bool:
    """Whether a rule made for our own kernel says something about this one."""
    if "PX" in diagnosis.sentence or "boot unit" in diagnosis.sentence:
        return False
    if diagnosis.rule == "not-in-long-mode":  # a kernel that never writes an MSR means to stay in 32-bit mode
        return names is not None and any(_WRMSR in section.data for section in names.image.sections)
    return True


def _bits(boot: Boot) -> int:
    """The width of the code that died: of the first exception's, else of now; 0 where no registers tell."""
    log = _log(boot)
    chain = (
        log.final_chain() if boot.result.outcome in ("fault", "panic", "shutdown") or log.repeats() else ()
    )
    if chain and "bits" in chain[0].registers:
        return chain[0].registers["bits"]
    return boot.result.snapshot.registers.get("bits", 0) if boot.result.snapshot else 0


def _log(boot: Boot) -> qemulog.QemuLog:
    return qemulog.parse(boot.result.qemu_log.encode("latin-1", "replace"))


def _linear(boot: Boot, report: FaultReport, bits: int) -> int | None:
    """The address of the instruction in memory: in real mode the segment counts."""
    rip = report.registers.get("rip")
    if rip is None:
        return None
    return (report.registers.get("cs", 0) << 4) + (rip & 0xFFFF) if bits == 16 else rip


def _instruction(boot: Boot, table: SymbolTable | None, linear: int, bits: int) -> str:
    """The instruction there, decoded for the mode; from the image, else from guest memory."""
    data = table.read(table.linked(linear), _MAX_INSTRUCTION) if table is not None else b""
    if not data and boot.result.snapshot is not None:
        for chunk in boot.result.snapshot.memory:
            if chunk.physical <= linear < chunk.physical + len(chunk.data):
                data = chunk.data[linear - chunk.physical :][:_MAX_INSTRUCTION]
    first = next(disassemble.decode(data, linear, cast(Mode, bits)), None) if data else None
    return first.text if first is not None and not first.text.startswith(".byte") else ""


def _cause(boot: Boot, report: FaultReport, bits: int) -> str:
    place = report.place
    where = f" at {describe(place)}" if place is not None and place.address else ""
    mode = f" in {_MODES[bits]}" if bits in _MODES else ""
    if report.chain:
        first = report.chain[0]
        what = f": {', '.join(first.decoded)}" if first.decoded else ""
        if first.vector == vectors.PAGE_FAULT and first.cr2 is not None:
            what += f" ({first.cr2:#x})"
        said = f"; {boot.message}" if boot.result.outcome == "panic" else ""
        return f"{first.name} ({vectors.title(first.vector)}){what}{where}{mode}{said}"
    sentence = {
        "timeout": f"no end within {boot.result.seconds:.1f} s{where}{mode}: {boot.message}",
        "silent": f"the kernel said nothing within {boot.result.seconds:.1f} s{where}{mode}: {boot.message}",
        "panic": boot.message,
    }
    return sentence.get(boot.result.outcome, f"{boot.message}{where}{mode}")


def _rules(boot: Boot, report: FaultReport, bits: int) -> tuple[Diagnosis, ...]:
    """What the registers tell of a death before long mode, where no four-level walk says anything."""
    found = []
    known = report.registers
    suspects = (report.place.symbol,) if report.place is not None and report.place.symbol else ()
    triple = "triple fault" in boot.message
    if triple and bits != 64 and not known.get("idt_limit", 0):
        text = "No interrupt descriptor table is loaded, so that any exception ends in a triple fault"
        found.append(Diagnosis("no-idt", text, (), "load one with LIDT, or mend what raises the exception"))
    if (
        triple
        and known.get("cr0", 0) & _CR0_PE
        and known.get("idt_limit") == _IDT_REAL
        and not known.get("idt_base")
    ):
        text = "The interrupt descriptor table is still the real-mode one of the BIOS, so that any exception ends in a"
        found.append(Diagnosis("bios-idt", f"{text} triple fault", (), "load a table of gates with LIDT"))
    hangs = boot.result.outcome in ("timeout", "silent")
    if bits == 16 and hangs and report.place is not None and report.place.address >= _BIOS:
        text = "The machine is in the BIOS: a software interrupt did not come back, or a jump went astray"
        found.append(Diagnosis("in-bios", text, suspects))
    if report.place is not None and report.place.symbol is None and report.chain:
        text = f"RIP is {report.place.address:#x}, where no code of the kernel lies: a jump, call or return went astray"
        found.append(Diagnosis("astray", text, ()))
    return tuple(found)
