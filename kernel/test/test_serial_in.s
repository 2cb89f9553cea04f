# Purpose:  tests of the receiving side of COM1: the UART hears itself, by interrupt and without.
# Mode:     64-bit long mode
# Spec:     PC16550D data sheet, 8.6.5 (loop-back)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "ktap.inc"
.include "check.inc"

.set UART_DATA, SERIAL_PORT + 0
.set UART_MODEM, SERIAL_PORT + 4
.set UART_STATUS, SERIAL_PORT + 5
.set UART_STATUS_DATA, 0x01                     # a byte has come
.set UART_STATUS_IDLE, 0x40                     # all bytes have left
.set UART_MODEM_READY, 0x0b                     # as serial_init sets it
.set UART_MODEM_LOOP, 0x1b                      # the same, with the loop closed
.set UART_ABSENT, 0xff
.set IDLE_POLLS, 1 << 22
.set BYTE_1, 0x5a
.set BYTE_2, 0xa5

ktap_text text_no_uart, "no UART"
ktap_text text_empty, "nothing was sent"
ktap_text text_came, "came"
ktap_text text_byte, "byte"

.section .text, "ax"

# test_receive -- what the UART sends to itself comes in, in order: the first byte without interrupts
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_receive
    call_frame
    push rbx
    push r12
    sub rsp, 16
    mov edx, UART_STATUS
    in al, dx
    cmp al, UART_ABSENT
    je .Lreceive_skip
    call wait_idle
    mov edx, UART_MODEM
    mov al, UART_MODEM_LOOP
    out dx, al
    call serial_get_char
    setc bl                                     # nothing is said while the loop is closed
    mov edi, BYTE_1
    call loop_byte
    call serial_get_char
    sbb ecx, ecx
    or eax, ecx                                 # all ones when none came
    mov [rsp], eax
    mov r12d, [rip + serial_ring_in]
    mov edi, BYTE_2
    call loop_byte
    cmp dword ptr [rip + serial_in_vector], 1
    cmc
    jnc .Lreceive_second                        # the line is polled
    lea rdi, [rip + serial_ring_in]             # it goes into the ring by interrupt
    mov esi, r12d
    call wait_received
.Lreceive_second:
    setc bh
    call serial_get_char
    sbb ecx, ecx
    or eax, ecx
    mov [rsp + 8], eax
    mov edx, UART_MODEM
    mov al, UART_MODEM_READY
    out dx, al
    movzx eax, bl
    check text_empty, rax, 1
    mov eax, [rsp]
    check text_byte, rax, BYTE_1
    movzx eax, bh
    check text_came, rax, 0
    mov eax, [rsp + 8]
    check text_byte, rax, BYTE_2
    mov eax, KTAP_DONE
.Lreceive_leave:
    add rsp, 16
    pop r12
    pop rbx
    return_frame
.Lreceive_skip:
    lea rdi, [rip + text_no_uart]
    call ktap_skip
    jmp .Lreceive_leave
end_function test_receive
ktap_test test_receive, "serial_receives"

# wait_idle -- wait until the UART has sent all that it was given
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode; in a test
local_function wait_idle
    mov ecx, IDLE_POLLS
    mov edx, UART_STATUS
.Lidle_poll:
    in al, dx
    test al, UART_STATUS_IDLE
    jnz .Lidle_return
    dec ecx
    jnz .Lidle_poll
.Lidle_return:
    ret
end_function wait_idle

# loop_byte -- send a byte round the loop, and wait until it has come: at 115200 baud it is on its way for 87 us
# In:       edi = byte:u32[0..255]
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off; in a test
local_function loop_byte
    mov edx, UART_DATA
    mov eax, edi
    out dx, al
    mov ecx, IDLE_POLLS
    mov edx, UART_STATUS
.Lloop_poll:
    in al, dx
    test al, UART_STATUS_DATA
    jnz .Lloop_return
    dec ecx
    jnz .Lloop_poll
.Lloop_return:
    ret
end_function loop_byte

# wait_received -- let interrupts in until the ring's count is no longer what it was, but not for ever
# In:       rdi = counter:ptr (u32), esi = value:u32
# Out:      cf = it did not change
# Clobbers: rcx
# Context:  long mode, interrupts off before and after
local_function wait_received
    mov ecx, IDLE_POLLS
    sti
.Lreceived_turn:
    pause
    cmp [rdi], esi
    jne .Lreceived_changed
    dec ecx
    jnz .Lreceived_turn
    cli
    stc
    ret
.Lreceived_changed:
    cli
    clc
    ret
end_function wait_received
