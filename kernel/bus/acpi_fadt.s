# Purpose:  the FADT and the package \_S5_ of the DSDT: what it takes to switch the machine off or to reset it.
# Mode:     64-bit
# Spec:     ACPI 6.5, 5.2.9 (FADT), 5.2.3.2 (generic address), 7.4.2.6 (\_S5_), 20.2.4 and 20.2.5.4 (AML packages)
# Exports:  fadt_init fadt_read aml_find_s5 power_pm1a power_pm1b power_timer power_sleep_types
#           power_smi_command power_smi_enable power_reset power_reset_value
# Invariants: a port is a port (not 0, 16 bits) or the machine has none; a field is read only when the table's length
#           covers it. AML is not interpreted: the one package is searched for by its bytes, and what is found must be
#           well-formed up to its second element. No read leaves the table.
#
#   NameOp 08, maybe '\' 5c | "_S5_" | PackageOp 12 | length 1 to 4 | elements 1 | SLP_TYPa | SLP_TYPb | …
#   each a byte (0a xx), a word (0b xx xx), Zero (00) or One (01)
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "layout.inc"
.include "acpi.inc"

.set S5_ELEMENTS_MIN, 2                         # of the package, that is SLP_TYPa and SLP_TYPb

.section .rodata, "a"
note_pm1a:      .asciz "pm1a"
note_pm1b:      .asciz "pm1b"
note_s5:        .asciz "s5"
note_reset:     .asciz "reset"
note_reason:    .asciz "reason"
text_none:      .asciz "none"
reason_absent:  .asciz "no-fadt"
reason_short:   .asciz "fadt-too-short"
text_short:     .asciz "acpi: FADT refused, too short: "

.section .text, "ax"

# fadt_init -- boot unit: learn how the machine is switched off and reset
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no FADT that holds)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after acpi_init; boot unit
function fadt_init
    call_frame
    push rbx
    push r12
    mov edi, ACPI_SIGNATURE_FADT
    xor esi, esi
    call acpi_find
    lea rsi, [rip + reason_absent]
    jc .Linit_skip
    mov rbx, rax
    mov rdi, rax
    call fadt_read
    jc .Linit_short
    mov rdi, rbx
    call fadt_read_dsdt
    lea rdi, [rip + note_pm1a]
    mov esi, [rip + power_pm1a]
    call unit_note
    mov esi, [rip + power_pm1b]
    test esi, esi
    jz .Linit_one_block
    lea rdi, [rip + note_pm1b]
    call unit_note
.Linit_one_block:
    lea rdi, [rip + note_s5]
    mov esi, [rip + power_sleep_types]
    lea rdx, [rip + unit_note]
    cmp esi, -1
    jne .Linit_s5
    lea rsi, [rip + text_none]
    lea rdx, [rip + unit_note_text]
.Linit_s5:
    call rdx
    lea rdi, [rip + note_reset]
    mov rsi, [rip + power_reset + GAS_ADDRESS]
    test rsi, rsi
    jz .Linit_done
    call unit_note
.Linit_done:
    mov eax, BOOT_RESULT_OK
.Linit_leave:
    pop r12
    pop rbx
    return_frame
.Linit_short:
    mov r12d, [rbx + ACPI_LENGTH]
    call serial_line_begin
    lea rdi, [rip + text_short]
    call serial_put_string
    mov rdi, r12
    call serial_put_hex
    call serial_line_end
    lea rsi, [rip + reason_short]
.Linit_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Linit_leave
end_function fadt_init

# fadt_read -- copy ports and reset register out of a FADT
# In:       rdi = table:ptr (ACPI_LENGTH bytes of it can be read)
# Out:      cf = refused: shorter than any FADT, nothing was changed
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF
function fadt_read
    call_frame
    push rbx
    push r12
    mov ebx, [rdi + ACPI_LENGTH]
    cmp ebx, FADT_SIZE_1
    jb .Lread_return                            # cf is set
    mov eax, [rdi + FADT_SMI_COMMAND]
    call fadt_port
    mov [rip + power_smi_command], eax
    mov al, [rdi + FADT_ACPI_ENABLE]
    mov [rip + power_smi_enable], al
    mov eax, [rdi + FADT_PM1A_CONTROL]
    call fadt_port
    mov [rip + power_pm1a], eax
    mov eax, [rdi + FADT_PM1B_CONTROL]
    call fadt_port
    mov [rip + power_pm1b], eax
    mov eax, [rdi + FADT_PM_TIMER]
    call fadt_port
    mov [rip + power_timer], eax
    mov qword ptr [rip + power_reset + GAS_ADDRESS], 0
    cmp ebx, FADT_SIZE_X_PM1
    jb .Lread_reset
    lea rsi, [rdi + FADT_X_PM1A_CONTROL]        # where they are filled in, they count (table 5.9)
    lea rdx, [rip + power_pm1a]
    call fadt_extended_port
    lea rsi, [rdi + FADT_X_PM1B_CONTROL]
    lea rdx, [rip + power_pm1b]
    call fadt_extended_port
    cmp ebx, FADT_SIZE_X_TIMER
    jb .Lread_reset
    lea rsi, [rdi + FADT_X_PM_TIMER]
    lea rdx, [rip + power_timer]
    call fadt_extended_port
