# Purpose:  what must hold before 64-bit mode, and what is said when it does not.
# Mode:     32-bit protected mode, paging off
# Spec:     Intel SDM vol. 1, 20.1 (CPUID present), vol. 2 CPUID; Multiboot2 Specification 2.0, 3.3
# Exports:  boot_check_handover, boot_check_cpu
# Invariants: a check that fails says PXPANIC with a code of its own and ends the machine; it never returns.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "contract.inc"
.include "boot.inc"

.set BOOT_SERIAL_DIVISOR_HIGH, SERIAL_PORT + 1
.set BOOT_SERIAL_LINE, SERIAL_PORT + 3
.set BOOT_SERIAL_STATUS, SERIAL_PORT + 5
.set BOOT_SERIAL_DLAB, 0x80
.set BOOT_SERIAL_115200, 1
.set BOOT_SERIAL_8N1, 0x03
.set BOOT_SERIAL_EMPTY, 0x20
.set BOOT_SERIAL_WAIT_MAX, 1 << 20

.section .boot.rodata, "a"
text_magic:     .asciz "bad-magic the loader is neither Multiboot2 nor PVH\n"
text_cpuid:     .asciz "no-cpuid this CPU is too old: it has no CPUID\n"
text_long_mode: .asciz "no-long-mode this CPU has no 64-bit mode\n"
text_nx:        .asciz "no-nx this CPU has no no-execute pages\n"

.section .boot.text, "ax"
.code32

# boot_check_handover -- the magic number must be that of the protocol whose entry was taken
# In:       none
# Out:      none
# Clobbers: rax, rsi
# Context:  32-bit protected mode, paging off; does not return on failure
function boot_check_handover
    mov esi, offset text_magic
    mov eax, MULTIBOOT2_BOOT_MAGIC
    cmp dword ptr [boot_handover_protocol], BOOT_PROTOCOL_MULTIBOOT2
    je .Lhandover_compare
    mov eax, PVH_MAGIC
.Lhandover_compare:
    cmp dword ptr [boot_handover_magic], eax
    jne boot_fail
    ret
end_function boot_check_handover

# boot_check_cpu -- CPUID, long mode and no-execute pages must be there
# In:       none
# Out:      none
# Clobbers: rax, rbx, rcx, rdx, rsi
# Context:  32-bit protected mode, paging off; does not return on failure
function boot_check_cpu
    mov esi, offset text_cpuid
    pushfd                                      # CPUID is there when EFLAGS.ID can be changed
    pop eax
    mov ecx, eax
    xor eax, RFLAGS_ID
    push eax
    popfd
    pushfd
    pop eax
    push ecx
    popfd
    cmp eax, ecx
    je boot_fail

    mov esi, offset text_long_mode
    mov eax, CPUID_LEAF_MAX_EXTENDED
    cpuid
    cmp eax, CPUID_LEAF_EXTENDED
    jb boot_fail
    mov eax, CPUID_LEAF_EXTENDED
    cpuid
    test edx, CPUID_EXT_EDX_LM
    jz boot_fail
    mov esi, offset text_nx
    test edx, CPUID_EXT_EDX_NX
    jz boot_fail
    ret
end_function boot_check_cpu

# boot_fail -- say PXPANIC with the given code and text, tell the host, end the machine
# In:       esi = text:asciz
# Out:      none
# Clobbers: none
# Context:  32-bit protected mode, paging off; does not return
local_function boot_fail
    mov ebx, esi
    call boot_set_up_serial
    mov esi, offset boot_newline
    call boot_put_string
    mov esi, offset contract_panic_prefix - VIRTUAL_BASE
    call boot_put_string
    mov esi, ebx
    call boot_put_string
    mov edx, PVPANIC_PORT
    mov al, PVPANIC_PANICKED
    out dx, al
    jmp .Lfail_exit                             # ends the translation block: the host looks before the exit
.Lfail_exit:
    mov edx, DEBUG_EXIT_PORT
    mov eax, DEBUG_EXIT_FAULT
    out dx, eax
.Lfail_halt:
    cli
    hlt
    jmp .Lfail_halt
end_function boot_fail

# boot_set_up_serial -- set COM1 to 115200 8N1
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi
# Context:  32-bit protected mode, paging off
local_function boot_set_up_serial
    mov esi, offset boot_serial_setup
.Lserial_next:
    movzx edx, word ptr [esi]
    test edx, edx
    jz .Lserial_done
    mov eax, dword ptr [esi + 2]
    out dx, al
    add esi, 4
    jmp .Lserial_next
.Lserial_done:
    ret
end_function boot_set_up_serial

# boot_put_string -- send a zero-ended string to COM1; waits are bounded
# In:       esi = text:asciz
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  32-bit protected mode, paging off
local_function boot_put_string
    mov ecx, BOOT_SERIAL_WAIT_MAX
    mov edx, BOOT_SERIAL_STATUS
.Lput_wait:
    in al, dx
    test al, BOOT_SERIAL_EMPTY
    jnz .Lput_send
    dec ecx
    jnz .Lput_wait
.Lput_send:
    mov al, byte ptr [esi]
    inc esi
    test al, al
    jz .Lput_return
    mov edx, SERIAL_PORT
    out dx, al
    jmp boot_put_string
.Lput_return:
    ret
end_function boot_put_string

.section .boot.rodata, "a"
boot_newline:   .asciz "\n"
# what sets COM1 to 115200 8N1: port, value; ended by port 0
boot_serial_setup:
    .short BOOT_SERIAL_LINE, BOOT_SERIAL_DLAB
    .short SERIAL_PORT, BOOT_SERIAL_115200
    .short BOOT_SERIAL_DIVISOR_HIGH, 0
    .short BOOT_SERIAL_LINE, BOOT_SERIAL_8N1
    .short 0
