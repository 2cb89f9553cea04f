# Purpose:  tests of what a thread keeps for itself: its registers, what it waits for with fault_catch, its CPU, and what
#           is shown of it.
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
.include "snapshot.inc"
.include "sched_test.inc"

.set PATTERN, 0x5a5a000000000000

ktap_text text_none, "no scheduler on this CPU"
ktap_text text_made, "created"
ktap_text text_ran, "did not run"
ktap_text text_registers, "registers that changed"
ktap_text text_catch, "who waits for a fault"
ktap_text text_thread, "thread that a fault report would name"
ktap_text text_vector, "caught vector"
ktap_text text_alone, "one CPU"
ktap_text text_asked, "asked"
ktap_text text_other, "CPU that it ran on"
ktap_text text_taken, "copies"
ktap_text text_row, "first character of its name"
ktap_text text_freed, "given back"
ktap_text text_no_cpu, "a CPU that is not there"

.section .text, "ax"

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
    inc qword ptr [rip + sched_test_runs]
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
    mov [rip + sched_test_trail], rax
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
    mov [rip + sched_test_go], rax
    inc qword ptr [rip + sched_test_runs]
    call sched_wait
    ud2
end_function job_fault

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
    call sched_test_begin
    jc .Lregisters_skip
    call clock_ns
    lea rcx, [rax + TEST_AHEAD * 4]
    lea rdi, [rip + job_registers]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    call sched_test_make
    mov [rip + sched_test_threads], rax
    check_done text_made
    call registers_across
    check text_registers, rax, 0
    check text_ran, [rip + sched_test_runs], 1
    mov rdi, [rip + sched_test_threads]
    call sched_test_until_ended
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
    call sched_test_begin
    jc .Lcatch_skip
    mov r12, qword ptr gs:[PERCPU_CATCH]
    call clock_ns
    lea rdi, [rip + job_catch]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    lea rcx, [rax + TEST_AHEAD]
    call sched_test_make
    mov rbx, rax
    check_done text_made
    mov qword ptr [rbx + THREAD_PERIOD], OVERRUN_PERIOD     # the next release shall not be long in coming
    lea rdi, [rip + sched_test_runs]
    xor esi, esi
    call interrupt_test_wait
    check_cf text_ran, 0
    check text_catch, gs:[PERCPU_CATCH], r12
    check text_thread, [rip + sched_test_go], [rbx + THREAD_ID]
    check text_thread, gs:[PERCPU_THREAD], 0
    mov rdi, rbx
    call sched_test_until_ended
    check text_vector, [rip + sched_test_trail], VECTOR_UD
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
    call sched_test_begin
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
    mov qword ptr [rip + sched_test_go], 0
    sti                                         # it may shoot at this CPU meanwhile
    mov edi, ebx
    lea rsi, [rip + other_load]
    xor edx, edx
    call sched_on
    cli
    mov [rip + sched_test_trail], rax
    check_done text_asked
    check text_made, [rip + sched_test_trail], 0
    check text_other, [rip + sched_test_go], rbx
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

# other_load -- create a thread on the CPU that runs, let it run and end, give it back
# In:       none
# Out:      rax = error:u64 (0 = it did)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, in the background thread of a further CPU
local_function other_load
    call_frame
    call other_run
    jc .Lload_return
    mov rdi, rax
    call sched_free
.Lload_return:
    return_frame
end_function other_load

# other_run -- create a thread on the CPU that runs, and let it run and end
# In:       none
# Out:      rax = thread:ptr or error code, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, in the background thread of a further CPU
local_function other_run
    call_frame
    lea rdi, [rip + job_cpu]
    xor esi, esi
    mov edx, TEST_WINDOW_LONG
    xor ecx, ecx
    call sched_test_make
    jc .Lrun_return
.Lrun_wait:
    pause
    cmp dword ptr [rax + THREAD_STATE], THREAD_ENDED
    jne .Lrun_wait                              # cf is clear where they are equal
.Lrun_return:
    return_frame
end_function other_run

# test_snapshot -- what is shown of threads is shown of those of other CPUs too
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_snapshot
    call_frame
    push rbx
    push r12
    push r13
    push r14
    call sched_test_begin
    jc .Lsnapshot_skip
    cmp dword ptr [rip + cpu_rows + CPU_ROW_SIZE + CPU_STATE], CPU_STATE_ONLINE
    jne .Lsnapshot_skip
    sti                                         # it is asked for at other CPUs
    mov edi, 1
    lea rsi, [rip + other_run]
    xor edx, edx
    call sched_on
    mov r14, rax                                # an ended thread of CPU 1
    call snapshot_take
    cli
    mov rbx, rax
    mov r12, rdx
    check_done text_taken
    xor r13d, r13d                              # rows of it
.Lsnapshot_row:
    dec r12
    js .Lsnapshot_rows
    imul rax, r12, SNAPSHOT_SIZE
    add rax, rbx
    cmp qword ptr [rax + SNAPSHOT_CPU], 1
    jne .Lsnapshot_row
    mov rcx, [r14 + THREAD_ID]
    cmp [rax + THREAD_ID], rcx
    jne .Lsnapshot_row
    inc r13
    mov r13b, [rax + SNAPSHOT_NAME]             # its first character, where there is one row
    jmp .Lsnapshot_row
.Lsnapshot_rows:
    check text_row, r13, 't'
    mov rdi, rbx
    call heap_free
    sti
    mov edi, 1
    lea rsi, [rip + sched_free]
    mov rdx, r14
    call sched_on
    cli
    check_done text_freed
    mov eax, KTAP_DONE
.Lsnapshot_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lsnapshot_skip:
    lea rdi, [rip + text_alone]
    call ktap_skip
    jmp .Lsnapshot_return
end_function test_snapshot
ktap_test test_snapshot, "sched_shows_other_cpus"

# job_cpu -- a job that leaves the number of its CPU
# In:       none
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
local_function job_cpu
    mov eax, dword ptr gs:[PERCPU_ID]
    mov [rip + sched_test_go], rax
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
    cmp qword ptr [rip + sched_test_runs], 0
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
