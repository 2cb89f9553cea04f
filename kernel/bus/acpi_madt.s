# Purpose:  the MADT: which processors and interrupt controllers there are, and how ISA lines reach them.
# Mode:     64-bit
# Spec:     ACPI 6.5, 5.2.12 (MADT), 5.2.12.2 to 5.2.12.12 (its entries)
# Exports:  madt_init madt_check madt_read madt_cpu_ids madt_cpu_count madt_cpu_disabled madt_cpu_lost
#           madt_ioapics madt_ioapic_count madt_overrides madt_lapic_base madt_flags
# Invariants: every entry is checked before the first one is used; a table with one entry that does not fit is refused
#           whole. Ids, addresses and line numbers are copied: nothing points into firmware's memory afterwards.
#
#   header 36 | local APIC address 4 | flags 4 | { type 1, length 1, body } …
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "layout.inc"
.include "acpi.inc"

.section .rodata, "a"
note_cpus:      .asciz "cpus"
note_disabled:  .asciz "disabled"
note_lost:      .asciz "lost"
note_ioapics:   .asciz "ioapics"
note_overrides: .asciz "overrides"
note_reason:    .asciz "reason"
reason_absent:  .asciz "no-madt"
reason_malformed: .asciz "malformed"
text_malformed: .asciz "acpi: MADT refused, malformed at offset "

# the bytes that an entry of each of the MADT_TYPES has at least; 0 = the kernel does not read this type
madt_sizes:
    .byte 8, 12, 10, 0, 6, 12, 0, 0, 0, 16

.section .text, "ax"

# madt_init -- boot unit: read the MADT
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no MADT that holds)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after acpi_init; boot unit
function madt_init
    call_frame
    push rbx
    push r12
    mov edi, ACPI_SIGNATURE_MADT
    xor esi, esi
    call acpi_find
    lea rsi, [rip + reason_absent]
    jc .Linit_skip
    mov rdi, rax
    mov rbx, rax
    call madt_check
    jc .Linit_malformed
    mov rdi, rbx
    call madt_read
    lea rdi, [rip + note_cpus]
    mov esi, [rip + madt_cpu_count]
    call unit_note_dec
    lea rdi, [rip + note_ioapics]
    mov esi, [rip + madt_ioapic_count]
    call unit_note_dec
    lea rdi, [rip + note_overrides]
    mov esi, [rip + madt_override_count]
    call unit_note_dec
    lea rdi, [rip + note_disabled]
    mov esi, [rip + madt_cpu_disabled]
    call madt_note_some
    lea rdi, [rip + note_lost]
    mov esi, [rip + madt_cpu_lost]
    call madt_note_some
    mov eax, BOOT_RESULT_OK
.Linit_leave:
    pop r12
    pop rbx
    return_frame
.Linit_malformed:
    mov r12, rax
    call serial_line_begin
    lea rdi, [rip + text_malformed]
    call serial_put_string
    mov rdi, r12
    call serial_put_hex
    call serial_line_end
    lea rsi, [rip + reason_malformed]
.Linit_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Linit_leave
end_function madt_init

# madt_note_some -- leave a count as a note of the boot unit, unless it is 0
# In:       rdi = key:asciz, rsi = count:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set, in a boot unit
local_function madt_note_some
    test rsi, rsi
    jnz unit_note_dec
    ret
end_function madt_note_some

# madt_check -- whether every entry fits its type and the table
# In:       rdi = table:ptr (ACPI_LENGTH bytes of it can be read)
# Out:      rax = offset:u64 (of the entry that does not), cf = malformed
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF
function madt_check
    push rbx
    mov esi, [rdi + ACPI_LENGTH]
    mov eax, MADT_ENTRIES
    cmp esi, eax
    jb .Lcheck_malformed
