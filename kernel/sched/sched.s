# Purpose:  the deadline scheduler of each CPU: the timer's interrupt, jobs that end, budgets that end.
# Mode:     64-bit long mode
# Spec:     include/sched.inc (threads and per-CPU fields)
# Exports:  sched_init sched_join sched_tick sched_preempt sched_wait sched_exit sched_resumed sched_yield_to
# Invariants: partitioned: a thread stays on the CPU that created it, and no CPU touches another one's queues. Everything
#           here runs with interrupts off. The switch comes behind the end of interrupt, never within a handler. What a
#           thread is charged with is its own execution, with the entry of interrupts that come meanwhile; decision and
#           switch are the overhead that admission adds to each job.
#
#   release queue --timer--> ready queue --earliest deadline--> runs --sched_wait--> release queue
#                                 ^                              |  \--budget ends--> release queue (an overrun)
#                                 +------ preempted -------------+
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"

.section .rodata, "a"
name_shell:     .asciz "shell"
note_capacity:  .asciz "threads"

.section .text, "ax"

# sched_init -- boot unit: the scheduler on the boot CPU; what runs there becomes the background thread `shell`
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after the units frames, paging and timer; boot unit
function sched_init
    call_frame
    lea rdi, [rip + name_shell]
    call sched_join
    mov eax, BOOT_RESULT_FAIL
    jc .Linit_return
    lea rdi, [rip + note_capacity]
    mov esi, SCHED_THREADS_MAX
    call unit_note_dec
    mov eax, BOOT_RESULT_OK
.Linit_return:
    return_frame
end_function sched_init

# sched_join -- let the CPU that runs have threads; what it does now becomes its background thread
# In:       rdi = name:asciz (of the background thread)
# Out:      rax = error:u64, cf = refused: ERROR_NO_MEMORY, ERROR_EXISTS (it has joined)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after timer_enable on this CPU
function sched_join
    call_frame
    push rbx
    push r12
    mov r12, rdi
    mov rbx, qword ptr gs:[PERCPU_SELF]
    mov eax, ERROR_EXISTS
    cmp qword ptr [rbx + PERCPU_CURRENT], 0
    jne .Ljoin_refused
    mov edi, SCHED_THREADS_MAX * QUEUE_ROW_SIZE * 2
    xor esi, esi
    call heap_alloc
    jc .Ljoin_return
    mov [rbx + PERCPU_READY + QUEUE_ROWS], rax
    add rax, SCHED_THREADS_MAX * QUEUE_ROW_SIZE
    mov [rbx + PERCPU_RELEASES + QUEUE_ROWS], rax
    mov qword ptr [rbx + PERCPU_READY + QUEUE_CAPACITY], SCHED_THREADS_MAX
    mov qword ptr [rbx + PERCPU_RELEASES + QUEUE_CAPACITY], SCHED_THREADS_MAX
    mov edi, THREAD_SIZE
    mov esi, THREAD_ALIGN
    call heap_alloc_zeroed
    jc .Ljoin_no_thread
    mov [rax + THREAD_NAME], r12
    mov dword ptr [rax + THREAD_STATE], THREAD_RUNNING
    mov qword ptr [rax + THREAD_DEADLINE], DEADLINE_NONE
    mov [rbx + PERCPU_BACKGROUND], rax
    mov [rbx + PERCPU_THREADS], rax
    mov [rbx + PERCPU_CURRENT], rax
    call sched_resumed
    xor eax, eax
.Ljoin_return:
    pop r12
    pop rbx
    return_frame
.Ljoin_no_thread:
    mov rdi, [rbx + PERCPU_READY + QUEUE_ROWS]
    call heap_free
    mov eax, ERROR_NO_MEMORY
.Ljoin_refused:
    stc
    jmp .Ljoin_return
end_function sched_join

# sched_tick -- the timer has come: note when; the decision follows the end of interrupt
# In:       rdi = frame:ptr
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, interrupts off, GS base set; a handler (timer_set_handler)
function sched_tick
    cmp qword ptr gs:[PERCPU_CURRENT], 0
    je .Ltick_return
    call_frame
    call clock_ns
    mov qword ptr gs:[PERCPU_TICK], rax
    mov qword ptr gs:[PERCPU_RESCHEDULE], 1
    pop rbp
