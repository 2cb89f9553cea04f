# Purpose:  the boot unit `lapic`: the local APIC of the boot CPU, as far as that NMIs reach the CPU.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.4 (local APIC), 10.5.1 (local vector table), 10.12 (x2APIC)
# Exports:  lapic_init
# Invariants: after a reset LINT1 is masked, and firmware for virtual machines may leave it so: an NMI would then
#           be lost, and a kernel that hangs could not be asked where.
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

.set CPUID_1_EDX_APIC, 1 << 9
.set APIC_BASE_X2APIC, 1 << 10
.set APIC_BASE_ENABLED, 1 << 11
.set APIC_BASE_ADDRESS_MASK, 0x000ffffffffff000
.set LAPIC_ID, 0x20
.set LAPIC_ID_SHIFT, 24
.set LAPIC_SVR, 0xf0
.set LAPIC_LINT1, 0x360
.set LAPIC_SVR_ENABLED, 1 << 8
.set LAPIC_SPURIOUS_VECTOR, 0xff
.set LAPIC_DELIVERY_NMI, 4 << 8
.set MSR_X2APIC_ID, 0x802
.set MSR_X2APIC_SVR, 0x80f
.set MSR_X2APIC_LINT1, 0x836

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

# lapic_init -- boot unit: learn the CPU's APIC id, let NMIs in
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no local APIC)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after the paging unit
function lapic_init
    call_frame
    push rbx
    push r12
    mov eax, CPUID_LEAF_FEATURES
    cpuid
    lea rsi, [rip + text_absent]
    test edx, CPUID_1_EDX_APIC
    jz .Llapic_skip
    mov ecx, MSR_APIC_BASE
    rdmsr
    lea rsi, [rip + text_off]
    test eax, APIC_BASE_ENABLED
    jz .Llapic_skip
    lea r12, [rip + text_x2apic]
    test eax, APIC_BASE_X2APIC
    jnz .Llapic_x2apic
    lea r12, [rip + text_xapic]
    shl rdx, 32
    lea rdi, [rdx + rax]
    mov rax, APIC_BASE_ADDRESS_MASK
    and rdi, rax
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    lea rsi, [rip + text_unmapped]
    jc .Llapic_skip
    mov ebx, dword ptr [rax + LAPIC_ID]
    shr ebx, LAPIC_ID_SHIFT
    mov dword ptr [rax + LAPIC_SVR], LAPIC_SVR_ENABLED | LAPIC_SPURIOUS_VECTOR
    mov dword ptr [rax + LAPIC_LINT1], LAPIC_DELIVERY_NMI
    jmp .Llapic_done
.Llapic_x2apic:
    mov ecx, MSR_X2APIC_ID
    rdmsr
    mov ebx, eax
    xor edx, edx
    mov ecx, MSR_X2APIC_SVR
    mov eax, LAPIC_SVR_ENABLED | LAPIC_SPURIOUS_VECTOR
    wrmsr
    mov ecx, MSR_X2APIC_LINT1
    mov eax, LAPIC_DELIVERY_NMI
    wrmsr
.Llapic_done:
    mov dword ptr gs:[PERCPU_APIC_ID], ebx
    lea rdi, [rip + note_mode]
    mov rsi, r12
    call unit_note_text
    lea rdi, [rip + note_id]
    mov esi, ebx
    call unit_note
    mov eax, BOOT_RESULT_OK
    jmp .Llapic_return
.Llapic_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
.Llapic_return:
    pop r12
    pop rbx
    return_frame
end_function lapic_init
