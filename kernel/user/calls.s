# Purpose:  the system calls: those of the kernel itself by a table, all others to the GPU service.
# Mode:     64-bit long mode
# Spec:     include/syscall.inc
# Exports:  syscall_dispatch
# Invariants: what ring 3 gives is a number or an address of its own that user_range_check or the routines of a space have
#           seen; memory of ring 3 is copied, never followed. A call leaves rax, rdx and cf, and no other register,
#           changed: nothing of the kernel's is left in them.
#
#   a call:  In: rdi = frame (FRAME_*), rbx = the thread (USER_*), r12 = its program. Out: rax, rdx, cf
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "syscall.inc"
.include "user.inc"

# call_row NAME, ROUTINE -- a row of call_rows; they stand in the order of the numbers
.macro call_row name, routine
    .if SYSCALL_\name - SYSCALL_FIRST - CALL_ROW
    .error "the rows of call_rows do not follow the numbers of syscall.inc"
    .endif
    .quad \routine
    .set CALL_ROW, CALL_ROW + 1
.endm

.section .rodata, "a"
    .balign 8
.set CALL_ROW, 0
call_rows:
    call_row EXIT, call_exit
    call_row THREAD_EXIT, call_thread_exit
    call_row THREAD_CREATE, call_thread_create
    call_row YIELD, call_yield
    call_row SLEEP, call_sleep
    call_row CLOCK, call_clock
    call_row MAP, call_map
    call_row UNMAP, call_unmap
    call_row PROTECT, call_protect
    call_row CPUS, call_cpus
.if CALL_ROW - SYSCALL_COUNT
    .error "call_rows lacks a call"
.endif

.section .text, "ax"

# syscall_dispatch -- do what a thread of ring 3 asks for
# In:       rdi = frame:ptr (FRAME_*)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set, in a thread of ring 3; may not return
function syscall_dispatch
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov r13, rdi
    mov rbx, qword ptr gs:[PERCPU_CURRENT]
    mov rbx, [rbx + THREAD_USER]
    mov r12, [rbx + USER_PROGRAM]
    lock inc qword ptr [r12 + PROGRAM_CALLS]
    mov rax, [r13 + FRAME_RAX]
    sub rax, SYSCALL_FIRST
    cmp rax, SYSCALL_COUNT
    jae .Lsyscall_forward
    lea rcx, [rip + call_rows]
    call qword ptr [rcx + rax * 8]
.Lsyscall_done:
    mov [r13 + FRAME_RAX], rax
    mov [r13 + FRAME_RDX], rdx
    setc al
    and byte ptr [r13 + FRAME_RFLAGS], ~RFLAGS_CF & 0xff
    or byte ptr [r13 + FRAME_RFLAGS], al        # CF is bit 0
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
.Lsyscall_forward:
    lock inc qword ptr [r12 + PROGRAM_FORWARDED]
    call call_forward
    jmp .Lsyscall_done
end_function syscall_dispatch

# call_exit -- EXIT: the program ends, with all its threads
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = 0, rdx = 0
# Clobbers: rcx
# Context:  a system call; its thread does not come back to ring 3
local_function call_exit
    mov rdx, [rdi + FRAME_RDI]
    mov ecx, STOP_EXIT
    xor eax, eax
    lock cmpxchg [r12 + PROGRAM_STOP], rcx
    jne .Lexit_return                           # it ends already
    mov [r12 + PROGRAM_RESULT], rdx
.Lexit_return:
    xor eax, eax
    xor edx, edx
    ret
end_function call_exit

# call_thread_exit -- THREAD_EXIT: the thread ends
# In:       none
# Out:      none
# Clobbers: none
# Context:  a system call; does not return
local_function call_thread_exit
    call_frame
    call user_thread_end
end_function call_thread_exit

# call_thread_create -- THREAD_CREATE: one more thread of the program
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = thread:u64 or error code, rdx = ppm:u64 (with ERROR_OVERLOAD), cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  a system call
local_function call_thread_create
    call_frame
    sub rsp, THREAD_REQUEST_SIZE
    mov rsi, [rdi + FRAME_RDI]
    mov rdi, rsp
    mov edx, THREAD_REQUEST_SIZE
    call copy_from_user
    mov edx, 0                                  # leaves cf alone
    jc .Lthread_create_return
    cmp qword ptr [rsp + THREAD_REQUEST_CPU], -1
    jne .Lthread_create_cpu
    mov eax, dword ptr gs:[PERCPU_ID]           # threads stay on their CPU
    mov [rsp + THREAD_REQUEST_CPU], rax
.Lthread_create_cpu:
    mov rdi, r12
    mov rsi, rsp
    call user_thread_create
.Lthread_create_return:
    leave
    ret
end_function call_thread_create

# call_yield -- YIELD: the job is complete
# In:       none
# Out:      rax = release:u64 or error code, rdx = 0, cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  a system call
local_function call_yield
    call_frame
    call sched_wait
    mov edx, 0                                  # leaves cf alone
    return_frame
end_function call_yield

# call_sleep -- SLEEP: the job is complete, and so are all until a moment
# In:       rdi = frame:ptr, r12 = program:ptr
# Out:      rax = now:u64 (clock_ns) or error code, rdx = 0, cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  a system call
local_function call_sleep
    call_frame
    push rbx
    push rbx
    mov rbx, [rdi + FRAME_RDI]
.Lsleep_turn:
    call sched_wait
    jc .Lsleep_return
    call clock_ns
    cmp rax, rbx
    jae .Lsleep_return                          # cf is clear
    cmp qword ptr [r12 + PROGRAM_STOP], STOP_NONE
    je .Lsleep_turn
.Lsleep_return:
    mov edx, 0
    pop rbx
    pop rbx
    return_frame
end_function call_sleep

# call_clock -- CLOCK: nanoseconds since the boot
# In:       none
# Out:      rax = now:u64, rdx = 0, cf = 0
# Clobbers: none
# Context:  a system call
local_function call_clock
    call_frame
    call clock_ns
    xor edx, edx
    return_frame
end_function call_clock

# call_cpus -- CPUS: how many processors there are, and which one runs this
# In:       none
# Out:      rax = count:u64, rdx = cpu:u64, cf = 0
# Clobbers: none
# Context:  a system call
local_function call_cpus
    mov eax, [rip + cpu_count]
    mov edx, dword ptr gs:[PERCPU_ID]
    clc
    ret
end_function call_cpus
