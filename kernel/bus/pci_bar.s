# Purpose:  base address registers: size, write, enable.
# Mode:     64-bit
# Spec:     PCI Local Bus 3.0, 6.2.5.1 (address registers, sizing)
# Exports:  pci_size_bars pci_write_bar pci_enable
# Invariants: a function decodes nothing while a BAR of it holds a value that is not an address. Reserved and flag
#           bits are masked before a mask becomes a size; both halves of a 64-bit BAR are written and read.
#
#   memory  31..4 address | 3 prefetchable | 2..1 type: 0 = 32-bit, 2 = 64-bit with the next BAR | 0 = 0
#   ports   31..2 address                                                        | 1 reserved    | 0 = 1
#   all ones written, read back: address bits that are not decoded stay 0; size = -(those that are)
.intel_syntax noprefix
.include "macros.inc"
.include "pci.inc"

.section .text, "ax"

# pci_size_bars -- fill the BAR slots of a row from the function's registers
# In:       rdi = row:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF, one caller at a time; nobody uses the function's memory meanwhile
function pci_size_bars
    call_frame
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push r12
    mov rbx, rdi
    movzx eax, byte ptr [rbx + PCI_ROW_HEADER]
    cmp eax, PCI_HEADER_CARDBUS
    ja .Lsize_leave                             # a layout that is not known
    lea rcx, [rip + bars_of_header]
    movzx eax, byte ptr [rcx + rax]
    mov [rbx + PCI_ROW_BARS], al
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_COMMAND
    call pci_read32
    movzx r12d, ax
    mov edx, r12d
    and edx, ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    call pci_write32                            # zeros to the status half change nothing
    xor ecx, ecx
.Lsize_bar:
    cmp cl, [rbx + PCI_ROW_BARS]
    jae .Lsize_restore
    call pci_size_bar
    test byte ptr [rbx + rcx + PCI_ROW_FLAGS], PCI_SLOT_64
    jz .Lsize_next
    inc ecx                                     # the next register is the upper half
.Lsize_next:
    inc ecx
    jmp .Lsize_bar
.Lsize_restore:
    mov esi, PCI_COMMAND
    mov edx, r12d
    call pci_write32
.Lsize_leave:
    pop r12
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    return_frame
end_function pci_size_bars

# pci_size_bar -- fill one slot
# In:       rbx = row:ptr, edi = bdf:u32, ecx = index:u32[0..5]
# Out:      none
# Clobbers: rax, rdx, rsi
# Context:  as pci_size_bars, decoding off
local_function pci_size_bar
    call_frame
    push r12
    push r13
    push r14
    push r15
    lea esi, [rcx * PCI_BAR_SPACING + PCI_BAR0]
    call pci_probe_register
    mov r12d, eax                               # value
    mov r13d, edx                               # mask
    test edx, edx
    jz .Lsize_bar_leave                         # not implemented
    test r12d, PCI_BAR_IO
    jnz .Lsize_bar_io
    mov r15d, r12d
    and r15d, PCI_BAR_PREFETCH
    and r12d, ~PCI_BAR_MEMORY_FLAGS
    and r13d, ~PCI_BAR_MEMORY_FLAGS
    mov eax, edx
    and eax, PCI_BAR_TYPE_MASK
    cmp eax, PCI_BAR_TYPE_64
    jne .Lsize_bar_32
    lea eax, [rcx + 1]
    cmp al, [rbx + PCI_ROW_BARS]
    jae .Lsize_bar_32                           # there is no next register
    or r15d, PCI_SLOT_64
    add esi, PCI_BAR_SPACING
    call pci_probe_register
    shl rax, 32
    or r12, rax
    shl rdx, 32
    or r13, rdx
    neg r13
    jmp .Lsize_bar_store
.Lsize_bar_io:
    mov r15d, PCI_BAR_IO
    and r12d, ~PCI_BAR_IO_FLAGS
    and r13d, ~PCI_BAR_IO_FLAGS
    test r13d, PCI_BAR_IO_HIGH
    jnz .Lsize_bar_32
    or r13d, PCI_BAR_IO_HIGH
.Lsize_bar_32:
    neg r13d                                    # and clears the upper half
.Lsize_bar_store:
    mov eax, ecx
    shl eax, PCI_SLOT_SHIFT
    mov [rbx + rax + PCI_ROW_SLOTS + PCI_SLOT_BASE], r12
    mov [rbx + rax + PCI_ROW_SLOTS + PCI_SLOT_LENGTH], r13
    mov [rbx + rcx + PCI_ROW_FLAGS], r15b
.Lsize_bar_leave:
    pop r15
    pop r14
    pop r13
    pop r12
    return_frame
end_function pci_size_bar

# pci_probe_register -- what a register holds, and which of its bits can be set
# In:       edi = bdf:u32, esi = offset:u32
# Out:      eax = value:u32 (which it holds again), edx = mask:u32
# Clobbers: none
# Context:  as pci_size_bars, decoding off
local_function pci_probe_register
    call_frame
    push rbx
    push rcx
    call pci_read32
    mov ebx, eax
    mov edx, PCI_BAR_SIZING
    call pci_write32
    call pci_read32
    mov ecx, eax
    mov edx, ebx
    call pci_write32
    mov edx, ecx
    mov eax, ebx
    pop rcx
    pop rbx
    return_frame
end_function pci_probe_register

# pci_write_bar -- write the base of a slot into its BAR
# In:       rdi = row:ptr, esi = index:u32[0..5]
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF, one caller at a time
function pci_write_bar
    call_frame
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push r12
    mov rbx, rdi
    mov ecx, esi
    movzx edi, word ptr [rbx + PCI_ROW_BDF]
    mov esi, PCI_COMMAND
    call pci_read32
    movzx r12d, ax
    mov edx, r12d
    and edx, ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    call pci_write32                            # between the halves the address is neither the old nor the new
    mov eax, ecx
    shl eax, PCI_SLOT_SHIFT
    mov edx, [rbx + rax + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    lea esi, [rcx * PCI_BAR_SPACING + PCI_BAR0]
    call pci_write32                            # the flag bits are read-only
    test byte ptr [rbx + rcx + PCI_ROW_FLAGS], PCI_SLOT_64
    jz .Lwrite_bar_restore
    mov eax, ecx
    shl eax, PCI_SLOT_SHIFT
    mov edx, [rbx + rax + PCI_ROW_SLOTS + PCI_SLOT_BASE + PCI_BAR_SPACING]
    add esi, PCI_BAR_SPACING
    call pci_write32
.Lwrite_bar_restore:
    mov esi, PCI_COMMAND
    mov edx, r12d
    call pci_write32
    pop r12
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    return_frame
end_function pci_write_bar

# pci_enable -- set bits of a function's command register
# In:       rdi = row:ptr, esi = bits:u32 (PCI_COMMAND_*)
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF, one caller at a time
function pci_enable
    call_frame
    push rdi
    push rsi
    push rdx
    push rcx
    mov ecx, esi
    movzx edi, word ptr [rdi + PCI_ROW_BDF]
    mov esi, PCI_COMMAND
    call pci_read32
    movzx edx, ax
    or edx, ecx
    call pci_write32
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    return_frame
end_function pci_enable

.section .rodata, "a"
bars_of_header: .byte PCI_BARS_DEVICE, PCI_BARS_BRIDGE, PCI_BARS_CARDBUS
