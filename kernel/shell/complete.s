# Purpose:  Tab: what the word before the cursor can become.
# Mode:     64-bit long mode
# Exports:  line_complete
# Invariants: only what is offered is inserted. The first word is a command; the second is asked of the command's
#           routine `nth` (include/shell.inc). Others are not completed.
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.set OFFERS_MAX, 256                            # words that are looked at

.section .bss, "aw", @nobits
    .balign 8
offer_nth:      .skip 8                         # routine: the nth word that is offered
offer_prefix:   .skip 8                         # where the word before the cursor begins, in line_text
offer_length:   .skip 8                         # its length
offer_first:    .skip 8                         # the first word that fits
offer_count:    .skip 8                         # words that fit
offer_common:   .skip 8                         # characters that all of them begin with

.section .text, "ax"

# line_complete -- complete the word before the cursor as far as the words that fit agree; else show them
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode
function line_complete
    call_frame
    call offer_choose
    jc .Lcomplete_nothing
    lea rdi, [rip + offer_count_one]
    call offer_each
    cmp qword ptr [rip + offer_count], 0
    je .Lcomplete_nothing
    mov rax, qword ptr [rip + offer_common]
    cmp rax, qword ptr [rip + offer_length]
    ja .Lcomplete_insert
    cmp qword ptr [rip + offer_count], 1
    je .Lcomplete_insert
    mov edi, CHAR_NEWLINE
    call serial_put_char
    lea rdi, [rip + offer_show_one]
    call offer_each
    mov edi, CHAR_NEWLINE
    call serial_put_char
    call line_redraw
    return_frame
.Lcomplete_insert:
    call offer_insert
    return_frame
.Lcomplete_nothing:
    call line_bell
    return_frame
end_function line_complete

# offer_choose -- which word stands before the cursor, and who offers words for it
# In:       none
# Out:      cf = nobody
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode
local_function offer_choose
    call_frame
    push rbx
    push rbx
    lea rdx, [rip + line_text]
    mov rcx, qword ptr [rip + line_cursor]
    add rcx, rdx
    mov rbx, rcx                                # the word: from rbx up to rcx
.Lchoose_back:
    cmp rbx, rdx
    je .Lchoose_found
    cmp byte ptr [rbx - 1], CHAR_BLANK
    je .Lchoose_found
    dec rbx
    jmp .Lchoose_back
.Lchoose_found:
    sub rcx, rbx
    mov qword ptr [rip + offer_prefix], rbx
    mov qword ptr [rip + offer_length], rcx
    mov rdi, rdx                                # the first word of the line: is it this one
.Lchoose_blank:
    cmp rdi, rbx
    jae .Lchoose_command
    cmp byte ptr [rdi], CHAR_BLANK
    jne .Lchoose_name
    inc rdi
    jmp .Lchoose_blank
.Lchoose_command:
    lea rax, [rip + shell_nth]
    mov qword ptr [rip + offer_nth], rax
    clc
    jmp .Lchoose_return
.Lchoose_name:                                  # rdi: a command's name, a blank behind it
    mov rsi, rdi
.Lchoose_name_end:
    inc rsi
    cmp byte ptr [rsi], CHAR_BLANK
    jne .Lchoose_name_end
    mov rcx, rsi
.Lchoose_between:                               # only blanks lie between the name and the word
    cmp rcx, rbx
    jae .Lchoose_ask
    cmp byte ptr [rcx], CHAR_BLANK
    jne .Lchoose_nobody
    inc rcx
    jmp .Lchoose_between
.Lchoose_ask:
    sub rsi, rdi
    call shell_find
    jc .Lchoose_return
    mov rax, qword ptr [rax + SHELL_ROW_NTH]
    mov qword ptr [rip + offer_nth], rax
    cmp rax, 1                                  # cf when there is none
    jmp .Lchoose_return
.Lchoose_nobody:
    stc