.Lcheck_entry:
    mov edx, esi
    sub edx, eax
    jz .Lcheck_holds
    cmp edx, MADT_ENTRY_HEADER
    jb .Lcheck_malformed
    movzx ecx, byte ptr [rdi + rax + MADT_ENTRY_LENGTH]
    cmp ecx, edx
    ja .Lcheck_malformed
    cmp ecx, MADT_ENTRY_HEADER
    jb .Lcheck_malformed                        # a length of 0 would go round for ever
    movzx edx, byte ptr [rdi + rax + MADT_ENTRY_TYPE]
    cmp edx, MADT_TYPES
    jae .Lcheck_next
    lea rbx, [rip + madt_sizes]
    cmp cl, [rbx + rdx]
    jb .Lcheck_malformed
.Lcheck_next:
    add eax, ecx
    jmp .Lcheck_entry
.Lcheck_holds:
    clc
    pop rbx
    ret
.Lcheck_malformed:
    stc
    pop rbx
    ret
end_function madt_check

# madt_read -- copy what a checked table says; what an earlier one said is dropped
# In:       rdi = table:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after madt_check found it sound
function madt_read
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    call madt_clear
    mov eax, [rbx + MADT_LAPIC_ADDRESS]
    mov [rip + madt_lapic_base], rax
    mov eax, [rbx + MADT_FLAGS]
    mov [rip + madt_flags], eax
    mov r12d, [rbx + ACPI_LENGTH]
    add r12, rbx                                # end
    lea r13, [rbx + MADT_ENTRIES]
.Lread_entry:
    cmp r13, r12
    jae .Lread_done
    movzx r14d, byte ptr [r13 + MADT_ENTRY_LENGTH]
    movzx eax, byte ptr [r13 + MADT_ENTRY_TYPE]
    mov rdi, r13
    call madt_read_entry
    add r13, r14
    jmp .Lread_entry
.Lread_done:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function madt_read

# madt_clear -- nothing is known: no processors, and the ISA lines lead to the lines of their own numbers
# In:       none
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF
local_function madt_clear
    xor eax, eax
    mov [rip + madt_cpu_count], eax
    mov [rip + madt_cpu_disabled], eax
    mov [rip + madt_cpu_lost], eax
    mov [rip + madt_ioapic_count], eax
    mov [rip + madt_override_count], eax
    lea rcx, [rip + madt_overrides]
.Lclear_line:
    mov [rcx + rax * OVERRIDE_SIZE + OVERRIDE_GSI], eax
    mov dword ptr [rcx + rax * OVERRIDE_SIZE + OVERRIDE_FLAGS], 0
    inc eax
    cmp eax, ISA_IRQS
    jb .Lclear_line
    ret
end_function madt_clear

# madt_read_entry -- copy one entry
# In:       rdi = entry:ptr, eax = type:u32[0..255]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF
local_function madt_read_entry
    call_frame
    cmp eax, MADT_TYPE_LAPIC
    je .Lentry_lapic
    cmp eax, MADT_TYPE_X2APIC
    je .Lentry_x2apic
    cmp eax, MADT_TYPE_IOAPIC
    je .Lentry_ioapic
    cmp eax, MADT_TYPE_OVERRIDE
    je .Lentry_override
    cmp eax, MADT_TYPE_LAPIC_ADDRESS
    jne .Lentry_return
    mov rax, [rdi + MADT_ADDRESS]
    mov [rip + madt_lapic_base], rax
.Lentry_return:
    return_frame
.Lentry_lapic:
    movzx eax, byte ptr [rdi + MADT_LAPIC_ID]
    cmp eax, MADT_LAPIC_ID_NONE
    je .Lentry_return
    mov edx, [rdi + MADT_LAPIC_FLAGS]
    call madt_add_cpu
    return_frame
.Lentry_x2apic:
    mov eax, [rdi + MADT_X2APIC_ID]
    mov edx, [rdi + MADT_X2APIC_FLAGS]
    call madt_add_cpu
    return_frame
