# Purpose:  give addresses to the BARs and bridge windows that firmware left empty.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 6.2.5.1 (a BAR lies on a multiple of its size); PCI-to-PCI Bridge 1.2, 3.2.5.8
# Exports:  pci_assign
# Invariants: what firmware assigned is never moved and never overlapped; nothing is placed on RAM, on what the
#           memory map reserves, or on ECAM. Behind a bridge everything lies in the bridge's window.
#
#   1  from the highest bus down: an empty window gets the size of what stands behind it, a power of two
#   2  from bus 0 up: the largest empty slot first, from the ceiling downwards; 64-bit ones that do not fit below
#      4 GB go above the end of RAM. Powers of two in falling order leave no gaps.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "pci.inc"

.section .text, "ax"

# pci_assign -- size the windows, place every empty slot, open the bridges
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, one caller at a time, after the scan
function pci_assign
    call_frame
    push rbx
    push r12
    call pci_highest_bus
    mov ebx, eax
    mov r12d, eax
.Lassign_size:
    test ebx, ebx
    jz .Lassign_place
    mov edi, ebx
    call pci_size_windows
    dec ebx
    jmp .Lassign_size
.Lassign_place:                                 # ebx = 0
    mov edi, ebx
    xor esi, esi
    call pci_place_bus
    mov edi, ebx
    mov esi, PCI_BAR_IO
    call pci_place_bus
    inc ebx
    cmp ebx, r12d
    jbe .Lassign_place
    xor ebx, ebx
