# Purpose:  the background thread of a further CPU: it halts, and does what other CPUs ask it to.
# Mode:     64-bit long mode
# Exports:  sched_join_further sched_idle sched_on
# Invariants: what is asked runs in the background thread, with interrupts on, so that it may create threads there: no
#           handler can. One request at a time for each CPU. The wait is bounded: a request that has not begun by then is
#           taken back; one that has is left to end, and the CPU takes no other until it has.
#
#   PERCPU_WORK_STATE:  FREE -> FILLING -> ASKED -> TAKEN -> DONE -> FREE
#                                            \        \-> LEFT -> FREE       nobody waits for it any more
#                                             \-> FREE                       taken back
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "apic.inc"
.include "cpu.inc"
.include "sched.inc"
.include "user.inc"

.set WORK_FREE, 0
.set WORK_FILLING, 1
.set WORK_ASKED, 2
.set WORK_TAKEN, 3
.set WORK_DONE, 4
.set WORK_LEFT, 5
.set WORK_WAIT, 20000000000                     # ns: a CPU under load does it when nothing else is ready

.section .rodata, "a"
name_idle:      .asciz "idle"

.section .text, "ax"

# sched_join_further -- let a further CPU have threads, where it has a timer and there is memory for it
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after timer_enable on this CPU; before it is said to run, so that
#           nobody sees memory go later
function sched_join_further
    cmp qword ptr [rip + timer_hz], 0
    je .Lfurther_return
    call_frame
    lea rdi, [rip + name_idle]
    call sched_join                             # refused: the CPU has no threads, but does what it is asked for
    pop rbp
.Lfurther_return:
    ret
end_function sched_join_further

# sched_idle -- be the background thread of a further CPU
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, GS base set, on the CPU's own stack; does not return
function sched_idle
    call_frame
.Lidle_look:
    cli                                         # nothing may come between the look and the halt
    mov rdi, qword ptr gs:[PERCPU_SELF]
    mov eax, WORK_ASKED
    mov ecx, WORK_TAKEN
    lock cmpxchg [rdi + PERCPU_WORK_STATE], rcx
    je .Lidle_work
    cmp qword ptr [rdi + PERCPU_USER_WORK], 0
    jne .Lidle_attend
    sti                                         # takes effect behind the next instruction
    hlt
    jmp .Lidle_look
.Lidle_attend:
    sti
    call user_attend
    jmp .Lidle_look
.Lidle_work:
    sti
    mov rax, [rdi + PERCPU_WORK_ROUTINE]
    mov rdi, [rdi + PERCPU_WORK_ARGUMENT]
    call rax
    mov rdi, qword ptr gs:[PERCPU_SELF]
    mov [rdi + PERCPU_WORK_RESULT], rax
    mov eax, WORK_TAKEN
    mov ecx, WORK_DONE
    lock cmpxchg [rdi + PERCPU_WORK_STATE], rcx
    je .Lidle_look
    mov qword ptr [rdi + PERCPU_WORK_STATE], WORK_FREE
    jmp .Lidle_look
end_function sched_idle

# sched_on -- run a routine in the background thread of another CPU, and wait for what it returns
# In:       edi = cpu:u32 (its number), rsi = routine:ptr (In: rdi = argument; Out: rax), rdx = argument:u64
# Out:      rax = result:u64 or error code, cf = refused: ERROR_INVALID (this CPU, the boot CPU, or none), ERROR_BUSY
#           (somebody else's request is in progress), ERROR_TIMEOUT
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set; not within a section or a handler
function sched_on
    call_frame
    push rbx
    push r12
    mov eax, ERROR_INVALID
    test edi, edi
    jz .Lon_refused                             # its background thread is the shell
    cmp edi, [rip + cpu_count]
    jae .Lon_refused
    cmp edi, dword ptr gs:[PERCPU_ID]
    je .Lon_refused
    shl edi, CPU_ROW_SHIFT
    lea r12, [rip + cpu_rows]
    add r12, rdi
    cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE
    jne .Lon_refused
    mov rbx, [r12 + CPU_BLOCK]
    mov eax, WORK_FREE
    mov ecx, WORK_FILLING
    lock cmpxchg [rbx + PERCPU_WORK_STATE], rcx
    mov eax, ERROR_BUSY
    jne .Lon_refused
    mov [rbx + PERCPU_WORK_ROUTINE], rsi
    mov [rbx + PERCPU_WORK_ARGUMENT], rdx
    mov qword ptr [rbx + PERCPU_WORK_STATE], WORK_ASKED     # behind them: stores keep their order
    mov edi, [r12 + CPU_APIC_ID]
    mov esi, VECTOR_IPI_WAKE
    call ipi_send                               # one that is lost shows in the wait
    mov rdi, rbx
    call work_wait
    jmp .Lon_return
.Lon_refused:
    stc
.Lon_return:
    pop r12
    pop rbx
    return_frame
end_function sched_on

# work_wait -- wait until a CPU has done what it was asked for
# In:       rdi = block:ptr (of that CPU)
# Out:      rax = result:u64 or error code, cf = refused: ERROR_TIMEOUT
# Clobbers: rcx, rdx
# Context:  long mode, any IF
local_function work_wait
    call_frame
    push rbx
    push rbx
    call clock_ns
    mov rbx, WORK_WAIT
    add rbx, rax
.Lwork_look:
    cmp qword ptr [rdi + PERCPU_WORK_STATE], WORK_DONE
    je .Lwork_done
    pause
    call clock_ns
    cmp rax, rbx
    jb .Lwork_look
    mov eax, WORK_ASKED
    mov ecx, WORK_FREE
    lock cmpxchg [rdi + PERCPU_WORK_STATE], rcx
    je .Lwork_late                              # it has not begun
    mov eax, WORK_TAKEN
    mov ecx, WORK_LEFT
    lock cmpxchg [rdi + PERCPU_WORK_STATE], rcx
    jne .Lwork_done                             # at the last moment
.Lwork_late:
    mov eax, ERROR_TIMEOUT
    stc
    jmp .Lwork_return
.Lwork_done:
    mov rax, [rdi + PERCPU_WORK_RESULT]
    mov qword ptr [rdi + PERCPU_WORK_STATE], WORK_FREE
    clc
.Lwork_return:
    pop rbx
    pop rbx
    return_frame
end_function work_wait
