# Purpose:  draw the boot picture into the framebuffer, and make its checksum.
# Mode:     64-bit
# Spec:     include/picture.inc (the picture and its checksum)
# Exports:  picture_draw picture_checksum picture_heights
# Invariants: a row is made once in RAM and copied to every line of its kind: the framebuffer is written in bursts.
.intel_syntax noprefix
.include "macros.inc"
.include "boot.inc"
.include "picture.inc"

.section .text, "ax"

# picture_draw -- draw the whole picture
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after framebuffer_map
function picture_draw
    call_frame
    push rbx
    push r12
    call picture_heights
    mov ebx, eax
    mov r12d, ecx
    mov edi, PICTURE_BARS
    call picture_make_row
    mov rdi, [rip + framebuffer_va]
    mov edx, ebx
    call picture_copy_row
    mov rbx, rdi
    mov edi, PICTURE_LEVELS
    call picture_make_row
    mov rdi, rbx
    mov edx, r12d
    call picture_copy_row
    sfence                                      # empties the write-combining buffers
    pop r12
    pop rbx
    return_frame
end_function picture_draw

# picture_heights -- how many rows are bars, and how many are ramp
# In:       none
# Out:      rax = bars:u64, rcx = ramp:u64
# Clobbers: rdx
# Context:  long mode, any IF, the mode is known
function picture_heights
    mov eax, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    add eax, eax
    mov ecx, 3
    xor edx, edx
    div ecx
    mov ecx, [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    sub ecx, eax
    ret
end_function picture_heights

# picture_make_row -- make one row in picture_line
# In:       edi = steps:u32 (PICTURE_BARS: the bars; PICTURE_LEVELS: the ramp)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF, the mode is known
local_function picture_make_row
    push rbx
    push r8
    push r9
    push r10
    mov r8d, [rip + framebuffer + FRAMEBUFFER_WIDTH]
    mov r9d, [rip + framebuffer + FRAMEBUFFER_BITS]
    shr r9d, PICTURE_BYTE_SHIFT
    lea r10, [rip + bar_colours]
    lea rsi, [rip + picture_line]
    mov ecx, r8d                                # pixels left
    xor ebx, ebx                                # step = x * steps / width
    xor edx, edx                                # x * steps modulo width
.Lrow_pixel:
    imul eax, ebx, PICTURE_GREY
    cmp edi, PICTURE_BARS
    jne .Lrow_put
    mov eax, [r10 + rbx * 4]
.Lrow_put:
    mov [rsi], eax
    add rsi, r9
    add edx, edi
.Lrow_step:
    cmp edx, r8d
    jb .Lrow_same
    sub edx, r8d
    inc ebx
    jmp .Lrow_step
.Lrow_same:
    dec ecx
    jnz .Lrow_pixel
    pop r10
    pop r9
    pop r8
    pop rbx
    ret
end_function picture_make_row

# picture_copy_row -- copy picture_line to consecutive lines of the framebuffer
# In:       rdi = line:ptr, edx = count:u32
# Out:      rdi = next:ptr (the line behind)
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF, the mode is known
local_function picture_copy_row
    push rbx
    push r8
    mov ebx, [rip + framebuffer + FRAMEBUFFER_PITCH]
    mov eax, [rip + framebuffer + FRAMEBUFFER_BITS]
    shr eax, PICTURE_BYTE_SHIFT
    imul eax, [rip + framebuffer + FRAMEBUFFER_WIDTH]
.Lcopy_line:
    dec edx
    js .Lcopy_done
    lea r8, [rdi + rbx]
    lea rsi, [rip + picture_line]
    mov ecx, eax
    shr ecx, 3
    rep movsq
    mov ecx, eax
    and ecx, 7
    rep movsb
    mov rdi, r8
    jmp .Lcopy_line
.Lcopy_done:
    pop r8
    pop rbx
    ret
end_function picture_copy_row

# picture_checksum -- the checksum of the picture, as the device gives it back
# In:       none
# Out:      rax = checksum:u64
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after picture_draw
function picture_checksum
    call_frame
    push rbx
    push r12
    push r13
    push r14
    call picture_heights
    mov r12, rax                                # rows of bars
    mov r13, rcx                                # rows of ramp
    mov rdi, [rip + framebuffer_va]
    call picture_sum_row
    mov rbx, rax
    xor edi, edi
    mov rsi, r12
    call picture_sum_weights
    imul rbx, rax
    mov edi, [rip + framebuffer + FRAMEBUFFER_PITCH]
    imul rdi, r12
    add rdi, [rip + framebuffer_va]
    call picture_sum_row
    mov r14, rax
    mov rdi, r12
    lea rsi, [r12 + r13]
    call picture_sum_weights
    imul rax, r14
    add rax, rbx
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function picture_checksum

# picture_sum_weights -- the sum of y + 1 over rows
# In:       rdi = first:u64, rsi = end:u64 (exclusive)
# Out:      rax = sum:u64
# Clobbers: rcx
# Context:  long mode, any IF
local_function picture_sum_weights
    lea rax, [rsi + 1]
    imul rax, rsi
    lea rcx, [rdi + 1]
    imul rcx, rdi
    sub rax, rcx
    shr rax, 1
    ret
end_function picture_sum_weights

# picture_sum_row -- the sum of (x + 1) * pixel over one line of the framebuffer
# In:       rdi = line:ptr
# Out:      rax = sum:u64
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF, the mode is known
local_function picture_sum_row
    push rbx
    push rdi
    mov ebx, [rip + framebuffer + FRAMEBUFFER_BITS]
    shr ebx, PICTURE_BYTE_SHIFT
    mov esi, [rip + framebuffer + FRAMEBUFFER_WIDTH]
    xor eax, eax
    mov ecx, 1
.Lsum_pixel:
    movzx edx, byte ptr [rdi + 2]               # the last pixel of 24 bits may end the mapping
    shl edx, 16
    mov dx, [rdi]
    imul rdx, rcx
    add rax, rdx
    add rdi, rbx
    inc ecx
    cmp ecx, esi
    jbe .Lsum_pixel
    pop rdi
    pop rbx
    ret
end_function picture_sum_row

.section .rodata, "a"
    .balign 4
# bar_colours: red << 16 | green << 8 | blue
bar_colours:
    .long 0xffffff, 0xffff00, 0x00ffff, 0x00ff00, 0xff00ff, 0xff0000, 0x0000ff, 0x000000

.section .bss, "aw", @nobits
    .balign 64
picture_line:                                   # one row, in the format of the framebuffer
    .skip PICTURE_LINE_SIZE
