# Purpose:  tests of the further processors: each has its own block, tables and stacks, answers calls, catches faults; a
#           lock keeps them apart.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 8.4 (MP initialisation), 8.1.2 (locked operations)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "lock.inc"
.include "apic.inc"
.include "cpu.inc"

.set LOCK_TURNS, 10                             # a waiter that the host does not run holds up all behind it
.set WITHIN, 500000                             # ns in the locked part: nearly all of the time that this takes
.set MEET_MAX, 1 << 26                          # turns that the CPUs wait for each other

ktap_text text_alone, "one CPU"
ktap_text text_call, "call"
ktap_text text_number, "number"
ktap_text text_state, "GDT, TR, IST, stack or control registers"
ktap_text text_vector, "caught vector"
ktap_text text_none, "a CPU that is not there"
ktap_text text_self, "itself"
ktap_text text_send, "send"
ktap_text text_met, "CPUs that took part"
ktap_text text_counter, "met another CPU within"

.section .bss, "aw", @nobits
    .balign 8
test_lock:
    .skip LOCK_SIZE
test_counter:                                   # times that a CPU met another one within
    .skip 8
test_within:                                    # u32: 1 while a CPU is
    .skip 8
test_ready:                                     # CPUs that are about to count
    .skip 4
test_done:                                      # CPUs that have
    .skip 4

.section .text, "ax"

# cpus_each BODY, LABEL -- frame of a test: for each further CPU that runs, BODY is called with its number in edi
.macro cpus_each body, label
    call_frame
    push rbx
    push r12
    cmp dword ptr [rip + cpu_online], 1
    jbe \label
    mov ebx, 1
    lea r12, [rip + cpu_rows + CPU_ROW_SIZE]
\label\()_next:
    cmp ebx, [rip + cpu_count]
    jae \label\()_done
    cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE
    jne \label\()_other
    mov edi, ebx
    call \body
\label\()_other:
    inc ebx
    add r12, CPU_ROW_SIZE
    jmp \label\()_next
\label\()_done:
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
\label:
    lea rdi, [rip + text_alone]
    call ktap_skip
    pop r12
    pop rbx
    return_frame
.endm

# look_at_cpu -- what a CPU finds about itself
# In:       rdi = row:ptr (of cpu_rows)
# Out:      rax = found:u64 (its number; -1 when anything is not its own)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, GS base set; called on the CPU itself
local_function look_at_cpu
    call_frame
    sub rsp, 16
    mov rsi, [rdi + CPU_BLOCK]
    cmp rsi, qword ptr gs:[PERCPU_SELF]
    jne .Llook_wrong
    sgdt [rsp]
    mov rax, [rsp + 2]
    sub rax, PERCPU_GDT
    cmp rax, rsi
    jne .Llook_wrong
    str eax
    cmp eax, SELECTOR_TSS
    jne .Llook_wrong
    mov rax, [rdi + CPU_IST_TOPS]
    cmp rax, [rsi + PERCPU_TSS + TSS_IST1]
    jne .Llook_wrong
    cmp rsp, [rdi + CPU_STACK_BOTTOM]
    jb .Llook_wrong
    cmp rsp, [rdi + CPU_STACK_TOP]
    jae .Llook_wrong
    mov rax, cr0
    test eax, CR0_WP
    jz .Llook_wrong
    mov rax, cr3
    cmp rax, [rip + page_root]
    jne .Llook_wrong
    mov eax, [rdi + CPU_APIC_ID]
    cmp eax, dword ptr gs:[PERCPU_APIC_ID]
    jne .Llook_wrong
    mov eax, dword ptr gs:[PERCPU_ID]
.Llook_leave:
    add rsp, 16
    return_frame
.Llook_wrong:
    mov rax, -1
    jmp .Llook_leave
end_function look_at_cpu

# check_cpu -- a CPU answers with its number, its own tables, and a CR4 as the boot CPU's
# In:       edi = cpu:u32, r12 = row:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function check_cpu
    call_frame
    push rbx
    push r12
    mov ebx, edi
    lea rsi, [rip + look_at_cpu]
    mov rdx, r12
    call cpu_call
    mov r12, rax
    check_cf text_call, 0
    check text_number, r12, rbx
    mov edi, ebx
    lea rsi, [rip + look_at_control]
    call cpu_call
    mov rdx, cr4
    mov rsi, rax
    lea rdi, [rip + text_state]
    call ktap_check
    pop r12
    pop rbx
    return_frame
