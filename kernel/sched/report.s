# Purpose:  what threads and scheduler have counted: which fields that is, and the PXSCHED lines.
# Mode:     64-bit long mode
# Spec:     the prefix of the lines is the contract's (contract.toml)
# Exports:  sched_say cpu_fields_say thread_fields_say
# Invariants: the same table of fields serves lines and commands (shell/sched.s): what is said here is said there. Times are nanoseconds.
#
#   PXSCHED v1 cpu=0 load_ppm=… overhead_ns=… …                    once
#   PXSCHED v1 thread=NAME period_ns=… … releases=… misses=… …     for each periodic thread
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "percpu.inc"
.include "sched.inc"
.include "shell.inc"

.section .rodata, "a"
text_thread:    .asciz "thread"
text_cpu:       .asciz "cpu"
key_p99:        .asciz "jitter_p99_ns"
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

# thread_fields_say -- say what a periodic thread has counted
# In:       rdi = thread:ptr (THREAD_* up to the histogram), rsi = say:ptr (as for fields_say), rdx = p99:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode
function thread_fields_say
    call_frame
    push rbx
    push r12
    mov rbx, rdx
    mov r12, rsi
    mov rcx, rsi
    lea rsi, [rip + thread_fields]
    lea rdx, [rip + thread_fields_end]
    call fields_say
    mov rsi, rbx
    lea rdi, [rip + key_p99]
    call r12
    pop r12
    pop rbx
    return_frame
end_function thread_fields_say

# cpu_fields_say -- say what the scheduler of a CPU has counted
# In:       rdi = block:ptr (of that CPU), rsi = say:ptr (as for fields_say)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode
function cpu_fields_say
    mov rcx, rsi
    lea rsi, [rip + cpu_fields]
    lea rdx, [rip + cpu_fields_end]
    jmp fields_say
end_function cpu_fields_say

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
    lea rsi, [rip + line_say_number]
    call cpu_fields_say
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
    call snapshot_percentile
    mov rdi, rbx
    lea rsi, [rip + line_say_number]
    mov rdx, rax
    call thread_fields_say
    call serial_line_end
.Lsched_skip:
    mov rbx, [rbx + THREAD_NEXT]
    jmp .Lsched_next
.Lsched_return:
    pop rbx
    pop rbx
    return_frame
end_function sched_say
