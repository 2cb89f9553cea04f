# Purpose:  the contexts of the command fault: where an exception is raised on purpose.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, table 6-1 (exceptions)
# Exports:  fault_contexts fault_contexts_end fault_ended fault_cpu
# Invariants: a context is a routine that raises what its argument says; it runs in the background thread of the CPU that
#           was asked for (of the boot CPU where it goes to the CPU itself), and comes back when no exception came.
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "shell.inc"
.include "provoke.inc"
.include "fault_kind.inc"

.set FAULT_PERIOD, 1000000000                   # ns, of the thread that faults
.set FAULT_BUDGET, 100000000
.set FAULT_WAIT, 1000000000                     # ns, for an interrupt or a thread that does not come
.set FAULT_USER_WAIT, 20000000000               # ns, for a program: it ends by itself when no exception comes

# fault_context NAME, ROUTINE, GOES -- a row of fault_contexts. In: rdi = row of fault_kinds; interrupts on. GOES = 1: to the
#                                     CPU of fault_cpu by itself
.macro fault_context name, routine, goes=0
    .section .rodata, "a"
.Lfault_context_\name:
    .asciz "\name"
    .section .rodata.fault_contexts, "a"
    .quad .Lfault_context_\name, \routine, \goes
.endm
.section .rodata.fault_contexts, "a"
    .balign 8
.global fault_contexts, fault_contexts_end
fault_contexts:
fault_context shell, fault_raise
fault_context thread, fault_in_thread
fault_context interrupt, fault_in_handler
fault_context lock, fault_in_lock
fault_context line, fault_in_line
fault_context user, fault_in_user, 1
.section .rodata.fault_contexts, "a"
fault_contexts_end:

.section .bss, "aw", @nobits
    .balign 8
fault_spec:
    .skip SPEC_SIZE
fault_over:                                     # u64: a handler came to its end
    .skip 8
object fault_ended                              # u64: threads of a program that ended by the exception
    .skip 8
end_object fault_ended
object fault_cpu                                # u64: CPU of the program's thread, PROVOKE_ALL = one on each
    .skip 8
end_object fault_cpu

.section .text, "ax"

# fault_raise -- raise an exception here
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set; comes back when no exception came
local_function fault_raise
    call_frame
    mov rax, rdi
    mov rdi, qword ptr [rax + KIND_ARGUMENT]
    call qword ptr [rax + KIND_ROUTINE]
    call provoke_restore
    return_frame
end_function fault_raise

# fault_in_thread -- raise an exception in a periodic thread
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; by the background thread of a CPU that has a scheduler
local_function fault_in_thread
    call_frame
    push rbx
    push rbx
    lea rax, [rip + fault_spec]
    lea rcx, [rip + name_thread]
    mov [rax + SPEC_NAME], rcx
    lea rcx, [rip + fault_raise]
    mov [rax + SPEC_ENTRY], rcx
    mov [rax + SPEC_ARGUMENT], rdi
    mov qword ptr [rax + SPEC_PERIOD], FAULT_PERIOD
    mov qword ptr [rax + SPEC_BUDGET], FAULT_BUDGET
    mov qword ptr [rax + SPEC_WINDOW], 0
    mov qword ptr [rax + SPEC_FIRST], 0
    mov rdi, rax
    call sched_create
    jc .Lthread_return
    mov rbx, rax
    lea rdi, [rbx + THREAD_STATE]
    mov esi, THREAD_ENDED
    call fault_await
    mov rdi, rbx
    call sched_free
.Lthread_return:
    pop rbx
    pop rbx
    return_frame
end_function fault_in_thread

# fault_in_handler -- raise an exception in the handler of an interrupt
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set, on a CPU whose local APIC is on
local_function fault_in_handler
    call_frame
    push rbx
    push rbx
    mov rsi, rdi
    lea rdi, [rip + fault_handler]
    call interrupt_allocate
    jc .Lhandler_return
    mov ebx, eax
    mov dword ptr [rip + fault_over], 0
    mov edi, dword ptr gs:[PERCPU_APIC_ID]
    mov esi, ebx
    call ipi_send
    lea rdi, [rip + fault_over]
    mov esi, 1
    call fault_await
    mov edi, ebx
    call interrupt_remove
