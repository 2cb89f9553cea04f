# Purpose:  map the registers and the memory of devices.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 11.3 (memory types), 11.12 (PAT); the PAT entries are programmed by cpu/features.s
# Exports:  mmio_map mmio_check
# Invariants: device memory is never executable, never write-back, never aliased with another type; RAM is refused.
#           The virtual address is MMIO_BASE + the physical one; page 0 stays unmapped.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# mmio_map -- map a range of bus addresses; mapping the same again with the same type is no error
# In:       rdi = pa:u64, rsi = length:u64, rdx = type:u64 (PTE_CACHE_UC or PTE_CACHE_WC)
# Out:      rax = va:ptr or error code, cf = refused: ERROR_INVALID (page 0, RAM, type, empty, not canonical),
#           ERROR_EXISTS (mapped otherwise), ERROR_NO_MEMORY; the pages before the one refused stay mapped
# Clobbers: none
# Context:  as frame_alloc, after the paging unit
function mmio_map
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r8
    call mmio_check
    jc .Lmmio_leave
    mov rbx, rdi                                # what the caller asked for
    lea r8, [rdi + rsi + PAGE_MASK]
    and r8, ~PAGE_MASK                          # end, exclusive
    mov rcx, PTE_WRITE | PTE_NX | PTE_GLOBAL
    or rcx, rdx
    mov rsi, rdi
    and rsi, ~PAGE_MASK
    mov rdi, MMIO_BASE
    add rdi, rsi
    mov rdx, r8
    sub rdx, rsi
    call page_map_range
    jnc .Lmmio_done
    cmp eax, ERROR_EXISTS
    jne .Lmmio_failed
    mov rdx, rcx                                # something is mapped there already: page by page then
.Lmmio_page:
    call page_map
    jnc .Lmmio_next
    cmp eax, ERROR_EXISTS
    jne .Lmmio_failed
    call mmio_is_same
    jc .Lmmio_leave
.Lmmio_next:
    add rdi, PAGE_SIZE
    add rsi, PAGE_SIZE
    cmp rsi, r8
    jb .Lmmio_page
.Lmmio_done:
    mov rax, MMIO_BASE
    add rax, rbx
    clc
.Lmmio_leave:
    pop r8
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lmmio_failed:
    stc
    jmp .Lmmio_leave
end_function mmio_map

# mmio_check -- whether a range may be mapped as device memory
# In:       rdi = pa:u64, rsi = length:u64, rdx = type:u64
# Out:      rax = error:u64, cf = not
# Clobbers: none
# Context:  long mode, any IF
function mmio_check
    call_frame
    push rdi
    push rsi
    push rdx
    push rcx
    cmp edx, PTE_CACHE_UC
    je .Lmmio_check_range
    cmp edx, PTE_CACHE_WC
    jne .Lmmio_check_invalid
.Lmmio_check_range:
    cmp rdi, PAGE_SIZE
    jb .Lmmio_check_invalid
    mov rdx, rdi
    add rdx, rsi
    jc .Lmmio_check_invalid
    cmp rdx, rdi
    je .Lmmio_check_invalid
    mov rcx, rdx
    shr rcx, ADDRESS_LOW_HALF_SHIFT
    jnz .Lmmio_check_invalid
    mov rsi, rdi
    lea rdi, [rip + memory_ram]
    call ranges_overlap
    jnc .Lmmio_check_invalid                    # RAM is write-back in the direct map
    xor eax, eax
.Lmmio_check_leave:
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    return_frame
.Lmmio_check_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lmmio_check_leave
end_function mmio_check

# mmio_is_same -- whether an address is mapped as it would have been mapped now
# In:       rdi = va:u64, rsi = pa:u64, rdx = flags:u64
# Out:      rax = error:u64 (ERROR_EXISTS), cf = mapped otherwise
# Clobbers: none
# Context:  long mode, any IF
local_function mmio_is_same
    call_frame
    push rbx
    push rcx
    push rdx
    push r8
    mov r8, rdx
    call page_walk
    jc .Lsame_not
    mov rbx, [rax]
    mov rcx, r8
    or rcx, rsi
    or rcx, PTE_PRESENT
    cmp edx, PAGE_LEVEL_PT
    je .Lsame_compare
    mov rdx, r8                                 # within a large page: the bits it would have, and its first byte
    call page_flags_large
    mov rcx, rsi
    and rcx, ~LARGE_PAGE_MASK
    or rcx, rdx
.Lsame_compare:
    and rbx, ~(PTE_ACCESSED | PTE_DIRTY)
    xor eax, eax
    cmp rbx, rcx
    je .Lsame_leave
.Lsame_not:
    mov eax, ERROR_EXISTS
    stc
.Lsame_leave:
    pop r8
    pop rdx
    pop rcx
    pop rbx
    return_frame
end_function mmio_is_same
