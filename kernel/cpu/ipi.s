# Purpose:  interrupts from one CPU to others.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.6 (issuing interprocessor interrupts), 10.12.9 (ICR in x2APIC mode)
# Exports:  ipi_send ipi_send_others ipi_send_to ipi_woken
# Invariants: the two halves of the ICR are written with interrupts off; the wait for its acceptance is bounded.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "apic.inc"

.set ICR_WAIT_MAX, 100000                       # reads of the register; on the bus it takes microseconds

.section .text, "ax"

# ipi_send_to -- write the interrupt command register
# In:       edi = apic_id:u32 (does not count with LAPIC_ICR_OTHERS), esi = command:u32 (vector, LAPIC_DELIVERY_*, …)
# Out:      rax = error:u64, cf = refused: ERROR_UNSUPPORTED (no local APIC), ERROR_TIMEOUT (the one before is stuck)
# Clobbers: rcx, rdx
# Context:  long mode, any IF, after lapic_enable on this CPU
function ipi_send_to
    call_frame
    push rdi
    pushfq
    cli
    cmp byte ptr [rip + lapic_x2apic], 0
    jne .Lsend_x2apic
    mov rdx, [rip + lapic_base]
    mov eax, ERROR_UNSUPPORTED
    test rdx, rdx
    jz .Lsend_failed
    mov ecx, ICR_WAIT_MAX
    mov eax, ERROR_TIMEOUT
.Lsend_wait:
    test dword ptr [rdx + LAPIC_ICR], LAPIC_ICR_PENDING
    jz .Lsend_free
    pause
    dec ecx
    jnz .Lsend_wait
.Lsend_failed:
    popfq
    pop rdi
    stc
    return_frame
.Lsend_free:
    shl edi, LAPIC_ID_SHIFT
    mov [rdx + LAPIC_ICR_HIGH], edi
    mov [rdx + LAPIC_ICR], esi                  # this one sends
    jmp .Lsend_done
.Lsend_x2apic:
    mfence                                      # an x2APIC's registers are not ordered behind stores to memory
    mov ecx, LAPIC_MSR + (LAPIC_ICR >> LAPIC_MSR_SHIFT)
    mov eax, esi
    mov edx, edi
    wrmsr
.Lsend_done:
    popfq
    pop rdi
    xor eax, eax
    return_frame
end_function ipi_send_to

# ipi_send -- raise a vector on another CPU
# In:       edi = apic_id:u32, esi = vector:u32[32..255]
# Out:      rax = error:u64, cf = refused: as ipi_send_to
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF, after lapic_enable on this CPU
function ipi_send
    or esi, LAPIC_ICR_ASSERT
    jmp ipi_send_to
end_function ipi_send

# ipi_send_others -- raise a vector on all CPUs that run, but not on this one
# In:       esi = vector:u32[32..255]
# Out:      rax = error:u64, cf = refused: as ipi_send_to
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after lapic_enable on this CPU
function ipi_send_others
    or esi, LAPIC_ICR_ASSERT | LAPIC_ICR_OTHERS
    xor edi, edi
    jmp ipi_send_to
end_function ipi_send_others

# ipi_woken -- an interrupt whose coming is all that it says
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off; a handler
function ipi_woken
    ret
end_function ipi_woken
