# Purpose:  threads of ring 3: made, admitted, ended, given back.
# Mode:     64-bit long mode
# Exports:  user_thread_create user_thread_end user_reap
# Invariants: a thread of ring 3 is a thread of the scheduler (its own kernel stack, admission, budget) whose entry is
#           user_enter. It is admitted on its CPU with interrupts off, by whatever runs there, a handler of cpu_call too;
#           the background thread of that CPU gives it back after it has ended. PROGRAM_COUNT falls when nothing of it is
#           left, last of all.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "sched.inc"
.include "cpu.inc"
.include "apic.inc"
.include "syscall.inc"
.include "user.inc"

.section .text, "ax"

# user_thread_create -- a new thread of a program, on any CPU
# In:       rdi = program:ptr, rsi = request:ptr (THREAD_REQUEST_*, in the kernel; the CPU is a number)
# Out:      rax = thread:u64 (its number) or error code, rdx = ppm:u64 (with ERROR_OVERLOAD), cf = refused: ERROR_INVALID,
#           ERROR_FULL (slots, threads), ERROR_OVERLOAD, ERROR_NO_MEMORY, ERROR_BUSY or ERROR_TIMEOUT (that CPU has
#           no time for it), ERROR_UNSUPPORTED (it has no scheduler)
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on for another CPU), GS base set; by a thread of ring 3 or the background thread
function user_thread_create
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdi
    mov r13, rsi
    call user_thread_prepare
    jc .Lcreate_return
    mov rbx, rax
    lock inc qword ptr [r12 + PROGRAM_COUNT]
    mov rdi, rbx
    call user_place
    jc .Lcreate_refused
    lock inc qword ptr [r12 + PROGRAM_MADE]
.Lcreate_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lcreate_refused:
    mov r13, rax
    mov r14, rdx
    mov rdi, rbx
    call user_thread_release
    mov rax, r13
    mov rdx, r14
    stc
    jmp .Lcreate_return
end_function user_thread_create

# user_thread_prepare -- a thread's record and its stack in ring 3
# In:       rdi = program:ptr, rsi = request:ptr (THREAD_REQUEST_*)
# Out:      rax = user:ptr (USER_*) or error code, cf = refused: ERROR_INVALID, ERROR_FULL, ERROR_NO_MEMORY
# Clobbers: rcx, rdx, rsi, rdi, r8
# Context:  long mode, any IF
local_function user_thread_prepare
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov r12, rdi
    mov r13, rsi
    mov eax, ERROR_INVALID
    mov rcx, [rsi + THREAD_REQUEST_ENTRY]
    shr rcx, USER_CANONICAL_SHIFT               # where it leads nowhere it faults there
    neg rcx
    jc .Lprepare_return
    mov edi, USER_SIZE
    mov esi, USER_ALIGN
    call heap_alloc_zeroed
    jc .Lprepare_return
    mov rbx, rax
    mov rdi, r12
    call user_slot_take
    jc .Lprepare_no_slot
    mov [rbx + USER_SLOT], rax
    mov [rbx + USER_PROGRAM], r12
    inc rax
    shl rax, USER_SLOT_SHIFT
    mov rsi, USER_STACK_AREA
    add rsi, rax
    mov [rbx + USER_STACK], rsi
    sub rsi, USER_STACK_SIZE
    mov rdi, [r12 + PROGRAM_SPACE]
    mov ecx, USER_STACK_SIZE
    mov r8, PTE_WRITE | PTE_NX
    call space_alloc
    jc .Lprepare_no_stack
    mov rdi, rbx
    mov rsi, r13
    call user_thread_fill
    mov rax, rbx
    clc
.Lprepare_return:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
.Lprepare_no_stack:
    mov rcx, [rbx + USER_SLOT]
    lock btr qword ptr [r12 + PROGRAM_SLOTS], rcx
.Lprepare_no_slot:
    mov r13, rax
    mov rdi, rbx
    call heap_free
    mov rax, r13
    stc
    jmp .Lprepare_return
end_function user_thread_prepare

# user_slot_take -- a stack slot that no thread of the program has
# In:       rdi = program:ptr
# Out:      rax = slot:u64[0..63] or error code, cf = ERROR_FULL
# Clobbers: rcx
# Context:  long mode, any IF
local_function user_slot_take
.Lslot_look:
    mov rcx, [rdi + PROGRAM_SLOTS]
    not rcx
    mov eax, ERROR_FULL
    cmp rcx, 1
    jb .Lslot_return
    bsf rax, rcx
    lock bts qword ptr [rdi + PROGRAM_SLOTS], rax
    jc .Lslot_look                              # another CPU was faster
.Lslot_return:
    ret
end_function user_slot_take

# user_thread_fill -- what a thread is told
# In:       rdi = user:ptr (cleared but for program, slot and stack), rsi = request:ptr (THREAD_REQUEST_*)
# Out:      none
# Clobbers: rax
# Context:  long mode, any IF
local_function user_thread_fill
    mov rax, [rsi + THREAD_REQUEST_ENTRY]
    mov [rdi + USER_ENTRY], rax
    mov rax, [rsi + THREAD_REQUEST_ARGUMENT]
    mov [rdi + USER_ARGUMENT], rax
    mov rax, [rsi + THREAD_REQUEST_CPU]
    mov [rdi + USER_CPU], rax
    mov rax, [rsi + THREAD_REQUEST_PERIOD]
    mov [rdi + USER_SPEC + SPEC_PERIOD], rax
    mov rax, [rsi + THREAD_REQUEST_BUDGET]
    mov [rdi + USER_SPEC + SPEC_BUDGET], rax
    mov rax, [rsi + THREAD_REQUEST_WINDOW]
    mov [rdi + USER_SPEC + SPEC_WINDOW], rax
    mov rax, [rdi + USER_PROGRAM]
    add rax, PROGRAM_NAME
    mov [rdi + USER_SPEC + SPEC_NAME], rax
    lea rax, [rip + user_enter]
    mov [rdi + USER_SPEC + SPEC_ENTRY], rax
    mov [rdi + USER_SPEC + SPEC_ARGUMENT], rdi
    mov word ptr [rdi + USER_FPU + FPU_CONTROL], FPU_CONTROL_DEFAULT
    mov dword ptr [rdi + USER_FPU + FPU_MXCSR], FPU_MXCSR_DEFAULT
    ret
