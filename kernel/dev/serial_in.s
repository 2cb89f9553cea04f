# Purpose:  what comes in on the serial line COM1: received by interrupt into a ring, read without waiting.
# Mode:     64-bit long mode
# Spec:     PC16550D data sheet (National Semiconductor), 8.2 (line status), 8.5 (interrupt enable)
# Exports:  serial_input_init serial_get_char serial_receive serial_in_vector serial_in_overruns
# Invariants: one CPU receives, one thread reads: each moves its own end of the ring only. When the ring is full the
#           UART keeps what comes, and so holds the sender back where it can. Where the line has no interrupt, the reader looks at the UART itself: nothing changes for it.
#
#   serial_ring: bytes; serial_ring_in, serial_ring_out: how many went in and out, modulo 2^32; equal: empty
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"

.set UART_DATA, SERIAL_PORT + 0
.set UART_INTERRUPTS, SERIAL_PORT + 1
.set UART_FIFO, SERIAL_PORT + 2
.set UART_STATUS, SERIAL_PORT + 5
.set UART_FIFO_TRIGGER_8, 0x81                  # on; an interrupt for 8 bytes, or for fewer after 4 bytes' time
.set UART_INTERRUPT_RECEIVED, 1 << 0
.set UART_STATUS_DATA, 1 << 0
.set UART_STATUS_OVERRUN, 1 << 1
.set UART_STATUS_ABSENT, 0xff                   # no UART has all these bits
.set SERIAL_IRQ, 4
.set RING_SIZE, 256                             # a power of two

.section .rodata, "a"
note_irq:       .asciz "irq"
note_vector:    .asciz "vector"
note_reason:    .asciz "reason"
reason_absent:  .asciz "no-uart"
reason_polled:  .asciz "no-interrupt-line"

.section .text, "ax"

# serial_input_init -- boot unit: let COM1 interrupt when a byte has come
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no UART, or no line: then it is polled)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after ioapic_init; boot unit
function serial_input_init
    call_frame
    push rbx
    push r12
    mov edx, UART_STATUS
    in al, dx
    lea rsi, [rip + reason_absent]
    cmp al, UART_STATUS_ABSENT
    je .Linit_skip
    mov edi, SERIAL_IRQ
    lea rsi, [rip + serial_interrupt]
    xor edx, edx
    call irq_install
    lea rsi, [rip + reason_polled]
    jc .Linit_skip
    mov ebx, eax
    mov [rip + serial_in_vector], eax
    mov edx, UART_FIFO
    mov al, UART_FIFO_TRIGGER_8
    out dx, al
    mov edx, UART_INTERRUPTS
    mov al, UART_INTERRUPT_RECEIVED
    out dx, al
    lea rdi, [rip + note_irq]
    mov esi, SERIAL_IRQ
    call unit_note_dec
    lea rdi, [rip + note_vector]
    mov esi, ebx
    call unit_note
    mov eax, BOOT_RESULT_OK
.Linit_leave:
    pop r12
    pop rbx
    return_frame
.Linit_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Linit_leave
end_function serial_input_init

# serial_interrupt -- take what has come
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, interrupts off; a handler
local_function serial_interrupt
    jmp serial_receive
end_function serial_interrupt

# serial_receive -- move what the UART holds into the ring
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, interrupts off, on the CPU that receives
function serial_receive
    lea rdi, [rip + serial_ring]
.Lreceive_next:                                 # ends with the ring full at the latest
    mov edx, UART_STATUS
    in al, dx
    cmp al, UART_STATUS_ABSENT
    je .Lreceive_return
    test al, UART_STATUS_OVERRUN
    jz .Lreceive_whole
    inc dword ptr [rip + serial_in_overruns]    # the UART itself lost some
.Lreceive_whole:
    test al, UART_STATUS_DATA
    jz .Lreceive_return
    mov esi, [rip + serial_ring_in]
    mov edx, esi
    sub edx, [rip + serial_ring_out]
    cmp edx, RING_SIZE
    jae .Lreceive_return                        # the reader fetches the rest when it has made room
    mov edx, UART_DATA
    in al, dx
    mov edx, esi
    and edx, RING_SIZE - 1
    mov [rdi + rdx], al
    inc esi
    mov [rip + serial_ring_in], esi             # behind the byte: stores keep their order
    jmp .Lreceive_next
.Lreceive_return:
    ret
end_function serial_receive

# serial_get_char -- the next byte that has come, if any
# In:       none
# Out:      eax = byte:u32[0..255], cf = none has come
# Clobbers: rdx
# Context:  long mode, any IF, one reader at a time, on the boot CPU
function serial_get_char
    call_frame
    push rcx
    push rsi
    push rdi
    push rdi
    mov ecx, [rip + serial_ring_out]
    cmp ecx, [rip + serial_ring_in]
    jne .Lget_take
    pushfq                                      # an interrupt may be on its way, or there is none: look
    cli
    sub rsp, 8
    call serial_receive
    add rsp, 8
    popfq
    mov ecx, [rip + serial_ring_out]
    cmp ecx, [rip + serial_ring_in]
    stc
    je .Lget_return
.Lget_take:
    mov edx, ecx
    and edx, RING_SIZE - 1
    lea rsi, [rip + serial_ring]
    movzx eax, byte ptr [rsi + rdx]
    inc ecx
    mov [rip + serial_ring_out], ecx
    clc
.Lget_return:
    pop rdi
    pop rdi
    pop rsi
    pop rcx
    return_frame
end_function serial_get_char

.section .bss, "aw", @nobits
    .balign 8
serial_ring:
    .skip RING_SIZE
object serial_ring_in
    .skip 4
end_object serial_ring_in
object serial_ring_out
    .skip 4
end_object serial_ring_out
object serial_in_vector                         # that the line raises, 0 = it is polled
    .skip 4
end_object serial_in_vector
object serial_in_overruns                       # times that the UART's own FIFO ran over
    .skip 4
end_object serial_in_overruns