.Lhandler_return:
    pop rbx
    pop rbx
    return_frame
end_function fault_in_handler

# fault_handler -- a handler that faults
# In:       rdi = kind:ptr (KIND_*), rsi = frame:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set; a handler
local_function fault_handler
    call_frame
    call fault_raise
    mov dword ptr [rip + fault_over], 1
    return_frame
end_function fault_handler

# fault_await -- wait until a dword has a value, but not for ever
# In:       rdi = at:ptr, esi = value:u32
# Out:      cf = it has not
# Clobbers: rax, rdx
# Context:  long mode, interrupts on
local_function fault_await
    call_frame
    push rbx
    push rbx
    call clock_ns
    lea rbx, [rax + FAULT_WAIT]
.Lawait_look:
    cmp dword ptr [rdi], esi
    je .Lawait_return                           # cf is clear
    pause
    call clock_ns
    cmp rax, rbx
    jb .Lawait_look
    stc
.Lawait_return:
    pop rbx
    pop rbx
    return_frame
end_function fault_await

# fault_in_lock -- raise an exception with interrupts off, while the locks of memory management are held
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set
local_function fault_in_lock
    call_frame
    push rbx
    push r12
    mov r12, rdi
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    mov rbx, rax
    lea rdi, [rip + heap_lock]
    call mm_lock_enter
    lea rdi, [rip + frame_lock]
    call mm_lock_enter
    mov rdi, r12
    call fault_raise
    xor esi, esi
    lea rdi, [rip + frame_lock]
    call mm_lock_leave
    lea rdi, [rip + heap_lock]
    call mm_lock_leave
    mov rsi, rbx
    lea rdi, [rip + page_lock]
    call mm_lock_leave
    pop r12
    pop rbx
    return_frame
end_function fault_in_lock

# fault_in_line -- raise an exception in the middle of a line on the serial line
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF, GS base set
local_function fault_in_line
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    call serial_line_begin
    lea rdi, [rip + text_half]
    call serial_put_string
    mov rdi, rbx
    call fault_raise
    call serial_line_end
    pop rbx
    pop rbx
    return_frame
end_function fault_in_line
shell_text text_half, "half of a li"

# fault_in_user -- raise an exception in ring 3, in a program of its own
# In:       rdi = kind:ptr (KIND_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; on the boot CPU, where programs are made
local_function fault_in_user
    call_frame
    push rbx
    push r12
    cmp dword ptr gs:[PERCPU_ID], 0
    jne .Luser_return
    lea rax, [rip + fault_kinds]
    sub rdi, rax
    mov rax, rdi
    xor edx, edx
    mov ecx, KIND_SIZE
    div rcx
    mov r12, [rip + fault_cpu]
    shl r12, PROVOKE_CPU_SHIFT
    or r12, rax                                 # its number
    lea rdi, [rip + name_thread]
    call program_create
    jc .Luser_return
    mov rbx, rax
    mov rdi, rbx
    lea rsi, [rip + provoke_user]
    lea rdx, [rip + provoke_user_end]
    sub rdx, rsi
    call program_load
    jc .Luser_free
    call clock_ns
    mov rcx, FAULT_USER_WAIT
    add rax, rcx
    mov [rbx + PROGRAM_UNTIL], rax
    mov rdi, rbx
    mov rsi, r12
    call program_start
    jc .Luser_free
    mov rdi, rbx
    call program_wait
.Luser_free:
    mov rax, [rbx + PROGRAM_FAULTS]
    mov [rip + fault_ended], rax
    mov rdi, rbx
    call program_free
.Luser_return:
    pop r12
    pop rbx
    return_frame
end_function fault_in_user
shell_text name_thread, "fault"
