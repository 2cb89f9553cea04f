# Purpose:  memory of ring 3 as the kernel reads and writes it: checked, and a fault is an answer.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.6 (SMAP: EFLAGS.AC); vol. 2, STAC, CLAC
# Exports:  copy_from_user copy_to_user
# Invariants: outside of user_copy_bytes AC is clear: the kernel touches no page of ring 3 by mistake. A piece of at most
#           a page is copied with interrupts off, because the record of fault_catch is the CPU's, not the thread's.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "fault.inc"

# what user_copy_bytes gets
.set COPY_TO, 0x00
.set COPY_FROM, 0x08
.set COPY_LENGTH, 0x10
.set COPY_SIZE, 0x20                            # RSP stays 16-aligned

.section .text, "ax"

# copy_from_user -- copy bytes of ring 3 into the kernel
# In:       rdi = to:ptr, rsi = from:u64 (of ring 3), rdx = length:u64
# Out:      rax = error:u64, cf = refused, some bytes may be copied: ERROR_INVALID (not ring 3's), ERROR_NOT_MAPPED (it
#           cannot be read)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set, the space of that thread loaded
function copy_from_user
    call_frame
    xchg rdi, rsi
    xchg rsi, rdx
    call user_range_check                       # rdi = from, rsi = length
    xchg rsi, rdx
    xchg rdi, rsi
    jc .Lcopy_from_leave
    call user_copy
.Lcopy_from_leave:
    return_frame
end_function copy_from_user

# copy_to_user -- copy bytes of the kernel to ring 3
# In:       rdi = to:u64 (of ring 3), rsi = from:ptr, rdx = length:u64
# Out:      rax = error:u64, cf = refused, some bytes may be copied: ERROR_INVALID (not ring 3's), ERROR_NOT_MAPPED (it
#           cannot be written)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set, the space of that thread loaded
function copy_to_user
    call_frame
    xchg rsi, rdx
    call user_range_check                       # rdi = to, rsi = length
    xchg rsi, rdx
    jc .Lcopy_to_leave
    call user_copy
.Lcopy_to_leave:
    return_frame
end_function copy_to_user

# user_copy -- copy in pieces of at most a page, each under fault_catch
# In:       rdi = to:u64, rsi = from:u64, rdx = length:u64
# Out:      rax = error:u64, cf = a piece faulted: ERROR_NOT_MAPPED
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set
local_function user_copy
    call_frame
    push rbx
    push r12
    sub rsp, COPY_SIZE
    mov [rsp + COPY_TO], rdi
    mov [rsp + COPY_FROM], rsi
    mov rbx, rdx                                # bytes that are left
.Lcopy_piece:
    test rbx, rbx
    jz .Lcopy_done
    mov r12d, PAGE_SIZE
    cmp rbx, r12
    cmovb r12, rbx
    mov [rsp + COPY_LENGTH], r12
    mov rsi, rsp
    lea rdi, [rip + user_copy_bytes]
    mov edx, FAULT_CATCH_QUIET
    pushfq
    push rdx
    cli
    call fault_catch
    setc al
    add rsp, 8
    popfq
    test al, al
    jnz .Lcopy_faulted
    add [rsp + COPY_TO], r12
    add [rsp + COPY_FROM], r12
    sub rbx, r12
    jmp .Lcopy_piece
.Lcopy_done:
    xor eax, eax
.Lcopy_leave:
    lea rsp, [rbp - 0x10]
    pop r12
    pop rbx
    return_frame
.Lcopy_faulted:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lcopy_leave
end_function user_copy

# user_copy_bytes -- copy one piece, with access to ring 3's pages
# In:       rdi = piece:ptr (COPY_*)
# Out:      none
# Clobbers: rax, rcx, rsi, rdi
# Context:  long mode, interrupts off, under fault_catch: a fault clears AC on its way back
local_function user_copy_bytes
    mov rsi, [rdi + COPY_FROM]
    mov rcx, [rdi + COPY_LENGTH]
    mov rdi, [rdi + COPY_TO]
    mov rax, cr4
    test eax, CR4_SMAP
    jz .Lcopy_bytes_plain                       # STAC is for CPUs that have SMAP
    stac
    rep movsb
    clac
    ret
.Lcopy_bytes_plain:
    rep movsb
    ret
end_function user_copy_bytes
