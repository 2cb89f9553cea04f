# Purpose:  message signalled interrupts of any PCI function: MSI with one vector, MSI-X with one for each entry.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 6.8.1 (MSI), 6.8.2 (MSI-X); Intel SDM vol. 3, 10.11 (address and data)
# Exports:  msi_install msix_install msix_entry msix_set_mask
# Invariants: a vector has its handler before the device can raise it; an MSI-X entry is masked while it is written; the
#           table is used only where it lies whole in a memory BAR that has a place. Both forms go to the CPU that
#           installs, edge triggered, in physical mode.
#
#   MSI:    | control 16 | next 8 | id 8 | address 32 | (address high 32) | data 16 | (mask 32) |
#   MSI-X:  | control 16 | next 8 | id 8 | table: offset 29, BAR 3 | pending: the same |
#   entry:  | address 64 | data 32 | control 32 (0 = masked) |
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "pci.inc"
.include "apic.inc"

.section .text, "ax"

# msi_address -- where a message to the CPU that runs goes
# In:       none
# Out:      eax = address:u32, cf = its APIC id does not fit 8 bits
# Clobbers: none
# Context:  long mode, GS base set
local_function msi_address
    mov eax, dword ptr gs:[PERCPU_APIC_ID]
    cmp eax, MSI_DESTINATION_MAX + 1
    cmc
    jc .Laddress_return
    shl eax, MSI_DESTINATION_SHIFT
    add eax, MSI_ADDRESS                        # cf = 0: they do not overlap
.Laddress_return:
    ret
end_function msi_address

# msi_install -- serve the interrupt of a function by MSI, on the CPU that runs
# In:       rdi = row:ptr (of pci_table), rsi = handler:ptr, rdx = argument:u64
# Out:      eax = vector:u32 or error code, cf = refused: ERROR_UNSUPPORTED (no MSI, or a CPU that it cannot reach),
#           ERROR_FULL, ERROR_INVALID
# Clobbers: rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, any IF, GS base set, after lapic_init and the pci unit; one caller at a time
function msi_install
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r8, rsi
    mov r9, rdx
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_CAPABILITY_MSI
    call pci_find_capability
    jc .Lmsi_unsupported
    mov r12d, eax                               # the capability
    call msi_address
    jc .Lmsi_unsupported
    mov r14d, eax
    mov rdi, r8
    mov rsi, r9
    call interrupt_allocate
    jc .Lmsi_return
    mov r13d, eax                               # the vector
    mov rdi, rbx
    mov esi, r12d
    mov edx, r14d
    mov ecx, r13d
    call msi_write
    mov rdi, rbx
    mov esi, PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX
    call pci_enable                             # messages are writes to memory; the interrupt line falls silent
    mov eax, r13d
    clc
.Lmsi_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmsi_unsupported:
    mov eax, ERROR_UNSUPPORTED
    stc
    jmp .Lmsi_return
end_function msi_install

# msi_write -- fill the MSI capability and switch it on
# In:       rdi = row:ptr, esi = capability:u32[0x40..0xf0], edx = address:u32, ecx = vector:u32[0..255]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time
local_function msi_write
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12d, esi
    mov r13d, edx
    mov r14d, ecx
    movzx edi, word ptr [rdi + PCI_ROW_BDF]
    call pci_read32
    mov ebx, eax                                # control
    and ebx, ~(MSI_ENABLE | MSI_MULTIPLE_ENABLE_MASK)
    mov edx, ebx
    call pci_write32                            # off while it is changed
    lea esi, [r12 + MSI_CAP_ADDRESS]
    mov edx, r13d
    call pci_write32
    mov esi, r12d
    test ebx, MSI_WIDE
    jz .Lmsi_write_data
    lea esi, [r12 + MSI_CAP_ADDRESS_HIGH]
    xor edx, edx
    call pci_write32
    lea esi, [r12 + 4]
.Lmsi_write_data:
    mov r13d, esi
    lea esi, [r13 + MSI_CAP_DATA]
    mov edx, r14d
    call pci_write32
    test ebx, MSI_MASKABLE
    jz .Lmsi_write_enable
    lea esi, [r13 + MSI_CAP_MASK]
    xor edx, edx
    call pci_write32
.Lmsi_write_enable:
    mov esi, r12d
    mov edx, ebx
    or edx, MSI_ENABLE
    call pci_write32
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function msi_write