end_function check_cpu

# look_at_control -- CR4 of the CPU that runs
# In:       none
# Out:      rax = cr4:u64
# Clobbers: none
# Context:  long mode; called on the CPU itself
local_function look_at_control
    mov rax, cr4
    ret
end_function look_at_control

# test_identity -- each CPU is itself
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_identity
    cpus_each check_cpu, .Lidentity
end_function test_identity
ktap_test test_identity, "processors_are_themselves"

# fault_there -- catch a fault on the CPU that runs
# In:       rdi = routine:ptr
# Out:      rax = vector:u64 (-1 when none was caught)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; called on the CPU itself
local_function fault_there
    call_frame
    xor edx, edx                                # FAULT_CATCH_QUIET
    xor esi, esi
    call fault_catch
    jc .Lfault_caught
    mov rax, -1
.Lfault_caught:
    return_frame
end_function fault_there

# check_fault_there -- a CPU catches a fault of its own, the one of a guard page too: #DF has a stack there
# In:       edi = cpu:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; in a test
local_function check_fault_there
    call_frame
    push rbx
    push r12
    mov ebx, edi
    lea rsi, [rip + fault_there]
    lea rdx, [rip + provoke_ud]
    call cpu_call
    check text_vector, rax, VECTOR_UD
    mov edi, ebx
    lea rsi, [rip + fault_there]
    lea rdx, [rip + provoke_overflow]
    call cpu_call
    check text_vector, rax, VECTOR_DF
    pop r12
    pop rbx
    return_frame
end_function check_fault_there

# test_faults_there -- faults on further CPUs are caught there
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_faults_there
    cpus_each check_fault_there, .Lfaults
end_function test_faults_there
ktap_test test_faults_there, "processors_catch_faults"

# test_call_refused -- no call goes to a CPU that is not there, nor to itself
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_call_refused
    call_frame
    mov edi, [rip + cpu_count]
    lea rsi, [rip + look_at_control]
    call cpu_call
    check_refused text_none, ERROR_INVALID
    mov edi, dword ptr gs:[PERCPU_ID]
    lea rsi, [rip + look_at_control]
    call cpu_call
    check_refused text_self, ERROR_INVALID
    mov eax, KTAP_DONE
    return_frame
end_function test_call_refused
ktap_test test_call_refused, "processors_call_refused"

# count_together -- wait until all are here, then take the lock by turns, and count whom it did not keep out
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, interrupts off; on all CPUs at once, on the further ones as a handler
local_function count_together
    call_frame
    push rbx
    push rbx
    lock inc dword ptr [rip + test_ready]
    mov ecx, MEET_MAX
.Lcount_meet:
    mov eax, [rip + test_ready]
    cmp eax, [rip + cpu_online]
    jae .Lcount_begin
    pause
    dec ecx
    jnz .Lcount_meet
.Lcount_begin:
    mov ecx, LOCK_TURNS
    lea rdi, [rip + test_lock]
.Lcount_turn:
    call lock_acquire
    mov eax, 1
    xchg [rip + test_within], eax
    add [rip + test_counter], rax               # somebody else is within
    mov rbx, rdi
    mov edi, WITHIN
    call clock_delay
    mov rdi, rbx
    mov dword ptr [rip + test_within], 0
    call lock_release
    dec ecx
    jnz .Lcount_turn
    lock inc dword ptr [rip + test_done]
    pop rbx
    pop rbx
    return_frame
end_function count_together

# test_lock_holds -- all CPUs take one lock by turns, and are alone within
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_lock_holds
    call_frame
    push rbx
    push r12
    mov qword ptr [rip + test_counter], 0
    mov qword ptr [rip + test_ready], 0         # and test_done
    lea rdi, [rip + count_together]
    xor esi, esi
    call interrupt_allocate
    mov ebx, eax
    mov esi, eax
    call ipi_send_others
    check_done text_send
    call count_together
    mov ecx, MEET_MAX
.Lholds_wait:
    mov eax, [rip + test_done]
    cmp eax, [rip + cpu_online]
    jae .Lholds_all
    pause
    dec ecx
    jnz .Lholds_wait
.Lholds_all:
    mov eax, [rip + test_done]
    mov r12d, [rip + cpu_online]
    check text_met, rax, r12
    check text_counter, [rip + test_counter], 0
    mov edi, ebx
    call interrupt_remove
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_lock_holds
ktap_test test_lock_holds, "processors_lock"
