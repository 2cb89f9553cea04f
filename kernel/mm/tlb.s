# Purpose:  the translations that a CPU holds, taken back.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.10.4.1 (INVLPG, CR4.PGE), 4.10.4.2 (when software must invalidate)
# Exports:  tlb_flush tlb_flush_here
# Invariants: entries of page tables change before the translation goes, never after.

.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "layout.inc"

.set TLB_PAGES_MAX, 32                          # from here on dropping everything is cheaper

.section .text, "ax"

# tlb_flush -- drop the translations of a range of the address space that is worked on
# In:       rdi = va:u64, rsi = length:u64 (bytes)
# Out:      rax = error:u64, cf = a CPU did not answer: ERROR_TIMEOUT
# Clobbers: none
# Context:  long mode, page_lock held, the entries changed already
function tlb_flush
    call_frame
    call tlb_flush_here
    xor eax, eax
    return_frame
end_function tlb_flush

# tlb_flush_here -- drop the translations of a range, and all ways to tables, on the CPU that runs
# In:       rdi = va:u64, rsi = length:u64 (bytes)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
function tlb_flush_here
    push rax
    push rcx
    push rdi
    cmp rsi, TLB_PAGES_MAX * PAGE_SIZE
    ja .Lflush_all
    lea rcx, [rdi + rsi]
.Lflush_page:
    invlpg [rdi]
    add rdi, PAGE_SIZE
    cmp rdi, rcx
    jb .Lflush_page
    jmp .Lflush_leave
.Lflush_all:
    mov rcx, cr4
    mov rax, rcx
    and rax, ~CR4_PGE                           # either change drops all translations, the global ones too
    mov cr4, rax
    mov cr4, rcx
.Lflush_leave:
    pop rdi
    pop rcx
    pop rax
    ret
end_function tlb_flush_here
