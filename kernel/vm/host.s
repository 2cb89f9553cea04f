# Purpose:  what a program of the Pixel VM reaches on bare metal: serial line, clock, screen.
# Mode:     64-bit long mode
# Spec:     pixelvm/SPEC.md, section 5
# Exports:  vm_serve
# Invariants: a call never fails: what the kernel cannot do it answers with the numbers of SPEC.md. vm_run has seen to it
#           that the answers fit the stack.
.intel_syntax noprefix
.include "macros.inc"
.include "pixelvm.inc"
.include "vm.inc"

.set NANOSECONDS_PER_MILLISECOND, 1000000

.section .rodata, "a"
    .balign 8
serve_calls:                                    # by VM_SYS_*
    .quad serve_putc, serve_getc, serve_time, serve_none, serve_size
    .quad serve_plot, serve_pixel, serve_none, serve_send, serve_receive

.section .text, "ax"

# vm_serve -- run a machine until it stops; its system calls are done as they come
# In:       rdi = machine:ptr (VM_*)
# Out:      eax = stop:u32 (VM_STOP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after vm_load
function vm_serve
    call_frame
    push rbx
    push r12
    mov rbx, rdi
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
    jmp .Lserve_run
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
    call serial_get_char
    jc .Lgetc_none
    inc dword ptr [rbx + VM_READ]
    jmp .Lgetc_answer
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

# serve_send, serve_receive -- no peer: nothing is taken, nothing is there
local_function serve_send
    call_frame
    xor eax, eax
    call serve_answer
    return_frame
end_function serve_send

local_function serve_receive
    call_frame
    xor eax, eax
    call serve_answer
    call serve_answer
    return_frame
end_function serve_receive
