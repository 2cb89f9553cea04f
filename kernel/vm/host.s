# Purpose:  what a program of the Pixel VM reaches on bare metal: serial line, clock, screen, mailbox.
# Mode:     64-bit long mode
# Spec:     pixelvm/SPEC.md, sections 5 and 11
# Exports:  vm_serve
# Invariants: a call never fails: what the kernel cannot do it answers with the numbers of SPEC.md. vm_run has seen to it
#           that the answers fit the stack. What the console reads is waited for, as at a terminal: Ctrl-D ends the
#           input, Escape or Ctrl-C the program.
.intel_syntax noprefix
.include "macros.inc"
.include "pixelvm.inc"
.include "shell.inc"
.include "vm.inc"

.set CHAR_INTERRUPT, 3                          # Ctrl-C
.set CHAR_END, 4                                # Ctrl-D
.set INPUT_OPEN, 0                              # serve_input: there may be more
.set INPUT_ENDED, 1
.set INPUT_INTERRUPTED, 2                       # and the program is not to go on
.set NANOSECONDS_PER_MILLISECOND, 1000000

.section .rodata, "a"
    .balign 8
serve_calls:                                    # by VM_SYS_*
    .quad serve_putc, serve_getc, serve_time, serve_none, serve_size
    .quad serve_plot, serve_pixel, serve_none, serve_send, serve_receive

.section .bss, "aw", @nobits
    .balign 4
object serve_input                              # u32: INPUT_*
    .skip 4
end_object serve_input

.section .text, "ax"

# vm_serve -- run a machine until it stops; its system calls are done as they come
# In:       rdi = machine:ptr (VM_*)
# Out:      eax = stop:u32 (VM_STOP_*; RUNNING: a person ended it)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set, after vm_load; from a command of the shell
function vm_serve
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov dword ptr [rip + serve_input], INPUT_OPEN
    call vm_mail_open
.Lserve_run:
    mov rdi, rbx
    call vm_run
    test eax, eax
    jz .Lserve_stopped
    mov ecx, eax
    lea rax, [rip + serve_calls]
    mov rcx, qword ptr [rax + rcx * 8 - 8]
    mov eax, dword ptr [rbx + VM_DEPTH]
    lea r12, [rbx + rax * 4 + VM_STACK]         # the arguments; the answers go there too
    call rcx
    cmp dword ptr [rip + serve_input], INPUT_INTERRUPTED
    jne .Lserve_run
.Lserve_stopped:
    mov eax, dword ptr [rbx + VM_STOP]
    pop r12
    pop rbx
    return_frame
end_function vm_serve

# serve_answer -- one value as an answer
# In:       eax = value:u32, rbx = machine:ptr, r12 = answers:ptr
# Out:      r12 = answers:ptr (behind it)
# Clobbers: none
# Context:  in a call
local_function serve_answer
    mov dword ptr [r12], eax
    add r12, 4
    inc dword ptr [rbx + VM_DEPTH]
    ret
end_function serve_answer

# serve_putc, serve_getc, serve_time, serve_none, serve_size, serve_plot, serve_pixel, serve_send, serve_receive
# In:       rbx = machine:ptr, r12 = arguments:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12
# Context:  from vm_serve
local_function serve_putc
    call_frame
    movzx edi, byte ptr [r12]
    call serial_put_char
    inc dword ptr [rbx + VM_WRITTEN]
    return_frame
end_function serve_putc

local_function serve_getc
    call_frame
    cmp dword ptr [rip + serve_input], INPUT_OPEN
    jne .Lgetc_none
    call shell_wait_key
    cmp eax, CHAR_INTERRUPT
    je .Lgetc_interrupted
    cmp eax, CHAR_ESCAPE                        # where the terminal keeps Ctrl-C for itself
    je .Lgetc_interrupted
    cmp eax, CHAR_END
    je .Lgetc_ended
    inc dword ptr [rbx + VM_READ]
    cmp eax, CHAR_RETURN
    jne .Lgetc_answer
    mov eax, CHAR_NEWLINE                       # what a terminal's Enter is to a program
    jmp .Lgetc_answer
.Lgetc_interrupted:
    mov dword ptr [rip + serve_input], INPUT_INTERRUPTED
    jmp .Lgetc_none
.Lgetc_ended:
    mov dword ptr [rip + serve_input], INPUT_ENDED
.Lgetc_none:
    mov eax, -1
.Lgetc_answer:
    call serve_answer
    return_frame
end_function serve_getc

local_function serve_time
    call_frame
    call clock_ns
    xor edx, edx
    mov ecx, NANOSECONDS_PER_MILLISECOND
    div rcx
    call serve_answer
    return_frame
end_function serve_time

# serve_none -- show: each pixel is on the screen as soon as it is set. random: vm_run draws itself
local_function serve_none
    ret
end_function serve_none

local_function serve_size
    call_frame
    call vm_screen_side
    call serve_answer
    call serve_answer
    return_frame
end_function serve_size

local_function serve_plot
    call_frame
    mov edi, dword ptr [r12]
    mov esi, dword ptr [r12 + 4]
    mov edx, dword ptr [r12 + 8]
    call vm_screen_plot
    return_frame
end_function serve_plot

local_function serve_pixel
    call_frame
    mov edi, dword ptr [r12]
    mov esi, dword ptr [r12 + 4]
    call vm_screen_pixel
    call serve_answer
    return_frame
end_function serve_pixel

local_function serve_send
    call_frame
    mov edi, dword ptr [r12]
    call vm_mail_send
    call serve_answer
    return_frame
end_function serve_send

local_function serve_receive
    call_frame
    call vm_mail_receive
    call serve_answer
    mov eax, edx
    call serve_answer
    return_frame
end_function serve_receive
