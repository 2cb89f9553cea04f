# Purpose:  the command line: the loader's, with what QEMU's fw_cfg says appended; words are looked up in it.
# Mode:     64-bit long mode
# Spec:     contract.toml: FW_CFG_CMDLINE
# Exports:  bootinfo_cmdline, cmdline_length, cmdline_append, cmdline_append_fw_cfg, cmdline_has,
#           cmdline_value
# Invariants: bootinfo_cmdline is zero-ended, at most CMDLINE_SIZE bytes with the zero; pieces are separated by one
#           blank; what does not fit is cut off.
.intel_syntax noprefix
.include "macros.inc"
.include "boot.inc"

.set CHAR_BLANK, ' '

.section .bss, "aw", @nobits
    .balign 8
object bootinfo_cmdline
    .skip CMDLINE_SIZE
end_object bootinfo_cmdline
object cmdline_length                           # u64: without the zero
    .skip 8
end_object cmdline_length
cmdline_buffer:                                 # what fw_cfg says
    .skip CMDLINE_SIZE

.section .text, "ax"

# cmdline_append -- append a text to the command line
# In:       rdi = text:ptr, rsi = bytes:u64 (bound of the text; a zero ends it earlier)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode
function cmdline_append
    lea rdx, [rip + bootinfo_cmdline]
    mov rcx, qword ptr [rip + cmdline_length]
    test rsi, rsi
    jz .Lappend_return
    cmp byte ptr [rdi], 0
    je .Lappend_return
    test rcx, rcx
    jz .Lappend_next
    mov al, CHAR_BLANK
    jmp .Lappend_put
.Lappend_next:
    sub rsi, 1
    jb .Lappend_return
    mov al, byte ptr [rdi]
    inc rdi
    test al, al
    jz .Lappend_return
.Lappend_put:
    cmp rcx, CMDLINE_SIZE - 1
    jae .Lappend_return
    mov byte ptr [rdx + rcx], al
    inc rcx
    jmp .Lappend_next
.Lappend_return:
    mov qword ptr [rip + cmdline_length], rcx
    ret
end_function cmdline_append

# cmdline_append_fw_cfg -- append what QEMU was told by -fw_cfg name=opt/px/cmdline,string=…
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF
function cmdline_append_fw_cfg
    call_frame
    push rbx
    push r12
    lea rdi, [rip + contract_fw_cfg_cmdline]
    call fw_cfg_find
    jc .Lfw_cfg_return
    mov edi, eax
    mov ebx, CMDLINE_SIZE
    cmp edx, ebx
    cmova edx, ebx
    mov ebx, edx
    lea rsi, [rip + cmdline_buffer]
    call fw_cfg_read
    lea rdi, [rip + cmdline_buffer]
    mov esi, ebx
    call cmdline_append
.Lfw_cfg_return:
    pop r12
    pop rbx
    return_frame
end_function cmdline_append_fw_cfg

# cmdline_has -- is a word on the command line
# In:       rdi = word:asciz
# Out:      cf = it is not there
# Clobbers: rax
# Context:  long mode, any IF
function cmdline_has
    push rcx
    push rsi
    lea rsi, [rip + bootinfo_cmdline]
.Lhas_word:                                     # rsi is at the start of a word, or at blanks
    cmp byte ptr [rsi], CHAR_BLANK
    jne .Lhas_compare
    inc rsi
    jmp .Lhas_word
.Lhas_compare:
    cmp byte ptr [rsi], 0
    stc
    je .Lhas_return
    xor ecx, ecx
.Lhas_char:
    mov al, byte ptr [rdi + rcx]
    test al, al
    jz .Lhas_word_done
    cmp al, byte ptr [rsi + rcx]
    jne .Lhas_skip
    inc rcx
    jmp .Lhas_char
.Lhas_word_done:                                # the word ended: so must the one on the command line
    mov al, byte ptr [rsi + rcx]
    test al, al
    jz .Lhas_return                             # cf is clear
    cmp al, CHAR_BLANK
    je .Lhas_return                             # cf is clear
.Lhas_skip:
    mov al, byte ptr [rsi]
    test al, al
    jz .Lhas_compare
    cmp al, CHAR_BLANK
    je .Lhas_word
    inc rsi
    jmp .Lhas_skip
.Lhas_return:
    pop rsi
    pop rcx
    ret
end_function cmdline_has

# cmdline_value -- what stands behind the beginning of a word: paging for test= of "test=paging"
# In:       rdi = key:asciz (with its "=")
# Out:      rax = value:ptr, rdx = bytes:u64, cf = no word begins so
# Clobbers: none
# Context:  long mode, any IF
function cmdline_value
    push rcx
    push rsi
    lea rsi, [rip + bootinfo_cmdline]
.Lvalue_word:                                   # rsi is at the start of a word, or at blanks
    cmp byte ptr [rsi], CHAR_BLANK
    jne .Lvalue_compare
    inc rsi
    jmp .Lvalue_word
.Lvalue_compare:
    cmp byte ptr [rsi], 0
    stc
    je .Lvalue_return
    xor ecx, ecx
.Lvalue_char:
    mov al, byte ptr [rdi + rcx]
    test al, al
    jz .Lvalue_found
    cmp al, byte ptr [rsi + rcx]
    jne .Lvalue_skip
    inc rcx
    jmp .Lvalue_char
.Lvalue_skip:
    mov al, byte ptr [rsi]
    test al, al
    jz .Lvalue_compare
    cmp al, CHAR_BLANK
    je .Lvalue_word
    inc rsi
    jmp .Lvalue_skip
.Lvalue_found:
    lea rax, [rsi + rcx]
    xor edx, edx
.Lvalue_length:
    cmp byte ptr [rax + rdx], 0
    je .Lvalue_return                           # cf is clear
    cmp byte ptr [rax + rdx], CHAR_BLANK
    je .Lvalue_return                           # cf is clear
    inc rdx
    jmp .Lvalue_length
.Lvalue_return:
    pop rsi
    pop rcx
    ret
end_function cmdline_value
