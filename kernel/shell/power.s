# Purpose:  commands of the shell about firmware's tables and the machine's power: acpi, reboot, poweroff.
# Mode:     64-bit long mode
# Spec:     ACPI 6.5, 5.2.6 (table header)
# Exports:  rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "acpi.inc"
.include "shell.inc"

.set SIGNATURE_SIZE, 4

.section .bss, "aw", @nobits
signature:      .skip SIGNATURE_SIZE + 1        # with a zero

.section .text, "ax"

# command_acpi -- acpi: the tables that the root table names, and which of them hold
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_acpi
    call_frame
    push rbx
    push r12
    cmp qword ptr [rip + acpi_root], 0
    je .Lacpi_none
    lea rdi, [rip + name_acpi]
    call out_begin
    lea rdi, [rip + key_tables]
    call out_list
    xor ebx, ebx
.Lacpi_table:
    cmp ebx, dword ptr [rip + acpi_count]
    jae .Lacpi_end
    call acpi_entry
    mov rdi, rax
    call acpi_say_table
    inc ebx
    jmp .Lacpi_table
.Lacpi_end:
    call out_list_end
    call out_end
    clc
.Lacpi_return:
    pop r12
    pop rbx
    return_frame
.Lacpi_none:
    lea rax, [rip + text_no_acpi]
    stc
    jmp .Lacpi_return
end_function command_acpi
shell_text name_acpi, "acpi"
shell_text key_tables, "tables"
shell_text text_no_acpi, "this machine has no ACPI tables that hold"
shell_command command_acpi, "acpi", "", "the ACPI tables, and which of them hold"

# acpi_say_table -- a row: where a table lies, its signature and length, whether its checksum holds
# In:       rdi = pa:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, in a list
local_function acpi_say_table
    call_frame
    push rbx
    push r12
    mov r12, rdi
    call out_row
    lea rdi, [rip + key_address]
    mov rsi, r12
    call out_hex
    mov rdi, r12
    mov esi, ACPI_HEADER_SIZE
    call page_cover
    jc .Ltable_refused
    mov rbx, rax
    mov eax, dword ptr [rbx + ACPI_SIGNATURE]
    mov dword ptr [rip + signature], eax
    lea rdi, [rip + key_signature]
    lea rsi, [rip + signature]
    call out_text
    lea rdi, [rip + key_length]
    mov esi, dword ptr [rbx + ACPI_LENGTH]
    call out_number
    mov esi, dword ptr [rbx + ACPI_LENGTH]
    cmp esi, ACPI_HEADER_SIZE
    jb .Ltable_refused
    cmp esi, ACPI_TABLE_MAX
    ja .Ltable_refused
    mov rdi, r12
    call page_cover
    jc .Ltable_refused
    mov rdi, rax
    mov esi, dword ptr [rbx + ACPI_LENGTH]
    call acpi_sum
    jc .Ltable_refused
    lea rsi, [rip + text_yes]
    jmp .Ltable_say
.Ltable_refused:
    lea rsi, [rip + text_no]
.Ltable_say:
    lea rdi, [rip + key_holds]
    call out_text
    call out_row_end
    pop r12
    pop rbx
    return_frame
end_function acpi_say_table
shell_text key_address, "address"
shell_text key_signature, "signature"
shell_text key_length, "length"
shell_text key_holds, "holds"
shell_text text_yes, "yes"
shell_text text_no, "no"

# command_reboot -- reboot
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command; does not return
local_function command_reboot
    call_frame
    call acpi_reboot
end_function command_reboot
shell_command command_reboot, "reboot", "", "reset the machine"

# command_poweroff -- poweroff
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command; returns when the machine stays on
local_function command_poweroff
    call_frame
    call acpi_power_off
    lea rax, [rip + text_stays_on]
    stc
    return_frame
end_function command_poweroff
shell_text text_stays_on, "the tables of this machine name no way to switch it off"
shell_command command_poweroff, "poweroff", "", "switch the machine off"
