# Purpose:  map ranges whole or not at all: memory of somebody else's, or cleared frames of their own.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.5 (bits 11..9 are ignored by the CPU: PTE_OWNED)
# Exports:  page_alloc_range page_map_whole
# Invariants: a range of which a page is mapped already is refused before anything changes; what was made of one that
#           fails later goes back, tables included.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# page_alloc_range -- map a range to cleared frames of its own, which go back when it is unmapped
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages, not 0), rdx = flags:u64 (PAGE_FLAGS_ALL)
# Out:      rax = error:u64, cf = refused, nothing is mapped: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held
function page_alloc_range
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    call page_span_free
    jc .Lalloc_range_leave
    mov r12, rdi
    lea rbx, [rdi + rsi]
.Lalloc_range_page:
    call frame_alloc_zeroed
    jc .Lalloc_range_failed
    mov rsi, rax
    call page_map
    jc .Lalloc_range_give
    call page_own
    add rdi, PAGE_SIZE
    cmp rdi, rbx
    jb .Lalloc_range_page
    xor eax, eax
.Lalloc_range_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lalloc_range_give:
    mov rcx, rax
    xchg rdi, rsi
    call frame_free
    mov rdi, rsi
    mov rax, rcx
.Lalloc_range_failed:
    mov rcx, rax
    mov rsi, rdi
    mov rdi, r12
    sub rsi, r12                                # what was mapped before
    call page_undo_range
    mov rax, rcx
    stc
    jmp .Lalloc_range_leave
end_function page_alloc_range

# page_own -- note that a page owns its frame
# In:       rdi = va:u64 (mapped)
# Out:      none
# Clobbers: rax
# Context:  long mode, page_lock held
local_function page_own
    call_frame
    push rdx
    push rdx
    call page_walk
    or qword ptr [rax], PTE_OWNED
    pop rdx
    pop rdx
    return_frame
end_function page_own

# page_undo_range -- take back what was mapped of a range before it failed, and tables made for the page that failed
# In:       rdi = va:u64 (a page), rsi = length:u64 (bytes, whole pages; mapped so far)
# Out:      none
# Clobbers: rax, rsi, rdi
# Context:  long mode, page_lock held
local_function page_undo_range
    call_frame
    test rsi, rsi
    jz .Lundo_tables
    call page_unmap_range
.Lundo_tables:
    add rdi, rsi
    mov esi, PAGE_SIZE
    call page_prune_range
    return_frame
end_function page_undo_range

# page_map_whole -- map a range, or nothing of it
# In:       rdi = va:u64 (a page), rsi = pa:u64, rdx = length:u64 (bytes, whole pages, not 0), rcx = flags:u64
# Out:      rax = error:u64, cf = refused, nothing is mapped: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held
function page_map_whole
    call_frame
    push rsi
    push rdx
    push rcx
    push rdi
    xchg rsi, rdx
    call page_span_free
    xchg rsi, rdx
    jc .Lwhole_leave
    call page_map_range
    jnc .Lwhole_leave
    mov rsi, rax
.Lwhole_mapped:
    call page_walk                              # how far it came
    jc .Lwhole_undo
    call page_size_mask
    or rdi, rcx
    inc rdi
    jmp .Lwhole_mapped
.Lwhole_undo:
    mov rcx, rsi
    mov rsi, rdi
    mov rdi, [rsp]
    sub rsi, rdi
    call page_undo_range
    mov rax, rcx
    stc
.Lwhole_leave:
    pop rdi
    pop rcx
    pop rdx
    pop rsi
    return_frame
end_function page_map_whole
