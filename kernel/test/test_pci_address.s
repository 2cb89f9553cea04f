# Purpose:  tests of the addresses that PCI functions have, whoever assigned them.
# Mode:     64-bit long mode
# Spec:     PCI Local Bus 3.0, 6.2.5.1; PCI-to-PCI Bridge 1.2, 3.2.5.8
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "pci.inc"
.include "rows.inc"

ktap_text text_none, "no PCI"
ktap_text text_aligned, "offset in a multiple of its size"
ktap_text text_power, "size is no power of two"
ktap_text text_ram, "no overlap with RAM"
ktap_text text_other, "slots that overlap"
ktap_text text_window, "outside of the window"

.section .text, "ax"

# test_pci_addresses -- assigned slots lie on multiples of their size, off RAM, apart from each other
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pci_addresses
    rows_begin .Laddresses_none
.Laddresses_row:
    xor ebx, ebx
.Laddresses_slot:
    mov rdi, r12
    mov esi, ebx
    call slot_range
    jc .Laddresses_next
    test byte ptr [r12 + rbx + PCI_ROW_FLAGS], PCI_SLOT_WINDOW
    jnz .Laddresses_next
    mov rdi, r12
    mov esi, ebx
    call check_slot
.Laddresses_next:
    inc ebx
    cmp ebx, PCI_SLOTS
    jb .Laddresses_slot
    add r12, PCI_ROW_SIZE
    dec r13d
    jnz .Laddresses_row
    rows_end .Laddresses_none
end_function test_pci_addresses
ktap_test test_pci_addresses, "pci_addresses"

# slot_range -- first and end of an assigned slot
# In:       rdi = row:ptr, esi = index:u32[0..5]
# Out:      r8 = first:u64, r9 = end:u64, cf = empty or not assigned
# Clobbers: rax
# Context:  long mode; in a test
local_function slot_range
    mov eax, esi
    shl eax, PCI_SLOT_SHIFT
    mov r8, [rdi + rax + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    mov r9, [rdi + rax + PCI_ROW_SLOTS + PCI_SLOT_LENGTH]
    add r9, r8
    cmp r8, 1
    jc .Lslot_range_leave
    cmp r8, r9
    cmc
.Lslot_range_leave:
    ret
end_function slot_range

# check_slot -- hold one assigned BAR against its size, RAM, the other slots and its window
# In:       rdi = row:ptr, esi = index:u32[0..5], r8 = first:u64, r9 = end:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function check_slot
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12d, esi
    mov r13, r8
    mov r14, r9
    sub r9, r8
    lea rax, [r9 - 1]
    mov rcx, rax
    and rax, r9
    and rcx, r13
    mov r10, rcx
    check text_power, rax, 0
    check text_aligned, r10, 0
    mov rdi, rbx
    mov esi, r12d
    call check_overlaps
    test byte ptr [rbx + r12 + PCI_ROW_FLAGS], PCI_BAR_IO
    jnz .Lslot_window
    lea rdi, [rip + memory_ram]
    mov rsi, r13
    mov rdx, r14
    call ranges_overlap
    check_cf text_ram, 1
.Lslot_window:
    mov edi, [rbx + PCI_ROW_PARENT]
    cmp edi, PCI_PARENT_ROOT
    je .Lslot_leave
    call pci_row
    movzx ecx, byte ptr [rbx + r12 + PCI_ROW_FLAGS]
    mov rdi, rax
    mov rsi, r13
    mov rdx, r14
    call inside_window
    check_cf text_window, 0
.Lslot_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function check_slot

# inside_window -- whether a range lies in a window of a bridge that passes its kind
# In:       rdi = bridge:ptr (row), rsi = first:u64, rdx = end:u64, ecx = flags:u32 (of the slot)
# Out:      cf = it does not
# Clobbers: rax, rcx, r8, r9, r10
# Context:  long mode; in a test
local_function inside_window
    call_frame
    push rbx
    push rsi
    mov r10, rsi
    and ecx, PCI_BAR_IO
    mov ebx, PCI_SLOT_WINDOW_IO
.Linside_next:
    movzx eax, byte ptr [rdi + rbx + PCI_ROW_FLAGS]
    and eax, PCI_BAR_IO
    cmp eax, ecx
    jne .Linside_other
    mov esi, ebx
    call slot_range
    jc .Linside_other
    cmp r10, r8
    jb .Linside_other
    cmp r9, rdx
    jae .Linside_leave                          # cf is clear
.Linside_other:
    inc ebx
    cmp ebx, PCI_SLOT_WINDOW_PREFETCH
    jbe .Linside_next
    stc
.Linside_leave:
    pop rsi
    pop rbx
    return_frame
end_function inside_window

# check_overlaps -- no other BAR of the same kind touches this one
# In:       rdi = row:ptr, esi = index:u32[0..5], r13 = first:u64, r14 = end:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function check_overlaps
    call_frame
    push rbx
    push r12
    push r15
    push r15
    mov r10, rdi
    mov r11d, esi
    movzx ecx, byte ptr [rdi + rsi + PCI_ROW_FLAGS]
    and ecx, PCI_BAR_IO
    xor ebx, ebx                                # overlaps
    lea rdi, [rip + pci_table]
    mov r15d, [rip + pci_count]
.Loverlaps_row:
    xor esi, esi
.Loverlaps_slot:
    cmp rdi, r10
    jne .Loverlaps_other
    cmp esi, r11d
    je .Loverlaps_next                          # itself
.Loverlaps_other:
    movzx eax, byte ptr [rdi + rsi + PCI_ROW_FLAGS]
    and eax, PCI_BAR_IO | PCI_SLOT_WINDOW
    cmp eax, ecx
    jne .Loverlaps_next
    call slot_range
    jc .Loverlaps_next
    cmp r8, r14
    jae .Loverlaps_next
    cmp r13, r9
    jae .Loverlaps_next
    inc ebx
.Loverlaps_next:
    inc esi
    cmp esi, PCI_SLOTS
    jb .Loverlaps_slot
    add rdi, PCI_ROW_SIZE
    dec r15d
    jnz .Loverlaps_row
    check text_other, rbx, 0
    pop r15
    pop r15
    pop r12
    pop rbx
    return_frame
end_function check_overlaps
