"""Rules for the exceptions that are no page faults, for descriptor tables and stacks, and for escalations.

Owns the reading of Intel SDM vol. 3, chapters 3, 5 and 6 for ``diagnose``. Each rule is a function of ``Clues``;
``RULES`` holds them in order.
"""

from __future__ import annotations

from toolchain import vectors, walk
from toolchain.clues import PAGE, Clues, describe
from toolchain.codeview import effective_address
from toolchain.types import Diagnosis

_CR0_EM, _CR0_TS = 1 << 2, 1 << 3
_CR4_OSFXSR, _CR4_OSXSAVE = 1 << 9, 1 << 18
_ALIGNED = frozenset({
    "movaps", "movapd", "movdqa", "movntps", "movntpd", "movntdq", "movntdqa", "fxsave", "fxsave64", "fxrstor",
    "fxrstor64", "cmpxchg16b", "addps", "addpd", "subps", "subpd", "mulps", "mulpd", "andps", "andpd", "orps", "orpd",
    "xorps", "xorpd", "pxor", "por", "pand", "paddd", "paddq",
})  # fmt: skip
_SSE_REGISTERS = ("xmm", "ymm", "mxcsr")
_GATE_TYPES = {0xE: "interrupt gate", 0xF: "trap gate", 0xC: "call gate"}
_TSS_IST1 = 0x24  # SDM vol. 3, figure 8-11
_FRAME_QUADS = 6  # error code, rip, cs, rflags, rsp, ss
_SELECTOR_MAX = 0x80


def _is(clues: Clues, *wanted: int) -> bool:
    return clues.first is not None and clues.first.vector in wanted


def _text(clues: Clues) -> str:
    return f"'{clues.instruction.text}'" if clues.instruction else "the instruction"


def _here(clues: Clues) -> str:
    return describe(clues.place) if clues.place else "an unknown place"


def _routines(clues: Clues) -> tuple[str, ...]:
    return clues.routines()


def wild_jump(clues: Clues) -> Diagnosis | None:
    """RIP is not in the image's code."""
    if clues.symbols is None or clues.first is None or not clues.rip:
        return None
    section = clues.symbols.section_at(clues.rip)
    if section is not None and "x" in section.flags:
        return None
    if section is None and not walk.canonical(clues.rip):
        what = "is not canonical"
    else:
        what = f"lies in section {section.name}" if section else "lies outside the kernel image"
    came = f"; the nearest return address is {describe(clues.trace[0])}" if clues.trace else ""
    return Diagnosis(
        "wild-jump",
        f"The processor executes at {clues.rip:#x}, which {what}: a wrong function pointer or return address{came}.",
        _routines(clues),
        "check that pushes and pops are paired before the last ret, and what the last indirect call went through",
    )


def non_canonical(clues: Clues) -> Diagnosis | None:
    """#GP or #SS by an address whose upper bits are not a sign extension."""
    code = clues.instruction
    if (
        not _is(clues, vectors.PROTECTION, vectors.STACK)
        or code is None
        or (clues.first and clues.first.error)
    ):
        return None
    for operand in code.memory:
        address = effective_address(code, operand, clues.registers)
        if address is not None and not walk.canonical(address):
            names = [name for name in (operand.base, operand.index) if name]
            held = ", ".join(f"{n} = {clues.registers.get(n, 0):#x}" for n in names)
            return Diagnosis(
                "non-canonical",
                f"{_text(clues)} in {_here(clues)} uses the non-canonical address {address:#x} ({held}).",
                _routines(clues),
                "bits 63:47 must be equal: a pointer was overwritten, or a 32-bit one not sign-extended",
            )
    if code.name.startswith("ret") and clues.stack and not walk.canonical(clues.stack[0]):
        return Diagnosis(
            "non-canonical-return",
            f"{_text(clues)} in {_here(clues)} would return to {clues.stack[0]:#x}, which is no address: the stack is "
            "not as it was at the call.",
            _routines(clues),
            "pair every push with a pop; look for stores past the end of a stack buffer",
        )
    return None


def misaligned_sse(clues: Clues) -> Diagnosis | None:
    """#GP by a 16-byte access that is not aligned."""
    code = clues.instruction
    if not _is(clues, vectors.PROTECTION) or code is None or code.name not in _ALIGNED:
        return None
    for operand in code.memory:
        address = effective_address(code, operand, clues.registers)
        if address is not None and address % 16 and walk.canonical(address):
            stack = operand.base in ("rsp", "rbp")
            return Diagnosis(
                "misaligned-sse",
                f"{_text(clues)} in {_here(clues)} needs a 16-byte aligned address and got {address:#x}"
                + (": the stack pointer was off at the call." if stack else "."),
                _routines(clues),
                "keep rsp 16-byte aligned before every call"
                if stack
                else "align the data (.balign 16) or use movups",
            )
    return None


