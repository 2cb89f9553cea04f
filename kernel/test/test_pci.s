# Purpose:  tests of the PCI table: it says what the functions say, and its addresses fit together.
# Mode:     64-bit long mode
# Spec:     PCI Local Bus 3.0, 6.2.5.1
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "registers.inc"
.include "layout.inc"
.include "pci.inc"
.include "rows.inc"

.set BDF_HOST, 0                                # 00:00.0
.set OFFSET_EXTENDED, 0x100                     # beyond what the ports reach
.set OFFSET_BEYOND, 0x1000
.set OFFSET_MISALIGNED, 2

ktap_text text_none, "no PCI"
ktap_text text_id, "id"
ktap_text text_class, "class"
ktap_text text_ports, "id at the ports"
ktap_text text_reach, "reached"
ktap_text text_count, "functions"
ktap_text text_size, "size again"
ktap_text text_base, "base again"
ktap_text text_register, "register"
ktap_text text_command, "command"

.section .bss, "aw", @nobits
    .balign 8
row_again:
    .skip PCI_ROW_SIZE

.section .text, "ax"

# test_pci_identity -- each row says what configuration space says, by ECAM and by the ports alike
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pci_identity
    rows_begin .Lidentity_none
.Lidentity_row:
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    mov esi, PCI_ID
    call pci_read32
    mov ebx, eax
    mov eax, [r12 + PCI_ROW_VENDOR]
    mov ecx, eax
    check text_id, rbx, rcx
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    mov esi, PCI_ID
    call pci_port_read32
    mov ecx, ebx
    check text_ports, rax, rcx
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    mov esi, PCI_CLASS
    call pci_read32
    shr eax, 8
    mov ecx, [r12 + PCI_ROW_CLASS]
    check text_class, rax, rcx
    add r12, PCI_ROW_SIZE
    dec r13d
    jnz .Lidentity_row
    rows_end .Lidentity_none
end_function test_pci_identity
ktap_test test_pci_identity, "pci_identity"

# test_pci_reach -- dwords only, within 256 bytes at the ports and 4096 through ECAM
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pci_reach
    rows_begin .Lreach_none
    mov edi, BDF_HOST
    mov esi, OFFSET_MISALIGNED
    call pci_read32
    check_cf text_reach, 1
    mov edi, BDF_HOST
    mov esi, OFFSET_BEYOND
    call pci_read32
    check_cf text_reach, 1
    mov edi, PCI_BDF_MAX + 1
    xor esi, esi
    call pci_read32
    check_cf text_reach, 1
    mov edi, BDF_HOST
    mov esi, OFFSET_EXTENDED
    call pci_port_read32
    check_cf text_reach, 1
    cmp qword ptr [rip + ecam_base], 0
    je .Lreach_done
    mov edi, BDF_HOST
    mov esi, OFFSET_EXTENDED
    call ecam_address
    check_cf text_reach, 0
.Lreach_done:
    rows_end .Lreach_none
end_function test_pci_reach
ktap_test test_pci_reach, "pci_reach"

# test_pci_complete -- an enumeration of bus 0 by hand, at the ports, finds as many functions as the table has
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pci_complete
    rows_begin .Lcomplete_none
    xor ebx, ebx                                # rows of bus 0
.Lcomplete_row:
    cmp byte ptr [r12 + PCI_ROW_BDF + 1], 1
    adc ebx, 0
    add r12, PCI_ROW_SIZE
    dec r13d
    jnz .Lcomplete_row
    xor r13d, r13d                              # bdf
    xor r14d, r14d                              # functions that answer
.Lcomplete_function:
    mov edi, r13d
    mov esi, PCI_ID
    call pci_port_read32
    cmc
    adc r14d, 0
    inc r13d
    cmp r13d, 1 << PCI_BUS_SHIFT
    jb .Lcomplete_function
    check text_count, rbx, r14
    rows_end .Lcomplete_none
end_function test_pci_complete
ktap_test test_pci_complete, "pci_complete"

# test_pci_size_again -- sizing leaves every register as it was, and gives the same sizes
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pci_size_again
    rows_begin .Lagain_none
.Lagain_row:
    lea rdi, [rip + row_again]
    mov ecx, PCI_ROW_SIZE / 8
    xor eax, eax
    rep stosq
    mov ax, [r12 + PCI_ROW_BDF]
    mov [rip + row_again + PCI_ROW_BDF], ax
    mov al, [r12 + PCI_ROW_HEADER]
    mov [rip + row_again + PCI_ROW_HEADER], al
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    mov esi, PCI_COMMAND
    call pci_read32
    movzx r14d, ax
    lea rdi, [rip + row_again]
    call pci_size_bars
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    mov esi, PCI_COMMAND
    call pci_read32
    movzx eax, ax
    check text_command, rax, r14
    xor ebx, ebx
.Lagain_slot:
    cmp bl, [r12 + PCI_ROW_BARS]
    jae .Lagain_next
    mov r14d, ebx
    shl r14d, PCI_SLOT_SHIFT
    lea rcx, [rip + row_again + PCI_ROW_SLOTS]
    check text_size, [rcx + r14 + PCI_SLOT_LENGTH], [r12 + r14 + PCI_ROW_SLOTS + PCI_SLOT_LENGTH]
    lea rcx, [rip + row_again + PCI_ROW_SLOTS]
    check text_base, [rcx + r14 + PCI_SLOT_BASE], [r12 + r14 + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    cmp qword ptr [r12 + r14 + PCI_ROW_SLOTS + PCI_SLOT_LENGTH], 0
    je .Lagain_empty
    movzx edi, word ptr [r12 + PCI_ROW_BDF]
    lea esi, [rbx * PCI_BAR_SPACING + PCI_BAR0]
    call pci_read32                             # what the register holds after all
    mov ecx, PCI_BAR_MEMORY_FLAGS
    test byte ptr [r12 + rbx + PCI_ROW_FLAGS], PCI_BAR_IO
    jz .Lagain_memory
    mov ecx, PCI_BAR_IO_FLAGS
.Lagain_memory:
    not ecx
    and eax, ecx
    mov ecx, [r12 + r14 + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    check text_register, rax, rcx
.Lagain_empty:
    inc ebx
    jmp .Lagain_slot
.Lagain_next:
    add r12, PCI_ROW_SIZE
    dec r13d
    jnz .Lagain_row
    rows_end .Lagain_none
end_function test_pci_size_again
ktap_test test_pci_size_again, "pci_size_again"
