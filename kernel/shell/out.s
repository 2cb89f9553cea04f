# Purpose:  what commands of the shell say: the same calls make text for people, or one JSON object on a line.
# Mode:     64-bit long mode
# Spec:     RFC 8259 (JSON)
# Exports:  out_begin, out_end, out_number, out_hex, out_text, out_list, out_list_end, out_row, out_row_end; shell_json
# Invariants: one object a command, whole between out_begin and out_end; a list holds rows, a row holds values; the
#           characters of a text cannot end it. JSON numbers are decimal; what may need more than 53 bits, or is an
#           address, is a text of hexadecimal digits.
#
#   text:   key=value           JSON:  {"command":"NAME","key":value,"list":[{"key":value},{"key":value}]}
#           key=value  key=value       (on one line; a row of a list is a line of the text)
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.set FIRST_PRINTABLE, 0x20
.set LAST_PRINTABLE, 0x7e

.section .bss, "aw", @nobits
object shell_json                               # u8: 1 = JSON
    .skip 1
end_object shell_json
out_follows:    .skip 1                         # something stands before the next item of this object or list
out_in_row:     .skip 1

.section .rodata, "a"
key_command:    .asciz "command"
json_list:      .asciz ":["

.section .text, "ax"

# out_begin -- begin what a command says
# In:       rdi = command:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set; takes the serial line until out_end
function out_begin
    call_frame
    push rdi
    push rsi
    mov rsi, rdi
    call serial_line_begin
    mov byte ptr [rip + out_follows], 0
    mov byte ptr [rip + out_in_row], 0
    cmp byte ptr [rip + shell_json], 0
    je .Lbegin_return
    mov edi, '{'
    call serial_put_char
    lea rdi, [rip + key_command]
    call out_text
.Lbegin_return:
    pop rsi
    pop rdi
    return_frame
end_function out_begin

# out_end -- end what a command says
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, GS base set, after out_begin
function out_end
    call_frame
    push rdi
    push rdi
    cmp byte ptr [rip + shell_json], 0
    je .Lend_line
    mov edi, '}'
    call serial_put_char
.Lend_line:
    call serial_line_end
    pop rdi
    pop rdi
    return_frame
end_function out_end

# out_key -- what stands before a value: a separator from what came before, and the key
# In:       rdi = key:asciz
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, after out_begin
local_function out_key
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    call out_separate
    mov byte ptr [rip + out_follows], 1
    cmp byte ptr [rip + shell_json], 0
    jne .Lkey_json
    mov rdi, rbx
    call serial_put_string
    mov edi, '='
    jmp .Lkey_last
.Lkey_json:
    mov rdi, rbx
    call out_quoted
    mov edi, ':'
.Lkey_last:
    call serial_put_char
    pop rbx
    pop rbx
    return_frame
end_function out_key

# out_separate -- the separator before an item, when something stands before it
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, after out_begin
local_function out_separate
    cmp byte ptr [rip + out_follows], 0
    je .Lseparate_return
    call_frame
    mov edi, ','
    cmp byte ptr [rip + shell_json], 0
    jne .Lseparate_put
    mov edi, CHAR_NEWLINE
    cmp byte ptr [rip + out_in_row], 0
    je .Lseparate_put
    mov edi, CHAR_BLANK
    call serial_put_char
    mov edi, CHAR_BLANK
.Lseparate_put:
    call serial_put_char
    pop rbp
.Lseparate_return:
    ret
end_function out_separate

# out_quoted -- a text between quotation marks, with what JSON forbids in one escaped
# In:       rdi = text:asciz
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function out_quoted
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov edi, '"'
    call serial_put_char
.Lquoted_next:
    movzx r12d, byte ptr [rbx]
    inc rbx
    test r12d, r12d
    jz .Lquoted_end
    cmp r12d, FIRST_PRINTABLE
    jb .Lquoted_code
    cmp r12d, LAST_PRINTABLE
    ja .Lquoted_code
    cmp r12d, '"'
    je .Lquoted_escape
    cmp r12d, '\\'
    jne .Lquoted_put
.Lquoted_escape:
    mov edi, '\\'
    call serial_put_char
.Lquoted_put:
    mov edi, r12d
    call serial_put_char
    jmp .Lquoted_next
.Lquoted_code:
    mov edi, r12d
    call out_code
    jmp .Lquoted_next
.Lquoted_end:
    mov edi, '"'
    call serial_put_char
    pop r12
    pop rbx
    return_frame
end_function out_quoted

