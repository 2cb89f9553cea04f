# Purpose:  external interrupts: one table of handlers for all CPUs, the dispatcher, what becomes of stray ones; the
#           boot unit `interrupts`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.8 (handling interrupts), 10.8.5 (EOI), 10.9 (spurious interrupt)
# Exports:  interrupts_init interrupt_dispatch interrupt_install interrupt_allocate interrupt_remove interrupt_rows
# Invariants: a handler runs with interrupts off, on the stack of what it interrupted, and returns. The end of
#           interrupt is sent behind it, once for each interrupt that the local APIC delivered and for no other.
#           A vector that nobody serves is counted, said once, and not fatal. A handler may fault: what the interrupted
#           code waits for with fault_catch is not taken for the handler's.
#
#   handler:  In rdi = argument, rsi = frame (FRAME_*); may change rax, rcx, rdx, rsi, rdi, r8 to r11; no SSE.
#   interrupt_rows: { routine, argument } of each of 256 vectors. How often each came is counted for each CPU
#   (gs:PERCPU_INTERRUPTS).
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "apic.inc"
.include "sched.inc"

.section .rodata, "a"
text_stray:     .asciz "interrupt: nobody serves vector "
text_cpu:       .asciz ", on cpu "

.section .text, "ax"

# interrupts_init -- boot unit: 8259 pair out of the way, the vectors served that exist on every machine
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after descriptors_init; boot unit
function interrupts_init
    call_frame
    call pic_disable
    mov edi, VECTOR_LAPIC_SPURIOUS
    lea rsi, [rip + interrupt_spurious]
    call interrupt_install
    mov edi, VECTOR_LAPIC_ERROR
    lea rsi, [rip + interrupt_lapic_error]
    call interrupt_install
    mov edi, VECTOR_PIC_MASTER_SPURIOUS
    lea rsi, [rip + pic_spurious]
    xor edx, edx
    call interrupt_install
    mov edi, VECTOR_PIC_SLAVE_SPURIOUS
    inc edx
    call interrupt_install
    mov edi, VECTOR_IPI_WAKE
    lea rsi, [rip + ipi_woken]
    call interrupt_install
    mov eax, BOOT_RESULT_OK
    return_frame
end_function interrupts_init

# interrupt_dispatch -- hand one interrupt to its handler
# In:       rdi = frame:ptr (FRAME_*, of a vector from EXCEPTION_COUNT on)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  called by interrupt_enter only; interrupts off, GS base set
function interrupt_dispatch
    call_frame
    push rbx
    push r12
    push qword ptr gs:[PERCPU_CATCH]
    push r13
    mov qword ptr gs:[PERCPU_CATCH], 0
    inc qword ptr gs:[PERCPU_INTERRUPT_DEPTH]
    mov rbx, rdi
    movzx r12d, byte ptr [rbx + FRAME_VECTOR]
    inc qword ptr gs:[PERCPU_INTERRUPTS + r12 * 8]
    mov eax, r12d
    shl eax, HANDLER_SHIFT
    lea rcx, [rip + interrupt_rows]
    mov r13, [rcx + rax + HANDLER_ROUTINE]
    test r13, r13
    jz .Ldispatch_stray
    mov rdi, [rcx + rax + HANDLER_ARGUMENT]
    mov rsi, rbx
    call r13
    cmp r12d, VECTOR_DEVICE_FIRST
    jb .Ldispatch_return                        # the 8259 pair: its handlers talk to it themselves
    cmp r12d, VECTOR_LAPIC_SPURIOUS
    je .Ldispatch_return
    call lapic_end
.Ldispatch_return:
    dec qword ptr gs:[PERCPU_INTERRUPT_DEPTH]
    pop r13
    pop qword ptr gs:[PERCPU_CATCH]
    pop r12
    pop rbx
    cmp qword ptr gs:[PERCPU_RESCHEDULE], 0
    jne .Ldispatch_preempt
    return_frame
.Ldispatch_preempt:                             # another thread may run before this returns
    call sched_preempt
    return_frame
.Ldispatch_stray:
    mov edi, r12d
    call interrupt_stray
    jmp .Ldispatch_return
end_function interrupt_dispatch