.Ltick_return:
    ret
end_function sched_tick

# sched_preempt -- decide what the timer came for, unless a section is in progress
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, PERCPU_RESCHEDULE set; by interrupt_dispatch, behind the end of
#           interrupt, and by sched_section_end
function sched_preempt
    cmp qword ptr gs:[PERCPU_SECTION], 0
    jne .Lpreempt_later
    call_frame
    mov qword ptr gs:[PERCPU_RESCHEDULE], 0
    mov rdi, qword ptr gs:[PERCPU_TICK]
    call sched_charge
    cmp qword ptr [rax + THREAD_DEADLINE], DEADLINE_NONE
    je .Lpreempt_decide
    cmp qword ptr [rax + THREAD_LEFT], 0
    jg .Lpreempt_decide
    mov rdi, rax
    call sched_overrun
.Lpreempt_decide:
    call sched_yield_to
    pop rbp
.Lpreempt_later:
    ret
end_function sched_preempt

# sched_overrun -- the budget of the thread that runs has ended: it goes on at its next release, and its job is missed
# In:       rdi = thread:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, interrupts off, GS base set
local_function sched_overrun
    call_frame
    inc qword ptr [rdi + THREAD_OVERRUNS]
    inc qword ptr [rdi + THREAD_MISSES]
    cmp byte ptr [rdi + THREAD_STOP], 0
    jne .Loverrun_end
    mov rsi, qword ptr gs:[PERCPU_TICK]
    call sched_advance
    return_frame
.Loverrun_end:
    call sched_end
    return_frame
end_function sched_overrun

# sched_yield_to -- decide, set the timer, and switch when another thread is to run
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, the thread that runs has been charged; no section in progress
function sched_yield_to
    call_frame
    push rbx
    push r12
    call clock_ns
    mov rbx, rax
    mov rdi, rax
    call sched_decide
    mov r12, rax
    cmp qword ptr [r12 + THREAD_DEADLINE], DEADLINE_NONE
    je .Lyield_started
    cmp byte ptr [r12 + THREAD_STARTED], 0
    jne .Lyield_started
    mov byte ptr [r12 + THREAD_STARTED], 1
    mov rdi, r12
    mov rsi, rbx
    call sched_note_start
.Lyield_started:
    mov rdi, r12
    mov rsi, rbx
    call sched_event
    cmp rax, qword ptr gs:[PERCPU_DEADLINE]
    je .Lyield_armed                            # as it is
    mov rdi, rax
    call sched_arm
.Lyield_armed:
    mov rdi, qword ptr gs:[PERCPU_CURRENT]
    cmp rdi, r12
    je .Lyield_resumed
    mov rsi, r12
    call sched_switch
.Lyield_resumed:
    call sched_resumed
    pop r12
    pop rbx
    return_frame
end_function sched_yield_to

# sched_note_start -- a job starts: how late
# In:       rdi = thread:ptr, rsi = now:u64
# Out:      none
# Clobbers: rax, rcx, rsi, rdi
# Context:  long mode, interrupts off
local_function sched_note_start
    call_frame
    inc qword ptr [rdi + THREAD_STARTS]
    sub rsi, [rdi + THREAD_RELEASE]
    cmp rsi, [rdi + THREAD_WORST_JITTER]
    jbe .Lstart_add
    mov [rdi + THREAD_WORST_JITTER], rsi
.Lstart_add:
    add rdi, THREAD_HISTOGRAM
    call histogram_add
    return_frame
end_function sched_note_start

# sched_arm -- set the timer
# In:       rdi = moment:u64 (DEADLINE_NONE = it need not come)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set
local_function sched_arm
    cmp rdi, DEADLINE_NONE
    je timer_cancel
    jmp timer_arm
end_function sched_arm

