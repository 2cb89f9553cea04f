# Purpose:  whether a CPU takes a thread of ring 3, and the thread as its scheduler sees it.
# Mode:     64-bit long mode
# Spec:     Liu and Layland 1973 (admission as in sched/admit.s)
# Exports:  user_admit
# Invariants: admitted on the CPU that it shall run on, with interrupts off, by whatever runs there, a handler of cpu_call too:
#           what was judged still holds when the thread is in the queue. What was refused leaves nothing behind. The
#           background thread keeps a share, and no period is so long that a program could not be ended.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"

.set PER_CENT, 100

.section .text, "ax"

# user_admit -- admit a thread on the CPU that runs, when it can be served in time
# In:       rdi = user:ptr
# Out:      rax = thread:u64 (its number, with ADMITTED_BIT) or error code: ERROR_INVALID, ERROR_FULL, ERROR_OVERLOAD (ppm in
#           USER_REFUSED), ERROR_NO_MEMORY, ERROR_UNSUPPORTED (the overhead is not known)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set; a handler too. PERCPU_RESCHEDULE asks for the decision that follows
function user_admit
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov eax, ERROR_UNSUPPORTED
    cmp qword ptr gs:[PERCPU_CURRENT], 0
    je .Ladmit_return
    cmp qword ptr gs:[PERCPU_OVERHEAD], 0
    je .Ladmit_return
    lea rdi, [rbx + USER_SPEC]
    call user_choose
    call sched_check_times
    jc .Ladmit_return
    mov r13, rax
    mov eax, ERROR_INVALID
    cmp qword ptr [rdi + SPEC_PERIOD], USER_PERIOD_MAX
    ja .Ladmit_return
    mov rdi, [rbx + USER_SPEC + SPEC_BUDGET]
    add rdi, qword ptr gs:[PERCPU_OVERHEAD]
    mov rsi, r13
    call admit_share
    mov r14, rax
    mov rdi, r13
    call sched_shortest_window
    mov rcx, rax
    mov rdi, qword ptr gs:[PERCPU_LOAD]
    add rdi, USER_RESERVE
    mov rsi, r14
    mov rdx, qword ptr gs:[PERCPU_SECTION_MOST]
    call admit_total
    jc .Ladmit_overload
    call user_fpu_background
    jc .Ladmit_return
    lea rdi, [rbx + USER_SPEC]
    mov rsi, r14
    call sched_make
    jc .Ladmit_return
    mov r12, rax
    mov rcx, [rbx + USER_PROGRAM]
    mov rcx, [rcx + PROGRAM_SPACE]
    mov [r12 + THREAD_SPACE], rcx
    lea rcx, [rbx + USER_FPU]
    mov [r12 + THREAD_FPU], rcx
    mov [r12 + THREAD_USER], rbx
    mov rdi, r12
    call sched_enlist
    call clock_ns
    mov qword ptr gs:[PERCPU_TICK], rax
    mov qword ptr gs:[PERCPU_RESCHEDULE], 1
    mov rax, [r12 + THREAD_ID]
    bts rax, ADMITTED_BIT
.Ladmit_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Ladmit_overload:
    mov qword ptr gs:[PERCPU_REFUSED], rax
    mov [rbx + USER_REFUSED], rax
    mov eax, ERROR_OVERLOAD
    jmp .Ladmit_return
end_function user_admit

# user_choose -- the period and the budget of a thread that leaves them to the kernel
# In:       rdi = spec:ptr (SPEC_*; period 0: the budget is per cent)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off, GS base set, the overhead is known
local_function user_choose
    cmp qword ptr [rdi + SPEC_PERIOD], 0
    jne .Lchoose_return
    cmp qword ptr [rdi + SPEC_BUDGET], PER_CENT
    ja .Lchoose_return                          # a period of 0 is refused
    mov rax, qword ptr gs:[PERCPU_OVERHEAD]     # at most 2^56
    shl rax, USER_PERIOD_SHIFT
    mov ecx, USER_PERIOD
    cmp rax, rcx
    cmovb rax, rcx
    mov ecx, USER_PERIOD_MAX
    cmp rax, rcx
    cmova rax, rcx
    mov [rdi + SPEC_PERIOD], rax
    mul qword ptr [rdi + SPEC_BUDGET]
    mov ecx, PER_CENT
    div rcx
    mov [rdi + SPEC_BUDGET], rax
.Lchoose_return:
    ret
end_function user_choose

# user_fpu_background -- let the background thread of the CPU keep its SSE state while threads of ring 3 run
# In:       none
# Out:      rax = error:u64, cf = refused: ERROR_NO_MEMORY
# Clobbers: rcx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, the scheduler has joined
local_function user_fpu_background
    call_frame
    push rbx
    push rbx
    mov rbx, qword ptr gs:[PERCPU_BACKGROUND]
    cmp qword ptr [rbx + THREAD_FPU], 0
    jne .Lfpu_return                            # cf is clear: nothing is below 0
    mov edi, FPU_SIZE
    mov esi, USER_ALIGN
    call heap_alloc_zeroed
    jc .Lfpu_return
    mov [rbx + THREAD_FPU], rax
    mov qword ptr gs:[PERCPU_FPU_OWNER], rbx    # what the registers hold is its own
    clc
.Lfpu_return:
    pop rbx
    pop rbx
    return_frame
end_function user_fpu_background
