# Purpose:  tests of the clock and of the one-shot timer.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.5.4 (APIC timer)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "registers.inc"
.include "percpu.inc"
.include "apic.inc"
.include "clock.inc"

.set CLOCK_READS, 1000
.set TEST_DELAY, 20000                          # ns
.set TEST_AHEAD, 200000                         # ns
.set NOT_ARMED, -1

ktap_text text_no_timer, "no timer"
ktap_text text_back, "went back"
ktap_text text_delay, "delay too short"
ktap_text text_came, "did not come"
ktap_text text_soon, "came before its moment"
ktap_text text_armed, "armed"
ktap_text text_past, "past moment did not come"
ktap_text text_cancelled, "came though cancelled"

.section .bss, "aw", @nobits
    .balign 8
timer_came:                                     # how often
    .skip 8
timer_moment:                                   # of the clock, when it came
    .skip 8

.section .text, "ax"

# test_clock -- the clock does not go back, and a delay lasts as long as it should
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_clock
    call_frame
    push rbx
    push r12
    mov ebx, CLOCK_READS
    call clock_ns
    mov r12, rax
.Lclock_read:
    call clock_ns
    cmp rax, r12
    jb .Lclock_back
    mov r12, rax
    dec ebx
    jnz .Lclock_read
.Lclock_back:
    check text_back, rbx, 0
    call clock_ns
    mov r12, rax
    mov edi, TEST_DELAY
    call clock_delay
    call clock_ns
    sub rax, r12
    cmp rax, TEST_DELAY
    check_cf text_delay, 0
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_clock
ktap_test test_clock, "time_clock"

# note_moment -- what the timer calls: when it came
# In:       rdi = frame:ptr
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, interrupts off; a handler
local_function note_moment
    call_frame
    call clock_ns
    mov [rip + timer_moment], rax
    inc qword ptr [rip + timer_came]
    return_frame
end_function note_moment

# test_timer -- the timer comes once, not before its moment; at once for a moment that is past; not when cancelled
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_timer
    call_frame
    push rbx
    push r12
    mov edi, VECTOR_TIMER
    shl edi, HANDLER_SHIFT
    lea rax, [rip + interrupt_rows]
    cmp qword ptr [rax + rdi], 0
    je .Ltimer_skip
    lea rdi, [rip + note_moment]
    call timer_set_handler
    mov qword ptr [rip + timer_came], 0
    call clock_ns
    lea r12, [rax + TEST_AHEAD]
    mov rdi, r12
    call timer_arm
    lea rdi, [rip + timer_came]
    xor esi, esi
    call interrupt_test_wait
    check_cf text_came, 0
    cmp qword ptr [rip + timer_moment], r12
    check_cf text_soon, 0
    check text_armed, gs:[PERCPU_DEADLINE], NOT_ARMED
    mov rdi, r12                                # past by now
    call timer_arm
    lea rdi, [rip + timer_came]
    mov esi, 1
    call interrupt_test_wait
    check_cf text_past, 0
    call clock_ns
    lea rdi, [rax + TEST_AHEAD]
    call timer_arm
    call timer_cancel
    mov edi, TEST_AHEAD * 2
    sti
    call clock_delay
    cli
    check text_cancelled, [rip + timer_came], 2
    xor edi, edi
    call timer_set_handler
    mov eax, KTAP_DONE
.Ltimer_leave:
    pop r12
    pop rbx
    return_frame
.Ltimer_skip:
    lea rdi, [rip + text_no_timer]
    call ktap_skip
    jmp .Ltimer_leave
end_function test_timer
ktap_test test_timer, "time_one_shot"
