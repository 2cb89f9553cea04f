# Purpose:  the I/O APICs: lines of devices routed to vectors, with polarity and trigger as firmware says; the boot
#           unit `ioapic`.
# Mode:     64-bit long mode
# Spec:     Intel 82093AA, 3.0 (registers) and 3.2.4 (redirection table); ACPI 6.5, 5.2.12.3 and 5.2.12.5
# Exports:  ioapic_init ioapic_compose ioapic_find ioapic_write_entry ioapic_read_entry irq_install irq_remove
#           irq_set_mask
# Invariants: index and window are two accesses: ioapic_lock lies around both. A line is masked until it has a handler.
#
#   redirection entry: 7:0 vector   10:8 delivery (0 = fixed)   11 logical   13 active low   15 level   16 masked
#                      63:56 destination (APIC id)
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "lock.inc"
.include "acpi.inc"
.include "apic.inc"

.section .rodata, "a"
note_lines:     .asciz "lines"
note_refused:   .asciz "refused"

.section .text, "ax"

# ioapic_init -- boot unit: all lines of the I/O APICs masked, until somebody wants them
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is none that answers)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, after madt_init and lapic_init; boot unit
function ioapic_init
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rbx, [rip + madt_ioapics]
    mov r12d, [rip + madt_ioapic_count]
    xor r13d, r13d                              # lines
    xor r14d, r14d                              # I/O APICs that are not used
.Linit_next:
    test r12d, r12d
    jz .Linit_done
    mov rdi, rbx
    call ioapic_open
    add r13d, [rbx + IOAPIC_ROW_LINES]
    cmp dword ptr [rbx + IOAPIC_ROW_LINES], 1
    adc r14d, 0
    add rbx, IOAPIC_ROW_SIZE
    dec r12d
    jmp .Linit_next
.Linit_done:
    lea rdi, [rip + note_lines]
    mov esi, r13d
    call unit_note_dec
    lea rdi, [rip + note_refused]
    mov esi, r14d
    test esi, esi
    jz .Linit_result
    call unit_note_dec
.Linit_result:
    mov eax, BOOT_RESULT_OK
    mov edx, BOOT_RESULT_SKIP
    test r13d, r13d
    cmovz eax, edx
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function ioapic_init

# ioapic_open -- map an I/O APIC, ask how many lines it has, mask them all
# In:       rdi = row:ptr (IOAPIC_ROW_*)
# Out:      none (IOAPIC_ROW_LINES stays 0 where it cannot be used)
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, after the paging unit; once
local_function ioapic_open
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov rdi, [rbx + IOAPIC_ROW_BASE]
    mov esi, IOAPIC_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lopen_return
    mov [rbx + IOAPIC_ROW_BASE], rax
    mov dword ptr [rax + IOAPIC_INDEX], IOAPIC_VERSION
    mov r12d, [rax + IOAPIC_WINDOW]
    shr r12d, IOAPIC_VERSION_LAST_SHIFT
    and r12d, 0xff
    inc r12d
    cmp r12d, IOAPIC_LINES_MAX
    ja .Lopen_return                            # all ones: nothing answers there
    mov [rbx + IOAPIC_ROW_LINES], r12d
    mov rdi, [rbx + IOAPIC_ROW_BASE]
    xor esi, esi
    mov edx, IOAPIC_MASKED
.Lopen_mask:
    call ioapic_write_entry
    inc esi
    cmp esi, r12d
    jb .Lopen_mask
.Lopen_return:
    pop r12
    pop rbx
    return_frame
end_function ioapic_open

# ioapic_write_entry -- write a redirection entry, so that it is masked while it is half written
# In:       rdi = base:ptr, esi = line:u32[0..239], rdx = entry:u64
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF
function ioapic_write_entry
    call_frame
    push rbx
    push rsi
    push rdi
    push r12
    lea ebx, [rsi * 2 + IOAPIC_REDIRECTION]
    mov r12, rdi
    lea rdi, [rip + ioapic_lock]
    call lock_acquire_irqsave
    mov [r12 + IOAPIC_INDEX], ebx
    mov dword ptr [r12 + IOAPIC_WINDOW], IOAPIC_MASKED
    inc ebx
    mov [r12 + IOAPIC_INDEX], ebx
    mov rcx, rdx
    shr rcx, 32
    mov [r12 + IOAPIC_WINDOW], ecx
    dec ebx
    mov [r12 + IOAPIC_INDEX], ebx
    mov [r12 + IOAPIC_WINDOW], edx
    mov rsi, rax
    call lock_release_irqrestore
    pop r12
    pop rdi
    pop rsi
    pop rbx
    return_frame
end_function ioapic_write_entry

# ioapic_read_entry -- read the low half of a redirection entry
# In:       rdi = base:ptr, esi = line:u32[0..239]
# Out:      eax = low:u32
# Clobbers: rcx
# Context:  long mode, any IF
function ioapic_read_entry
    call_frame
    push rbx
    push rsi
    push rdi
    push r12
    lea ebx, [rsi * 2 + IOAPIC_REDIRECTION]
    mov r12, rdi
    lea rdi, [rip + ioapic_lock]
    call lock_acquire_irqsave
    mov [r12 + IOAPIC_INDEX], ebx
    mov ebx, [r12 + IOAPIC_WINDOW]
    mov rsi, rax
    call lock_release_irqrestore
    mov eax, ebx
    pop r12
    pop rdi
    pop rsi
    pop rbx
    return_frame
end_function ioapic_read_entry

