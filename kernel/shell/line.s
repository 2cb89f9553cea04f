# Purpose:  the line editor of the shell: keys go in, a line comes out.
# Mode:     64-bit long mode
# Spec:     ECMA-48 5.4 (control sequences); the keys are those of readline's Emacs mode
# Exports:  line_begin, line_key, line_insert, line_load, line_redraw, line_bell; line_text, line_length, line_cursor
# Invariants: line_cursor <= line_length < SHELL_LINE_SIZE and line_text ends with a zero, after every key; the line
#           holds printable ASCII only. What the terminal shows is the prompt, the line, and the cursor in it.
#
#   key                 does                     key                does
#   Return              the line stands          ^P ^N, up, down    earlier, later line
#   ^B ^F, left, right  one character            ^A ^E, Home, End   begin, end of the line
#   ^H, Backspace       delete before            ^D, Delete         delete at
#   ^K ^U               delete to the end, to the begin             ^W  delete the word before
#   Tab                 complete                 ^L redraw          ^C  a new line
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.set SEQUENCE_NONE, 0
.set SEQUENCE_ESCAPE, 1                         # ESC came
.set SEQUENCE_CONTROL, 2                        # ESC [ or ESC O came
.set SEQUENCE_FINAL_FIRST, 0x40                 # ECMA-48: a control sequence ends with 0x40..0x7e

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
line_sequence:  .skip 1                         # SEQUENCE_*
line_parameter: .skip 1                         # last character of the sequence so far
line_returned:  .skip 1                         # the last key was a carriage return

.section .rodata, "a"
prompt:         .asciz "px> "
text_redraw:    .asciz "\r"
text_clear:     .asciz "\033[K"
text_cancel:    .asciz "^C\n"
    .balign 8
control_keys:                                   # by code, for each below CHAR_BLANK
    .quad line_ignore, line_home, line_left, line_cancel, line_delete, line_end, line_right, line_ignore
    .quad line_backspace, line_complete, line_newline, line_cut_end, line_redraw, line_return, line_later, line_ignore
    .quad line_earlier, line_ignore, line_ignore, line_ignore, line_ignore, line_cut_begin, line_ignore, line_cut_word
    .quad line_ignore, line_ignore, line_ignore, line_escape, line_ignore, line_ignore, line_ignore, line_ignore
sequence_keys:                                  # final character, parameter (0 = any), routine
    .quad 'A', 0, line_earlier
    .quad 'B', 0, line_later
    .quad 'C', 0, line_right
    .quad 'D', 0, line_left
    .quad 'H', 0, line_home
    .quad 'F', 0, line_end
    .quad '~', '1', line_home
    .quad '~', '3', line_delete
    .quad '~', '4', line_end
    .quad '~', '7', line_home
    .quad '~', '8', line_end
sequence_keys_end:
.set SEQUENCE_ROW_FINAL, 0
.set SEQUENCE_ROW_PARAMETER, 8
.set SEQUENCE_ROW_ROUTINE, 16
.set SEQUENCE_ROW_SIZE, 24

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

# line_key -- treat one byte that the terminal sent
# In:       dil = byte:u8
# Out:      eax = state:u32[0..1] (LINE_*)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function line_key
    call_frame
    push rbx
    push rbx
    movzx ebx, dil
    mov dl, byte ptr [rip + line_returned]
    mov byte ptr [rip + line_returned], 0
    cmp byte ptr [rip + line_sequence], SEQUENCE_NONE
    jne .Lkey_sequence
    cmp ebx, CHAR_DELETE
    ja .Lkey_nothing                            # no ASCII
    je .Lkey_backspace
    cmp ebx, CHAR_BLANK
    jae .Lkey_insert
    cmp ebx, CHAR_NEWLINE
    jne .Lkey_control
    test dl, dl
    jnz .Lkey_nothing                           # of CR LF the CR has ended the line
.Lkey_control:
    lea rax, [rip + control_keys]
    call qword ptr [rax + rbx * 8]
    jmp .Lkey_leave
.Lkey_insert:
    mov edi, ebx
    call line_insert
    jmp .Lkey_leave
.Lkey_backspace:
    call line_backspace
    jmp .Lkey_leave
.Lkey_sequence:
    mov edi, ebx
    call line_sequence_key
    jmp .Lkey_leave
.Lkey_nothing:
    mov eax, LINE_EDITED
.Lkey_leave:
    pop rbx
    pop rbx
    return_frame
end_function line_key

