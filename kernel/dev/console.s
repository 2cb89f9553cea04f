# Purpose:  a text console on the framebuffer, which shows what goes out on the serial line.
# Mode:     64-bit long mode
# Spec:     PC Screen Font 2 (header, glyphs); ECMA-48 5.4 (the few sequences that the line editor sends)
# Exports:  console_start, console_put_char, console_on, console_font
# Invariants: nothing is drawn outside of the framebuffer, whatever interrupted the drawing before; the framebuffer is
#           never read. Until console_start it holds the boot picture.
#
#   console_cells   what is shown, a byte a character, CONSOLE_COLUMNS_MAX for each row: scrolling redraws only the
#                   cells that change. The framebuffer has 24 or 32 bits a pixel (dev/framebuffer.s sees to it).
.intel_syntax noprefix
.include "macros.inc"
.include "boot.inc"
.include "picture.inc"
.include "shell.inc"

# --- PC Screen Font 2 ---
.set PSF_HEADER_SIZE, 32
.set GLYPH_WIDTH, 8
.set GLYPH_LEFTMOST, 0x80                       # the bit of the leftmost pixel of a line
.set GLYPH_HEIGHT, 16
.set GLYPH_SIZE, 16                             # bytes, one a line
.set GLYPH_FIRST, CHAR_BLANK                    # what is no printable ASCII is not drawn
.set GLYPH_LAST, 126

.set CONSOLE_COLUMNS_MAX, 256
.set CONSOLE_ROWS_MAX, 128
.set CONSOLE_INK, 0xd8dee9
.set CONSOLE_PAPER, 0x101418
.set SEQUENCE_NONE, 0
.set SEQUENCE_ESCAPE, 1
.set SEQUENCE_CONTROL, 2
.set SEQUENCE_COUNT_MAX, 0xffff

.section .rodata, "a"
    .balign 8
object console_font
    .incbin "dev/font/spleen-8x16.psf"
end_object console_font

.section .bss, "aw", @nobits
    .balign 8
console_cells:  .skip CONSOLE_COLUMNS_MAX * CONSOLE_ROWS_MAX
console_columns: .skip 4
console_rows:   .skip 4
console_column: .skip 4                         # where the next character goes
console_row:    .skip 4
console_count:  .skip 4                         # the number in the sequence so far
console_sequence: .skip 1                       # SEQUENCE_*
object console_on                               # u8: 1 = it shows what is sent
    .skip 1
end_object console_on

.section .text, "ax"

# console_start -- clear the framebuffer, and show from now on what goes out on the serial line
# In:       none
# Out:      cf = there is no framebuffer
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, any IF
function console_start
    cmp qword ptr [rip + framebuffer_va], 1     # cf when there is none
    jc .Lstart_return
    cmp byte ptr [rip + console_on], 0
    jne .Lstart_return                          # cf is clear
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
    shr eax, 3                                  # GLYPH_WIDTH
    mov ecx, CONSOLE_COLUMNS_MAX
    cmp eax, ecx
    cmova eax, ecx
    mov dword ptr [rip + console_columns], eax
    mov eax, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    shr eax, 4                                  # GLYPH_HEIGHT
    mov ecx, CONSOLE_ROWS_MAX
    cmp eax, ecx
    cmova eax, ecx
    cmp eax, 1                                  # cf when not one row fits
    jc .Lstart_return
    mov dword ptr [rip + console_rows], eax
    mov dword ptr [rip + console_column], 0
    mov dword ptr [rip + console_row], 0
    mov byte ptr [rip + console_sequence], SEQUENCE_NONE
    lea rdi, [rip + console_cells]
    mov ecx, CONSOLE_COLUMNS_MAX * CONSOLE_ROWS_MAX
    mov eax, CHAR_BLANK
    rep stosb
    call_frame
    call console_clear
    mov byte ptr [rip + console_on], 1
    clc
    pop rbp
.Lstart_return:
    ret
end_function console_start
.if GLYPH_WIDTH - (1 << 3)
    .error "console_start shifts by the width of a glyph"
.endif
.if GLYPH_HEIGHT - (1 << 4)
    .error "console_start shifts by the height of a glyph"
.endif