# ioapic_compose -- the redirection entry of a line; what its bus leaves open is as on the ISA bus
# In:       edi = vector:u32[0..255], esi = flags:u32 (INTI_*), edx = destination:u32 (APIC id)
# Out:      rax = entry:u64 (not masked) or error code, cf = refused: ERROR_INVALID (a vector that is an exception's, a
#           reserved polarity or trigger, a destination that does not fit 8 bits)
# Clobbers: rcx
# Context:  long mode, any IF
function ioapic_compose
    cmp edi, EXCEPTION_COUNT
    jb .Lcompose_invalid
    cmp edi, VECTOR_COUNT
    jae .Lcompose_invalid
    cmp edx, IOAPIC_DESTINATION_MAX
    ja .Lcompose_invalid
    mov eax, edx
    shl rax, IOAPIC_DESTINATION_SHIFT
    or rax, rdi
    mov ecx, esi
    and ecx, INTI_POLARITY_MASK
    cmp ecx, INTI_RESERVED
    je .Lcompose_invalid
    jb .Lcompose_trigger                        # as the bus has it, or active high
    or rax, IOAPIC_ACTIVE_LOW
.Lcompose_trigger:
    mov ecx, esi
    and ecx, INTI_TRIGGER_MASK
    cmp ecx, INTI_RESERVED << 2
    je .Lcompose_invalid
    jb .Lcompose_done
    or rax, IOAPIC_LEVEL
.Lcompose_done:
    clc
    ret
.Lcompose_invalid:
    mov eax, ERROR_INVALID
    stc
    ret
end_function ioapic_compose

# ioapic_find -- the I/O APIC that has a line
# In:       edi = gsi:u32 (the line's number on the machine)
# Out:      rax = base:ptr, esi = line:u32 (its number there), cf = none has it
# Clobbers: rcx, rdx
# Context:  long mode, any IF, after ioapic_init
function ioapic_find
    lea rdx, [rip + madt_ioapics]
    mov ecx, [rip + madt_ioapic_count]
.Lfind_next:
    test ecx, ecx
    jz .Lfind_none
    mov esi, edi
    sub esi, [rdx + IOAPIC_ROW_GSI]
    jb .Lfind_other
    cmp esi, [rdx + IOAPIC_ROW_LINES]
    jb .Lfind_found
.Lfind_other:
    add rdx, IOAPIC_ROW_SIZE
    dec ecx
    jmp .Lfind_next
.Lfind_found:
    mov rax, [rdx + IOAPIC_ROW_BASE]
    clc
    ret
.Lfind_none:
    stc
    ret
end_function ioapic_find

# irq_install -- serve an ISA interrupt on the CPU that runs
# In:       edi = irq:u32[0..15], rsi = handler:ptr, rdx = argument:u64
# Out:      eax = vector:u32 or error code, cf = refused: ERROR_INVALID, ERROR_NOT_FOUND (no I/O APIC has the line),
#           ERROR_FULL
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, GS base set, after ioapic_init; one caller for each line
function irq_install
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov eax, ERROR_INVALID
    cmp edi, ISA_IRQS
    cmc
    jc .Lirq_return
    lea rcx, [rip + madt_overrides]
    lea rbx, [rcx + rdi * OVERRIDE_SIZE]
    mov r12, rsi
    mov r13, rdx
    mov edi, [rbx + OVERRIDE_GSI]
    call ioapic_find
    mov r14, rax
    mov eax, ERROR_NOT_FOUND
    jc .Lirq_return
    mov rdi, r12
    mov r12d, esi                               # the line
    mov rsi, r13
    call interrupt_allocate
    jc .Lirq_return
    mov r13d, eax
    mov edi, eax
    mov esi, [rbx + OVERRIDE_FLAGS]
    mov edx, dword ptr gs:[PERCPU_APIC_ID]
    call ioapic_compose
    jc .Lirq_undo
    mov rdi, r14
    mov esi, r12d
    mov rdx, rax
    call ioapic_write_entry
    mov eax, r13d
    clc
.Lirq_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lirq_undo:
    mov r12d, eax
    mov edi, r13d
    call interrupt_remove
    mov eax, r12d
    stc
    jmp .Lirq_return
end_function irq_install

# irq_set_mask -- hold an ISA interrupt back, or let it come again
# In:       edi = irq:u32[0..15], esi = masked:u32[0..1]
# Out:      eax = vector:u32 (that the line leads to), cf = no I/O APIC has the line
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after irq_install of the line; one caller for each line
function irq_set_mask
    call_frame
    push rbx
    push r12
    cmp edi, ISA_IRQS
    cmc
    jc .Lmask_return
    mov r12d, esi
    lea rcx, [rip + madt_overrides]
    mov edi, [rcx + rdi * OVERRIDE_SIZE + OVERRIDE_GSI]
    call ioapic_find
    jc .Lmask_return
    mov rdi, rax
    call ioapic_read_entry
    movzx ebx, al
    and eax, ~IOAPIC_MASKED
    mov edx, eax
    or eax, IOAPIC_MASKED
    test r12d, r12d
    cmovnz edx, eax
    mov eax, dword ptr gs:[PERCPU_APIC_ID]
    shl rax, IOAPIC_DESTINATION_SHIFT
    or rdx, rax
    call ioapic_write_entry
    mov eax, ebx
    clc
.Lmask_return:
    pop r12
    pop rbx
    return_frame
end_function irq_set_mask

# irq_remove -- serve an ISA interrupt no longer
# In:       edi = irq:u32[0..15]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after irq_install of the line; one caller for each line
function irq_remove
    call_frame
    mov esi, 1
    call irq_set_mask
    jc .Lremove_return
    mov edi, eax
    call interrupt_remove
.Lremove_return:
    return_frame
end_function irq_remove

.section .bss, "aw", @nobits
    .balign 8
object ioapic_lock
    .skip LOCK_SIZE
end_object ioapic_lock
