# Purpose:  the line that the shell's editor works on: its text, the cursor in it, and what the terminal shows of both.
# Mode:     64-bit long mode
# Spec:     ECMA-48 8.3.18 (CUB), 8.3.41 (EL)
# Exports:  line_begin, line_insert, line_load, line_redraw, line_bell; line_home, line_end, line_left, line_right;
#           line_backspace, line_delete, line_cut_end, line_cut_begin, line_cut_word; line_text, line_length, line_cursor
# Invariants: line_cursor <= line_length < SHELL_LINE_SIZE and line_text ends with a zero, after every call; the line
#           holds printable ASCII only. What the terminal shows is the prompt, the line, and the cursor in it.
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.section .bss, "aw", @nobits
    .balign 8
object line_text
    .skip SHELL_LINE_SIZE
end_object line_text
object line_length                              # u64
    .skip 8
end_object line_length
object line_cursor                              # u64: index of the character that the cursor is on
    .skip 8
end_object line_cursor

.section .rodata, "a"
prompt:         .asciz "px> "
text_redraw:    .asciz "\r"
text_clear:     .asciz "\033[K"

.section .text, "ax"

# line_begin -- an empty line, and its prompt
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
function line_begin
    call_frame
    call history_rewind
    call line_empty
    lea rdi, [rip + prompt]
    call serial_put_string
    return_frame
end_function line_begin

# line_empty -- the line is empty
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode
local_function line_empty
    mov qword ptr [rip + line_length], 0
    mov qword ptr [rip + line_cursor], 0
    mov byte ptr [rip + line_text], 0
    ret
end_function line_empty

# line_insert -- put a character before the cursor; a full line refuses it
# In:       dil = character:u8[32..126]
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi
# Context:  long mode
function line_insert
    mov rcx, qword ptr [rip + line_length]
    cmp rcx, SHELL_LINE_SIZE - 1
    jae line_bell
    lea rdx, [rip + line_text]
    mov rax, qword ptr [rip + line_cursor]
.Linsert_shift:
    cmp rcx, rax
    je .Linsert_place
    mov sil, byte ptr [rdx + rcx - 1]
    mov byte ptr [rdx + rcx], sil
    dec rcx
    jmp .Linsert_shift
.Linsert_place:
    mov byte ptr [rdx + rax], dil
    inc rax
    mov qword ptr [rip + line_cursor], rax
    inc qword ptr [rip + line_length]
    mov rcx, qword ptr [rip + line_length]
    mov byte ptr [rdx + rcx], 0
    cmp rcx, rax
    jne line_redraw
    call_frame
    call serial_put_char
    mov eax, LINE_EDITED
    return_frame
end_function line_insert

# line_bell -- say that a key cannot do what it should
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rdx
# Context:  long mode
function line_bell
    call_frame
    push rdi
    push rdi
    mov edi, CHAR_BELL
    call serial_put_char
    pop rdi
    pop rdi
    mov eax, LINE_EDITED
    return_frame
end_function line_bell

# line_redraw -- show the line anew
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rdx
# Context:  long mode
function line_redraw
    call_frame
    push rdi
    push rbx
    lea rdi, [rip + text_redraw]
    call serial_put_string
    lea rdi, [rip + prompt]
    call serial_put_string
    lea rdi, [rip + line_text]
    call serial_put_string
    lea rdi, [rip + text_clear]
    call serial_put_string
    mov rbx, qword ptr [rip + line_length]
    sub rbx, qword ptr [rip + line_cursor]
    jz .Lredraw_return
    mov edi, CHAR_ESCAPE                        # the cursor goes left by so many columns
    call serial_put_char
    mov edi, '['
    call serial_put_char
    mov rdi, rbx
    call serial_put_dec
    mov edi, 'D'
    call serial_put_char
.Lredraw_return:
    mov eax, LINE_EDITED
    pop rbx
    pop rdi
    return_frame
end_function line_redraw

# line_home, line_end, line_left, line_right -- move the cursor
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rdx
# Context:  long mode
function line_home
    mov qword ptr [rip + line_cursor], 0
    jmp line_redraw
end_function line_home

function line_end
    mov rax, qword ptr [rip + line_length]
    mov qword ptr [rip + line_cursor], rax
    jmp line_redraw
end_function line_end

function line_left
    cmp qword ptr [rip + line_cursor], 0
    je line_bell
    dec qword ptr [rip + line_cursor]
    jmp line_redraw
end_function line_left

function line_right
    mov rax, qword ptr [rip + line_cursor]
    cmp rax, qword ptr [rip + line_length]
    je line_bell
    inc qword ptr [rip + line_cursor]
    jmp line_redraw
end_function line_right

# line_cut -- take a piece out of the line; the cursor stands where it was
# In:       rdi = first:u64, rsi = end:u64 (first <= end <= line_length)
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
local_function line_cut
    mov qword ptr [rip + line_cursor], rdi
    lea rdx, [rip + line_text]
    mov rcx, qword ptr [rip + line_length]
.Lcut_next:
    mov al, byte ptr [rdx + rsi]                # the zero at the end is moved too
    mov byte ptr [rdx + rdi], al
    inc rsi
    inc rdi
    cmp rsi, rcx
    jbe .Lcut_next
    dec rdi
    mov qword ptr [rip + line_length], rdi
    jmp line_redraw
end_function line_cut

# line_backspace, line_delete, line_cut_end, line_cut_begin, line_cut_word -- what is cut, around the cursor
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function line_backspace
    mov rsi, qword ptr [rip + line_cursor]
    test rsi, rsi
    jz line_bell
    lea rdi, [rsi - 1]
    jmp line_cut
end_function line_backspace

function line_delete
    mov rdi, qword ptr [rip + line_cursor]
    cmp rdi, qword ptr [rip + line_length]
    je line_bell
    lea rsi, [rdi + 1]
    jmp line_cut
end_function line_delete

function line_cut_end
    mov rdi, qword ptr [rip + line_cursor]
    mov rsi, qword ptr [rip + line_length]
    jmp line_cut
end_function line_cut_end

function line_cut_begin
    xor edi, edi
    mov rsi, qword ptr [rip + line_cursor]
    jmp line_cut
end_function line_cut_begin

function line_cut_word
    mov rsi, qword ptr [rip + line_cursor]
    mov rdi, rsi
    lea rdx, [rip + line_text]
.Lword_blank:
    test rdi, rdi
    jz line_cut
    cmp byte ptr [rdx + rdi - 1], CHAR_BLANK
    jne .Lword_char
    dec rdi
    jmp .Lword_blank
.Lword_char:
    test rdi, rdi
    jz line_cut
    cmp byte ptr [rdx + rdi - 1], CHAR_BLANK
    je line_cut
    dec rdi
    jmp .Lword_char
end_function line_cut_word

# line_load -- make the line another text
# In:       rdi = text:asciz (printable, shorter than SHELL_LINE_SIZE)
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx
# Context:  long mode
function line_load
    xor ecx, ecx
    lea rdx, [rip + line_text]
.Lload_next:
    mov al, byte ptr [rdi + rcx]
    mov byte ptr [rdx + rcx], al
    test al, al
    jz .Lload_done
    inc rcx
    cmp rcx, SHELL_LINE_SIZE - 1
    jb .Lload_next
    mov byte ptr [rdx + rcx], 0
.Lload_done:
    mov qword ptr [rip + line_length], rcx
    mov qword ptr [rip + line_cursor], rcx
    jmp line_redraw
end_function line_load
