# Purpose:  the screen of a program: a tile of 128x128 pixels, shown enlarged in the middle of the framebuffer.
# Mode:     64-bit long mode
# Spec:     pixelvm/SPEC.md, section 5 (size, plot, pixel); a colour has R in its low byte
# Exports:  vm_screen_side, vm_screen_plot, vm_screen_pixel, vm_screen_close
# Invariants: what a program reads is what it drew, from the tile in memory; the framebuffer is only written, and never
#           outside of the enlarged tile. Without a framebuffer, or with one that is smaller than a tile, there is no
#           screen, which the program is told as a size of 0. It is opened by the first pixel that is set or asked for.
.intel_syntax noprefix
.include "macros.inc"
.include "boot.inc"
.include "picture.inc"
.include "vm.inc"

.set SCREEN_SIDE, 128
.set SCREEN_SHIFT, 7
.set SCREEN_BYTES, SCREEN_SIDE * SCREEN_SIDE * 4
.set COLOUR_BLACK, 0xff000000                   # opaque

.section .bss, "aw", @nobits
    .balign 8
screen_tile:    .skip 8                         # what was drawn, 4 bytes a pixel; 0 = no screen
screen_first:   .skip 8                         # where the enlarged tile begins, virtual
screen_scale:   .skip 4                         # pixels of the framebuffer for each of the tile, each way

.section .text, "ax"

# vm_screen_side -- width and height of the screen
# In:       none
# Out:      eax = side:u32, 0 = there is none
# Clobbers: none
# Context:  long mode
function vm_screen_side
    push rcx
    call screen_measure
    neg eax                                     # cf unless 0
    sbb eax, eax
    and eax, SCREEN_SIDE
    pop rcx
    ret
end_function vm_screen_side

# screen_measure -- how often a tile fits the framebuffer, each way
# In:       none
# Out:      eax = scale:u32, 0 = not at all
# Clobbers: rcx
# Context:  long mode
local_function screen_measure
    xor eax, eax
    cmp qword ptr [rip + framebuffer_va], 0
    je .Lmeasure_return
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    cmp ecx, eax
    cmovb eax, ecx
    shr eax, SCREEN_SHIFT
.Lmeasure_return:
    ret
end_function screen_measure

# screen_open -- make a black screen
# In:       none
# Out:      cf = there is none, or no memory for it
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  as heap_alloc; one screen at a time. The console gives way
local_function screen_open
    call_frame
    push rbx
    push rbx
    call screen_measure
    cmp eax, 1
    jc .Lopen_return
    mov dword ptr [rip + screen_scale], eax
    mov edi, SCREEN_BYTES
    xor esi, esi
    call heap_alloc
    jc .Lopen_return
    mov rbx, rax
    mov rdi, rax
    mov eax, COLOUR_BLACK
    mov ecx, SCREEN_BYTES / 4
    rep stosd
    mov byte ptr [rip + console_on], 0
    call screen_place
    call screen_clear
    mov qword ptr [rip + screen_tile], rbx
    clc
.Lopen_return:
    pop rbx
    pop rbx
    return_frame
end_function screen_open

# screen_place -- where the enlarged tile begins: in the middle
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, framebuffer mapped, screen_scale set
local_function screen_place
    mov edx, dword ptr [rip + screen_scale]
    shl edx, SCREEN_SHIFT
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    sub eax, edx
    shr eax, 1
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    imul rax, rcx
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
    sub ecx, edx
    shr ecx, 1
    mov edx, dword ptr [rip + framebuffer + FRAMEBUFFER_BITS]
    shr edx, PICTURE_BYTE_SHIFT
    imul ecx, edx
    add rax, rcx
    add rax, qword ptr [rip + framebuffer_va]
    mov qword ptr [rip + screen_first], rax
    ret
end_function screen_place

# screen_clear -- the whole framebuffer black
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, framebuffer mapped
local_function screen_clear
    push rsi
    mov rdi, qword ptr [rip + framebuffer_va]
    mov edx, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    mov esi, dword ptr [rip + framebuffer + FRAMEBUFFER_BITS]
    shr esi, PICTURE_BYTE_SHIFT
    imul esi, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
.Lclear_line:
    push rdi
    mov ecx, esi
    xor eax, eax
    rep stosb
    pop rdi
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    add rdi, rax
    dec edx
    jnz .Lclear_line
    pop rsi
    ret
end_function screen_clear

# vm_screen_close -- give the tile back; the console may have the framebuffer again
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  as heap_alloc
function vm_screen_close
    call_frame
    mov rdi, qword ptr [rip + screen_tile]
    mov qword ptr [rip + screen_tile], 0
    test rdi, rdi
    jz .Lclose_return
    call heap_free
.Lclose_return:
    return_frame
end_function vm_screen_close

# screen_at -- where a pixel lies in the tile
# In:       edi = x:u32, esi = y:u32
# Out:      rax = pixel:ptr, cf = outside, or no screen
# Clobbers: rcx, r8, r9, r10, r11
# Context:  as heap_alloc
local_function screen_at
    call_frame
    push rdi
    push rsi
    push rdx
    push rdx
    cmp qword ptr [rip + screen_tile], 0
    jne .Lat_open
    call screen_open
    jc .Lat_return
    mov rdi, qword ptr [rbp - 8]
    mov rsi, qword ptr [rbp - 16]
.Lat_open:
    cmp edi, SCREEN_SIDE
    jae .Lat_outside
    cmp esi, SCREEN_SIDE
    jae .Lat_outside
    mov eax, esi
    shl eax, SCREEN_SHIFT
    add eax, edi
    shl eax, 2
    add rax, qword ptr [rip + screen_tile]
    clc
.Lat_return:
    pop rdx
    pop rdx
    pop rsi
    pop rdi
    return_frame
.Lat_outside:
    stc
    jmp .Lat_return
end_function screen_at

# vm_screen_pixel -- the colour of a pixel
# In:       edi = x:u32, esi = y:u32
# Out:      eax = colour:u32, 0 outside
# Clobbers: rcx, r8, r9, r10, r11
# Context:  as heap_alloc
function vm_screen_pixel
    call_frame
    call screen_at
    jc .Lpixel_outside
    mov eax, dword ptr [rax]
    return_frame
.Lpixel_outside:
    xor eax, eax
    return_frame
end_function vm_screen_pixel

# vm_screen_plot -- set a pixel; outside nothing happens
# In:       edi = x:u32, esi = y:u32, edx = colour:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  as heap_alloc
function vm_screen_plot
    call_frame
    call screen_at
    jc .Lplot_return
    mov dword ptr [rax], edx
    bswap edx                                   # R in the low byte -> blue in the low byte
    shr edx, 8
    mov r8d, dword ptr [rip + screen_scale]
    imul esi, r8d
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    imul rsi, rax
    imul edi, r8d
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_BITS]
    shr ecx, PICTURE_BYTE_SHIFT
    imul edi, ecx
    add rdi, rsi
    add rdi, qword ptr [rip + screen_first]     # the first pixel of the block
    mov r9d, r8d
.Lplot_line:
    mov rsi, rdi
    mov eax, r8d
.Lplot_pixel:
    mov word ptr [rsi], dx
    ror edx, 16
    mov byte ptr [rsi + 2], dl
    rol edx, 16
    add rsi, rcx
    dec eax
    jnz .Lplot_pixel
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    add rdi, rax
    dec r9d
    jnz .Lplot_line
.Lplot_return:
    return_frame
end_function vm_screen_plot
