# Purpose:  the command fault: any exception, from any context, on any CPU, for a look at its report.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, table 6-1 (exceptions)
# Exports:  rows of section .shell
# Invariants: a context is a routine that raises what its argument says; it runs in the background thread of the CPU that
#           was asked for, and comes back when no exception came.
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "shell.inc"

.set FAULT_PERIOD, 1000000000                   # ns, of the thread that faults
.set FAULT_BUDGET, 100000000
.set FAULT_WAIT, 1000000000                     # ns, for an interrupt or a thread that does not come

# fault_kind NAME, ROUTINE, ARGUMENT -- a row of fault_kinds
.macro fault_kind name, routine, argument=0
    .section .rodata, "a"
.Lfault_kind_\name:
    .asciz "\name"
    .section .rodata.fault_kinds, "a"
    .quad .Lfault_kind_\name, \routine, \argument
.endm
.set KIND_NAME, 0x00
.set KIND_ROUTINE, 0x08
.set KIND_ARGUMENT, 0x10
.set KIND_SIZE, 0x18
.section .rodata.fault_kinds, "a"
    .balign 8
fault_kinds:
fault_kind de, provoke_de
fault_kind db, provoke_db
fault_kind nmi, provoke_nmi
fault_kind bp, provoke_bp
fault_kind of, provoke_of
fault_kind br, provoke_br
fault_kind ud, provoke_ud
fault_kind nm, provoke_nm
fault_kind df, provoke_df
fault_kind np, provoke_np
fault_kind ss, provoke_ss
fault_kind gp, provoke_gp
fault_kind read, provoke_pf_read
fault_kind write, provoke_pf_write
fault_kind fetch, provoke_pf_fetch
fault_kind mf, provoke_mf
fault_kind xm, provoke_xm
fault_kind overflow, provoke_overflow
.section .rodata.fault_kinds, "a"
fault_kinds_end:
.section .text, "ax"

# fault_kind_nth -- the name of the nth kind of fault
# In:       rdi = n:u64[0..0xffff]
# Out:      rax = name:asciz, cf = there are fewer
# Clobbers: rcx, rdx, rsi
# Context:  long mode
local_function fault_kind_nth
    lea rsi, [rip + fault_kinds]
    lea rdx, [rip + fault_kinds_end]
    mov ecx, KIND_SIZE
    jmp words_nth
end_function fault_kind_nth

# fault_context NAME, ROUTINE -- a row of fault_contexts. In: rdi = row of fault_kinds; interrupts on
.macro fault_context name, routine
    .section .rodata, "a"
.Lfault_context_\name:
    .asciz "\name"
    .section .rodata.fault_contexts, "a"
    .quad .Lfault_context_\name, \routine
.endm
.set CONTEXT_NAME, 0x00
.set CONTEXT_ROUTINE, 0x08
.set CONTEXT_SIZE, 0x10
.section .rodata.fault_contexts, "a"
    .balign 8
fault_contexts:
fault_context shell, fault_raise
fault_context thread, fault_in_thread
fault_context interrupt, fault_in_handler
fault_context lock, fault_in_lock
fault_context line, fault_in_line
fault_context user, fault_in_user
.section .rodata.fault_contexts, "a"
fault_contexts_end:

.section .bss, "aw", @nobits
    .balign 8
fault_spec:
    .skip SPEC_SIZE
fault_over:                                     # u64: a handler came to its end
    .skip 8
fault_ended:                                    # u64: threads of a program that ended by the exception
    .skip 8

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
    lea rcx, [rip + name_fault]
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
    mov r12, rax                                # its number
    lea rdi, [rip + name_fault]
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
    add rax, FAULT_WAIT
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

# command_fault -- fault KIND [CONTEXT [CPU]]: raise an exception that nobody expects; the report ends the boot, or in ring 3
#                  the thread
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_fault
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    mov qword ptr [rip + fault_ended], 0
    lea r14, [rsi - 1]
    lea rbx, [rip + text_no_kind]
    cmp r14, 2
    ja .Lfault_refused
    mov rdi, qword ptr [r12]
    lea rsi, [rip + fault_kinds]
    lea rdx, [rip + fault_kinds_end]
    mov ecx, KIND_SIZE
    call words_find
    jc .Lfault_refused
    mov r13, rax
    lea rcx, [rip + fault_contexts]
    test r14, r14
    jz .Lfault_here
    lea rbx, [rip + text_no_context]
    mov rdi, qword ptr [r12 + 8]
    mov rsi, rcx
    lea rdx, [rip + fault_contexts_end]
    mov ecx, CONTEXT_SIZE
    call words_find
    jc .Lfault_refused
    mov rcx, rax
    dec r14
    jz .Lfault_here
    lea rbx, [rip + text_no_cpu]
    mov rdi, qword ptr [r12 + 0x10]
    call words_number
    jc .Lfault_refused
    mov edi, eax
    test rax, rax
    jz .Lfault_here
    shr rax, 32
    jnz .Lfault_refused
    mov rsi, qword ptr [rcx + CONTEXT_ROUTINE]
    mov rdx, r13
    call sched_on
    jc .Lfault_refused
    jmp .Lfault_over
.Lfault_here:
    mov rdi, r13
    call qword ptr [rcx + CONTEXT_ROUTINE]
.Lfault_over:
    lea rbx, [rip + text_no_fault]
    cmp qword ptr [rip + fault_ended], 0
    je .Lfault_refused
    lea rdi, [rip + name_fault]
    call out_begin
    lea rdi, [rip + key_ended]
    mov rsi, [rip + fault_ended]
    call out_number
    call out_end
    clc
.Lfault_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lfault_refused:
    mov rax, rbx
    stc
    jmp .Lfault_return
end_function command_fault
shell_text name_fault, "fault"
shell_text key_ended, "threads_ended"
shell_text text_no_kind, "expected a kind of fault: Tab behind fault shows them"
shell_text text_no_context, "expected a context: shell, thread, interrupt, lock, line or user"
shell_text text_no_cpu, "no such CPU, or it is busy: cpus shows them"
shell_text text_no_fault, "this CPU raised no exception"
shell_command command_fault, "fault", "KIND [CONTEXT [CPU]]", "raise an exception in the shell, a thread, an interrupt, under a lock, in a line, in ring 3 (user)", fault_kind_nth
