# Purpose:  decides what an exception means: a probe that failed, a fault that somebody waits for, a nested fault,
#           or the end of the boot.
# Mode:     64-bit long mode, on the stack of the exception
# Spec:     Intel SDM vol. 3, 6.14 (frames, IST), 6.7 (NMI); what is said is the contract's (PXFAULT, PXPANIC)
# Exports:  fault_dispatch, fault_catch, fault_panic
# Invariants: a fault of ring 3 ends a thread (user_fault); a fault of scope kernel never returns. A fault while one is
#           reported never loops: it costs the report the key that was being printed, and PXPANIC follows the report; one
#           that is not in a key, or a #DF, ends in PXPANIC at once, and a third one ends the machine without a word.
#           While an NMI is treated, the next one gets the lower half of their stack: a probe that fails returns by
#           iretq, and that lets NMIs in again.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "percpu.inc"
.include "fault.inc"

.set NMI_PART, IST_STACK_SIZE / 2               # of the stack that the NMIs of a CPU share

.section .rodata, "a"
text_scope_kernel:   .asciz "kernel"
text_scope_expected: .asciz "expected"
text_nested_code:    .asciz "nested-fault"
text_nested:         .asciz "a fault came while a fault was reported"

.section .text, "ax"

# fault_dispatch -- treat one exception
# In:       rdi = frame:ptr (FRAME_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  called by interrupt_enter only; returns when the interrupted code is to go on
function fault_dispatch
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    call fault_restore_gs
    mov rax, qword ptr [rbx + FRAME_VECTOR]
    cmp rax, VECTOR_NMI
    jne .Ldispatch_stacks
    sub qword ptr gs:[PERCPU_TSS + TSS_IST2], NMI_PART
.Ldispatch_stacks:
    lea rcx, [rip + fault_probe_load]
    cmp qword ptr [rbx + FRAME_RIP], rcx
    jne .Ldispatch_no_probe
    lea rcx, [rax - VECTOR_SS]
    cmp rcx, VECTOR_PF - VECTOR_SS              # #SS, #GP, #PF: the load itself; an NMI may come there too
    ja .Ldispatch_no_probe
    lea rcx, [rip + fault_probe_failed]
    mov qword ptr [rbx + FRAME_RIP], rcx
    jmp .Ldispatch_return
.Ldispatch_no_probe:
    cmp rax, VECTOR_NMI
    jne .Ldispatch_not_stopped
    mov ecx, [rip + cpu_end_owner]
    dec ecx
    js .Ldispatch_not_stopped                   # nobody ends the machine
    cmp ecx, dword ptr gs:[PERCPU_ID]
    jne cpu_stopped
.Ldispatch_not_stopped:
    cmp byte ptr [rbx + FRAME_CS], SELECTOR_USER_CODE | SELECTOR_RPL_MASK
    je .Ldispatch_ring3
    cmp rax, VECTOR_DB
    jne .Ldispatch_own
    lea rcx, [rip + syscall_enter]
    cmp qword ptr [rbx + FRAME_RIP], rcx
    je .Ldispatch_stepped
.Ldispatch_own:
    inc qword ptr gs:[PERCPU_FAULT_DEPTH]
    cmp qword ptr gs:[PERCPU_FAULT_DEPTH], 1
    jne .Ldispatch_nested
    mov r12, qword ptr gs:[PERCPU_CATCH]
    test r12, r12
    jz .Ldispatch_kernel
    mov rdi, rbx
    mov rsi, r12
    call fault_land
    dec qword ptr gs:[PERCPU_FAULT_DEPTH]
.Ldispatch_return:
    cmp qword ptr [rbx + FRAME_VECTOR], VECTOR_NMI
    jne .Ldispatch_leave
    add qword ptr gs:[PERCPU_TSS + TSS_IST2], NMI_PART
.Ldispatch_leave:
    pop r12
    pop rbx
    return_frame
.Ldispatch_ring3:
    cmp rax, VECTOR_NMI                         # these are asked for, or the machine's: not the program's fault
    je .Ldispatch_own
    cmp rax, VECTOR_DF
    je .Ldispatch_own
    cmp rax, VECTOR_MC
    je .Ldispatch_own
.Ldispatch_users:
    mov rdi, rbx
    call user_fault                             # does not return
.Ldispatch_stepped:
    mov rdi, rbx
    call fault_stepped
    jmp .Ldispatch_users
.Ldispatch_nested:
    mov rdi, rbx
    call fault_nested
    jmp .Ldispatch_return
.Ldispatch_kernel:
    mov rdi, rbx
    call fault_end
end_function fault_dispatch

# fault_stepped -- a #DB before the first instruction of syscall_enter is the single step of ring 3 over its SYSCALL, on a CPU
#                  that delivers it behind that: make the frame what it was in ring 3
# In:       rdi = frame:ptr (FRAME_*)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off, after fault_restore_gs, which stood in for the SWAPGS that has not been
local_function fault_stepped
    mov rax, [rdi + FRAME_RCX]
    mov [rdi + FRAME_RIP], rax
    mov rax, [rdi + FRAME_R11]
    mov [rdi + FRAME_RFLAGS], rax
    mov qword ptr [rdi + FRAME_CS], SELECTOR_USER_CODE | SELECTOR_RPL_MASK
    mov qword ptr [rdi + FRAME_SS], SELECTOR_USER_DATA | SELECTOR_RPL_MASK
    mov ecx, MSR_KERNEL_GS_BASE                 # ring 3's, where the kernel's would be left
    xor eax, eax
    xor edx, edx
    wrmsr
    ret
end_function fault_stepped

