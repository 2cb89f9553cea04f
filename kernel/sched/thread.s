# Purpose:  kernel threads: made, admitted, told to stop, given back.
# Mode:     64-bit long mode
# Exports:  sched_create sched_add sched_make sched_enlist sched_stop sched_free sched_shortest_window sched_check
#           sched_check_times; sched_last_id
# Invariants: a kernel thread is made by the background thread of its CPU, a thread of ring 3 by any that runs there, with
#           interrupts off; all are given back by the background thread. The list of the threads changes with
#           interrupts off. What was refused leaves nothing behind. Memory of a thread goes after it has ended, never before.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "sched.inc"

.section .text, "ax"

# sched_create -- a new periodic thread on the CPU that runs, when it can be served in time
# In:       rdi = spec:ptr (SPEC_*)
# Out:      rax = thread:ptr or error code, cf = refused: ERROR_INVALID (times that make no sense, or not asked by the
#           background thread), ERROR_OVERLOAD (then rdx = the sum that is too much, in ppm), ERROR_FULL,
#           ERROR_NO_MEMORY, ERROR_TIMEOUT (the timer does not come)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on while the overhead is measured), GS base set; the thread may run before this
#           returns, within a section after its end
function sched_create
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    call sched_check
    jc .Lcreate_return
    mov r13, rax                                # its window
    call sched_measure
    jc .Lcreate_return
    pushfq
    push rbx
    cli                                         # nobody is admitted meanwhile
    mov rdi, [rbx + SPEC_BUDGET]
    add rdi, qword ptr gs:[PERCPU_OVERHEAD]
    mov rsi, r13
    call admit_share
    mov r14, rax
    mov rdi, r13
    call sched_shortest_window
    mov rcx, rax
    mov rdi, qword ptr gs:[PERCPU_LOAD]
    mov rsi, r14
    mov rdx, qword ptr gs:[PERCPU_SECTION_MOST]
    call admit_total
    jc .Lcreate_overload
    mov rdi, rbx
    mov rsi, r14
    call sched_add
    sbb ecx, ecx                                # cf, while the flags come back
    pop rbx
    popfq
    add ecx, ecx
.Lcreate_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lcreate_overload:
    mov qword ptr gs:[PERCPU_REFUSED], rax
    mov rdx, rax
    pop rbx
    popfq
    mov eax, ERROR_OVERLOAD
    stc
    jmp .Lcreate_return
end_function sched_create

# sched_check -- whether what a thread asks for makes sense
# In:       rdi = spec:ptr (SPEC_*)
# Out:      rax = window:u64 (the shorter of period and deadline) or error code, cf = refused: ERROR_INVALID, ERROR_FULL
# Clobbers: rcx
# Context:  long mode, any IF, GS base set
function sched_check
    mov eax, ERROR_INVALID
    mov rcx, qword ptr gs:[PERCPU_CURRENT]
    test rcx, rcx
    jz .Lcheck_refused
    cmp rcx, qword ptr gs:[PERCPU_BACKGROUND]
    jne .Lcheck_refused
    jmp sched_check_times
.Lcheck_refused:
    stc
    ret
end_function sched_check

# sched_check_times -- whether the times that a thread asks for make sense, and there is room for it
# In:       rdi = spec:ptr (SPEC_*)
# Out:      rax = window:u64 (the shorter of period and deadline) or error code, cf = refused: ERROR_INVALID, ERROR_FULL
# Clobbers: rcx
# Context:  long mode, any IF, GS base set
function sched_check_times
    mov eax, ERROR_INVALID
    cmp qword ptr [rdi + SPEC_ENTRY], 0
    je .Ltimes_refused
    mov rcx, SCHED_PERIOD_MAX - SCHED_PERIOD_MIN
    mov rax, [rdi + SPEC_PERIOD]
    sub rax, SCHED_PERIOD_MIN
    cmp rax, rcx
    mov eax, ERROR_INVALID
    ja .Ltimes_refused
    cmp [rdi + SPEC_WINDOW], rcx
    ja .Ltimes_refused
    mov rcx, [rdi + SPEC_WINDOW]
    sub rcx, 1                                  # 0 = the period: becomes the longest of all
    cmp rcx, [rdi + SPEC_PERIOD]
    lea rcx, [rcx + 1]
    cmovae rcx, [rdi + SPEC_PERIOD]
    cmp qword ptr [rdi + SPEC_BUDGET], 0
    je .Ltimes_refused
    cmp [rdi + SPEC_BUDGET], rcx
    ja .Ltimes_refused
    mov eax, ERROR_FULL
    cmp qword ptr gs:[PERCPU_THREAD_COUNT], SCHED_THREADS_MAX
    jae .Ltimes_refused
    mov rax, rcx
    clc
    ret
