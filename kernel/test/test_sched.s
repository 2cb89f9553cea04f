# Purpose:  tests of the scheduler: order, preemption, budgets, sections, refusals.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: no test depends on how long anything takes: what must happen is waited for.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "cpu.inc"
.include "sched.inc"

.set TEST_PERIOD, 1000000000                    # ns: no second release within a test
.set TEST_BUDGET, 100000000
.set TEST_WINDOW_LONG, 900000000
.set TEST_WINDOW_SHORT, 400000000
.set TEST_AHEAD, 200000
.set OVERRUN_PERIOD, 2000000
.set OVERRUN_BUDGET, 20000
.set SECTION_WAIT, 1000000
.set PATTERN, 0x5a5a000000000000

ktap_text text_none, "no scheduler on this CPU"
ktap_text text_made, "created"
ktap_text text_ran, "did not run"
ktap_text text_order, "order"
ktap_text text_ended, "did not end"
ktap_text text_freed, "given back"
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
ktap_text text_inside, "ran within the section"
ktap_text text_registers, "registers that changed"
ktap_text text_catch, "who waits for a fault"
ktap_text text_thread, "thread that a fault report would name"
ktap_text text_vector, "caught vector"
ktap_text text_alone, "one CPU"
ktap_text text_asked, "asked"
ktap_text text_other, "CPU that it ran on"
ktap_text text_no_cpu, "a CPU that is not there"
ktap_text text_outside, "waits though it is no periodic thread"

.section .bss, "aw", @nobits
    .balign 8
test_spec:      .skip SPEC_SIZE
test_threads:   .skip 16
test_trail:     .skip 8                         # a byte for each job, in the order in which they came
test_runs:      .skip 8
test_go:        .skip 8

.section .text, "ax"

# test_make -- create a thread
# In:       rdi = entry:ptr, rsi = argument:u64, rdx = window:u64, rcx = first:u64
# Out:      rax = thread:ptr or error code, rdx = ppm:u64 (where it is too much), cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
local_function test_make
    call_frame
    lea rax, [rip + test_spec]
    mov [rax + SPEC_ENTRY], rdi
    lea rdi, [rip + text_ran]
    mov [rax + SPEC_NAME], rdi
    mov [rax + SPEC_ARGUMENT], rsi
    mov qword ptr [rax + SPEC_PERIOD], TEST_PERIOD
    mov qword ptr [rax + SPEC_BUDGET], TEST_BUDGET
    mov [rax + SPEC_WINDOW], rdx
    mov [rax + SPEC_FIRST], rcx
    mov rdi, rax
    call sched_create
    return_frame
end_function test_make

# test_until_ended -- wait until a thread has ended, and give it back
# In:       rdi = thread:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set; a test
local_function test_until_ended
    call_frame
    push rbx
    push r12
    mov rbx, rdi
.Luntil_look:
    mov esi, [rbx + THREAD_STATE]
    cmp esi, THREAD_ENDED
    je .Luntil_free
    mov r12, [rbx + THREAD_STATE]
    lea rdi, [rbx + THREAD_STATE]
    mov rsi, r12
    call interrupt_test_wait                    # the quadword: state and flags
    jnc .Luntil_look
    check_cf text_ended, 0
    jmp .Luntil_return
.Luntil_free:
    mov rdi, rbx
    call sched_free
    check_done text_freed
.Luntil_return:
    pop r12
    pop rbx
    return_frame
end_function test_until_ended

# job_trail -- a job that leaves its number, and ends
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
local_function job_trail
    mov rax, [rip + test_trail]
    shl rax, 8
    or rax, rdi
    mov [rip + test_trail], rax
    inc qword ptr [rip + test_runs]
    ret
end_function job_trail

# job_until -- a job that goes on until somebody else has run, then leaves its number
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
local_function job_until
    mov qword ptr [rip + test_go], 1
