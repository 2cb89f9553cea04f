# Purpose:  what comes in on the serial line.
# Mode:     64-bit long mode
# Spec:     PC16550D data sheet, 8.6.3 (line status)
# Exports:  serial_get_char
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"

.set UART_DATA, SERIAL_PORT + 0
.set UART_STATUS, SERIAL_PORT + 5
.set UART_STATUS_READY, 1 << 0
.set UART_ABSENT, 0xff                          # what a port answers that is not there

.section .text, "ax"

# serial_get_char -- the next byte that came in
# In:       none
# Out:      eax = byte:u32[0..255], cf = there is none
# Clobbers: rdx
# Context:  long mode, any IF
function serial_get_char
    mov edx, UART_STATUS
    in al, dx
    cmp al, UART_ABSENT
    je .Lget_none
    test al, UART_STATUS_READY
    jz .Lget_none
    mov edx, UART_DATA
    in al, dx
    movzx eax, al
    ret                                         # cf is clear after the test
.Lget_none:
    stc
    ret
end_function serial_get_char
