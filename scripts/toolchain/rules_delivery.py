"""Rules for descriptor tables, stacks and handlers: why an exception could not be delivered, or its handler died.

Owns the reading of Intel SDM vol. 3, chapters 3, 5, 6 and 8 for ``diagnose``. Each rule is a function of ``Clues``;
``RULES`` holds them in order.
"""

from __future__ import annotations

from toolchain import vectors, walk
from toolchain.clues import PAGE, Clues
from toolchain.rule_words import here, instruction
from toolchain.types import Diagnosis

_GATE_TYPES = {0xE: "interrupt gate", 0xF: "trap gate", 0xC: "call gate"}
_TSS_IST1 = 0x24  # SDM vol. 3, figure 8-11
_FRAME_QUADS = 6  # error code, rip, cs, rflags, rsp, ss
_SELECTOR_MAX = 0x80

_RAISES = ("int", "ud2")  # instructions that raise an exception on purpose


def frame_not_popped(clues: Clues) -> Diagnosis | None:
    """#GP or worse at an iret whose frame is off by one quadword: the error code was left on the stack."""
    code = clues.instruction
    if (
        code is None
        or not code.name.startswith("iret")
        or len(clues.stack) < _FRAME_QUADS
        or clues.first is None
    ):
        return None
    shifted_rip, shifted_cs = clues.stack[1], clues.stack[2]
    section = clues.symbols.section_at(shifted_rip) if clues.symbols else None
    looks_shifted = section is not None and "x" in section.flags and 0 < shifted_cs < _SELECTOR_MAX
    if looks_shifted:
        return Diagnosis(
            "error-code-on-stack",
            f"{instruction(clues)} in {here(clues)} finds {clues.stack[0]:#x} where RIP should be, and RIP and CS one "
            "quadword further: the error code is still on the stack.",
            clues.routines(),
            "exceptions 8, 10-14, 17 and 21 push an error code: their stubs must drop it (add rsp, 8) before iretq",
        )
    rip, cs = clues.stack[0], clues.stack[1]
    return Diagnosis(
        "bad-interrupt-frame",
        f"{instruction(clues)} in {here(clues)} would return to rip = {rip:#x}, cs = {cs:#x}: the frame is "
        "damaged, or rsp is not where it lies.",
        clues.routines(),
        "the handler must leave rsp where the processor pushed the frame, plus what the stub itself pushed",
    )


def idt_gate(clues: Clues) -> Diagnosis | None:
    """A selector error code with the IDT bit: the gate of a vector is missing or wrong."""
    if _without_idt(clues):
        return None
    for before, item in zip((None, *clues.chain), clues.chain, strict=False):
        if item.vector not in (vectors.PROTECTION, vectors.NOT_PRESENT):
            continue
        vector = vectors.idt_vector(item.error, before.vector if before else None)
        if vector is None:
            continue
        return Diagnosis(
            "idt-gate",
            f"Vector {vector:#x} ({vectors.name(vector)}) could not be delivered: its IDT gate "
            f"{_gate_fault(clues, vector)}.",
            _loaders(clues),
            "fill the gate (offset, selector, type 0x8e) and load the IDT with its right limit",
        )
    return None


def _gate_fault(clues: Clues, vector: int) -> str:
    base = clues.registers.get("idt_base", 0)
    low, high = clues.quad(base + 16 * vector), clues.quad(base + 16 * vector + 8)
    if low is None or high is None:
        return "is not readable" if clues.result.snapshot else "is missing or wrong"
    kind, present, selector = low >> 40 & 0x1F, low >> 47 & 1, low >> 16 & 0xFFFF
    target = low & 0xFFFF | low >> 32 & 0xFFFF0000 | (high & 0xFFFFFFFF) << 32
    if not present:
        return "is not present" if low or high else "is empty"
    if kind not in _GATE_TYPES:
        return f"has type {kind:#x}, which is no interrupt or trap gate"
    return f"(selector {selector:#x}, target {clues.name(target)}) was refused: look at the selector"


def bad_selector(clues: Clues) -> Diagnosis | None:
    """#GP, #NP, #SS or #TS that names a selector."""
    first = clues.first
    if first is None or first.vector not in (10, 11, 12, 13):
        return None
    selector = vectors.selector(first.error)
    if selector is None:
        return None
    base, limit = clues.registers.get("gdt_base", 0), clues.registers.get("gdt_limit")
    entry = clues.quad(base + (selector & ~7)) if not selector & 4 else None
    if limit is not None and selector | 7 > limit and not selector & 4:
        what = f"lies beyond the GDT's limit {limit:#x}"
    elif entry is None:
        what = "was refused"
    elif not entry >> 47 & 1:
        what = f"names a descriptor ({entry:#018x}) that is not present"
    else:
        kind = "code" if entry >> 43 & 3 == 3 else "data" if entry >> 43 & 3 == 2 else "system"
        what = f"names a {kind} segment (DPL {entry >> 45 & 3}, {entry:#018x}) that does not fit its use"
    return Diagnosis(
        "bad-selector",
        f"{instruction(clues)} in {here(clues)} loads selector {selector:#x}, which {what}.",
        clues.routines(),
        "compare the selector with the GDT: index * 8, RPL in bits 1:0, code for CS, writable data for SS, TSS for TR",
    )


