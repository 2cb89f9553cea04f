# Purpose:  the keys of the shell's line editor: which byte, or sequence of bytes, of a terminal does what.
# Mode:     64-bit long mode
# Spec:     ECMA-48 5.4 (control sequences); the keys are those of readline's Emacs mode
# Exports:  line_key
# Invariants: a sequence is taken whole or broken off; what is not known does nothing.
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
line_sequence:  .skip 1                         # SEQUENCE_*
line_parameter: .skip 1                         # last character of the sequence so far
line_returned:  .skip 1                         # the last key was a carriage return

.section .rodata, "a"
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
