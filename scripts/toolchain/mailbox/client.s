# Purpose:  a client of the mailbox in machine code, for the benches: what a kernel's polling client does.
# Mode:     64-bit, System V ABI, called from Python (toolchain.mailbox.native); position-independent, no stack but saves.
# Spec:     shaders/MAILBOX.md, sections 4 and 5
# Exports:  mailbox_ping mailbox_burst mailbox_ticks
# Invariants: one queue (0), a negotiated session with CHECKSUM, commands of one form: a header and an eight-byte value.
.intel_syntax noprefix
.include "mailbox.inc"
.include "native.inc"

.set BURST_MASK, 7 * 8                          # mailbox_burst's last argument, behind what it saves and its return address

.section .text, "ax"

# mailbox_ping -- a client's round trips on queue 0, one at a time: what a kernel's polling client does
# In:       rdi = base:ptr, rsi = index:u64 (of the first submission and completion), rdx = count:u64, rcx = times:ptr
#           (one u64 of TSC ticks each), r8 = header:u32, r9 = patience:u64 (looks at one completion)
# Out:      rax = done:u64; fewer than count when the service sleeps, or did not answer
# Clobbers: rcx, rdx, rsi, r8, r10, r11
# Context:  user mode, a negotiated session with CHECKSUM, nothing open on queue 0
.global mailbox_ping
.type mailbox_ping, @function
mailbox_ping:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov r12, rdi
    mov r13, rsi
    mov r14, rdx
    mov r15, rcx
    xor ebp, ebp
.Lping_next:
    cmp rbp, r14
    jae .Lping_return
    cmp dword ptr [r12 + MAILBOX_CONTROL_AT + MAILBOX_CONTROL_NEED_WAKEUP], 0
    jne .Lping_return
    mov edi, r13d
    and edi, NATIVE_INDEX_MASK
    mov esi, edi
    shl edi, NATIVE_SLOT_SHIFT
    lea rdi, [r12 + rdi + MAILBOX_RING_AT]
    shl esi, NATIVE_COMPLETION_SHIFT
    lea rsi, [r12 + rsi + MAILBOX_ANSWER_AT]
    lfence
    rdtsc
    shl rdx, 32
    lea rbx, [rax + rdx]
    mov eax, r8d                                # the checksum: sequence and value are equal and cancel out
    xor eax, MAILBOX_CHECKSUM_SEED
    mov [rdi + MAILBOX_SLOT_SEQUENCE], r13d
    mov [rdi + MAILBOX_SLOT_CHECKSUM], eax
    mov dword ptr [rdi + MAILBOX_SLOT_RESERVED], 0
    mov eax, r13d
    mov [rdi + MAILBOX_PING_VALUE], rax
    xor eax, eax
    mov [rdi + MAILBOX_PING_VALUE + 8], rax
    mov [rdi + MAILBOX_PING_VALUE + 16], rax
    mov [rdi + MAILBOX_PING_VALUE + 24], rax
    mov [rdi + MAILBOX_PING_VALUE + 32], rax
    mov [rdi + MAILBOX_PING_VALUE + 40], rax
    mov [rdi], r8d
    lea r10, [r13 + 1]
    mov [r12 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_SUBMITTED], r10
    bt r13d, MAILBOX_DEPTH_SHIFT
    setnc r11b                                  # the phase that the answer will have
    mov r10, r9
.Lping_look:
    mov eax, [rsi + MAILBOX_COMPLETION_STATUS]
    mov ecx, eax
    and ecx, MAILBOX_COMPLETION_PHASE
    cmp cl, r11b
    je .Lping_came
    pause
    dec r10
    jnz .Lping_look
    jmp .Lping_return
.Lping_came:
    test eax, MAILBOX_COMPLETION_ERROR
    jnz .Lping_return
    mov rcx, [rsi + MAILBOX_COMPLETION_RESULT]
    mov edx, r13d
    cmp rcx, rdx
    jne .Lping_return
    inc r13
    mov [r12 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_CONSUMED], r13
    rdtscp
    shl rdx, 32
    or rax, rdx
    sub rax, rbx
    mov [r15 + rbp * 8], rax
    inc rbp
    jmp .Lping_next
.Lping_return:
    mov rax, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size mailbox_ping, . - mailbox_ping

