# Purpose:  commands of the shell about threads and their deadlines: threads, sched.
# Mode:     64-bit long mode
# Exports:  rows of section .shell
# Invariants: the threads are copied before anything is said (sched/snapshot.s): who holds the serial line keeps interrupts
#           off, and could not wait for another CPU. Times are nanoseconds.
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "cpu.inc"
.include "sched.inc"
.include "snapshot.inc"
.include "shell.inc"

.set LOAD_DEFAULT, 4000

.section .rodata, "a"
    .balign 8
state_names:    .quad state_waiting, state_ready, state_running, state_ended
state_waiting:  .asciz "waiting"
state_ready:    .asciz "ready"
state_running:  .asciz "running"
state_ended:    .asciz "ended"

.section .text, "ax"

# rows_say -- the rows of some threads
# In:       rdi = rows:ptr (SNAPSHOT_*), rsi = count:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, GS base set, after out_begin
local_function rows_say
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, rsi
    lea rdi, [rip + key_threads]
    call out_list
.Lrows_next:
    dec r12
    js .Lrows_end
    call out_row
    lea rdi, [rip + key_cpu]
    mov rsi, [rbx + SNAPSHOT_CPU]
    call out_number
    lea rdi, [rip + key_id]
    mov rsi, [rbx + THREAD_ID]
    call out_number
    lea rdi, [rip + key_name]
    mov rsi, [rbx + THREAD_NAME]
    call out_text
    lea rdi, [rip + key_state]
    mov eax, [rbx + THREAD_STATE]
    lea rsi, [rip + state_names]
    mov rsi, [rsi + rax * 8]
    call out_text
    cmp qword ptr [rbx + THREAD_PERIOD], 0
    je .Lrows_row_end
    mov rdi, rbx
    lea rsi, [rip + out_number]
    mov rdx, [rbx + SNAPSHOT_P99]
    call thread_fields_say
.Lrows_row_end:
    call out_row_end
    add rbx, SNAPSHOT_SIZE
    jmp .Lrows_next
.Lrows_end:
    call out_list_end
    pop r12
    pop rbx
    return_frame
end_function rows_say
shell_text key_threads, "list"
shell_text key_id, "id"
shell_text key_name, "name"
shell_text key_state, "state"
shell_text key_cpu, "cpu"

# cpus_say -- the rows of the CPUs that have a scheduler: load, and what it cost
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, GS base set, after out_begin
local_function cpus_say
    call_frame
    push rbx
    push r12
    lea rdi, [rip + key_cpus]
    call out_list
    xor ebx, ebx
.Lcpus_next:
    cmp ebx, [rip + cpu_count]
    jae .Lcpus_end
    mov eax, ebx
    shl eax, CPU_ROW_SHIFT
    lea rcx, [rip + cpu_rows]
    mov r12, [rcx + rax + CPU_BLOCK]
    test r12, r12
    jz .Lcpus_advance
    cmp qword ptr [r12 + PERCPU_CURRENT], 0
    je .Lcpus_advance
    call out_row
    lea rdi, [rip + key_cpu]
    mov esi, ebx
    call out_number
    mov rdi, r12
    lea rsi, [rip + out_number]
    call cpu_fields_say
    call out_row_end
.Lcpus_advance:
    inc ebx
    jmp .Lcpus_next
.Lcpus_end:
    call out_list_end
    pop r12
    pop rbx
    return_frame
end_function cpus_say
shell_text key_cpus, "cpus"

# command_threads -- threads: those of all CPUs, and what they have counted
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_threads
    call_frame
    push rbx
    push r12
    lea rcx, [rip + text_no_sched]
    cmp qword ptr gs:[PERCPU_CURRENT], 0
    je .Lthreads_refused
    call snapshot_take
    lea rcx, [rip + text_no_memory]
    jc .Lthreads_refused
    mov rbx, rax
    mov r12, rdx
    lea rdi, [rip + name_threads]
    call out_begin
    mov rdi, rbx
    mov rsi, r12
    call rows_say
    call out_end
    mov rdi, rbx
    call heap_free
    clc
.Lthreads_return:
    pop r12
    pop rbx
    return_frame
.Lthreads_refused:
    mov rax, rcx
    stc
    jmp .Lthreads_return
end_function command_threads
shell_text name_threads, "threads"
shell_text text_no_sched, "this CPU has no timer, and no scheduler for that reason"
shell_text text_no_memory, "there is no memory for it"
shell_command command_threads, "threads", "", "the threads of all CPUs: releases, misses, start jitter"

# command_sched -- sched [load [JOBS]]: load and cost of the scheduler; first, if asked for, run the test load
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_sched
    call_frame
    push rbx
    push r12
    lea rax, [rip + text_no_sched]
    cmp qword ptr gs:[PERCPU_CURRENT], 0
    je .Lcommand_refused
    xor ebx, ebx                                # jobs of the test load, 0 = none is asked for
    test rsi, rsi
    jz .Lcommand_say
    mov r12, rdi
    mov rbx, rsi
    mov rdi, [r12]
    lea rsi, [rip + word_load]
    call words_same
    lea rax, [rip + text_usage]
    jc .Lcommand_refused
    dec rbx
    mov ebx, LOAD_DEFAULT
    jz .Lcommand_load
    mov rdi, [r12 + 8]
    call words_number
    mov rbx, rax
    lea rax, [rip + text_usage]
    jc .Lcommand_refused
    test rbx, rbx
    jz .Lcommand_refused
.Lcommand_load:
    mov rdi, rbx
    call sched_load
    jc .Lcommand_not_loaded
.Lcommand_say:
    xor r12d, r12d
    test rbx, rbx
    jz .Lcommand_begin
    call snapshot_take
    jc .Lcommand_begin                          # no rows then
    mov r12, rax
    mov rbx, rdx
.Lcommand_begin:
    lea rdi, [rip + name_sched]
    call out_begin
    call cpus_say
    test r12, r12
    jz .Lcommand_end
    mov rdi, r12
    mov rsi, rbx
    call rows_say
    mov rdi, r12
    call heap_free
.Lcommand_end:
    call out_end
    call sched_load_free
    clc
    jmp .Lcommand_return
.Lcommand_not_loaded:
    call sched_load_free
    lea rax, [rip + text_refused]
.Lcommand_refused:
    stc
.Lcommand_return:
    pop r12
    pop rbx
    return_frame
end_function command_sched
shell_text name_sched, "sched"
shell_text word_load, "load"
shell_text text_usage, "sched, or sched load JOBS"
shell_text text_refused, "the test load was refused: sched says by how much (refused_ppm)"
shell_command command_sched, "sched", "[load [JOBS]]", "load and cost of the scheduler; load runs a test load of 70 %"
