# Purpose:  the lines that were given to the shell, and stepping through them.
# Mode:     64-bit long mode
# Exports:  history_add, history_rewind, line_earlier, line_later
# Invariants: the last SHELL_HISTORY_LINES lines are kept, no line twice in a row, no empty one.
#
#   history_lines   ring of SHELL_HISTORY_LINES rows of SHELL_LINE_SIZE bytes; line number n lies in row n mod that
#   history_count   lines ever kept: the next gets this number
#   history_back    how many lines back the editor shows, 0 = the line that is typed
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.set HISTORY_MASK, SHELL_HISTORY_LINES - 1
.if SHELL_HISTORY_LINES & HISTORY_MASK
    .error "SHELL_HISTORY_LINES is a power of two"
.endif

.section .bss, "aw", @nobits
    .balign 8
history_lines:  .skip SHELL_HISTORY_LINES * SHELL_LINE_SIZE
history_count:  .skip 8
history_back:   .skip 8
history_typed:  .skip SHELL_LINE_SIZE           # what was typed before the first step back

.section .text, "ax"

# history_row -- where the line that many back lies
# In:       rdi = back:u64[1..SHELL_HISTORY_LINES]
# Out:      rax = line:asciz
# Clobbers: none
# Context:  long mode
local_function history_row
    push rcx
    mov rax, qword ptr [rip + history_count]
    sub rax, rdi
    and eax, HISTORY_MASK
    imul eax, eax, SHELL_LINE_SIZE
    lea rcx, [rip + history_lines]
    add rax, rcx
    pop rcx
    ret
end_function history_row

# history_copy -- copy a line
# In:       rdi = from:asciz (shorter than SHELL_LINE_SIZE), rsi = to:ptr
# Out:      none
# Clobbers: rax, rdi, rsi
# Context:  long mode
local_function history_copy
    mov al, byte ptr [rdi]
    mov byte ptr [rsi], al
    inc rdi
    inc rsi
    test al, al
    jnz history_copy
    ret
end_function history_copy

# history_add -- keep a line, unless it is empty or the last one again
# In:       rdi = line:asciz (shorter than SHELL_LINE_SIZE)
# Out:      none
# Clobbers: rax, rsi, rdi
# Context:  long mode
function history_add
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    cmp byte ptr [rdi], 0
    je .Ladd_return
    cmp qword ptr [rip + history_count], 0
    je .Ladd_keep
    mov edi, 1
    call history_row
    mov rdi, rbx
    mov rsi, rax
    call words_same
    jnc .Ladd_return
.Ladd_keep:
    inc qword ptr [rip + history_count]
    mov edi, 1
    call history_row
    mov rsi, rax
    mov rdi, rbx
    call history_copy
.Ladd_return:
    pop rbx
    pop rbx
    return_frame
end_function history_add

# history_rewind -- a new line is typed: the next step back shows the newest line
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode
function history_rewind
    mov qword ptr [rip + history_back], 0
    ret
end_function history_rewind

# line_earlier -- show the line before the one that is shown
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function line_earlier
    mov rcx, qword ptr [rip + history_back]
    cmp rcx, SHELL_HISTORY_LINES
    jae line_bell
    cmp rcx, qword ptr [rip + history_count]
    jae line_bell
    call_frame
    test rcx, rcx
    jnz .Learlier_step
    lea rdi, [rip + line_text]
    lea rsi, [rip + history_typed]
    call history_copy
.Learlier_step:
    inc qword ptr [rip + history_back]
    mov rdi, qword ptr [rip + history_back]
    call history_row
    mov rdi, rax
    call line_load
    return_frame
end_function line_earlier

# line_later -- show the line behind the one that is shown; behind the newest lies what was typed
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function line_later
    cmp qword ptr [rip + history_back], 0
    je line_bell
    call_frame
    lea rax, [rip + history_typed]
    dec qword ptr [rip + history_back]
    jz .Llater_load
    mov rdi, qword ptr [rip + history_back]
    call history_row
.Llater_load:
    mov rdi, rax
    call line_load
    return_frame
end_function line_later
