# Purpose:  tests of external interrupts: from this CPU to itself, from a line of the I/O APIC, from the 8259 and the
#           local APIC in vain, from nobody.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 10.6 (self IPI), 10.9 (spurious interrupt); Intel 8254 data sheet (mode 0)
# Exports:  rows of section .ktap; interrupt_test_wait interrupt_test_count
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "acpi.inc"
.include "apic.inc"

.set PIT_IRQ, 0
.set PIT_CHANNEL_0, 0x40
.set PIT_CONTROL, 0x43
.set PIT_ONE_SHOT, 0x30                         # channel 0, both bytes, mode 0
.set PIT_TEST_COUNT, 1193                       # a millisecond
.set WAIT_MAX, 1 << 25                          # turns; far more than a machine under load needs
.set VECTOR_UNSERVED, 0x80                      # what provoke_interrupt raises

ktap_text text_no_lapic, "no local APIC"
ktap_text text_no_ioapic, "no I/O APIC"
ktap_text text_allocate, "allocate"
ktap_text text_send, "send"
ktap_text text_came, "came"
ktap_text text_vector, "vector in the frame"
ktap_text text_counted, "counted for this CPU"
ktap_text text_stray, "stray"
ktap_text text_spurious, "spurious"
ktap_text text_depth, "handlers in progress"
ktap_text text_serving, "still being served"
ktap_text text_line, "line"
ktap_text text_masked, "masked"
ktap_text text_again, "installed twice"

.section .bss, "aw", @nobits
    .balign 8
test_seen_vector:
    .skip 8

.section .text, "ax"

# interrupt_test_count -- a handler that counts
# In:       rdi = counter:ptr, rsi = frame:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode, interrupts off; a handler
function interrupt_test_count
    mov rax, [rsi + FRAME_VECTOR]
    mov [rip + test_seen_vector], rax
    inc qword ptr [rdi]
    ret
end_function interrupt_test_count

# interrupt_test_wait -- let interrupts in until a counter is no longer what it was, but not for ever
# In:       rdi = counter:ptr, rsi = value:u64
# Out:      cf = it did not change
# Clobbers: rcx
# Context:  long mode, interrupts off before and after
function interrupt_test_wait
    mov ecx, WAIT_MAX
    sti
.Lwait_turn:
    pause
    cmp [rdi], rsi
    jne .Lwait_changed
    dec ecx
    jnz .Lwait_turn
    cli
    stc
    ret
.Lwait_changed:
    cli
    clc
    ret
end_function interrupt_test_wait

# test_self_ipi -- a vector that this CPU raises on itself comes once, with its argument, and is ended
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_self_ipi
    call_frame
    push rbx
    push r12
    sub rsp, 16
    mov edi, LAPIC_SVR
    call lapic_read
    test eax, eax
    jz .Lself_skip
    mov qword ptr [rsp], 0
    lea rdi, [rip + interrupt_test_count]
    mov rsi, rsp
    call interrupt_allocate
    mov ebx, eax
    check_cf text_allocate, 0
    mov r12, qword ptr gs:[PERCPU_INTERRUPTS + rbx * 8]
    mov edi, dword ptr gs:[PERCPU_APIC_ID]
    mov esi, ebx
    call ipi_send
    check_done text_send
    mov rdi, rsp
    xor esi, esi
    call interrupt_test_wait
    check text_came, [rsp], 1
    check text_vector, [rip + test_seen_vector], rbx
    mov rax, qword ptr gs:[PERCPU_INTERRUPTS + rbx * 8]
    sub rax, r12
    check text_counted, rax, 1
    mov rax, qword ptr gs:[PERCPU_INTERRUPT_DEPTH]
    check text_depth, rax, 0
    mov edi, ebx
    call lapic_is_serving
    check_cf text_serving, 0
    mov edi, ebx
    lea rsi, [rip + interrupt_test_count]
    call interrupt_install
    check_refused text_again, ERROR_EXISTS
    mov edi, ebx
    call interrupt_remove
    mov eax, KTAP_DONE