# mailbox_burst -- a client that keeps queue 0 full of one command and takes what is answered
# In:       rdi = base:ptr, rsi = state:ptr (submitted:u64, consumed:u64), rdx = end:u64 (index behind the last command),
#           ecx = header:u32, r8 = patience:u64 (turns without an answer), r9 = flight:u64[1..256] (open at once),
#           [rsp + 8] = mask:u32 (the value of a command, and its right result, is its index under this)
# Out:      rax = consumed:u64; below end when the service sleeps or has not answered for so long, all ones when a command
#           was answered with an error or another result; the state is up to date, so that it can be called again
# Clobbers: rcx, rdx, rsi, rdi, r8, r10, r11
# Context:  as mailbox_ping
.global mailbox_burst
.type mailbox_burst, @function
mailbox_burst:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov r12, rdi
    mov r13, [rsi]                              # submitted
    mov rbp, [rsi + 8]                          # consumed
    mov r14, rdx
    mov r15, r8
    mov rbx, rsi
    xor r8d, r8d                                # turns without an answer
    mov r11d, ecx
    mov r10d, [rsp + BURST_MASK]
.Lburst_turn:
    cmp rbp, r14
    jae .Lburst_return
    cmp r13, r14
    jae .Lburst_take
    mov rax, r13
    sub rax, rbp
    cmp rax, r9
    jae .Lburst_take
    mov edi, r13d
    and edi, NATIVE_INDEX_MASK
    shl edi, NATIVE_SLOT_SHIFT
    lea rdi, [r12 + rdi + MAILBOX_RING_AT]
    cmp dword ptr [rdi], MAILBOX_INVALID
    jne .Lburst_take
    mov eax, r13d
    mov edx, r13d
    and eax, r10d
    xor edx, eax
    xor edx, r11d
    xor edx, MAILBOX_CHECKSUM_SEED
    mov [rdi + MAILBOX_SLOT_SEQUENCE], r13d
    mov [rdi + MAILBOX_SLOT_CHECKSUM], edx
    mov dword ptr [rdi + MAILBOX_SLOT_RESERVED], 0
    mov [rdi + MAILBOX_PING_VALUE], rax
    xor eax, eax
    mov [rdi + MAILBOX_PING_VALUE + 8], rax
    mov [rdi + MAILBOX_PING_VALUE + 16], rax
    mov [rdi + MAILBOX_PING_VALUE + 24], rax
    mov [rdi + MAILBOX_PING_VALUE + 32], rax
    mov [rdi + MAILBOX_PING_VALUE + 40], rax
    mov [rdi], r11d
    inc r13
    mov [r12 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_SUBMITTED], r13
    jmp .Lburst_turn
.Lburst_take:
    mov esi, ebp
    and esi, NATIVE_INDEX_MASK
    shl esi, NATIVE_COMPLETION_SHIFT
    lea rsi, [r12 + rsi + MAILBOX_ANSWER_AT]
    bt ebp, MAILBOX_DEPTH_SHIFT
    setnc cl
    mov eax, [rsi + MAILBOX_COMPLETION_STATUS]
    mov edx, eax
    and edx, MAILBOX_COMPLETION_PHASE
    cmp dl, cl
    jne .Lburst_none
    test eax, MAILBOX_COMPLETION_ERROR
    jnz .Lburst_wrong
    mov edx, [rsi + MAILBOX_COMPLETION_SEQUENCE]
    and edx, r10d
    cmp [rsi + MAILBOX_COMPLETION_RESULT], rdx
    jne .Lburst_wrong
    inc rbp
    mov [r12 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_CONSUMED], rbp
    xor r8d, r8d
    jmp .Lburst_turn
.Lburst_none:
    mfence
    cmp dword ptr [r12 + MAILBOX_CONTROL_AT + MAILBOX_CONTROL_NEED_WAKEUP], 0
    jne .Lburst_return
    pause
    inc r8
    cmp r8, r15
    jb .Lburst_turn
    jmp .Lburst_return
.Lburst_wrong:
    or rax, -1
    jmp .Lburst_leave
.Lburst_return:
    mov rax, rbp
.Lburst_leave:
    mov [rbx], r13
    mov [rbx + 8], rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size mailbox_burst, . - mailbox_burst

# mailbox_ticks -- the time-stamp counter
# In:       none
# Out:      rax = ticks:u64
# Clobbers: rdx
# Context:  user mode
.global mailbox_ticks
.type mailbox_ticks, @function
mailbox_ticks:
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret
.size mailbox_ticks, . - mailbox_ticks
