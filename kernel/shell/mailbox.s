# Purpose:  the command mailbox of the shell: registers, and the session with the GPU service; mailbox_ping (ping.s) measures it.
# Mode:     64-bit long mode
# Spec:     include/gpu.inc (registers), shaders/MAILBOX.md
# Exports:  a row of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "session.inc"
.include "shell.inc"

.set PING_COUNT, 1000                           # when none is given
.set PING_COUNT_MAX, 10000000

.section .rodata, "a"
    .balign 8
state_names:    .quad state_none, state_lost, state_open        # by SESSION_*
state_none:     .asciz "none"
state_lost:     .asciz "lost"
state_open:     .asciz "open"

.section .text, "ax"

# command_mailbox -- mailbox, or mailbox ping [COUNT]
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_mailbox
    call_frame
    push rbx
    push r12
    test rsi, rsi
    jz .Lmailbox_show
    mov rbx, rdi
    mov r12, rsi
    mov rdi, qword ptr [rbx]
    lea rsi, [rip + word_ping]
    call words_same
    jc .Lmailbox_usage
    mov eax, PING_COUNT
    cmp r12, 2
    jb .Lmailbox_ping
    ja .Lmailbox_usage
    mov rdi, qword ptr [rbx + 8]
    call words_number
    jc .Lmailbox_usage
.Lmailbox_ping:
    lea rcx, [rax - 1]
    cmp rcx, PING_COUNT_MAX
    jae .Lmailbox_usage
    mov rdi, rax
    call mailbox_ping
    jmp .Lmailbox_return
.Lmailbox_show:
    call mailbox_show
.Lmailbox_return:
    pop r12
    pop rbx
    return_frame
.Lmailbox_usage:
    lea rax, [rip + text_usage]
    stc
    jmp .Lmailbox_return
end_function command_mailbox
shell_text text_usage, "expected nothing, or ping and how many (1 to 10000000)"
shell_text word_ping, "ping"
shell_command command_mailbox, "mailbox", "[ping [COUNT]]", "mailbox registers and session; how long an answer takes", mailbox_nth

# mailbox_nth -- the words that the command takes
# In:       rdi = n:u64[0..0xffff]
# Out:      rax = word:asciz, cf = there are fewer
# Clobbers: none
# Context:  long mode
local_function mailbox_nth
    lea rax, [rip + word_ping]
    cmp rdi, 1
    cmc
    ret
end_function mailbox_nth

# mailbox_show -- the registers of the mailbox page, and the session
# In:       none
# Out:      rax = reason:asciz, cf = there is neither
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function mailbox_show
    call_frame
    push rbx
    push rbx
    mov rbx, qword ptr [rip + gpu_mailbox]
    mov rax, rbx
    or rax, qword ptr [rip + session_control]
    jz .Lshow_none
    lea rdi, [rip + name_mailbox]
    call out_begin
    test rbx, rbx
    jz .Lshow_session
    lea rdi, [rip + key_command]
    mov esi, dword ptr [rbx + MAILBOX_CMD]
    call out_hex
    lea rdi, [rip + key_status]
    mov esi, dword ptr [rbx + MAILBOX_STATUS]
    call out_hex
    lea rdi, [rip + key_response]
    mov esi, dword ptr [rbx + MAILBOX_RESP]
    call out_hex
    lea rdi, [rip + key_doorbell]
    mov esi, dword ptr [rbx + MAILBOX_DOORBELL]
    call out_hex
.Lshow_session:
    mov eax, dword ptr [rip + session_state]
    lea rsi, [rip + state_names]
    mov rsi, qword ptr [rsi + rax * 8]
    lea rdi, [rip + key_session]
    call out_text
    lea rdi, [rip + key_epoch]
    mov esi, dword ptr [rip + session_epoch]
    call out_number
    lea rdi, [rip + key_features]
    mov rsi, qword ptr [rip + session_features]
    call out_hex
    lea rdi, [rip + key_sessions]
    mov rsi, qword ptr [rip + session_count]
    call out_number
    lea rdi, [rip + key_aborted]
    mov rsi, qword ptr [rip + session_aborted]
    call out_number
    lea rdi, [rip + key_strays]
    mov rsi, qword ptr [rip + session_strays]
    call out_number
    call out_end
    clc
.Lshow_return:
    pop rbx
    pop rbx
    return_frame
.Lshow_none:
    lea rax, [rip + text_none]
    stc
    jmp .Lshow_return
end_function mailbox_show
shell_text name_mailbox, "mailbox"
shell_text key_command, "cmd"
shell_text key_status, "status"
shell_text key_response, "resp"
shell_text key_doorbell, "doorbell"
shell_text key_session, "session"
shell_text key_epoch, "epoch"
shell_text key_features, "features"
shell_text key_sessions, "sessions"
shell_text key_aborted, "aborted"
shell_text key_strays, "strays"
shell_text text_none, "this machine has no mailbox"
