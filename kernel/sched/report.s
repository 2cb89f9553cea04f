# Purpose:  what threads and scheduler have counted: PXSCHED lines, and the commands threads and sched.
# Mode:     64-bit long mode
# Spec:     the prefix of the lines is the contract's (contract.toml)
# Exports:  sched_say; rows of section .shell
# Invariants: the same table of fields serves lines and commands: what is said here is said there. Times are nanoseconds.
#
#   PXSCHED v1 cpu=0 load_ppm=… overhead_ns=… …                    once
#   PXSCHED v1 thread=NAME period_ns=… … releases=… misses=… …     for each periodic thread
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "percpu.inc"
.include "sched.inc"
.include "shell.inc"

.set P99, 990
.set LOAD_DEFAULT, 4000

.section .rodata, "a"
text_thread:    .asciz "thread"
text_cpu:       .asciz "cpu"
key_p99:        .asciz "jitter_p99_ns"
    .balign 8
state_names:    .quad state_waiting, state_ready, state_running, state_ended
state_waiting:  .asciz "waiting"
state_ready:    .asciz "ready"
state_running:  .asciz "running"
state_ended:    .asciz "ended"
.macro field key, offset
    .section .rodata.fields, "a"
    .quad .Lfield_\offset, \offset
    .section .rodata, "a"
.Lfield_\offset:
    .asciz "\key"
.endm
.section .rodata.fields, "a"
    .balign 8
thread_fields:
    field period_ns, THREAD_PERIOD
    field budget_ns, THREAD_BUDGET
    field deadline_ns, THREAD_WINDOW
    field share_ppm, THREAD_SHARE
    field releases, THREAD_RELEASES
    field completed, THREAD_COMPLETED
    field misses, THREAD_MISSES
    field overruns, THREAD_OVERRUNS
    field used_ns, THREAD_USED
    field jitter_worst_ns, THREAD_WORST_JITTER
    field response_worst_ns, THREAD_WORST_RESPONSE
.section .rodata.fields, "a"
thread_fields_end:
cpu_fields:
    field load_ppm, PERCPU_LOAD
    field load_most_ppm, PERCPU_LOAD_MOST
    field refused_ppm, PERCPU_REFUSED
    field overhead_ns, PERCPU_OVERHEAD
    field section_ns, PERCPU_SECTION_MOST
    field section_worst_ns, PERCPU_SECTION_WORST
    field sections_over, PERCPU_SECTION_OVER
    field threads, PERCPU_THREAD_COUNT
    field decisions, PERCPU_DECISIONS
    field switches, PERCPU_SWITCHES
.section .rodata.fields, "a"
cpu_fields_end:
.set FIELD_KEY, 0
.set FIELD_OFFSET, 8
.set FIELD_SIZE, 16

.section .text, "ax"

# fields_say -- say the fields of a record
# In:       rdi = record:ptr, rsi = fields:ptr, rdx = end:ptr, rcx = say:ptr (In: rdi = key, rsi = value; as out_number)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode
local_function fields_say
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12, rsi
    mov r13, rdx
    mov r14, rcx
.Lsay_next:
    cmp r12, r13
    jae .Lsay_return
    mov rdi, [r12 + FIELD_KEY]
    mov rsi, [r12 + FIELD_OFFSET]
    mov rsi, [rbx + rsi]
    call r14
    add r12, FIELD_SIZE
    jmp .Lsay_next
.Lsay_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function fields_say

# thread_say -- say what a periodic thread has counted
# In:       rdi = thread:ptr, rsi = say:ptr (as for fields_say)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode
local_function thread_say
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, rsi
    mov rcx, rsi
    lea rsi, [rip + thread_fields]
    lea rdx, [rip + thread_fields_end]
    call fields_say
    lea rdi, [rbx + THREAD_HISTOGRAM]
    mov rsi, [rbx + THREAD_STARTS]
    mov edx, P99
    call histogram_percentile
    cmp rax, [rbx + THREAD_WORST_JITTER]
    cmova rax, [rbx + THREAD_WORST_JITTER]      # the end of the bucket may lie beyond all that was seen
    mov rsi, rax
    lea rdi, [rip + key_p99]
    call r12
    pop r12
    pop rbx
    return_frame
