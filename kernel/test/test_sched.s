# Purpose:  tests of the scheduler: order, preemption, budgets, sections, refusals.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: no test depends on how long anything takes: what must happen is waited for.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "percpu.inc"
.include "sched.inc"
.include "sched_test.inc"

.set OVERRUN_BUDGET, 20000
.set SECTION_WAIT, 100000

ktap_text text_none, "no scheduler on this CPU"
ktap_text text_made, "created"
ktap_text text_ran, "did not run"
ktap_text text_order, "order"
ktap_text text_stacks, "stacks"
ktap_text text_blocks, "blocks of the heap"
ktap_text text_load, "load"
ktap_text text_overruns, "overruns"
ktap_text text_missed, "misses are not fewer than overruns"
ktap_text text_invalid, "times that make no sense"
ktap_text text_too_much, "too much"
ktap_text text_figure, "the figure is beyond the whole"
ktap_text text_declare, "length of sections"
ktap_text text_over, "sections longer than declared"
ktap_text text_came, "timer within the section"
ktap_text text_inside, "ran within the section"
ktap_text text_outside, "waits though it is no periodic thread"

.section .text, "ax"

# job_until -- a job that goes on until somebody else has run, then leaves its number
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
local_function job_until
    mov qword ptr [rip + sched_test_go], 1
.Luntil_spin:
    pause
    cmp qword ptr [rip + sched_test_runs], 0
    je .Luntil_spin
    jmp sched_test_trail_job
end_function job_until

# job_spin -- a job that never ends
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, in a thread; does not return
local_function job_spin
    inc qword ptr [rip + sched_test_runs]
    jmp job_spin
end_function job_spin

# test_order -- of two threads released at once the one with the earlier deadline runs first; nothing is left of them
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_order
    call_frame
    push rbx
    push r12
    push r13
    push r14
    call sched_test_begin
    jc .Lorder_skip
    call sched_measure
    mov r13, [rip + stack_count]
    mov r14, [rip + heap_blocks]
    call sched_section_begin                    # neither runs before both are there
    call clock_ns
    mov rbx, rax
    lea rdi, [rip + sched_test_trail_job]
    mov esi, 2
    mov edx, TEST_WINDOW_LONG
    mov rcx, rbx
    call sched_test_make
    mov [rip + sched_test_threads], rax
    check_done text_made
    lea rdi, [rip + sched_test_trail_job]
    mov esi, 1
    mov edx, TEST_WINDOW_SHORT
    mov rcx, rbx
    call sched_test_make
    mov [rip + sched_test_threads + 8], rax
    check_done text_made
    check text_inside, [rip + sched_test_runs], 0
    call sched_section_end
    call sched_test_forget_section
    mov rdi, [rip + sched_test_threads]
    call sched_test_until_ended
    mov rdi, [rip + sched_test_threads + 8]
    call sched_test_until_ended
    check text_order, [rip + sched_test_trail], 0x102
    check text_stacks, [rip + stack_count], r13
    check text_blocks, [rip + heap_blocks], r14
    check text_load, gs:[PERCPU_LOAD], 0
    mov eax, KTAP_DONE
.Lorder_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lorder_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lorder_return
end_function test_order
ktap_test test_order, "sched_order"

# test_preempt -- a job goes on until another one has run: that one, with an earlier deadline, preempts it
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_preempt
    call_frame
    push rbx
    push rbx
    call sched_test_begin
    jc .Lpreempt_skip
    call clock_ns
    lea rbx, [rax + TEST_AHEAD * 4]
    lea rdi, [rip + job_until]
    mov esi, 2
    mov edx, TEST_WINDOW_LONG
    lea rcx, [rbx - TEST_AHEAD]
    call sched_test_make
    mov [rip + sched_test_threads], rax
    check_done text_made
    lea rdi, [rip + sched_test_trail_job]
    mov esi, 1
    mov edx, TEST_WINDOW_SHORT
    mov rcx, rbx
    call sched_test_make
    mov [rip + sched_test_threads + 8], rax
    check_done text_made
    mov rdi, [rip + sched_test_threads]
    call sched_test_until_ended
    mov rdi, [rip + sched_test_threads + 8]
    call sched_test_until_ended
    check text_order, [rip + sched_test_trail], 0x102
    check text_ran, [rip + sched_test_go], 1
    mov eax, KTAP_DONE
.Lpreempt_return:
    pop rbx
    pop rbx
    return_frame
.Lpreempt_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lpreempt_return
end_function test_preempt
ktap_test test_preempt, "sched_preempt"

# test_budget -- a job that never ends is suspended each time its budget has ended, and is counted; then it is stopped
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_budget
    call_frame
    push rbx
    push r12
    call sched_test_begin
    jc .Lbudget_skip
    lea rdi, [rip + sched_test_spec]
    lea rax, [rip + text_ran]
    mov [rdi + SPEC_NAME], rax
    lea rax, [rip + job_spin]
    mov [rdi + SPEC_ENTRY], rax
    mov rax, qword ptr gs:[PERCPU_OVERHEAD]
    lea rcx, [rax * 2 + OVERRUN_PERIOD]         # room for it on a slow machine too
    mov [rdi + SPEC_PERIOD], rcx
    mov qword ptr [rdi + SPEC_BUDGET], OVERRUN_BUDGET
    mov qword ptr [rdi + SPEC_WINDOW], 0
    mov qword ptr [rdi + SPEC_FIRST], 0
    call sched_create
    mov rbx, rax
    check_done text_made
    mov r12d, 2
