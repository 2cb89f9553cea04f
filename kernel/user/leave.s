# Purpose:  what stands between the kernel and ring 3: the look before each return, the fault of a program, the state that
#           a switch of threads takes along.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 7.7 (RSP0); vol. 2, FXSAVE, FXRSTOR
# Exports:  user_return_check user_fault user_switch
# Invariants: a thread of a program that is to end does not come back to ring 3, nor does one whose RIP is none of ring 3's.
#           A fault in ring 3 ends one thread and is said; it is never the kernel's. The registers of x87 and SSE belong
#           to PERCPU_FPU_OWNER; a thread of ring 3 never sees those of another.
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"

.section .rodata, "a"
text_scope_user: .asciz "user"

.section .text, "ax"

# user_return_check -- whether the thread may go back to ring 3; where not, it ends here
# In:       rdi = frame:ptr (FRAME_*, of ring 3)
# Out:      none
# Clobbers: rax
# Context:  long mode, interrupts off, GS base set, in a thread of ring 3; returns when it may
function user_return_check
    mov rax, qword ptr gs:[PERCPU_CURRENT]
    mov rax, [rax + THREAD_USER]
    mov rax, [rax + USER_PROGRAM]
    cmp qword ptr [rax + PROGRAM_STOP], STOP_NONE
    jne .Lcheck_end
    mov rax, [rdi + FRAME_RIP]
    shr rax, USER_CANONICAL_SHIFT
    jnz .Lcheck_no_address
    ret
.Lcheck_no_address:
    mov qword ptr [rdi + FRAME_VECTOR], VECTOR_GP   # what the CPU would say, and where it would be too late
    mov qword ptr [rdi + FRAME_ERROR], 0
    jmp user_fault
.Lcheck_end:
    jmp user_thread_end
end_function user_return_check

# user_fault -- a thread of ring 3 has raised an exception: say so, and end it
# In:       rdi = frame:ptr (FRAME_*, of ring 3)
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, GS base set, on the thread's kernel stack or one of the interrupt stack table;
#           does not return
function user_fault
    call_frame
    push rbx
    push rbx
    mov rbx, [rdi + FRAME_VECTOR]
    inc qword ptr gs:[PERCPU_FAULT_DEPTH]       # a fault of the report is a nested one
    lea rsi, [rip + text_scope_user]
    call fault_report
    jc fault_panic                              # the report faulted: that is the kernel's, and ends it
    dec qword ptr gs:[PERCPU_FAULT_DEPTH]
    mov rax, qword ptr gs:[PERCPU_CURRENT]
    mov rax, [rax + THREAD_USER]
    mov rax, [rax + USER_PROGRAM]
    mov [rax + PROGRAM_VECTOR], rbx
    lock inc qword ptr [rax + PROGRAM_FAULTS]
    call user_thread_end
end_function user_fault

# user_switch -- what another thread needs besides its registers: address space, kernel stack, x87 and SSE state
# In:       rdi = from:ptr (THREAD_*), rsi = to:ptr (THREAD_*)
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, interrupts off, GS base set; from sched_switch
function user_switch
    call_frame
    push rdi
    push rdx
    mov rdi, [rsi + THREAD_SPACE]
    call space_switch
    cmp qword ptr [rsi + THREAD_USER], 0
    je .Lswitch_fpu
    mov rax, [rsi + THREAD_STACK]
    mov qword ptr gs:[PERCPU_KERNEL_RSP], rax
    mov qword ptr gs:[PERCPU_TSS + TSS_RSP0], rax
.Lswitch_fpu:
    mov rdx, [rsi + THREAD_FPU]
    test rdx, rdx
    jz .Lswitch_return
    mov rcx, qword ptr gs:[PERCPU_FPU_OWNER]
    cmp rcx, rsi
    je .Lswitch_return
    test rcx, rcx
    jz .Lswitch_load
    mov rcx, [rcx + THREAD_FPU]
    fxsave64 [rcx]
.Lswitch_load:
    fninit                                      # FXRSTOR may leave FIP, FDP and FOP of another thread (CVE-2006-1056)
    fxrstor64 [rdx]
    mov qword ptr gs:[PERCPU_FPU_OWNER], rsi
.Lswitch_return:
    pop rdx
    pop rdi
    return_frame
end_function user_switch
