# Purpose:  ticket spin locks: who came first is served first.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 8.1.2 (locked operations), 8.2.2 (memory ordering: stores are not reordered)
# Exports:  lock_acquire lock_release lock_acquire_irqsave lock_release_irqrestore
# Invariants: a lock is not taken twice by one CPU. One that an interrupt handler takes too is taken with interrupts off
#           everywhere (…_irqsave). The order in which locks are taken is in kernel/README.md.
#
#   +0 next u32: the ticket for who comes    +4 serving u32: the ticket that holds it; equal: the lock is free
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "lock.inc"

.section .text, "ax"

# lock_acquire -- take a lock; waits until all who came before are done
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF; not within a handler that may have interrupted the holder
function lock_acquire
    mov eax, 1
    lock xadd dword ptr [rdi + LOCK_NEXT], eax
.Lacquire_wait:
    cmp dword ptr [rdi + LOCK_SERVING], eax
    je .Lacquire_held
    pause
    jmp .Lacquire_wait
.Lacquire_held:
    ret
end_function lock_acquire

# lock_release -- give a lock to who came next
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF; by its holder, the only one that writes to LOCK_SERVING
function lock_release
    inc dword ptr [rdi + LOCK_SERVING]
    ret
end_function lock_release

# lock_acquire_irqsave -- take a lock with interrupts off
# In:       rdi = lock:ptr
# Out:      rax = flags:u64 (as they were: for lock_release_irqrestore), if = clear
# Clobbers: none
# Context:  long mode, any IF
function lock_acquire_irqsave
    call_frame
    pushfq
    cli
    sub rsp, 8
    call lock_acquire
    add rsp, 8
    pop rax
    return_frame
end_function lock_acquire_irqsave

# lock_release_irqrestore -- give a lock back, and interrupts to what they were
# In:       rdi = lock:ptr, rsi = flags:u64 (of lock_acquire_irqsave)
# Out:      if = as it was
# Clobbers: none
# Context:  long mode, interrupts off; by its holder
function lock_release_irqrestore
    inc dword ptr [rdi + LOCK_SERVING]
    test esi, RFLAGS_IF
    jz .Lrestore_off
    sti
.Lrestore_off:
    ret
end_function lock_release_irqrestore
