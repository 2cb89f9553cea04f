# Purpose:  the monitor shell on the serial line: reads lines, runs the commands that they name.
# Mode:     64-bit long mode
# Exports:  shell_run, shell_execute, shell_find, shell_nth, shell_wait_key
# Invariants: a line runs one command or says why not; nothing that is typed ends the shell but the commands that say
#           so. Words are printable ASCII (shell/line.s).
#
#   px> NAME ARGUMENT … [-j]        -j, anywhere: one JSON object on a line instead of text
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "user.inc"
.include "shell.inc"

.set HELP_COLUMN, 28                            # where the texts of help begin

.section .shell.first, "a"
    .balign 8
shell_rows:
.section .shell.last, "a"
shell_rows_end:

.section .bss, "aw", @nobits
    .balign 8
shell_words:    .skip SHELL_WORDS_MAX * 8

.section .rodata, "a"
option_json:    .asciz "-j"
key_error:      .asciz "error"
error_unknown:  .asciz "no such command: help lists them"
error_words:    .asciz "more words than any command takes"

.section .text, "ax"

# shell_run -- serve the serial line
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, GS base set, after the boot; does not return
function shell_run
    call_frame
.Lrun_line:
    call programs_collect
    call line_begin
.Lrun_key:
    call shell_wait_key
    mov ebx, eax
    call shell_take_screen
    mov edi, ebx
    call line_key
    cmp eax, LINE_DONE
    jne .Lrun_key
    lea rdi, [rip + line_text]
    call history_add
    lea rdi, [rip + line_text]
    call shell_execute
    jmp .Lrun_line
end_function shell_run

# shell_take_screen -- the first key takes the screen for the console; until then a picture stays, that of the boot or
#           of a program
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, GS base set
local_function shell_take_screen
    cmp byte ptr [rip + console_on], 0
    jne .Ltake_return
    call_frame
    call console_start
    jc .Ltake_none
    call line_redraw
.Ltake_none:
    pop rbp
.Ltake_return:
    ret
end_function shell_take_screen

# shell_execute -- run the command that a line names
# In:       rdi = line:asciz (is cut into words)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
function shell_execute
    call_frame
    push rbx
    push r12
    push r13
    push r13
    lea rsi, [rip + shell_words]
    call words_split
    setc r13b
    mov rdi, rax
    call shell_options
    mov r12, rax
    test r13b, r13b
    jnz .Lexecute_many
    test rax, rax
    jz .Lexecute_return
    mov rdi, qword ptr [rip + shell_words]
    call shell_length
    mov rsi, rax
    call shell_find
    jc .Lexecute_unknown
    mov rbx, rax
    lea rdi, [rip + shell_words + 8]
    lea rsi, [r12 - 1]
    call qword ptr [rbx + SHELL_ROW_ROUTINE]
    jnc .Lexecute_return
    mov rdi, qword ptr [rbx + SHELL_ROW_NAME]
    jmp .Lexecute_refused
.Lexecute_many:
    lea rax, [rip + error_words]
    jmp .Lexecute_no_name
.Lexecute_unknown:
    lea rax, [rip + error_unknown]
.Lexecute_no_name:
    mov rdi, qword ptr [rip + shell_words]
.Lexecute_refused:
    mov rbx, rax
    call out_begin
    lea rdi, [rip + key_error]
    mov rsi, rbx
    call out_text
    call out_end
.Lexecute_return:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function shell_execute

# shell_options -- take -j out of shell_words
# In:       rdi = count:u64[0..SHELL_WORDS_MAX]
# Out:      rax = count:u64 (words left)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
local_function shell_options
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov byte ptr [rip + shell_json], 0
    lea rbx, [rip + shell_words]
    lea r12, [rbx + rdi * 8]                    # behind the last
    mov r13, rbx                                # where the next that stays is put
.Loptions_next:
    cmp rbx, r12
    jae .Loptions_done
    mov rdi, qword ptr [rbx]
    add rbx, 8
    lea rsi, [rip + option_json]
    call words_same
    jnc .Loptions_json
    mov qword ptr [r13], rdi
    add r13, 8
    jmp .Loptions_next
.Loptions_json:
    mov byte ptr [rip + shell_json], 1
    jmp .Loptions_next
.Loptions_done:
    lea rax, [rip + shell_words]
    sub r13, rax
    shr r13, 3
    mov rax, r13
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function shell_options

# shell_length -- the length of a word
# In:       rdi = word:asciz
# Out:      rax = length:u64
# Clobbers: none
# Context:  long mode
local_function shell_length
    xor eax, eax
.Llength_next:
    cmp byte ptr [rdi + rax], 0
    je .Llength_done
    inc rax
    jmp .Llength_next
.Llength_done:
    ret
end_function shell_length

# shell_find -- the row of a command
# In:       rdi = name:ptr, rsi = length:u64
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rcx, rdx
# Context:  long mode
function shell_find
    push rbx
    lea rax, [rip + shell_rows]
