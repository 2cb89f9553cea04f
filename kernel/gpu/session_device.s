# Purpose:  the device that the GPU service stands behind: found, mapped, its queues laid out; its doorbell; boot unit `session`.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 1; QEMU docs/specs/ivshmem-spec.rst
# Exports:  session_init, session_ring; session_control session_base session_bytes session_registers session_queues
# Invariants: session_control is 0 until registers and memory are mapped and each queue has its row.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "pci.inc"
.include "session.inc"

.set IVSHMEM_ID, 0x11101af4                     # device << 16 | vendor
.set IVSHMEM_CLASS, 0x050000
.set IVSHMEM_REGISTERS_SIZE, 0x100
.set SLOT_REGISTERS, PCI_ROW_SLOTS + 0 * PCI_SLOT_SIZE
.set SLOT_MEMORY, PCI_ROW_SLOTS + 2 * PCI_SLOT_SIZE
.set CONNECT_NS, 1000000000                     # how long the boot waits for a service

.section .bss, "aw", @nobits
    .balign 8
object session_control                          # address of the control page, 0 = no device
    .skip 8
end_object session_control
object session_base                             # address of the shared memory
    .skip 8
end_object session_base
object session_bytes                            # of the shared memory
    .skip 8
end_object session_bytes
object session_registers                        # address of BAR0
    .skip 8
end_object session_registers
object session_queues
    .skip MAILBOX_QUEUES * SESSION_ROW_SIZE
end_object session_queues

.section .rodata, "a"
note_bdf:       .asciz "bdf"
note_bytes:     .asciz "bytes"
note_epoch:     .asciz "epoch"
note_features:  .asciz "features"
note_reason:    .asciz "reason"
note_error:     .asciz "error"
reason_none:    .asciz "no-ivshmem-device"
reason_plain:   .asciz "no-doorbell-or-memory-too-small"
reason_silent:  .asciz "no-service"

.section .text, "ax"

# session_init -- find the device, lay the queues out, open the session
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*; skip where there is no device, or no service behind it)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, after the units pci, clock and frames; boot unit
function session_init
    call_frame
    push rbx
    push rbx
    call session_find
    lea rsi, [rip + reason_none]
    jc .Linit_skip
    mov rbx, rax
    lea rdi, [rip + note_bdf]
    movzx esi, word ptr [rbx + PCI_ROW_BDF]
    call unit_note
    mov rdi, rbx
    call session_map
    lea rsi, [rip + reason_plain]
    jc .Linit_refused
    lea rdi, [rip + note_bytes]
    mov rsi, qword ptr [rip + session_bytes]
    call unit_note
    mov dword ptr [rip + session_state], SESSION_LOST
    mov rdi, CONNECT_NS
    call session_negotiate
    lea rsi, [rip + reason_silent]
    jc .Linit_skip
    lea rdi, [rip + note_epoch]
    mov esi, dword ptr [rip + session_epoch]
    call unit_note_dec
    lea rdi, [rip + note_features]
    mov rsi, qword ptr [rip + session_features]
    call unit_note
    mov eax, BOOT_RESULT_OK
.Linit_leave:
    pop rbx
    pop rbx
    return_frame
.Linit_refused:
    cmp rax, ERROR_UNSUPPORTED
    je .Linit_skip
    lea rdi, [rip + note_error]
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_FAIL
    jmp .Linit_leave
.Linit_skip:
    lea rdi, [rip + note_reason]
    call unit_note_text
    mov eax, BOOT_RESULT_SKIP
    jmp .Linit_leave
end_function session_init

# session_find -- the ivshmem device
# In:       none
# Out:      rax = row:ptr, cf = there is none
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, after the pci unit
local_function session_find
    call_frame
    push rbx
    push rbx
    xor ebx, ebx
.Lfind_next:
    mov edi, ebx
    mov esi, IVSHMEM_CLASS
    mov edx, PCI_CLASS_SUB_MASK
    call pci_find_class
    jc .Lfind_leave
    cmp dword ptr [rax + PCI_ROW_VENDOR], IVSHMEM_ID
    je .Lfind_found
    lea rcx, [rip + pci_table]
    mov rbx, rax
    sub rbx, rcx
    shr rbx, PCI_ROW_SHIFT
    inc ebx
    jmp .Lfind_next
.Lfind_found:
    clc
.Lfind_leave:
    pop rbx
    pop rbx
    return_frame
end_function session_find