.Luntil_spin:
    pause
    cmp qword ptr [rip + test_runs], 0
    je .Luntil_spin
    jmp job_trail
end_function job_until

# job_spin -- a job that never ends
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, in a thread; does not return
local_function job_spin
    inc qword ptr [rip + test_runs]
    jmp job_spin
end_function job_spin

# job_registers -- a job that changes all registers
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, in a thread
local_function job_registers
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov rax, -1
    mov rbx, rax
    mov rcx, rax
    mov rdx, rax
    mov rsi, rax
    mov rdi, rax
    mov r8, rax
    mov r9, rax
    mov r10, rax
    mov r11, rax
    mov r12, rax
    mov r13, rax
    mov r14, rax
    mov r15, rax
    add rax, rax                                # flags too
    inc qword ptr [rip + test_runs]
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function job_registers

# job_catch -- a job that waits for its next release within fault_catch, then faults, and leaves the vector
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, in a thread
local_function job_catch
    call_frame
    lea rdi, [rip + job_fault]
    xor edx, edx
    call fault_catch
    mov [rip + test_trail], rax
    return_frame
end_function job_catch

# job_fault -- wait for the next release, then raise #UD
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, in a thread, under fault_catch; does not return
local_function job_fault
    call_frame
    mov rax, qword ptr gs:[PERCPU_THREAD]
    mov [rip + test_go], rax
    inc qword ptr [rip + test_runs]
    call sched_wait
    ud2
end_function job_fault

# test_begin -- what each test begins with
# In:       none
# Out:      cf = this CPU has no scheduler
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
local_function test_begin
    mov qword ptr [rip + test_trail], 0
    mov qword ptr [rip + test_runs], 0
    mov qword ptr [rip + test_go], 0
    cmp qword ptr gs:[PERCPU_CURRENT], 1        # cf: 0
    ret
end_function test_begin

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
    call test_begin
    jc .Lorder_skip
    call sched_measure
    mov r13, [rip + stack_count]
    mov r14, [rip + heap_blocks]
    call clock_ns
    lea rbx, [rax + TEST_AHEAD * 16]            # both are there by then, or are released at once
    lea rdi, [rip + job_trail]
    mov esi, 2
    mov edx, TEST_WINDOW_LONG
    mov rcx, rbx
    call test_make
    mov [rip + test_threads], rax
    check_done text_made
    lea rdi, [rip + job_trail]
    mov esi, 1
    mov edx, TEST_WINDOW_SHORT
    mov rcx, rbx
    call test_make
    mov [rip + test_threads + 8], rax
    check_done text_made
    mov rdi, [rip + test_threads]
    call test_until_ended
    mov rdi, [rip + test_threads + 8]
    call test_until_ended
    check text_order, [rip + test_trail], 0x102
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
    call test_begin
    jc .Lpreempt_skip
    call clock_ns
    lea rbx, [rax + TEST_AHEAD * 16]
    lea rdi, [rip + job_until]
    mov esi, 2
    mov edx, TEST_WINDOW_LONG
    lea rcx, [rbx - TEST_AHEAD]
    call test_make
    mov [rip + test_threads], rax
    check_done text_made
    lea rdi, [rip + job_trail]
    mov esi, 1
    mov edx, TEST_WINDOW_SHORT
    mov rcx, rbx
    call test_make
    mov [rip + test_threads + 8], rax
    check_done text_made
    mov rdi, [rip + test_threads]
    call test_until_ended
    mov rdi, [rip + test_threads + 8]
    call test_until_ended
    check text_order, [rip + test_trail], 0x102
    check text_ran, [rip + test_go], 1
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
    call test_begin
    jc .Lbudget_skip
    lea rdi, [rip + test_spec]
    lea rax, [rip + text_ran]
    mov [rdi + SPEC_NAME], rax
    lea rax, [rip + job_spin]
    mov [rdi + SPEC_ENTRY], rax
    mov rax, qword ptr gs:[PERCPU_OVERHEAD]
    lea rcx, [rax * 8 + OVERRUN_PERIOD]         # room for it on a slow machine too
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
    call test_until_ended
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
    call test_begin
    jc .Lrefusals_skip
    call sched_wait
    check_refused text_outside, ERROR_INVALID
    lea rdi, [rip + job_trail]
    xor esi, esi
    mov edx, TEST_BUDGET - 1                    # a window shorter than the budget
    xor ecx, ecx
    call test_make
    check_refused text_invalid, ERROR_INVALID
    lea rdi, [rip + job_trail]
    mov edx, TEST_BUDGET                        # with the overhead it does not fit
    call test_make
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

