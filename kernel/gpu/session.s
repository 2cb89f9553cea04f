# Purpose:  the session with the GPU service: features negotiated, its heart watched, again after the service died.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, sections 2, 3 and 7
# Exports:  session_negotiate, session_lost; session_* (state)
# Invariants: every wait has a bound in nanoseconds. What the service writes is checked before it is used, and none of it
#           is an address: the layout is this kernel's own (session_device.s).
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "session.inc"

.set LIVENESS_NS, MAILBOX_LIVENESS_MS * 1000000
.set DRIVER, MAILBOX_CLIENT_ACKNOWLEDGE | MAILBOX_CLIENT_DRIVER | MAILBOX_CLIENT_FEATURES_OK
.set REPLIED, MAILBOX_SERVICE_FEATURES_OK | MAILBOX_SERVICE_FAILED
.set VERSION_SHIFT, 16

.section .bss, "aw", @nobits
    .balign 8
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

.section .text, "ax"

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