.Lchoose_return:
    pop rbx
    pop rbx
    return_frame
end_function offer_choose

# offer_each -- call a routine for every word that is offered and begins as the word before the cursor does
# In:       rdi = routine:ptr (In: rdi = word:asciz, rsi = earlier:u64, the words that fit before it)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, after offer_choose
local_function offer_each
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    xor ebx, ebx
    xor r13d, r13d                              # words that fit
.Leach_next:
    mov rdi, rbx
    call qword ptr [rip + offer_nth]
    jc .Leach_done
    mov r14, rax
    mov rdi, rax
    call offer_fits
    jc .Leach_skip
    mov rdi, r14
    mov rsi, r13
    call r12
    inc r13
.Leach_skip:
    inc ebx
    cmp ebx, OFFERS_MAX
    jb .Leach_next
.Leach_done:
    mov qword ptr [rip + offer_count], r13
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function offer_each

# offer_fits -- whether a word begins as the one before the cursor does
# In:       rdi = word:asciz
# Out:      cf = it does not
# Clobbers: rax, rcx, rdx
# Context:  long mode, after offer_choose
local_function offer_fits
    mov rdx, qword ptr [rip + offer_prefix]
    xor ecx, ecx
.Lfits_next:
    cmp rcx, qword ptr [rip + offer_length]
    je .Lfits_return                            # cf is clear
    mov al, byte ptr [rdi + rcx]                # a word that ends here differs: the line holds no zero
    cmp al, byte ptr [rdx + rcx]
    jne .Lfits_differ
    inc rcx
    jmp .Lfits_next
.Lfits_differ:
    stc
.Lfits_return:
    ret
end_function offer_fits

# offer_count_one -- a word fits: how much does it share with the first that did
# In:       rdi = word:asciz, rsi = earlier:u64
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, from offer_each
local_function offer_count_one
    test rsi, rsi
    jnz .Lcount_compare
    mov qword ptr [rip + offer_first], rdi
    mov qword ptr [rip + offer_common], SHELL_LINE_SIZE
.Lcount_compare:
    mov rdx, qword ptr [rip + offer_first]
    xor ecx, ecx
.Lcount_next:
    cmp rcx, qword ptr [rip + offer_common]
    je .Lcount_return
    mov al, byte ptr [rdi + rcx]
    test al, al
    jz .Lcount_set
    cmp al, byte ptr [rdx + rcx]
    jne .Lcount_set
    inc rcx
    jmp .Lcount_next
.Lcount_set:
    mov qword ptr [rip + offer_common], rcx
.Lcount_return:
    ret
end_function offer_count_one

# offer_show_one -- show a word that fits
# In:       rdi = word:asciz, rsi = earlier:u64
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, from offer_each
local_function offer_show_one
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    test rsi, rsi
    jz .Lshow_word
    mov edi, CHAR_BLANK
    call serial_put_char
    mov edi, CHAR_BLANK
    call serial_put_char
.Lshow_word:
    mov rdi, rbx
    call serial_put_string
    pop rbx
    pop rbx
    return_frame
end_function offer_show_one

# offer_insert -- insert what all words that fit share; a blank behind the only one
# In:       none
# Out:      eax = state:u32 (LINE_EDITED)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, after offer_each with offer_count_one
local_function offer_insert
    call_frame
    push rbx
    push r12
    mov rbx, qword ptr [rip + offer_first]
    mov r12, qword ptr [rip + offer_length]
.Linsert_next:
    cmp r12, qword ptr [rip + offer_common]
    jae .Linsert_done
    movzx edi, byte ptr [rbx + r12]
    call line_insert
    inc r12
    jmp .Linsert_next
.Linsert_done:
    cmp qword ptr [rip + offer_count], 1
    jne .Linsert_return
    mov edi, CHAR_BLANK
    call line_insert
.Linsert_return:
    mov eax, LINE_EDITED
    pop r12
    pop rbx
    return_frame
end_function offer_insert
