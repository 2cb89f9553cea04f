# Purpose:  the boot unit `pci`: find how configuration space is reached, scan, assign, say what was found.
# Mode:     64-bit
# Spec:     PCI Firmware 3.3, 4.1.2 (MCFG); PCI Code and ID Assignment 1.11 (classes)
# Exports:  pci_init pci_find_class
# Invariants: pci_table is complete before any driver looks at it, and changes no more after.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "acpi.inc"
.include "pci.inc"

.section .rodata, "a"
note_access:    .asciz "access"
note_mcfg:      .asciz "mcfg"
mcfg_refused:   .asciz "refused"
access_ports:   .asciz "ports"
access_ecam:    .asciz "ecam"
note_functions: .asciz "functions"
note_buses:     .asciz "buses"
note_assigned:  .asciz "assigned"
note_failed:    .asciz "failed"
note_lost:      .asciz "lost"

.section .text, "ax"

# pci_init -- enumerate PCI
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where nothing answers on the root bus)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the paging unit; boot unit
function pci_init
    call_frame
    push rbx
    push r12
    call pci_find_ecam
    mov r12, rax                                # its name
    xor edi, edi
    mov esi, PCI_BUS_MAX
    cmp qword ptr [rip + ecam_base], 0
    je .Lpci_scan
    mov edi, [rip + ecam_bus_first]
    mov esi, [rip + ecam_bus_last]
.Lpci_scan:
    mov edx, PCI_PARENT_ROOT
    xor ecx, ecx
    call pci_scan_bus
    lea ebx, [rax + 1]
    call pci_assign
    call pci_list
    lea rdi, [rip + note_access]
    mov rsi, r12
    call unit_note_text
    lea rdi, [rip + note_functions]
    mov esi, [rip + pci_count]
    call unit_note_dec
    lea rdi, [rip + note_buses]
    mov esi, ebx
    call unit_note_dec
    lea rdi, [rip + note_assigned]
    mov esi, [rip + pci_placed]
    call unit_note_dec
    lea rdi, [rip + note_failed]
    mov esi, [rip + pci_failed]
    call pci_note_trouble
    lea rdi, [rip + note_lost]
    mov esi, [rip + pci_lost]
    call pci_note_trouble
    mov eax, BOOT_RESULT_SKIP
    cmp dword ptr [rip + pci_count], 0
    je .Lpci_leave
    mov eax, BOOT_RESULT_OK
.Lpci_leave:
    pop r12
    pop rbx
    return_frame
end_function pci_init

# pci_note_trouble -- leave a count as a note of the boot unit, unless it is 0
# In:       rdi = key:asciz, rsi = count:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  boot unit
local_function pci_note_trouble
    test rsi, rsi
    jnz unit_note_dec
    ret
end_function pci_note_trouble

# pci_find_ecam -- take ECAM into use where MCFG names it for segment 0 and the root bus answers there, else note it
# In:       none
# Out:      rax = name:asciz (of the way that is used)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  boot unit, after acpi_init where the machine has ACPI
local_function pci_find_ecam
    call_frame
    push rbx
    push r12
    mov edi, ACPI_SIGNATURE_MCFG
    xor esi, esi
    call acpi_find
    jc .Lecam_ports
    mov ecx, [rax + ACPI_LENGTH]
    lea r12, [rax + rcx]                        # end of the table
    lea rbx, [rax + MCFG_ALLOCATIONS]
.Lecam_allocation:
    lea rax, [rbx + MCFG_ALLOCATION_SIZE]
    cmp rax, r12
    ja .Lecam_refused
    cmp word ptr [rbx + MCFG_SEGMENT], 0
    jne .Lecam_next
    mov rdi, [rbx + MCFG_BASE]
    movzx esi, byte ptr [rbx + MCFG_BUS_FIRST]
    movzx edx, byte ptr [rbx + MCFG_BUS_LAST]
    call pci_try_ecam
    lea rax, [rip + access_ecam]
    jnc .Lecam_leave
.Lecam_next:
    add rbx, MCFG_ALLOCATION_SIZE
    jmp .Lecam_allocation
.Lecam_refused:
    lea rdi, [rip + note_mcfg]
    lea rsi, [rip + mcfg_refused]
    call unit_note_text
.Lecam_ports:
    lea rax, [rip + access_ports]
.Lecam_leave:
    pop r12
    pop rbx
    return_frame
end_function pci_find_ecam

# pci_try_ecam -- open one range of buses, and compare what it says of the root bus with what the ports say
# In:       rdi = base:u64 (physical), esi = first:u32[0..255], edx = last:u32[0..255]
# Out:      cf = it is not used
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  boot unit
local_function pci_try_ecam
    call_frame
    call ecam_open
    jc .Ltry_leave
    mov edi, [rip + ecam_bus_first]
    call ecam_map_bus
    jc .Ltry_refuse
    shl edi, PCI_BUS_SHIFT
    mov esi, PCI_ID
    call pci_port_read32
    mov ecx, eax
    call ecam_read32
    cmp eax, ecx
    je .Ltry_leave                              # cf is clear: equal
.Ltry_refuse:
    mov qword ptr [rip + ecam_base], 0
    stc
.Ltry_leave:
    return_frame
end_function pci_try_ecam

# pci_find_class -- the next function of a class
# In:       edi = first:u32 (row to begin at), esi = class:u32 (24 bits), edx = mask:u32 (which bits of it count)
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rdi
# Context:  long mode, any IF
function pci_find_class
    call_frame
    push rbx
    push rcx
.Lclass_row:
    cmp edi, [rip + pci_count]
    jae .Lclass_none
    call pci_row
    inc edi
    mov ebx, [rax + PCI_ROW_CLASS]
    xor ebx, esi
    test ebx, edx
    jnz .Lclass_row
    clc
.Lclass_leave:
    pop rcx
    pop rbx
    return_frame
.Lclass_none:
    stc
    jmp .Lclass_leave
end_function pci_find_class
