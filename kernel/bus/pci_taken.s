# Purpose:  what the addresses of a bus must not touch.
# Mode:     64-bit
# Exports:  pci_collect_taken pci_taken
# Invariants: pci_taken holds, while a bus is worked on, every range of its kind that has an owner.
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "boot.inc"
.include "pci.inc"

.set PCI_TAKEN_MAX, MEMORY_ENTRIES_MAX + PCI_ROWS_MAX * PCI_SLOTS + 1   # every owner, and ECAM

.section .text, "ax"

# pci_collect_taken -- make pci_taken anew for a bus: all of the kind that has an address already
# In:       edi = bus:u32, esi = kind:u32
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  as pci_assign
function pci_collect_taken
    call_frame
    push rbx
    push r12
    push r13
    push rsi
    push rdi
    push r14
    mov r12d, edi
    mov r13d, esi
    mov qword ptr [rip + pci_taken + RANGES_COUNT], 0
    xor ebx, ebx
.Ltaken_slot:
    mov edi, ebx
    shr edi, PCI_CURSOR_SHIFT
    cmp edi, [rip + pci_count]
    jae .Ltaken_map
    mov ecx, ebx
    inc ebx
    and ecx, PCI_CURSOR_MASK
    cmp ecx, PCI_SLOTS
    jae .Ltaken_slot
    call pci_row
    movzx edx, byte ptr [rax + rcx + PCI_ROW_FLAGS]
    and edx, PCI_BAR_IO
    cmp edx, r13d
    jne .Ltaken_slot
    test r12d, r12d
    jz .Ltaken_add                              # the root: whatever lies behind bridges too
    cmp [rax + PCI_ROW_BDF + 1], r12b
    jne .Ltaken_slot
.Ltaken_add:
    shl ecx, PCI_SLOT_SHIFT
    mov rsi, [rax + rcx + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    test rsi, rsi
    jz .Ltaken_slot
    mov rdx, [rax + rcx + PCI_ROW_SLOTS + PCI_SLOT_LENGTH]
    add rdx, rsi
    lea rdi, [rip + pci_taken]
    call ranges_add
    jmp .Ltaken_slot
.Ltaken_map:
    or r12d, r13d
    jnz .Ltaken_leave                           # ports, or behind a bridge: the memory map says nothing
    call pci_take_memory_map
.Ltaken_leave:
    pop r14
    pop rdi
    pop rsi
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_collect_taken

# pci_take_memory_map -- add to pci_taken what the memory map names, of any type, and the range of ECAM
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  as pci_assign
local_function pci_take_memory_map
    call_frame
    push rbx
    push r12
    lea rbx, [rip + bootinfo_memory_map]
    mov r12, [rip + bootinfo_memory_count]
.Ltake_entry:
    dec r12
    js .Ltake_ecam
    call memory_entry_range
    jc .Ltake_next
    lea rdi, [rip + pci_taken]
    call ranges_add
.Ltake_next:
    add rbx, MEMORY_ENTRY_SIZE
    jmp .Ltake_entry
.Ltake_ecam:
    mov rsi, [rip + ecam_physical]
    test rsi, rsi
    jz .Ltake_leave
    mov edx, [rip + ecam_bus_last]
    inc edx
    shl rdx, ECAM_BUS_SHIFT
    add rdx, rsi
    lea rdi, [rip + pci_taken]
    call ranges_add
.Ltake_leave:
    pop r12
    pop rbx
    return_frame
end_function pci_take_memory_map

.section .data, "aw"
range_set pci_taken, PCI_TAKEN_MAX