def stack_in_tables(clues: Clues) -> Diagnosis | None:
    """The stack pointer lies in a page that serves as a page table."""
    if clues.first is None or clues.registers.get("bits", 64) != 64:
        return None
    rsp = clues.registers.get("rsp", 0)
    found = walk.translate(rsp, clues.paging(), clues.read_physical)
    tables = {level.entry_address & ~(PAGE - 1) for level in found.levels}
    if clues.walk:
        tables |= {level.entry_address & ~(PAGE - 1) for level in clues.walk.levels}
    if found.physical is None or found.physical & ~(PAGE - 1) not in tables:
        return None
    return Diagnosis(
        "stack-in-page-tables",
        f"The stack pointer {rsp:#x} points into the page table at {found.physical & ~(PAGE - 1):#x}: the stack has "
        "grown into the page tables and overwrites them.",
        clues.routines(),
        "a larger stack with an unmapped guard page below it, away from the tables",
    )


def undeliverable(clues: Clues) -> Diagnosis | None:
    """Why the first exception became a double or triple fault: no IDT, or no stack for its frame."""
    first = clues.first
    if first is None or len(clues.chain) < 2 or any(item.source == "kernel" for item in clues.chain):
        return None  # the kernel's own report proves that delivery works
    if without := _without_idt(clues):
        return Diagnosis(
            "no-idt",
            f"{first.name} could not be delivered because {without}; hence the chain to the triple fault.",
            (),
            "this is why the machine died without a word, not why it faulted",
        )
    return _no_stack(clues)


def _loaders(clues: Clues, *also: str) -> tuple[str, ...]:
    """Routines that load the IDT; behind them those that only do so to reset the machine by a triple fault."""
    names = clues.code.routines_with("lidt", *also)
    last = clues.code.routines_before("lidt", _RAISES)
    return tuple(sorted(names, key=lambda name: name in last))


def _without_idt(clues: Clues) -> str:
    """Why there is no gate for the first exception, or nothing when the IDT reaches it."""
    limit, base = clues.registers.get("idt_limit"), clues.registers.get("idt_base")
    width = 16 if clues.registers.get("bits", 64) == 64 else 8
    vector = clues.first.vector if clues.first else 0
    if limit == 0 or base == 0:
        return "no IDT is loaded"
    if limit is not None and limit < (vector + 1) * width - 1:
        return f"the IDT ends before it (limit {limit:#x})"
    return ""


def _no_stack(clues: Clues) -> Diagnosis | None:
    rsp = clues.registers.get("rsp", 0)
    if clues.registers.get("bits", 64) != 64 or clues.result.snapshot is None:
        return None
    pushed = walk.translate((rsp & ~15) - 8 & (1 << 64) - 1, clues.paging("write"), clues.read_physical)
    if (pushed.mapped and pushed.ends_at is None) or "was not read" in pushed.reason:
        return None
    index = _ist_of(clues, vectors.DOUBLE_FAULT)
    ist, hint = "", "see that rsp is set, and that the stack is mapped writable"
    if index == 0:
        ist = ", and the #DF gate has no IST stack"
        hint = "give #DF a stack of its own: IST1 in the TSS and in its gate"
    elif index is not None:
        stack = clues.quad(clues.registers.get("tr_base", 0) + _TSS_IST1 + 8 * (index - 1))
        ist = f", and the #DF gate uses IST{index}" + (f" ({stack:#x})" if stack is not None else "")
        hint = "check that the IST entry of the TSS points at the top of a mapped stack"
    return Diagnosis(
        "no-stack-for-frame",
        f"The stack at {rsp:#x} cannot take an exception frame ({pushed.reason}){ist}.",
        _loaders(clues, "ltr"),
        hint,
    )


def _ist_of(clues: Clues, vector: int) -> int | None:
    """The IST index of a gate, None where it was not read."""
    low = clues.quad(clues.registers.get("idt_base", 0) + 16 * vector)
    return low >> 32 & 7 if low is not None else None


def handler_died(clues: Clues) -> Diagnosis | None:
    """An exception inside the handler of the first one."""
    first = clues.first
    if first is None:
        return None
    later = next((e for e in clues.chain[1:] if e.rip not in (None, first.rip)), None)
    if later is None or later.rip is None:
        return None
    return Diagnosis(
        "handler-died",
        f"The handler of {first.name} faulted itself: {later.name} at {clues.name(later.rip)}.",
        tuple(s.name for s in [clues.symbols.symbol_at(later.rip)] if s) if clues.symbols else (),
        "mend the first fault; then see that the handler works on a stack and registers it can trust",
    )


def report_cut(clues: Clues) -> Diagnosis | None:
    """A PXFAULT block without its end."""
    block = clues.result.kernel_fault
    if block is None or ("stack" in block and "trace" in block) or "PXFAULT v1 end" in clues.result.serial:
        return None
    last = next(reversed(block), "begin")
    return Diagnosis(
        "report-cut",
        f"The kernel's own fault report was cut after '{last}': the reporter died, or the log is truncated.",
    )


EXPLAIN = (frame_not_popped, idt_gate, bad_selector)
RULES = (*EXPLAIN, stack_in_tables, handler_died, undeliverable, report_cut)
