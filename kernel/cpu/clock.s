# Purpose:  time in nanoseconds from the time stamp counter: scale, clock, delay; the boot unit `clock`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 17.17 (TSC); vol. 2, CPUID leaves 0x15 and 0x16
# Exports:  clock_init clock_ns clock_ticks_to_ns clock_set clock_delay clock_from_cpuid clock_choose clock_hz
#           clock_scale clock_base
# Invariants: nanoseconds = ticks * clock_scale >> 32, over 128 bits: no overflow for five centuries. On one CPU the
#           clock never goes back. Before the unit has run, and where nothing could tell the rate, one tick counts as one
#           nanosecond: delays are finite then, and the unit has said that the rate is not known.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "clock.inc"

.set CLOCK_AGREES_SHIFT, 6                      # CPUID and measurement agree when they differ by less than 1/64

.section .rodata, "a"
note_source:    .asciz "source"
note_tsc:       .asciz "tsc_khz"
note_cpuid:     .asciz "cpuid"
text_agrees:    .asciz "agrees"
text_differs:   .asciz "differs"
text_cpuid:     .asciz "cpuid"
text_none:      .asciz "none"

.section .text, "ax"

# clock_init -- boot unit: learn how fast the TSC runs
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; fail where nothing tells the rate)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, after the units paging, acpi, power and lapic; boot unit
function clock_init
    call_frame
    push rbx
    push r12
    push r13
    push r14
    call calibrate_tsc                          # rax = rate, rdx = name
    mov r12, rax
    mov r13, rdx
    call clock_from_cpuid
    mov rdi, r12
    mov rsi, rax
    mov edx, ecx
    call clock_choose
    mov rbx, rax
    mov r14, rdx                                # what to say of CPUID, or 0
    test r12, r12
    lea rax, [rip + text_cpuid]
    cmovz r13, rax
    test rbx, rbx
    jz .Linit_unknown
    mov rdi, rbx
    call clock_set
    lea rdi, [rip + note_source]
    mov rsi, r13
    call unit_note_text
    lea rdi, [rip + note_tsc]
    mov rax, rbx
    xor edx, edx
    mov ecx, HZ_PER_KHZ
    div rcx
    mov rsi, rax
    call unit_note_dec
    mov ebx, BOOT_RESULT_OK
    lea rdi, [rip + note_cpuid]
    mov rsi, r14
    test rsi, rsi
    jz .Linit_trouble
    call unit_note_text
    jmp .Linit_trouble
.Linit_unknown:
    lea rdi, [rip + note_source]
    lea rsi, [rip + text_none]
    call unit_note_text
    mov ebx, BOOT_RESULT_FAIL
.Linit_trouble:
    call calibrate_note_trouble
    mov eax, ebx
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function clock_init

# clock_from_cpuid -- the rate of the TSC as CPUID has it
# In:       none
# Out:      rax = hz:u64 (0 where it does not say, or says nonsense), ecx = exact:u32[0..1] (0: a nominal rate)
# Clobbers: rdx
# Context:  long mode, any IF
function clock_from_cpuid
    push rbx
    push rsi
    xor eax, eax
    cpuid
    mov esi, eax                                # the last leaf
    cmp esi, CPUID_LEAF_TSC
    jb .Lcpuid_none
    mov eax, CPUID_LEAF_TSC
    xor ecx, ecx
    cpuid
    test eax, eax
    jz .Lcpuid_nominal
    test ecx, ecx
    jz .Lcpuid_nominal
    mov edx, eax
    mov eax, ecx
    mov ecx, edx                                # denominator
    mul rbx                                     # crystal * numerator: 64 bits hold it
    div rcx
    mov ecx, 1
    jmp .Lcpuid_range
.Lcpuid_nominal:
    cmp esi, CPUID_LEAF_FREQUENCY
    jb .Lcpuid_none
    mov eax, CPUID_LEAF_FREQUENCY
    xor ecx, ecx
    cpuid
    movzx eax, ax
    imul rax, rax, HZ_PER_MHZ
    xor ecx, ecx
