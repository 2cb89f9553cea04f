"""Rules for exceptions by an instruction that are no page faults: #UD, #GP, #DE, SSE, control registers, wild jumps.

Owns the reading of Intel SDM vol. 3, 6.15 (exception reference) for ``diagnose``. Each rule is a function of
``Clues``; ``RULES`` holds them in order.
"""

from __future__ import annotations

from toolchain import rules_delivery, vectors, walk
from toolchain.clues import Clues, describe
from toolchain.codeview import effective_address
from toolchain.rule_words import here, instruction
from toolchain.types import Diagnosis

_CR0_EM, _CR0_TS = 1 << 2, 1 << 3
_CR4_OSFXSR, _CR4_OSXSAVE = 1 << 9, 1 << 18
_ALIGNED = frozenset({
    "movaps", "movapd", "movdqa", "movntps", "movntpd", "movntdq", "movntdqa", "fxsave", "fxsave64", "fxrstor",
    "fxrstor64", "cmpxchg16b", "addps", "addpd", "subps", "subpd", "mulps", "mulpd", "andps", "andpd", "orps", "orpd",
    "xorps", "xorpd", "pxor", "por", "pand", "paddd", "paddq",
})  # fmt: skip
_SSE_REGISTERS = ("xmm", "ymm", "mxcsr")


def _is(clues: Clues, *wanted: int) -> bool:
    return clues.first is not None and clues.first.vector in wanted


def wild_jump(clues: Clues) -> Diagnosis | None:
    """RIP is not in the image's code."""
    if clues.symbols is None or clues.first is None or not clues.rip:
        return None
    section = clues.symbols.section_at(clues.symbols.linked(clues.rip))
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
        clues.routines(),
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
                f"{instruction(clues)} in {here(clues)} uses the non-canonical address {address:#x} ({held}).",
                clues.routines(),
                "bits 63:47 must be equal: a pointer was overwritten, or a 32-bit one not sign-extended",
            )
    if code.name.startswith("ret") and clues.stack and not walk.canonical(clues.stack[0]):
        return Diagnosis(
            "non-canonical-return",
            f"{instruction(clues)} in {here(clues)} would return to {clues.stack[0]:#x}, which is no address: the "
            "stack is not as it was at the call.",
            clues.routines(),
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
                f"{instruction(clues)} in {here(clues)} needs a 16-byte aligned address and got {address:#x}"
                + (": the stack pointer was off at the call." if stack else "."),
                clues.routines(),
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
        f"{instruction(clues)} in {here(clues)} is an SSE instruction, and {' and '.join(wrong)}.",
        clues.routines(),
        "clear CR0.EM and CR0.TS, set CR0.MP, CR4.OSFXSR and CR4.OSXMMEXCPT before the first SSE instruction",
    )


def undefined(clues: Clues) -> Diagnosis | None:
    """#UD by anything else."""
    if not _is(clues, vectors.UNDEFINED) or sse_disabled(clues) or wild_jump(clues):
        return None
    code = clues.instruction
    if code is not None and code.name == "ud2":
        text = f"{here(clues)} reached a deliberate ud2: a state that its author held impossible."
        return Diagnosis("ud2", text, clues.routines())
    data = clues.code.bytes_at(clues.rip, 8).hex(" ")
    what = f"'{code.text}' is not allowed here" if code else f"the bytes {data} are no instruction"
    return Diagnosis(
        "undefined-instruction",
        f"In {here(clues)} {what}.",
        clues.routines(),
        "an instruction that this CPU model or mode lacks, code overwritten, or a jump into the middle of one",
    )


def divide(clues: Clues) -> Diagnosis | None:
    """#DE: a zero divisor or a quotient that does not fit."""
    if not _is(clues, vectors.DIVIDE):
        return None
    return Diagnosis(
        "divide-error",
        f"{instruction(clues)} in {here(clues)} divides by zero, or rdx:rax is too large for the quotient "
        f"(rdx = {clues.registers.get('rdx', 0):#x}).",
        clues.routines(),
        "clear rdx (or sign-extend with cqo) before the division, and check the divisor",
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
        text = f"{instruction(clues)} in {here(clues)}: MSR {number:#x}{tail} was refused."
        return Diagnosis(
            "msr", text, clues.routines(), "an MSR that this CPU lacks, or a reserved bit in the value"
        )
    if code.name == "mov" and code.operands.startswith(("cr0", "cr3", "cr4", "dr")):
        text = f"{instruction(clues)} in {here(clues)} was refused: a reserved bit, or bits that exclude each other."
        hint = "CR0.PG needs CR0.PE, and in long mode CR4.PAE first; CR4 must not have bits that CPUID does not report"
        return Diagnosis("control-register", text, clues.routines(), hint)
    return None


def protection(clues: Clues) -> Diagnosis | None:
    """#GP that no rule before has explained."""
    special = (non_canonical, misaligned_sse, control_register, wild_jump, *rules_delivery.EXPLAIN)
    if not _is(clues, vectors.PROTECTION, vectors.STACK) or any(rule(clues) for rule in special):
        return None
    return Diagnosis(
        "protection",
        f"{instruction(clues)} in {here(clues)} was refused by the protection rules.",
        clues.routines(),
        "a privileged instruction, a segment limit, or a non-canonical or misaligned operand",
    )


RULES = (
    wild_jump,
    non_canonical,
    misaligned_sse,
    sse_disabled,
    undefined,
    divide,
    control_register,
    protection,
)