.Ltimes_refused:
    stc
    ret
end_function sched_check_times

# sched_add -- make a thread and let it wait for its first release
# In:       rdi = spec:ptr (SPEC_*, sound), rsi = share:u64 (ppm)
# Out:      rax = thread:ptr or error code, cf = refused: ERROR_NO_MEMORY, ERROR_FULL (no stack)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; by the background thread
function sched_add
    call_frame
    push rbx
    push r13
    call sched_make
    jc .Ladd_return
    mov rbx, rax
    pushfq
    pop r13
    cli
    mov rdi, rbx
    call sched_enlist
    call clock_ns
    mov rdi, rax
    call sched_charge
    cmp qword ptr gs:[PERCPU_SECTION], 0
    jne .Ladd_section
    call sched_yield_to
.Ladd_made:
    push r13
    popfq
    mov rax, rbx
    clc
.Ladd_return:
    pop r13
    pop rbx
    return_frame
.Ladd_section:
    mov qword ptr gs:[PERCPU_RESCHEDULE], 1     # its end decides
    jmp .Ladd_made
end_function sched_add

# sched_make -- a thread's record and its stack
# In:       rdi = spec:ptr (SPEC_*, sound), rsi = share:u64 (ppm)
# Out:      rax = thread:ptr (in no queue yet) or error code, cf = refused: ERROR_NO_MEMORY, ERROR_FULL (no stack)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set
function sched_make
    call_frame
    push rbx
    push r12
    push r14
    push r14
    mov r12, rdi
    mov r14, rsi
    mov edi, THREAD_SIZE
    mov esi, THREAD_ALIGN
    call heap_alloc_zeroed
    jc .Lmake_return
    mov rbx, rax
    mov edi, STACK_SIZE
    call stack_alloc
    jc .Lmake_no_stack
    mov [rbx + THREAD_STACK], rax
    mov [rbx + THREAD_SHARE], r14
    mov rdi, rbx
    mov rsi, r12
    call thread_fill
    mov rax, rbx
    clc
.Lmake_return:
    pop r14
    pop r14
    pop r12
    pop rbx
    return_frame
.Lmake_no_stack:
    mov r12, rax
    mov rdi, rbx
    call heap_free
    mov rax, r12
    stc
    jmp .Lmake_return
end_function sched_make

# sched_enlist -- let a thread wait for its first release on the CPU that runs; whoever calls has decided that it may
# In:       rdi = thread:ptr (of sched_make)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, interrupts off, GS base set; a decision follows
function sched_enlist
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    mov rax, qword ptr gs:[PERCPU_THREADS]
    mov [rbx + THREAD_NEXT], rax
    mov qword ptr gs:[PERCPU_THREADS], rbx
    inc qword ptr gs:[PERCPU_THREAD_COUNT]
    mov rax, [rbx + THREAD_SHARE]
    add rax, qword ptr gs:[PERCPU_LOAD]
    mov qword ptr gs:[PERCPU_LOAD], rax
    cmp rax, qword ptr gs:[PERCPU_LOAD_MOST]
    jbe .Lenlist_queue
    mov qword ptr gs:[PERCPU_LOAD_MOST], rax
.Lenlist_queue:
    lea rdi, [rip + sched_tick]
    call timer_set_handler
    mov rdx, rbx
    mov rsi, [rbx + THREAD_RELEASE]
    mov rdi, qword ptr gs:[PERCPU_SELF]
    add rdi, PERCPU_RELEASES
    call queue_push
    pop rbx
    pop rbx
    return_frame
end_function sched_enlist

