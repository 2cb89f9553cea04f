# Purpose:  the one-shot timer of each CPU's local APIC, armed for a moment of the clock; the boot unit `timer`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.5.4 (APIC timer)
# Exports:  timer_init timer_enable timer_arm timer_cancel timer_set_handler timer_interrupt timer_counts
#           timer_calibrate_begin timer_calibrate_end timer_hz timer_scale
# Invariants: what was armed is due once, not before its moment: an interrupt that comes too early (the counter has 32
#           bits, and its rate is known to a thousandth) arms the rest. A moment that is past is due at once.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "apic.inc"
.include "clock.inc"

.set TIMER_COUNT_MAX, 0xffffffff
.set TIMER_NOT_ARMED, -1                        # of PERCPU_DEADLINE

.section .rodata, "a"
note_rate:      .asciz "lapic_khz"
note_reason:    .asciz "reason"
reason_rate:    .asciz "rate-not-known"

.section .text, "ax"

# timer_init -- boot unit: the one-shot timer of the boot CPU
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where the timer's rate could not be measured)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after the units clock, lapic and interrupts; boot unit
function timer_init
    call_frame
    mov rax, [rip + timer_hz]
    test rax, rax
    jz .Linit_skip
    xor edx, edx
    mov ecx, HZ_PER_KHZ
    div rcx
    mov rsi, rax
    lea rdi, [rip + note_rate]
    call unit_note_dec
    mov edi, VECTOR_TIMER
    lea rsi, [rip + timer_interrupt]
    xor edx, edx
    call interrupt_install
    call timer_enable
    mov eax, BOOT_RESULT_OK
    return_frame
.Linit_skip:
    lea rdi, [rip + note_reason]
    lea rsi, [rip + reason_rate]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    return_frame
end_function timer_init

# timer_enable -- let the timer of the CPU that runs raise VECTOR_TIMER; it is not armed
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after lapic_enable on this CPU
function timer_enable
    call_frame
    mov qword ptr gs:[PERCPU_DEADLINE], TIMER_NOT_ARMED
    mov edi, LAPIC_TIMER_DIVIDE
    mov esi, LAPIC_DIVIDE_BY_1
    call lapic_write
    mov edi, LAPIC_TIMER_INITIAL
    xor esi, esi
    call lapic_write
    mov edi, LAPIC_LVT_TIMER
    mov esi, VECTOR_TIMER                       # one-shot: mode 0
    call lapic_write
    return_frame
end_function timer_enable

# timer_arm -- be interrupted at a moment of the clock, instead of the one armed before
# In:       rdi = deadline:u64 (clock_ns)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set, after timer_enable on this CPU
function timer_arm
    call_frame
    mov qword ptr gs:[PERCPU_DEADLINE], rdi
    call clock_ns
    sub rdi, rax
    jae .Larm_ahead
    xor edi, edi                                # past
.Larm_ahead:
    call timer_counts
    mov edi, LAPIC_TIMER_INITIAL
    mov esi, eax
    call lapic_write
    return_frame
end_function timer_arm

# timer_counts -- nanoseconds in counts of the timer, rounded up, at least 1, at most what the counter holds
# In:       rdi = ns:u64
# Out:      eax = counts:u32[1..0xffffffff]
# Clobbers: rdx
# Context:  long mode, any IF
function timer_counts
    mov rax, rdi
    mul qword ptr [rip + timer_scale]
    shrd rax, rdx, CLOCK_SHIFT
    shr rdx, CLOCK_SHIFT
    jnz .Lcounts_most
    mov edx, TIMER_COUNT_MAX
    cmp rax, rdx
    jae .Lcounts_most
    inc eax
    ret
.Lcounts_most:
    mov eax, TIMER_COUNT_MAX
    ret
end_function timer_counts

# timer_cancel -- do not be interrupted
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set, after timer_enable on this CPU; what is on its way already is passed over
function timer_cancel
    call_frame
    mov qword ptr gs:[PERCPU_DEADLINE], TIMER_NOT_ARMED
    mov edi, LAPIC_TIMER_INITIAL
    xor esi, esi
    call lapic_write
    return_frame
end_function timer_cancel

# timer_set_handler -- what is called on a CPU when its moment has come, instead of what was before
# In:       rdi = handler:ptr (In: rdi = frame; as handlers of interrupts; 0 = nothing)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF
function timer_set_handler
    mov [rip + timer_handler], rdi
    ret
