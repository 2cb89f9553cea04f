# Purpose:  tests of shoot-downs as a CPU sees them that is asked: the interrupt comes, the translation goes.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: the request is answered or the test fails; the stack that serves as the page goes back.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "percpu.inc"
.include "apic.inc"

.set REQUEST_VA, 0x00
.set REQUEST_LENGTH, 0x08
.set REQUEST_TARGETS, 0x10
.set REQUEST_NUMBER, 0x18
.set WAIT_MAX, 10000000                         # looks, then the test fails

ktap_text text_stack, "stack"
ktap_text text_join, "join"
ktap_text text_send, "send"
ktap_text text_answered, "answered"
ktap_text text_gone, "translation is gone"
ktap_text text_there, "translation is there"
ktap_text text_no_lapic, "this machine has no local APIC"

.section .text, "ax"

# test_tlb_interrupt -- a page loses its entry; after the interrupt this CPU sees it
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_tlb_interrupt
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov edi, LAPIC_SVR                          # 0 where there is none; an x2APIC has no address
    call lapic_read
    test eax, eax
    jz .Ltlb_no_lapic
    mov r14, [rip + tlb_cpus]
    mov ecx, gs:[PERCPU_ID]
    bt r14, rcx
    jc .Ltlb_joined
    call tlb_join
    check_done text_join
.Ltlb_joined:
    mov edi, PAGE_SIZE
    call stack_alloc
    mov rbx, rax
    check_done text_stack
    sub rbx, PAGE_SIZE
    check_fault text_there, provoke_pf_read, rbx, PROBE_NONE
    mov rdi, rbx
    call page_walk
    mov r12, rax
    mov r13, [r12]
    btr qword ptr [r12], 0
    lea rdx, [rip + tlb_request]
    mov [rdx + REQUEST_VA], rbx
    mov qword ptr [rdx + REQUEST_LENGTH], PAGE_SIZE
    mov ecx, gs:[PERCPU_ID]
    bts qword ptr [rdx + REQUEST_TARGETS], rcx
    inc qword ptr [rdx + REQUEST_NUMBER]
    mov edi, gs:[PERCPU_APIC_ID]
    mov esi, VECTOR_IPI_TLB
    call ipi_send
    check_done text_send
    mov ecx, gs:[PERCPU_ID]
    lea rdx, [rip + tlb_answers]
    lea rdx, [rdx + rcx * 8]
    mov rsi, [rip + tlb_request + REQUEST_NUMBER]
    mov ecx, WAIT_MAX
    pushfq
    sti
.Ltlb_wait:
    cmp [rdx], rsi
    je .Ltlb_answered
    pause
    dec ecx
    jnz .Ltlb_wait
.Ltlb_answered:
    popfq
    mov rax, [rdx]
    mov rcx, rsi
    check text_answered, rax, rcx
    check_fault text_gone, provoke_pf_read, rbx, PROBE_PF
    mov [r12], r13
    lea rdi, [rbx + PAGE_SIZE]
    call stack_free
    check_done text_stack
    mov ecx, gs:[PERCPU_ID]
    bt r14, rcx
    jc .Ltlb_done
    call tlb_leave
.Ltlb_done:
    mov eax, KTAP_DONE
.Ltlb_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Ltlb_no_lapic:
    lea rdi, [rip + text_no_lapic]
    call ktap_skip
    jmp .Ltlb_leave
end_function test_tlb_interrupt
ktap_test test_tlb_interrupt, "tlb_answers_a_shoot_down"
