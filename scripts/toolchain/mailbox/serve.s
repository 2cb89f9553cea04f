# Purpose:  the hot path of the mailbox on the host: look at the rings, copy and judge slots, answer PING, post answers.
# Mode:     64-bit, System V ABI, called from Python (toolchain.mailbox.native); position-independent, no stack but saves.
# Spec:     shaders/MAILBOX.md, sections 4 and 5
# Exports:  mailbox_fetch mailbox_post
# Invariants: nothing read from shared memory is an address; each shared field is read once, the private copy is judged.
#           toolchain.mailbox.rings does the same in Python; a test holds the two equal.
.intel_syntax noprefix
.include "mailbox.inc"
.include "native.inc"

.set KIND_MASK, 0xff00ffff                      # of a header: opcode and flags
.set PING, MAILBOX_OP_PING << MAILBOX_OPCODE_SHIFT
.set HEAD_SHIFT, 16                             # FETCHED in a completion's STATUS

.section .text, "ax"

# mailbox_fetch -- look at every ring until something is there, at most NATIVE_ROUNDS times
# In:       rdi = context:ptr
# Out:      rax = rows:u64 (rows of the batch)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11, xmm0, xmm1, xmm2, xmm3, xmm4
# Context:  user mode; NATIVE_ATTENTION gets the queues that Python must look at, NATIVE_WANTED those to notify
.global mailbox_fetch
.type mailbox_fetch, @function
mailbox_fetch:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rbx, rdi
    mov r12, [rbx + NATIVE_BASE]
    mov r13, [rbx + NATIVE_BATCH]
    mov r15, [rbx + NATIVE_ROUNDS]
    xor r14d, r14d
    xor r11d, r11d                              # a BARRIER or a HALT is in the batch: PING waits its turn
    mov qword ptr [rbx + NATIVE_ATTENTION], 0
    mov qword ptr [rbx + NATIVE_WANTED], 0
    mov qword ptr [rbx + NATIVE_BEFORE], 0
.Lfetch_round:
    xor ebp, ebp
.Lfetch_queue:
    mov rcx, [rbx + NATIVE_BROKEN]
    bt rcx, rbp
    jc .Lfetch_next
    mov r9, [rbx + NATIVE_FETCHED + rbp * 8]
    mov r10, [rbx + NATIVE_COMPLETED + rbp * 8]
.Lfetch_slot:
    mov rax, [rbx + NATIVE_FETCHED + rbp * 8]
    mov rsi, rbp
    shl rsi, NATIVE_RING_SHIFT
    mov ecx, eax
    and ecx, NATIVE_INDEX_MASK
    shl ecx, NATIVE_SLOT_SHIFT
    add rsi, rcx
    lea rsi, [r12 + rsi + MAILBOX_RING_AT]
    mov edx, [rsi]
    test edx, edx
    jz .Lfetch_done
    mov rcx, rax
    sub rcx, [rbx + NATIVE_CONSUMED + rbp * 8]
    cmp rcx, MAILBOX_DEPTH
    jae .Lfetch_room
.Lfetch_take:
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + 32]
    movups xmm3, [rsi + 48]
    mov dword ptr [rsi], MAILBOX_INVALID
    movd xmm4, edx
    movss xmm0, xmm4                            # the header as it was read first
    movups [r13], xmm0
    movups [r13 + 16], xmm1
    movups [r13 + 32], xmm2
    movups [r13 + 48], xmm3
    lea rcx, [rax + 1]
    mov [rbx + NATIVE_FETCHED + rbp * 8], rcx

    cmp qword ptr [rbx + NATIVE_CHECKSUM], 0
    je .Lfetch_unsummed
    pxor xmm0, xmm1
    movaps xmm4, xmm2
    pxor xmm4, xmm3
    pxor xmm4, xmm0
    movaps xmm0, xmm4
    psrldq xmm4, 8
    pxor xmm4, xmm0
    movq rcx, xmm4
    mov rdi, rcx
    shr rdi, 32
    xor edi, ecx
    mov ecx, MAILBOX_ERROR_BAD_CHECKSUM
    cmp edi, MAILBOX_CHECKSUM_SEED
    jne .Lfetch_judged
    mov ecx, MAILBOX_ERROR_BAD_SEQUENCE
    cmp [r13 + MAILBOX_SLOT_SEQUENCE], eax
    jne .Lfetch_judged
    jmp .Lfetch_reserved
.Lfetch_unsummed:
    mov ecx, MAILBOX_ERROR_BAD_SEQUENCE
    cmp [r13 + MAILBOX_SLOT_SEQUENCE], eax
    jne .Lfetch_judged
    mov ecx, MAILBOX_ERROR_BAD_FIELD
    cmp dword ptr [r13 + MAILBOX_SLOT_CHECKSUM], 0
    jne .Lfetch_judged