# console_clear -- fill the framebuffer with the colour of the paper
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, framebuffer mapped
local_function console_clear
    push rbx
    push r8
    mov rdi, qword ptr [rip + framebuffer_va]
    mov r8d, dword ptr [rip + framebuffer + FRAMEBUFFER_HEIGHT]
    mov eax, CONSOLE_PAPER
.Lclear_line:
    mov rbx, rdi
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_WIDTH]
    cmp dword ptr [rip + framebuffer + FRAMEBUFFER_BITS], PICTURE_BITS_24
    je .Lclear_24
    rep stosd
    jmp .Lclear_next
.Lclear_24:
    mov word ptr [rdi], ax
    mov edx, eax
    shr edx, 16
    mov byte ptr [rdi + 2], dl
    add rdi, 3
    dec ecx
    jnz .Lclear_24
.Lclear_next:
    mov edi, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    add rdi, rbx
    dec r8d
    jnz .Lclear_line
    pop r8
    pop rbx
    ret
end_function console_clear

# console_put_char -- show one byte that goes out on the serial line
# In:       dil = byte:u8
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF, after console_start
function console_put_char
    call_frame
    push rcx
    push rsi
    push rdi
    push rbx
    movzx edi, dil
    cmp byte ptr [rip + console_sequence], SEQUENCE_NONE
    jne .Lput_sequence
    cmp edi, GLYPH_FIRST
    jb .Lput_control
    cmp edi, GLYPH_LAST
    ja .Lput_return
    mov eax, dword ptr [rip + console_column]
    cmp eax, dword ptr [rip + console_columns]
    jb .Lput_glyph
    push rdi
    push rdi
    call console_newline
    pop rdi
    pop rdi
.Lput_glyph:
    mov edx, edi
    mov esi, dword ptr [rip + console_column]
    mov edi, dword ptr [rip + console_row]
    call console_set
    inc dword ptr [rip + console_column]
    jmp .Lput_return
.Lput_control:
    cmp edi, CHAR_NEWLINE
    jne .Lput_not_newline
    call console_newline
    jmp .Lput_return
.Lput_not_newline:
    cmp edi, CHAR_RETURN
    jne .Lput_not_return
    mov dword ptr [rip + console_column], 0
    jmp .Lput_return
.Lput_not_return:
    cmp edi, CHAR_ESCAPE
    jne .Lput_return
    mov byte ptr [rip + console_sequence], SEQUENCE_ESCAPE
    jmp .Lput_return
.Lput_sequence:
    call console_sequence_char
.Lput_return:
    pop rbx
    pop rdi
    pop rsi
    pop rcx
    return_frame
end_function console_put_char

# console_newline -- to the start of the next row; the last one makes room by scrolling
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_newline
    mov dword ptr [rip + console_column], 0
    mov eax, dword ptr [rip + console_row]
    inc eax
    cmp eax, dword ptr [rip + console_rows]
    jae console_scroll
    mov dword ptr [rip + console_row], eax
    ret
end_function console_newline

# console_scroll -- every row shows what the row below it showed, the last one blanks
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_scroll
    call_frame
    push rbx
    push r12
    xor ebx, ebx                                # row
.Lscroll_row:
    xor r12d, r12d                              # column
.Lscroll_cell:
    mov edi, ebx
    mov esi, r12d
    mov edx, CHAR_BLANK
    lea eax, [rbx + 1]
    cmp eax, dword ptr [rip + console_rows]
    jae .Lscroll_set
    imul eax, eax, CONSOLE_COLUMNS_MAX
    add eax, r12d
    lea rcx, [rip + console_cells]
    movzx edx, byte ptr [rcx + rax]
.Lscroll_set:
    call console_set
    inc r12d
    cmp r12d, dword ptr [rip + console_columns]
    jb .Lscroll_cell
    inc ebx
    cmp ebx, dword ptr [rip + console_rows]
    jb .Lscroll_row
    pop r12
    pop rbx
    return_frame
end_function console_scroll

# console_sequence_char -- one byte behind an ESC: cursor left, and erase to the end of the row, are known
# In:       edi = byte:u32[0..255]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_sequence_char
    cmp byte ptr [rip + console_sequence], SEQUENCE_CONTROL
    je .Lsequence_control
    mov byte ptr [rip + console_sequence], SEQUENCE_NONE
    cmp edi, '['
    jne .Lsequence_return
    mov byte ptr [rip + console_sequence], SEQUENCE_CONTROL
    mov dword ptr [rip + console_count], 0
