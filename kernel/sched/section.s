# Purpose:  sections without preemption: how threads of one CPU share what they share.
# Mode:     64-bit long mode
# Spec:     Baker 1991, section 4; Gai, Lipari, Di Natale 2001 (MSRP: the same with spin locks between CPUs)
# Exports:  sched_section_begin sched_section_end sched_section_declare
# Invariants: within a section nothing of the CPU but interrupt handlers runs besides; so a thread waits for a section
#           of another at most once a job, before it starts, and no priority is inverted any longer than that. Sections
#           nest and do not wait. The longest is declared, counts in admission, and is measured.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"

.section .text, "ax"

# sched_section_declare -- say how long sections of this CPU may be, where that is longer than what was said before
# In:       rdi = ns:u64
# Out:      rax = total:u64 (ppm, what the CPU has to do with it), cf = refused: threads that were admitted could miss
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set
function sched_section_declare
    call_frame
    push rbx
    push rbx
    mov rbx, qword ptr gs:[PERCPU_SECTION_MOST]
    cmp rdi, rbx
    cmova rbx, rdi
    mov rdi, -1                                 # no other window
    call sched_shortest_window
    mov rcx, rax
    mov rdi, qword ptr gs:[PERCPU_LOAD]
    xor esi, esi
    mov rdx, rbx
    call admit_total
    jc .Ldeclare_return
    mov qword ptr gs:[PERCPU_SECTION_MOST], rbx
.Ldeclare_return:
    pop rbx
    pop rbx
    return_frame
end_function sched_section_declare

# sched_section_begin -- be not preempted until sched_section_end
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF, GS base set, in a thread
function sched_section_begin
    inc qword ptr gs:[PERCPU_SECTION]           # one instruction: an interrupt comes before it or behind it
    cmp qword ptr gs:[PERCPU_SECTION], 1
    jne .Lbegin_return
    call_frame
    call clock_ns
    mov qword ptr gs:[PERCPU_SECTION_BEGAN], rax
    pop rbp
.Lbegin_return:
    ret
end_function sched_section_begin

# sched_section_end -- end a section; what the timer came for meanwhile is decided now
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set, in the thread that began it
function sched_section_end
    call_frame
    pushfq
    push rax
    cli
    cmp qword ptr gs:[PERCPU_SECTION], 1
    ja .Lend_inner
    call clock_ns
    sub rax, qword ptr gs:[PERCPU_SECTION_BEGAN]
    cmp rax, qword ptr gs:[PERCPU_SECTION_WORST]
    jbe .Lend_known
    mov qword ptr gs:[PERCPU_SECTION_WORST], rax
.Lend_known:
    cmp qword ptr gs:[PERCPU_SECTION_MOST], rax
    adc qword ptr gs:[PERCPU_SECTION_OVER], 0   # below: longer than declared
    mov qword ptr gs:[PERCPU_SECTION], 0
    cmp qword ptr gs:[PERCPU_RESCHEDULE], 0
    je .Lend_return
    call clock_ns
    mov qword ptr gs:[PERCPU_TICK], rax         # charged to the end of the section
    call sched_preempt
    jmp .Lend_return
.Lend_inner:
    dec qword ptr gs:[PERCPU_SECTION]
.Lend_return:
    pop rax
    popfq
    return_frame
end_function sched_section_end
