# Purpose:  the boot unit `mailbox`: set the mailbox registers up, and see that they hold what was written.
# Mode:     64-bit
# Spec:     include/gpu.inc (registers)
# Exports:  mailbox_init mailbox_setup mailbox_check
# Invariants: STATUS says ready only when the other registers are in their first state. The page is uncacheable, so
#           stores reach the device in program order.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "gpu.inc"

.section .rodata, "a"
note_bar0:      .asciz "bar0"
note_status:    .asciz "status"
note_error:     .asciz "error"

.section .text, "ax"

# mailbox_init -- set the mailbox up and check it
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the gpu unit; boot unit
function mailbox_init
    call_frame
    lea rdi, [rip + note_bar0]
    mov rsi, [rip + gpu_bar0]
    call unit_note
    mov rdi, [rip + gpu_mailbox]
    call mailbox_setup
    call mailbox_check
    jc .Lmailbox_fail
    mov esi, [rdi + MAILBOX_STATUS]
    lea rdi, [rip + note_status]
    call unit_note
    mov eax, BOOT_RESULT_OK
    return_frame
.Lmailbox_fail:
    lea rdi, [rip + note_error]
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_FAIL
    return_frame
end_function mailbox_init

# mailbox_setup -- bring the registers into their first state
# In:       rdi = mailbox:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, the page is mapped
function mailbox_setup
    mov dword ptr [rdi + MAILBOX_CMD], MAILBOX_CMD_NONE
    mov dword ptr [rdi + MAILBOX_RESP], 0
    mov dword ptr [rdi + MAILBOX_DOORBELL], 0
    mov dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY
    ret
end_function mailbox_setup

# mailbox_check -- whether the registers are in their first state
# In:       rdi = mailbox:ptr
# Out:      rax = error:u64, cf = they are not
# Clobbers: none
# Context:  long mode, any IF, the page is mapped
function mailbox_check
    cmp dword ptr [rdi + MAILBOX_CMD], MAILBOX_CMD_NONE
    jne .Lcheck_wrong
    cmp dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY
    jne .Lcheck_wrong
    cmp dword ptr [rdi + MAILBOX_RESP], 0
    jne .Lcheck_wrong
    cmp dword ptr [rdi + MAILBOX_DOORBELL], 0
    jne .Lcheck_wrong
    xor eax, eax
    ret
.Lcheck_wrong:
    mov eax, ERROR_INVALID
    stc
    ret
end_function mailbox_check
