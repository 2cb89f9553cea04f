# Purpose:  page tables of four levels: change what is mapped (unmap, protect, split a large page).
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.10.4.1 (INVLPG), 4.10.4.2 (when software must invalidate)
# Exports:  page_unmap page_protect page_split page_size_mask
# Invariants: whoever takes a right or a translation away invalidates it before returning. Other CPUs are not told:
#           their TLBs are the caller's to flush. Tables that become empty stay where they are and serve again.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# page_size_mask -- bytes of a page at a level, less one
# In:       rdx = level:u64[1..3]
# Out:      rcx = mask:u64
# Clobbers: none
# Context:  long mode, any IF
function page_size_mask
    mov ecx, PAGE_MASK
    cmp edx, PAGE_LEVEL_PT
    je .Lsize_known
    mov ecx, LARGE_PAGE_MASK
    cmp edx, PAGE_LEVEL_PD
    je .Lsize_known
    mov ecx, HUGE_PAGE_MASK
.Lsize_known:
    ret
end_function page_size_mask

# page_unmap -- unmap the page that begins at an address, whatever its size
# In:       rdi = va:u64
# Out:      rax = pa:u64 (what was mapped) or error code, cf = refused: ERROR_NOT_MAPPED; ERROR_INVALID where va lies
#           within a large page (page_split first)
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_unmap
    call_frame
    push rcx
    push rdx
    push rbx
    push r8
    call page_walk
    jc .Lunmap_absent
    call page_size_mask
    test rdi, rcx
    jnz .Lunmap_inside
    mov rbx, [rax]
    mov qword ptr [rax], 0
    invlpg [rdi]
    mov rax, PTE_ADDRESS_MASK
    and rax, rbx
    not rcx
    and rax, rcx                                # a large page keeps its PAT bit among the address bits
    clc
.Lunmap_leave:
    pop r8
    pop rbx
    pop rdx
    pop rcx
    return_frame
.Lunmap_absent:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lunmap_leave
.Lunmap_inside:
    mov eax, ERROR_INVALID
    stc
    jmp .Lunmap_leave
end_function page_unmap

# page_protect -- give the page that begins at an address other rights and another memory type
# In:       rdi = va:u64, rsi = flags:u64 (PAGE_FLAGS_ALL, all of them anew)
# Out:      rax = error:u64, cf = refused: ERROR_NOT_MAPPED; ERROR_INVALID for a flag that is none, or where va lies
#           within a large page (page_split first)
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_protect
    call_frame
    push rcx
    push rdx
    push rbx
    push r8
    push rsi
    push rsi                                    # RSP stays 16-aligned
    mov rbx, ~PAGE_FLAGS_ALL
    test rsi, rbx
    jnz .Lprotect_invalid
    call page_walk
    jc .Lprotect_absent
    call page_size_mask
    test rdi, rcx
    jnz .Lprotect_invalid
    mov rbx, rsi
    mov rsi, rdx
    mov rdx, rbx
    call page_descend                           # the same entry; PTE_USER is granted along the way
    jc .Lprotect_leave
    not rcx
    mov r8, PTE_ADDRESS_MASK
    and rcx, r8
    or rcx, PTE_NOTED | PTE_OWNED
    and rcx, [rax]                              # what stays: the address, and what the CPU noted
    cmp esi, PAGE_LEVEL_PT
    je .Lprotect_small
    call page_flags_large
    jmp .Lprotect_store
.Lprotect_small:
    or rdx, PTE_PRESENT
.Lprotect_store:
    or rdx, rcx
    mov [rax], rdx
    invlpg [rdi]
    xor eax, eax
.Lprotect_leave:
    pop rsi
    pop rsi
    pop r8
    pop rbx
    pop rdx
    pop rcx
    return_frame
.Lprotect_absent:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lprotect_leave
.Lprotect_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lprotect_leave
end_function page_protect

# page_split -- replace the large page around an address by 512 pages of the next smaller size, all else the same
# In:       rdi = va:u64 (anywhere in the page)
# Out:      rax = error:u64, cf = refused: ERROR_NOT_MAPPED, ERROR_INVALID where the page is a 4 KB one already,
#           ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_split
    call_frame
    push rcx
    push rdx
    push rbx
    push rsi
    push r8
    push r9
    call page_walk
    jc .Lsplit_absent
    cmp edx, PAGE_LEVEL_PT
    je .Lsplit_invalid
    mov rbx, rax                                # the entry to replace
    call frame_alloc
    jc .Lsplit_leave
    mov r9, rax
    mov rsi, [rbx]                              # the entries to write, from the first on
    mov r8d, LARGE_PAGE_SIZE
    cmp edx, PAGE_LEVEL_PDPT
    je .Lsplit_fill
    mov r8d, PAGE_SIZE
    and rsi, ~PTE_LARGE                         # bit 7 of a small page is its PAT bit, which a large one has at 12
    btr rsi, PTE_LARGE_PAT_BIT
    jnc .Lsplit_fill
    or rsi, PTE_PAT
.Lsplit_fill:
    mov rax, DIRECT_BASE
    add rax, r9
    mov ecx, TABLE_ENTRIES
.Lsplit_entry:
    mov [rax], rsi
    add rsi, r8
    add rax, 1 << TABLE_ENTRY_SHIFT
    dec ecx
    jnz .Lsplit_entry
    mov eax, [rbx]
    and eax, PTE_USER
    or eax, PTE_PRESENT | PTE_WRITE             # the rights stand in the new entries
    or r9, rax
    mov [rbx], r9
    invlpg [rdi]                                # drops every translation of the large page
    xor eax, eax
.Lsplit_leave:
    pop r9
    pop r8
    pop rsi
    pop rbx
    pop rdx
    pop rcx
    return_frame
.Lsplit_absent:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lsplit_leave
.Lsplit_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lsplit_leave
end_function page_split