# test_section -- within a section no other thread runs; at its end the one that waits does
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_section
    call_frame
    push rbx
    push rbx
    call test_begin
    jc .Lsection_skip
    call clock_ns
    lea rcx, [rax + SECTION_WAIT * 10]
    lea rdi, [rip + job_trail]
    mov esi, 1
    mov edx, TEST_WINDOW_LONG
    call test_make
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
    mov rdi, [rbx + THREAD_RELEASE]
    call clock_ns
    xor ecx, ecx
    sub rdi, rax
    cmovb rdi, rcx                              # it is past: the host was slow
    add rdi, SECTION_WAIT
    sti
    call clock_delay
    cli
    call sched_section_end
    check text_inside, [rip + test_runs], 0
    call sched_section_end                      # the switch is here, and back
    check text_ran, [rip + test_runs], 1
    mov rdi, rbx
    call test_until_ended
    mov qword ptr gs:[PERCPU_SECTION_MOST], 0
    check text_over, gs:[PERCPU_SECTION_OVER], 1
    mov qword ptr gs:[PERCPU_SECTION_WORST], 0  # as it was; so long a section is none of the kernel's
    mov qword ptr gs:[PERCPU_SECTION_OVER], 0
    mov eax, KTAP_DONE
.Lsection_return:
    pop rbx
    pop rbx
    return_frame
.Lsection_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lsection_return
end_function test_section
ktap_test test_section, "sched_section"

# test_registers -- who is preempted finds all registers as they were
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_registers
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    call test_begin
    jc .Lregisters_skip
    call clock_ns
    lea rcx, [rax + TEST_AHEAD * 16]
    lea rdi, [rip + job_registers]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    call test_make
    mov [rip + test_threads], rax
    check_done text_made
    call registers_across
    check text_registers, rax, 0
    check text_ran, [rip + test_runs], 1
    mov rdi, [rip + test_threads]
    call test_until_ended
    mov eax, KTAP_DONE
.Lregisters_return:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lregisters_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lregisters_return
end_function test_registers
ktap_test test_registers, "sched_registers"

# test_catch -- what a thread waits for with fault_catch is its own: others fault, or do not, without it
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_catch
    call_frame
    push rbx
    push r12
    call test_begin
    jc .Lcatch_skip
    mov r12, qword ptr gs:[PERCPU_CATCH]
    call clock_ns
    lea rdi, [rip + job_catch]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    lea rcx, [rax + TEST_AHEAD]
    call test_make
    mov rbx, rax
    check_done text_made
    mov qword ptr [rbx + THREAD_PERIOD], OVERRUN_PERIOD     # the next release shall not be long in coming
    lea rdi, [rip + test_runs]
    xor esi, esi
    call interrupt_test_wait
    check_cf text_ran, 0
    check text_catch, gs:[PERCPU_CATCH], r12
    check text_thread, [rip + test_go], [rbx + THREAD_ID]
    check text_thread, gs:[PERCPU_THREAD], 0
    mov rdi, rbx
    call test_until_ended
    check text_vector, [rip + test_trail], VECTOR_UD
    check text_catch, gs:[PERCPU_CATCH], r12
    mov eax, KTAP_DONE
.Lcatch_return:
    pop r12
    pop rbx
    return_frame