.Lfetch_reserved:
    mov ecx, MAILBOX_ERROR_BAD_FIELD
    cmp dword ptr [r13 + MAILBOX_SLOT_RESERVED], 0
    jne .Lfetch_judged
    xor ecx, ecx
    mov edi, edx
    and edi, KIND_MASK
    cmp edi, PING
    jne .Lfetch_judged
    test r11d, r11d
    jz .Lfetch_ping

.Lfetch_judged:                                 # a row of the batch
    mov [r13 + NATIVE_ROW_INDEX], eax
    mov [r13 + NATIVE_ROW_QUEUE], ebp
    mov [r13 + NATIVE_ROW_ERROR], ecx
    mov ecx, edx
    and ecx, MAILBOX_FLAG_BARRIER
    or r11d, ecx
    shr edx, MAILBOX_OPCODE_SHIFT
    cmp edx, MAILBOX_OP_HALT
    sete cl
    or r11b, cl
    add r13, MAILBOX_SLOT_SIZE
    inc r14
    jmp .Lfetch_slot

.Lfetch_ping:                                   # xmm1 to xmm3: the body; all behind its first eight bytes is 0
    movq r8, xmm1
    movaps xmm4, xmm1
    psrldq xmm4, 8
    por xmm4, xmm2
    por xmm4, xmm3
    movq rdi, xmm4
    psrldq xmm4, 8
    movq rdx, xmm4
    or rdi, rdx
    jz .Lfetch_answer
    mov ecx, MAILBOX_ERROR_BAD_FIELD
    xor r8d, r8d
    inc qword ptr [rbx + NATIVE_FAILED]
.Lfetch_answer:                                 # eax = index, r8 = result, ecx = error
    mov rdx, [rbx + NATIVE_COMPLETED + rbp * 8]
    mov rsi, rbp
    shl rsi, NATIVE_ANSWER_SHIFT
    mov edi, edx
    and edi, NATIVE_INDEX_MASK
    shl edi, NATIVE_COMPLETION_SHIFT
    add rsi, rdi
    lea rsi, [r12 + rsi + MAILBOX_ANSWER_AT]
    mov [rsi + MAILBOX_COMPLETION_RESULT], r8
    mov [rsi + MAILBOX_COMPLETION_SEQUENCE], eax
    inc eax
    shl eax, HEAD_SHIFT
    or ecx, eax
    xor eax, eax
    bt edx, MAILBOX_DEPTH_SHIFT
    setnc al                                    # the phase: 1 on even passes
    or ecx, eax
    mov [rsi + MAILBOX_COMPLETION_STATUS], ecx
    inc rdx
    mov [rbx + NATIVE_COMPLETED + rbp * 8], rdx
    inc qword ptr [rbx + NATIVE_ANSWERED]
    jmp .Lfetch_slot

.Lfetch_room:                                   # rax = index, rsi = slot, edx = header: look at CONSUMED
    mov rdi, rbp
    shl rdi, NATIVE_BLOCK_SHIFT
    mov rcx, [r12 + rdi + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_CONSUMED]
    cmp rcx, [rbx + NATIVE_CONSUMED + rbp * 8]
    jb .Lfetch_attention
    cmp rcx, [rbx + NATIVE_COMPLETED + rbp * 8]
    ja .Lfetch_attention
    mov [rbx + NATIVE_CONSUMED + rbp * 8], rcx
    mov rdi, rax
    sub rdi, rcx
    cmp rdi, MAILBOX_DEPTH
    jb .Lfetch_take
.Lfetch_attention:
    mov rcx, [rbx + NATIVE_ATTENTION]
    bts rcx, rbp
    mov [rbx + NATIVE_ATTENTION], rcx

.Lfetch_done:
    mov rsi, rbp
    shl rsi, NATIVE_BLOCK_SHIFT
    lea rsi, [r12 + rsi + MAILBOX_QUEUE_AT]
    mov rax, [rbx + NATIVE_FETCHED + rbp * 8]
    cmp rax, r9
    je .Lfetch_next
    mov [rsi + MAILBOX_QUEUE_FETCHED], rax
    mov rax, [rbx + NATIVE_COMPLETED + rbp * 8]
    cmp rax, r10
    je .Lfetch_next
    mov [rsi + MAILBOX_QUEUE_COMPLETED], rax
    mfence
    cmp dword ptr [rsi + MAILBOX_QUEUE_WANT_INTERRUPT], 0
    je .Lfetch_next
    mov rcx, [rbx + NATIVE_WANTED]
    bts rcx, rbp
    mov [rbx + NATIVE_WANTED], rcx
