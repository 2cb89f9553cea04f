# Purpose:  the command messages of the shell: round trips through a shader, asleep until the service's message comes.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 5 (Sleeping)
# Exports:  a row of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "session.inc"
.include "shell.inc"

.set ASK_HEADER, MAILBOX_OP_PING << MAILBOX_OPCODE_SHIFT | MAILBOX_FLAG_DEVICE
.set ASK_COUNT, 100                             # when none is given
.set ASK_COUNT_MAX, 100000
.set ASK_NS, 5000000000                         # how long one answer is waited for
.set ASK_BODY, 48

.section .bss, "aw", @nobits
    .balign 8
ask_body:       .skip ASK_BODY                  # zeros: the value that comes back

.section .text, "ax"

# command_messages -- messages [COUNT]
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; a command
local_function command_messages
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov ebx, ASK_COUNT
    test rsi, rsi
    jz .Lmessages_ask
    cmp rsi, 1
    jne .Lmessages_usage
    mov rdi, qword ptr [rdi]
    call words_number
    jc .Lmessages_usage
    mov rbx, rax
    lea rcx, [rax - 1]
    cmp rcx, ASK_COUNT_MAX
    jae .Lmessages_usage
.Lmessages_ask:
    mov r12, qword ptr [rip + messages_came]
    mov r13, qword ptr [rip + messages_halts]
    xor r14d, r14d                              # answers
.Lmessages_next:
    lea rdi, [rip + ask_body]
    mov esi, ASK_HEADER
    mov rdx, ASK_NS
    call gpu_request
    jc .Lmessages_none
    inc r14
    cmp r14, rbx
    jb .Lmessages_next
    lea rdi, [rip + name_messages]
    call out_begin
    lea rdi, [rip + key_answered]
    mov rsi, r14
    call out_number
    lea rdi, [rip + key_halts]
    mov rsi, qword ptr [rip + messages_halts]
    sub rsi, r13
    call out_number
    lea rdi, [rip + key_messages]
    mov rsi, qword ptr [rip + messages_came]
    sub rsi, r12
    call out_number
    call out_end
    clc
.Lmessages_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmessages_usage:
    lea rax, [rip + text_usage]
    stc
    jmp .Lmessages_return
.Lmessages_none:
    lea rax, [rip + text_none]
    stc
    jmp .Lmessages_return
end_function command_messages
shell_text text_usage, "expected nothing, or how many (1 to 100000)"
shell_text text_none, "no GPU service answers: pxos run --gpu starts one"
shell_text name_messages, "messages"
shell_text key_answered, "answered"
shell_text key_halts, "halts"
shell_text key_messages, "messages"
shell_command command_messages, "messages", "[COUNT]", "round trips through a shader, asleep until the answer's message"