.Lbudget_wait:
    lea rdi, [rbx + THREAD_OVERRUNS]
    mov rsi, [rdi]
    call interrupt_test_wait
    check_cf text_overruns, 0
    dec r12d
    jnz .Lbudget_wait
    mov rdi, rbx
    call sched_stop
    mov rax, [rbx + THREAD_MISSES]
    cmp rax, [rbx + THREAD_OVERRUNS]
    check_cf text_missed, 0
    mov rdi, rbx
    call sched_test_until_ended
    mov eax, KTAP_DONE
.Lbudget_return:
    pop r12
    pop rbx
    return_frame
.Lbudget_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lbudget_return
end_function test_budget
ktap_test test_budget, "sched_budget"

# test_refusals -- times that make no sense, and more than the CPU can do; who is no periodic thread cannot wait
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_refusals
    call_frame
    push rbx
    push rbx
    call sched_test_begin
    jc .Lrefusals_skip
    call sched_wait
    check_refused text_outside, ERROR_INVALID
    lea rdi, [rip + sched_test_trail_job]
    xor esi, esi
    mov edx, TEST_BUDGET - 1                    # a window shorter than the budget
    xor ecx, ecx
    call sched_test_make
    check_refused text_invalid, ERROR_INVALID
    lea rdi, [rip + sched_test_trail_job]
    mov edx, TEST_BUDGET                        # with the overhead it does not fit
    call sched_test_make
    mov rbx, rdx
    check_refused text_too_much, ERROR_OVERLOAD
    mov eax, PPM
    cmp rbx, rax
    seta bl
    movzx ebx, bl
    check text_figure, rbx, 1
    check text_load, gs:[PERCPU_LOAD], 0
    mov eax, KTAP_DONE
.Lrefusals_return:
    pop rbx
    pop rbx
    return_frame
.Lrefusals_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lrefusals_return
end_function test_refusals
ktap_test test_refusals, "sched_refusals"

# job_repeat -- a job that counts, again at each release
# In:       none
# Out:      none
# Clobbers: all
# Context:  long mode, in a thread; does not return
local_function job_repeat
    call_frame
.Lrepeat_job:
    inc qword ptr [rip + sched_test_runs]
    call sched_wait
    jmp .Lrepeat_job
end_function job_repeat

# make_repeat -- create a thread that counts, for the first time shortly, and then again and again
# In:       none
# Out:      rax = thread:ptr or error code, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
local_function make_repeat
    call_frame
    call sched_measure
    call clock_ns
    lea rcx, [rax + TEST_AHEAD]
    lea rdi, [rip + job_repeat]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG                   # its budget ends no job, whenever the host runs this CPU
    call sched_test_make
    jc .Lrepeat_return
    mov qword ptr [rax + THREAD_PERIOD], OVERRUN_PERIOD     # the next release shall not be long in coming
    clc
.Lrepeat_return:
    return_frame
end_function make_repeat

# test_section -- within a section no other thread runs, though the timer comes for it; at its end it does
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_section
    call_frame
    push rbx
    push r12
    call sched_test_begin
    jc .Lsection_skip
    call make_repeat
    mov rbx, rax
    check_done text_made
    mov edi, TEST_WINDOW_LONG                   # with the thread that is there this is beyond the whole
    call sched_section_declare
    check_cf text_declare, 1
    check text_declare, gs:[PERCPU_SECTION_MOST], 0
    mov edi, SECTION_WAIT
    call sched_section_declare
    check_cf text_declare, 0
    check text_declare, gs:[PERCPU_SECTION_MOST], SECTION_WAIT
    call sched_section_begin
    call sched_section_begin                    # they nest
    mov r12, [rip + sched_test_runs]
    mov edi, SECTION_WAIT
    call clock_delay                            # longer than declared
    mov rdi, qword ptr gs:[PERCPU_SELF]
    add rdi, PERCPU_RESCHEDULE
    xor esi, esi
    call interrupt_test_wait                    # until the timer comes for its release
    check_cf text_came, 0
    call sched_section_end
    check text_inside, [rip + sched_test_runs], r12
    call sched_section_end                      # the switch is here, and back
    cmp [rip + sched_test_runs], r12
    setne al
    movzx r12d, al
    check text_ran, r12, 1
    mov rdi, rbx
    call sched_stop
    mov rdi, rbx
    call sched_test_until_ended
    mov qword ptr gs:[PERCPU_SECTION_MOST], 0
    check text_over, gs:[PERCPU_SECTION_OVER], 1
    call sched_test_forget_section
    mov eax, KTAP_DONE
.Lsection_return:
    pop r12
    pop rbx
    return_frame
.Lsection_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lsection_return
end_function test_section
ktap_test test_section, "sched_section"