.Lfetch_next:
    inc ebp
    cmp ebp, MAILBOX_QUEUES
    jb .Lfetch_queue
    cmp r14, [rbx + NATIVE_BEFORE]              # a client that is posting is given the time of a look: one dispatch
    mov [rbx + NATIVE_BEFORE], r14              # for all of it is worth much more (rows are bounded: so are the looks)
    jne .Lfetch_round
    mov rcx, [rbx + NATIVE_ATTENTION]
    or rcx, [rbx + NATIVE_WANTED]
    or rcx, r14
    jnz .Lfetch_return
    mov eax, [r12 + MAILBOX_CONTROL_AT + MAILBOX_CONTROL_CLIENT_STATUS]
    cmp eax, [rbx + NATIVE_STATUS]
    jne .Lfetch_return
    cmp dword ptr [r12 + MAILBOX_DOORBELL], 0
    jne .Lfetch_return
    pause
    dec r15
    jnz .Lfetch_round
.Lfetch_return:
    mov rax, r14
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size mailbox_fetch, . - mailbox_fetch

# mailbox_post -- complete rows of a batch
# In:       rdi = context:ptr, rsi = rows:ptr, rdx = results:ptr (u64 each), rcx = errors:ptr (u32 each), r8 = count:u64
# Out:      rax = queues:u64 (bit n: the client of queue n wants a message)
# Clobbers: rcx, rdx, rsi, r8, r9, r10, r11
# Context:  user mode; the rows' queues are below MAILBOX_QUEUES, mailbox_fetch wrote them
.global mailbox_post
.type mailbox_post, @function
mailbox_post:
    push rbx
    push rbp
    push r12
    push r13
    mov r12, [rdi + NATIVE_BASE]
    xor r13d, r13d                              # the queues that were touched
    test r8, r8
    jz .Lpost_touched
.Lpost_row:
    mov ebp, [rsi + NATIVE_ROW_QUEUE]
    mov r9, [rdi + NATIVE_COMPLETED + rbp * 8]
    mov r10, rbp
    shl r10, NATIVE_ANSWER_SHIFT
    mov r11d, r9d
    and r11d, NATIVE_INDEX_MASK
    shl r11d, NATIVE_COMPLETION_SHIFT
    add r10, r11
    lea r10, [r12 + r10 + MAILBOX_ANSWER_AT]
    mov r11d, [rcx]
    mov rax, [rdx]
    xor ebx, ebx
    test r11d, r11d
    cmovnz rax, rbx                             # an error has no result
    mov [r10 + MAILBOX_COMPLETION_RESULT], rax
    mov eax, [rsi + NATIVE_ROW_INDEX]
    mov [r10 + MAILBOX_COMPLETION_SEQUENCE], eax
    mov eax, [rdi + NATIVE_FETCHED + rbp * 8]
    shl eax, HEAD_SHIFT
    or r11d, eax
    bt r9d, MAILBOX_DEPTH_SHIFT
    setnc bl
    or r11d, ebx
    mov [r10 + MAILBOX_COMPLETION_STATUS], r11d
    inc r9
    mov [rdi + NATIVE_COMPLETED + rbp * 8], r9
    bts r13, rbp
    add rsi, MAILBOX_SLOT_SIZE
    add rdx, 8
    add rcx, 4
    dec r8
    jnz .Lpost_row
.Lpost_touched:
    xor ebp, ebp
.Lpost_block:
    bt r13, rbp
    jnc .Lpost_untouched
    mov r9, rbp
    shl r9, NATIVE_BLOCK_SHIFT
    mov r10, [rdi + NATIVE_COMPLETED + rbp * 8]
    mov [r12 + r9 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_COMPLETED], r10
.Lpost_untouched:
    inc ebp
    cmp ebp, MAILBOX_QUEUES
    jb .Lpost_block
    mfence
    xor eax, eax
    xor ebp, ebp
.Lpost_want:
    bt r13, rbp
    jnc .Lpost_unwanted
    mov r9, rbp
    shl r9, NATIVE_BLOCK_SHIFT
    cmp dword ptr [r12 + r9 + MAILBOX_QUEUE_AT + MAILBOX_QUEUE_WANT_INTERRUPT], 0
    je .Lpost_unwanted
    bts rax, rbp
.Lpost_unwanted:
    inc ebp
    cmp ebp, MAILBOX_QUEUES
    jb .Lpost_want
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size mailbox_post, . - mailbox_post