# sched_switch -- make another thread the one that runs
# In:       rdi = from:ptr, rsi = to:ptr
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, interrupts off, GS base set; comes back when somebody switches to the first
local_function sched_switch
    call_frame
    inc qword ptr gs:[PERCPU_SWITCHES]
    mov rax, qword ptr gs:[PERCPU_CATCH]
    mov rcx, [rsi + THREAD_CATCH]
    mov [rdi + THREAD_CATCH], rax
    mov qword ptr gs:[PERCPU_CATCH], rcx
    mov qword ptr gs:[PERCPU_CURRENT], rsi
    mov rax, [rsi + THREAD_ID]
    mov qword ptr gs:[PERCPU_THREAD], rax
    mov rax, qword ptr gs:[PERCPU_SPACE]
    mov [rdi + THREAD_SPACE], rax
    or rax, [rsi + THREAD_SPACE]
    or rax, [rsi + THREAD_FPU]
    jz .Lswitch_registers                       # both run in the kernel's own space, and this one uses no SSE
    call user_switch
.Lswitch_registers:
    call thread_switch
    return_frame
end_function sched_switch

# sched_resumed -- from now on the thread that runs is charged
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, interrupts off, GS base set
function sched_resumed
    call_frame
    call clock_ns
    mov qword ptr gs:[PERCPU_RESUMED], rax
    return_frame
end_function sched_resumed

# sched_wait -- the job is complete: wait for the next release
# In:       none
# Out:      rax = release:u64 (of the new job) or error code, cf = refused: ERROR_INVALID (the background thread),
#           ERROR_BUSY (within a section)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; does not return when the thread has been told to stop
function sched_wait
    call_frame
    push rbx
    push r12
    pushfq
    push rbx
    cli
    mov rbx, qword ptr gs:[PERCPU_CURRENT]
    mov eax, ERROR_INVALID
    cmp qword ptr [rbx + THREAD_DEADLINE], DEADLINE_NONE
    je .Lwait_refused
    mov eax, ERROR_BUSY
    cmp qword ptr gs:[PERCPU_SECTION], 0
    jne .Lwait_refused
    call clock_ns
    mov r12, rax
    mov rdi, rax
    call sched_charge
    mov rdi, rbx
    mov rsi, r12
    call sched_complete
    cmp byte ptr [rbx + THREAD_STOP], 0
    jne .Lwait_stop
    mov rdi, rbx
    mov rsi, r12
    call sched_advance
    call sched_yield_to
    mov rax, [rbx + THREAD_RELEASE]
    pop rbx
    popfq
    clc
    jmp .Lwait_return
.Lwait_refused:
    pop rbx
    popfq
    stc
.Lwait_return:
    pop r12
    pop rbx
    return_frame
.Lwait_stop:
    call sched_exit
end_function sched_wait

# sched_complete -- a job is complete: in time or not
# In:       rdi = thread:ptr, rsi = now:u64
# Out:      none
# Clobbers: rsi
# Context:  long mode, interrupts off
local_function sched_complete
    inc qword ptr [rdi + THREAD_COMPLETED]
    cmp [rdi + THREAD_DEADLINE], rsi
    adc qword ptr [rdi + THREAD_MISSES], 0      # below: it is late
    sub rsi, [rdi + THREAD_RELEASE]
    cmp rsi, [rdi + THREAD_WORST_RESPONSE]
    jbe .Lcomplete_return
    mov [rdi + THREAD_WORST_RESPONSE], rsi
.Lcomplete_return:
    ret
end_function sched_complete

# sched_exit -- the thread that runs ends; sched_free gives back what it had
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, GS base set, not the background thread, no section; does not return
function sched_exit
    call_frame
    cli
    call clock_ns
    mov rdi, rax
    call sched_charge
    mov rdi, rax
    call sched_end
.Lexit_gone:
    call sched_yield_to                         # nobody switches back
    jmp .Lexit_gone
end_function sched_exit

# sched_end -- a thread runs no more: its share is free
# In:       rdi = thread:ptr (in no queue)
# Out:      none
# Clobbers: rax
# Context:  long mode, interrupts off, GS base set
local_function sched_end
    mov dword ptr [rdi + THREAD_STATE], THREAD_ENDED
    mov rax, [rdi + THREAD_SHARE]
    sub qword ptr gs:[PERCPU_LOAD], rax
    dec qword ptr gs:[PERCPU_THREAD_COUNT]
    ret
end_function sched_end
