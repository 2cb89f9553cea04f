"""Rules for ends without an exception: a hang, silence, a panic, a reset, a power-off.

Each rule is a function of ``Clues``; ``RULES`` holds them in order.
"""

from __future__ import annotations

import re

from toolchain import qemulog
from toolchain.clues import Clues, boot_units
from toolchain.codeview import Code
from toolchain.rule_words import here
from toolchain.types import Diagnosis

# GRUB misses modules of its own, which is no harm
_LOADER_ERROR = re.compile(r"error: (?!file `/boot/grub)([^\r\n]{1,200}?)\.?\s*[\r\n]")
_RFLAGS_IF = 1 << 9
_STORM = 1000  # exceptions in one boot
_BRANCHES = ("jmp", "loop")


def _in_unit(clues: Clues) -> str:
    if clues.unit:
        return f"Boot unit {clues.unit} started and did not end"
    last = clues.result.units[-1] if clues.result.units else None
    return (
        f"The last boot unit that spoke, {last.name}, ended with {last.state}"
        if last
        else "No boot unit spoke"
    )


def hang(clues: Clues) -> Diagnosis | None:
    """The deadline came while the guest was alive and had spoken."""
    if clues.result.outcome != "timeout" or clues.chain:
        return None
    return Diagnosis("hang", f"{_in_unit(clues)}; {_state(clues)}.", clues.routines(), _hint(clues))


def loader(clues: Clues) -> Diagnosis | None:
    """GRUB refused the kernel."""
    if clues.result.outcome != "silent":
        return None
    said = [words.strip() for words in _LOADER_ERROR.findall(clues.result.serial)]
    if not said:
        return None
    return Diagnosis(
        "loader-refused",
        f"GRUB did not start the kernel: {said[0]}.",
        (),
        "the Multiboot2 header must lie in the first 32 KiB of the file on 8 bytes, with its right length and checksum",
    )


def silent(clues: Clues) -> Diagnosis | None:
    """Not one byte on the serial line."""
    if clues.result.outcome != "silent" or clues.chain or loader(clues):
        return None
    known = clues.registers
    if clues.symbols and clues.symbols.section_at(clues.symbols.linked(clues.rip)) is None:
        text = f"The processor is at {clues.rip:#x}, outside the kernel image: it was never entered, or it ran away"
        hint = (
            "check the entry address, the PVH note, and the Multiboot2 header (first 32 KiB, 8-byte aligned)"
        )
        return Diagnosis("silent-not-entered", f"{text}.", (), hint)
    mode = "64-bit mode" if known.get("bits", 64) == 64 else f"{known.get('bits')}-bit mode"
    return Diagnosis(
        "silent",
        f"The kernel was entered and wrote nothing to COM1; in {mode}, {_state(clues)}.",
        clues.routines(),
        ""
        if _waits(clues)
        else "see that the serial port is set up first, and that the first unit is reached",
    )


def no_interrupt(clues: Clues) -> Diagnosis | None:
    """It waits for an interrupt, and none comes."""
    if clues.result.outcome not in ("timeout", "silent") or clues.chain or not _waits(clues):
        return None
    return Diagnosis(
        "no-interrupt",
        f"The processor halts with interrupts on at {here(clues)}, and none comes that it waits for.",
        clues.routines(),
        "see that its line is unmasked (8259 IMR, IO-APIC entry, LVT), that the device was set up, and that each "
        "handler ends its interrupt (EOI)",
    )


def _waits(clues: Clues) -> bool:
    """Whether the processor is halted until an interrupt comes."""
    before = clues.code.before(clues.rip)
    waits = clues.registers.get("rflags", 0) & _RFLAGS_IF
    return before is not None and before.name == "hlt" and bool(waits)


def _state(clues: Clues) -> str:
    """Halted, spinning, or simply somewhere."""
    before = clues.code.before(clues.rip)
    if before is not None and before.name == "hlt":
        if _waits(clues):
            return f"the processor waits in hlt at {here(clues)} for an interrupt that does not come"
        return f"the processor is halted at {here(clues)} with interrupts off: nothing can wake it"
    loop = _loop_around(clues)
    if loop:
        what = ", ".join(f"'{code.text}'" for code in loop[:4])
        return f"the processor spins at {here(clues)} in {what}"
    return f"the processor is at {here(clues)}"