def sse_disabled(clues: Clues) -> Diagnosis | None:
    """#UD or #NM by an SSE instruction while the control registers forbid it."""
    code = clues.instruction
    if not _is(clues, vectors.UNDEFINED, vectors.NO_FPU) or code is None:
        return None
    if not any(register in code.operands for register in _SSE_REGISTERS) and code.name not in _ALIGNED:
        return None
    cr0, cr4 = clues.registers.get("cr0", 0), clues.registers.get("cr4", 0)
    wrong = [
        text
        for bad, text in (
            (cr0 & _CR0_EM, "CR0.EM is set"),
            (cr0 & _CR0_TS, "CR0.TS is set"),
            (not cr4 & _CR4_OSFXSR, "CR4.OSFXSR is clear"),
            ("ymm" in code.operands and not cr4 & _CR4_OSXSAVE, "CR4.OSXSAVE is clear"),
        )
        if bad
    ]
    if not wrong:
        return None
    return Diagnosis(
        "sse-disabled",
        f"{_text(clues)} in {_here(clues)} is an SSE instruction, and {' and '.join(wrong)}.",
        _routines(clues),
        "clear CR0.EM and CR0.TS, set CR0.MP, CR4.OSFXSR and CR4.OSXMMEXCPT before the first SSE instruction",
    )


def undefined(clues: Clues) -> Diagnosis | None:
    """#UD by anything else."""
    if not _is(clues, vectors.UNDEFINED) or sse_disabled(clues) or wild_jump(clues):
        return None
    code = clues.instruction
    if code is not None and code.name == "ud2":
        text = f"{_here(clues)} reached a deliberate ud2: a state that its author held impossible."
        return Diagnosis("ud2", text, _routines(clues))
    data = clues.code.bytes_at(clues.rip, 8).hex(" ")
    what = f"'{code.text}' is not allowed here" if code else f"the bytes {data} are no instruction"
    return Diagnosis(
        "undefined-instruction",
        f"In {_here(clues)} {what}.",
        _routines(clues),
        "an instruction that this CPU model or mode lacks, code overwritten, or a jump into the middle of one",
    )


def divide(clues: Clues) -> Diagnosis | None:
    """#DE: a zero divisor or a quotient that does not fit."""
    if not _is(clues, vectors.DIVIDE):
        return None
    return Diagnosis(
        "divide-error",
        f"{_text(clues)} in {_here(clues)} divides by zero, or rdx:rax is too large for the quotient "
        f"(rdx = {clues.registers.get('rdx', 0):#x}).",
        _routines(clues),
        "clear rdx (or sign-extend with cqo) before the division, and check the divisor",
    )


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
            f"{_text(clues)} in {_here(clues)} finds {clues.stack[0]:#x} where RIP should be, and RIP and CS one "
            "quadword further: the error code is still on the stack.",
            _routines(clues),
            "exceptions 8, 10-14, 17 and 21 push an error code: their stubs must drop it (add rsp, 8) before iretq",
        )
    rip, cs = clues.stack[0], clues.stack[1]
    return Diagnosis(
        "bad-interrupt-frame",
        f"{_text(clues)} in {_here(clues)} would return to rip = {rip:#x}, cs = {cs:#x}: the frame is damaged or rsp "
        "is not where the frame is.",
        _routines(clues),
        "the handler must leave rsp where the processor pushed the frame, plus what the stub itself pushed",
    )


def idt_gate(clues: Clues) -> Diagnosis | None:
    """A selector error code with the IDT bit: the gate of a vector is missing or wrong."""
    for item in clues.chain:
        vector = (
            vectors.idt_vector(item.error)
            if item.vector in (vectors.PROTECTION, vectors.NOT_PRESENT)
            else None
        )
        if vector is None:
            continue
        limit = clues.registers.get("idt_limit")
        if limit is not None and vector * 16 + 15 > limit:
            what = f"lies beyond the limit of the IDT ({limit:#x})"
        else:
            what = _gate_fault(clues, vector)
        return Diagnosis(
            "idt-gate",
            f"Vector {vector:#x} ({vectors.name(vector)}) could not be delivered: its IDT gate {what}.",
            _table_routines(clues, b"\x0f\x01", 3),
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
        f"{_text(clues)} in {_here(clues)} loads selector {selector:#x}, which {what}.",
        _routines(clues),
        "compare the selector with the GDT: index * 8, RPL in bits 1:0, code for CS, writable data for SS, TSS for TR",
    )


