# Purpose:  the session with the GPU service: the device found, features negotiated, again after the service died.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, sections 1 to 3 and 7; QEMU docs/specs/ivshmem-spec.rst
# Exports:  session_init, session_negotiate, session_lost, session_ring; session_* (state)
# Invariants: every wait has a bound in nanoseconds. What the service writes is checked before it is used, and none of it
#           is an address: the layout is this kernel's own.
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
.set LIVENESS_NS, MAILBOX_LIVENESS_MS * 1000000
.set DRIVER, MAILBOX_CLIENT_ACKNOWLEDGE | MAILBOX_CLIENT_DRIVER | MAILBOX_CLIENT_FEATURES_OK
.set REPLIED, MAILBOX_SERVICE_FEATURES_OK | MAILBOX_SERVICE_FAILED
.set VERSION_SHIFT, 16

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
object session_features                         # that were taken
    .skip 8
end_object session_features
object session_strays                           # completions that belonged to no open command
    .skip 8
end_object session_strays
object session_aborted                          # commands that were given up
    .skip 8
end_object session_aborted
object session_count                            # negotiations that succeeded
    .skip 8
end_object session_count
session_beat:   .skip 8                         # the heartbeat as it was last seen, and when it had changed
session_beat_at: .skip 8
object session_epoch                            # u32
    .skip 4
end_object session_epoch
object session_state                            # u32: SESSION_NONE, …
    .skip 4
end_object session_state

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

# session_ask -- set the client's status, and ring
# In:       eax = status:u32
# Out:      none
# Clobbers: rcx, rdi, r8
# Context:  long mode, device mapped
local_function session_ask
    call_frame
    mov rcx, qword ptr [rip + session_control]
    mov dword ptr [rcx + MAILBOX_CONTROL_CLIENT_STATUS], eax
    mfence
    lea rdi, [rip + session_queues]
    call session_ring
    return_frame
end_function session_ask

# session_wait -- wait until bits of the service's status are as they should be
# In:       edi = mask:u32, esi = value:u32, rdx = deadline:u64 (clock_ns); a value of -1 stands for any but 0, and
#           the wait ends when another epoch begins
# Out:      cf = the deadline passed
# Clobbers: rax, rcx
# Context:  long mode, device mapped
local_function session_wait
    call_frame
    push rbx
    push rbx
    mov rbx, qword ptr [rip + session_control]
.Lwait_look:
    mov eax, dword ptr [rbx + MAILBOX_CONTROL_SERVICE_STATUS]
    and eax, edi
    cmp eax, esi
    je .Lwait_done
    cmp esi, -1
    jne .Lwait_time
    test eax, eax
    jnz .Lwait_done
    mov eax, dword ptr [rbx + MAILBOX_CONTROL_EPOCH]
    cmp eax, dword ptr [rip + session_epoch]
    jne .Lwait_done
.Lwait_time:
    pause
    push rdx
    push rdx
    call clock_ns
    pop rdx
    pop rdx
    cmp rax, rdx
    jb .Lwait_look
    stc
    jmp .Lwait_leave
.Lwait_done:
    clc
.Lwait_leave:
    pop rbx
    pop rbx
    return_frame
end_function session_wait

# session_check_page -- whether the control page is one that this kernel can work with
# In:       none
# Out:      rax = error:u64, cf = not: ERROR_MALFORMED, ERROR_UNSUPPORTED (version, features)
# Clobbers: rcx, rdx
# Context:  long mode, device mapped, service ready
local_function session_check_page
    mov rcx, qword ptr [rip + session_control]
    cmp dword ptr [rcx + MAILBOX_CONTROL_MAGIC], MAILBOX_MAGIC
    jne .Lpage_malformed
    mov eax, dword ptr [rcx + MAILBOX_CONTROL_VERSION]
    shr eax, VERSION_SHIFT
    cmp eax, MAILBOX_VERSION_MAJOR
    jne .Lpage_unsupported
    mov rax, qword ptr [rcx + MAILBOX_CONTROL_BYTES]
    cmp rax, qword ptr [rip + session_bytes]
    jne .Lpage_malformed
    cmp dword ptr [rcx + MAILBOX_CONTROL_DEPTH], MAILBOX_DEPTH
    jne .Lpage_malformed
    cmp dword ptr [rcx + MAILBOX_CONTROL_DATA_AT], MAILBOX_DATA_AT
    jne .Lpage_malformed
    mov eax, dword ptr [rcx + MAILBOX_CONTROL_QUEUES]
    dec eax
    cmp eax, MAILBOX_QUEUES
    jae .Lpage_malformed
    test byte ptr [rcx + MAILBOX_CONTROL_FEATURES], MAILBOX_FEATURE_VERSION_1
    jz .Lpage_unsupported
    xor eax, eax
    ret
.Lpage_malformed:
    mov eax, ERROR_MALFORMED
    stc
    ret
.Lpage_unsupported:
    mov eax, ERROR_UNSUPPORTED
    stc
    ret
end_function session_check_page

