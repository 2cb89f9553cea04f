# Purpose:  the local APIC: its registers in either mode, how a CPU switches its own on, the boot unit `lapic`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.4 (local APIC), 10.5 (local vector table), 10.8.5 (EOI), 10.12 (x2APIC)
# Exports:  lapic_init lapic_enable lapic_read lapic_write lapic_end lapic_is_serving lapic_base lapic_x2apic
# Invariants: x2APIC where CPUID has it, on all CPUs alike, else the registers in memory, at one address for all.
#           After a reset LINT1 is masked, and firmware for virtual machines may leave it so: an NMI would then be lost,
#           and a kernel that hangs could not be asked where. The boot CPU alone takes it; LINT0 (8259) stays masked.
#
#   register                offset (xAPIC)   MSR (x2APIC)
#   ID                      0x020, 31:24     0x802
#   spurious vector, SVR    0x0f0            0x80f      8 = enabled, 7:0 = vector
#   local vector, LINT1     0x360            0x836      10:8 = delivery (4 = NMI), 16 = masked
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "apic.inc"

.section .rodata, "a"
note_id:        .asciz "id"
note_mode:      .asciz "mode"
note_reason:    .asciz "reason"
text_xapic:     .asciz "xapic"
text_x2apic:    .asciz "x2apic"
text_absent:    .asciz "absent"
text_off:       .asciz "switched-off"
text_unmapped:  .asciz "registers-not-mapped"

.section .text, "ax"

# lapic_init -- boot unit: the boot CPU's local APIC, and its id
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no local APIC)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after the paging unit
function lapic_init
    call_frame
    call lapic_enable
    mov rsi, rax
    lea rdi, [rip + note_reason]
    jc .Llapic_skip
    lea rdi, [rip + note_mode]
    call unit_note_text
    lea rdi, [rip + note_id]
    mov esi, dword ptr gs:[PERCPU_APIC_ID]
    call unit_note
    mov eax, BOOT_RESULT_OK
    return_frame
.Llapic_skip:
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    return_frame
end_function lapic_init

# lapic_enable -- switch on the local APIC of the CPU that runs
# In:       none
# Out:      rax = text:asciz (its mode, or why there is none), cf = there is none
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after the paging unit; every CPU once, the boot CPU first
function lapic_enable
    call_frame
    push rbx
    push r12
    mov eax, CPUID_LEAF_FEATURES
    cpuid
    mov r12d, ecx
    lea rsi, [rip + text_absent]
    test edx, CPUID_1_EDX_APIC
    jz .Lenable_none
    mov ecx, MSR_APIC_BASE
    rdmsr
    lea rsi, [rip + text_off]
    test eax, APIC_BASE_ENABLED
    jz .Lenable_none
    test eax, APIC_BASE_X2APIC
    jnz .Lenable_x2apic
    test r12d, CPUID_1_ECX_X2APIC
    jnz .Lenable_switch
    shl rdx, 32
    lea rdi, [rdx + rax]
    mov rax, APIC_BASE_ADDRESS_MASK
    and rdi, rax
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map                               # on a further CPU: the same again, which is no error
    lea rsi, [rip + text_unmapped]
    jc .Lenable_none
    mov [rip + lapic_base], rax
    mov ebx, [rax + LAPIC_ID]
    shr ebx, LAPIC_ID_SHIFT
    lea r12, [rip + text_xapic]
    jmp .Lenable_known
.Lenable_switch:
    or eax, APIC_BASE_X2APIC
    wrmsr
.Lenable_x2apic:
    mov byte ptr [rip + lapic_x2apic], 1
    mov edi, LAPIC_ID
    call lapic_read
    mov ebx, eax
    lea r12, [rip + text_x2apic]
.Lenable_known:
    mov dword ptr gs:[PERCPU_APIC_ID], ebx
    call lapic_set_vectors
    mov rax, r12
    clc
.Lenable_return:
    pop r12
    pop rbx
    return_frame
.Lenable_none:
    mov rax, rsi
    stc
    jmp .Lenable_return
