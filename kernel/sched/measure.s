# Purpose:  what the scheduler itself costs: measured on each CPU before its first admission.
# Mode:     64-bit long mode
# Exports:  sched_measure sched_median
# Invariants: measured as a thread sees it: the time that a job which does nothing takes from another one, from the
#           timer's interrupt to the return: two decisions, two switches, the timer set twice. The median of
#           MEASURE_SAMPLES, so that a few disturbed ones do not count.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"

.set MEASURE_SAMPLES, 9
.set MEASURE_PERIOD, 50000                      # ns
.set MEASURE_WAIT, 10000000000                  # ns: then the timer does not come
.set MEASURE_FRAME, 0x80                        # bytes for the samples; RSP stays on 16

.section .rodata, "a"
    .balign 8
measure_name:   .asciz "measure"
    .balign 8
measure_spec:   .quad measure_name, measure_job, 0, MEASURE_PERIOD, MEASURE_PERIOD, 0, 0

.section .text, "ax"

# sched_measure -- learn the overhead of a job on the CPU that runs, the first time that it is asked for
# In:       none
# Out:      rax = error:u64, cf = refused: ERROR_NO_MEMORY, ERROR_FULL, ERROR_TIMEOUT (the timer does not come),
#           ERROR_UNSUPPORTED (no scheduler on this CPU)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on meanwhile), GS base set; by the background thread
function sched_measure
    call_frame
    push rbx
    push r12
    push r13
    push r14
    sub rsp, MEASURE_FRAME
    mov eax, ERROR_UNSUPPORTED
    cmp qword ptr gs:[PERCPU_CURRENT], 1
    jb .Lmeasure_return
    xor eax, eax
    cmp qword ptr gs:[PERCPU_OVERHEAD], rax
    jne .Lmeasure_return                        # cf is clear where it is known: 0 is below
    pushfq
    pop r14
    lea rdi, [rip + measure_spec]
    xor esi, esi
    call sched_add
    jc .Lmeasure_return
    mov rbx, rax
    call clock_ns
    mov r13, MEASURE_WAIT
    add r13, rax
    xor r12d, r12d
    sti
.Lmeasure_sample:
    mov rdi, rbx
    mov rsi, r13
    call measure_gap
    jc .Lmeasure_late
    mov [rsp + r12 * 8], rax
    inc r12d
    cmp r12d, MEASURE_SAMPLES
    jb .Lmeasure_sample
.Lmeasure_late:
    mov rdi, rbx
    call sched_stop
.Lmeasure_end:                                  # it ends with its next job, or not at all
    pause
    cmp dword ptr [rbx + THREAD_STATE], THREAD_ENDED
    je .Lmeasure_ended
    call clock_ns
    cmp rax, r13
    jb .Lmeasure_end
    mov rax, SCHED_PERIOD_MAX                   # no job fits beside that: nothing is admitted on this CPU
    mov qword ptr gs:[PERCPU_OVERHEAD], rax
    mov eax, ERROR_TIMEOUT
    stc
    jmp .Lmeasure_flags
.Lmeasure_ended:
    mov rdi, rbx
    call sched_free
    mov eax, ERROR_TIMEOUT
    cmp r12d, MEASURE_SAMPLES
    jb .Lmeasure_flags
    mov rdi, rsp
    mov esi, MEASURE_SAMPLES
    call sched_median
    mov qword ptr gs:[PERCPU_OVERHEAD], rax
    xor eax, eax
.Lmeasure_flags:
    pushfq                                      # cf, and IF as it was
    and r14d, RFLAGS_IF
    and qword ptr [rsp], ~RFLAGS_IF
    or [rsp], r14
    popfq
.Lmeasure_return:
    lea rsp, [rsp + MEASURE_FRAME]
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function sched_measure

# measure_gap -- the longest time that passed between two looks at the clock while a thread did one job
# In:       rdi = thread:ptr, rsi = until:u64 (clock_ns)
# Out:      rax = ns:u64, cf = it did none in time
# Clobbers: rcx, rdx, rsi, r8, r9
# Context:  long mode, interrupts on, GS base set; by the background thread
local_function measure_gap
    call_frame
    mov r8, [rdi + THREAD_COMPLETED]
    xor r9d, r9d
    call clock_ns
.Lgap_look:
    mov rcx, rax
    cmp rcx, rsi
    jae .Lgap_late
    call clock_ns
    mov rdx, rax
    sub rdx, rcx
    cmp rdx, r9
    cmova r9, rdx
    cmp [rdi + THREAD_COMPLETED], r8
    je .Lgap_look
    call clock_ns                               # the job may have come behind the last look
    mov rdx, rax
    sub rdx, rcx
    cmp rdx, r9
    cmova r9, rdx
    mov rax, r9
    clc
    return_frame
.Lgap_late:
    stc
    return_frame
end_function measure_gap

# measure_job -- the thread that does nothing
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, in a thread; does not return
local_function measure_job
    call_frame
.Ljob_next:
    call sched_wait
    jmp .Ljob_next
end_function measure_job

# sched_median -- the value that as many are below as above
# In:       rdi = values:ptr (quads), esi = count:u32[1..64]
# Out:      rax = value:u64
# Clobbers: rcx, rdx, r8, r9
# Context:  long mode, any IF
function sched_median
    xor ecx, ecx
.Lmedian_candidate:
    mov rax, [rdi + rcx * 8]
    xor edx, edx
    xor r8d, r8d                                # how many are below
    xor r9d, r9d                                # how many are not above
.Lmedian_count:
    cmp [rdi + rdx * 8], rax
    adc r8d, 0
    cmp rax, [rdi + rdx * 8]
    cmc
    adc r9d, 0
    inc edx
    cmp edx, esi
    jb .Lmedian_count
    mov edx, esi
    shr edx, 1                                  # place of the median
    cmp r8d, edx
    ja .Lmedian_next
    cmp r9d, edx
    ja .Lmedian_return
.Lmedian_next:
    inc ecx
    cmp ecx, esi
    jb .Lmedian_candidate
.Lmedian_return:
    ret
end_function sched_median
