# Purpose:  tests of shoot-downs between CPUs: what one unmaps no other can reach, and who cannot have it is not asked.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 4.10.5 (propagation of changes to several processors)
# Exports:  rows of section .ktap
# Invariants: every page and every space that a test makes it gives back; all CPUs have the kernel's own space after.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "fault.inc"
.include "cpu.inc"

.set TEST_USER, USER_FIRST + 0x40000000

ktap_text text_alone, "one CPU"
ktap_text text_stack, "stack"
ktap_text text_call, "call"
ktap_text text_there, "another CPU reads the page"
ktap_text text_gone, "another CPU after the page is unmapped"
ktap_text text_space, "space"
ktap_text text_shoots, "shoot-downs"
ktap_text text_busy, "destroy while another CPU has it loaded"

.section .text, "ax"

# remote_read -- read a byte on the CPU that is called; a fault is an answer
# In:       rdi = address:u64
# Out:      rax = vector:u64 (0 = it could be read)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  called by cpu_call
local_function remote_read
    call_frame
    mov rsi, rdi
    lea rdi, [rip + provoke_pf_read]
    mov edx, FAULT_CATCH_QUIET
    call fault_catch
    jc .Lremote_leave
    xor eax, eax
.Lremote_leave:
    return_frame
end_function remote_read

# test_shoot -- for each further CPU: it reads a page, this one unmaps it, it cannot read it any more
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_shoot
    call_frame
    push rbx
    push r12
    push r13
    push r13
    cmp dword ptr [rip + cpu_online], 1
    jbe .Lshoot_alone
    mov ebx, 1
    lea r12, [rip + cpu_rows + CPU_ROW_SIZE]
.Lshoot_cpu:
    cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE
    jne .Lshoot_next
    mov edi, PAGE_SIZE
    call stack_alloc
    mov r13, rax
    check_done text_stack
    mov edi, ebx
    lea rsi, [rip + remote_read]
    lea rdx, [r13 - 8]
    call cpu_call
    check text_there, rax, 0
    mov rdi, r13
    call stack_free
    check_done text_stack
    mov edi, ebx
    lea rsi, [rip + remote_read]
    lea rdx, [r13 - 8]
    call cpu_call
    check text_gone, rax, VECTOR_PF
.Lshoot_next:
    add r12, CPU_ROW_SIZE
    inc ebx
    cmp ebx, [rip + cpu_count]
    jb .Lshoot_cpu
    mov eax, KTAP_DONE
.Lshoot_leave:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
.Lshoot_alone:
    lea rdi, [rip + text_alone]
    call ktap_skip
    jmp .Lshoot_leave
end_function test_shoot
ktap_test test_shoot, "tlb_shoots_down_on_each_cpu"

# test_shoot_lazy -- a space that no other CPU has loaded costs no shoot-down; one that has it is asked
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_shoot_lazy
    call_frame
    push rbx
    push r12
    push r13
    push r13
    cmp dword ptr [rip + cpu_rows + CPU_ROW_SIZE + CPU_STATE], CPU_STATE_ONLINE
    jne .Llazy_alone
    mov r12, [rip + tlb_shoots]
    call space_create
    mov rbx, rax
    check_done text_space
    mov r13d, 2                                 # once with the space loaded nowhere, once on another CPU
.Llazy_round:
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, PAGE_SIZE
    mov r8, PTE_WRITE | PTE_NX
    call space_alloc
    check_done text_space
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, PAGE_SIZE
    mov r8, PTE_NX
    call space_protect
    check_done text_space
    check text_shoots, [rip + tlb_shoots], r12
    inc r12                                     # of the next round
    dec r13d
    jz .Llazy_loaded
    mov rdi, rbx
    mov rsi, TEST_USER
    mov ecx, PAGE_SIZE
    call space_unmap
    check_done text_space
    mov edi, 1
    lea rsi, [rip + space_switch]
    mov rdx, rbx
    call cpu_call
    check_done text_call
    jmp .Llazy_round
.Llazy_loaded:
    mov rdi, rbx
    call space_destroy
    check_refused text_busy, ERROR_BUSY
    mov edi, 1
    lea rsi, [rip + space_switch]
    xor edx, edx
    call cpu_call
    check_done text_call
    mov rdi, rbx
    call space_destroy
    check_done text_space
    mov eax, KTAP_DONE
.Llazy_leave:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
.Llazy_alone:
    lea rdi, [rip + text_alone]
    call ktap_skip
    jmp .Llazy_leave
end_function test_shoot_lazy
ktap_test test_shoot_lazy, "tlb_leaves_other_spaces_alone"
