# Purpose:  measures the TSC, and what else counts, against a timer of known rate: HPET, else PM timer, else 8254.
# Mode:     64-bit long mode
# Exports:  calibrate_tsc calibrate_note_trouble calibrate_sample calibrate_rate calibrate_watch
# Invariants: no timer is waited for: one that does not change within STUCK_POLLS reads, or whose window does not end
#           within WINDOW_POLLS, is given up, said, and the next one asked. A rate that no machine has is not believed.
#           A count and its TSC are read in one bracket, the narrowest of several: what came in between (a host that took
#           the CPU away) does not count.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "acpi.inc"
.include "clock.inc"

.set STUCK_POLLS, 1 << 14
.set WINDOW_POLLS, 1 << 20
.set BRACKETS, 8                                # of which the narrowest counts
.set WINDOW_FINE, 1000000000000                 # fs: a millisecond
.set WINDOW_COARSE, 4000000000000               # for timers of about a microsecond

# what calibrate_sample fills
.set SAMPLE_TSC, 0x00
.set SAMPLE_COUNT, 0x08
.set SAMPLE_SIZE, 0x10

# a bit of calibrate_trouble for each row of clock_references, the same shifted for what is wrong with it
.set TROUBLE_STUCK_SHIFT, 0
.set TROUBLE_WRONG_SHIFT, 8
.set TROUBLE_REFUSED_SHIFT, 16

.section .rodata, "a"
text_hpet:      .asciz "hpet"
text_pm_timer:  .asciz "pm-timer"
text_pit:       .asciz "pit"
text_stuck:     .asciz "stuck"
text_wrong:     .asciz "wrong"
text_refused:   .asciz "refused"                # firmware names what cannot be one
    .balign 8
clock_references:
    .quad text_hpet, hpet_open, hpet_read, 0xffffffff, WINDOW_FINE
    .quad text_pm_timer, pm_timer_open, pm_timer_read, PM_TIMER_MASK, WINDOW_COARSE
    .quad text_pit, pit_open, pit_read, PIT_MASK, WINDOW_COARSE
clock_references_end:

.section .text, "ax"

# calibrate_tsc -- the rate of the TSC by the first reference that can be believed
# In:       none
# Out:      rax = hz:u64 (0 where there is none), rdx = name:asciz (of the reference)
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, after the units paging, acpi and power
function calibrate_tsc
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov dword ptr [rip + calibrate_trouble], 0
    lea rbx, [rip + clock_references]
    mov r12d, 1                                 # the row's bit
.Ltsc_next:
    lea rax, [rip + clock_references_end]
    cmp rbx, rax
    jae .Ltsc_none
    call [rbx + REFERENCE_OPEN]
    jc .Ltsc_absent
    mov rdi, rbx
    mov rsi, rax
    call calibrate_watch
    mov ecx, r12d
    jc .Ltsc_stuck
    test rax, rax
    jnz .Ltsc_found
    shl ecx, TROUBLE_WRONG_SHIFT
.Ltsc_stuck:
    or [rip + calibrate_trouble], ecx
.Ltsc_advance:
    add rbx, REFERENCE_SIZE
    shl r12d, 1
    jmp .Ltsc_next
.Ltsc_absent:
    mov ecx, r12d
    shl ecx, TROUBLE_REFUSED_SHIFT
    cmp eax, ERROR_MALFORMED
    je .Ltsc_stuck
    jmp .Ltsc_advance
.Ltsc_found:
    mov rdx, [rbx + REFERENCE_NAME]
.Ltsc_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Ltsc_none:
    xor eax, eax
    xor edx, edx
    jmp .Ltsc_return
end_function calibrate_tsc

# calibrate_watch -- watch a reference for its window, and the TSC and the local APIC's timer with it
# In:       rdi = reference:ptr (REFERENCE_*), rsi = period:u64 (fs)
# Out:      rax = hz:u64 (of the TSC; 0 = one that no machine has), cf = the reference is stuck
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off
function calibrate_watch
    call_frame
    push rbx
    push r12
    push r13
    push r14
    sub rsp, SAMPLE_SIZE * 2
    mov rbx, rdi
    mov r12, rsi
    mov rax, [rbx + REFERENCE_WINDOW]
    xor edx, edx
    div r12
    mov r13, rax                                # counts of the window
    call timer_calibrate_begin
    mov rdi, rsp
    mov rsi, [rbx + REFERENCE_READ]
    call calibrate_sample
    mov rdi, rbx
    mov rsi, [rsp + SAMPLE_COUNT]
    mov rdx, r13
    call calibrate_wait
    jc .Lwatch_return
    lea rdi, [rsp + SAMPLE_SIZE]
    mov rsi, [rbx + REFERENCE_READ]
    call calibrate_sample
    mov rcx, [rsp + SAMPLE_SIZE + SAMPLE_COUNT]
    sub rcx, [rsp + SAMPLE_COUNT]
    and rcx, [rbx + REFERENCE_MASK]
    mov rdi, [rsp + SAMPLE_SIZE + SAMPLE_TSC]
    sub rdi, [rsp + SAMPLE_TSC]
    mov rsi, rcx
    mov rdx, r12
    call calibrate_rate
    jc .Lwatch_wrong
    mov rdi, rax
    call timer_calibrate_end                    # keeps rdi
    mov rax, rdi
    clc
