# Purpose:  a test load: eight periodic threads that together ask for 70 % of the CPU, and use most of what they ask for.
# Mode:     64-bit long mode
# Exports:  sched_load sched_load_free sched_load_boot
# Invariants: periods are multiples of the measured overhead, so that the load is the same on any machine: with its
#           overhead each thread has LOAD_SHARE. All are released at the same moment first, which is the worst one. A job
#           runs until a quarter of its budget is left, as the clock has it.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "percpu.inc"
.include "sched.inc"

.set LOAD_THREADS, 8
.set LOAD_SHARE, PPM * 70 / 100 / LOAD_THREADS
.set LOAD_AHEAD, 2000000                        # ns from here to the first release: all are made by then
.set LOAD_LEFT_SHIFT, 2                         # a quarter of the budget is left
.set LOAD_JOB_MOST, 1000000                     # ns that a job may take on average; then the load ends before it is done
.set LOAD_JOBS, 4000                        # of the boot's word
.set LOAD_JOBS_LONG, 1000000

.section .rodata, "a"
word_load:      .asciz "sched-test"
word_long:      .asciz "sched-soak"
load_names:     .asciz "load-0", "load-1", "load-2", "load-3", "load-4", "load-5", "load-6", "load-7"
.set LOAD_NAME_SIZE, 7
load_periods:   .byte 101, 109, 127, 139, 157, 179, 211, 251  # in overheads; primes: releases meet seldom, and in any order

.section .bss, "aw", @nobits
    .balign 8
load_threads:   .skip LOAD_THREADS * 8          # 0 = none
load_jobs:      .skip 8                         # i64: that are still to be done, of all threads together
load_until:     .skip 8                         # clock_ns
load_spec:      .skip SPEC_SIZE

.section .text, "ax"

# sched_load_boot -- run the test load when the command line says `sched-test` or, for a million jobs, `sched-soak`
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the boot; interrupts are on meanwhile
function sched_load_boot
    call_frame
    push rbx
    push rbx
    mov ebx, LOAD_JOBS_LONG
    lea rdi, [rip + word_long]
    call cmdline_has
    jnc .Lboot_run
    mov ebx, LOAD_JOBS
    lea rdi, [rip + word_load]
    call cmdline_has
    jc .Lboot_return
.Lboot_run:
    mov rdi, rbx
    call sched_load
    call sched_say
    call sched_load_free
.Lboot_return:
    pop rbx
    pop rbx
    return_frame
end_function sched_load_boot

# sched_load -- run the test load until its threads have done so many jobs together, or a millisecond for each is over
# In:       rdi = jobs:u64
# Out:      rax = error:u64, cf = refused: as sched_create, or ERROR_BUSY (of before it something is left); what was made
#           already has ended
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on meanwhile), GS base set; by the background thread, which halts while nothing is to do
function sched_load
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    pushfq
    pop r14
    mov eax, ERROR_BUSY
    cmp qword ptr [rip + load_threads], 0
    stc
    jne .Lload_return
    mov [rip + load_jobs], r12
    call clock_ns
    imul rcx, r12, LOAD_JOB_MOST
    add rax, rcx
    mov [rip + load_until], rax
    call load_create
    mov r13, rax                                # 0 = all are there
    test rax, rax
    jz .Lload_wait
    mov qword ptr [rip + load_jobs], 0          # those that are there end
.Lload_wait:
    lea rdi, [rip + load_count_left]
    call load_sum
    test rax, rax
    jz .Lload_ended
    call load_idle
    jmp .Lload_wait
.Lload_ended:
    push r14
    popfq
    mov rax, r13
    neg r13                                     # cf: not 0
.Lload_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function sched_load

# load_idle -- halt until something comes
# In:       none
# Out:      if = set
# Clobbers: none
# Context:  long mode, in the background thread; the timer is set, or comes at once
local_function load_idle
    sti
    hlt
    ret
end_function load_idle

