# Purpose:  map the registers and the memory of devices.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 11.3 (memory types), 11.12 (PAT); the PAT entries are programmed by cpu/features.s
# Exports:  mmio_map mmio_check
# Invariants: device memory is never executable, never write-back, never aliased with another type; RAM is refused.
#           The virtual address is MMIO_BASE + the physical one, from USER_FIRST on DIRECT_BASE + it; page 0 stays
#           unmapped.
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
# Context:  long mode, any IF, after the paging unit
function mmio_map
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r8
    push r9
    push r9
    call mmio_check
    jc .Lmmio_leave
    mov rbx, rdi                                # what the caller asked for
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdi, rbx
    call mmio_address
    mov r9, rax
    lea r8, [rdi + rsi + PAGE_MASK]
    and r8, ~PAGE_MASK                          # end, exclusive
    mov rcx, PTE_WRITE | PTE_NX | PTE_GLOBAL
    or rcx, rdx
    mov rsi, rdi
    and rsi, ~PAGE_MASK
    mov rdi, r9
    and rdi, ~PAGE_MASK
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
    jc .Lmmio_unlock
.Lmmio_next:
    add rdi, PAGE_SIZE
    add rsi, PAGE_SIZE
    cmp rsi, r8
    jb .Lmmio_page
.Lmmio_done:
    mov rax, r9
    clc
.Lmmio_unlock:
    pop rsi
    pop rsi
    lea rdi, [rip + page_lock]
    call mm_lock_leave
.Lmmio_leave:
    pop r9
    pop r9
    pop r8
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lmmio_failed:
    stc
    jmp .Lmmio_unlock
end_function mmio_map

# mmio_address -- where device memory is mapped: in every address space the same
# In:       rdi = pa:u64
# Out:      rax = va:u64
# Clobbers: none
# Context:  long mode, any IF
local_function mmio_address
    mov rax, USER_FIRST
    cmp rdi, rax
    mov rax, MMIO_BASE
    jb .Lmmio_low
    mov rax, DIRECT_BASE                        # above, the lower half is ring 3's; there is no RAM at this address
.Lmmio_low:
    add rax, rdi
    ret
end_function mmio_address

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
    lea rcx, [rdx - 1]
    shr rcx, DIRECT_SIZE_SHIFT
    jnz .Lmmio_check_invalid
    mov rcx, USER_FIRST
    cmp rdi, rcx
    jae .Lmmio_check_ram
    cmp rcx, rdx
    jb .Lmmio_check_invalid                     # on both sides of where ring 3 begins
.Lmmio_check_ram:
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