# interrupt_stray -- count an interrupt that nobody serves, say it the first time, end it where it has to be ended
# In:       edi = vector:u32[0..255]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set
local_function interrupt_stray
    call_frame
    push rbx
    push r12
    mov ebx, edi
    inc qword ptr gs:[PERCPU_STRAY]
    lock bts dword ptr [rip + interrupt_told], ebx
    jc .Lstray_told
    call serial_line_begin
    lea rdi, [rip + text_stray]
    call serial_put_string
    mov edi, ebx
    call serial_put_hex
    lea rdi, [rip + text_cpu]
    call serial_put_string
    mov edi, dword ptr gs:[PERCPU_ID]
    call serial_put_dec
    call serial_line_end
.Lstray_told:
    mov edi, ebx
    call lapic_is_serving                       # not, when an INT instruction or the 8259 pair raised it
    jnc .Lstray_return
    call lapic_end
.Lstray_return:
    pop r12
    pop rbx
    return_frame
end_function interrupt_stray

# interrupt_install -- serve a vector
# In:       edi = vector:u32[0..255], rsi = handler:ptr, rdx = argument:u64
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (an exception, no handler), ERROR_EXISTS (served already)
# Clobbers: rcx
# Context:  long mode, any IF, any CPU; before anything can raise the vector
function interrupt_install
    cmp edi, EXCEPTION_COUNT
    jb .Linstall_invalid
    cmp edi, VECTOR_COUNT
    jae .Linstall_invalid
    test rsi, rsi
    jz .Linstall_invalid
    mov eax, edi
    shl eax, HANDLER_SHIFT
    lea rcx, [rip + interrupt_rows]
    add rcx, rax
    xor eax, eax
    lock cmpxchg [rcx + HANDLER_ROUTINE], rsi   # two CPUs may want the same
    jne .Linstall_exists
    mov [rcx + HANDLER_ARGUMENT], rdx
    clc
    ret
.Linstall_invalid:
    mov eax, ERROR_INVALID
    stc
    ret
.Linstall_exists:
    mov eax, ERROR_EXISTS
    stc
    ret
end_function interrupt_install

# interrupt_allocate -- serve a vector that nobody serves yet
# In:       rdi = handler:ptr, rsi = argument:u64
# Out:      eax = vector:u32 or error code, cf = refused: ERROR_FULL, ERROR_INVALID (no handler)
# Clobbers: rcx
# Context:  long mode, any IF, any CPU
function interrupt_allocate
    call_frame
    push rdi
    push rsi
    push rdx
    push rbx
    mov rdx, rsi
    mov rsi, rdi
    mov ebx, VECTOR_DEVICE_FIRST
.Lallocate_next:
    mov edi, ebx
    call interrupt_install
    jnc .Lallocate_found
    cmp eax, ERROR_EXISTS
    jne .Lallocate_refused
    inc ebx
    cmp ebx, VECTOR_DEVICE_LAST
    jbe .Lallocate_next
    mov eax, ERROR_FULL
.Lallocate_refused:
    stc
    jmp .Lallocate_return
.Lallocate_found:
    mov eax, ebx                                # cf is clear
.Lallocate_return:
    pop rbx
    pop rdx
    pop rsi
    pop rdi
    return_frame
end_function interrupt_allocate

# interrupt_remove -- serve a vector no longer; from then on it is a stray one
# In:       edi = vector:u32[32..255]
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF, any CPU; after what raised it was silenced
function interrupt_remove
    mov eax, edi
    shl eax, HANDLER_SHIFT
    lea rcx, [rip + interrupt_rows]
    mov qword ptr [rcx + rax + HANDLER_ROUTINE], 0
    ret
end_function interrupt_remove

# interrupt_spurious -- the local APIC's spurious interrupt: counted, and not ended
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; a handler
function interrupt_spurious
    inc qword ptr gs:[PERCPU_SPURIOUS]
    ret
end_function interrupt_spurious

# interrupt_lapic_error -- the local APIC reports an error of its own: counted, and kept
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set; a handler
function interrupt_lapic_error
    call_frame
    mov edi, LAPIC_ESR
    xor esi, esi
    call lapic_write                            # latches
    call lapic_read
    mov dword ptr gs:[PERCPU_LAPIC_ERRORS + 4], eax
    inc dword ptr gs:[PERCPU_LAPIC_ERRORS]
    return_frame
end_function interrupt_lapic_error

.section .bss, "aw", @nobits
    .balign 16
object interrupt_rows
    .skip VECTOR_COUNT * HANDLER_SIZE
end_object interrupt_rows
interrupt_told:                                 # bit of each stray vector that was said
    .skip VECTOR_COUNT / 8
