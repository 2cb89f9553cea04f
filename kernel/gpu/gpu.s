# Purpose:  the boot unit `gpu`: find the display device, map the page of its BAR0 that holds the mailbox.
# Mode:     64-bit
# Spec:     PCI Code and ID Assignment 1.11 (base class 03h); QEMU docs/specs/standard-vga.rst
# Exports:  gpu_init gpu_map_bar0; gpu_row gpu_bar0 gpu_bar0_size gpu_mailbox
# Invariants: BAR0 counts as memory of the device only when it is prefetchable: reading and writing it has no side
#           effects then, whoever made the device. No device, or one without such a BAR, is no fault.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "layout.inc"
.include "pci.inc"
.include "gpu.inc"

.section .rodata, "a"
note_bdf:       .asciz "bdf"
note_id:        .asciz "id"
note_bar0:      .asciz "bar0"
note_size:      .asciz "size"
note_error:     .asciz "error"
note_reason:    .asciz "reason"
reason_none:    .asciz "no-display-device"
reason_no_bar:  .asciz "no-framebuffer-bar"

.section .text, "ax"

# gpu_init -- find the display device and map its mailbox page
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is none, or none with a framebuffer in BAR0)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the pci unit; boot unit
function gpu_init
    call_frame
    push rbx
    push r12
    call gpu_find
    mov rbx, rax
    lea rsi, [rip + reason_none]
    jc .Lgpu_skip
    lea rdi, [rip + note_bdf]
    movzx esi, word ptr [rbx + PCI_ROW_BDF]
    call unit_note
    lea rdi, [rip + note_id]
    mov esi, [rbx + PCI_ROW_VENDOR]
    call unit_note
    mov rdi, rbx
    call gpu_has_framebuffer
    lea rsi, [rip + reason_no_bar]
    jc .Lgpu_skip
    mov [rip + gpu_row], rbx
    mov rdi, rbx
    mov esi, PCI_COMMAND_MEMORY | PCI_COMMAND_IO
    call pci_enable
    mov rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_BASE]
    mov [rip + gpu_bar0], rsi
    lea rdi, [rip + note_bar0]
    call unit_note
    mov rsi, [rbx + PCI_ROW_SLOTS + PCI_SLOT_LENGTH]
    mov [rip + gpu_bar0_size], rsi
    lea rdi, [rip + note_size]
    call unit_note
    mov rdi, [rip + gpu_bar0]
    call gpu_map_bar0
    jc .Lgpu_fail
    mov [rip + gpu_mailbox], rax
    mov eax, BOOT_RESULT_OK
.Lgpu_leave:
    pop r12
    pop rbx
    return_frame
.Lgpu_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Lgpu_leave
.Lgpu_fail:
    lea rdi, [rip + note_error]
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_FAIL
    jmp .Lgpu_leave
end_function gpu_init

# gpu_find -- the display device: the first with a framebuffer in BAR0, else the first of the class
# In:       none
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after the pci unit
local_function gpu_find
    call_frame
    push rbx
    push r12
    xor r12d, r12d                              # the first of the class
    xor edi, edi
.Lgpu_next:
    mov esi, PCI_CLASS_DISPLAY
    mov edx, PCI_CLASS_BASE_MASK
    call pci_find_class
    jc .Lgpu_any
    mov ebx, edi                                # where the search goes on
    test r12, r12
    cmovz r12, rax
    mov rdi, rax
    call gpu_has_framebuffer
    mov edi, ebx
    jc .Lgpu_next
    jmp .Lgpu_found
.Lgpu_any:
    mov rax, r12
    cmp r12, 1                                  # cf when there is none
.Lgpu_found:
    pop r12
    pop rbx
    return_frame
end_function gpu_find

# gpu_has_framebuffer -- whether BAR0 of a function is memory like a framebuffer's, and has an address
# In:       rdi = row:ptr
# Out:      cf = not
# Clobbers: none
# Context:  long mode, any IF
local_function gpu_has_framebuffer
    push rax
    mov al, [rdi + PCI_ROW_FLAGS]
    and al, PCI_BAR_IO | PCI_BAR_PREFETCH
    cmp al, PCI_BAR_PREFETCH
    jne .Lframebuffer_not
    cmp qword ptr [rdi + PCI_ROW_SLOTS + PCI_SLOT_BASE], PAGE_SIZE
    jb .Lframebuffer_not                        # not assigned
    cmp qword ptr [rdi + PCI_ROW_SLOTS + PCI_SLOT_LENGTH], MAILBOX_SIZE
    jb .Lframebuffer_not
    pop rax
    clc
    ret
.Lframebuffer_not:
    pop rax
    stc
    ret
end_function gpu_has_framebuffer

# gpu_map_bar0 -- map the one page of BAR0 that holds the mailbox, uncacheable
# In:       rdi = pa:u64 (BAR0)
# Out:      rax = va:ptr or error code, cf = as mmio_check and page_map
# Clobbers: none
# Context:  as frame_alloc, after the paging unit
function gpu_map_bar0
    call_frame
    push rdi
    push rsi
    push rdx
    push rcx
    mov esi, MAILBOX_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_check
    jc .Lbar0_leave
    mov rsi, rdi
    mov rax, MMIO_BASE
    add rdi, rax
    mov rdx, PTE_WRITE | PTE_NX | PTE_GLOBAL | PTE_CACHE_UC
    call page_map
    jc .Lbar0_leave
    mov rax, rdi
.Lbar0_leave:
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    return_frame
end_function gpu_map_bar0

.section .bss, "aw", @nobits
    .balign 8
object gpu_row                                  # the row of the display device, 0 = none
    .skip 8
end_object gpu_row
object gpu_bar0                                 # physical
    .skip 8
end_object gpu_bar0
object gpu_bar0_size
    .skip 8
end_object gpu_bar0_size
object gpu_mailbox                              # virtual address of the mailbox page
    .skip 8
end_object gpu_mailbox
