"""Every operator of the search: a small source in which its mistake stands, and the mend among what it offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from architect.checks import places
from architect.coverage import Run
from architect.evidence import Reader
from architect.operators import Site, View, operators
from architect.origins import Demand
from architect.plausibility import apply
from architect.protocols import GateResult
from architect.source import Tree
from architect.statements import strip_comment
from tests.architect.kernels import FILES, case, sources

OPERATORS = {operator.name: operator for operator in operators()}
PAGE, GPU, PAGING = "mm/page.s", "gpu/gpu.s", "include/paging.inc"
LOCK = """
# lock_take -- wait for the lock
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode
function lock_take
.Ltake_again:
    mov eax, 1
    xchg eax, [rdi]
    test eax, eax
    jnz .Ltake_again
    ret
end_function lock_take

# lock_give -- let the lock go
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: none
# Context:  long mode
function lock_give
    mov dword ptr [rdi], 0
    ret
end_function lock_give

# count_up -- count under the lock
# In:       rdi = lock:ptr, rsi = counter:ptr
# Out:      rax = count:u64
# Clobbers: none
# Context:  long mode
function count_up
    call_frame
    push rbx
    sub rsp, 8
    call lock_take
    lock inc qword ptr [rsi + 8]
    mov rbx, [rsi + 8]
    call lock_give
    mov rax, rbx
    add rsp, 8
    pop rbx
    return_frame
end_function count_up

# count_set -- set the count under the lock
# In:       rdi = lock:ptr, rsi = counter:ptr, rax = count:u64
# Out:      none
# Clobbers: rax
# Context:  long mode
function count_set
    push rax
    call lock_take
    pop rax
    mov [rsi + 8], rax
    sub rsp, 8
    call lock_give
    add rsp, 8
    ret
end_function count_set
"""
JOIN = """
.set SPAN_PAGE, 4096
# span_join -- join a page to a span
# In:       rdi = span:ptr
# Out:      rax = span:u64
# Clobbers: none
# Context:  long mode
function span_join
    mov rax, [rdi]
    or rax, SPAN_PAGE
    ret
end_function span_join
"""
TABLE = """
gpu_segments:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
    .quad 0x0000890000000000
"""
COPY = """
# copy_rows -- copy words of a row
# In:       rdi = to:ptr, rsi = from:ptr, rcx = words:u64
# Out:      rax = end:ptr
# Clobbers: rcx, rsi, rdi
# Context:  long mode
function copy_rows
    rep movsq
    mov rax, rdi
    ret
end_function copy_rows
"""
CLEARED = """    xor eax, eax
    mov ecx, 512
    rep stosq
"""
FRAMES = """
.set FRAME_BASE, 0xffff800000000000
# frame_take -- take a frame from the list of free ones
# In:       rdi = list:ptr
# Out:      rax = frame:u64
# Clobbers: rcx, rdi
# Context:  long mode
function frame_take
    mov rax, [rdi]
    mov rcx, FRAME_BASE
    add rcx, rax
    mov rcx, [rcx]
    mov [rdi], rcx
    mov rcx, FRAME_BASE
    add rcx, rax
    mov qword ptr [rcx], 0
    ret
end_function frame_take

# frame_clear -- take a frame, all its bytes zero
# In:       rdi = list:ptr
# Out:      rax = frame:u64
# Clobbers: rcx, rdi
# Context:  long mode
function frame_clear
    call frame_take
    mov rdi, FRAME_BASE
    add rdi, rax
    push rax
    xor eax, eax
    mov ecx, 512
    rep stosq
    pop rax
    ret
end_function frame_clear

# frame_back -- the physical address that a mapped one has
# In:       rdi = mapped:ptr
# Out:      rax = frame:u64
# Clobbers: none
# Context:  long mode
function frame_back
    mov rax, rdi
    ret
end_function frame_back
"""
CELLS = """
# cell_read32 -- read a cell
# In:       rdi = cell:ptr
# Out:      rax = value:u32, cf = there is none
# Clobbers: none
# Context:  long mode
function cell_read32
    call_frame
    call cell_check
    jc .Lcell_read_leave
    mov eax, [rdi]
    clc
.Lcell_read_leave:
    return_frame
end_function cell_read32

# cell_clear -- clear a cell
# In:       rdi = cell:ptr
# Out:      cf = there is none
# Clobbers: rdx
# Context:  long mode
function cell_clear
    xor edx, edx
    jmp cell_write32
