# Purpose:  which thread of a CPU runs: earliest deadline first.
# Mode:     64-bit long mode
# Spec:     Liu and Layland 1973, section 7 (deadline driven scheduling)
# Exports:  sched_decide sched_event sched_advance sched_charge sched_left
# Invariants: a periodic thread is in one place: it runs, or it is in the ready queue (key = deadline), or in the release
#           queue (key = next release), or it has ended. The background thread is in no queue: it runs when nothing is
#           ready. A thread that runs is preempted by a strictly earlier deadline only.
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "sched.inc"

.section .text, "ax"

# sched_decide -- release what is due, then choose who runs
# In:       rdi = now:u64
# Out:      rax = thread:ptr (its state is THREAD_RUNNING)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, the scheduler has joined the CPU
function sched_decide
    call_frame
    push rbx
    push r12
    mov r12, rdi
    mov rbx, gs:[PERCPU_SELF]
    inc qword ptr [rbx + PERCPU_DECISIONS]
.Ldecide_release:
    cmp qword ptr [rbx + PERCPU_RELEASES + QUEUE_COUNT], 0
    je .Ldecide_choose
    mov rax, [rbx + PERCPU_RELEASES + QUEUE_ROWS]
    cmp [rax + QUEUE_ROW_KEY], r12
    ja .Ldecide_choose
    lea rdi, [rbx + PERCPU_RELEASES]
    call queue_pop
    inc qword ptr [rdx + THREAD_RELEASES]
    mov dword ptr [rdx + THREAD_STATE], THREAD_READY
    mov byte ptr [rdx + THREAD_STARTED], 0
    mov rsi, [rdx + THREAD_BUDGET]
    mov [rdx + THREAD_LEFT], rsi
    mov rsi, [rdx + THREAD_RELEASE]
    add rsi, [rdx + THREAD_WINDOW]
    mov [rdx + THREAD_DEADLINE], rsi
    lea rdi, [rbx + PERCPU_READY]
    call queue_push
    jmp .Ldecide_release
.Ldecide_choose:
    mov rdx, [rbx + PERCPU_CURRENT]
    cmp dword ptr [rdx + THREAD_STATE], THREAD_RUNNING
    jne .Ldecide_next
    mov rax, rdx
    cmp qword ptr [rbx + PERCPU_READY + QUEUE_COUNT], 0
    je .Ldecide_return
    mov rcx, [rbx + PERCPU_READY + QUEUE_ROWS]
    mov rsi, [rdx + THREAD_DEADLINE]
    cmp [rcx + QUEUE_ROW_KEY], rsi
    jae .Ldecide_return
    mov dword ptr [rdx + THREAD_STATE], THREAD_READY
    cmp rsi, DEADLINE_NONE
    je .Ldecide_next                            # the background thread is in no queue
    mov r12, rdx
    lea rdi, [rbx + PERCPU_READY]
    call queue_pop                              # first out, then in: there is room
    xchg r12, rdx
    mov rsi, [rdx + THREAD_DEADLINE]
    call queue_push
    mov rax, r12
    jmp .Ldecide_run
.Ldecide_next:
    lea rdi, [rbx + PERCPU_READY]
    call queue_pop
    mov rax, rdx
    jnc .Ldecide_run
    mov rax, [rbx + PERCPU_BACKGROUND]
.Ldecide_run:
    mov dword ptr [rax + THREAD_STATE], THREAD_RUNNING
.Ldecide_return:
    pop r12
    pop rbx
    return_frame
end_function sched_decide

# sched_event -- when the timer has to come: for the next release, or when the budget of who runs ends
# In:       rdi = thread:ptr (that runs), rsi = now:u64
# Out:      rax = moment:u64 (DEADLINE_NONE = never)
# Clobbers: rcx
# Context:  long mode, interrupts off, GS base set
function sched_event
    mov rax, DEADLINE_NONE
    cmp qword ptr gs:[PERCPU_RELEASES + QUEUE_COUNT], 0
    je .Levent_budget
    mov rcx, qword ptr gs:[PERCPU_RELEASES + QUEUE_ROWS]
    mov rax, [rcx + QUEUE_ROW_KEY]
.Levent_budget:
    cmp qword ptr [rdi + THREAD_DEADLINE], DEADLINE_NONE
    je .Levent_return
    mov rcx, [rdi + THREAD_LEFT]
    add rcx, rsi
    cmp rcx, rax
    cmovb rax, rcx
.Levent_return:
    ret
end_function sched_event

# sched_charge -- charge the thread that runs for the time since it was charged last
# In:       rdi = now:u64
# Out:      rax = thread:ptr
# Clobbers: rcx
# Context:  long mode, interrupts off, GS base set
function sched_charge
    mov rax, qword ptr gs:[PERCPU_CURRENT]
    mov rcx, rdi
    sub rcx, qword ptr gs:[PERCPU_RESUMED]
    mov qword ptr gs:[PERCPU_RESUMED], rdi
    add [rax + THREAD_USED], rcx
    sub [rax + THREAD_LEFT], rcx
    ret
end_function sched_charge

# sched_advance -- let a thread wait for its next release; releases whose period is over already are missed
# In:       rdi = thread:ptr (in no queue), rsi = now:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, interrupts off, GS base set
function sched_advance
    call_frame
    mov dword ptr [rdi + THREAD_STATE], THREAD_WAITING
    mov rcx, [rdi + THREAD_PERIOD]
    mov r8, [rdi + THREAD_RELEASE]
    add r8, rcx
    mov rax, rsi
    sub rax, r8
    jbe .Ladvance_push                          # it lies ahead
    xor edx, edx
    div rcx                                     # whole periods that have passed since
    add [rdi + THREAD_RELEASES], rax
    add [rdi + THREAD_MISSES], rax
    mul rcx
    add r8, rax
.Ladvance_push:
    mov [rdi + THREAD_RELEASE], r8
    mov rdx, rdi
    mov rsi, r8
    mov rdi, qword ptr gs:[PERCPU_SELF]
    add rdi, PERCPU_RELEASES
    call queue_push
    return_frame
end_function sched_advance

# sched_left -- how much of its budget the job of the thread that runs has left
# In:       none
# Out:      rax = ns:i64
# Clobbers: rdx
# Context:  long mode, any IF, GS base set, in a periodic thread
function sched_left
    call_frame
    push rcx
    pushfq
    cli                                         # what is charged and since when belong together
    mov rcx, qword ptr gs:[PERCPU_CURRENT]
    mov rcx, [rcx + THREAD_LEFT]
    add rcx, qword ptr gs:[PERCPU_RESUMED]
    call clock_ns
    sub rcx, rax
    mov rax, rcx
    popfq
    pop rcx
    return_frame
end_function sched_left