.Lread_reset:
    cmp ebx, FADT_SIZE_RESET
    jb .Lread_done
    test dword ptr [rdi + FADT_FLAGS], FADT_FLAG_RESET
    jz .Lread_done
    mov rax, [rdi + FADT_RESET_REGISTER]
    mov ecx, [rdi + FADT_RESET_REGISTER + 8]
    mov [rip + power_reset], rax
    mov [rip + power_reset + 8], ecx
    mov al, [rdi + FADT_RESET_VALUE]
    mov [rip + power_reset_value], al
.Lread_done:
    clc
.Lread_return:
    pop r12
    pop rbx
    return_frame
end_function fadt_read

# fadt_port -- a port number as it stands in a field of 32 bits
# In:       eax = port:u32
# Out:      eax = port:u32[0..0xffff] (0 where that is no port)
# Clobbers: none
# Context:  long mode, any IF
local_function fadt_port
    cmp eax, PORT_MAX
    jbe .Lport_return
    xor eax, eax
.Lport_return:
    ret
end_function fadt_port

# fadt_extended_port -- a port in a generic address; where that names none, what is known stays
# In:       rsi = gas:ptr, rdx = port:ptr (u32)
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF
local_function fadt_extended_port
    cmp byte ptr [rsi + GAS_SPACE], GAS_SPACE_IO
    jne .Lextended_return
    mov rax, [rsi + GAS_ADDRESS]
    test rax, rax
    jz .Lextended_return
    cmp rax, PORT_MAX
    ja .Lextended_return
    mov [rdx], eax
.Lextended_return:
    ret
end_function fadt_extended_port

# fadt_read_dsdt -- learn the sleep types of S5; a DSDT that does not hold is refused by acpi_map_table
# In:       rdi = fadt:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  as frame_alloc, after the paging unit
local_function fadt_read_dsdt
    call_frame
    mov dword ptr [rip + power_sleep_types], -1
    mov eax, [rdi + FADT_DSDT]
    cmp dword ptr [rdi + ACPI_LENGTH], FADT_SIZE_X_DSDT
    jb .Ldsdt_chosen
    mov rcx, [rdi + FADT_X_DSDT]
    test rcx, rcx
    cmovnz rax, rcx
.Ldsdt_chosen:
    mov rdi, rax
    test rdi, rdi
    jz .Ldsdt_return
    call acpi_map_table
    jc .Ldsdt_return
    cmp dword ptr [rax + ACPI_SIGNATURE], ACPI_SIGNATURE_DSDT
    jne .Ldsdt_return
    lea rdi, [rax + ACPI_HEADER_SIZE]
    mov esi, [rax + ACPI_LENGTH]
    sub esi, ACPI_HEADER_SIZE
    call aml_find_s5
    jc .Ldsdt_return
    mov [rip + power_sleep_types], eax
.Ldsdt_return:
    return_frame
end_function fadt_read_dsdt

# aml_find_s5 -- the sleep types of the first well-formed package \_S5_
# In:       rdi = aml:ptr, rsi = length:u64
# Out:      eax = types:u32 (SLP_TYPa | SLP_TYPb << 8), cf = there is none
# Clobbers: rcx, rdx, rdi, r8
# Context:  long mode, any IF
function aml_find_s5
    call_frame
    lea r8, [rdi + rsi]                         # end
    cmp rsi, AML_NAME_SIZE
    jb .Lfind_return                            # cf is set
    lea rcx, [r8 - AML_NAME_SIZE]               # the last place where a name fits
