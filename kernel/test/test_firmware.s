# Purpose:  tests of what the kernel took from MADT and FADT: it fits the machine that runs.
# Mode:     64-bit long mode
# Spec:     ACPI 6.5, 5.2.12 (MADT), 5.2.9 (FADT), 4.8.3.2 (PM1 control)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "layout.inc"
.include "acpi.inc"

.set CPUID_APIC_ID, 1                           # leaf; ebx bits 31..24
.set APIC_ID_SHIFT, 24
.set ALL_PORTS_FLOATING, 0xffff                 # what no device answers with

ktap_text text_no_madt, "no MADT"
ktap_text text_no_fadt, "no FADT"
ktap_text text_self, "this CPU is not in the MADT"
ktap_text text_ioapic, "I/O APIC"
ktap_text text_line, "reserved polarity or trigger"
ktap_text text_pm1, "PM1 control answers"
ktap_text text_s5, "sleep types"

.section .text, "ax"

# test_madt -- the CPU that runs is listed, I/O APICs lie above the first megabyte, lines have polarity and trigger
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_madt
    call_frame
    push rbx
    push r12
    cmp dword ptr [rip + madt_cpu_count], 0
    je .Lmadt_absent
    mov eax, CPUID_APIC_ID
    cpuid
    shr ebx, APIC_ID_SHIFT
    lea rsi, [rip + madt_cpu_ids]
    mov ecx, [rip + madt_cpu_count]
.Lmadt_cpu:
    cmp ebx, [rsi + rcx * 4 - 4]
    je .Lmadt_listed
    dec ecx
    jnz .Lmadt_cpu
.Lmadt_listed:
    test ecx, ecx                               # cf = 0
    setz al
    movzx eax, al
    check text_self, rax, 0
    lea r12, [rip + madt_ioapics]
    mov ebx, [rip + madt_ioapic_count]
.Lmadt_ioapic:
    test ebx, ebx
    jz .Lmadt_lines
    cmp qword ptr [r12 + IOAPIC_ROW_BASE], 1 << 20
    check_cf text_ioapic, 0
    add r12, IOAPIC_ROW_SIZE
    dec ebx
    jmp .Lmadt_ioapic
.Lmadt_lines:
    lea r12, [rip + madt_overrides]
    mov ebx, ISA_IRQS
.Lmadt_line:
    mov eax, [r12 + OVERRIDE_FLAGS]
    and eax, INTI_POLARITY_MASK
    sub eax, INTI_RESERVED
    setz al
    movzx eax, al
    check text_line, rax, 0
    add r12, OVERRIDE_SIZE
    dec ebx
    jnz .Lmadt_line
    mov eax, KTAP_DONE
.Lmadt_leave:
    pop r12
    pop rbx
    return_frame
.Lmadt_absent:
    lea rdi, [rip + text_no_madt]
    call ktap_skip
    jmp .Lmadt_leave
end_function test_madt
ktap_test test_madt, "acpi_madt"

# test_power -- the PM1 control register answers, and the sleep types of S5 are two numbers up to 7
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_power
    call_frame
    mov edx, [rip + power_pm1a]
    test edx, edx
    jz .Lpower_absent
    in ax, dx
    movzx eax, ax
    sub eax, ALL_PORTS_FLOATING
    setz al
    movzx eax, al
    check text_pm1, rax, 0
    mov eax, [rip + power_sleep_types]
    and eax, ~(SLEEP_TYPE_MAX << 8 | SLEEP_TYPE_MAX)
    check text_s5, rax, 0
    mov eax, KTAP_DONE
    return_frame
.Lpower_absent:
    lea rdi, [rip + text_no_fadt]
    call ktap_skip
    return_frame
end_function test_power
ktap_test test_power, "acpi_power"
