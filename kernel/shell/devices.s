# Purpose:  commands of the shell about devices: pci, gpu.
# Mode:     64-bit long mode
# Spec:     include/pci.inc (rows of pci_table)
# Exports:  rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "pci.inc"
.include "boot.inc"
.include "shell.inc"

.section .rodata, "a"
    .balign 8
bar_keys:       .quad bar_0, bar_1, bar_2, bar_3, bar_4, bar_5
size_keys:      .quad size_0, size_1, size_2, size_3, size_4, size_5
bar_0:          .asciz "bar0"
bar_1:          .asciz "bar1"
bar_2:          .asciz "bar2"
bar_3:          .asciz "bar3"
bar_4:          .asciz "bar4"
bar_5:          .asciz "bar5"
size_0:         .asciz "size0"
size_1:         .asciz "size1"
size_2:         .asciz "size2"
size_3:         .asciz "size3"
size_4:         .asciz "size4"
size_5:         .asciz "size5"

.section .text, "ax"

# command_pci -- pci: the functions that were found, and where their BARs lie
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_pci
    call_frame
    push rbx
    push r12
    lea rdi, [rip + name_pci]
    call out_begin
    lea rdi, [rip + key_functions]
    call out_list
    lea rbx, [rip + pci_table]
    mov r12d, dword ptr [rip + pci_count]
.Lpci_row:
    dec r12d
    js .Lpci_end
    call out_row
    mov rdi, rbx
    call pci_say_row
    call out_row_end
    add rbx, PCI_ROW_SIZE
    jmp .Lpci_row
.Lpci_end:
    call out_list_end
    call out_end
    clc
    pop r12
    pop rbx
    return_frame
end_function command_pci
shell_text name_pci, "pci"
shell_text key_functions, "functions"
shell_command command_pci, "pci", "", "the PCI functions and their BARs"

# pci_say_row -- one function: where it is, what it is, its BARs
# In:       rdi = row:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, in a row
local_function pci_say_row
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov rbx, rdi
    lea rdi, [rip + key_bus]
    movzx esi, word ptr [rbx + PCI_ROW_BDF]
    shr esi, PCI_BUS_SHIFT
    call out_number
    lea rdi, [rip + key_device]
    movzx esi, word ptr [rbx + PCI_ROW_BDF]
    shr esi, PCI_DEVICE_SHIFT
    and esi, PCI_DEVICE_MASK
    call out_number
    lea rdi, [rip + key_function]
    movzx esi, word ptr [rbx + PCI_ROW_BDF]
    and esi, PCI_FUNCTION_MASK
    call out_number
    lea rdi, [rip + key_vendor_id]
    movzx esi, word ptr [rbx + PCI_ROW_VENDOR]
    call out_hex
    lea rdi, [rip + key_device_id]
    movzx esi, word ptr [rbx + PCI_ROW_DEVICE]
    call out_hex
    lea rdi, [rip + key_class]
    mov esi, dword ptr [rbx + PCI_ROW_CLASS]
    call out_hex
    xor r12d, r12d
    movzx r13d, byte ptr [rbx + PCI_ROW_BARS]
    add rbx, PCI_ROW_SLOTS
.Lrow_slot:
    cmp r12d, r13d
    jae .Lrow_return
    cmp qword ptr [rbx + PCI_SLOT_LENGTH], 0
    je .Lrow_next
    lea rdi, [rip + bar_keys]
    mov rdi, qword ptr [rdi + r12 * 8]
    mov rsi, qword ptr [rbx + PCI_SLOT_BASE]
    call out_hex
    lea rdi, [rip + size_keys]
    mov rdi, qword ptr [rdi + r12 * 8]
    mov rsi, qword ptr [rbx + PCI_SLOT_LENGTH]
    call out_hex
.Lrow_next:
    add rbx, PCI_SLOT_SIZE
    inc r12d
    jmp .Lrow_slot
.Lrow_return:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function pci_say_row
shell_text key_bus, "bus"
shell_text key_device, "device"
shell_text key_function, "function"
shell_text key_vendor_id, "vendor_id"
shell_text key_device_id, "device_id"
shell_text key_class, "class"

# command_gpu -- gpu: the display device, and the mode of its picture
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_gpu
    call_frame
    push rbx
    push rbx
    mov rbx, qword ptr [rip + gpu_row]
    test rbx, rbx
    jz .Lgpu_none
    lea rdi, [rip + name_gpu]
    call out_begin
    mov rdi, rbx
    call pci_say_row
    cmp qword ptr [rip + framebuffer_va], 0
    je .Lgpu_end
    lea rdi, [rip + key_framebuffer]
    mov rsi, qword ptr [rip + framebuffer + FRAMEBUFFER_ADDRESS]
    call out_hex
    lea rdi, [rip + key_width]
    mov esi, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
    call out_number
    lea rdi, [rip + key_height]
    mov esi, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    call out_number
    lea rdi, [rip + key_pitch]
    mov esi, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    call out_number
    lea rdi, [rip + key_bits]
    mov esi, dword ptr [rip + framebuffer + FRAMEBUFFER_BITS]
    call out_number
.Lgpu_end:
    call out_end
    clc
.Lgpu_return:
    pop rbx
    pop rbx
    return_frame
.Lgpu_none:
    lea rax, [rip + text_no_gpu]
    stc
    jmp .Lgpu_return
end_function command_gpu
shell_text name_gpu, "gpu"
shell_text key_framebuffer, "framebuffer"
shell_text key_width, "width"
shell_text key_height, "height"
shell_text key_pitch, "pitch"
shell_text key_bits, "bits"
shell_text text_no_gpu, "this machine has no display device"
shell_command command_gpu, "gpu", "", "the display device and its picture"