# session_negotiate -- open a session with the service that stands there; what was open with an older one is given up
# In:       rdi = patience:u64 (nanoseconds)
# Out:      rax = error:u64, cf = refused: ERROR_TIMEOUT, ERROR_MALFORMED, ERROR_UNSUPPORTED
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, device mapped, no queue in use by another
function session_negotiate
    call_frame
    push rbx
    push r12
    mov dword ptr [rip + session_state], SESSION_LOST
    mov r12, rdi
    call clock_ns
    add r12, rax                                # the deadline
    mov rbx, qword ptr [rip + session_control]
.Lnegotiate_again:
    mov edi, MAILBOX_SERVICE_READY
    mov esi, edi
    mov rdx, r12
    call session_wait
    jc .Lnegotiate_timeout
    call session_check_page
    jc .Lnegotiate_leave
    call session_leave
    xor eax, eax
    call session_ask
    mov edi, REPLIED
    xor esi, esi
    mov rdx, r12
    call session_wait
    jc .Lnegotiate_timeout
    call session_offer
    mov edi, REPLIED
    mov esi, -1
    mov rdx, r12
    call session_wait
    jc .Lnegotiate_timeout
    mov eax, dword ptr [rbx + MAILBOX_CONTROL_EPOCH]
    cmp eax, dword ptr [rip + session_epoch]
    jne .Lnegotiate_more                        # another service began meanwhile
    test dword ptr [rbx + MAILBOX_CONTROL_SERVICE_STATUS], MAILBOX_SERVICE_FAILED
    jnz .Lnegotiate_refused
    mov eax, DRIVER | MAILBOX_CLIENT_DRIVER_OK
    call session_ask
    call clock_ns
    mov qword ptr [rip + session_beat_at], rax
    mov qword ptr [rip + session_beat], -1
    inc qword ptr [rip + session_count]
    mov dword ptr [rip + session_state], SESSION_OPEN
    xor eax, eax
.Lnegotiate_leave:
    pop r12
    pop rbx
    return_frame
.Lnegotiate_more:
    call clock_ns
    cmp rax, r12
    jb .Lnegotiate_again
.Lnegotiate_timeout:
    mov eax, ERROR_TIMEOUT
    stc
    jmp .Lnegotiate_leave
.Lnegotiate_refused:
    mov eax, ERROR_UNSUPPORTED
    stc
    jmp .Lnegotiate_leave
end_function session_negotiate

# session_leave -- give up what is open in every queue
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, device mapped, no queue in use by another
local_function session_leave
    call_frame
    push rbx
    push rbx
    lea rdi, [rip + session_queues]
    mov ebx, MAILBOX_QUEUES
.Lleave_next:
    call queue_abort
    add qword ptr [rip + session_aborted], rax
    call queue_clear
    add rdi, SESSION_ROW_SIZE
    dec ebx
    jnz .Lleave_next
    pop rbx
    pop rbx
    return_frame
end_function session_leave

# session_offer -- take what the service offers, as far as this kernel knows it, in the epoch that stands
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi, r8
# Context:  long mode, device mapped
local_function session_offer
    call_frame
    mov rcx, qword ptr [rip + session_control]
    mov eax, dword ptr [rcx + MAILBOX_CONTROL_EPOCH]
    mov dword ptr [rip + session_epoch], eax
    mov dword ptr [rcx + MAILBOX_CONTROL_CLIENT_EPOCH], eax
    mov rax, qword ptr [rcx + MAILBOX_CONTROL_FEATURES]
    and eax, SESSION_FEATURES
    mov qword ptr [rip + session_features], rax
    mov qword ptr [rcx + MAILBOX_CONTROL_CLIENT_FEATURES], rax
    mov eax, DRIVER
    call session_ask
    return_frame
end_function session_offer

# session_lost -- whether the session is over: another epoch, a device that was lost, a heartbeat that stands
# In:       none
# Out:      cf = it is over
# Clobbers: rax, rcx, rdx
# Context:  long mode, device mapped
function session_lost
    call_frame
    mov rcx, qword ptr [rip + session_control]
    mov eax, dword ptr [rcx + MAILBOX_CONTROL_EPOCH]
    cmp eax, dword ptr [rip + session_epoch]
    jne .Llost_over
    test dword ptr [rcx + MAILBOX_CONTROL_SERVICE_STATUS], MAILBOX_SERVICE_NEEDS_RESET
    jnz .Llost_over
    mov rdx, qword ptr [rcx + MAILBOX_CONTROL_HEARTBEAT]
    push rdx
    push rdx
    call clock_ns
    pop rdx
    pop rdx
    cmp rdx, qword ptr [rip + session_beat]
    jne .Llost_beats
    sub rax, qword ptr [rip + session_beat_at]
    cmp rax, LIVENESS_NS
    cmc
    return_frame
.Llost_beats:
    mov qword ptr [rip + session_beat], rdx
    mov qword ptr [rip + session_beat_at], rax
    clc
    return_frame
.Llost_over:
    stc
    return_frame
end_function session_lost