.Lentry_ioapic:
    mov ecx, [rip + madt_ioapic_count]
    cmp ecx, MADT_IOAPICS_MAX
    jae .Lentry_return
    inc dword ptr [rip + madt_ioapic_count]
    shl ecx, 4                                  # IOAPIC_ROW_SIZE
    lea rdx, [rip + madt_ioapics]
    add rdx, rcx
    mov eax, [rdi + MADT_IOAPIC_ADDRESS]
    mov [rdx + IOAPIC_ROW_BASE], rax
    mov eax, [rdi + MADT_IOAPIC_GSI]
    mov [rdx + IOAPIC_ROW_GSI], eax
    mov dword ptr [rdx + IOAPIC_ROW_LINES], 0
    return_frame
.Lentry_override:
    movzx ecx, byte ptr [rdi + MADT_OVERRIDE_IRQ]
    cmp ecx, ISA_IRQS
    jae .Lentry_return
    cmp byte ptr [rdi + MADT_OVERRIDE_BUS], 0
    jne .Lentry_return
    inc dword ptr [rip + madt_override_count]
    lea rdx, [rip + madt_overrides]
    mov eax, [rdi + MADT_OVERRIDE_GSI]
    mov [rdx + rcx * OVERRIDE_SIZE + OVERRIDE_GSI], eax
    movzx eax, word ptr [rdi + MADT_OVERRIDE_FLAGS]
    mov [rdx + rcx * OVERRIDE_SIZE + OVERRIDE_FLAGS], eax
    return_frame
end_function madt_read_entry
.if IOAPIC_ROW_SIZE - (1 << 4)
    .error "madt_read_entry shifts by the size of a row"
.endif

# madt_add_cpu -- note a processor, once, if firmware has enabled it
# In:       eax = apic_id:u32, edx = flags:u32 (MADT_LAPIC_*)
# Out:      none
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF
local_function madt_add_cpu
    test edx, MADT_LAPIC_ENABLED
    jz .Ladd_disabled
    mov ecx, [rip + madt_cpu_count]
    lea rsi, [rip + madt_cpu_ids]
    xor edx, edx
.Ladd_compare:
    cmp edx, ecx
    jae .Ladd_new
    cmp [rsi + rdx * 4], eax
    je .Ladd_return                             # a CPU may have an entry of either kind
    inc edx
    jmp .Ladd_compare
.Ladd_new:
    cmp ecx, MADT_CPUS_MAX
    jae .Ladd_lost
    mov [rsi + rcx * 4], eax
    inc dword ptr [rip + madt_cpu_count]
.Ladd_return:
    ret
.Ladd_disabled:
    inc dword ptr [rip + madt_cpu_disabled]
    ret
.Ladd_lost:
    inc dword ptr [rip + madt_cpu_lost]
    ret
end_function madt_add_cpu

.section .bss, "aw", @nobits
    .balign 8
object madt_lapic_base                          # u64, physical
    .skip 8
end_object madt_lapic_base
object madt_ioapics                             # IOAPIC_ROW_*
    .skip MADT_IOAPICS_MAX * IOAPIC_ROW_SIZE
end_object madt_ioapics
object madt_overrides                           # OVERRIDE_* of each ISA line
    .skip ISA_IRQS * OVERRIDE_SIZE
end_object madt_overrides
object madt_cpu_ids                             # u32: APIC id of each enabled processor, in the table's order
    .skip MADT_CPUS_MAX * 4
end_object madt_cpu_ids
object madt_cpu_count
    .skip 4
end_object madt_cpu_count
object madt_cpu_disabled                        # entries of processors that firmware left off
    .skip 4
end_object madt_cpu_disabled
object madt_cpu_lost                            # enabled processors beyond MADT_CPUS_MAX
    .skip 4
end_object madt_cpu_lost
object madt_ioapic_count
    .skip 4
end_object madt_ioapic_count
object madt_override_count
    .skip 4
end_object madt_override_count
object madt_flags                               # MADT_FLAG_*
    .skip 4
end_object madt_flags
