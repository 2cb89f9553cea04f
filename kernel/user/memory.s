# Purpose:  memory of a program: the system calls MAP, UNMAP and PROTECT.
# Mode:     64-bit long mode
# Spec:     include/syscall.inc
# Exports:  user_rights call_map call_unmap call_protect
# Invariants: a program has at most USER_PAGES_MAX pages, its image included; a call works on USER_CALL_PAGES at most. Only what MAP gave is unmapped or gets other
#           rights; image and stacks stay as they are. Nothing is writable and executable. An address is not given twice,
#           so that what is used after UNMAP faults.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "syscall.inc"
.include "user.inc"

.section .text, "ax"

# user_rights -- the flags of a page for what ring 3 may do with it
# In:       rdi = rights:u64 (RIGHTS_*)
# Out:      rax = flags:u64 (of space_alloc) or error code, cf = refused: ERROR_INVALID (unknown, or writable and executable)
# Clobbers: none
# Context:  long mode, any IF
function user_rights
    cmp rdi, RIGHTS_WRITE | RIGHTS_EXECUTE
    jae .Lrights_refused
    mov rax, PTE_NX
    cmp edi, RIGHTS_WRITE
    jb .Lrights_return_clear                    # to be read only
    mov rax, PTE_NX | PTE_WRITE
    je .Lrights_return_clear
    xor eax, eax
.Lrights_return_clear:
    clc
    ret
.Lrights_refused:
    mov eax, ERROR_INVALID
    stc
    ret
end_function user_rights

# call_map -- MAP: cleared memory, at an address that was not given before
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = address:u64 or error code, rdx = 0, cf = refused: ERROR_INVALID, ERROR_NO_MEMORY (or beyond
#           USER_PAGES_MAX), ERROR_FULL (no address is left)
# Clobbers: rcx, rsi, rdi, r8
# Context:  a system call
function call_map
    call_frame
    push rbx
    push r13
    mov rbx, rdi
    mov rdi, [rbx + FRAME_RSI]
    call user_rights
    jc .Lmap_return
    mov r8, rax
    mov rdi, [rbx + FRAME_RDI]
    call memory_pages
    jc .Lmap_return
    mov r13, rax
    lock xadd [r12 + PROGRAM_PAGES], rax
    add rax, r13
    cmp rax, USER_PAGES_MAX
    mov eax, ERROR_NO_MEMORY
    jg .Lmap_give
    mov rcx, r13
    shl rcx, PAGE_SHIFT
    lea rsi, [rcx + PAGE_SIZE]                  # a page that is never mapped lies behind it
    lock xadd [r12 + PROGRAM_MAP_NEXT], rsi
    mov rbx, rsi
    mov rdi, USER_MAP_END
    sub rdi, rcx
    mov eax, ERROR_FULL
    cmp rsi, rdi
    ja .Lmap_give
    mov rdi, [r12 + PROGRAM_SPACE]
    call space_alloc
    jc .Lmap_give
    mov rax, rbx                                # cf is clear
.Lmap_return:
    mov edx, 0                                  # leaves cf alone
    pop r13
    pop rbx
    return_frame
.Lmap_give:
    neg r13
    lock add [r12 + PROGRAM_PAGES], r13
    stc
    jmp .Lmap_return
end_function call_map

# call_unmap -- UNMAP: give back whole pages of what MAP gave
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = error:u64, rdx = 0, cf = refused: ERROR_INVALID, ERROR_NOT_MAPPED (nothing is unmapped), ERROR_NO_MEMORY,
#           ERROR_TIMEOUT
# Clobbers: rcx, rsi, rdi
# Context:  a system call
function call_unmap
    call_frame
    push rbx
    push rbx
    mov rsi, [rdi + FRAME_RDI]
    mov rdi, [rdi + FRAME_RSI]
    call memory_range
    jc .Lunmap_return
    mov rbx, rax
    call space_unmap
    jc .Lunmap_return
    neg rbx
    lock add [r12 + PROGRAM_PAGES], rbx
    xor eax, eax
.Lunmap_return:
    mov edx, 0                                  # leaves cf alone
    pop rbx
    pop rbx
    return_frame
end_function call_unmap

# call_protect -- PROTECT: other rights for whole pages of what MAP gave
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = error:u64, rdx = 0, cf = refused: ERROR_INVALID, ERROR_NOT_MAPPED (nothing is changed), ERROR_NO_MEMORY,
#           ERROR_TIMEOUT
# Clobbers: rcx, rsi, rdi, r8
# Context:  a system call
function call_protect
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    mov rdi, [rbx + FRAME_RDX]
    call user_rights
    jc .Lprotect_return
    mov r8, rax
    mov rsi, [rbx + FRAME_RDI]
    mov rdi, [rbx + FRAME_RSI]
    call memory_range
    jc .Lprotect_return
    call space_protect
.Lprotect_return:
    mov edx, 0                                  # leaves cf alone
    pop rbx
    pop rbx
    return_frame
end_function call_protect

# memory_pages -- how many pages hold so many bytes
# In:       rdi = length:u64
# Out:      rax = pages:u64[1..USER_CALL_PAGES] or error code, cf = refused: ERROR_INVALID (none, or more)
# Clobbers: none
# Context:  long mode, any IF
local_function memory_pages
    lea rax, [rdi - 1]
    cmp rax, USER_CALL_PAGES << PAGE_SHIFT
    jae .Lpages_refused
    shr rax, PAGE_SHIFT
    inc eax                                     # cf is clear: the bits that went out do not count
    clc
    ret
.Lpages_refused:
    mov eax, ERROR_INVALID
    stc
    ret
end_function memory_pages

# memory_range -- whether a range is of what MAP has given so far
# In:       rsi = address:u64, rdi = length:u64, r12 = program:ptr
# Out:      rax = pages:u64 or error code, rcx = length:u64 (whole pages), rdi = space:ptr, cf = refused: ERROR_INVALID
# Clobbers: none
# Context:  long mode, any IF
local_function memory_range
    call_frame
    push rdx
    push rdx
    call memory_pages
    jc .Lrange_return
    mov rcx, rax
    shl rcx, PAGE_SHIFT
    mov rdx, USER_MAP_FIRST
    cmp rsi, rdx
    jb .Lrange_refused
    mov rdx, [r12 + PROGRAM_MAP_NEXT]
    sub rdx, rcx
    cmp rdx, rsi
    jb .Lrange_refused
    mov rdi, [r12 + PROGRAM_SPACE]
.Lrange_return:
    pop rdx
    pop rdx
    return_frame
.Lrange_refused:
    mov eax, ERROR_INVALID
    stc
    jmp .Lrange_return
end_function memory_range
