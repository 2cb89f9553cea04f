# Purpose:  a command line as words and numbers.
# Mode:     64-bit long mode
# Exports:  words_split, words_number, words_same, words_nth, words_find
# Invariants: nothing is read behind the zero that ends a line.
.intel_syntax noprefix
.include "macros.inc"
.include "shell.inc"

.section .text, "ax"

# words_split -- cut a line into words, in place: blanks behind words become zeros
# In:       rdi = line:asciz, rsi = words:ptr (SHELL_WORDS_MAX addresses)
# Out:      rax = count:u64, cf = there are more than SHELL_WORDS_MAX
# Clobbers: rdi
# Context:  long mode
function words_split
    xor eax, eax
.Lsplit_blank:
    cmp byte ptr [rdi], CHAR_BLANK
    jne .Lsplit_word
    inc rdi
    jmp .Lsplit_blank
.Lsplit_word:
    cmp byte ptr [rdi], 0
    je .Lsplit_done
    cmp rax, SHELL_WORDS_MAX
    je .Lsplit_many
    mov qword ptr [rsi + rax * 8], rdi
    inc rax
.Lsplit_char:
    inc rdi
    cmp byte ptr [rdi], 0
    je .Lsplit_done
    cmp byte ptr [rdi], CHAR_BLANK
    jne .Lsplit_char
    mov byte ptr [rdi], 0
    inc rdi
    jmp .Lsplit_blank
.Lsplit_many:
    stc
    ret
.Lsplit_done:
    clc
    ret
end_function words_split

# words_same -- whether two words are equal
# In:       rdi = one:asciz, rsi = other:asciz
# Out:      cf = they differ
# Clobbers: none
# Context:  long mode
function words_same
    push rax
    push rcx
    xor ecx, ecx
.Lsame_next:
    mov al, byte ptr [rdi + rcx]
    cmp al, byte ptr [rsi + rcx]
    jne .Lsame_differ
    inc rcx
    test al, al
    jnz .Lsame_next
    clc
    jmp .Lsame_return
.Lsame_differ:
    stc
.Lsame_return:
    pop rcx
    pop rax
    ret
end_function words_same

# words_number -- the number that a word is: decimal digits, or 0x and hexadecimal ones of either case
# In:       rdi = word:asciz
# Out:      rax = number:u64, cf = it is none, or needs more than 64 bits
# Clobbers: none
# Context:  long mode
function words_number
    push rcx
    push rdx
    push rdi
    push r8
    mov r8d, 10
    cmp word ptr [rdi], '0' | 'x' << 8
    jne .Lnumber_begin
    mov r8d, 16
    add rdi, 2
.Lnumber_begin:
    xor eax, eax
    cmp byte ptr [rdi], 0
    je .Lnumber_none
.Lnumber_digit:
    movzx ecx, byte ptr [rdi]
    inc rdi
    test ecx, ecx
    jz .Lnumber_done
    sub ecx, '0'
    cmp ecx, 9
    jbe .Lnumber_value
    or ecx, 0x20                                # letters of either case: 'a' - '0' is 0x31
    sub ecx, 'a' - '0'
    cmp ecx, 5
    ja .Lnumber_none
    add ecx, 10
.Lnumber_value:
    cmp ecx, r8d
    jae .Lnumber_none
    mul r8
    jc .Lnumber_none
    add rax, rcx
    jnc .Lnumber_digit
.Lnumber_none:
    stc
    jmp .Lnumber_return
.Lnumber_done:
    clc
.Lnumber_return:
    pop r8
    pop rdi
    pop rdx
    pop rcx
    ret
end_function words_number

# words_nth -- the name in the nth row of a table whose rows begin with the address of a name
# In:       rdi = n:u64[0..0xffff], rsi = first:ptr, rdx = end:ptr, rcx = size:u64 (of a row)
# Out:      rax = name:asciz, cf = there are fewer
# Clobbers: none
# Context:  long mode
function words_nth
    mov rax, rdi
    imul rax, rcx
    add rax, rsi
    cmp rax, rdx
    cmc
    jc .Lnth_return
    mov rax, qword ptr [rax]                    # cf is clear
.Lnth_return:
    ret
end_function words_nth

# words_find -- the row of a name in a table whose rows begin with the address of a name
# In:       rdi = name:asciz, rsi = first:ptr, rdx = end:ptr, rcx = size:u64 (of a row)
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rsi
# Context:  long mode
function words_find
    call_frame
    mov rax, rsi
.Lfind_row:
    cmp rax, rdx
    jae .Lfind_none
    mov rsi, qword ptr [rax]
    call words_same
    jnc .Lfind_return
    add rax, rcx
    jmp .Lfind_row
.Lfind_none:
    stc
.Lfind_return:
    return_frame
end_function words_find