# session_map -- map registers and shared memory, and lay the queues out
# In:       rdi = row:ptr
# Out:      rax = error:u64, cf = refused: ERROR_UNSUPPORTED (no doorbell, or memory too small), as mmio_map, heap_alloc
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  as heap_alloc, after the pci unit
local_function session_map
    call_frame
    push rbx
    push r12
    mov rbx, rdi
    cmp qword ptr [rbx + SLOT_REGISTERS + PCI_SLOT_LENGTH], IVSHMEM_REGISTERS_SIZE
    jb .Lmap_unsupported
    mov r12, qword ptr [rbx + SLOT_MEMORY + PCI_SLOT_LENGTH]
    cmp r12, MAILBOX_BYTES_MIN
    jb .Lmap_unsupported
    cmp qword ptr [rbx + SLOT_MEMORY + PCI_SLOT_BASE], 0
    je .Lmap_unsupported
    mov rdi, rbx
    mov esi, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
    call pci_enable
    mov rdi, qword ptr [rbx + SLOT_REGISTERS + PCI_SLOT_BASE]
    mov esi, IVSHMEM_REGISTERS_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lmap_leave
    mov qword ptr [rip + session_registers], rax
    mov rdi, qword ptr [rbx + SLOT_MEMORY + PCI_SLOT_BASE]
    mov rsi, r12
    mov edx, PTE_CACHE_UC
    call mmio_map
    jc .Lmap_leave
    mov qword ptr [rip + session_base], rax
    mov qword ptr [rip + session_bytes], r12
    lea rbx, [rax + MAILBOX_CONTROL_AT]
    mov edi, MAILBOX_QUEUES * MAILBOX_DEPTH * OUTCOME_SIZE
    xor esi, esi
    call heap_alloc_zeroed
    jc .Lmap_leave
    mov rdi, rax
    call session_lay_out
    mov qword ptr [rip + session_control], rbx
    xor eax, eax
.Lmap_leave:
    pop r12
    pop rbx
    return_frame
.Lmap_unsupported:
    mov eax, ERROR_UNSUPPORTED
    stc
    jmp .Lmap_leave
end_function session_map

# session_lay_out -- where each queue's parts lie
# In:       rdi = outcomes:ptr (MAILBOX_QUEUES times MAILBOX_DEPTH of them)
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, session_base set
local_function session_lay_out
    mov rdx, qword ptr [rip + session_base]
    lea rax, [rip + session_queues]
    xor ecx, ecx
.Llay_next:
    mov qword ptr [rax + SESSION_OUTCOMES], rdi
    push rdi
    mov edi, ecx
    shl edi, 8                                  # MAILBOX_QUEUE_STRIDE
    lea rdi, [rdx + rdi + MAILBOX_QUEUE_AT]
    mov qword ptr [rax + SESSION_BLOCK], rdi
    mov edi, ecx
    shl edi, 14                                 # MAILBOX_RING_STRIDE
    lea rdi, [rdx + rdi + MAILBOX_RING_AT]
    mov qword ptr [rax + SESSION_RING], rdi
    mov edi, ecx
    shl edi, 12                                 # MAILBOX_ANSWER_STRIDE
    lea rdi, [rdx + rdi + MAILBOX_ANSWER_AT]
    mov qword ptr [rax + SESSION_ANSWERS], rdi
    pop rdi
    add rdi, MAILBOX_DEPTH * OUTCOME_SIZE
    add rax, SESSION_ROW_SIZE
    inc ecx
    cmp ecx, MAILBOX_QUEUES
    jb .Llay_next
    ret
end_function session_lay_out
.if MAILBOX_QUEUE_STRIDE - (1 << 8)
    .error "session_lay_out shifts by the stride of the queue blocks"
.endif
.if MAILBOX_RING_STRIDE - (1 << 14)
    .error "session_lay_out shifts by the stride of the rings"
.endif
.if MAILBOX_ANSWER_STRIDE - (1 << 12)
    .error "session_lay_out shifts by the stride of the completion rings"
.endif

# session_ring -- ring the service's doorbell
# In:       rdi = queue:ptr (of session_queues; its number chooses the vector)
# Out:      none
# Clobbers: rcx, r8
# Context:  long mode, device mapped
function session_ring
    lea rcx, [rip + session_queues]
    mov r8, rdi
    sub r8, rcx
    shr r8, SESSION_ROW_SHIFT
    and r8d, MAILBOX_VECTORS - 1
    mov rcx, qword ptr [rip + session_registers]
    mov dword ptr [rcx + MAILBOX_IVSHMEM_DOORBELL], r8d
    clc
    ret
end_function session_ring
.if MAILBOX_SERVICE_PEER
    .error "session_ring rings peer 0"
.endif
