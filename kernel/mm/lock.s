# Purpose:  the lock of memory management: a ticket lock.
# Mode:     64-bit
# Exports:  mm_lock_enter mm_lock_leave
# Invariants: held with interrupts off, so that no handler of the same CPU can wait for it.
#
#   +0 u32 next ticket    +4 u32 ticket that is served
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"

.set LOCK_NEXT, 0
.set LOCK_SERVED, 4

.section .text, "ax"

# mm_lock_enter -- wait for a lock and take it
# In:       rdi = lock:ptr
# Out:      rax = flags:u64 (RFLAGS_IF when interrupts were on), if = off
# Clobbers: none
# Context:  long mode, any IF
function mm_lock_enter
    push rcx
    pushfq
    pop rax
    and eax, RFLAGS_IF
    cli
    mov ecx, 1
    lock xadd dword ptr [rdi + LOCK_NEXT], ecx
.Lenter_wait:
    cmp dword ptr [rdi + LOCK_SERVED], ecx
    je .Lenter_held
    pause
    jmp .Lenter_wait
.Lenter_held:
    pop rcx
    ret
end_function mm_lock_enter

# mm_lock_leave -- give a lock up; cf stays as it is
# In:       rdi = lock:ptr, rsi = flags:u64 (what mm_lock_enter gave)
# Out:      cf = as before, if = as before mm_lock_enter
# Clobbers: none
# Context:  long mode, interrupts off, the lock held
function mm_lock_leave
    pushfq
    inc dword ptr [rdi + LOCK_SERVED]
    or [rsp], rsi
    popfq
    ret
end_function mm_lock_leave
