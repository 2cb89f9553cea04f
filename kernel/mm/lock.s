# Purpose:  the locks of memory management: ticket locks whose waiters answer shoot-downs.
# Mode:     64-bit
# Exports:  mm_lock_enter mm_lock_leave
# Invariants: held with interrupts off, so that no handler of the same CPU can wait for it. A CPU that waits goes on
#           answering shoot-downs, because the holder may wait for its answer. Otherwise as cpu/lock.s.

.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "lock.inc"

.section .text, "ax"

# mm_lock_enter -- wait for a lock and take it
# In:       rdi = lock:ptr
# Out:      rax = flags:u64 (RFLAGS_IF when interrupts were on), if = off
# Clobbers: none
# Context:  long mode, any IF, GS base set
function mm_lock_enter
    call_frame
    push rcx
    pushfq
    pop rax
    push rax
    and eax, RFLAGS_IF
    cli
    mov ecx, 1
    lock xadd dword ptr [rdi + LOCK_NEXT], ecx
.Lenter_wait:
    cmp dword ptr [rdi + LOCK_SERVING], ecx
    je .Lenter_held
    pause
    call tlb_answer
    jmp .Lenter_wait
.Lenter_held:
    pop rcx
    pop rcx
    return_frame
end_function mm_lock_enter

# mm_lock_leave -- give a lock up; cf stays as it is
# In:       rdi = lock:ptr, rsi = flags:u64 (what mm_lock_enter gave)
# Out:      cf = as before, if = as before mm_lock_enter
# Clobbers: none
# Context:  long mode, interrupts off, the lock held
function mm_lock_leave
    pushfq
    inc dword ptr [rdi + LOCK_SERVING]
    or [rsp], rsi
    popfq
    ret
end_function mm_lock_leave
