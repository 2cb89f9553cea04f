# Purpose:  ranges of mapped pages: take them out, give them other rights.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.10.4.2 (when software must invalidate), 4.5 (bits 11..9 are ignored)
# Exports:  page_unmap_range page_protect_range page_span_mapped page_span_free page_free_owned; page_lock
# Invariants: a range is changed whole or not at all; large pages that it cuts are split first. A frame goes back only
#           when no CPU can reach it any more: first the entries lose their present bit, then the TLBs hear of it, then
#           the frames of PTE_OWNED pages and the tables that became empty are freed.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# page_span_mapped -- whether every page of a range is mapped
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      rax = error:u64, cf = not: ERROR_NOT_MAPPED
# Clobbers: none
# Context:  long mode, page_lock held
function page_span_mapped
    call_frame
    push rcx
    push rdx
    push rdi
    push rbx
    lea rbx, [rdi + rsi]
.Lmapped_page:
    call page_walk
    jc .Lmapped_not
    call page_size_mask
    or rdi, rcx
    inc rdi                                     # the page behind this one
    cmp rdi, rbx
    jb .Lmapped_page
    xor eax, eax
.Lmapped_leave:
    pop rbx
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lmapped_not:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lmapped_leave
end_function page_span_mapped

# page_span_free -- whether no page of a range is mapped
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      rax = error:u64, cf = one is: ERROR_EXISTS
# Clobbers: none
# Context:  long mode, page_lock held
function page_span_free
    call_frame
    push rcx
    push rdx
    push rdi
    push rbx
    lea rbx, [rdi + rsi]
.Lfree_page:
    call page_walk
    jnc .Lfree_not
    call page_size_mask                         # nothing is mapped as far as the absent entry reaches
    or rdi, rcx
    inc rdi
    cmp rdi, rbx
    jb .Lfree_page
    xor eax, eax
.Lfree_leave:
    pop rbx
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lfree_not:
    mov eax, ERROR_EXISTS
    stc
    jmp .Lfree_leave
end_function page_span_free

# page_split_at -- split pages until none reaches across an address
# In:       rdi = va:u64 (a page)
# Out:      rax = error:u64, cf = failed: ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held
local_function page_split_at
    call_frame
    push rcx
    push rdx
.Lsplit_at_page:
    call page_walk
    jc .Lsplit_at_done                          # nothing is mapped there
    call page_size_mask
    test rdi, rcx
    jz .Lsplit_at_done
    call page_split
    jnc .Lsplit_at_page
    jmp .Lsplit_at_leave
.Lsplit_at_done:
    xor eax, eax
.Lsplit_at_leave:
    pop rdx
    pop rcx
    return_frame
end_function page_split_at

# page_span_prepare -- see that a range is mapped and that no page reaches across its ends
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      rax = error:u64, cf = refused: ERROR_NOT_MAPPED, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held
local_function page_span_prepare
    call_frame
    push rdi
    push rdi
    call page_span_mapped
    jc .Lprepare_leave
    call page_split_at
    jc .Lprepare_leave
    add rdi, rsi
    call page_split_at
.Lprepare_leave:
    pop rdi
    pop rdi
    return_frame
end_function page_span_prepare

# page_unmap_range -- unmap a range; frames that the pages own and tables that become empty go back
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      rax = error:u64, cf = refused, nothing is unmapped: ERROR_NOT_MAPPED (a page of it), ERROR_NO_MEMORY
#           (splitting a page); ERROR_TIMEOUT: unmapped, but a CPU did not answer, so that no frame went back
# Clobbers: none
# Context:  long mode, page_lock held
function page_unmap_range
    call_frame
    push rcx
    push rdx
    push rdi
    push rbx
    call page_span_prepare
    jc .Lunmap_range_leave
    lea rbx, [rdi + rsi]
.Lunmap_range_page:
    call page_walk
    call page_size_mask
    btr qword ptr [rax], 0                      # PTE_PRESENT; the rest of the entry says what to free
    or rdi, rcx
    inc rdi
    cmp rdi, rbx
    jb .Lunmap_range_page
    sub rdi, rsi
    call tlb_flush
    jc .Lunmap_range_leave
    call page_release_range
    call page_prune_range
    xor eax, eax
.Lunmap_range_leave:
    pop rbx
    pop rdi
    pop rdx
    pop rcx
    return_frame
end_function page_unmap_range

# page_release_range -- clear the entries of a range that lost its present bits; frames that the pages own go back
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, page_lock held; no TLB holds any of it
local_function page_release_range
    call_frame
    push rdi
    push rsi
    push rbx
    push r12
    lea rbx, [rdi + rsi]
.Lrelease_page:
    call page_walk
    call page_size_mask
    mov rdx, [rax]
    mov qword ptr [rax], 0
    mov r12, rdi
    call page_free_owned
    lea rdi, [rcx + 1]
    add rdi, r12
    cmp rdi, rbx
    jb .Lrelease_page
    pop r12
    pop rbx
    pop rsi
    pop rdi
    return_frame
end_function page_release_range

# page_free_owned -- give back the frames of a page that owns them
# In:       rdx = entry:u64, rcx = offset_mask:u64 (page size - 1)
# Out:      none
# Clobbers: rax, rdx, rdi, rsi
# Context:  long mode, any IF; no TLB holds the page
function page_free_owned
    call_frame
    test edx, PTE_OWNED
    jz .Lowned_leave
    mov rdi, PTE_ADDRESS_MASK
    and rdi, rdx
    mov rsi, rcx
    not rsi
    and rdi, rsi                                # a large page keeps its PAT bit among the address bits
    lea rsi, [rdi + rcx]
.Lowned_frame:
    call frame_free
    add rdi, PAGE_SIZE
    cmp rdi, rsi
    jb .Lowned_frame
.Lowned_leave:
    return_frame
end_function page_free_owned

# page_protect_range -- give a range other rights and another memory type; what becomes uniform is merged
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0), rdx = flags:u64 (PAGE_FLAGS_ALL, all
#           of them anew)
# Out:      rax = error:u64, cf = refused, nothing is changed: ERROR_INVALID (a flag that is none), ERROR_NOT_MAPPED,
#           ERROR_NO_MEMORY; ERROR_TIMEOUT: changed, but a CPU did not answer
# Clobbers: none
# Context:  long mode, page_lock held
function page_protect_range
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    mov rax, ~PAGE_FLAGS_ALL
    test rdx, rax
    jnz .Lprotect_range_invalid
    mov r12, rdx
    call page_span_prepare
    jc .Lprotect_range_leave
    lea rbx, [rdi + rsi]
.Lprotect_range_page:
    call page_walk
    call page_size_mask
    mov rsi, r12
    call page_protect
    or rdi, rcx
    inc rdi
    cmp rdi, rbx
    jb .Lprotect_range_page
    dec rdi
    call page_merge
    mov rsi, [rbp - 0x20]                       # the length
    mov rdi, [rbp - 0x18]                       # and where the range begins
    call page_merge
    call tlb_flush
.Lprotect_range_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lprotect_range_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lprotect_range_leave
end_function page_protect_range

.section .bss, "aw", @nobits
    .balign 8
object page_lock                                # of all page tables
    .skip 8
end_object page_lock
