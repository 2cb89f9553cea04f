# Purpose:  tests of the display device: how its memory is mapped, the mailbox, the picture.
# Mode:     64-bit long mode
# Spec:     include/gpu.inc, include/picture.inc
# Exports:  rows of section .ktap
# Invariants: the mailbox is set up again after a test, the picture is left as it was.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "boot.inc"
.include "pci.inc"
.include "gpu.inc"
.include "picture.inc"

.set PATTERN, 0x89abcdef
.set DEVICE_BITS, PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_GLOBAL

ktap_text text_no_gpu, "no GPU with a framebuffer"
ktap_text text_no_picture, "no framebuffer"
ktap_text text_class, "class"
ktap_text text_walk, "not mapped"
ktap_text text_entry, "entry"
ktap_text text_bits, "bits of the entry"
ktap_text text_level, "level"
ktap_text text_register, "register"
ktap_text text_check, "first state"
ktap_text text_changed, "changed state"
ktap_text text_pixel, "pixel"
ktap_text text_checksum, "checksum"
ktap_text text_apart, "picture in the mailbox page"

.section .text, "ax"

# test_gpu_mapping -- the mailbox page is the first of BAR0, uncacheable, not executable
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_gpu_mapping
    call_frame
    push rbx
    push r12
    mov rbx, [rip + gpu_row]
    test rbx, rbx
    jz .Lmapping_none
    mov eax, [rbx + PCI_ROW_CLASS]
    and eax, PCI_CLASS_BASE_MASK
    check text_class, rax, PCI_CLASS_DISPLAY
    mov rdi, [rip + gpu_mailbox]
    call page_walk
    setc cl
    mov r12, [rax]
    mov rbx, rdx
    movzx ecx, cl
    check text_walk, rcx, 0
    check text_level, rbx, PAGE_LEVEL_PT
    and r12, ~(PTE_ACCESSED | PTE_DIRTY)
    mov rcx, DEVICE_BITS | PTE_CACHE_UC
    or rcx, [rip + gpu_bar0]
    check text_entry, r12, rcx
    mov eax, KTAP_DONE
.Lmapping_leave:
    pop r12
    pop rbx
    return_frame
.Lmapping_none:
    lea rdi, [rip + text_no_gpu]
    call ktap_skip
    jmp .Lmapping_leave
end_function test_gpu_mapping
ktap_test test_gpu_mapping, "gpu_mailbox_mapping"

# test_mailbox -- each register holds what is written to it alone; the set-up brings the first state back
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_mailbox
    call_frame
    push rbx
    push r12
    mov rbx, [rip + gpu_mailbox]
    test rbx, rbx
    jz .Lmailbox_none
    mov rdi, rbx
    call mailbox_setup
    mov r12d, MAILBOX_CMD
.Lmailbox_register:
    mov rdi, rbx
    call mailbox_check
    check_done text_check
    mov dword ptr [rbx + r12], PATTERN
    mov eax, [rbx + r12]
    mov ecx, PATTERN
    check text_register, rax, rcx
    mov rdi, rbx
    call mailbox_check
    check_refused text_changed, ERROR_INVALID
    mov rdi, rbx
    call mailbox_setup
    add r12d, MAILBOX_STATUS - MAILBOX_CMD
    cmp r12d, MAILBOX_DOORBELL
    jbe .Lmailbox_register
    mov rdi, rbx
    call mailbox_check
    check_done text_check
    mov eax, KTAP_DONE
.Lmailbox_leave:
    pop r12
    pop rbx
    return_frame
.Lmailbox_none:
    lea rdi, [rip + text_no_gpu]
    call ktap_skip
    jmp .Lmailbox_leave
end_function test_mailbox
ktap_test test_mailbox, "mailbox_registers"

# test_picture -- corners of the picture, its mapping, and a checksum of every pixel
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_picture
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, [rip + framebuffer_va]
    test rbx, rbx
    jz .Lpicture_none
    mov rdi, rbx
    and rdi, ~PAGE_MASK
    call page_walk
    mov r12, [rax]
    mov rax, PTE_NX | PTE_WRITE | PTE_PRESENT | PTE_PCD | PTE_PWT
    and r12, rax
    mov rcx, PTE_NX | PTE_WRITE | PTE_PRESENT | PTE_CACHE_WC
    check text_bits, r12, rcx
    mov rax, [rip + framebuffer + FRAMEBUFFER_ADDRESS]
    sub rax, [rip + gpu_bar0]
    cmp rax, MAILBOX_SIZE
    check_cf text_apart, 0
    mov eax, [rbx]
    and eax, PICTURE_COLOUR_MASK
    check text_pixel, rax, PICTURE_WHITE        # the first bar
    mov r12d, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    dec r12d
    mov eax, [rip + framebuffer + FRAMEBUFFER_PITCH]
    imul r12, rax
    mov eax, [rbx + r12]
    and eax, PICTURE_COLOUR_MASK
    check text_pixel, rax, 0                    # the ramp begins black
    call sum_whole_picture
    mov r13, rax
    call picture_checksum
    mov rcx, rax
    check text_checksum, r13, rcx
    mov eax, KTAP_DONE
.Lpicture_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lpicture_none:
    lea rdi, [rip + text_no_picture]
    call ktap_skip
    jmp .Lpicture_leave
end_function test_picture
ktap_test test_picture, "framebuffer_picture"

# sum_whole_picture -- the checksum of the picture, over each of its pixels
# In:       rbx = picture:ptr
# Out:      rax = checksum:u64
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode; in test_picture
local_function sum_whole_picture
    push r12
    push r13
    xor eax, eax
    xor r12d, r12d                              # y
    mov rsi, rbx                                # line
    mov r10d, [rip + framebuffer + FRAMEBUFFER_BITS]
    shr r10d, PICTURE_BYTE_SHIFT
.Lwhole_line:
    mov rdi, rsi
    xor r8d, r8d                                # sum of the line
    xor ecx, ecx                                # x
.Lwhole_pixel:
    movzx r9d, word ptr [rdi]
    movzx edx, byte ptr [rdi + 2]
    shl edx, 16
    or edx, r9d
    inc ecx
    imul rdx, rcx
    add r8, rdx
    add rdi, r10
    cmp ecx, [rip + framebuffer + FRAMEBUFFER_WIDTH]
    jb .Lwhole_pixel
    inc r12d
    imul r8, r12
    add rax, r8
    mov r13d, [rip + framebuffer + FRAMEBUFFER_PITCH]
    add rsi, r13
    cmp r12d, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    jb .Lwhole_line
    pop r13
    pop r12
    ret
end_function sum_whole_picture
