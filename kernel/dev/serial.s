# Purpose:  the serial line COM1: what the kernel says to people and to programs.
# Mode:     64-bit long mode; port I/O only, so it works under any page tables
# Spec:     PC16550D data sheet (National Semiconductor), 8.0 registers; the line format is the contract's
# Exports:  serial_init, serial_put_char, serial_put_string, serial_put_hex, serial_put_dec,
#           serial_line_begin, serial_line_end
# Invariants: a program's line starts at the start of a line; lines and blocks stay whole between
#           serial_line_begin and serial_line_end, on every CPU; no wait is endless: a UART that does not drain
#           is given up for good, and the kernel goes on without it.
#
#   port  DLAB=0 read      DLAB=0 write     DLAB=1
#   +0    received byte    byte to send     divisor, low byte (115200 / baud)
#   +1    -                interrupts on    divisor, high byte
#   +2    -                FIFO control
#   +3    line control: 1:0 = 3 for 8 bits, 2 = stop bits, 3 = parity, 7 = DLAB
#   +4    modem control: 0 DTR, 1 RTS, 3 OUT2
#   +5    line status: 0 data ready, 5 transmit FIFO empty
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "percpu.inc"

.set UART_DATA, SERIAL_PORT + 0
.set UART_INTERRUPTS, SERIAL_PORT + 1
.set UART_FIFO, SERIAL_PORT + 2
.set UART_LINE, SERIAL_PORT + 3
.set UART_MODEM, SERIAL_PORT + 4
.set UART_STATUS, SERIAL_PORT + 5

.set UART_LINE_8N1, 0x03
.set UART_LINE_DLAB, 0x80
.set UART_DIVISOR_115200, 1
.set UART_FIFO_ON_CLEARED, 0x07                 # on, both FIFOs cleared
.set UART_FIFO_DEPTH, 16
.set UART_MODEM_READY, 0x0b                     # DTR, RTS, OUT2
.set UART_STATUS_EMPTY, 0x20
.set UART_WAIT_MAX, 1 << 26                     # polls before a UART that does not drain is given up
.set LOCK_WAIT_MAX, 1 << 26                     # polls before the lock of a dead CPU is broken

.set CHAR_NEWLINE, 10
.set DECIMAL_BUFFER, 32                         # 20 digits and a zero, and RSP stays on 16 bytes

.section .data, "aw"
    .balign 8
serial_flags:       .quad 0                     # RFLAGS of the holder before it took the line
serial_owner:       .long 0                     # CPU index + 1 of the lock's holder, 0 = free
serial_depth:       .long 0                     # nesting of the holder
serial_room:        .long 0                     # bytes that the transmit FIFO surely still takes
object serial_dead                              # the UART did not drain, or shall stay as it is: nothing is written
    .byte 0
end_object serial_dead
serial_mid_line:    .byte 1                     # the last byte was no newline (the firmware's may not have been)

.section .text, "ax"

# serial_init -- set COM1 to 115200 8N1, FIFOs on, no interrupts
# In:       none
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF; once, before any other serial routine
function serial_init
    mov edx, UART_INTERRUPTS
    xor eax, eax
    out dx, al
    mov edx, UART_LINE
    mov al, UART_LINE_DLAB
    out dx, al
    mov edx, UART_DATA
    mov al, UART_DIVISOR_115200
    out dx, al
    mov edx, UART_INTERRUPTS
    xor eax, eax
    out dx, al
    mov edx, UART_LINE
    mov al, UART_LINE_8N1
    out dx, al
    mov edx, UART_FIFO
    mov al, UART_FIFO_ON_CLEARED
    out dx, al
    mov edx, UART_MODEM
    mov al, UART_MODEM_READY
    out dx, al
    ret
end_function serial_init

# serial_wait_empty -- wait until the transmit FIFO is empty; after UART_WAIT_MAX polls give the UART up
# In:       none
# Out:      cf = dead
# Clobbers: rax, rdx
# Context:  long mode, any IF
local_function serial_wait_empty
    push rcx
    mov ecx, UART_WAIT_MAX
    mov edx, UART_STATUS
.Lwait_poll:
    in al, dx
    test al, UART_STATUS_EMPTY
    jnz .Lwait_empty
    pause
    dec ecx
    jnz .Lwait_poll
    mov byte ptr [rip + serial_dead], 1
    stc
    pop rcx
    ret
.Lwait_empty:
    mov dword ptr [rip + serial_room], UART_FIFO_DEPTH
    clc
    pop rcx
    ret
end_function serial_wait_empty

# serial_put_char -- send one byte
# In:       dil = byte:u8
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF
function serial_put_char
    cmp dil, CHAR_NEWLINE
    setne byte ptr [rip + serial_mid_line]
    cmp byte ptr [rip + console_on], 0
    je .Lput_char_line
    call_frame
    call console_put_char
    pop rbp