# load_create -- make the threads
# In:       none
# Out:      rax = error:u64, cf = refused: as sched_create
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; by the background thread
local_function load_create
    call_frame
    push rbx
    push r12
    call sched_measure
    jc .Lcreate_return
    call clock_ns
    add rax, LOAD_AHEAD
    mov r12, rax
    xor ebx, ebx
.Lcreate_next:
    lea rdi, [rip + load_spec]
    imul eax, ebx, LOAD_NAME_SIZE
    lea rcx, [rip + load_names]
    add rcx, rax
    mov [rdi + SPEC_NAME], rcx
    lea rcx, [rip + load_job]
    mov [rdi + SPEC_ENTRY], rcx
    lea rcx, [rip + load_periods]
    movzx ecx, byte ptr [rcx + rbx]
    imul rcx, qword ptr gs:[PERCPU_OVERHEAD]
    mov [rdi + SPEC_PERIOD], rcx
    mov eax, LOAD_SHARE
    mul rcx
    mov ecx, PPM
    div rcx
    sub rax, qword ptr gs:[PERCPU_OVERHEAD]
    mov [rdi + SPEC_BUDGET], rax
    shr rax, LOAD_LEFT_SHIFT
    mov [rdi + SPEC_ARGUMENT], rax
    mov [rdi + SPEC_FIRST], r12
    call sched_create
    jc .Lcreate_return
    lea rcx, [rip + load_threads]
    mov [rcx + rbx * 8], rax
    inc ebx
    cmp ebx, LOAD_THREADS
    jb .Lcreate_next
    xor eax, eax
.Lcreate_return:
    pop r12
    pop rbx
    return_frame
end_function load_create

# load_job -- a thread of the load
# In:       rdi = left:u64 (ns of its budget that a job leaves)
# Out:      none
# Clobbers: none
# Context:  long mode, in a thread; does not return
local_function load_job
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
.Ljob_spin:
    call sched_left
    cmp rax, rbx
    jg .Ljob_spin
    sub qword ptr [rip + load_jobs], 1
    jle .Ljob_stop
    call clock_ns
    cmp rax, [rip + load_until]
    jb .Ljob_wait
.Ljob_stop:
    mov rdi, qword ptr gs:[PERCPU_CURRENT]
    call sched_stop
.Ljob_wait:
    call sched_wait
    jmp .Ljob_spin
end_function load_job

# load_sum -- the sum of what a routine says of each thread of the load
# In:       rdi = routine:ptr (In: rdi = thread. Out: rax. It changes nothing else)
# Out:      rax = sum:u64
# Clobbers: rdi
# Context:  long mode, any IF
local_function load_sum
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    xor ebx, ebx
    xor r13d, r13d
.Lsum_next:
    lea rdi, [rip + load_threads]
    mov rdi, [rdi + rbx * 8]
    test rdi, rdi
    jz .Lsum_return
    call r12
    add r13, rax
    inc ebx
    cmp ebx, LOAD_THREADS
    jb .Lsum_next
.Lsum_return:
    mov rax, r13
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function load_sum

# load_count_left -- whether a thread has not ended yet
# In:       rdi = thread:ptr
# Out:      rax = count:u64[0..1]
# Clobbers: none
# Context:  long mode, any IF; for load_sum
local_function load_count_left
    xor eax, eax
    cmp dword ptr [rdi + THREAD_STATE], THREAD_ENDED
    setne al
    ret
end_function load_count_left

# sched_load_free -- give back what the threads of the load had
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, any IF, GS base set, after sched_load; by the background thread
function sched_load_free
    call_frame
    push rbx
    push rbx
    xor ebx, ebx
.Lfree_next:
    lea rcx, [rip + load_threads]
    xor edi, edi
    xchg rdi, [rcx + rbx * 8]
    test rdi, rdi
    jz .Lfree_skip
    call sched_free
.Lfree_skip:
    inc ebx
    cmp ebx, LOAD_THREADS
    jb .Lfree_next
    pop rbx
    pop rbx
    return_frame
end_function sched_load_free