.Lwatch_return:
    lea rsp, [rsp + SAMPLE_SIZE * 2]            # cf stays
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lwatch_wrong:
    xor eax, eax                                # cf is clear
    jmp .Lwatch_return
end_function calibrate_watch

# calibrate_wait -- wait until a reference has counted so far, but not for ever
# In:       rdi = reference:ptr, rsi = first:u64 (count), rdx = counts:u64
# Out:      cf = it is stuck, or too slow to be what it says
# Clobbers: rax, rcx, r8, r9, r10, r11
# Context:  long mode, interrupts off
local_function calibrate_wait
    call_frame
    push rbx
    push r12
    mov ecx, WINDOW_POLLS
    mov r8, rsi                                 # the count before
    mov r9d, STUCK_POLLS
    mov r10, [rdi + REFERENCE_READ]
    mov r11, [rdi + REFERENCE_MASK]
.Lwait_poll:
    call r10
    mov rbx, rax
    sub rbx, rsi
    and rbx, r11
    cmp rbx, rdx
    jae .Lwait_done                             # cf is clear
    cmp rax, r8
    mov r8, rax
    je .Lwait_same
    mov r9d, STUCK_POLLS
.Lwait_same:
    dec r9d
    jz .Lwait_stuck
    dec ecx
    jnz .Lwait_poll
.Lwait_stuck:
    stc
.Lwait_done:
    pop r12
    pop rbx
    return_frame
end_function calibrate_wait

# calibrate_sample -- a count and the TSC at the same moment: the narrowest of BRACKETS
# In:       rdi = sample:ptr (SAMPLE_*), rsi = read:ptr (a routine: Out rax = count, changes nothing else)
# Out:      none
# Clobbers: rax, rcx, rdx, r8, r9, r10, r11
# Context:  long mode, interrupts off
function calibrate_sample
    call_frame
    push rbx
    push r12
    mov ecx, BRACKETS
    mov r11, -1                                 # the narrowest so far
.Lsample_next:
    rdtsc
    shl rdx, 32
    lea r8, [rdx + rax]
    call rsi
    mov r9, rax
    rdtsc
    shl rdx, 32
    lea r10, [rdx + rax]
    sub r10, r8                                 # width
    cmp r10, r11
    jae .Lsample_wider
    mov r11, r10
    shr r10, 1
    add r10, r8                                 # the middle
    mov [rdi + SAMPLE_TSC], r10
    mov [rdi + SAMPLE_COUNT], r9
.Lsample_wider:
    dec ecx
    jnz .Lsample_next
    pop r12
    pop rbx
    return_frame
end_function calibrate_sample

# calibrate_rate -- ticks per second of what was watched
# In:       rdi = ticks:u64 (of it), rsi = counts:u64 (of the reference meanwhile), rdx = period:u64 (fs of a count)
# Out:      rax = hz:u64[0..20000000000], cf = a rate that no machine has
# Clobbers: rcx, rdx
# Context:  long mode, any IF
function calibrate_rate
    mov rax, rsi
    mul rdx                                     # femtoseconds that passed
    jc .Lrate_wrong                             # beyond 5 hours
    mov rcx, rax
    mov rax, FS_PER_SECOND
    mul rdi
    cmp rdx, rcx
    jae .Lrate_wrong                            # no time passed, or the quotient would not fit
    div rcx
    cmp rax, TSC_HZ_MIN
    jb .Lrate_return                            # cf is set
    mov rcx, TSC_HZ_MAX
    cmp rcx, rax
.Lrate_return:
    ret
.Lrate_wrong:
    stc
    ret
end_function calibrate_rate

# calibrate_note_trouble -- leave a note for each reference that could not be believed
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set, in the boot unit, after calibrate_tsc
function calibrate_note_trouble
    call_frame
    push rbx
    push r12
    lea rbx, [rip + clock_references]
    mov r12d, [rip + calibrate_trouble]
.Ltrouble_next:
    lea rax, [rip + clock_references_end]
    cmp rbx, rax
    jae .Ltrouble_done
    mov rdi, [rbx + REFERENCE_NAME]
    lea rsi, [rip + text_stuck]
    test r12d, 1 << TROUBLE_STUCK_SHIFT
    jnz .Ltrouble_note
    lea rsi, [rip + text_wrong]
    test r12d, 1 << TROUBLE_WRONG_SHIFT
    jnz .Ltrouble_note
    lea rsi, [rip + text_refused]
    test r12d, 1 << TROUBLE_REFUSED_SHIFT
    jz .Ltrouble_advance
.Ltrouble_note:
    call unit_note_text
.Ltrouble_advance:
    shr r12d, 1
    add rbx, REFERENCE_SIZE
    jmp .Ltrouble_next
.Ltrouble_done:
    pop r12
    pop rbx
    return_frame
end_function calibrate_note_trouble

.section .bss, "aw", @nobits
    .balign 4
calibrate_trouble:
    .skip 4
