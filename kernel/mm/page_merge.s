# Purpose:  tables that are not needed any more: those that say what one larger page can say, and empty ones.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.10.2.2 (page sizes in the TLB), 4.10.3 (paging-structure caches), 4.10.4.2
# Exports:  page_merge page_prune_range
# Invariants: a table goes back only when no CPU holds a way to it. Tables of level 3 stay: address spaces share them.

.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# page_merge -- replace full tables around an address by larger pages where these say the same
# In:       rdi = va:u64
# Out:      none
# Clobbers: none
# Context:  long mode, page_lock held
function page_merge
    call_frame
    push rax
    push rcx
    push rdx
    push rbx
.Lmerge_level:
    call page_walk
    jc .Lmerge_leave
    cmp edx, PAGE_LEVEL_PDPT
    jae .Lmerge_leave
    cmp edx, PAGE_LEVEL_PT
    je .Lmerge_allowed
    cmp byte ptr [rip + page_huge_allowed], 0
    je .Lmerge_leave
.Lmerge_allowed:
    mov rbx, rax
    and rbx, ~PAGE_MASK                         # the table
    call page_is_uniform
    jc .Lmerge_leave
    call page_replace_table
    jnc .Lmerge_level
.Lmerge_leave:
    pop rbx
    pop rdx
    pop rcx
    pop rax
    return_frame
end_function page_merge

# page_is_uniform -- whether the pages of a table lie in a row, aligned to all of it, with the same rights and type
# In:       rbx = table:ptr, rdx = level:u64[1..2]
# Out:      rax = entry:u64 (of the first, with what the CPU noted in any of them), cf = not
# Clobbers: rcx
# Context:  long mode, page_lock held
local_function page_is_uniform
    push rsi
    push r8
    push r9
    push r10
    mov r8, [rbx]
    mov rax, r8
    and rax, PTE_NOTED
    and r8, ~PTE_NOTED
    mov esi, PAGE_SIZE
    mov rcx, PTE_LARGE_ADDRESS_MASK
    cmp edx, PAGE_LEVEL_PT
    je .Luniform_size
    mov esi, LARGE_PAGE_SIZE
    mov rcx, PTE_HUGE_ADDRESS_MASK
.Luniform_size:
    mov r9, PTE_ADDRESS_MASK
    and r9, r8
    cmp edx, PAGE_LEVEL_PT
    je .Luniform_address
    and r9, ~PTE_LARGE_PAT                      # bit 12 of a large page is its PAT bit
.Luniform_address:
    not rcx
    test r9, rcx
    jnz .Luniform_not
    xor ecx, ecx
    mov r9, r8
.Luniform_entry:
    mov r10, [rbx + rcx * 8]
    test r10b, PTE_PRESENT
    jz .Luniform_not
    cmp edx, PAGE_LEVEL_PT
    je .Luniform_leaf
    test r10b, PTE_LARGE
    jz .Luniform_not
.Luniform_leaf:
    push r10
    and r10, ~PTE_NOTED
    cmp r10, r9
    pop r10
    jne .Luniform_not
    and r10d, PTE_NOTED
    or rax, r10
    add r9, rsi
    inc ecx
    cmp ecx, TABLE_ENTRIES
    jb .Luniform_entry
    or rax, r8
    clc
.Luniform_leave:
    pop r10
    pop r9
    pop r8
    pop rsi
    ret
.Luniform_not:
    stc
    jmp .Luniform_leave
end_function page_is_uniform

# page_replace_table -- put one larger page into the place of a table
# In:       rdi = va:u64 (within the table's reach), rbx = table:ptr, rdx = level:u64[1..2], rax = entry:u64 (the first
#           of the table)
# Out:      cf = a CPU did not answer: the table stays out of use
# Clobbers: rax, rcx, rdx
# Context:  long mode, page_lock held
local_function page_replace_table
    call_frame
    push rdi
    push rsi
    push r12
    push r12
    mov r12, rax
    mov ecx, HUGE_PAGE_SIZE
    cmp edx, PAGE_LEVEL_PD
    je .Lreplace_bits
    mov ecx, LARGE_PAGE_SIZE
    btr r12, PTE_PAT_BIT
    jnc .Lreplace_no_pat
    or r12, PTE_LARGE_PAT
.Lreplace_no_pat:
    or r12, PTE_LARGE
.Lreplace_bits:
    lea esi, [rdx + 1]
    xor edx, edx                                # the way there has its rights
    call page_descend
    mov [rax], r12
    mov rsi, rcx
    neg rcx
    and rdi, rcx
    call tlb_flush                              # all the smaller translations: INVLPG of one would leave the others
    jc .Lreplace_leave
    mov rax, DIRECT_BASE
    mov rdi, rbx
    sub rdi, rax
    call frame_free
.Lreplace_leave:
    pop r12
    pop r12
    pop rsi
    pop rdi
    return_frame
end_function page_replace_table

# page_prune_range -- give back the tables of a range that have become empty
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      none
# Clobbers: none
# Context:  long mode, page_lock held
function page_prune_range
    call_frame
    push rax
    push rcx
    push rdx
    push rdi
    push rbx
    push r12
    lea rbx, [rdi + rsi]
    xor r12d, r12d                              # tables that are out of reach: a chain through their first entries
    and rdi, ~LARGE_PAGE_MASK
.Lprune_table:
    mov edx, PAGE_LEVEL_PT
    call page_prune_table
    mov edx, PAGE_LEVEL_PD
    call page_prune_table
    add rdi, LARGE_PAGE_SIZE
    cmp rdi, rbx
    jb .Lprune_table
    test r12, r12
    jz .Lprune_leave
    mov rdi, [rbp - 0x20]
    push rsi
    push rsi
    mov esi, PAGE_SIZE                          # one page: INVLPG drops the ways to all tables
    call tlb_flush
    pop rsi
    pop rsi
    jc .Lprune_leave
.Lprune_free:
    mov rdi, r12
    mov rax, DIRECT_BASE
    mov r12, [rax + rdi]
    call frame_free
    test r12, r12
    jnz .Lprune_free
.Lprune_leave:
    pop r12
    pop rbx
    pop rdi
    pop rdx
    pop rcx
    pop rax
    return_frame
end_function page_prune_range

# page_prune_table -- take the table of a level out of reach where it is empty
# In:       rdi = va:u64, rdx = level:u64[1..2], r12 = chain:u64 (physical, 0 = none)
# Out:      r12 = chain:u64
# Clobbers: rax, rcx, rdx
# Context:  long mode, page_lock held
local_function page_prune_table
    call_frame
    push rbx
    push rsi
    mov rcx, rdx
    call page_walk
    jnc .Lprune_kept
    cmp rdx, rcx
    jne .Lprune_kept                            # the walk ends in a table of another level
    mov rbx, rax
    and rbx, ~PAGE_MASK
    xor ecx, ecx
.Lprune_entry:
    cmp qword ptr [rbx + rcx * 8], 0
    jne .Lprune_kept
    inc ecx
    cmp ecx, TABLE_ENTRIES
    jb .Lprune_entry
    lea esi, [rdx + 1]
    xor edx, edx
    call page_descend
    mov qword ptr [rax], 0
    mov [rbx], r12                              # not present: an address of a frame is even
    mov rax, DIRECT_BASE
    mov r12, rbx
    sub r12, rax
.Lprune_kept:
    pop rsi
    pop rbx
    return_frame
end_function page_prune_table