.Lassign_open:
    cmp ebx, [rip + pci_count]
    jae .Lassign_done
    mov edi, ebx
    inc ebx
    call pci_row
    cmp byte ptr [rax + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Lassign_open
    mov rdi, rax
    call pci_write_windows
    jmp .Lassign_open
.Lassign_done:
    pop r12
    pop rbx
    return_frame
end_function pci_assign

# pci_highest_bus -- the highest bus number on which a function was found
# In:       none
# Out:      eax = bus:u32
# Clobbers: rcx, rdx, rdi
# Context:  long mode, any IF
local_function pci_highest_bus
    xor eax, eax
    lea rdi, [rip + pci_table]
    mov ecx, [rip + pci_count]
.Lhighest_bus_row:
    dec ecx
    js .Lhighest_bus_done
    movzx edx, byte ptr [rdi + PCI_ROW_BDF + 1]
    cmp edx, eax
    cmova eax, edx
    add rdi, PCI_ROW_SIZE
    jmp .Lhighest_bus_row
.Lhighest_bus_done:
    ret
end_function pci_highest_bus

# pci_bridge_to -- the bridge whose secondary bus is the given one
# In:       edi = bus:u32[1..255]
# Out:      rax = row:ptr, cf = there is none
# Clobbers: none
# Context:  long mode, any IF
function pci_bridge_to
    push rcx
    lea rax, [rip + pci_table]
    mov ecx, [rip + pci_count]
.Lbridge_to_row:
    sub ecx, 1
    jb .Lbridge_to_leave
    cmp byte ptr [rax + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Lbridge_to_next
    cmp [rax + PCI_ROW_SECONDARY], dil
    je .Lbridge_to_leave                        # cf is clear: equal
.Lbridge_to_next:
    add rax, PCI_ROW_SIZE
    jmp .Lbridge_to_row
.Lbridge_to_leave:
    pop rcx
    ret
end_function pci_bridge_to

# pci_size_windows -- give the empty windows of the bridge to a bus the size of what stands behind it
# In:       edi = bus:u32[1..255]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  as pci_assign, the buses behind this one are done
local_function pci_size_windows
    call_frame
    push rbx
    push r12
    mov r12d, edi
    call pci_bridge_to
    jc .Lsize_windows_leave
    mov rbx, rax
    xor esi, esi
    mov ecx, PCI_WINDOW_MEMORY_SIZE
    lea rdx, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_MEMORY * PCI_SLOT_SIZE]
    call pci_size_window
    mov edi, r12d
    mov esi, PCI_BAR_IO
    mov ecx, PCI_WINDOW_IO_SIZE
    lea rdx, [rbx + PCI_ROW_SLOTS + PCI_SLOT_WINDOW_IO * PCI_SLOT_SIZE]
    call pci_size_window
.Lsize_windows_leave:
    pop r12
    pop rbx
    return_frame
end_function pci_size_windows

# pci_size_window -- sum up what is empty on a bus, and make a window of it
# In:       edi = bus:u32, esi = kind:u32 (0, PCI_BAR_IO), rcx = unit:u64, rdx = slot:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  as pci_size_windows
local_function pci_size_window
    call_frame
    push rbx
    push r12
    push r13
    push r14
    cmp qword ptr [rdx + PCI_SLOT_BASE], 0
    jne .Lsize_window_leave                     # firmware's
    mov r12, rdx
    mov r13, rcx
    mov r14d, edi
    xor ebx, ebx                                # sum
    xor eax, eax
.Lsize_window_slot:
    mov edi, r14d
    call pci_next_empty
    jc .Lsize_window_round
    mov rdi, [rdx + PCI_SLOT_LENGTH]
    call pci_span
    add rbx, rdi
    jmp .Lsize_window_slot
.Lsize_window_round:
    test rbx, rbx
    jz .Lsize_window_leave
.Lsize_window_double:
    cmp r13, rbx
    jae .Lsize_window_store
    shl r13, 1
    jnc .Lsize_window_double
    jmp .Lsize_window_leave                     # beyond 64 bits
.Lsize_window_store:
    mov [r12 + PCI_SLOT_LENGTH], r13
.Lsize_window_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_size_window

# pci_span -- the room that a slot takes: a memory BAR has its pages for itself, so that it can be mapped alone
# In:       rdi = size:u64, esi = kind:u32 (0 = memory, PCI_BAR_IO)
# Out:      rdi = span:u64
# Clobbers: none
# Context:  long mode, any IF
function pci_span
    test esi, esi
    jnz .Lspan_done
    cmp rdi, PAGE_SIZE
    jae .Lspan_done
    mov edi, PAGE_SIZE
.Lspan_done:
    ret
end_function pci_span

# pci_next_empty -- the next slot of a bus that wants an address
# In:       edi = bus:u32, esi = kind:u32 (0 = memory, PCI_BAR_IO), rax = cursor:u64 (0 at first, then as returned)
# Out:      rax = cursor:u64 (row << 3 | index, of the slot behind), rdx = slot:ptr, cf = there is none
# Clobbers: none
# Context:  long mode, any IF
function pci_next_empty
    push rbx
    push rcx
.Lempty_slot:
    mov rbx, rax
    shr rbx, PCI_CURSOR_SHIFT
    cmp ebx, [rip + pci_count]
    jae .Lempty_none
    shl rbx, PCI_ROW_SHIFT
    lea rcx, [rip + pci_table]
    add rbx, rcx
    mov ecx, eax
    and ecx, PCI_CURSOR_MASK
    cmp ecx, PCI_SLOTS
    jae .Lempty_row
    inc rax
    cmp [rbx + PCI_ROW_BDF + 1], dil
    jne .Lempty_row
    mov dl, [rbx + rcx + PCI_ROW_FLAGS]
    test dl, PCI_SLOT_FAILED
    jnz .Lempty_slot
    and edx, PCI_BAR_IO
    cmp edx, esi
    jne .Lempty_slot
    shl ecx, PCI_SLOT_SHIFT
    lea rdx, [rbx + rcx + PCI_ROW_SLOTS]
    cmp qword ptr [rdx + PCI_SLOT_BASE], 0
    jne .Lempty_slot
    cmp qword ptr [rdx + PCI_SLOT_LENGTH], 0
    je .Lempty_slot
    pop rcx
    pop rbx
    clc
    ret
.Lempty_row:
    or eax, PCI_CURSOR_MASK                     # to slot 0 of the next row
    inc rax
    jmp .Lempty_slot
.Lempty_none:
    pop rcx
    pop rbx
    stc
    ret
end_function pci_next_empty
