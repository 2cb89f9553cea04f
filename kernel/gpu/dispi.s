# Purpose:  the bochs display interface: set a mode whose picture begins one line into BAR0.
# Mode:     64-bit
# Spec:     QEMU docs/specs/standard-vga.rst; bochs iodev/display/vga.h; IBM VGA (attribute controller)
# Exports:  dispi_find dispi_set_mode dispi_read dispi_write
# Invariants: the memory of the device is not cleared by a change of mode; the first line, one page at a pitch of
#           4096, is never shown and belongs to the mailbox.
#
#   BAR0 | mailbox page | line 0 of the picture | line 1 | …       Y offset 1
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "pci.inc"
.include "gpu.inc"

# a row of dispi_mode
.set MODE_INDEX, 0
.set MODE_VALUE, 2
.set MODE_SIZE, 4
.set MODE_END, 0xffff

.section .text, "ax"

# dispi_find -- find the registers of a device: in its BAR2 where it is known to have them there, else at the ports
# In:       rdi = row:ptr
# Out:      rax = error:u64, cf = the device has no such interface
# Clobbers: rdx, rsi, rdi
# Context:  as frame_alloc, after the pci unit
function dispi_find
    call_frame
    mov qword ptr [rip + dispi_registers], 0
    mov eax, [rdi + PCI_ROW_VENDOR]
    cmp eax, GPU_ID_BOCHS
    je .Ldispi_bar
    cmp eax, GPU_ID_VIRTIO
    jne .Ldispi_ports
.Ldispi_bar:
    test byte ptr [rdi + PCI_ROW_FLAGS + GPU_REGISTERS_BAR], PCI_BAR_IO
    jnz .Ldispi_ports
    cmp qword ptr [rdi + PCI_ROW_SLOTS + GPU_REGISTERS_BAR * PCI_SLOT_SIZE + PCI_SLOT_LENGTH], GPU_REGISTERS_SIZE
    jb .Ldispi_ports
    mov rdi, [rdi + PCI_ROW_SLOTS + GPU_REGISTERS_BAR * PCI_SLOT_SIZE + PCI_SLOT_BASE]
    mov esi, GPU_REGISTERS_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Ldispi_leave
    mov [rip + dispi_registers], rax
.Ldispi_ports:
    mov edi, DISPI_ID
    call dispi_read
    cmp eax, DISPI_ID_FIRST
    jb .Ldispi_none
    cmp eax, DISPI_ID_LAST
    ja .Ldispi_none
    xor eax, eax
.Ldispi_leave:
    return_frame
.Ldispi_none:
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Ldispi_leave
end_function dispi_find

# dispi_read -- read one register
# In:       edi = index:u32[0..10]
# Out:      eax = value:u32[0..0xffff]
# Clobbers: none
# Context:  long mode, any IF, after dispi_find, one caller at a time
function dispi_read
    push rdx
    mov rdx, [rip + dispi_registers]
    test rdx, rdx
    jz .Lread_ports
    movzx eax, word ptr [rdx + rdi * 2 + GPU_REGISTERS_DISPI]
    pop rdx
    ret
.Lread_ports:
    mov edx, DISPI_PORT_INDEX
    mov eax, edi
    out dx, ax
    mov edx, DISPI_PORT_DATA
    xor eax, eax
    in ax, dx
    pop rdx
    ret
end_function dispi_read

# dispi_write -- write one register
# In:       edi = index:u32[0..10], esi = value:u32[0..0xffff]
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, after dispi_find, one caller at a time
function dispi_write
    push rax
    push rdx
    mov rdx, [rip + dispi_registers]
    test rdx, rdx
    jz .Lwrite_ports
    mov [rdx + rdi * 2 + GPU_REGISTERS_DISPI], si
    pop rdx
    pop rax
    ret
.Lwrite_ports:
    mov edx, DISPI_PORT_INDEX
    mov eax, edi
    out dx, ax
    mov edx, DISPI_PORT_DATA
    mov eax, esi
    out dx, ax
    pop rdx
    pop rax
    ret
end_function dispi_write