.Lfind_next:
    cmp rdi, rcx
    ja .Lfind_none
    mov eax, [rdi]
    cmp eax, AML_NAME_S5
    je .Lfind_name
    shr eax, 24                                 # the byte behind the next three decides how far it can be
    cmp al, '_'
    je .Lfind_step_1                            # first or last byte of the name
    cmp al, '5'
    je .Lfind_step_1
    cmp al, 'S'
    je .Lfind_step_2
    add rdi, AML_NAME_SIZE
    jmp .Lfind_next
.Lfind_step_2:
    inc rdi
.Lfind_step_1:
    inc rdi
    jmp .Lfind_next
.Lfind_name:
    push rdi
    push rcx
    call aml_read_s5
    pop rcx
    pop rdi
    jc .Lfind_step_1
.Lfind_return:
    return_frame
.Lfind_none:
    stc
    return_frame
end_function aml_find_s5

# aml_read_s5 -- the two sleep types of a package that follows its name
# In:       rdi = name:ptr, r8 = end:ptr (of the AML)
# Out:      eax = types:u32 (SLP_TYPa | SLP_TYPb << 8), cf = not well-formed
# Clobbers: rcx, rdx, rdi
# Context:  long mode, any IF
local_function aml_read_s5
    call_frame
    push rbx
    push r12
    mov r12, r8
    add rdi, AML_NAME_SIZE
    lea rax, [r8 - 3]                           # operator, length, elements: 3 bytes at least
    cmp rdi, rax
    ja .Ls5_malformed
    cmp byte ptr [rdi], AML_PACKAGE_OP
    jne .Ls5_malformed
    inc rdi
    movzx ecx, byte ptr [rdi]
    shr ecx, AML_LENGTH_BYTES_SHIFT
    lea rdi, [rdi + rcx + 1]                    # behind the length
    cmp rdi, r8
    jae .Ls5_malformed
    cmp byte ptr [rdi], S5_ELEMENTS_MIN
    jb .Ls5_malformed
    inc rdi
    call aml_read_small
    jc .Ls5_return
    mov ebx, eax
    call aml_read_small
    jc .Ls5_return
    shl eax, 8
    or eax, ebx
    clc
.Ls5_return:
    pop r12
    pop rbx
    return_frame
.Ls5_malformed:
    stc
    jmp .Ls5_return
end_function aml_read_s5

# aml_read_small -- an integer of AML that is a sleep type
# In:       rdi = aml:ptr, r8 = end:ptr
# Out:      eax = number:u32[0..7], rdi = next:ptr, cf = something else stands there, or the AML ends
# Clobbers: rcx
# Context:  long mode, any IF
local_function aml_read_small
    mov rcx, r8
    sub rcx, rdi                                # bytes that are left
    jbe .Lsmall_refused
    movzx eax, byte ptr [rdi]
    inc rdi
    cmp eax, AML_ONE_OP
    jbe .Lsmall_holds                           # Zero and One say themselves
    cmp eax, AML_WORD_PREFIX
    je .Lsmall_word
    cmp eax, AML_BYTE_PREFIX
    jne .Lsmall_refused
    cmp rcx, 2
    jb .Lsmall_refused
    movzx eax, byte ptr [rdi]
    inc rdi
    jmp .Lsmall_range
.Lsmall_word:
    cmp rcx, 3
    jb .Lsmall_refused
    movzx eax, word ptr [rdi]
    add rdi, 2
.Lsmall_range:
    cmp eax, SLEEP_TYPE_MAX
    ja .Lsmall_refused
.Lsmall_holds:
    clc
    ret
.Lsmall_refused:
    stc
    ret
end_function aml_read_small
.if AML_ZERO_OP + 1 - AML_ONE_OP
    .error "aml_read_small takes the operators Zero and One for their values"
.endif

.section .data, "aw"
    .balign 8
object power_reset                              # generic address of the reset register; address 0 = none
    .skip 16
end_object power_reset
object power_pm1a                               # ports of the PM1 control registers, 0 = none
    .long 0
end_object power_pm1a
object power_pm1b
    .long 0
end_object power_pm1b
object power_timer                              # port of the PM timer, 0 = none
    .long 0
end_object power_timer
object power_sleep_types                        # of S5: SLP_TYPa | SLP_TYPb << 8; -1 = not known
    .long -1
end_object power_sleep_types
object power_smi_command                        # the port that switches to ACPI mode, 0 = none
    .long 0
end_object power_smi_command
object power_smi_enable                         # and what is written there
    .byte 0
end_object power_smi_enable
object power_reset_value
    .byte 0
end_object power_reset_value
