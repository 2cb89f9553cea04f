# Purpose:  from one kernel thread to another.
# Mode:     64-bit long mode
# Spec:     System V AMD64 ABI, 3.2.1 (registers that a callee preserves)
# Exports:  thread_switch thread_prepare
# Invariants: a thread that does not run stands in thread_switch, with interrupts off; what lies on its stack is below.
#           Kernel threads do not use SSE, but for the background thread, of which a CPU has one: XMM registers are
#           neither saved nor changed here.
#
#   THREAD_RSP ->  +0x00 r15   +0x08 r14   +0x10 r13   +0x18 r12   +0x20 rbx   +0x28 rbp
#                  +0x30 where thread_switch returns to
#
#   and of a thread that has not run yet:   r12 = argument, rbx = entry, rbp = 0 (traces end here)
#                  +0x30 thread_begin       +0x38 0 (where thread_begin would return to: the trace ends)
.intel_syntax noprefix
.include "macros.inc"
.include "sched.inc"

.set SWITCH_R12, 0x18
.set SWITCH_RBX, 0x20
.set SWITCH_RETURN, 0x30
.set SWITCH_SIZE, 0x40                          # of a new thread; the stack stays on 16 bytes

.section .text, "ax"

# thread_switch -- go on where another thread stands; come back when somebody switches to this one
# In:       rdi = from:ptr (THREAD_*), rsi = to:ptr (THREAD_*)
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; not within a handler whose interrupt has not been ended
function thread_switch
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi + THREAD_RSP], rsp
    mov rsp, [rsi + THREAD_RSP]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
end_function thread_switch

# thread_begin -- the first code of every thread
# In:       rbx = entry:ptr, r12 = argument:u64
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, on the thread's own stack; thread_switch returns here; does not return
local_function thread_begin
    call_frame
    call sched_resumed
    sti
    mov rdi, r12
    call rbx
    call sched_exit
end_function thread_begin

# thread_prepare -- let a new thread's stack look as if the thread stood in thread_switch
# In:       rdi = thread:ptr (THREAD_STACK is set), rsi = entry:ptr, rdx = argument:u64
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF; the stack is cleared memory
function thread_prepare
    mov rax, [rdi + THREAD_STACK]
    sub rax, SWITCH_SIZE
    lea rcx, [rip + thread_begin]
    mov [rax + SWITCH_R12], rdx
    mov [rax + SWITCH_RBX], rsi
    mov [rax + SWITCH_RETURN], rcx
    mov [rdi + THREAD_RSP], rax
    ret
end_function thread_prepare
