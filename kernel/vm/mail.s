# Purpose:  the mailbox of a pixel program on bare metal: a word that it sends is a command of the compatibility page.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 8; pixelvm/SPEC.md, section 11
# Exports:  vm_mail_open, vm_mail_send, vm_mail_receive
# Invariants: nothing waits: the program asks again. One command is out at a time, and its answer is two words, STATUS and
#           RESP. A program reaches what belongs to nobody: no command that ends the session, takes from the device heap
#           or runs what lies in the data area.
.intel_syntax noprefix
.include "macros.inc"
.include "session.inc"

.set MAIL_FREE, 0                               # a command may be sent
.set MAIL_ASKED, 1                              # one is out
.set MAIL_STATUS, 2                             # it was answered; STATUS is received next
.set MAIL_RESPONSE, 3                           # then RESP
.set MAIL_REFUSED, MAILBOX_STATUS_READY | MAILBOX_STATUS_COMPLETE | MAILBOX_STATUS_ERROR
.set OP_FIRST, 0x80
.set OP_COUNT, 16
.set MAIL_GRANTED, 1 << (MAILBOX_OP_UART_WRITE - OP_FIRST) | 1 << (MAILBOX_OP_UART_READ - OP_FIRST) | 1 << (MAILBOX_OP_MMIO_READ - OP_FIRST) | 1 << (MAILBOX_OP_SYSCALL - OP_FIRST) | 1 << (MAILBOX_OP_TIMESTAMP - OP_FIRST) | 1 << (MAILBOX_OP_STATISTICS - OP_FIRST) | 1 << (MAILBOX_OP_PING - OP_FIRST)

.section .bss, "aw", @nobits
    .balign 8
object mail_state                               # u32: MAIL_FREE, …
    .skip 4
end_object mail_state
object mail_answer                              # u32 each: STATUS, RESP
    .skip 8
end_object mail_answer

.section .text, "ax"

# vm_mail_open -- a program begins: what an earlier one was to receive is not for it
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode; one program at a time
function vm_mail_open
    mov dword ptr [rip + mail_state], MAIL_FREE
    ret
end_function vm_mail_open

# vm_mail_send -- a command for the GPU service
# In:       edi = command:u32 (opcode 31..24, thread 23..16, payload 15..0)
# Out:      eax = taken:u32 (0: one is out, or no service is there)
# Clobbers: rcx, rdx, rdi, r8
# Context:  long mode; one program at a time
function vm_mail_send
    call_frame
    cmp dword ptr [rip + mail_state], MAIL_FREE
    jne .Lsend_full
    cmp qword ptr [rip + session_control], 0
    je .Lsend_full                              # no device
    mov ecx, edi
    shr ecx, MAILBOX_OPCODE_SHIFT
    sub ecx, OP_FIRST
    cmp ecx, OP_COUNT
    jae .Lsend_refused
    mov eax, MAIL_GRANTED
    bt eax, ecx
    jnc .Lsend_refused
    mov rcx, qword ptr [rip + session_control]
    test dword ptr [rcx + MAILBOX_CONTROL_SERVICE_STATUS], MAILBOX_SERVICE_READY
    jz .Lsend_full
    mov rdx, qword ptr [rip + session_base]
    cmp dword ptr [rdx + MAILBOX_DOORBELL], 0
    jne .Lsend_full                             # an earlier program's, which is not answered yet
    mov dword ptr [rdx + MAILBOX_CMD], edi
    mov dword ptr [rdx + MAILBOX_DOORBELL], 1   # behind the command: stores keep their order
    mov dword ptr [rip + mail_state], MAIL_ASKED
    mfence
    lea rdi, [rip + session_queues]
    call session_ring
.Lsend_taken:
    mov eax, 1
    return_frame
.Lsend_refused:
    mov dword ptr [rip + mail_answer], MAIL_REFUSED
    mov dword ptr [rip + mail_answer + 4], MAILBOX_ERROR_NOT_GRANTED
    mov dword ptr [rip + mail_state], MAIL_STATUS
    jmp .Lsend_taken
.Lsend_full:
    xor eax, eax
    return_frame
end_function vm_mail_send

# vm_mail_receive -- the next word of an answer
# In:       none
# Out:      eax = word:u32, edx = there was one:u32 (0 or 1)
# Clobbers: rcx
# Context:  long mode; one program at a time
function vm_mail_receive
    mov ecx, dword ptr [rip + mail_state]
    cmp ecx, MAIL_ASKED
    jb .Lreceive_none
    ja .Lreceive_word
    mov rdx, qword ptr [rip + session_base]
    cmp dword ptr [rdx + MAILBOX_DOORBELL], 0
    jne .Lreceive_none
    mov eax, dword ptr [rdx + MAILBOX_STATUS]
    mov dword ptr [rip + mail_answer], eax
    mov eax, dword ptr [rdx + MAILBOX_RESP]
    mov dword ptr [rip + mail_answer + 4], eax
    mov ecx, MAIL_STATUS
.Lreceive_word:
    mov eax, dword ptr [rip + mail_answer]
    cmp ecx, MAIL_STATUS
    je .Lreceive_status
    mov eax, dword ptr [rip + mail_answer + 4]
    mov dword ptr [rip + mail_state], MAIL_FREE
    mov edx, 1
    ret
.Lreceive_status:
    mov dword ptr [rip + mail_state], MAIL_RESPONSE
    mov edx, 1
    ret
.Lreceive_none:
    xor eax, eax
    xor edx, edx
    ret
end_function vm_mail_receive