.Lput_char_line:
    cmp byte ptr [rip + serial_dead], 0
    jne .Lput_char_return
    cmp dword ptr [rip + serial_room], 0
    jne .Lput_char_send
    call_frame
    call serial_wait_empty
    pop rbp
    jc .Lput_char_return
.Lput_char_send:
    dec dword ptr [rip + serial_room]
    mov eax, edi
    mov edx, UART_DATA
    out dx, al
.Lput_char_return:
    ret
end_function serial_put_char

# serial_put_string -- send a zero-ended string
# In:       rdi = text:asciz
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF
function serial_put_string
    call_frame
    push rbx
    push rdi
    mov rbx, rdi
.Lput_string_next:
    movzx edi, byte ptr [rbx]
    test edi, edi
    jz .Lput_string_done
    inc rbx
    call serial_put_char
    jmp .Lput_string_next
.Lput_string_done:
    pop rdi
    pop rbx
    return_frame
end_function serial_put_string

# serial_put_hex -- send a number as 0x and its hexadecimal digits without leading zeros
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF
function serial_put_hex
    call_frame
    push rbx
    push rcx
    push rsi
    push rdi
    mov rbx, rdi
    mov edi, '0'
    call serial_put_char
    mov edi, 'x'
    call serial_put_char
    mov rax, rbx
    or rax, 1                                   # zero has one digit
    bsr rcx, rax
    and ecx, 0x3c                               # shift that brings the highest digit down
.Lput_hex_digit:
    mov rdi, rbx
    shr rdi, cl
    and edi, 0xf
    cmp edi, 10
    jb .Lput_hex_decimal
    add edi, 'a' - 10 - '0'
.Lput_hex_decimal:
    add edi, '0'
    call serial_put_char
    sub ecx, 4
    jns .Lput_hex_digit
    pop rdi
    pop rsi
    pop rcx
    pop rbx
    return_frame
end_function serial_put_hex

# serial_put_dec -- send an unsigned number in decimal
# In:       rdi = number:u64
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF
function serial_put_dec
    call_frame
    push rcx
    push rdi
    sub rsp, DECIMAL_BUFFER
    mov rax, rdi
    mov ecx, 10
    lea rdi, [rsp + DECIMAL_BUFFER - 1]         # the digits come last first
    mov byte ptr [rdi], 0
.Lput_dec_divide:
    xor edx, edx
    div rcx
    add edx, '0'
    dec rdi
    mov byte ptr [rdi], dl
    test rax, rax
    jnz .Lput_dec_divide
    call serial_put_string
    add rsp, DECIMAL_BUFFER
    pop rdi
    pop rcx
    return_frame
end_function serial_put_dec

# serial_line_begin -- take the serial line for a line or a block, and go to the start of a line
# In:       none
# Out:      if = clear
# Clobbers: rax, rdx
# Context:  long mode, any IF, GS base set; nests on one CPU. Interrupts come again behind the last serial_line_end, so
#           that no handler speaks in between. A holder that died is not waited for for ever
function serial_line_begin
    call_frame
    push rcx
    push rdi
    pushfq
    pop rdi
    mov ecx, dword ptr gs:[PERCPU_ID]
    inc ecx
    mov edx, LOCK_WAIT_MAX
.Lline_begin_try:
    cli
    cmp dword ptr [rip + serial_owner], ecx
    je .Lline_begin_owned
    xor eax, eax
    lock cmpxchg dword ptr [rip + serial_owner], ecx
    jz .Lline_begin_taken
    test edi, RFLAGS_IF
    jz .Lline_begin_wait
    sti                                         # what comes meanwhile is served
.Lline_begin_wait:
    pause
    dec edx
    jnz .Lline_begin_try
    cli
    mov dword ptr [rip + serial_owner], ecx
    mov dword ptr [rip + serial_depth], 0
.Lline_begin_taken:
    mov qword ptr [rip + serial_flags], rdi
.Lline_begin_owned:
    inc dword ptr [rip + serial_depth]
    cmp byte ptr [rip + serial_mid_line], 0
    je .Lline_begin_return
    mov edi, CHAR_NEWLINE
    call serial_put_char
.Lline_begin_return:
    pop rdi
    pop rcx
    return_frame
end_function serial_line_begin

# serial_line_end -- end the line and let the serial line go
# In:       none
# Out:      if = as before the outermost serial_line_begin, when that ends here
# Clobbers: rax, rdx
# Context:  long mode, interrupts off, after serial_line_begin on the same CPU
function serial_line_end
    call_frame
    push rdi
    push rsi
    mov edi, CHAR_NEWLINE
    call serial_put_char
    dec dword ptr [rip + serial_depth]
    jnz .Lline_end_return
    mov rsi, qword ptr [rip + serial_flags]     # before the next holder changes it
    mov dword ptr [rip + serial_owner], 0
    test esi, RFLAGS_IF
    jz .Lline_end_return
    sti
.Lline_end_return:
    pop rsi
    pop rdi
    return_frame
end_function serial_line_end
