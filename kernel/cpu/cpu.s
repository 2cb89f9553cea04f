# Purpose:  what a further CPU does: from the trampoline to its idle loop, what it is called for, how all are stopped.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 2, CPUID leaves 1 and 0xb (APIC id); vol. 3, 8.4.4.2
# Exports:  cpu_enter cpu_call cpu_called cpu_claim_end cpu_stop_others cpu_stopped cpu_end_owner
# Invariants: a CPU finds its row by its APIC id. What it sets up is its own alone. One CPU ends the machine: the first
#           that wants to; others that want to as well halt, so that there is one report, and it is whole.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "lock.inc"
.include "apic.inc"
.include "cpu.inc"

.set CPUID_LEAF_TOPOLOGY, 0xb                   # edx = APIC id of 32 bits
.set CALL_WAIT, 2000000000                      # ns, for a call to begin
.set CALL_RUNS, 1                               # stands in PERCPU_CALL_ROUTINE while the routine runs

.section .text, "ax"

# cpu_enter -- the first code of a further CPU in the higher half: find its row, take its stack
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, the tables of the boot, no stack; jumped to by the trampoline, does not return
function cpu_enter
    xor eax, eax
    cpuid
    cmp eax, CPUID_LEAF_TOPOLOGY
    jb .Lenter_short
    mov eax, CPUID_LEAF_TOPOLOGY
    xor ecx, ecx
    cpuid
    test ebx, ebx
    jnz .Lenter_known                           # edx
.Lenter_short:
    mov eax, CPUID_LEAF_FEATURES
    cpuid
    mov edx, ebx
    shr edx, LAPIC_ID_SHIFT
.Lenter_known:
    lea rbx, [rip + cpu_rows]
    mov ecx, [rip + cpu_count]
.Lenter_search:
    cmp dword ptr [rbx + CPU_STATE], CPU_STATE_STARTING
    jne .Lenter_other
    cmp [rbx + CPU_APIC_ID], edx
    je .Lenter_found
.Lenter_other:
    add rbx, CPU_ROW_SIZE
    dec ecx
    jnz .Lenter_search
.Lenter_halt:                                   # nobody waits for this one
    cli
    hlt
    jmp .Lenter_halt
.Lenter_found:
    mov rax, [rip + page_root]
    mov cr3, rax
    mov rsp, [rbx + CPU_STACK_TOP]
    xor ebp, ebp                                # the outermost frame: traces end here
    mov rdi, rbx
    call cpu_start
end_function cpu_enter

# cpu_start -- set up the CPU that runs, and be idle
# In:       rdi = row:ptr (of cpu_rows)
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, on the CPU's own stack; does not return
local_function cpu_start
    call_frame
    mov rbx, rdi
    mov rdi, [rbx + CPU_BLOCK]
    lea rsi, [rip + cpu_rows]
    neg rsi
    add rsi, rbx
    shr rsi, CPU_ROW_SHIFT                      # its number
    mov rdx, [rbx + CPU_STACK_BOTTOM]
    mov rcx, [rbx + CPU_STACK_TOP]
    call percpu_init
    lea rdi, [rbx + CPU_IST_TOPS]
    call gdt_load
    call idt_load
    call features_enable
    call syscall_enable
    call lapic_enable
    call timer_enable
    call tlb_join
    call sched_join_further
    mov eax, CPU_STATE_STARTING
    mov ecx, CPU_STATE_ONLINE
    lock cmpxchg [rbx + CPU_STATE], ecx
    jne .Lstart_late
    lock inc dword ptr [rip + cpu_online]
    call sched_idle
.Lstart_late:                                   # given up meanwhile
    call tlb_leave
.Lstart_halt:
    cli
    hlt
    jmp .Lstart_halt
end_function cpu_start

