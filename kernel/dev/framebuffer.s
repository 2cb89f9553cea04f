# Purpose:  the boot unit `framebuffer`: a picture on the screen that a host can check pixel by pixel.
# Mode:     64-bit
# Spec:     include/picture.inc (the picture and its checksum)
# Exports:  framebuffer_init, framebuffer (FRAMEBUFFER_*, of the picture)
# Invariants: the mailbox page is never drawn on: where the loader's framebuffer begins with it, the picture begins
#           with the first whole line behind. The framebuffer is write-combining: an sfence ends the drawing.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "boot.inc"
.include "gpu.inc"
.include "picture.inc"

.section .rodata, "a"
note_source:    .asciz "source"
source_dispi:   .asciz "dispi"
source_loader:  .asciz "loader"
note_address:   .asciz "address"
note_width:     .asciz "width"
note_height:    .asciz "height"
note_pitch:     .asciz "pitch"
note_bits:      .asciz "bits"
note_checksum:  .asciz "checksum"
note_reason:    .asciz "reason"
reason_none:    .asciz "no-linear-framebuffer"
note_error:     .asciz "error"

.section .text, "ax"

# framebuffer_init -- find or make a mode, draw the picture, note its checksum
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no framebuffer)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the pci unit; boot unit
function framebuffer_init
    call_frame
    push rbx
    push r12
    lea rbx, [rip + source_dispi]
    call framebuffer_from_dispi
    jnc .Lpicture_found
    lea rbx, [rip + source_loader]
    call framebuffer_from_loader
    jc .Lpicture_skip
.Lpicture_found:
    call framebuffer_map
    jc .Lpicture_fail
    call picture_draw
    call picture_checksum
    mov r12, rax
    lea rdi, [rip + note_source]
    mov rsi, rbx
    call unit_note_text
    call framebuffer_note_mode
    lea rdi, [rip + note_checksum]
    mov rsi, r12
    call unit_note
    mov eax, BOOT_RESULT_OK
.Lpicture_leave:
    pop r12
    pop rbx
    return_frame
.Lpicture_skip:
    lea rdi, [rip + note_reason]
    lea rsi, [rip + reason_none]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Lpicture_leave
.Lpicture_fail:
    lea rdi, [rip + note_error]
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_FAIL
    jmp .Lpicture_leave
end_function framebuffer_init

# framebuffer_note_mode -- leave address and mode as notes of the boot unit
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  boot unit
local_function framebuffer_note_mode
    call_frame
    lea rdi, [rip + note_address]
    mov rsi, [rip + framebuffer + FRAMEBUFFER_ADDRESS]
    call unit_note
    lea rdi, [rip + note_width]
    mov esi, [rip + framebuffer + FRAMEBUFFER_WIDTH]
    call unit_note_dec
    lea rdi, [rip + note_height]
    mov esi, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    call unit_note_dec
    lea rdi, [rip + note_pitch]
    mov esi, [rip + framebuffer + FRAMEBUFFER_PITCH]
    call unit_note_dec
    lea rdi, [rip + note_bits]
    mov esi, [rip + framebuffer + FRAMEBUFFER_BITS]
    call unit_note_dec
    return_frame
end_function framebuffer_note_mode

# framebuffer_from_dispi -- set the kernel's own mode where the display device has DISPI
# In:       none
# Out:      rax = error:u64, cf = it has not, or its memory is too small
# Clobbers: rcx, rdx, rsi, rdi
# Context:  boot unit, after the gpu unit where there is a device
local_function framebuffer_from_dispi
    call_frame
    push rbx
    push rbx
    mov rbx, [rip + gpu_row]
    cmp rbx, 1                                  # cf when there is none
    jc .Lfrom_dispi_none
    mov rax, DISPI_MODE_PITCH * (DISPI_MODE_SKIP + DISPI_MODE_HEIGHT)
    cmp [rip + gpu_bar0_size], rax
    jb .Lfrom_dispi_none
    mov rdi, rbx
    call dispi_find
    jc .Lfrom_dispi_leave
    mov rdi, rbx
    call dispi_set_mode
    jc .Lfrom_dispi_leave
    mov rax, [rip + gpu_bar0]
    add rax, DISPI_MODE_PITCH * DISPI_MODE_SKIP
    mov [rip + framebuffer + FRAMEBUFFER_ADDRESS], rax
    mov dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH], DISPI_MODE_PITCH
    mov dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH], DISPI_MODE_WIDTH
    mov dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT], DISPI_MODE_HEIGHT
    mov dword ptr [rip + framebuffer + FRAMEBUFFER_BITS], DISPI_MODE_BITS
    xor eax, eax
