"""A small kernel for the tests of the search: a page mapper, its sibling, a caller, tables and constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from architect.protocols import Case, GateResult
from architect.source import Tree
from toolchain.types import Image

MACROS = """\
.macro function name
    .global \\name
\\name:
.endm
.macro end_function name
    .size \\name, . - \\name
.endm
.macro call_frame
    push rbp
    mov rbp, rsp
.endm
.macro return_frame
    pop rbp
    ret
.endm
"""
PAGING = """\
.set PTE_PRESENT, 1
.set PTE_WRITE, 2
.set PTE_LARGE, 0x80
.set PT_SHIFT, 12
.set PD_SHIFT, 21
.set PDPT_SHIFT, 30
.set TABLE_MASK, 0x1ff
"""
PAGE = """\
.intel_syntax noprefix
.include "macros.inc"
.include "paging.inc"
.section .text, "ax"

# page_map -- map one page
# In:       rdi = va:u64, rsi = pa:u64, rdx = table:ptr
# Out:      rax = error:u64, cf = refused
# Clobbers: none
# Context:  long mode
function page_map
    call_frame
    push rcx
    push rbx
    mov rbx, rsi
    mov rcx, rdi
    shr rcx, PT_SHIFT
    and ecx, TABLE_MASK
    lea rcx, [rdx + rcx * 8]
    test byte ptr [rcx], PTE_PRESENT
    jnz .Lmap_exists
    or rbx, PTE_PRESENT | PTE_WRITE
    mov [rcx], rbx
    xor eax, eax
.Lmap_leave:
    pop rbx
    pop rcx
    return_frame
.Lmap_exists:
    mov eax, 1
    stc
    jmp .Lmap_leave
end_function page_map

# page_map_large -- map one large page
# In:       rdi = va:u64, rsi = pa:u64, rdx = table:ptr
# Out:      rax = error:u64, cf = refused
# Clobbers: none
# Context:  long mode
function page_map_large
    call_frame
    push rcx
    push rbx
    mov rbx, rsi
    mov rcx, rdi
    shr rcx, PD_SHIFT
    and ecx, TABLE_MASK
    lea rcx, [rdx + rcx * 8]
    test byte ptr [rcx], PTE_PRESENT
    jnz .Lmap_large_exists
    or rbx, PTE_PRESENT | PTE_WRITE | PTE_LARGE
    mov [rcx], rbx
    xor eax, eax
.Lmap_large_leave:
    pop rbx
    pop rcx
    return_frame
.Lmap_large_exists:
    mov eax, 1
    stc
    jmp .Lmap_large_leave
end_function page_map_large
"""
GPU = """\
.intel_syntax noprefix
.include "macros.inc"
.include "paging.inc"
.set BOX_COMMAND, 0
.set BOX_STATUS, 4
.section .data
    .balign 8
gpu_bar: .quad 0
gpu_table: .quad 0
.section .text, "ax"

# gpu_init -- map the registers and reset them
# In:       none
# Out:      rax = error:u64
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function gpu_init
    call_frame
    mov rdi, [rip + gpu_bar]
    mov rsi, rdi
    mov rdx, [rip + gpu_table]
    call page_map
    jc .Linit_leave
    mov rdi, [rip + gpu_bar]
    mov dword ptr [rdi + BOX_COMMAND], 0
    mov dword ptr [rdi + BOX_STATUS], 0
    xor eax, eax
.Linit_leave:
    return_frame
end_function gpu_init
"""
FILES = {
    "include/macros.inc": MACROS,
    "include/paging.inc": PAGING,
    "mm/page.s": PAGE,
    "gpu/gpu.s": GPU,
}
BOOT = '[[unit]]\nname = "gpu"\nentry = "gpu_init"\n'
IMAGE = Image(0, (), (), (), ())


def without(text: str, line: str, nth: int = 0) -> str:
    """``text`` less the ``nth`` line that, stripped, is ``line``."""
    lines = text.split("\n")
    places = [n for n, found in enumerate(lines) if found.strip() == line]
    del lines[places[nth]]
    return "\n".join(lines)


def line_of(text: str, line: str, nth: int = 0) -> int:
    """The number of the ``nth`` line that, stripped, is ``line``."""
    return [n for n, found in enumerate(text.split("\n"), 1) if found.strip() == line][nth]


def tree(**changed: str) -> Tree:
    """The small kernel with some files changed: ``tree(page=...)``, ``tree(gpu=...)``."""
    return Tree(sources(**changed))


def sources(page: str = PAGE, gpu: str = GPU, paging: str = PAGING) -> dict[str, str]:
    return {**FILES, "mm/page.s": page, "gpu/gpu.s": gpu, "include/paging.inc": paging}


def case(folder: Path, texts: dict[str, str], **known: Any) -> Case:
    """A case of the small kernel in ``folder``; ``known`` are fields of ``Case``."""
    for name, text in {**texts, "boot.toml": BOOT}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    fields: dict[str, Any] = {"image": IMAGE, "boot": None, "report": None, **known}
    return Case(folder, texts, **fields)


def broken(routine: str, promise: str = "gives a wrong result") -> GateResult:
    """A failed contract gate that names a routine."""
    return GateResult("contract", False, 0.0, "", {"violations": [{"routine": routine, "promise": promise}]})