end_function cell_clear

# cell_write32 -- write a cell
# In:       rdi = cell:ptr, edx = value:u32
# Out:      cf = there is none
# Clobbers: none
# Context:  long mode
"""
WRITTEN = """function cell_write32
    call_frame
    call cell_check
    jc .Lcell_write_leave
    mov [rdi], edx
    clc
.Lcell_write_leave:
    return_frame
end_function cell_write32
"""
CONTEXT = """
# context_switch -- keep what a thread has
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode
function context_switch
    push r9
    push r10
    push r11
    push r12
    nop
    pop r12
    pop r11
    pop r10
    pop r9
    ret
end_function context_switch
"""
SPAN = """
.set SPAN_PAGE, 4096
# span_round -- the pages of a span
# In:       rdi = base:u64, rsi = end:u64
# Out:      rax = first:u64, rdx = last:u64
# Clobbers: none
# Context:  long mode
function span_round
    mov rax, rdi
    mov rdx, rsi
    add rdx, SPAN_PAGE - 1
    shr rax, PT_SHIFT
    shr rdx, PT_SHIFT
    ret
end_function span_round

# span_grow -- a page more at either end
# In:       rdi = base:ptr, rsi = end:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode
function span_grow
    mov rax, [rdi]
    sub rax, SPAN_PAGE
    mov [rdi], rax
    mov rax, [rsi]
    add rax, SPAN_PAGE
    mov [rsi], rax
    ret
end_function span_grow
"""
FLUSH = """
# page_clear -- unmap one page
# In:       rdi = va:ptr, rsi = entry:ptr
# Out:      none
# Clobbers: none
# Context:  long mode
function page_clear
    mov qword ptr [rsi], 0
    invlpg [rdi]
    ret
end_function page_clear
"""
ROWS = """
.section .rodata, "a"
    .balign 16
gpu_modes: .quad 640, 480, 32
.section .text, "ax"
"""
MAPPED = FILES[PAGE].split("    push rbx\n", 1)[1].split("    pop rbx\n", 1)[0]
COUNTED = LOCK.split("    sub rsp, 8\n", 1)[1].split("    add rsp, 8\n", 1)[0]
OFFSETS = """
.set ROW_NAME, 0x00
.set ROW_BASE, 0x08
.set ROW_END, 0x10
.set ROW_SIZE, 0x18
.set ROW_NEXT, 0x20
"""
TRAPS = """
.section .boot.text, "ax"
trap_common:
    pushad
    mov eax, [esp + 32]
    mov edi, offset trap_table
    mov [edi], ax
    shr eax, 16
    mov [edi + 2], ax
    add edi, 8
    popad
    add esp, 8
    iretd
trap_gdt: .quad 0x00af9a000000ffff
trap_table: .quad 0
"""
EARLY = """
.section .boot.text, "ax"
.code32
boot_entry:
    mov eax, cr0
    hlt