.Lsequence_return:
    ret
.Lsequence_control:
    lea eax, [rdi - '0']
    cmp eax, 9
    ja .Lsequence_final
    imul ecx, dword ptr [rip + console_count], 10
    add ecx, eax
    mov edx, SEQUENCE_COUNT_MAX
    cmp ecx, edx
    cmova ecx, edx
    mov dword ptr [rip + console_count], ecx
    ret
.Lsequence_final:
    mov byte ptr [rip + console_sequence], SEQUENCE_NONE
    cmp edi, 'K'
    je console_erase
    cmp edi, 'D'
    jne .Lsequence_return
    mov eax, dword ptr [rip + console_column]
    xor ecx, ecx
    sub eax, dword ptr [rip + console_count]
    cmovb eax, ecx
    mov dword ptr [rip + console_column], eax
    ret
end_function console_sequence_char

# console_erase -- blanks from the cursor to the end of its row
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_erase
    call_frame
    push rbx
    push rbx
    mov ebx, dword ptr [rip + console_column]
.Lerase_next:
    cmp ebx, dword ptr [rip + console_columns]
    jae .Lerase_return
    mov edi, dword ptr [rip + console_row]
    mov esi, ebx
    mov edx, CHAR_BLANK
    call console_set
    inc ebx
    jmp .Lerase_next
.Lerase_return:
    pop rbx
    pop rbx
    return_frame
end_function console_erase

# console_set -- make a cell show a character; nothing is done where it does already, or where there is no such cell
# In:       edi = row:u32, esi = column:u32, edx = character:u32[32..126]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_set
    cmp edi, dword ptr [rip + console_rows]
    jae .Lset_return
    cmp esi, dword ptr [rip + console_columns]
    jae .Lset_return
    imul eax, edi, CONSOLE_COLUMNS_MAX
    add eax, esi
    lea rcx, [rip + console_cells]
    cmp byte ptr [rcx + rax], dl
    je .Lset_return
    mov byte ptr [rcx + rax], dl
    jmp console_draw
.Lset_return:
    ret
end_function console_set

# console_draw -- draw a character
# In:       edi = row:u32, esi = column:u32 (of a cell), edx = character:u32[0..127]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after console_start
local_function console_draw
    push rbx
    push r8
    push r9
    push r10
    lea rcx, [rip + console_font + PSF_HEADER_SIZE]
    shl edx, 4                                  # GLYPH_SIZE
    lea r8, [rcx + rdx]                         # the glyph
    mov r9d, dword ptr [rip + framebuffer + FRAMEBUFFER_PITCH]
    imul edi, edi, GLYPH_HEIGHT
    imul rdi, r9
    mov ecx, dword ptr [rip + framebuffer + FRAMEBUFFER_BITS]
    shr ecx, PICTURE_BYTE_SHIFT                 # bytes of a pixel
    imul esi, esi, GLYPH_WIDTH
    imul esi, ecx
    add rdi, rsi
    add rdi, qword ptr [rip + framebuffer_va]
    mov r10d, GLYPH_HEIGHT
.Ldraw_line:
    movzx eax, byte ptr [r8]
    inc r8
    mov rdx, rdi
    mov ebx, GLYPH_LEFTMOST
.Ldraw_pixel:
    mov esi, CONSOLE_PAPER
    test eax, ebx
    jz .Ldraw_put
    mov esi, CONSOLE_INK
.Ldraw_put:
    cmp ecx, 3
    je .Ldraw_24
    mov dword ptr [rdx], esi
    jmp .Ldraw_next
.Ldraw_24:
    mov word ptr [rdx], si
    shr esi, 16
    mov byte ptr [rdx + 2], sil
.Ldraw_next:
    add rdx, rcx
    shr ebx, 1
    jnz .Ldraw_pixel
    add rdi, r9
    dec r10d
    jnz .Ldraw_line
    pop r10
    pop r9
    pop r8
    pop rbx
    ret
end_function console_draw
.if GLYPH_SIZE - (1 << 4)
    .error "console_draw shifts by the size of a glyph"
.endif