.Lself_leave:
    add rsp, 16
    pop r12
    pop rbx
    return_frame
.Lself_skip:
    lea rdi, [rip + text_no_lapic]
    call ktap_skip
    jmp .Lself_leave
end_function test_self_ipi
ktap_test test_self_ipi, "interrupt_self_ipi"

# test_line -- the timer's line comes through the I/O APIC, where firmware says that it leads; not while it is masked
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_line
    call_frame
    push rbx
    push r12
    sub rsp, 16
    cmp dword ptr [rip + madt_ioapic_count], 0
    je .Lline_skip
    mov qword ptr [rsp], 0
    mov edi, PIT_IRQ
    lea rsi, [rip + interrupt_test_count]
    mov rdx, rsp
    call irq_install
    mov ebx, eax
    check_cf text_line, 0
    call start_timer                            # not before: an edge on a masked line is lost
    mov rdi, rsp
    xor esi, esi
    call interrupt_test_wait
    check_cf text_came, 0
    mov edi, ebx
    call lapic_is_serving
    check_cf text_serving, 0
    mov edi, PIT_IRQ
    mov esi, 1
    call irq_set_mask
    check text_masked, rax, rbx
    mov edi, PIT_IRQ
    call irq_remove
    mov eax, ebx
    shl eax, HANDLER_SHIFT
    lea rcx, [rip + interrupt_rows]
    mov rax, [rcx + rax + HANDLER_ROUTINE]
    check text_line, rax, 0
    mov eax, KTAP_DONE
.Lline_leave:
    add rsp, 16
    pop r12
    pop rbx
    return_frame
.Lline_skip:
    lea rdi, [rip + text_no_ioapic]
    call ktap_skip
    jmp .Lline_leave
end_function test_line
ktap_test test_line, "interrupt_line"

# start_timer -- let channel 0 of the 8254 raise its line once, in a millisecond
# In:       none
# Out:      none
# Clobbers: rax
# Context:  long mode; in a test
local_function start_timer
    mov al, PIT_ONE_SHOT
    out PIT_CONTROL, al
    mov al, PIT_TEST_COUNT & 0xff
    out PIT_CHANNEL_0, al
    mov al, PIT_TEST_COUNT >> 8
    out PIT_CHANNEL_0, al
    ret
end_function start_timer

# test_in_vain -- a vector that nobody serves is counted, spurious ones too, and all of them are survived
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test. The stray vector is said on the serial line, once
local_function test_in_vain
    call_frame
    push rbx
    push r12
    mov rbx, qword ptr gs:[PERCPU_STRAY]
    mov r12, qword ptr gs:[PERCPU_INTERRUPTS + VECTOR_UNSERVED * 8]
    call provoke_interrupt
    call provoke_interrupt
    mov rax, qword ptr gs:[PERCPU_STRAY]
    sub rax, rbx
    check text_stray, rax, 2
    mov rax, qword ptr gs:[PERCPU_INTERRUPTS + VECTOR_UNSERVED * 8]
    sub rax, r12
    check text_counted, rax, 2
    mov rbx, qword ptr gs:[PERCPU_SPURIOUS]
    mov r12, qword ptr gs:[PERCPU_STRAY]
    int VECTOR_LAPIC_SPURIOUS
    int VECTOR_PIC_MASTER_SPURIOUS
    int VECTOR_PIC_SLAVE_SPURIOUS
    mov rax, qword ptr gs:[PERCPU_SPURIOUS]
    sub rax, rbx
    check text_spurious, rax, 3
    mov rax, qword ptr gs:[PERCPU_STRAY]
    sub rax, r12
    check text_stray, rax, 0
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_in_vain
ktap_test test_in_vain, "interrupt_stray_and_spurious"