# cpu_call -- run a routine on another CPU, within a handler there, and wait for what it returns. A call that has not begun
#             in time is taken back; one that has is waited for, since its argument is the caller's
# In:       edi = cpu:u32 (its number), rsi = routine:ptr (In: rdi = argument; Out: rax), rdx = argument:u64
# Out:      rax = result:u64 or error code, cf = refused: ERROR_INVALID (this CPU, or none), ERROR_TIMEOUT
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts on, GS base set (off: only while nobody calls or shoots at this CPU)
function cpu_call
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov eax, ERROR_INVALID
    cmp edi, [rip + cpu_count]
    cmc
    jc .Lcall_return
    cmp edi, dword ptr gs:[PERCPU_ID]
    stc
    je .Lcall_return
    shl edi, CPU_ROW_SHIFT
    lea r12, [rip + cpu_rows]
    add r12, rdi
    cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE
    stc
    jne .Lcall_return
    mov rbx, [r12 + CPU_BLOCK]
    lea rdi, [rip + cpu_call_lock]
    call lock_acquire
    mov [rbx + PERCPU_CALL_ARGUMENT], rdx
    mov [rbx + PERCPU_CALL_ROUTINE], rsi        # behind the argument: stores keep their order
    mov edi, [r12 + CPU_APIC_ID]
    mov esi, VECTOR_IPI_CALL
    call ipi_send                               # one that is lost shows in the wait
    call clock_ns
    mov r13, rax
    mov r14, CALL_WAIT
.Lcall_wait:
    cmp qword ptr [rbx + PERCPU_CALL_ROUTINE], 0
    je .Lcall_done
    pause
    call clock_ns
    sub rax, r13
    cmp rax, r14
    jb .Lcall_wait
    mov rax, [rbx + PERCPU_CALL_ROUTINE]
    cmp rax, CALL_RUNS
    jbe .Lcall_wait                             # it has begun, or is done
    xor ecx, ecx
    lock cmpxchg [rbx + PERCPU_CALL_ROUTINE], rcx
    jne .Lcall_wait                             # at the last moment
    mov r13d, ERROR_TIMEOUT
    lea rdi, [rip + cpu_call_lock]
    call lock_release
    mov rax, r13
    stc
.Lcall_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lcall_done:
    mov r13, [rbx + PERCPU_CALL_RESULT]
    lea rdi, [rip + cpu_call_lock]
    call lock_release
    mov rax, r13
    clc
    jmp .Lcall_return
end_function cpu_call

# cpu_called -- the handler of VECTOR_IPI_CALL
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set; a handler
function cpu_called
    call_frame
    mov rdx, qword ptr gs:[PERCPU_SELF]
    mov rax, [rdx + PERCPU_CALL_ROUTINE]
    cmp rax, CALL_RUNS
    jbe .Lcalled_return                         # taken back meanwhile
    mov rsi, rax
    mov ecx, CALL_RUNS
    lock cmpxchg [rdx + PERCPU_CALL_ROUTINE], rcx
    jne .Lcalled_return                         # likewise
    mov rdi, [rdx + PERCPU_CALL_ARGUMENT]
    call rsi
    mov qword ptr gs:[PERCPU_CALL_RESULT], rax
    mov qword ptr gs:[PERCPU_CALL_ROUTINE], 0
.Lcalled_return:
    return_frame
end_function cpu_called

# cpu_claim_end -- be the CPU that ends the machine; where another one is already, halt
# In:       none
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, interrupts off, GS base set
function cpu_claim_end
    mov ecx, dword ptr gs:[PERCPU_ID]
    inc ecx
    xor eax, eax
    lock cmpxchg dword ptr [rip + cpu_end_owner], ecx
    je .Lclaim_return
    cmp eax, ecx
    jne cpu_stopped
.Lclaim_return:
    ret
end_function cpu_claim_end

# cpu_stop_others -- halt all other CPUs, by an NMI that no mask holds back
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set, after cpu_claim_end
function cpu_stop_others
    cmp dword ptr [rip + cpu_online], 1
    jbe .Lstop_return
    call_frame
    xor edi, edi
    mov esi, LAPIC_DELIVERY_NMI | LAPIC_ICR_ASSERT | LAPIC_ICR_OTHERS
    call ipi_send_to
    pop rbp
.Lstop_return:
    ret
end_function cpu_stop_others

# cpu_stopped -- halt for good
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, any IF; jumped to, does not return
function cpu_stopped
    cli
    hlt
    jmp cpu_stopped
end_function cpu_stopped

.section .bss, "aw", @nobits
    .balign 8
object cpu_call_lock
    .skip LOCK_SIZE
end_object cpu_call_lock
object cpu_end_owner                            # number + 1 of the CPU that ends the machine, 0 = none does
    .skip 4
end_object cpu_end_owner
