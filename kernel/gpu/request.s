# Purpose:  what the rest of the kernel asks the GPU service for: one command, its outcome, within a bound.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, sections 5 to 7
# Exports:  gpu_request, gpu_queue
# Invariants: whoever asks gets an answer or an error within the bound, also when the service dies under it: then the
#           session is opened again, and the request's outcome is ABORTED (whether it ran is not known).
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "percpu.inc"
.include "session.inc"

.set REOPEN_NS, 500000000                       # how long a request waits for a new service
.set LOOKS, 100                                 # at an outcome, before whoever waits sleeps until the message

.section .bss, "aw", @nobits
    .balign 8
request_lock:   .skip 8                         # one request at a time reopens the session

.section .text, "ax"

# gpu_queue -- the queue of the CPU that runs
# In:       none
# Out:      rdi = queue:ptr (SESSION_*)
# Clobbers: rax
# Context:  long mode, GS base set
function gpu_queue
    mov edi, dword ptr gs:[PERCPU_ID]
    mov rax, qword ptr [rip + session_control]
    cmp edi, dword ptr [rax + MAILBOX_CONTROL_QUEUES]
    jb .Lqueue_own
    xor edi, edi                                # a service with fewer queues: the first is shared
.Lqueue_own:
    and edi, MAILBOX_QUEUES - 1
    shl edi, SESSION_ROW_SHIFT
    lea rax, [rip + session_queues]
    add rdi, rax
    ret
end_function gpu_queue

# gpu_request -- ask the service for one thing, and wait for its answer
# In:       rdi = body:ptr (48 bytes), esi = header:u32, rdx = patience:u64 (nanoseconds)
# Out:      rax = result:u64 or error code, edx = status:u32 (of the completion; 0 without one), cf = refused:
#           ERROR_NOT_FOUND (no device), ERROR_TIMEOUT, ERROR_FULL, ERROR_UNSUPPORTED (no service, or it is another),
#           ERROR_INVALID (the service answered with an error: edx)
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; one caller at a time on each CPU
function gpu_request
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov rbx, rdi
    mov r12d, esi
    mov r14, rdx
    cmp qword ptr [rip + session_control], 0
    je .Lrequest_none
    cmp dword ptr [rip + session_state], SESSION_OPEN
    je .Lrequest_post
    call request_reopen
    jc .Lrequest_error
.Lrequest_post:
    call clock_ns
    add r14, rax                                # the deadline
    call gpu_queue
    mov r15, rdi
    lea rdi, [r15 + SESSION_LOCK]
    call lock_acquire
    mov rdi, r15
    mov rsi, rbx
    mov edx, r12d
    call queue_post
    mov r13, rax
    setc r12b
    lea rdi, [r15 + SESSION_LOCK]
    call lock_release
    test r12b, r12b
    jnz .Lrequest_error
    xor r12d, r12d                              # looks in vain
.Lrequest_wait:
    call request_look
    jnc .Lrequest_answered
    call session_lost
    jnc .Lrequest_alive
    call request_reopen                         # aborts the command: the next look finds its outcome
    call request_look
    jnc .Lrequest_answered
.Lrequest_alive:
    inc r12d
    cmp r12d, LOOKS
    jb .Lrequest_poll
    mov rdi, r15
    call messages_rest
.Lrequest_poll:
    pause
    call clock_ns
    cmp rax, r14
    jb .Lrequest_wait
    lea rdi, [r15 + SESSION_LOCK]
    call lock_acquire
    mov rdi, r15
    mov rsi, r13
    call queue_leave
    lea rdi, [r15 + SESSION_LOCK]
    call lock_release
    mov eax, ERROR_TIMEOUT
    jmp .Lrequest_error
.Lrequest_answered:
    test edx, edx
    jz .Lrequest_leave                          # cf is clear
    mov eax, ERROR_INVALID
    stc
    jmp .Lrequest_leave
.Lrequest_none:
    mov eax, ERROR_NOT_FOUND
.Lrequest_error:
    xor edx, edx
    stc
.Lrequest_leave:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function gpu_request

# request_look -- take what stands; the outcome of the request, if there is one
# In:       r13 = index:u64, r15 = queue:ptr
# Out:      rax = result:u64, edx = status:u32, cf = not yet
# Clobbers: rcx, rsi, rdi, r8, r9
# Context:  from gpu_request
local_function request_look
    call_frame
    lea rdi, [r15 + SESSION_LOCK]
    call lock_acquire
    mov rdi, r15
    mov esi, MAILBOX_DEPTH                      # no more can stand, unless the service writes faster than we read
.Llook_take:
    call queue_take
    jc .Llook_fetch
    dec esi
    jnz .Llook_take
.Llook_fetch:
    mov rsi, r13
    call queue_fetch
    sbb ecx, ecx                                # cf, while the lock is given back
    lea rdi, [r15 + SESSION_LOCK]
    call lock_release
    add ecx, ecx
    return_frame
end_function request_look

# request_reopen -- open the session again, unless another CPU has
# In:       none
# Out:      rax = error:u64, cf = there is no service to talk to
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, device mapped, no queue's lock held
local_function request_reopen
    call_frame
    push rbx
    push r12
    mov r12d, dword ptr [rip + session_epoch]
    lea rdi, [rip + request_lock]
    call lock_acquire
    cmp r12d, dword ptr [rip + session_epoch]
    jne .Lreopen_look                           # somebody was here before
.Lreopen_negotiate:
    lea rbx, [rip + session_queues]
    mov r12d, MAILBOX_QUEUES
.Lreopen_lock:
    lea rdi, [rbx + SESSION_LOCK]
    call lock_acquire
    add rbx, SESSION_ROW_SIZE
    dec r12d
    jnz .Lreopen_lock
    mov rdi, REOPEN_NS
    call session_negotiate
    push rax
    setc al
    push rax
    mov r12d, MAILBOX_QUEUES
.Lreopen_unlock:
    sub rbx, SESSION_ROW_SIZE
    lea rdi, [rbx + SESSION_LOCK]
    call lock_release
    dec r12d
    jnz .Lreopen_unlock
    pop rbx
    pop rax
    jmp .Lreopen_leave
.Lreopen_look:
    xor ebx, ebx
    cmp dword ptr [rip + session_state], SESSION_OPEN
    jne .Lreopen_negotiate
.Lreopen_leave:
    lea rdi, [rip + request_lock]
    call lock_release
    cmp bl, 1
    cmc                                         # cf when it failed
    pop r12
    pop rbx
    return_frame
end_function request_reopen