end_function user_thread_fill

# user_place -- have a thread admitted on its CPU
# In:       rdi = user:ptr
# Out:      rax = thread:u64 (its number) or error code, rdx = ppm:u64 (with ERROR_OVERLOAD), cf = refused
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF (on for another CPU), GS base set; not in a handler
local_function user_place
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, [rbx + USER_CPU]
    mov eax, dword ptr gs:[PERCPU_ID]
    cmp r12, rax
    je .Lplace_here
    mov eax, ERROR_INVALID
    mov ecx, [rip + cpu_count]
    cmp r12, rcx
    cmc
    jc .Lplace_return
    mov rdi, r12
    call user_measure
    jc .Lplace_return
    call sched_section_begin                    # whoever waits for the lock of cpu_call here would wait for long
    mov edi, r12d
    lea rsi, [rip + user_admit]
    mov rdx, rbx
    call cpu_call
    mov r12, rax
    call sched_section_end
    mov rax, r12
    jmp .Lplace_judge
.Lplace_here:
    pushfq
    push r12
    cli
    mov rdi, rbx
    call user_admit
    mov r12, rax
    cmp qword ptr gs:[PERCPU_RESCHEDULE], 0
    je .Lplace_decided
    call sched_preempt                          # it may be due already
.Lplace_decided:
    mov rax, r12
    pop r12
    popfq
.Lplace_judge:
    btr rax, ADMITTED_BIT
    cmc
    jc .Lplace_refused                          # else the record may be gone: the thread may have ended
.Lplace_return:
    pop r12
    pop rbx
    return_frame
.Lplace_refused:
    mov rdx, [rbx + USER_REFUSED]                # ppm, with ERROR_OVERLOAD
    stc
    jmp .Lplace_return
end_function user_place

# user_measure -- let another CPU know the overhead of its scheduler, which its background thread has to measure
# In:       rdi = cpu:u64 (another one, below cpu_count)
# Out:      rax = error:u64, cf = refused: ERROR_BUSY, ERROR_TIMEOUT, ERROR_UNSUPPORTED, ERROR_INVALID
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts on, GS base set
local_function user_measure
    call_frame
    mov rax, rdi
    shl rax, CPU_ROW_SHIFT
    lea rcx, [rip + cpu_rows]
    mov rcx, [rcx + rax + CPU_BLOCK]
    mov eax, ERROR_UNSUPPORTED
    cmp rcx, 1
    jb .Lmeasure_return
    cmp qword ptr [rcx + PERCPU_CURRENT], 1
    jb .Lmeasure_return
    xor eax, eax
    cmp [rcx + PERCPU_OVERHEAD], rax
    jne .Lmeasure_return                        # cf is clear: 0 is below
    lea rsi, [rip + sched_measure]
    xor edx, edx
    call sched_on
    jc .Lmeasure_return
    cmp rax, 1                                  # what sched_measure says: 0 = done
    cmc
.Lmeasure_return:
    return_frame
end_function user_measure

# user_thread_end -- the thread that runs ends; the background thread gives back what it had
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, GS base set, in a thread of ring 3; does not return
function user_thread_end
    call_frame
    cli
    mov qword ptr gs:[PERCPU_USER_WORK], 1
    call sched_exit
end_function user_thread_end

# user_reap -- give back one thread of ring 3 that has ended
# In:       rdi = thread:ptr (THREAD_*, of this CPU, ended)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts on, GS base set; by the background thread
function user_reap
    call_frame
    push rbx
    push rbx
    mov rbx, [rdi + THREAD_USER]
    call sched_free                             # refused: a CPU did not answer, and the stack stays out of use
    mov rdi, rbx
    call user_thread_release
    pop rbx
    pop rbx
    return_frame
end_function user_reap

# user_thread_release -- give back what a thread has in ring 3, and its record
# In:       rdi = user:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF (on: other CPUs may have the space loaded), GS base set
local_function user_thread_release
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    mov r12, [rbx + USER_PROGRAM]
    mov rdi, [r12 + PROGRAM_SPACE]
    mov rsi, [rbx + USER_STACK]
    sub rsi, USER_STACK_SIZE
    mov ecx, USER_STACK_SIZE
    call space_unmap
    jc .Lrelease_record                         # the slot stays out of use
    mov rcx, [rbx + USER_SLOT]
    lock btr qword ptr [r12 + PROGRAM_SLOTS], rcx
.Lrelease_record:
    mov rdi, rbx
    call heap_free
    mov rbx, [r12 + PROGRAM_HOME]
    lock dec qword ptr [r12 + PROGRAM_COUNT]    # from here on the program may go
    jnz .Lrelease_return
    mov eax, dword ptr gs:[PERCPU_ID]
    cmp rbx, rax
    je .Lrelease_return
    shl rbx, CPU_ROW_SHIFT
    lea rcx, [rip + cpu_rows]
    mov edi, [rcx + rbx + CPU_APIC_ID]
    mov esi, VECTOR_IPI_WAKE
    call ipi_send
.Lrelease_return:
    pop r12
    pop rbx
    return_frame
end_function user_thread_release