end_function timer_set_handler

# timer_interrupt -- the timer's interrupt: whether the moment has come
# In:       rdi = argument:u64, rsi = frame:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set; a handler
function timer_interrupt
    call_frame
    mov rdi, qword ptr gs:[PERCPU_DEADLINE]
    cmp rdi, TIMER_NOT_ARMED
    je .Linterrupt_return                       # cancelled while it was on its way
    call clock_ns
    cmp rax, rdi
    jb .Linterrupt_early
    mov qword ptr gs:[PERCPU_DEADLINE], TIMER_NOT_ARMED
    mov rax, [rip + timer_handler]
    test rax, rax
    jz .Linterrupt_return
    mov rdi, rsi
    call rax
.Linterrupt_return:
    return_frame
.Linterrupt_early:
    inc qword ptr gs:[PERCPU_TIMER_EARLY]
    call timer_arm
    return_frame
end_function timer_interrupt

# timer_read -- how far the timer has counted since timer_calibrate_begin
# In:       none
# Out:      rax = count:u64[0..0xffffffff]
# Clobbers: none
# Context:  long mode, any IF; for calibrate_sample
local_function timer_read
    call_frame
    push rcx
    push rdx
    push rdi
    push rdi
    mov edi, LAPIC_TIMER_CURRENT
    call lapic_read
    not eax                                     # it counts down
    pop rdi
    pop rdi
    pop rdx
    pop rcx
    return_frame
end_function timer_read

# timer_calibrate_begin -- let the timer count down from the top, silently, and note where it stands
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off; harmless without a local APIC
function timer_calibrate_begin
    call_frame
    mov edi, LAPIC_LVT_TIMER
    mov esi, LAPIC_LVT_MASKED | VECTOR_TIMER
    call lapic_write
    mov edi, LAPIC_TIMER_DIVIDE
    mov esi, LAPIC_DIVIDE_BY_1
    call lapic_write
    mov edi, LAPIC_TIMER_INITIAL
    mov esi, TIMER_COUNT_MAX
    call lapic_write
    lea rdi, [rip + timer_first]
    lea rsi, [rip + timer_read]
    call calibrate_sample
    return_frame
end_function timer_calibrate_begin

# timer_calibrate_end -- stop the timer and compute its rate from that of the TSC
# In:       rdi = hz:u64[10000000..20000000000] (of the TSC)
# Out:      none (timer_hz stays 0 where the timer does not count, or at a rate that none has)
# Clobbers: rax, rcx, rdx, rsi, r8, r9, r10, r11
# Context:  long mode, interrupts off, after timer_calibrate_begin
function timer_calibrate_end
    call_frame
    push rdi
    push rbx
    mov rbx, rdi
    mov qword ptr [rip + timer_hz], 0
    lea rdi, [rip + timer_last]
    lea rsi, [rip + timer_read]
    call calibrate_sample
    mov rax, [rip + timer_last + 8]
    sub rax, [rip + timer_first + 8]
    jbe .Lend_return
    mov rcx, [rip + timer_last]
    sub rcx, [rip + timer_first]                # ticks of the TSC meanwhile
    mul rbx
    cmp rdx, rcx
    jae .Lend_return
    div rcx
    cmp rax, HZ_PER_MHZ
    jb .Lend_return
    mov rcx, TSC_HZ_MAX
    cmp rax, rcx
    ja .Lend_return
    mov [rip + timer_hz], rax
    mov rdx, rax
    shr rdx, 32
    shl rax, CLOCK_SHIFT                        # rdx:rax = rate << 32
    mov ecx, NS_PER_SECOND
    div rcx
    mov [rip + timer_scale], rax
.Lend_return:
    mov edi, LAPIC_TIMER_INITIAL
    xor esi, esi
    call lapic_write
    pop rbx
    pop rdi
    return_frame
end_function timer_calibrate_end

.section .bss, "aw", @nobits
    .balign 8
object timer_hz                                 # counts a second, 0 = not known
    .skip 8
end_object timer_hz
object timer_scale                              # counts of a nanosecond, << CLOCK_SHIFT
    .skip 8
end_object timer_scale
timer_handler:
    .skip 8
timer_first:                                    # samples (calibrate.s) of the timer against the TSC
    .skip 16
timer_last:
    .skip 16