# out_code -- a byte as \u00 and two hexadecimal digits
# In:       edi = byte:u32[0..255]
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function out_code
    call_frame
    push rbx
    push rbx
    mov ebx, edi
    lea rdi, [rip + json_code]
    call serial_put_string
    mov edi, ebx
    shr edi, 4
    call out_digit
    mov edi, ebx
    and edi, 0xf
    call out_digit
    pop rbx
    pop rbx
    return_frame
end_function out_code
shell_text json_code, "\\u00"

# out_digit -- one hexadecimal digit
# In:       edi = digit:u32[0..15]
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function out_digit
    call_frame
    add edi, '0'
    cmp edi, '9'
    jbe .Ldigit_put
    add edi, 'a' - '9' - 1
.Ldigit_put:
    call serial_put_char
    return_frame
end_function out_digit

# out_number -- key and a number in decimal
# In:       rdi = key:asciz, rsi = value:u64 (below 2^53)
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_begin
function out_number
    call_frame
    push rdi
    push rdi
    call out_key
    mov rdi, rsi
    call serial_put_dec
    pop rdi
    pop rdi
    return_frame
end_function out_number

# out_hex -- key and a number in hexadecimal
# In:       rdi = key:asciz, rsi = value:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_begin
function out_hex
    call_frame
    push rdi
    push rdi
    call out_key
    call out_mark
    mov rdi, rsi
    call serial_put_hex
    call out_mark
    pop rdi
    pop rdi
    return_frame
end_function out_hex

# out_mark -- a quotation mark, in JSON
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function out_mark
    cmp byte ptr [rip + shell_json], 0
    je .Lmark_return
    call_frame
    mov edi, '"'
    call serial_put_char
    pop rbp
.Lmark_return:
    ret
end_function out_mark

# out_text -- key and a text
# In:       rdi = key:asciz, rsi = text:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_begin
function out_text
    call_frame
    push rdi
    push rdi
    call out_key
    mov rdi, rsi
    cmp byte ptr [rip + shell_json], 0
    jne .Ltext_json
    call out_plain
    jmp .Ltext_return
.Ltext_json:
    call out_quoted
.Ltext_return:
    pop rdi
    pop rdi
    return_frame
end_function out_text

# out_plain -- a text for people; what a terminal would take for a command is shown as a question mark
# In:       rdi = text:asciz
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode
local_function out_plain
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
.Lplain_next:
    movzx edi, byte ptr [rbx]
    inc rbx
    test edi, edi
    jz .Lplain_return
    lea eax, [rdi - FIRST_PRINTABLE]
    cmp eax, LAST_PRINTABLE - FIRST_PRINTABLE
    jbe .Lplain_put
    mov edi, '?'
.Lplain_put:
    call serial_put_char
    jmp .Lplain_next
.Lplain_return:
    pop rbx
    pop rbx
    return_frame
end_function out_plain

# out_list -- key, and rows follow
# In:       rdi = key:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_begin, not in a row
function out_list
    cmp byte ptr [rip + shell_json], 0
    je .Llist_return
    call_frame
    push rdi
    push rbx
    mov rbx, rdi
    call out_separate
    mov rdi, rbx
    call out_quoted
    lea rdi, [rip + json_list]
    call serial_put_string
    mov byte ptr [rip + out_follows], 0
    pop rbx
    pop rdi
    pop rbp
.Llist_return:
    ret
end_function out_list

# out_list_end -- end the list
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_list, not in a row
function out_list_end
    cmp byte ptr [rip + shell_json], 0
    je .Llist_end_return
    call_frame
    push rdi
    push rdi
    mov edi, ']'
    call serial_put_char
    mov byte ptr [rip + out_follows], 1
    pop rdi
    pop rdi
    pop rbp
.Llist_end_return:
    ret
end_function out_list_end

# out_row -- begin a row of the list
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_list, not in a row
function out_row
    call_frame
    push rdi
    push rdi
    call out_separate
    mov byte ptr [rip + out_follows], 0
    mov byte ptr [rip + out_in_row], 1
    cmp byte ptr [rip + shell_json], 0
    je .Lrow_return
    mov edi, '{'
    call serial_put_char
.Lrow_return:
    pop rdi
    pop rdi
    return_frame
end_function out_row

# out_row_end -- end the row
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, after out_row
function out_row_end
    call_frame
    push rdi
    push rdi
    mov byte ptr [rip + out_follows], 1
    mov byte ptr [rip + out_in_row], 0
    cmp byte ptr [rip + shell_json], 0
    je .Lrow_end_return
    mov edi, '}'
    call serial_put_char
.Lrow_end_return:
    pop rdi
    pop rdi
    return_frame
end_function out_row_end