.Lfrom_dispi_leave:
    pop rbx
    pop rbx
    return_frame
.Lfrom_dispi_none:
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lfrom_dispi_leave
end_function framebuffer_from_dispi

# framebuffer_from_loader -- take the loader's framebuffer, as far as it holds and lies behind the mailbox page
# In:       none
# Out:      rax = error:u64, cf = there is none that can be used
# Clobbers: rcx, rdx, rsi, rdi
# Context:  boot unit
local_function framebuffer_from_loader
    call_frame
    lea rsi, [rip + bootinfo_framebuffer]
    cmp qword ptr [rsi + FRAMEBUFFER_ADDRESS], PAGE_SIZE
    jb .Lfrom_loader_none
    mov ecx, [rsi + FRAMEBUFFER_BITS]
    cmp ecx, PICTURE_BITS_32
    je .Lfrom_loader_width
    cmp ecx, PICTURE_BITS_24
    jne .Lfrom_loader_none
.Lfrom_loader_width:
    mov eax, [rsi + FRAMEBUFFER_WIDTH]
    cmp eax, PICTURE_WIDTH_MIN
    jb .Lfrom_loader_none
    cmp eax, PICTURE_WIDTH_MAX
    ja .Lfrom_loader_none
    shr ecx, PICTURE_BYTE_SHIFT                 # bytes of a pixel
    imul eax, ecx
    cmp eax, [rsi + FRAMEBUFFER_PITCH]
    ja .Lfrom_loader_none
    cmp dword ptr [rsi + FRAMEBUFFER_HEIGHT], PICTURE_HEIGHT_MAX
    ja .Lfrom_loader_none
    mov rax, [rsi + FRAMEBUFFER_ADDRESS]
    mov ecx, [rsi + FRAMEBUFFER_HEIGHT]
    mov edx, [rsi + FRAMEBUFFER_PITCH]
    call framebuffer_skip_mailbox
    cmp ecx, PICTURE_HEIGHT_MIN
    jl .Lfrom_loader_none
    mov [rip + framebuffer + FRAMEBUFFER_ADDRESS], rax
    mov [rip + framebuffer + FRAMEBUFFER_HEIGHT], ecx
    mov [rip + framebuffer + FRAMEBUFFER_PITCH], edx
    mov eax, [rsi + FRAMEBUFFER_WIDTH]
    mov [rip + framebuffer + FRAMEBUFFER_WIDTH], eax
    mov eax, [rsi + FRAMEBUFFER_BITS]
    mov [rip + framebuffer + FRAMEBUFFER_BITS], eax
    xor eax, eax
    return_frame
.Lfrom_loader_none:
    mov eax, ERROR_NOT_FOUND
    stc
    return_frame
end_function framebuffer_from_loader

# framebuffer_skip_mailbox -- drop the lines that lie in the mailbox page
# In:       rax = address:u64, ecx = height:u32, edx = pitch:u32
# Out:      rax = address:u64, ecx = height:i32 (may become negative)
# Clobbers: rdi
# Context:  long mode, any IF
local_function framebuffer_skip_mailbox
    mov rdi, [rip + gpu_bar0]
    test rdi, rdi
    jz .Lskip_done                              # no mailbox
    cmp rax, rdi
    jb .Lskip_done
    add rdi, MAILBOX_SIZE
.Lskip_line:
    cmp rax, rdi
    jae .Lskip_done
    add rax, rdx
    dec ecx
    jmp .Lskip_line
.Lskip_done:
    ret
end_function framebuffer_skip_mailbox

# framebuffer_map -- map the picture's memory write-combining
# In:       none
# Out:      rax = error:u64, cf = as mmio_map
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as frame_alloc
local_function framebuffer_map
    call_frame
    mov rdi, [rip + framebuffer + FRAMEBUFFER_ADDRESS]
    mov esi, [rip + framebuffer + FRAMEBUFFER_PITCH]
    mov eax, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    imul rsi, rax
    mov edx, PTE_CACHE_WC
    call mmio_map
    jc .Lfb_map_leave
    mov [rip + framebuffer_va], rax
    xor eax, eax
.Lfb_map_leave:
    return_frame
end_function framebuffer_map

.section .bss, "aw", @nobits
    .balign 8
object framebuffer                              # FRAMEBUFFER_*: the memory of the picture
    .skip FRAMEBUFFER_SIZE
end_object framebuffer
object framebuffer_va                           # where it is mapped, 0 = there is none
    .skip 8
end_object framebuffer_va