end_function lapic_enable

# lapic_set_vectors -- what the local interrupts of this CPU do: NMIs on the boot CPU, errors counted, the rest masked
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set
local_function lapic_set_vectors
    call_frame
    mov edi, LAPIC_SVR                          # first: while it is off, the vectors below cannot be unmasked
    mov esi, LAPIC_SVR_ENABLED | VECTOR_LAPIC_SPURIOUS
    call lapic_write
    mov edi, LAPIC_TPR
    xor esi, esi
    call lapic_write
    mov edi, LAPIC_LVT_TIMER
    mov esi, LAPIC_LVT_MASKED | VECTOR_TIMER
    call lapic_write
    mov edi, LAPIC_LVT_LINT0
    mov esi, LAPIC_LVT_MASKED
    call lapic_write
    mov edi, LAPIC_LVT_LINT1
    mov esi, LAPIC_DELIVERY_NMI
    mov eax, LAPIC_DELIVERY_NMI | LAPIC_LVT_MASKED
    cmp dword ptr gs:[PERCPU_ID], 0
    cmovne esi, eax
    call lapic_write
    mov edi, LAPIC_LVT_ERROR
    mov esi, VECTOR_LAPIC_ERROR
    call lapic_write
    mov edi, LAPIC_ESR                          # twice: a write latches what came before, the next one clears it
    xor esi, esi
    call lapic_write
    call lapic_write
    return_frame
end_function lapic_set_vectors

# lapic_read -- read a register of the local APIC
# In:       edi = offset:u32[0..0x3f0]
# Out:      eax = value:u32 (0 where there is no local APIC)
# Clobbers: rcx, rdx
# Context:  long mode, any IF, after lapic_enable
function lapic_read
    xor eax, eax
    cmp byte ptr [rip + lapic_x2apic], 0
    jne .Lread_msr
    mov rcx, [rip + lapic_base]
    test rcx, rcx
    jz .Lread_return
    mov eax, [rcx + rdi]
.Lread_return:
    ret
.Lread_msr:
    mov ecx, edi
    shr ecx, LAPIC_MSR_SHIFT
    add ecx, LAPIC_MSR
    rdmsr
    ret
end_function lapic_read

# lapic_write -- write a register of the local APIC; nothing happens where there is none
# In:       edi = offset:u32[0..0x3f0], esi = value:u32
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, any IF, after lapic_enable
function lapic_write
    cmp byte ptr [rip + lapic_x2apic], 0
    jne .Lwrite_msr
    mov rcx, [rip + lapic_base]
    test rcx, rcx
    jz .Lwrite_return
    mov [rcx + rdi], esi
.Lwrite_return:
    ret
.Lwrite_msr:
    mov ecx, edi
    shr ecx, LAPIC_MSR_SHIFT
    add ecx, LAPIC_MSR
    mov eax, esi
    xor edx, edx
    wrmsr
    ret
end_function lapic_write

# lapic_end -- end of interrupt: the highest one that is being served is done
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, in a handler; once for each interrupt that the local APIC delivered
function lapic_end
    mov edi, LAPIC_EOI
    xor esi, esi
    jmp lapic_write
end_function lapic_end

# lapic_is_serving -- whether the local APIC holds a vector for being served: it awaits an end of interrupt
# In:       edi = vector:u32[0..255]
# Out:      cf = it does
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off
function lapic_is_serving
    call_frame
    mov esi, edi
    shr edi, 5                                  # 32 vectors in a register
    shl edi, LAPIC_MSR_SHIFT
    add edi, LAPIC_ISR
    call lapic_read
    bt eax, esi                                 # modulo 32
    return_frame
end_function lapic_is_serving

.section .bss, "aw", @nobits
    .balign 8
object lapic_base                               # where the registers are mapped, 0 = x2APIC, or none
    .skip 8
end_object lapic_base
object lapic_x2apic                             # u8: 1 = by MSRs
    .skip 1
end_object lapic_x2apic