# thread_fill -- what a thread is told, in its record and on its stack
# In:       rdi = thread:ptr (cleared; THREAD_STACK is set), rsi = spec:ptr (SPEC_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF
function thread_fill
    call_frame
    push rbx
    push rbx
    mov rbx, rsi
    mov rax, [rbx + SPEC_NAME]
    mov [rdi + THREAD_NAME], rax
    mov rcx, [rbx + SPEC_PERIOD]
    mov [rdi + THREAD_PERIOD], rcx
    mov rax, [rbx + SPEC_WINDOW]
    test rax, rax
    cmovz rax, rcx
    mov [rdi + THREAD_WINDOW], rax
    mov rax, [rbx + SPEC_BUDGET]
    mov [rdi + THREAD_BUDGET], rax
    mov eax, 1
    lock xadd [rip + sched_last_id], rax
    inc rax
    mov [rdi + THREAD_ID], rax
    mov rax, [rbx + SPEC_FIRST]
    test rax, rax
    jnz .Lfill_first
    call clock_ns
.Lfill_first:
    mov [rdi + THREAD_RELEASE], rax
    mov rsi, [rbx + SPEC_ENTRY]
    mov rdx, [rbx + SPEC_ARGUMENT]
    call thread_prepare
    pop rbx
    pop rbx
    return_frame
end_function thread_fill

# sched_stop -- tell a thread to end where its next job does
# In:       rdi = thread:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
function sched_stop
    mov byte ptr [rdi + THREAD_STOP], 1
    ret
end_function sched_stop

# sched_free -- give back what a thread had that has ended
# In:       rdi = thread:ptr (of sched_create)
# Out:      rax = error:u64, cf = refused: ERROR_BUSY (it has not ended), ERROR_NOT_FOUND (no thread of this CPU),
#           ERROR_TIMEOUT (a CPU did not answer: its stack stays out of use)
# Clobbers: rcx, rdx
# Context:  long mode, any IF, GS base set; by the background thread
function sched_free
    call_frame
    push rbx
    push rdi
    mov rbx, rdi
    pushfq
    push rdi
    cli
    mov rdx, qword ptr gs:[PERCPU_SELF]
    add rdx, PERCPU_THREADS - THREAD_NEXT       # as if a thread stood before the first
.Lfree_find:
    mov rcx, [rdx + THREAD_NEXT]
    mov eax, ERROR_NOT_FOUND
    test rcx, rcx
    jz .Lfree_refused
    cmp rcx, rbx
    je .Lfree_found
    mov rdx, rcx
    jmp .Lfree_find
.Lfree_found:
    mov eax, ERROR_BUSY
    cmp dword ptr [rbx + THREAD_STATE], THREAD_ENDED
    jne .Lfree_refused
    mov rcx, [rbx + THREAD_NEXT]
    mov [rdx + THREAD_NEXT], rcx
    pop rdi
    popfq
    mov rdi, [rbx + THREAD_STACK]
    call stack_free
    mov rdx, rax
    mov rdi, rbx
    call heap_free
    mov rax, rdx
    neg rdx                                     # cf: not 0
    jmp .Lfree_return
.Lfree_refused:
    pop rdi
    popfq
    stc
.Lfree_return:
    pop rdi
    pop rbx
    return_frame
end_function sched_free

# sched_shortest_window -- the shortest of the windows of all threads of the CPU that runs, and of one more
# In:       rdi = window:u64
# Out:      rax = window:u64
# Clobbers: rcx, rdx
# Context:  long mode, any IF, GS base set; by the background thread
function sched_shortest_window
    mov rax, rdi
    mov rcx, qword ptr gs:[PERCPU_THREADS]
.Lshortest_next:
    test rcx, rcx
    jz .Lshortest_return
    cmp qword ptr [rcx + THREAD_PERIOD], 0
    je .Lshortest_skip                          # background
    cmp dword ptr [rcx + THREAD_STATE], THREAD_ENDED
    je .Lshortest_skip
    mov rdx, [rcx + THREAD_PERIOD]
    cmp rdx, rax
    cmovb rax, rdx
    mov rdx, [rcx + THREAD_WINDOW]
    cmp rdx, rax
    cmovb rax, rdx
.Lshortest_skip:
    mov rcx, [rcx + THREAD_NEXT]
    jmp .Lshortest_next
.Lshortest_return:
    ret
end_function sched_shortest_window

.section .bss, "aw", @nobits
    .balign 8
object sched_last_id                            # number of the thread that was made last, on any CPU
    .skip 8
end_object sched_last_id
