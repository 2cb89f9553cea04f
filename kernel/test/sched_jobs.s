# Purpose:  what the tests of the scheduler share: threads to make and to wait for, and the marks that their jobs leave.
# Mode:     64-bit long mode
# Exports:  sched_test_make sched_test_until_ended sched_test_begin sched_test_trail_job
#           sched_test_forget_section; sched_test_spec sched_test_threads sched_test_trail sched_test_runs
#           sched_test_go
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "percpu.inc"
.include "sched.inc"
.include "sched_test.inc"

ktap_text name_test, "test"
ktap_text text_ended, "did not end"
ktap_text text_freed, "given back"

.section .bss, "aw", @nobits
    .balign 8
object sched_test_spec                          # SPEC_* of the thread that is made next
    .skip SPEC_SIZE
end_object sched_test_spec
object sched_test_threads
    .skip 16
end_object sched_test_threads
object sched_test_trail                         # a byte for each job, in the order in which they came
    .skip 8
end_object sched_test_trail
object sched_test_runs                          # jobs that ran
    .skip 8
end_object sched_test_runs
object sched_test_go                            # what a job wants known
    .skip 8
end_object sched_test_go

.section .text, "ax"

# sched_test_make -- create a thread
# In:       rdi = entry:ptr, rsi = argument:u64, rdx = window:u64, rcx = first:u64
# Out:      rax = thread:ptr or error code, rdx = ppm:u64 (where it is too much), cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
function sched_test_make
    call_frame
    lea rax, [rip + sched_test_spec]
    mov [rax + SPEC_ENTRY], rdi
    lea rdi, [rip + name_test]
    mov [rax + SPEC_NAME], rdi
    mov [rax + SPEC_ARGUMENT], rsi
    mov qword ptr [rax + SPEC_PERIOD], TEST_PERIOD
    mov qword ptr [rax + SPEC_BUDGET], TEST_BUDGET
    mov [rax + SPEC_WINDOW], rdx
    mov [rax + SPEC_FIRST], rcx
    mov rdi, rax
    call sched_create
    return_frame
end_function sched_test_make

# sched_test_until_ended -- wait until a thread has ended, and give it back
# In:       rdi = thread:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set; a test
function sched_test_until_ended
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
end_function sched_test_until_ended

# sched_test_begin -- what each test begins with
# In:       none
# Out:      cf = this CPU has no scheduler
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
function sched_test_begin
    mov qword ptr [rip + sched_test_trail], 0
    mov qword ptr [rip + sched_test_runs], 0
    mov qword ptr [rip + sched_test_go], 0
    cmp qword ptr gs:[PERCPU_CURRENT], 1        # cf: 0
    ret
end_function sched_test_begin

# sched_test_trail_job -- a job that leaves its number, and ends
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, in a thread
function sched_test_trail_job
    mov rax, [rip + sched_test_trail]
    shl rax, 8
    or rax, rdi
    mov [rip + sched_test_trail], rax
    inc qword ptr [rip + sched_test_runs]
    ret
end_function sched_test_trail_job

# sched_test_forget_section -- the longest section is as it was: one of a test's is none of the kernel's
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; a test, behind its section
function sched_test_forget_section
    mov qword ptr gs:[PERCPU_SECTION_WORST], 0
    mov qword ptr gs:[PERCPU_SECTION_OVER], 0
    ret
end_function sched_test_forget_section
