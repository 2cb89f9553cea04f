# Purpose:  tests of ring 3: programs that run, call, share, compute, and leave nothing behind.
# Mode:     64-bit long mode
# Spec:     include/syscall.inc; Intel SDM vol. 2, SYSCALL, SYSRET
# Exports:  user_test_run user_test_keep user_test_same user_test_judge user_test_warm user_test_vector
#           user_test_until; rows of section .ktap
# Invariants: every test ends with as many frames, heap blocks, stacks and address spaces in use as it began with, but for
#           what the heap keeps for the next.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "test/user_image.inc"

.set TEST_UNTIL, 120000000000                   # ns that a program of a test has: sixteen CPUs may share half a one of the host
.set TEST_FLAGS_KEPT, RFLAGS_STATUS & ~RFLAGS_CF | RFLAGS_ID

ktap_text text_made, "program_create"
ktap_text text_loaded, "program_load"
ktap_text text_started, "program_start"
ktap_text text_freed, "program_free"
ktap_text text_stop, "why it ended"
ktap_text text_result, "what it gave to EXIT"
ktap_text text_faults, "threads that faulted"
ktap_text text_frames, "frames in use less those of the heap"
ktap_text text_stacks, "stacks in use"
ktap_text text_spaces, "address spaces"
ktap_text text_blocks, "heap blocks"
ktap_text text_name, "test"

.section .rodata, "a"
.global user_text_no_sched
user_text_no_sched: .asciz "no scheduler on this CPU"

.section .text, "ax"

# user_test_run -- load a program, let it run until it ends or its time does, give it back
# In:       rdi = image:ptr, rsi = end:ptr, rdx = argument:u64
# Out:      rax = stop:u64 (STOP_*), rdx = result:u64, rcx = faults:u64, cf = it did not come to run
# Clobbers: rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; a test on the boot CPU
function user_test_run
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov r12, rdi
    mov r13, rsi
    mov r14, rdx
    lea rdi, [rip + text_name]
    call program_create
    check_done text_made
    mov rbx, rax
    jc .Ltest_return
    mov rdi, rbx
    mov rsi, r12
    mov rdx, r13
    sub rdx, r12
    call program_load
    check_done text_loaded
    jc .Ltest_free
    call clock_ns
    mov rcx, [rip + user_test_until]
    mov rdx, TEST_UNTIL
    test rcx, rcx
    cmovz rcx, rdx
    add rax, rcx
    mov [rbx + PROGRAM_UNTIL], rax
    mov rdi, rbx
    mov rsi, r14
    call program_start
    check_done text_started
    jc .Ltest_free
    mov rdi, rbx
    call program_wait
    clc
.Ltest_free:
    setc r15b
    mov r12, [rbx + PROGRAM_STOP]
    mov r13, [rbx + PROGRAM_RESULT]
    mov r14, [rbx + PROGRAM_FAULTS]
    mov rax, [rbx + PROGRAM_VECTOR]
    mov [rip + user_test_vector], rax
    mov rdi, rbx
    call program_free
    check_done text_freed
    mov rax, r12
    mov rdx, r13
    mov rcx, r14
    cmp r15b, 1
    cmc
.Ltest_return:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function user_test_run

.section .bss, "aw", @nobits
    .balign 8
object user_test_vector                         # of the last fault of the program that ran last
    .skip 8
end_object user_test_vector
object user_test_until                          # ns that a program has, 0 = TEST_UNTIL
    .skip 8
end_object user_test_until
.section .text, "ax"

# user_test_keep -- note what is in use
# In:       rdi = counts:ptr (4 quads)
# Out:      none
# Clobbers: rax
# Context:  long mode, in a test
function user_test_keep
    mov rax, [rip + frame_used]
    sub rax, [rip + heap_frames]
    mov [rdi], rax
    mov rax, [rip + stack_count]
    mov [rdi + 8], rax
    mov rax, [rip + space_count]
    mov [rdi + 16], rax
    mov rax, [rip + heap_blocks]
    mov [rdi + 24], rax
    ret
end_function user_test_keep

# user_test_same -- as much is in use as was noted
# In:       rdi = counts:ptr (of user_test_keep)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, in a test
function user_test_same
    call_frame
    push rbx
    push rbx
    sub rsp, 32
    mov rbx, rdi
    mov rdi, rsp
    call user_test_keep
    check text_frames, [rsp], [rbx]
    check text_stacks, [rsp + 8], [rbx + 8]
    check text_spaces, [rsp + 16], [rbx + 16]
    check text_blocks, [rsp + 24], [rbx + 24]
    add rsp, 32
    pop rbx
    pop rbx
    return_frame
end_function user_test_same