# fault_end -- report a fault that nobody waits for, and end the machine
# In:       rdi = frame:ptr (FRAME_*)
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; does not return
local_function fault_end
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    call cpu_claim_end                          # one report, by the first CPU that has one to make
    call serial_line_begin                      # until the end: nobody speaks after the report
    call cpu_stop_others
    lea rdi, [rip + fault_report]
    mov rsi, rbx
    lea rdx, [rip + text_scope_kernel]
    call last_words_set
    mov rdi, rbx
    lea rsi, [rip + text_scope_kernel]
    call fault_report
    jc fault_panic
    call debug_exit_fault
end_function fault_end

# fault_nested -- a fault while one is reported: let the report go on where that can be, else end the machine
# In:       rdi = frame:ptr (FRAME_*)
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, PERCPU_FAULT_DEPTH counts it; returns when the report goes on
local_function fault_nested
    call_frame
    cmp qword ptr [rdi + FRAME_VECTOR], VECTOR_NMI
    je .Lnested_nmi
    cmp qword ptr gs:[PERCPU_FAULT_DEPTH], 2
    jne .Lnested_end
    cmp qword ptr [rdi + FRAME_VECTOR], VECTOR_DF
    je fault_panic                              # what lay on its stack is lost
    xor edx, edx
    xchg rdx, qword ptr gs:[PERCPU_REPORT]      # once for each key
    test rdx, rdx
    jz fault_panic
    lea rsi, [rip + fault_report_cut]
    call fault_redirect
.Lnested_return:
    dec qword ptr gs:[PERCPU_FAULT_DEPTH]
    return_frame
.Lnested_nmi:
    inc qword ptr gs:[PERCPU_NMI_COUNT]         # the report goes on; nothing is lost but this NMI's own report
    jmp .Lnested_return
.Lnested_end:
    call debug_exit_fault
end_function fault_nested

# fault_restore_gs -- make the GS base right again when the interrupted code damaged it
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off. The GDT of a CPU lies in its per-CPU block, so GDTR names the block
local_function fault_restore_gs
    sub rsp, 16
    sgdt [rsp]
    mov ecx, MSR_GS_BASE
    rdmsr
    shl rdx, 32
    or rdx, rax
    mov rax, qword ptr [rsp + 2]
    sub rax, PERCPU_GDT
    cmp rdx, rax
    je .Lrestore_return
    mov rdx, rax
    shr rdx, 32
    wrmsr
.Lrestore_return:
    add rsp, 16
    ret
end_function fault_restore_gs

# fault_land -- take a fault to the fault_catch that waits for it: keep its data, return there instead
# In:       rdi = frame:ptr, rsi = record:ptr (CATCH_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off
local_function fault_land
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, rsi
    test qword ptr [r12 + CATCH_FLAGS], FAULT_CATCH_REPORT
    jz .Lland_quiet
    lea rsi, [rip + text_scope_expected]
    call fault_report
    jc fault_panic
.Lland_quiet:
    mov rax, qword ptr [rbx + FRAME_VECTOR]
    mov qword ptr gs:[CAUGHT_VECTOR], rax
    mov rax, qword ptr [rbx + FRAME_ERROR]
    mov qword ptr gs:[CAUGHT_ERROR], rax
    mov rax, qword ptr [rbx + FRAME_RIP]
    mov qword ptr gs:[CAUGHT_RIP], rax
    mov rax, qword ptr [rbx + FRAME_CR2]
    mov qword ptr gs:[CAUGHT_CR2], rax
    mov rdi, rbx
    lea rsi, [rip + fault_landing]
    mov rdx, r12
    call fault_redirect
    pop r12
    pop rbx
    return_frame
end_function fault_land

# fault_redirect -- let an exception return to another place, through iretq, which also opens the CPU to NMIs again
# In:       rdi = frame:ptr, rsi = rip:ptr, rdx = rsp:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off
local_function fault_redirect
    mov qword ptr [rdi + FRAME_RIP], rsi
    mov qword ptr [rdi + FRAME_RSP], rdx
    mov qword ptr [rdi + FRAME_CS], SELECTOR_KERNEL_CODE
    mov qword ptr [rdi + FRAME_SS], SELECTOR_KERNEL_DATA
    mov qword ptr [rdi + FRAME_RFLAGS], RFLAGS_RESERVED1
    ret
end_function fault_redirect

# fault_panic -- say that a fault came while one was reported, and end the machine
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set; does not return
function fault_panic
    call_frame
    lea rdi, [rip + text_nested_code]
    lea rsi, [rip + text_nested]
    call panic
end_function fault_panic

# fault_catch -- call a routine; when it raises an exception, return from here instead of ending the boot
# In:       rdi = routine:ptr, rsi = argument:u64, rdx = flags:u64[0..1] (FAULT_CATCH_*)
# Out:      rax = vector:u64 when cf, else what the routine returned, rdx = error code when cf, cf = it faulted
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF; nests. The routine gets the argument in rdi. What else the fault was stands in
#           gs:CAUGHT_*
function fault_catch
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    pushfq
    push rdx                                    # CATCH_FLAGS
    push qword ptr gs:[PERCPU_CATCH]            # CATCH_PREVIOUS
    mov qword ptr gs:[PERCPU_CATCH], rsp
    mov rax, rdi
    mov rdi, rsi
    call rax
    pop qword ptr gs:[PERCPU_CATCH]
    add rsp, 8
    popfq
    clc
    jmp .Lcatch_return
fault_landing:                                  # rsp = the record
    pop qword ptr gs:[PERCPU_CATCH]
    add rsp, 8
    popfq
    mov rax, qword ptr gs:[CAUGHT_VECTOR]
    mov rdx, qword ptr gs:[CAUGHT_ERROR]
    stc
.Lcatch_return:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function fault_catch