# line_sequence_key -- one byte behind an ESC
# In:       edi = byte:u32[0..255]
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
local_function line_sequence_key
    call_frame
    cmp byte ptr [rip + line_sequence], SEQUENCE_CONTROL
    je .Lsequence_control
    mov byte ptr [rip + line_sequence], SEQUENCE_CONTROL
    mov byte ptr [rip + line_parameter], 0
    cmp edi, '['
    je .Lsequence_nothing
    cmp edi, 'O'
    je .Lsequence_nothing
    mov byte ptr [rip + line_sequence], SEQUENCE_NONE   # Alt and a key: not known
    jmp .Lsequence_nothing
.Lsequence_control:
    cmp edi, SEQUENCE_FINAL_FIRST
    jb .Lsequence_parameter
    mov byte ptr [rip + line_sequence], SEQUENCE_NONE
    movzx ecx, byte ptr [rip + line_parameter]
    lea rax, [rip + sequence_keys]
    lea rdx, [rip + sequence_keys_end]
.Lsequence_row:
    cmp rdi, qword ptr [rax + SEQUENCE_ROW_FINAL]
    jne .Lsequence_next
    cmp qword ptr [rax + SEQUENCE_ROW_PARAMETER], 0
    je .Lsequence_found
    cmp rcx, qword ptr [rax + SEQUENCE_ROW_PARAMETER]
    je .Lsequence_found
.Lsequence_next:
    add rax, SEQUENCE_ROW_SIZE
    cmp rax, rdx
    jb .Lsequence_row
    jmp .Lsequence_nothing
.Lsequence_found:
    call qword ptr [rax + SEQUENCE_ROW_ROUTINE]
    return_frame
.Lsequence_parameter:
    mov byte ptr [rip + line_parameter], dil
    cmp edi, CHAR_BLANK
    jae .Lsequence_nothing
    mov byte ptr [rip + line_sequence], SEQUENCE_NONE   # a control character breaks a sequence off
.Lsequence_nothing:
    mov eax, LINE_EDITED
    return_frame
end_function line_sequence_key

# line_escape -- ESC: a sequence begins
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: none
# Context:  long mode
local_function line_escape
    mov byte ptr [rip + line_sequence], SEQUENCE_ESCAPE
    mov eax, LINE_EDITED
    ret
end_function line_escape

# line_ignore -- a key that means nothing
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: none
# Context:  long mode
local_function line_ignore
    mov eax, LINE_EDITED
    ret
end_function line_ignore

# line_return -- carriage return: the line stands
# In:       none
# Out:      eax = state:u32 (LINE_DONE)
# Clobbers: rdx, rdi
# Context:  long mode
local_function line_return
    mov byte ptr [rip + line_returned], 1
    jmp line_newline
end_function line_return

# line_newline -- the line stands
# In:       none
# Out:      eax = state:u32 (LINE_DONE)
# Clobbers: rdx, rdi
# Context:  long mode
local_function line_newline
    call_frame
    mov edi, CHAR_NEWLINE
    call serial_put_char
    mov eax, LINE_DONE
    return_frame
end_function line_newline

# line_cancel -- a new line; the old one is not kept
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rdx, rdi
# Context:  long mode
local_function line_cancel
    call_frame
    lea rdi, [rip + text_cancel]
    call serial_put_string
    call line_begin
    mov eax, LINE_EDITED
    return_frame
end_function line_cancel

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
local_function line_home
    mov qword ptr [rip + line_cursor], 0
    jmp line_redraw
end_function line_home

local_function line_end
    mov rax, qword ptr [rip + line_length]
    mov qword ptr [rip + line_cursor], rax
    jmp line_redraw
end_function line_end

local_function line_left
    cmp qword ptr [rip + line_cursor], 0
    je line_bell
    dec qword ptr [rip + line_cursor]
    jmp line_redraw
end_function line_left

local_function line_right
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
local_function line_backspace
    mov rsi, qword ptr [rip + line_cursor]
    test rsi, rsi
    jz line_bell
    lea rdi, [rsi - 1]
    jmp line_cut
end_function line_backspace

local_function line_delete
    mov rdi, qword ptr [rip + line_cursor]
    cmp rdi, qword ptr [rip + line_length]
    je line_bell
    lea rsi, [rdi + 1]
    jmp line_cut
end_function line_delete

local_function line_cut_end
    mov rdi, qword ptr [rip + line_cursor]
    mov rsi, qword ptr [rip + line_length]
    jmp line_cut
end_function line_cut_end

local_function line_cut_begin
    xor edi, edi
    mov rsi, qword ptr [rip + line_cursor]
    jmp line_cut
end_function line_cut_begin

local_function line_cut_word
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