.Lfind_row:
    lea rdx, [rip + shell_rows_end]
    cmp rax, rdx
    jae .Lfind_none
    mov rdx, qword ptr [rax + SHELL_ROW_NAME]
    xor ecx, ecx
.Lfind_char:
    mov bl, byte ptr [rdx + rcx]
    cmp rcx, rsi
    je .Lfind_end
    cmp bl, byte ptr [rdi + rcx]                # a name that is shorter differs here: words hold no zero
    jne .Lfind_next
    inc rcx
    jmp .Lfind_char
.Lfind_end:
    test bl, bl
    jz .Lfind_return                            # cf is clear
.Lfind_next:
    add rax, SHELL_ROW_SIZE
    jmp .Lfind_row
.Lfind_none:
    stc
.Lfind_return:
    pop rbx
    ret
end_function shell_find

# shell_nth -- the name of the nth command
# In:       rdi = n:u64[0..0xffff]
# Out:      rax = name:asciz, cf = there are fewer
# Clobbers: rcx, rdx, rsi
# Context:  long mode
function shell_nth
    lea rsi, [rip + shell_rows]
    lea rdx, [rip + shell_rows_end]
    mov ecx, SHELL_ROW_SIZE
    jmp words_nth
end_function shell_nth

# shell_wait_key -- the next byte that the terminal sends
# In:       none
# Out:      eax = byte:u32[0..255]
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set. The CPU halts meanwhile where the line has an interrupt
function shell_wait_key
    call_frame
.Lwait_next:
    call user_attend
    cli                                         # nothing may come between the look and the halt
    call serial_get_char
    jnc .Lwait_return
    cmp qword ptr gs:[PERCPU_USER_WORK], 0
    jne .Lwait_attend
    cmp dword ptr [rip + serial_in_vector], 0
    je .Lwait_poll
    sti                                         # takes effect behind the next instruction
    hlt
    jmp .Lwait_next
.Lwait_poll:
    sti
    pause
    jmp .Lwait_next
.Lwait_attend:
    sti
    jmp .Lwait_next
.Lwait_return:
    sti
    return_frame
end_function shell_wait_key

# command_help -- help: the commands, or one of them
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_help
    call_frame
    push rbx
    push r12
    lea rbx, [rip + shell_rows]
    lea r12, [rip + shell_rows_end]
    test rsi, rsi
    jz .Lhelp_begin
    mov rdi, qword ptr [rdi]
    call shell_length
    mov rsi, rax
    call shell_find
    jc .Lhelp_unknown
    mov rbx, rax
    lea r12, [rax + SHELL_ROW_SIZE]
.Lhelp_begin:
    lea rdi, [rip + name_help]
    call out_begin
    lea rdi, [rip + key_commands]
    call out_list
.Lhelp_row:
    cmp rbx, r12
    jae .Lhelp_end
    mov rdi, rbx
    call help_row
    add rbx, SHELL_ROW_SIZE
    jmp .Lhelp_row
.Lhelp_end:
    call out_list_end
    call out_end
    clc
.Lhelp_return:
    pop r12
    pop rbx
    return_frame
.Lhelp_unknown:
    lea rax, [rip + error_unknown]
    jmp .Lhelp_return
end_function command_help

# help_row -- one command: a row of the object, or a line of a table for people
# In:       rdi = row:ptr (SHELL_ROW_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, in a list
local_function help_row
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    cmp byte ptr [rip + shell_json], 0
    je .Lhelp_text
    call out_row
    lea rdi, [rip + key_name]
    mov rsi, qword ptr [rbx + SHELL_ROW_NAME]
    call out_text
    lea rdi, [rip + key_usage]
    mov rsi, qword ptr [rbx + SHELL_ROW_USAGE]
    call out_text
    lea rdi, [rip + key_does]
    mov rsi, qword ptr [rbx + SHELL_ROW_WHAT]
    call out_text
    call out_row_end
    jmp .Lhelp_row_return
.Lhelp_text:
    call serial_line_begin
    mov rdi, qword ptr [rbx + SHELL_ROW_NAME]
    call shell_length
    lea r12, [rax + 1]
    call serial_put_string
    mov edi, CHAR_BLANK
    call serial_put_char
    mov rdi, qword ptr [rbx + SHELL_ROW_USAGE]
    call shell_length
    add r12, rax
    call serial_put_string
.Lhelp_pad:
    mov edi, CHAR_BLANK
    call serial_put_char
    inc r12
    cmp r12, HELP_COLUMN
    jb .Lhelp_pad
    mov rdi, qword ptr [rbx + SHELL_ROW_WHAT]
    call serial_put_string
    call serial_line_end
.Lhelp_row_return:
    pop r12
    pop rbx
    return_frame
end_function help_row
shell_text name_help, "help"
shell_text key_commands, "commands"
shell_text key_name, "name"
shell_text key_usage, "usage"
shell_text key_does, "does"
shell_command command_help, "help", "[COMMAND]", "say what there is, or what a command takes", shell_nth