end_function thread_say

# line_say_number -- a blank, key and number, on the serial line
# In:       rdi = key:asciz, rsi = value:u64
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function line_say_number
    call_frame
    push rdi
    push rsi
    mov edi, CHAR_BLANK
    call serial_put_char
    mov rdi, [rsp + 8]
    call serial_put_string
    mov edi, '='
    call serial_put_char
    mov rdi, [rsp]
    call serial_put_dec
    pop rsi
    pop rdi
    return_frame
end_function line_say_number

# line_say_begin -- begin a PXSCHED line: prefix and key
# In:       rdi = key:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set; serial_line_end ends it
local_function line_say_begin
    call_frame
    push rbx
    push rdi
    mov rbx, rdi
    call serial_line_begin
    lea rdi, [rip + contract_sched_prefix]
    call serial_put_string
    mov rdi, rbx
    call serial_put_string
    mov edi, '='
    call serial_put_char
    pop rdi
    pop rbx
    return_frame
end_function line_say_begin

# sched_say -- the PXSCHED lines of the CPU that runs
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, any IF, GS base set; by the background thread
function sched_say
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + text_cpu]
    call line_say_begin
    mov edi, dword ptr gs:[PERCPU_ID]
    call serial_put_dec
    mov rdi, qword ptr gs:[PERCPU_SELF]
    lea rsi, [rip + cpu_fields]
    lea rdx, [rip + cpu_fields_end]
    lea rcx, [rip + line_say_number]
    call fields_say
    call serial_line_end
    mov rbx, qword ptr gs:[PERCPU_THREADS]
.Lsched_next:
    test rbx, rbx
    jz .Lsched_return
    cmp qword ptr [rbx + THREAD_PERIOD], 0
    je .Lsched_skip
    lea rdi, [rip + text_thread]
    call line_say_begin
    mov rdi, [rbx + THREAD_NAME]
    call serial_put_string
    mov rdi, rbx
    lea rsi, [rip + line_say_number]
    call thread_say
    call serial_line_end
.Lsched_skip:
    mov rbx, [rbx + THREAD_NEXT]
    jmp .Lsched_next
.Lsched_return:
    pop rbx
    pop rbx
    return_frame
end_function sched_say

# rows_say -- the rows of the threads of the CPU that runs
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, GS base set, after out_begin
local_function rows_say
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + key_threads]
    call out_list
    mov rbx, qword ptr gs:[PERCPU_THREADS]
.Lrows_next:
    test rbx, rbx
    jz .Lrows_end
    call out_row
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
    call thread_say
.Lrows_row_end:
    call out_row_end
    mov rbx, [rbx + THREAD_NEXT]
    jmp .Lrows_next
.Lrows_end:
    call out_list_end
    pop rbx
    pop rbx
    return_frame
end_function rows_say
shell_text key_threads, "list"
shell_text key_id, "id"
shell_text key_name, "name"
shell_text key_state, "state"

# command_threads -- threads: those of the CPU that runs, and what they have counted
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_threads
    call_frame
    lea rax, [rip + text_no_sched]
    cmp qword ptr gs:[PERCPU_CURRENT], 0
    stc
    je .Lthreads_return
    lea rdi, [rip + name_threads]
    call out_begin
    call rows_say
    call out_end
    clc
.Lthreads_return:
    return_frame
end_function command_threads
shell_text name_threads, "threads"
shell_text text_no_sched, "this CPU has no timer, and no scheduler for that reason"
shell_command command_threads, "threads", "", "the threads of this CPU: releases, misses, start jitter"

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
    lea rdi, [rip + name_sched]
    call out_begin
    lea rdi, [rip + text_cpu]
    mov esi, dword ptr gs:[PERCPU_ID]
    call out_number
    mov rdi, qword ptr gs:[PERCPU_SELF]
    lea rsi, [rip + cpu_fields]
    lea rdx, [rip + cpu_fields_end]
    lea rcx, [rip + out_number]
    call fields_say
    test rbx, rbx
    jz .Lcommand_end
    call rows_say
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
