# Purpose:  what tests of memory share: try an access and say how it ended.
# Mode:     64-bit long mode
# Exports:  probe_fault
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "check.inc"

.section .text, "ax"

# probe_fault -- call a routine with an address and say which fault the access raised there
# In:       rdi = routine:ptr, rsi = address:u64
# Out:      rax = outcome:u64 (PROBE_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, in a test
function probe_fault
    call_frame
    push rbx
    push rbx
    mov rbx, rsi
    xor edx, edx                                # FAULT_CATCH_QUIET
    call fault_catch
    jnc .Lprobe_none
    shl rax, PROBE_VECTOR_SHIFT
    or rax, rdx
    cmp rbx, qword ptr gs:[CAUGHT_CR2]
    je .Lprobe_leave
    mov rax, PROBE_ELSEWHERE
    jmp .Lprobe_leave
.Lprobe_none:
    mov eax, PROBE_NONE
.Lprobe_leave:
    pop rbx
    pop rbx
    return_frame
end_function probe_fault
