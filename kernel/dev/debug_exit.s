# Purpose:  the ways out: QEMU's isa-debug-exit and pvpanic, and the halt behind them on a machine without them.
# Mode:     64-bit long mode
# Spec:     QEMU docs/specs/pvpanic; hw/misc/debugexit.c; values in contract.toml
# Exports:  debug_exit, debug_exit_fault, panic
# Invariants: none of these routines returns.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"

.section .text, "ax"

# debug_exit -- end the machine with a status, or halt for ever where there is no isa-debug-exit
# In:       edi = status:u32[16..18] (DEBUG_EXIT_*)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF; does not return
function debug_exit
    mov eax, edi
    mov edx, DEBUG_EXIT_PORT
    out dx, eax
    call_frame
    call last_words                             # still here: on a machine without isa-debug-exit
.Lhalt:
    cli
    hlt
    jmp .Lhalt                                  # an NMI wakes a halted CPU
end_function debug_exit

# debug_exit_fault -- tell the host of a fault, give it a moment to look, end the machine
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, any IF; does not return. The host pauses the machine at the end of the translation block
#           that wrote to pvpanic: the jump ends it before the exit destroys what there is to see
function debug_exit_fault
    mov edx, PVPANIC_PORT
    mov al, PVPANIC_PANICKED
    out dx, al
    jmp .Lafter_pvpanic
.Lafter_pvpanic:
    mov edi, DEBUG_EXIT_FAULT
    jmp debug_exit
end_function debug_exit_fault

# panic -- say PXPANIC with a code and a text, and end the machine as after a fault
# In:       rdi = code:asciz, rsi = text:asciz
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, GS base set; does not return
function panic
    call_frame
    push rdi
    push rsi
    cli
    call cpu_claim_end                          # the first CPU that wants to ends the machine, alone
    call serial_line_begin                      # until the end: nobody speaks after it
    call cpu_stop_others
    pop rsi
    pop rdi
    mov rdx, rsi
    mov rsi, rdi
    lea rdi, [rip + panic_say]
    call last_words_set
    mov rdi, rsi
    mov rsi, rdx
    call panic_say
    call debug_exit_fault
end_function panic

# panic_say -- the PXPANIC line
# In:       rdi = code:asciz, rsi = text:asciz
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, any IF, GS base set
local_function panic_say
    call_frame
    push rdi
    push rdi
    call serial_line_begin
    lea rdi, [rip + contract_panic_prefix]
    call serial_put_string
    mov rdi, qword ptr [rbp - 8]
    call serial_put_string
    mov edi, ' '
    call serial_put_char
    mov rdi, rsi
    call serial_put_string
    call serial_line_end
    pop rdi
    pop rdi
    return_frame
end_function panic_say
