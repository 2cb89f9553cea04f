# Purpose:  say for people what stands on the PCI buses.
# Mode:     64-bit
# Exports:  pci_list
# Invariants: free text only; programs read the PXBOOT lines.
#
#   pci 00:01.0 1234:1111 class 030000 bar0=0xfd000000+0x1000000 bar2=0xfebf0000+0x1000
.intel_syntax noprefix
.include "macros.inc"
.include "pci.inc"

.set NIBBLE_SHIFT, 2                            # a hexadecimal digit has 4 bits

.section .rodata, "a"
text_pci:       .asciz "pci "
text_class:     .asciz " class "
text_bus:       .asciz " bus "
text_bar:       .asciz " bar"
text_window:    .asciz " window"
digits:         .ascii "0123456789abcdef"

.section .text, "ax"

# pci_list -- one line for each function
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, GS base set
function pci_list
    call_frame
    push rbx
    push r12
    xor r12d, r12d
.Llist_row:
    cmp r12d, [rip + pci_count]
    jae .Llist_done
    mov edi, r12d
    inc r12d
    call pci_row
    mov rbx, rax
    call pci_list_row
    jmp .Llist_row
.Llist_done:
    pop r12
    pop rbx
    return_frame
end_function pci_list

# pci_list_row -- the line of one function
# In:       rbx = row:ptr
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function pci_list_row
    call_frame
    call serial_line_begin
    lea rdi, [rip + text_pci]
    call serial_put_string
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    call pci_put_bdf
    mov edi, ' '
    call serial_put_char
    movzx edi, word ptr [rbx + PCI_ROW_VENDOR]
    mov esi, 4
    call pci_put_digits
    mov edi, ':'
    call serial_put_char
    movzx edi, word ptr [rbx + PCI_ROW_DEVICE]
    mov esi, 4
    call pci_put_digits
    lea rdi, [rip + text_class]
    call serial_put_string
    mov edi, [rbx + PCI_ROW_CLASS]
    mov esi, 6
    call pci_put_digits
    cmp byte ptr [rbx + PCI_ROW_HEADER], PCI_HEADER_BRIDGE
    jne .Llist_slots
    lea rdi, [rip + text_bus]
    call serial_put_string
    movzx edi, byte ptr [rbx + PCI_ROW_SECONDARY]
    mov esi, 2
    call pci_put_digits
.Llist_slots:
    call pci_list_slots
    call serial_line_end
    return_frame
end_function pci_list_row

# pci_list_slots -- the BARs and windows of one function that are not empty
# In:       rbx = row:ptr
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, GS base set, within a line
local_function pci_list_slots
    call_frame
    push r12
    push r13
    xor r12d, r12d
.Lslots_next:
    mov r13d, r12d
    shl r13d, PCI_SLOT_SHIFT
    lea r13, [rbx + r13 + PCI_ROW_SLOTS]
    cmp qword ptr [r13 + PCI_SLOT_LENGTH], 0
    je .Lslots_empty
    lea rdi, [rip + text_bar]
    test byte ptr [rbx + r12 + PCI_ROW_FLAGS], PCI_SLOT_WINDOW
    jz .Lslots_put
    lea rdi, [rip + text_window]
.Lslots_put:
    call serial_put_string
    lea edi, [r12 + '0']
    call serial_put_char
    mov edi, '='
    call serial_put_char
    mov rdi, [r13 + PCI_SLOT_BASE]
    call serial_put_hex
    mov edi, '+'
    call serial_put_char
    mov rdi, [r13 + PCI_SLOT_LENGTH]
    call serial_put_hex
.Lslots_empty:
    inc r12d
    cmp r12d, PCI_SLOTS
    jb .Lslots_next
    pop r13
    pop r12
    return_frame
end_function pci_list_slots

# pci_put_bdf -- send a function's address as people write it: 00:1f.2
# In:       edi = bdf:u32[0..0xffff]
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, GS base set, within a line
local_function pci_put_bdf
    call_frame
    push rbx
    push rbx
    mov ebx, edi
    shr edi, PCI_BUS_SHIFT
    mov esi, 2
    call pci_put_digits
    mov edi, ':'
    call serial_put_char
    mov edi, ebx
    shr edi, PCI_DEVICE_SHIFT
    and edi, PCI_DEVICE_MASK
    mov esi, 2
    call pci_put_digits
    mov edi, '.'
    call serial_put_char
    mov edi, ebx
    and edi, PCI_FUNCTION_MASK
    add edi, '0'
    call serial_put_char
    pop rbx
    pop rbx
    return_frame
end_function pci_put_bdf

# pci_put_digits -- send the low hexadecimal digits of a number, leading zeros too
# In:       rdi = number:u64, esi = count:u32[1..16]
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, any IF
local_function pci_put_digits
    call_frame
    push rbx
    push rcx
    mov rbx, rdi
    lea ecx, [rsi - 1]
    shl ecx, NIBBLE_SHIFT
.Ldigits_next:
    mov rax, rbx
    shr rax, cl
    and eax, 0xf
    lea rdx, [rip + digits]
    movzx edi, byte ptr [rdx + rax]
    call serial_put_char
    sub ecx, 1 << NIBBLE_SHIFT
    jns .Ldigits_next
    pop rcx
    pop rbx
    return_frame
end_function pci_put_digits
