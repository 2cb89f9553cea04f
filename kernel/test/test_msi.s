# Purpose:  tests of message signalled interrupts with two devices that raise them on request: QEMU's edu (MSI) and the
#           82574 network controller (MSI-X). Without them the tests are skipped.
# Mode:     64-bit long mode
# Spec:     QEMU docs/specs/edu; Intel 82574 data sheet, 10.2.4 (ICS, IMS, IVAR)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "pci.inc"

.set EDU_ID, 0x11e81234
.set EDU_SIZE, 0x1000                           # of its registers, as far as the test needs them
.set EDU_STATUS, 0x24                           # interrupts that wait
.set EDU_RAISE, 0x60
.set EDU_ACKNOWLEDGE, 0x64
.set EDU_CAUSE, 0x5a
.set NIC_ID, 0x10d38086
.set NIC_SIZE, 0x1000
.set NIC_CTRL_EXT, 0x18
.set NIC_CTRL_EXT_PBA, 1 << 31                  # MSI-X in use
.set NIC_ICS, 0xc8
.set NIC_IMS, 0xd0
.set NIC_IVAR, 0xe4
.set NIC_CAUSE_RX0, 1 << 20
.set NIC_IVAR_RX0, 1 << 3 | 2                   # valid, vector 2
.set NIC_ENTRY, 2
.set NIC_ENTRIES_NONE, 2048                     # no table has this entry

ktap_text text_no_edu, "no edu device"
ktap_text text_no_nic, "no 82574"
ktap_text text_install, "install"
ktap_text text_map, "map"
ktap_text text_came, "came"
ktap_text text_cause, "cause"
ktap_text text_entry, "entry beyond the table"
ktap_text text_none, "MSI-X of a device without it"
ktap_text text_mask, "mask"
ktap_text text_masked, "came though masked"

.section .text, "ax"

# find_device -- the row of a device
# In:       edi = id:u32 (device << 16 | vendor)
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rcx
# Context:  long mode; in a test
local_function find_device
    lea rax, [rip + pci_table]
    mov ecx, [rip + pci_count]
.Lfind_next:
    test ecx, ecx
    stc
    jz .Lfind_return
    cmp [rax + PCI_ROW_VENDOR], edi
    je .Lfind_return                            # cf is clear
    add rax, PCI_ROW_SIZE
    dec ecx
    jmp .Lfind_next
.Lfind_return:
    ret
end_function find_device

# test_msi -- edu raises its interrupt by MSI
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_msi
    call_frame
    push rbx
    push r12
    push r13
    push r14
    sub rsp, 16
    mov qword ptr [rsp], 0
    mov edi, EDU_ID
    call find_device
    jc .Lmsi_skip
    mov rbx, rax
    mov rdi, rbx
    mov esi, PCI_COMMAND_MEMORY
    call pci_enable
    mov rdi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    mov esi, EDU_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    mov r12, rax
    check_done text_map
    mov rdi, rbx
    lea rsi, [rip + interrupt_test_count]
    mov rdx, rsp
    call msi_install
    mov r13d, eax
    check_cf text_install, 0
    mov dword ptr [r12 + EDU_RAISE], EDU_CAUSE
    mov rdi, rsp
    xor esi, esi
    call interrupt_test_wait
    check text_came, [rsp], 1
    mov eax, [r12 + EDU_STATUS]
    check text_cause, rax, EDU_CAUSE
    mov dword ptr [r12 + EDU_ACKNOWLEDGE], EDU_CAUSE
    mov rdi, rbx
    xor esi, esi
    lea rdx, [rip + interrupt_test_count]
    call msix_install
    check_refused text_none, ERROR_UNSUPPORTED
    mov edi, r13d
    call interrupt_remove
    mov eax, KTAP_DONE
.Lmsi_leave:
    add rsp, 16
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmsi_skip:
    lea rdi, [rip + text_no_edu]
    call ktap_skip
    jmp .Lmsi_leave
end_function test_msi
ktap_test test_msi, "interrupt_msi"

# test_msix -- the network controller raises one entry of its MSI-X table, held back while it is masked
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_msix
    call_frame
    push rbx
    push r12
    push r13
    push r14
    sub rsp, 16
    mov qword ptr [rsp], 0
    mov edi, NIC_ID
    call find_device
    jc .Lmsix_skip
    mov rbx, rax
    mov rdi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    mov esi, NIC_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    mov r12, rax
    check_done text_map
    mov rdi, rbx
    mov esi, NIC_ENTRIES_NONE
    lea rdx, [rip + interrupt_test_count]
    call msix_install
    check_refused text_entry, ERROR_INVALID
    mov rdi, rbx
    mov esi, NIC_ENTRY
    lea rdx, [rip + interrupt_test_count]
    mov rcx, rsp
    call msix_install
    mov r13d, eax
    check_cf text_install, 0
    mov rdi, rbx
    mov esi, NIC_ENTRY
    mov edx, 1
    call msix_set_mask
    check_done text_mask
    or dword ptr [r12 + NIC_CTRL_EXT], NIC_CTRL_EXT_PBA
    mov dword ptr [r12 + NIC_IVAR], NIC_IVAR_RX0
    mov dword ptr [r12 + NIC_IMS], NIC_CAUSE_RX0
    mov dword ptr [r12 + NIC_ICS], NIC_CAUSE_RX0
    sti
    mov eax, [r12 + NIC_CTRL_EXT]               # whatever was on its way is here after a read
    cli
    check text_masked, [rsp], 0
    mov rdi, rbx
    mov esi, NIC_ENTRY
    xor edx, edx
    call msix_set_mask
    mov rdi, rsp
    xor esi, esi
    call interrupt_test_wait
    check text_came, [rsp], 1
    mov edi, r13d
    call interrupt_remove
    mov eax, KTAP_DONE
.Lmsix_leave:
    add rsp, 16
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmsix_skip:
    lea rdi, [rip + text_no_nic]
    call ktap_skip
    jmp .Lmsix_leave
end_function test_msix
ktap_test test_msix, "interrupt_msix"
