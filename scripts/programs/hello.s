# Purpose:  says hello: the smallest program of ring 3, and one that the GPU service hears.
# Mode:     64-bit, ring 3
# Spec:     kernel/include/syscall.inc; shaders/MAILBOX.md, section 6 (LOG)
# Invariants: the kernel has no call to write: LOG is the GPU service's, so the text stands in its log. Without a service the
#           call is refused, and the code becomes what the program ends with: ERROR_UNSUPPORTED.
.intel_syntax noprefix
.include "macros.inc"
.include "mailbox.inc"
.include "syscall.inc"

.section .rodata, "a"
text_hello:     .ascii "hello from ring 3"
.set TEXT_LENGTH, . - text_hello

.section .text, "ax"

# program_start -- say hello, and end with 0 or with why that was refused
# In:       rdi = argument:u64
# Out:      none
# Clobbers: none
# Context:  ring 3; does not return
function program_start
    mov eax, MAILBOX_CALL_LOG
    lea rdi, [rip + text_hello]
    mov esi, TEXT_LENGTH
    syscall
    mov edi, 0                                  # leaves cf alone
    cmovc rdi, rax
    mov eax, SYSCALL_EXIT
    syscall
end_function program_start