def _loop_around(clues: Clues) -> list[Code]:
    """The smallest backward branch around RIP, with what it repeats."""
    best: list[Code] = []
    body = clues.code.routine(clues.rip)
    for code in body:
        branches = code.name.startswith(_BRANCHES) or code.name.startswith("j")
        if not branches or code.target is None or not code.target <= clues.rip <= code.address:
            continue
        inside = [c for c in body if code.target <= c.address <= code.address]
        if not best or len(inside) < len(best):
            best = inside
    return best


def _hint(clues: Clues) -> str:
    loop = _loop_around(clues)
    if any(code.name in ("in", "pause") or "[" in code.operands for code in loop):
        return (
            "the loop waits for a device or a memory word: bound every wait, and check who should change it"
        )
    return "see what ends the loop, and whether its counter or condition is ever changed" if loop else ""


def panic(clues: Clues) -> Diagnosis | None:
    """The kernel gave up by itself."""
    if clues.result.outcome != "panic":
        return None
    failed = [unit for unit in clues.result.units if unit.state == "fail"]
    said = clues.result.panic
    text = (
        f"The kernel gave up: {said[0]}: {said[1]}"
        if said
        else "The kernel told pvpanic that it gave up and said no reason"
    )
    if failed:
        notes = " ".join(f"{key}={value}" for key, value in failed[-1].values.items())
        text += f"; boot unit {failed[-1].name} had failed" + (f" ({notes})" if notes else "")
    declared = boot_units(clues.tree)
    entries = [declared[unit.name] for unit in reversed(failed) if unit.name in declared]
    return Diagnosis("panic", f"{text}.", tuple(dict.fromkeys([*entries, *clues.routines()])))


def reset(clues: Clues) -> Diagnosis | None:
    """The guest reset the machine, without a triple fault in the log."""
    if clues.result.outcome != "reset":
        return None
    command = clues.result.command
    blind = "kvm" in command
    why = (
        "under KVM a triple fault looks the same: boot with --accel tcg"
        if blind
        else "port 0xcf9, 0x92 or 0x64"
    )
    return Diagnosis(
        "reset",
        f"{_in_unit(clues)}; the guest reset the machine at {here(clues)}.",
        clues.routines(),
        why,
    )


def shutdown(clues: Clues) -> Diagnosis | None:
    """The guest ended the machine before it was ready."""
    if clues.result.outcome != "shutdown":
        return None
    exited = clues.result.qemu_status is not None
    how = "by isa-debug-exit, claiming success," if exited else "by ACPI power-off"
    text = f"{_in_unit(clues)}; the guest ended the machine {how} without PXREADY."
    return Diagnosis("shutdown", text, clues.routines(), "success is read from PXREADY or test results only")


def silent_fault(clues: Clues) -> Diagnosis | None:
    """The exit status of a fault without a report."""
    if clues.result.outcome != "fault" or clues.chain or clues.result.kernel_fault:
        return None
    return Diagnosis(
        "fault-unreported",
        f"{_in_unit(clues)}; the kernel ended QEMU with the status of a fault and no report.",
    )


def storm(clues: Clues) -> Diagnosis | None:
    """The same exception for ever: its handler returns without a mend."""
    first = clues.first
    if first is None or clues.result.outcome not in ("timeout", "silent"):
        return None
    log = qemulog.parse(clues.result.qemu_log.encode("latin-1", "replace"))
    if len(log.records) < _STORM and not log.repeats():
        return None
    return Diagnosis(
        "exception-storm",
        f"{first.name} at {here(clues)} repeats for ever ({len(log.records)} times in the log's end): its handler "
        "returns to the same instruction and mends nothing.",
        clues.routines(),
        "a handler must report a fault that it cannot mend, not return",
    )


def stuck_in_handler(clues: Clues) -> Diagnosis | None:
    """An exception was delivered and its handler neither returned nor reported."""
    first = clues.first
    if first is None or clues.result.outcome not in ("timeout", "silent") or storm(clues):
        return None
    now = clues.result.snapshot.registers.get("rip", 0) if clues.result.snapshot else 0
    return Diagnosis(
        "stuck-in-handler",
        f"{first.name} at {here(clues)} was delivered, and its handler has not ended: it is at {clues.name(now)}.",
        tuple(s.name for s in [clues.symbols.symbol_at(now)] if s) if clues.symbols else (),
    )


RULES = (hang, loader, silent, no_interrupt, panic, reset, shutdown, silent_fault, storm, stuck_in_handler)