.code64
"""


@dataclass(frozen=True)
class Mistake:
    """``right`` became ``wrong`` once in a file of the small kernel, which has ``more`` at its end."""

    operator: str
    right: str
    wrong: str
    most: float  # bits within the operator
    file: str = PAGE
    more: str = ""
    lacks: str = ""  # the symbol that the linker does not find
    value: tuple[str, int, int] | None = None  # a register at that place, what came and what should have come

    def __str__(self) -> str:
        return self.operator


MISTAKES = [
    Mistake("constant-sibling", "shr rcx, PT_SHIFT", "shr rcx, PD_SHIFT", 0),
    Mistake("flag-term", "PTE_PRESENT | PTE_WRITE\n", "PTE_PRESENT\n", 2),
    Mistake("flag-term", "PTE_PRESENT | PTE_WRITE\n", "PTE_PRESENT | PTE_WRITE | PTE_LARGE\n", 6),
    Mistake("architecture-value", "CR4_PAE, 1 << 5", "CR4_PAE, 1 << 4", 0, PAGING, ".set CR4_PAE, 1 << 5\n"),
    Mistake("architecture-value", "EFER_LME, 0x100", "EFER_LME, 0x400", 1, PAGING, ".set EFER_LME, 0x100\n"),
    Mistake("segment-descriptor", "0x00af9a000000ffff", "0x00cf9a000000ffff", 1, PAGE, TRAPS),
    Mistake("segment-descriptor", "0x00af9a000000ffff", "0x00af92000000ffff", 3, PAGE, TRAPS),
    Mistake("number-near", "mov eax, 1\n", "mov eax, 2\n", 3),
    Mistake("number-near", "shr eax, 16", "shr eax, 8", 2, PAGE, TRAPS),
    Mistake("number-near", "add edi, 8", "add edi, 4", 3, PAGE, TRAPS),
    Mistake("number-near", "PDPT_SHIFT, 30", "PDPT_SHIFT, 31", 3, PAGING),
    Mistake("number-near", "TABLE_MASK, 0x1ff", "TABLE_MASK, 0xff", 3, PAGING),
    Mistake("number-near", "ROW_SIZE, 0x18", "ROW_SIZE, 0x58", 1, PAGE, OFFSETS),
    Mistake("number-near", "rcx * 8]", "rcx * 4]", 2),
    Mistake("number-near", "0x00af9a000000ffff", "0x00cf9a000000ffff", 3, GPU, TABLE),
    Mistake("number-near", "0x0000890000000000", "0x00008b0000000000", 3, GPU, TABLE),
    Mistake("expression-term", "SPAN_PAGE - 1", "SPAN_PAGE", 3, PAGE, SPAN),
    Mistake("expression-term", "mov eax, 1\n", "mov eax, 1 + PTE_WRITE\n", 2),
    Mistake("number-named", "shr rdx, PT_SHIFT", "shr rdx, 21", 2, PAGE, SPAN),
    Mistake("register-other", "mov rbx, rsi", "mov rbx, rdx", 2),
    Mistake("register-other", "mov eax, cr0", "mov eax, cr3", 4, PAGE, EARLY),
    Mistake("register-pair", "mov [rcx], rbx", "mov [rbx], rcx", 3),
    Mistake("register-width", "mov rcx, rdi", "mov ecx, edi", 1),
    Mistake("register-width", "and ecx, TABLE_MASK", "and cl, TABLE_MASK", 1),
    Mistake("operand-order", "mov rbx, rsi", "mov rsi, rbx", 1),
    Mistake("sibling-insert", "    mov dword ptr [rdi + BOX_STATUS], 0\n", "", 0, GPU),
    Mistake("twin-insert", "    shr rdx, PT_SHIFT\n", "", 2, PAGE, SPAN),
    Mistake("memory-offset", "mov rbx, [rsi + 8]", "mov rbx, [rsi]", 3, PAGE, LOCK),
    Mistake("memory-offset", "[rdx + rcx * 8]", "[rdx + rcx]", 3),
    Mistake("memory-address", "offset trap_table", "trap_table", 1, PAGE, TRAPS),
    Mistake("stack-slot", "[esp + 32]", "[esp + 36]", 2, PAGE, TRAPS),
    Mistake("undo", "    popad\n", "", 2, PAGE, TRAPS),
    Mistake("memory-field", "[rdi + BOX_STATUS]", "[rdi]", 0, GPU),
    Mistake("memory-size", "dword ptr [rdi + BOX_STATUS]", "qword ptr [rdi + BOX_STATUS]", 1, GPU),
    Mistake("memory-address", "mov rdx, [rip + gpu_table]", "lea rdx, [rip + gpu_table]", 1, GPU),
    Mistake("memory-address", "lea rcx, [rdx", "mov rcx, [rdx", 1),
    Mistake("condition", "jnz .Lmap_exists", "jz .Lmap_exists", 4),
    Mistake("condition", "jc .Linit_leave", "jnc .Linit_leave", 1, GPU),
    Mistake("mnemonic-sibling", "shr rcx, PT_SHIFT", "shl rcx, PT_SHIFT", 1),
    Mistake("mnemonic-sibling", "or rax, SPAN_PAGE", "mov eax, SPAN_PAGE", 3, PAGE, JOIN),
    Mistake("mnemonic-sibling", ".quad 640", ".long 640", 3, GPU, ROWS),
    Mistake("prefix", "rep movsq", "movsq", 1, PAGE, COPY),
    Mistake("prefix", "lock inc", "inc", 1, PAGE, LOCK),
    Mistake("order-neighbours", "push rcx\n    push rbx", "push rbx\n    push rcx", 1),
    Mistake(
        "order-move",
        "mov rbx, rsi\n    mov rcx, rdi\n    shr rcx, PT_SHIFT\n",
        "mov rcx, rdi\n    shr rcx, PT_SHIFT\n    mov rbx, rsi\n",
        3,
    ),
    Mistake(
        "label-move", ".Ltake_again:\n    mov eax, 1\n", "    mov eax, 1\n.Ltake_again:\n", 1, PAGE, LOCK
    ),
    Mistake("jump-target", "jnz .Lmap_exists", "jnz .Lmap_leave", 0),
    Mistake("jump-missing", "    jnz .Lmap_exists\n", "", 2),
    Mistake("repeat", "    mov [rcx], rbx\n", "    mov [rcx], rbx\n    mov [rcx], rbx\n", 0),
    Mistake("repeat", "    call_frame\n", "    call_frame\n    call_frame\n", 0, PAGE, LOCK),
    Mistake("delete", "mov [rcx], rbx", "mov [rcx], rbx\n    mov ebx, 7", 1),
    Mistake("donor-insert", "    mov [rcx], rbx\n", "", 1),
    Mistake("donor-insert-2", "    and ecx, TABLE_MASK\n    lea rcx, [rdx + rcx * 8]\n", "", 1),
    Mistake(
        "donor-insert-3",
        "    lea rcx, [rdx + rcx * 8]\n    test byte ptr [rcx], PTE_PRESENT\n    jnz .Lmap_exists\n",
        "",
        1,
    ),
    Mistake(
        "donor-insert-4",
        "    and ecx, TABLE_MASK\n    lea rcx, [rdx + rcx * 8]\n"
        "    test byte ptr [rcx], PTE_PRESENT\n    jnz .Lmap_exists\n",
        "",
        1,
    ),
    Mistake("donor-family", "    shr rcx, PT_SHIFT\n", "", 0),
    Mistake(
        "donor-registers",
        "    pop rbx\n    return_frame\nend_function count_up",
        "    return_frame\nend_function count_up",
        6,
        PAGE,
        LOCK,
    ),
    Mistake("donor-replace", "and ecx, TABLE_MASK", "neg rsi", 3),
    Mistake("use-value", "    mov [rcx], rbx\n", "", 4),
    Mistake("make-value", "    mov rbx, rsi\n", "", 3),
    Mistake("set-argument", "    mov rsi, rdi\n", "", 3, GPU),
    Mistake("plain-insert", "    stc\n", "", 1),
    Mistake("call-missing", "    call page_map\n", "", 0, GPU),
    Mistake("call-other", "call page_map", "call page_map_large", 1, GPU),
    Mistake("orphan-insert", "    mov dword ptr [rdi + BOX_STATUS], 0\n", "", 3, GPU),
    Mistake("branch-insert", "    jc .Linit_leave\n", "", 0, GPU),
    Mistake("branch-insert", "    jmp .Lmap_leave\n", "", 4),
    Mistake("adjust-insert", "    add rax, SPAN_PAGE\n", "", 2, PAGE, SPAN),
    Mistake(
        "told-insert",
        "    mov rcx, FRAME_BASE\n    add rcx, rax\n    add rcx, SPAN_PAGE\n    mov qword ptr",
        "    mov rcx, FRAME_BASE\n    add rcx, rax\n    mov qword ptr",
        1,
        PAGE,
        SPAN + FRAMES.replace("    mov qword ptr", "    add rcx, SPAN_PAGE\n    mov qword ptr"),
        value=("rcx", 0xFFFF800000005000, 0xFFFF800000006000),
    ),
    Mistake(
        "told-insert",
        "    mov rax, rdi\n    or rax, SPAN_PAGE\n    ret\nend_function frame_back",
        "    mov rax, rdi\n    ret\nend_function frame_back",
        2,
        PAGE,
        SPAN + FRAMES.replace("mov rax, rdi\n", "mov rax, rdi\n    or rax, SPAN_PAGE\n"),
        value=("rax", 0x1_0000_0000, 0x1_0000_1000),
    ),
    Mistake("routine-missing", WRITTEN, "", 3, PAGE, CELLS + WRITTEN, lacks="cell_write32"),
    Mistake("round-insert", "    add rdx, SPAN_PAGE - 1\n", "", 3, PAGE, SPAN),
    Mistake("compose", "    mov rcx, rdi\n", "", 3),
    Mistake(
        "save-restore",
        "    push rbx\n" + MAPPED + "    pop rbx\n",
        MAPPED,
        0,
    ),
    Mistake("push-pop", "    pop rbx\n", "", 1),
    Mistake("push-pop", "    pop rbx\n    pop rcx\n", "    pop rcx\n    pop rbx\n", 1),
    Mistake("stack-align", "    sub rsp, 8\n" + COUNTED + "    add rsp, 8\n", COUNTED, 1, PAGE, LOCK),
    Mistake(
        "call-align",
        "    sub rsp, 8\n    call lock_give\n    add rsp, 8\n",
        "    call lock_give\n",
        2,
        PAGE,
        LOCK,
    ),
    Mistake(
        "save-around",
        "    push rax\n    call lock_take\n    pop rax\n",
        "    call lock_take\n",
        1,
        PAGE,
        LOCK,
    ),
    Mistake("save-over", "    push rax\n" + CLEARED + "    pop rax\n", CLEARED, 1, PAGE, FRAMES),
    Mistake("address-map", "mov rdi, FRAME_BASE\n    add rdi, rax", "mov rdi, rax", 1, PAGE, FRAMES),
    Mistake(
        "address-map",
        "mov rax, rdi\n    ret\nend_function frame_back",
        "mov rax, FRAME_BASE\n    add rax, rdi\n    ret\nend_function frame_back",
        2,
        PAGE,
        FRAMES,
    ),
    Mistake(
        "context-register",
        "    push r11\n    push r12\n    nop\n    pop r12\n    pop r11\n",
        "    push r12\n    nop\n    pop r12\n",
        1,
        PAGE,
        CONTEXT,
    ),
    Mistake("undo", "    call lock_give\n    mov rax, rbx\n", "    mov rax, rbx\n", 2, PAGE, LOCK),
    Mistake("flush", "    invlpg [rdi]\n", "", 1, PAGE, FLUSH),
    Mistake("alignment", "    .balign 16\n", "", 4, GPU, ROWS),
    Mistake("section", '.section .rodata, "a"', '.section .data, "aw"', 3, GPU, ROWS),
    Mistake("mode", ".code32", ".code64", 1, PAGE, EARLY),
    Mistake("data-row", "640, 480", "480, 640", 2, GPU, ROWS),
    Mistake("revert", "    and ecx, TABLE_MASK\n", "", 1),
    Mistake("spelling", "shr rcx, PT_SHIFT", "shr rcx, PT_SHFIT", 2),
    Mistake("spelling", "stc\n", "stcc\n", 2),
    Mistake("label-spelling", ".Lmap_leave:", ".Lmap_laeve:", 1),
    Mistake("punctuation", "rcx * 8]", "rcx * 8", 1),
    Mistake("punctuation", "mov rbx, rsi", "mov rbx rsi", 3),
    Mistake("size-missing", "test byte ptr [rcx]", "test [rcx]", 3),
    Mistake("label-missing", ".Lmap_exists:\n", "", 1),
    Mistake("header-missing", "function page_map_large\n", "", 4),
    Mistake("include-missing", '.include "paging.inc"\n', "", 1),
    Mistake(
        "block-end",
        ".size \\name, . - \\name\n.endm\n",
        ".size \\name, . - \\name\n",
        2,
        "include/macros.inc",
    ),
    Mistake("defined-twice", "mov [rcx], rbx", ".Lmap_leave:\n    mov [rcx], rbx", 2),
    Mistake("operand-missing", "shr rdx, PT_SHIFT", "shr rdx", 2, PAGE, SPAN),
]


def code(text: str) -> list[str]:
    """The lines of a source without comments, blanks and indentation."""
    return [line for raw in text.split("\n") if (line := " ".join(strip_comment(raw).split()))]


def waiting(mistake: Mistake, texts: dict[str, str]) -> tuple[Run, ...]:
    """The run in which a register had a wrong value before every line of the file."""
    if mistake.value is None:
        return ()
    register, came, wanted = mistake.value
    lines = range(1, texts[mistake.file].count("\n") + 1)
    gaps = {(mistake.file, line): {register: came} for line in lines}
    demand = Demand(register, (1 << 64) - 1, came, wanted, None, {}, gaps)
    return (Run("contract", True, 1.0, frozenset(gaps), frozenset(), demands=(demand,)),)


def bits(folder: Path, mistake: Mistake) -> float | None:
    """The cost within the operator of the mend of a mistake; None when it is not among what the operator offers."""
    sound = sources()
    sound[mistake.file] += mistake.more
    assert mistake.right in sound[mistake.file]
    broken = {**sound, mistake.file: sound[mistake.file].replace(mistake.right, mistake.wrong, 1)}
    lost = f"{mistake.file}:1: error: undefined symbol `{mistake.lacks}'"
    failures = (GateResult("assembles", False, 0.0, lost, {}),) if mistake.lacks else ()
    baseline = sound if mistake.operator == "revert" else {}
    known = case(folder, broken, baseline=baseline, runs=waiting(mistake, broken), failures=failures)
    tree = Tree(broken)
    view = View(Reader(known, tree))
    operator = OPERATORS[mistake.operator]
    wanted = code(sound[mistake.file])
    found = []
    for statement in tree.files[mistake.file]:
        site = Site(statement, view)
        if site.sort not in operator.sorts:
            continue
        for variant in operator.generate(site):
            for edit in variant.edits:
                stands = tree.lines[edit.file][edit.line - 1 : edit.line - 1 + len(edit.old)]
                assert (edit.file, tuple(stands)) == (mistake.file, edit.old)
            if code("\n".join(apply(tree.lines[mistake.file], variant.edits))) == wanted:
                found.append(variant.bits)
    return min(found, default=None)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_the_mend_is_among_what_the_operator_offers(tmp_path: Path, mistake: Mistake) -> None:
    cost = bits(tmp_path, mistake)
    assert cost is not None
    assert cost <= mistake.most


def test_every_operator_has_a_mistake() -> None:
    assert {mistake.operator for mistake in MISTAKES} == OPERATORS.keys()


@pytest.mark.parametrize(
    "text", ["stc", "clc", "popfq", "repne scasb", "lock xadd [rdi], rax", "loop 1b", "jrcxz 1f"]
)
def test_what_assembles_is_not_taken_for_misspelt(tmp_path: Path, text: str) -> None:
    tree = Tree({"a.s": f"f:\n1:  {text}\n1:  ret\n"})
    view = View(Reader(case(tmp_path, dict(tree.texts)), tree))
    site = Site(next(s for s in tree.statements() if s.line == 2), view)
    assert [v.note for v in OPERATORS["spelling"].generate(site) if v.note.split()[0] in text.split()] == []


_ODD = (
    "010",
    "0010",
    "08",
    "7" * 5000,
)  # octal for GNU as, nothing for int(..., 0); no number of GNU as, too long


def test_every_operator_reads_numbers_as_the_assembler_does(tmp_path: Path) -> None:
    lines = ["push rbx", *(f"{form.format(n)}" for n in _ODD for form in (
        "sub rsp, {}", "mov eax, {}", "shl eax, {}", "and eax, {}", "mov rax, [rsp + {}]", ".balign {}", ".set K, {}",
    ))]  # fmt: skip
    tree = Tree({"a.s": "f:\n" + "\n".join(f"    {line}" for line in lines) + "\n    ret\n"})
    view = View(Reader(case(tmp_path, dict(tree.texts)), tree))
    sites = [Site(statement, view) for statement in tree.statements()]
    offered = {
        (site.statement.line, variant.note)
        for site in sites for operator in OPERATORS.values() if site.sort in operator.sorts
        for variant in operator.generate(site)
    }  # fmt: skip
    assert (3, "010 -> 7 (off by one)") in offered
    assert [places._size(f".balign {n}", 1) for n in _ODD] == [7, 7, None, None]


def test_the_ends_of_blocks_stay_where_they_are(tmp_path: Path) -> None:
    """Nobody writes half of a macro's body behind its end, or aligns an end."""
    known = sources()
    view = View(Reader(case(tmp_path, known), Tree(known)))
    ends = {".macro", ".endm"}
    for name in ("order-neighbours", "order-move", "alignment"):
        for statement in view.tree.files["include/macros.inc"]:
            site = Site(statement, view)
            for variant in OPERATORS[name].generate(site) if site.sort in OPERATORS[name].sorts else ():
                words = {w for e in variant.edits for line in (*e.old, *e.new) for w in line.split()[:1]}
                assert words.isdisjoint(ends), (name, variant.note)
                assert statement.name not in ends, (name, variant.note)
