# Purpose:  what an address space holds for ring 3: map, unmap, protect, memory of its own.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.6 (access rights)
# Exports:  space_map space_alloc space_unmap space_protect space_walk user_range_check
# Invariants: only addresses between USER_FIRST and USER_END; all pages are ring 3's, none is global, none writable and
#           executable. Each call does all or nothing, under page_lock.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set SPACE_FLAGS, PTE_WRITE | PTE_USER | PTE_CACHE_MASK
.set PA_SHIFT, 52

.section .text, "ax"

# user_range_check -- whether a range lies in what ring 3 may have
# In:       rdi = va:u64, rsi = length:u64 (bytes)
# Out:      rax = error:u64, cf = not: ERROR_INVALID
# Clobbers: none
# Context:  long mode, any IF
function user_range_check
    push rcx
    push rdx
    mov rcx, USER_FIRST
    cmp rdi, rcx
    jb .Luser_invalid
    mov rcx, USER_END
    mov rdx, rdi
    add rdx, rsi
    jc .Luser_invalid
    cmp rcx, rdx
    jb .Luser_invalid
    xor eax, eax
.Luser_leave:
    pop rdx
    pop rcx
    ret
.Luser_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Luser_leave
end_function user_range_check

# space_range_check -- whether a range and its flags can be a space's
# In:       rsi = va:u64, rcx = length:u64 (bytes), r8 = flags:u64
# Out:      rax = error:u64, cf = not: ERROR_INVALID
# Clobbers: none
# Context:  long mode, any IF
local_function space_range_check
    call_frame
    push rdi
    push rsi
    mov rdi, rsi
    mov rsi, rcx
    call user_range_check
    jc .Lspace_check_leave
    or rdi, rsi
    test edi, PAGE_MASK
    jnz .Lspace_check_invalid
    test rsi, rsi
    jz .Lspace_check_invalid
    mov rdi, ~(SPACE_FLAGS | PTE_NX)
    test r8, rdi
    jnz .Lspace_check_invalid
    bt r8, PTE_NX_BIT
    jc .Lspace_check_sound
    test r8d, PTE_WRITE
    jnz .Lspace_check_invalid                   # writable and executable
.Lspace_check_sound:
    xor eax, eax
.Lspace_check_leave:
    pop rsi
    pop rdi
    return_frame
.Lspace_check_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lspace_check_leave
end_function space_range_check

# space_map -- map memory that belongs to somebody else: frames, devices, what another space has too
# In:       rdi = space:ptr, rsi = va:u64, rdx = pa:u64, rcx = length:u64 (bytes, whole pages), r8 = flags:u64 (PTE_WRITE,
#           PTE_NX, PTE_CACHE_*)
# Out:      rax = error:u64, cf = refused, nothing is mapped: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
function space_map
    call_frame
    push rbx
    push rcx
    push rdx
    push rdi
    push rsi
    push r8
    call space_range_check
    jc .Lspace_map_leave
    mov rax, rdx
    add rax, rcx
    jc .Lspace_map_invalid
    dec rax
    shr rax, PA_SHIFT
    jnz .Lspace_map_invalid
    call space_begin
    jc .Lspace_map_leave
    mov rbx, rax
    mov rdi, rsi
    mov rsi, rdx
    mov rdx, rcx
    mov rcx, r8
    or rcx, PTE_USER
    call page_map_whole
    mov rdi, rbx
    call space_end
.Lspace_map_leave:
    pop r8
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    pop rbx
    return_frame
.Lspace_map_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lspace_map_leave
end_function space_map

# space_alloc -- map cleared memory of the space's own, which goes back with the mapping or with the space
# In:       rdi = space:ptr, rsi = va:u64, rcx = length:u64 (bytes, whole pages), r8 = flags:u64 (PTE_WRITE, PTE_NX)
# Out:      rax = error:u64, cf = refused, nothing is mapped: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
function space_alloc
    call_frame
    push rbx
    push rdx
    push rdi
    push rsi
    call space_range_check
    jc .Lspace_alloc_leave
    call space_begin
    jc .Lspace_alloc_leave
    mov rbx, rax
    mov rdi, rsi
    mov rsi, rcx
    mov rdx, r8
    or rdx, PTE_USER
    call page_alloc_range
    mov rdi, rbx
    call space_end
.Lspace_alloc_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rbx
    return_frame
end_function space_alloc

# space_unmap -- unmap a range; what the space owns of it goes back
# In:       rdi = space:ptr, rsi = va:u64, rcx = length:u64 (bytes, whole pages)
# Out:      rax = error:u64, cf = refused, nothing is unmapped: ERROR_INVALID, ERROR_NOT_MAPPED, ERROR_NO_MEMORY (splitting a
#           large page); ERROR_TIMEOUT: unmapped, but a CPU did not answer
# Clobbers: none
# Context:  long mode, any IF
function space_unmap
    call_frame
    push rbx
    push r8
    push rdi
    push rsi
    xor r8d, r8d
    call space_range_check
    jc .Lspace_unmap_leave
    call space_begin
    jc .Lspace_unmap_leave
    mov rbx, rax
    mov rdi, rsi
    mov rsi, rcx
    call page_unmap_range
    mov rdi, rbx
    call space_end
.Lspace_unmap_leave:
    pop rsi
    pop rdi
    pop r8
    pop rbx
    return_frame
end_function space_unmap

# space_protect -- give a range other rights and another memory type
# In:       rdi = space:ptr, rsi = va:u64, rcx = length:u64 (bytes, whole pages), r8 = flags:u64 (PTE_WRITE, PTE_NX,
#           PTE_CACHE_*; all of them anew)
# Out:      rax = error:u64, cf = refused, nothing is changed: ERROR_INVALID, ERROR_NOT_MAPPED, ERROR_NO_MEMORY
#           (splitting a large page); ERROR_TIMEOUT: changed, but a CPU did not answer
# Clobbers: none
# Context:  long mode, any IF
function space_protect
    call_frame
    push rbx
    push rdx
    push rdi
    push rsi
    call space_range_check
    jc .Lspace_protect_leave
    call space_begin
    jc .Lspace_protect_leave
    mov rbx, rax
    mov rdi, rsi
    mov rsi, rcx
    mov rdx, r8
    or rdx, PTE_USER
    call page_protect_range
    mov rdi, rbx
    call space_end
.Lspace_protect_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rbx
    return_frame
end_function space_protect

# space_walk -- where an address of a space leads
# In:       rdi = space:ptr, rsi = va:u64
# Out:      rax = entry:u64 (the last one read) or error code, rdx = level:u64[0..4], cf = not mapped: ERROR_NOT_MAPPED, or
#           no space: ERROR_INVALID
# Clobbers: none
# Context:  long mode, any IF
function space_walk
    call_frame
    push rbx
    push rdi
    xor edx, edx
    call space_begin
    jc .Lspace_walk_leave
    mov rbx, rax
    mov rdi, rsi
    call page_walk
    jc .Lspace_walk_absent
    mov rax, [rax]
.Lspace_walk_end:
    mov rdi, rbx
    call space_end
.Lspace_walk_leave:
    pop rdi
    pop rbx
    return_frame
.Lspace_walk_absent:
    mov eax, ERROR_NOT_MAPPED
    jmp .Lspace_walk_end
end_function space_walk
