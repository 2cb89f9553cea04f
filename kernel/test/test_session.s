# Purpose:  tests of the session with the GPU service, where there is one: every CPU asks at once, each through its own queue.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 2 ("CPU n posts to queue n modulo this")
# Exports:  rows of section .ktap
# Invariants: every wait has a bound.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "percpu.inc"
.include "cpu.inc"
.include "session.inc"

.set REQUESTS, 50                               # of each CPU
.set REQUEST_HEADER, MAILBOX_OP_PING << MAILBOX_OPCODE_SHIFT
.set REQUEST_NS, 20000000000                    # patience: a host with other things to do runs the service late
.set MEET_NS, 30000000000                       # that all CPUs have come, or are done
.set ROUNDS, 10                                 # a host that is very busy may lose the session in one
.set BODY_SIZE, 48
.set VALUE_SHIFT, 32                            # a value is the CPU's number and the request's

ktap_text text_session_none, "no GPU service"
ktap_text text_session_send, "send"
ktap_text text_session_done, "CPUs that are done"
ktap_text text_session_wrong, "requests without their own answer"
ktap_text text_session_queue, "commands of a CPU's own queue"
ktap_text text_session_refused, "requests that were given up"
ktap_text text_session_again, "rounds in which the session was lost"

.section .bss, "aw", @nobits
    .balign 8
request_before: .skip MAILBOX_QUEUES * 8        # commands of each queue before
request_ready:  .skip 4                         # CPUs that are about to ask
request_done:   .skip 4                         # CPUs that have
request_wrong:  .skip 8                         # requests that were answered with another one's value
request_refused: .skip 8                        # requests that were given up

.section .text, "ax"

# request_meet -- wait until a count has come to the number of CPUs, or for MEET_NS
# In:       rdi = count:ptr
# Out:      none
# Clobbers: rax, rdx, r8
# Context:  long mode, any CPU
local_function request_meet
    call_frame
    call clock_ns
    movabs r8, MEET_NS
    add r8, rax
.Lmeet_look:
    mov eax, dword ptr [rdi]
    cmp eax, dword ptr [rip + cpu_online]
    jae .Lmeet_leave
    pause
    call clock_ns
    cmp rax, r8
    jb .Lmeet_look
.Lmeet_leave:
    return_frame
end_function request_meet

# request_together -- when all CPUs are here: ask the service, each for values of its own
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off; on all CPUs at once, on the further ones as a handler
local_function request_together
    call_frame
    push rbx
    push r12
    sub rsp, BODY_SIZE
    lock inc dword ptr [rip + request_ready]
    lea rdi, [rip + request_ready]
    call request_meet
    mov rdi, rsp
    mov ecx, BODY_SIZE / 8
    xor eax, eax
    rep stosq
    mov r12d, dword ptr gs:[PERCPU_ID]
    shl r12, VALUE_SHIFT
    mov ebx, REQUESTS
.Ltogether_next:
    inc r12
    mov qword ptr [rsp], r12
    mov rdi, rsp
    mov esi, REQUEST_HEADER
    movabs rdx, REQUEST_NS
    call gpu_request
    jc .Ltogether_refused
    cmp rax, r12
    je .Ltogether_right
    lock inc qword ptr [rip + request_wrong]
    jmp .Ltogether_right
.Ltogether_refused:
    lock inc qword ptr [rip + request_refused]
.Ltogether_right:
    dec ebx
    jnz .Ltogether_next
    lock inc dword ptr [rip + request_done]
    add rsp, BODY_SIZE
    pop r12
    pop rbx
    return_frame
end_function request_together

# request_queues -- how many commands each queue has posted, or how many more than that
# In:       none
# Out:      none; request_before is how many more each has now than it said
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode; no queue in use
local_function request_queues
    lea rsi, [rip + session_queues + SESSION_SUBMITTED]
    lea rdx, [rip + request_before]
    mov ecx, MAILBOX_QUEUES
.Lqueues_next:
    mov rax, qword ptr [rsi]
    sub rax, qword ptr [rdx]
    mov qword ptr [rdx], rax
    add rsi, SESSION_ROW_SIZE
    add rdx, 8
    dec ecx
    jnz .Lqueues_next
    ret
end_function request_queues

# request_round -- all CPUs ask at once
# In:       none
# Out:      cf = the session was lost and opened again meanwhile; request_before is how many commands each queue posted
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; in test_requests
local_function request_round
    call_frame
    push rbx
    push r12
    mov r12, qword ptr [rip + session_count]
    lea rdi, [rip + request_before]
    mov ecx, MAILBOX_QUEUES + 3                 # and what stands behind it
    xor eax, eax
    rep stosq
    call request_queues
    lea rdi, [rip + request_together]
    xor esi, esi
    call interrupt_allocate
    mov ebx, eax
    cmp dword ptr [rip + cpu_online], 1
    jbe .Lround_alone
    mov esi, eax
    call ipi_send_others
    check_done text_session_send
.Lround_alone:
    call request_together
    lea rdi, [rip + request_done]
    call request_meet
    mov edi, ebx
    call interrupt_remove
    call request_queues
    cmp r12, qword ptr [rip + session_count]
    setne al
    neg al                                      # cf
    pop r12
    pop rbx
    return_frame
end_function request_round

# test_requests -- all CPUs ask at once: each has its own answers, through its own queue
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, interrupts off; a test
local_function test_requests
    call_frame
    push rbx
    push r12
    cmp dword ptr [rip + session_state], SESSION_OPEN
    jne .Lrequests_none
    xor ebx, ebx
.Lrequests_round:
    call request_round
    setc r12b
    mov eax, dword ptr [rip + request_done]
    mov ecx, dword ptr [rip + cpu_online]
    check text_session_done, rax, rcx
    check text_session_wrong, [rip + request_wrong], 0
    test r12b, r12b
    jz .Lrequests_kept
    inc ebx
    cmp ebx, ROUNDS
    jb .Lrequests_round
    check text_session_again, rbx, 0
.Lrequests_kept:
    check text_session_refused, [rip + request_refused], 0
    xor ebx, ebx
    lea r12, [rip + cpu_rows]
.Lrequests_queue:
    cmp dword ptr [r12 + CPU_STATE], CPU_STATE_ONLINE
    jne .Lrequests_next
    lea rcx, [rip + request_before]
    mov rax, qword ptr [rcx + rbx * 8]
    check text_session_queue, rax, REQUESTS
.Lrequests_next:
    add r12, CPU_ROW_SIZE
    inc ebx
    cmp ebx, MAILBOX_QUEUES                     # further CPUs share these queues
    jae .Lrequests_done
    cmp ebx, dword ptr [rip + cpu_count]
    jb .Lrequests_queue
.Lrequests_done:
    mov eax, KTAP_DONE
.Lrequests_leave:
    pop r12
    pop rbx
    return_frame
.Lrequests_none:
    lea rdi, [rip + text_session_none]
    call ktap_skip
    jmp .Lrequests_leave
end_function test_requests
ktap_test test_requests, "session_serves_a_queue_of_each_cpu"