def control_register(clues: Clues) -> Diagnosis | None:
    """#GP by writing a control register or an MSR."""
    code = clues.instruction
    if not _is(clues, vectors.PROTECTION) or code is None or (clues.first and clues.first.error):
        return None
    if code.name in ("wrmsr", "rdmsr"):
        number = clues.registers.get("rcx", 0) & 0xFFFFFFFF
        value = (clues.registers.get("rdx", 0) & 0xFFFFFFFF) << 32 | clues.registers.get(
            "rax", 0
        ) & 0xFFFFFFFF
        tail = f" with {value:#x}" if code.name == "wrmsr" else ""
        text = f"{_text(clues)} in {_here(clues)}: MSR {number:#x}{tail} was refused."
        return Diagnosis(
            "msr", text, _routines(clues), "an MSR that this CPU lacks, or a reserved bit in the value"
        )
    if code.name == "mov" and code.operands.startswith(("cr0", "cr3", "cr4", "dr")):
        text = (
            f"{_text(clues)} in {_here(clues)} was refused: a reserved bit, or bits that exclude each other."
        )
        hint = "CR0.PG needs CR0.PE, and in long mode CR4.PAE first; CR4 must not have bits that CPUID does not report"
        return Diagnosis("control-register", text, _routines(clues), hint)
    return None


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
        _routines(clues),
        "a larger stack with an unmapped guard page below it, away from the tables",
    )


def protection(clues: Clues) -> Diagnosis | None:
    """#GP that no rule before has explained."""
    special = (
        non_canonical,
        misaligned_sse,
        frame_not_popped,
        idt_gate,
        bad_selector,
        control_register,
        wild_jump,
    )
    if not _is(clues, vectors.PROTECTION, vectors.STACK) or any(rule(clues) for rule in special):
        return None
    return Diagnosis(
        "protection",
        f"{_text(clues)} in {_here(clues)} was refused by the protection rules.",
        _routines(clues),
        "a privileged instruction, a segment limit, or a non-canonical or misaligned operand",
    )


def undeliverable(clues: Clues) -> Diagnosis | None:
    """Why the first exception became a double or triple fault: no IDT, or no stack for its frame."""
    first = clues.first
    if first is None or len(clues.chain) < 2 or any(item.source == "kernel" for item in clues.chain):
        return None  # the kernel's own report proves that delivery works
    limit = clues.registers.get("idt_limit")
    width = 16 if clues.registers.get("bits", 64) == 64 else 8
    if limit is not None and limit < (first.vector + 1) * width - 1:
        none = "no IDT is loaded" if limit == 0 else f"the IDT ends before it (limit {limit:#x})"
        return Diagnosis(
            "no-idt",
            f"{first.name} could not be delivered because {none}; hence the chain to the triple fault.",
            (),
            "this is why the machine died without a word, not why it faulted",
        )
    return _no_stack(clues)


def _no_stack(clues: Clues) -> Diagnosis | None:
    first = clues.first
    rsp = clues.registers.get("rsp", 0)
    if first is None or clues.registers.get("bits", 64) != 64 or clues.result.snapshot is None:
        return None
    pushed = walk.translate((rsp & ~15) - 8 & (1 << 64) - 1, clues.paging("write"), clues.read_physical)
    if (pushed.mapped and pushed.ends_at is None) or "was not read" in pushed.reason:
        return None
    index = _ist_of(clues, vectors.DOUBLE_FAULT)
    if index:
        stack = clues.quad(clues.registers.get("tr_base", 0) + _TSS_IST1 + 8 * (index - 1))
        ist = (
            f"the #DF gate uses IST{index} ({stack:#x})"
            if stack is not None
            else f"the #DF gate uses IST{index}"
        )
        hint = "check that the IST entry of the TSS points at the top of a mapped stack"
    else:
        ist, hint = (
            "the #DF gate has no IST stack",
            "give #DF a stack of its own: IST1 in the TSS and in its gate",
        )
    return Diagnosis(
        "no-stack-for-frame",
        f"The stack at {rsp:#x} cannot take an exception frame ({pushed.reason}), and {ist}.",
        _table_routines(clues, b"\x0f\x00", 3),
        hint,
    )


def _ist_of(clues: Clues, vector: int) -> int | None:
    low = clues.quad(clues.registers.get("idt_base", 0) + 16 * vector)
    return low >> 32 & 7 if low is not None else None


def _table_routines(clues: Clues, opcode: bytes, extension: int) -> tuple[str, ...]:
    """Routines that load a table: ``lidt`` is 0f 01 /3, ``ltr`` 0f 00 /3."""
    if clues.symbols is None:
        return ()
    found = []
    for symbol in clues.symbols.symbols:
        section = clues.symbols.section_at(symbol.address) if symbol.section else None
        if section is None or "x" not in section.flags:
            continue
        start, end = clues.symbols.extent(symbol)
        data = clues.symbols.read(start, end - start)
        at = data.find(opcode)
        if 0 <= at < len(data) - 2 and data[at + 2] >> 3 & 7 == extension:
            found.append(symbol.name)
    return tuple(found[:3])


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


RULES = (
    wild_jump,
    non_canonical,
    misaligned_sse,
    sse_disabled,
    undefined,
    divide,
    frame_not_popped,
    idt_gate,
    bad_selector,
    control_register,
    stack_in_tables,
    protection,
    handler_died,
    undeliverable,
    report_cut,
)