.Lcpuid_range:
    cmp rax, TSC_HZ_MIN
    jb .Lcpuid_none
    mov rdx, TSC_HZ_MAX
    cmp rax, rdx
    jbe .Lcpuid_return
.Lcpuid_none:
    xor eax, eax
    xor ecx, ecx
.Lcpuid_return:
    pop rsi
    pop rbx
    ret
end_function clock_from_cpuid

# clock_choose -- the rate to believe: an exact one of CPUID that the measurement confirms, else the measurement
# In:       rdi = measured:u64 (0 = not), rsi = cpuid:u64 (0 = not), edx = exact:u32[0..1]
# Out:      rax = hz:u64 (0 where there is neither), rdx = text:asciz (what to say of CPUID; 0 = nothing)
# Clobbers: rcx
# Context:  long mode, any IF
function clock_choose
    mov rax, rdi
    xor ecx, ecx
    test rsi, rsi
    jz .Lchoose_return
    test rdi, rdi
    jz .Lchoose_cpuid
    mov rcx, rdi
    sub rcx, rsi
    jae .Lchoose_distance
    neg rcx
.Lchoose_distance:
    mov rax, rdi
    shr rax, CLOCK_AGREES_SHIFT
    cmp rcx, rax
    lea rcx, [rip + text_differs]
    mov rax, rdi
    jae .Lchoose_return
    lea rcx, [rip + text_agrees]
    test edx, edx
    jz .Lchoose_return
    mov rax, rsi
.Lchoose_return:
    mov rdx, rcx
    ret
.Lchoose_cpuid:
    mov rax, rsi
    xor edx, edx
    ret
end_function clock_choose

# clock_set -- set the rate of the TSC; the clock goes on from where it stands
# In:       rdi = hz:u64[10000000..20000000000]
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off, on the boot CPU alone
function clock_set
    mov [rip + clock_hz], rdi
    mov rax, NS_PER_SECOND << CLOCK_SHIFT
    xor edx, edx
    div rdi
    mov rcx, rax
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [rip + clock_base], rax
    mov [rip + clock_scale], rcx
    ret
end_function clock_set

# clock_ns -- nanoseconds since the clock was set
# In:       none
# Out:      rax = ns:u64
# Clobbers: rdx
# Context:  long mode, any IF, any CPU
function clock_ns
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [rip + clock_base]
    mul qword ptr [rip + clock_scale]
    shrd rax, rdx, CLOCK_SHIFT
    ret
end_function clock_ns

# clock_ticks_to_ns -- a number of ticks of the TSC in nanoseconds
# In:       rdi = ticks:u64
# Out:      rax = ns:u64
# Clobbers: rdx
# Context:  long mode, any IF, any CPU
function clock_ticks_to_ns
    mov rax, rdi
    mul qword ptr [rip + clock_scale]
    shrd rax, rdx, CLOCK_SHIFT
    ret
end_function clock_ticks_to_ns

# clock_delay -- let time pass
# In:       rdi = ns:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF, any CPU; spins
function clock_delay
    call_frame
    push rdi
    push rbx
    call clock_ns
    mov rbx, rax
.Ldelay_turn:
    pause
    call clock_ns
    sub rax, rbx
    cmp rax, rdi
    jb .Ldelay_turn
    pop rbx
    pop rdi
    return_frame
end_function clock_delay

.section .data, "aw"
    .balign 8
object clock_hz                                 # of the TSC, 0 = not known
    .quad 0
end_object clock_hz
object clock_base                               # TSC at nanosecond 0
    .quad 0
end_object clock_base
object clock_scale                              # nanoseconds of a tick, << CLOCK_SHIFT
    .quad 1 << CLOCK_SHIFT
end_object clock_scale