# dispi_set_mode -- set the mode of dispi_mode and check that the device took it
# In:       rdi = row:ptr
# Out:      rax = error:u64, cf = the device took another mode: ERROR_UNSUPPORTED
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after dispi_find
function dispi_set_mode
    call_frame
    push rbx
    push r12
    mov r12, rdi
    lea rbx, [rip + dispi_mode]
.Lmode_write:
    movzx edi, word ptr [rbx + MODE_INDEX]
    cmp edi, MODE_END
    je .Lmode_written
    movzx esi, word ptr [rbx + MODE_VALUE]
    call dispi_write
    add rbx, MODE_SIZE
    jmp .Lmode_write
.Lmode_written:
    mov rdi, r12
    call dispi_show
    lea rbx, [rip + dispi_mode_checked]
.Lmode_check:
    movzx edi, word ptr [rbx + MODE_INDEX]
    cmp edi, MODE_END
    je .Lmode_taken
    call dispi_read
    cmp ax, [rbx + MODE_VALUE]
    jne .Lmode_refused
    add rbx, MODE_SIZE
    jmp .Lmode_check
.Lmode_taken:
    xor eax, eax
.Lmode_leave:
    pop r12
    pop rbx
    return_frame
.Lmode_refused:
    mov eax, ERROR_UNSUPPORTED
    stc
    jmp .Lmode_leave
end_function dispi_set_mode

# dispi_show -- switch a VGA's picture on: after a boot without VGA firmware it is blanked
# In:       rdi = row:ptr
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF, after dispi_find
#
# A device without a VGA part that has its registers in BAR2 (bochs-display) lets these accesses pass.
local_function dispi_show
    mov rdx, [rip + dispi_registers]
    test rdx, rdx
    jz .Lshow_ports
    add rdx, GPU_REGISTERS_VGA
    mov al, [rdx + VGA_MISC_READ]
    or al, VGA_MISC_COLOUR
    mov [rdx + VGA_MISC_WRITE], al
    mov al, [rdx + VGA_STATUS]
    mov byte ptr [rdx + VGA_ATTRIBUTE], VGA_ATTRIBUTE_SHOW
    ret
.Lshow_ports:
    mov eax, [rdi + PCI_ROW_CLASS]
    and eax, PCI_CLASS_SUB_MASK
    cmp eax, PCI_CLASS_DISPLAY_VGA
    jne .Lshow_leave                            # the ports are another device's
    mov edx, VGA_PORTS + VGA_MISC_READ
    in al, dx
    or al, VGA_MISC_COLOUR
    mov edx, VGA_PORTS + VGA_MISC_WRITE
    out dx, al
    mov edx, VGA_PORTS + VGA_STATUS
    in al, dx
    mov edx, VGA_PORTS + VGA_ATTRIBUTE
    mov al, VGA_ATTRIBUTE_SHOW
    out dx, al
.Lshow_leave:
    ret
end_function dispi_show

.section .rodata, "a"
    .balign 2
# dispi_mode: {register, value} in the order in which they are written; switching on resets what follows it
dispi_mode:
    .short DISPI_ENABLE, DISPI_DISABLED
    .short DISPI_XRES, DISPI_MODE_WIDTH
    .short DISPI_YRES, DISPI_MODE_HEIGHT
    .short DISPI_BPP, DISPI_MODE_BITS
    .short DISPI_ENABLE, DISPI_ENABLED | DISPI_LINEAR | DISPI_KEEP_MEMORY
    .short DISPI_VIRT_WIDTH, DISPI_MODE_WIDTH
    .short DISPI_X_OFFSET, 0
    .short DISPI_Y_OFFSET, DISPI_MODE_SKIP
    .short MODE_END
# dispi_mode_checked: what the device must hold after
dispi_mode_checked:
    .short DISPI_XRES, DISPI_MODE_WIDTH
    .short DISPI_YRES, DISPI_MODE_HEIGHT
    .short DISPI_BPP, DISPI_MODE_BITS
    .short DISPI_VIRT_WIDTH, DISPI_MODE_WIDTH
    .short DISPI_Y_OFFSET, DISPI_MODE_SKIP
    .short MODE_END

.section .bss, "aw", @nobits
    .balign 8
object dispi_registers                          # virtual address of the register BAR, 0 = the ports are used
    .skip 8
end_object dispi_registers
