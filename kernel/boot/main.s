# Purpose:  the boot from the first serial byte to PXREADY, and what comes after it.
# Mode:     64-bit long mode
# Exports:  boot_main
# Invariants: PXREADY is said once, after the last boot unit; nothing behind it returns.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"

.section .rodata, "a"
text_ready_tsc: .asciz "tsc="
word_test:      .asciz "test"
key_test:       .asciz "test="
word_exit:      .asciz "exit"

.section .text, "ax"

# boot_main -- run the boot units, say PXREADY, do what the command line asks for
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, on the boot stack; does not return
function boot_main
    call_frame
    call boot_run_units
    call boot_say_ready
    call sched_load_boot
    lea rdi, [rip + word_test]
    call cmdline_has
    jc .Lmain_some_tests
    call ktap_run
    jmp .Lmain_tested
.Lmain_some_tests:
    lea rdi, [rip + key_test]
    call cmdline_value
    jc .Lmain_no_test
    mov rdi, rax
    mov rsi, rdx
    call ktap_run_some
.Lmain_tested:
    mov edi, DEBUG_EXIT_SUCCESS
    test rax, rax
    jz .Lmain_exit
    mov edi, DEBUG_EXIT_TESTS_FAILED
    jmp .Lmain_exit
.Lmain_no_test:
    lea rdi, [rip + word_exit]
    call cmdline_has
    jc .Lmain_shell
    mov edi, DEBUG_EXIT_SUCCESS
.Lmain_exit:
    call debug_exit
.Lmain_shell:
    sti
    call shell_run
end_function boot_main

# boot_say_ready -- the PXREADY line
# In:       none
# Out:      none
# Clobbers: rax, rdx, rdi
# Context:  long mode, GS base set
local_function boot_say_ready
    call_frame
    call serial_line_begin
    lea rdi, [rip + contract_ready_prefix]
    call serial_put_string
    lea rdi, [rip + text_ready_tsc]
    call serial_put_string
    rdtsc
    shl rdx, 32
    lea rdi, [rdx + rax]
    call serial_put_dec
    call serial_line_end
    return_frame
end_function boot_say_ready
