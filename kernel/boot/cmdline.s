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
    call_frame
    push rdx
    push rdx
    mov edx, 1
    call cmdline_find
    pop rdx
    pop rdx
    return_frame
end_function cmdline_has

# cmdline_value -- what stands behind the beginning of a word: paging for test= of "test=paging"
# In:       rdi = key:asciz (with its "=")
# Out:      rax = value:ptr, rdx = bytes:u64, cf = no word begins so
# Clobbers: none
# Context:  long mode, any IF
function cmdline_value
    call_frame
    xor edx, edx
    call cmdline_find
    jc .Lvalue_return
.Lvalue_length:
    cmp byte ptr [rax + rdx], 0
    je .Lvalue_return                           # cf is clear
    cmp byte ptr [rax + rdx], CHAR_BLANK
    je .Lvalue_return                           # cf is clear
    inc rdx
    jmp .Lvalue_length
.Lvalue_return:
    return_frame
end_function cmdline_value

# cmdline_find -- the first word that begins with a text, or that is this text
# In:       rdi = text:asciz, rdx = whole:u64[0..1] (1: the word ends where the text does)
# Out:      rax = behind:ptr (the text, on the command line), cf = there is none
# Clobbers: none
# Context:  long mode, any IF
local_function cmdline_find
    push rcx
    push rsi
    lea rsi, [rip + bootinfo_cmdline]
.Lfind_word:                                    # rsi is at the start of a word, or at blanks
    cmp byte ptr [rsi], CHAR_BLANK
    jne .Lfind_compare
    inc rsi
    jmp .Lfind_word
.Lfind_compare:
    cmp byte ptr [rsi], 0
    stc
    je .Lfind_return
    xor ecx, ecx
.Lfind_char:
    mov al, byte ptr [rdi + rcx]
    test al, al
    jz .Lfind_behind
    cmp al, byte ptr [rsi + rcx]
    jne .Lfind_skip
    inc rcx
    jmp .Lfind_char
.Lfind_behind:
    lea rax, [rsi + rcx]
    test edx, edx
    jz .Lfind_return                            # cf is clear
    cmp byte ptr [rax], 0
    je .Lfind_return                            # cf is clear
    cmp byte ptr [rax], CHAR_BLANK
    je .Lfind_return                            # cf is clear
.Lfind_skip:
    mov al, byte ptr [rsi]
    test al, al
    jz .Lfind_compare
    cmp al, CHAR_BLANK
    je .Lfind_word
    inc rsi
    jmp .Lfind_skip
.Lfind_return:
    pop rsi
    pop rcx
    ret
end_function cmdline_find