# user_test_judge -- run a program between two counts, and hold its end against what it should be
# In:       rdi = image:ptr, rsi = end:ptr, rdx = argument:u64, rcx = stop:u64, r8 = result:u64, r9 = faults:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; a test on the boot CPU
function user_test_judge
    call_frame
    push rbx
    push r12
    push r13
    push r14
    sub rsp, 32
    mov r12, rcx
    mov r13, r8
    mov r14, r9
    mov rbx, rdi
    mov rdi, rsp
    call user_test_keep
    mov rdi, rbx
    call user_test_run
    mov rbx, rdx
    mov r11, rcx
    jc .Ljudge_counts
    check text_stop, rax, r12
    check text_result, rbx, r13
    check text_faults, r11, r14
.Ljudge_counts:
    mov rdi, rsp
    call user_test_same
    add rsp, 32
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function user_test_judge

# user_test_warm -- let what is made once be made: the overhead of the scheduler, the background thread's SSE state
# In:       none
# Out:      cf = this CPU has no scheduler
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; a test on the boot CPU
function user_test_warm
    cmp qword ptr gs:[PERCPU_CURRENT], 1
    jb .Lwarm_return
    call_frame
    lea rdi, [rip + image_exit]
    lea rsi, [rip + image_exit_end]
    xor edx, edx
    call user_test_run
    clc
    pop rbp
.Lwarm_return:
    ret
end_function user_test_warm

user_image image_exit
    mov edi, TEST_CODE
    user_call EXIT
    ud2                                         # nobody comes back from there
user_image_end image_exit

# test_user_exit -- a program runs, ends with its code, and nothing of it is left
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_exit
    user_test_begin
    user_test image_exit, 0, STOP_EXIT, TEST_CODE, 0
    user_test_end
end_function test_user_exit
ktap_test test_user_exit, "user_program_runs_and_ends"

# at the entry: the argument, and nothing of the kernel's; behind a call: all as before but rax, rdx, rcx and r11
user_image image_registers
    mov r12, rsp
    test r12b, 15
    user_test_expect z, 1
    cmp rdi, 7
    user_test_expect e, 2
    mov rax, rbx
    or rax, rcx
    or rax, rdx
    or rax, rsi
    or rax, rbp
    or rax, r8
    or rax, r9
    or rax, r10
    or rax, r11
    or rax, r13
    or rax, r14
    or rax, r15
    user_test_expect z, 3
    pushfq
    pop rax
    and eax, RFLAGS_DF | RFLAGS_AC | RFLAGS_NT | RFLAGS_IOPL | RFLAGS_IF
    cmp eax, RFLAGS_IF
    user_test_expect e, 4
    mov rbx, 0x0b0b0b0b0b0b0b0b
    mov rsi, 0x5151515151515151
    mov rdi, 0xd1d1d1d1d1d1d1d1
    mov rbp, 0xb9b9b9b9b9b9b9b9
    mov r8, 0x0808080808080808
    mov r9, 0x0909090909090909
    mov r10, 0x1010101010101010
    mov r13, 0x1313131313131313
    mov r14, 0x1414141414141414
    mov r15, 0x1515151515151515
    push RFLAGS_STATUS | RFLAGS_ID | RFLAGS_AC | RFLAGS_DF | RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    mov eax, SYSCALL_YIELD
    syscall
.Lregisters_back:
    pushfq
    pop r11
    cld
    lea rax, [rip + .Lregisters_back]
    cmp rcx, rax
    user_test_expect e, 5
    test rdx, rdx
    user_test_expect z, 6
    cmp rsp, r12
    user_test_expect e, 7
    cmp r11, RFLAGS_STATUS & ~RFLAGS_CF | RFLAGS_ID | RFLAGS_AC | RFLAGS_DF | RFLAGS_IF | RFLAGS_RESERVED1
    user_test_expect e, 8
    mov rax, 0x0b0b0b0b0b0b0b0b
    sub rbx, rax
    mov rax, 0x5151515151515151
    sub rsi, rax
    mov rax, 0xd1d1d1d1d1d1d1d1
    sub rdi, rax
    mov rax, 0xb9b9b9b9b9b9b9b9
    sub rbp, rax
    mov rax, 0x0808080808080808
    sub r8, rax
    mov rax, 0x0909090909090909
    sub r9, rax
    mov rax, 0x1010101010101010
    sub r10, rax
    mov rax, 0x1313131313131313
    sub r13, rax
    mov rax, 0x1414141414141414
    sub r14, rax
    mov rax, 0x1515151515151515
    sub r15, rax
    or rbx, rsi
    or rbx, rdi
    or rbx, rbp
    or rbx, r8
    or rbx, r9
    or rbx, r10
    or rbx, r13
    or rbx, r14
    or rbx, r15
    user_test_expect z, 9
    push RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    mov edi, TEST_CODE
    user_call EXIT
user_image_end image_registers

# test_user_registers -- what a thread begins with, and what a system call leaves alone
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_registers
    user_test_begin
    user_test image_registers, 7, STOP_EXIT, TEST_CODE, 0
    user_test_end
end_function test_user_registers
ktap_test test_user_registers, "user_registers_survive_a_call"