# msix_entry -- where an entry of a function's MSI-X table is mapped
# In:       rdi = row:ptr (of pci_table), esi = entry:u32
# Out:      rax = entry:ptr or error code, cf = refused: ERROR_UNSUPPORTED (no MSI-X), ERROR_INVALID (no such entry),
#           ERROR_MALFORMED (the table lies outside of its BAR), or as mmio_map
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time, after the pci unit
function msix_entry
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12d, esi
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_CAPABILITY_MSIX
    call pci_find_capability
    mov ecx, ERROR_UNSUPPORTED
    jc .Lentry_refused
    mov esi, eax
    call pci_read32
    shr eax, MSIX_LAST_SHIFT
    and eax, MSIX_LAST_MASK
    mov ecx, ERROR_INVALID
    cmp r12d, eax
    ja .Lentry_refused
    lea r13d, [rax + 1]
    shl r13d, MSIX_ENTRY_SHIFT                  # bytes of the table
    add esi, MSIX_CAP_TABLE
    call pci_read32
    mov ecx, ERROR_MALFORMED
    mov edx, eax
    and edx, MSIX_CAP_BAR_MASK
    sub eax, edx                                # offset of the table
    movzx esi, byte ptr [rbx + PCI_ROW_BARS]
    cmp edx, esi
    jae .Lentry_refused
    test byte ptr [rbx + rdx + PCI_ROW_FLAGS], PCI_BAR_IO
    jnz .Lentry_refused
    shl edx, PCI_SLOT_SHIFT
    lea rdx, [rbx + rdx + PCI_ROW_SLOTS]
    mov rdi, [rdx + PCI_SLOT_BASE]
    test rdi, rdi
    jz .Lentry_refused
    lea rsi, [rax + r13]
    cmp rsi, [rdx + PCI_SLOT_LENGTH]
    ja .Lentry_refused                          # an empty slot has length 0
    add rdi, rax
    mov esi, r13d
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lentry_return
    shl r12d, MSIX_ENTRY_SHIFT
    add rax, r12                                # cf is clear
.Lentry_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lentry_refused:
    mov eax, ecx
    stc
    jmp .Lentry_return
end_function msix_entry

# msix_install -- serve one entry of a function's MSI-X table, on the CPU that runs
# In:       rdi = row:ptr (of pci_table), esi = entry:u32, rdx = handler:ptr, rcx = argument:u64
# Out:      eax = vector:u32 or error code, cf = refused: as msix_entry, ERROR_FULL, ERROR_INVALID (no handler)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, any IF, GS base set, after lapic_init and the pci unit; one caller at a time
function msix_install
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r8, rdx
    mov r9, rcx
    mov r12d, esi
    mov esi, PCI_COMMAND_MEMORY
    call pci_enable                             # the table is in the device's memory
    mov esi, r12d
    call msix_entry
    jc .Lmsix_return
    mov r12, rax
    call msi_address
    jc .Lmsix_unsupported
    mov r14d, eax
    mov rdi, r8
    mov rsi, r9
    call interrupt_allocate
    jc .Lmsix_return
    mov r13d, eax
    mov dword ptr [r12 + MSIX_ENTRY_CONTROL], MSIX_ENTRY_MASKED
    mov [r12 + MSIX_ENTRY_ADDRESS], r14d
    mov dword ptr [r12 + MSIX_ENTRY_ADDRESS_HIGH], 0
    mov [r12 + MSIX_ENTRY_DATA], r13d
    mov dword ptr [r12 + MSIX_ENTRY_CONTROL], 0
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_CAPABILITY_MSIX
    call pci_find_capability
    mov esi, eax
    call pci_read32
    and eax, ~MSIX_MASK_ALL
    or eax, MSIX_ENABLE
    mov edx, eax
    call pci_write32
    mov rdi, rbx
    mov esi, PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX
    call pci_enable                             # messages are writes to memory; the interrupt line falls silent
    mov eax, r13d
    clc
.Lmsix_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmsix_unsupported:
    mov eax, ERROR_UNSUPPORTED
    stc
    jmp .Lmsix_return
end_function msix_install

# msix_set_mask -- hold the messages of an entry back, or let them go; what came meanwhile is sent then
# In:       rdi = row:ptr (of pci_table), esi = entry:u32, edx = masked:u32[0..1]
# Out:      rax = error:u64, cf = refused: as msix_entry
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller for each entry
function msix_set_mask
    call_frame
    push rbx
    push r12
    mov ebx, edx
    call msix_entry
    jc .Lset_mask_return
    mov [rax + MSIX_ENTRY_CONTROL], ebx
    mov ebx, [rax + MSIX_ENTRY_CONTROL]         # a read pushes the write to the device
    xor eax, eax
.Lset_mask_return:
    pop r12
    pop rbx
    return_frame
end_function msix_set_mask
