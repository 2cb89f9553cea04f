"""Exceptions of x86-64: names of vectors, and error codes bit by bit.

Owns the tables of the Intel SDM vol. 3, chapter 6 (table 6-1, figures 6-7 and 6-11, 4.7). Knows nothing of boots.
"""

from __future__ import annotations

DIVIDE, DEBUG, NMI, BREAKPOINT, OVERFLOW, BOUND, UNDEFINED, NO_FPU = range(8)
DOUBLE_FAULT = 8
INVALID_TSS, NOT_PRESENT, STACK, PROTECTION, PAGE_FAULT = range(10, 15)
X87, ALIGNMENT, MACHINE_CHECK, SIMD, VIRTUALISATION, CONTROL_PROTECTION = range(16, 22)
EXCEPTIONS = 32  # vectors below are exceptions, the others interrupts

_NAMES = {
    DIVIDE: ("#DE", "divide error"),
    DEBUG: ("#DB", "debug exception"),
    NMI: ("NMI", "non-maskable interrupt"),
    BREAKPOINT: ("#BP", "breakpoint"),
    OVERFLOW: ("#OF", "overflow"),
    BOUND: ("#BR", "bound range exceeded"),
    UNDEFINED: ("#UD", "undefined instruction"),
    NO_FPU: ("#NM", "FPU not available"),
    DOUBLE_FAULT: ("#DF", "double fault"),
    INVALID_TSS: ("#TS", "invalid TSS"),
    NOT_PRESENT: ("#NP", "segment not present"),
    STACK: ("#SS", "stack-segment fault"),
    PROTECTION: ("#GP", "general protection fault"),
    PAGE_FAULT: ("#PF", "page fault"),
    X87: ("#MF", "x87 floating-point error"),
    ALIGNMENT: ("#AC", "alignment check"),
    MACHINE_CHECK: ("#MC", "machine check"),
    SIMD: ("#XM", "SIMD floating-point exception"),
    VIRTUALISATION: ("#VE", "virtualisation exception"),
    CONTROL_PROTECTION: ("#CP", "control protection exception"),
}

# Table 6-5: an exception while one of these is delivered is handled by itself, not as a double fault.
BENIGN = frozenset(
    {DEBUG, NMI, BREAKPOINT, OVERFLOW, BOUND, UNDEFINED, NO_FPU, X87, ALIGNMENT, MACHINE_CHECK, SIMD}
)

WITH_ERROR_CODE = frozenset(
    {DOUBLE_FAULT, INVALID_TSS, NOT_PRESENT, STACK, PROTECTION, PAGE_FAULT, ALIGNMENT, CONTROL_PROTECTION}
)

# Page-fault error code, SDM vol. 3, figure 4-12
PF_PRESENT, PF_WRITE, PF_USER, PF_RESERVED, PF_FETCH, PF_KEY, PF_SHADOW = (1 << n for n in range(7))
PF_SGX = 1 << 15

# Selector error code, SDM vol. 3, figure 6-7
_SEL_EXTERNAL, _SEL_IDT, _SEL_LDT = 1, 2, 4


def name(vector: int) -> str:
    """The mnemonic: ``#PF`` for 14; ``INT 0x80`` for what is no exception."""
    if vector in _NAMES:
        return _NAMES[vector][0]
    return f"#{vector}" if vector < EXCEPTIONS else f"INT {vector:#x}"


def number(text: str) -> int | None:
    """The vector that ``name`` gives that name, or None."""
    return next((vector for vector in range(EXCEPTIONS) if name(vector) == text), None)


def title(vector: int) -> str:
    """In words: ``page fault``."""
    if vector in _NAMES:
        return _NAMES[vector][1]
    return "reserved exception" if vector < EXCEPTIONS else "interrupt"


def idt_vector(error: int | None, delivered: int | None = None) -> int | None:
    """The vector whose IDT entry a selector error code points at, or None when it points into a GDT or LDT.

    Args:
        error: the error code.
        delivered: the exception that was being delivered, where it is known. In long mode QEMU's TCG puts the
            vector times 16 in the code, where the SDM has times 8; this tells the two apart.
    """
    if error is None or not error & _SEL_IDT:
        return None
    return error >> 4 & 0xFF if delivered is not None and error >> 4 == delivered else error >> 3 & 0xFF


def selector(error: int | None) -> int | None:
    """The selector (without RPL) that a selector error code names, or None when it names none."""
    if not error or error & _SEL_IDT:
        return None
    return error & 0xFFFC


def decode(vector: int, error: int | None, delivered: int | None = None) -> tuple[str, ...]:
    """The error code bit by bit, as words.

    Args:
        vector: of the exception.
        error: the error code, or None when the exception pushes none.
        delivered: the exception that was being delivered, see ``idt_vector``.

    Returns:
        For #PF one word per field (``not present``/``present``, ``read``/``write``/``fetch``, ``supervisor``/
        ``user``, ``reserved bit``, ``protection key``, ``shadow stack``, ``SGX``); for selector codes the table
        and the index; empty where there is nothing to say.
    """
    if error is None or vector not in WITH_ERROR_CODE:
        return ()
    if vector == PAGE_FAULT:
        return _decode_page_fault(error)
    if vector == CONTROL_PROTECTION:
        kinds = {
            1: "near return",
            2: "far return or iret",
            3: "missing endbranch",
            4: "rstorssp",
            5: "setssbsy",
        }
        return (kinds.get(error & 0x7FFF, f"code {error:#x}"),)
    if vector in (DOUBLE_FAULT, ALIGNMENT) or error == 0:
        return ()
    return _decode_selector(error, delivered)


def _decode_page_fault(error: int) -> tuple[str, ...]:
    words = ["present" if error & PF_PRESENT else "not present"]
    if error & PF_FETCH:
        words.append("fetch")
    else:
        words.append("write" if error & PF_WRITE else "read")
    words.append("user" if error & PF_USER else "supervisor")
    extra = (
        (PF_RESERVED, "reserved bit"),
        (PF_KEY, "protection key"),
        (PF_SHADOW, "shadow stack"),
        (PF_SGX, "SGX"),
    )
    words += [word for bit, word in extra if error & bit]
    return tuple(words)


def _decode_selector(error: int, delivered: int | None) -> tuple[str, ...]:
    words = ["external"] if error & _SEL_EXTERNAL else []
    if error & _SEL_IDT:
        vector = idt_vector(error, delivered) or 0
        words.append(f"IDT entry {vector:#x} ({name(vector)})")
    else:
        table = "LDT" if error & _SEL_LDT else "GDT"
        words.append(f"{table} selector {error & 0xFFFC:#x} (entry {error >> 3 & 0x1FFF})")
    return tuple(words)
