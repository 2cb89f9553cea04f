# Purpose:  the command fault: any exception, from any context, on any CPU, for a look at its report.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, table 6-1 (exceptions)
# Exports:  fault_kinds fault_kinds_end; rows of section .shell
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "shell.inc"
.include "provoke.inc"
.include "fault_kind.inc"

# fault_kind NAME, ROUTINE, ARGUMENT -- a row of fault_kinds
.macro fault_kind name, routine, argument=0
    .section .rodata, "a"
.Lfault_kind_\name:
    .asciz "\name"
    .section .rodata.fault_kinds, "a"
    .quad .Lfault_kind_\name, \routine, \argument
.endm
.section .rodata.fault_kinds, "a"
    .balign 8
.global fault_kinds, fault_kinds_end
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
fault_kind ts, provoke_ts
fault_kind gate_ac, provoke_gate, VECTOR_AC | PROVOKE_ERROR     # by hand, as the CPU would: ring 0 cannot raise these
fault_kind gate_mc, provoke_gate, VECTOR_MC
fault_kind gate_xm, provoke_gate, VECTOR_XM
fault_kind gate_ve, provoke_gate, VECTOR_VE
fault_kind gate_cp, provoke_gate, VECTOR_CP | PROVOKE_ERROR
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

# fault_cpu_word -- the CPU that a word names
# In:       rdi = word:asciz
# Out:      rax = cpu:u64 (PROVOKE_ALL for "all"), cf = there is none
# Clobbers: rdx, rsi
# Context:  long mode
local_function fault_cpu_word
    call_frame
    push rcx
    push rcx
    lea rsi, [rip + fault_all]
    lea rdx, [rip + fault_all_end]
    mov ecx, fault_all_end - fault_all
    call words_find
    mov eax, PROVOKE_ALL
    jnc .Lword_return
    call words_number
    jc .Lword_return
    mov edx, [rip + cpu_count]
    cmp rax, rdx
    cmc
.Lword_return:
    pop rcx
    pop rcx
    return_frame
end_function fault_cpu_word
    .section .rodata, "a"
    .balign 8
fault_all:
    .quad .Lfault_all
fault_all_end:
.Lfault_all:
    .asciz "all"
    .section .text, "ax"

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
    mov qword ptr [rip + fault_cpu], 0
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
    call fault_cpu_word
    jc .Lfault_refused
    cmp qword ptr [rcx + CONTEXT_GOES], 0
    mov [rip + fault_cpu], rax
    jne .Lfault_here
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
shell_text text_no_kind, "expected a kind of fault, where, and the CPU: Tab behind fault shows the kinds"
shell_text text_no_context, "expected a context: shell, thread, interrupt, lock, line or user"
shell_text text_no_cpu, "no such CPU, or it is busy: cpus shows them"
shell_text text_no_fault, "this CPU raised no exception"
shell_command command_fault, "fault", "KIND [CONTEXT [CPU]]", "raise an exception in the shell, a thread, an interrupt, under a lock, in a line, in ring 3 (user; CPU all: on every one)", fault_kind_nth
