# Purpose:  the threads of all CPUs at a glance: copies of what is to be shown of each.
# Mode:     64-bit long mode
# Exports:  snapshot_take snapshot_percentile
# Invariants: a CPU's list is read on that CPU, with interrupts off, where nobody changes it meanwhile: its threads are made
#           and given back by its background thread. One thread at a time, so that no deadline there waits for more than
#           one copy; a thread that comes or goes meanwhile may be left out.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "percpu.inc"
.include "cpu.inc"
.include "sched.inc"
.include "snapshot.inc"

.set P99, 990
.set REQUEST_NUMBER, 0x00                       # of the thread in its CPU's list
.set REQUEST_ROW, 0x08                          # where it goes
.set REQUEST_SIZE, 0x10

.section .text, "ax"

# snapshot_take -- copy the threads of all CPUs
# In:       none
# Out:      rax = rows:ptr (SNAPSHOT_*, a block of the heap that the caller frees) or error code, rdx = count:u64,
#           cf = refused: as heap_alloc
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; no lock held
function snapshot_take
    call_frame
    push rbx
    push r12
    push r13
    push r14
    call snapshot_count
    mov r14, rax                                # rows there is room for
    imul rdi, rax, SNAPSHOT_SIZE
    xor esi, esi
    call heap_alloc_zeroed
    jc .Ltake_return
    mov r13, rax
    xor r12d, r12d                              # rows taken
    xor ebx, ebx                                # the CPU
.Ltake_cpu:
    cmp ebx, [rip + cpu_count]
    jae .Ltake_done
    mov edi, ebx
    imul rsi, r12, SNAPSHOT_SIZE
    add rsi, r13
    mov rdx, r14
    sub rdx, r12
    call snapshot_cpu
    add r12, rax
    inc ebx
    jmp .Ltake_cpu
.Ltake_done:
    mov rax, r13
    mov rdx, r12
    clc
.Ltake_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function snapshot_take

# snapshot_count -- how many threads all CPUs have
# In:       none
# Out:      rax = count:u64 (1 at least)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set
local_function snapshot_count
    call_frame
    push rbx
    push r12
    xor ebx, ebx
    mov r12d, 1
.Lcount_cpu:
    cmp ebx, [rip + cpu_count]
    jae .Lcount_done
    mov edi, ebx
    lea rsi, [rip + threads_count]
    xor edx, edx
    call snapshot_on
    jc .Lcount_next
    add r12, rax
.Lcount_next:
    inc ebx
    jmp .Lcount_cpu
.Lcount_done:
    mov rax, r12
    pop r12
    pop rbx
    return_frame
end_function snapshot_count

# snapshot_cpu -- copy the threads of one CPU
# In:       edi = cpu:u32, rsi = rows:ptr, rdx = room:u64 (rows)
# Out:      rax = count:u64
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set
local_function snapshot_cpu
    call_frame
    push rbx
    push r12
    sub rsp, REQUEST_SIZE
    mov ebx, edi
    mov r12, rdx
    mov qword ptr [rsp + REQUEST_NUMBER], 0
    mov [rsp + REQUEST_ROW], rsi
.Lcpu_thread:
    cmp [rsp + REQUEST_NUMBER], r12
    jae .Lcpu_done
    mov edi, ebx
    lea rsi, [rip + thread_copy]
    mov rdx, rsp
    call snapshot_on
    jc .Lcpu_done
    test rax, rax
    jz .Lcpu_done
    mov rax, [rsp + REQUEST_ROW]
    mov [rax + SNAPSHOT_CPU], rbx
    add rax, SNAPSHOT_SIZE
    mov [rsp + REQUEST_ROW], rax
    inc qword ptr [rsp + REQUEST_NUMBER]
    jmp .Lcpu_thread
.Lcpu_done:
    mov rax, [rsp + REQUEST_NUMBER]
    add rsp, REQUEST_SIZE
    pop r12
    pop rbx
    return_frame
end_function snapshot_cpu

# snapshot_on -- run a routine on a CPU with interrupts off there: this one or another
# In:       edi = cpu:u32, rsi = routine:ptr (In: rdi = argument; Out: rax), rdx = argument:u64
# Out:      rax = result:u64 or error code, cf = refused: as cpu_call
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set
local_function snapshot_on
    cmp edi, dword ptr gs:[PERCPU_ID]
    jne cpu_call
    call_frame
    pushfq
    push rdx
    mov rdi, rdx
    cli
    call rsi
    pop rdx
    popfq
    clc
    return_frame
end_function snapshot_on

# threads_count -- how many threads the CPU that runs has
# In:       rdi = unused:u64
# Out:      rax = count:u64
# Clobbers: rdx
# Context:  long mode, interrupts off, GS base set
local_function threads_count
    xor eax, eax
    mov rdx, qword ptr gs:[PERCPU_THREADS]
.Lthreads_next:
    test rdx, rdx
    jz .Lthreads_return
    inc rax
    mov rdx, [rdx + THREAD_NEXT]
    jmp .Lthreads_next
.Lthreads_return:
    ret
end_function threads_count

# thread_copy -- copy a thread of the CPU that runs
# In:       rdi = request:ptr (REQUEST_*)
# Out:      rax = found:u64[0..1]
# Clobbers: rcx, rdx, rsi, rdi, r8
# Context:  long mode, interrupts off, GS base set
local_function thread_copy
    call_frame
    push rbx
    push r12
    mov r12, [rdi + REQUEST_ROW]
    mov rcx, [rdi + REQUEST_NUMBER]
    mov rbx, qword ptr gs:[PERCPU_THREADS]
.Lcopy_find:
    xor eax, eax
    test rbx, rbx
    jz .Lcopy_return
    dec rcx
    js .Lcopy_found
    mov rbx, [rbx + THREAD_NEXT]
    jmp .Lcopy_find
.Lcopy_found:
    mov rdi, r12
    mov rsi, rbx
    mov ecx, THREAD_HISTOGRAM / 8
    rep movsq
    lea rdi, [r12 + SNAPSHOT_NAME]
    mov [r12 + THREAD_NAME], rdi
    mov rsi, [rbx + THREAD_NAME]
    mov ecx, SNAPSHOT_NAME_SIZE - 1
.Lcopy_name:
    lodsb
    stosb
    test al, al
    loopnz .Lcopy_name
    mov byte ptr [r12 + SNAPSHOT_NAME + SNAPSHOT_NAME_SIZE - 1], 0
    mov rdi, rbx
    call snapshot_percentile
    mov [r12 + SNAPSHOT_P99], rax
    mov eax, 1
.Lcopy_return:
    pop r12
    pop rbx
    return_frame
end_function thread_copy

# snapshot_percentile -- the 99th percentile of the start jitter of a thread
# In:       rdi = thread:ptr
# Out:      rax = ns:u64
# Clobbers: rcx, rdx, rsi, rdi, r8
# Context:  long mode
function snapshot_percentile
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    lea rdi, [rbx + THREAD_HISTOGRAM]
    mov rsi, [rbx + THREAD_STARTS]
    mov edx, P99
    call histogram_percentile
    cmp rax, [rbx + THREAD_WORST_JITTER]
    cmova rax, [rbx + THREAD_WORST_JITTER]      # the end of the bucket may lie beyond all that was seen
    pop rbx
    pop rbx
    return_frame
end_function snapshot_percentile