.Lcatch_skip:
    lea rdi, [rip + text_none]
    call ktap_skip
    jmp .Lcatch_return
end_function test_catch
ktap_test test_catch, "sched_catch"

# test_other_cpus -- each further CPU takes threads of its own, and runs them
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_other_cpus
    call_frame
    push rbx
    push rbx
    call test_begin
    jc .Lother_skip
    cmp dword ptr [rip + cpu_online], 1
    jbe .Lother_skip
    mov ebx, 1
.Lother_next:
    mov eax, ebx
    shl eax, CPU_ROW_SHIFT
    lea rcx, [rip + cpu_rows]
    cmp dword ptr [rcx + rax + CPU_STATE], CPU_STATE_ONLINE
    jne .Lother_advance
    mov qword ptr [rip + test_go], 0
    sti                                         # it may shoot at this CPU meanwhile
    mov edi, ebx
    lea rsi, [rip + other_load]
    xor edx, edx
    call sched_on
    cli
    mov [rip + test_trail], rax
    check_done text_asked
    check text_made, [rip + test_trail], 0
    check text_other, [rip + test_go], rbx
.Lother_advance:
    inc ebx
    cmp ebx, [rip + cpu_count]
    jb .Lother_next
    mov edi, ebx
    lea rsi, [rip + other_load]
    call sched_on
    check_refused text_no_cpu, ERROR_INVALID
    mov eax, KTAP_DONE
.Lother_return:
    pop rbx
    pop rbx
    return_frame
.Lother_skip:
    lea rdi, [rip + text_alone]
    call ktap_skip
    jmp .Lother_return
end_function test_other_cpus
ktap_test test_other_cpus, "sched_other_cpus"

# other_load -- create a thread on the CPU that runs, let it run and end
# In:       none
# Out:      rax = error:u64 (0 = it did)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, in the background thread of a further CPU
local_function other_load
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + job_cpu]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    xor ecx, ecx
    call test_make
    jc .Lload_return
    mov rbx, rax
.Lload_wait:
    pause
    cmp dword ptr [rbx + THREAD_STATE], THREAD_ENDED
    jne .Lload_wait
    mov rdi, rbx
    call sched_free
.Lload_return:
    pop rbx
    pop rbx
    return_frame
end_function other_load

# job_cpu -- a job that leaves the number of its CPU
# In:       none
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
local_function job_cpu
    mov eax, dword ptr gs:[PERCPU_ID]
    mov [rip + test_go], rax
    ret
end_function job_cpu

# registers_across -- hold a pattern in every register while a thread runs
# In:       none
# Out:      rax = changed:u64 (bits that differ from the pattern in any of them)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11, rbx, r12, r13, r14, r15
# Context:  long mode, interrupts off before and after
local_function registers_across
    mov rax, PATTERN
    mov rcx, rax
    mov rdx, rax
    mov rbx, rax
    mov rsi, rax
    mov rdi, rax
    mov r8, rax
    mov r9, rax
    mov r10, rax
    mov r11, rax
    mov r12, rax
    mov r13, rax
    mov r14, rax
    mov r15, rax
    sti
.Lacross_wait:
    pause
    cmp qword ptr [rip + test_runs], 0
    je .Lacross_wait
    cli
    xor rcx, rax
    xor rdx, rax
    xor rbx, rax
    xor rsi, rax
    xor rdi, rax
    xor r8, rax
    xor r9, rax
    xor r10, rax
    xor r11, rax
    xor r12, rax
    xor r13, rax
    xor r14, rax
    xor r15, rax
    or rcx, rdx
    or rcx, rbx
    or rcx, rsi
    or rcx, rdi
    or rcx, r8
    or rcx, r9
    or rcx, r10
    or rcx, r11
    or rcx, r12
    or rcx, r13
    or rcx, r14
    or rcx, r15
    mov rdx, PATTERN
    xor rax, rdx
    or rax, rcx
    ret
end_function registers_across
