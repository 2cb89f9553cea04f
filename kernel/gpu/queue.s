# Purpose:  one queue of the mailbox: commands are posted, completions are taken, each command gets one outcome.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, sections 4 and 5
# Exports:  queue_post, queue_take, queue_fetch, queue_leave, queue_clear, queue_abort
# Invariants: a slot's header is stored last, the index behind it, and then the service is looked at. What the service
#           writes is read once and checked: a completion that belongs to no open command changes nothing but a count.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "session.inc"

.if MAILBOX_DEPTH - 256
    .error "the low byte of an index names its slot"
.endif

.section .text, "ax"

# queue_post -- publish one command, and ring if the service sleeps
# In:       rdi = queue:ptr (SESSION_*), rsi = body:ptr (48 bytes), edx = header:u32 (opcode, thread, flags)
# Out:      rax = index:u64 or error code, cf = ERROR_FULL: the outcome that would lie there has not been fetched
# Clobbers: rcx, r8, r9
# Context:  long mode, the queue's lock held, session open
function queue_post
    mov rax, qword ptr [rdi + SESSION_SUBMITTED]
    movzx r8d, al
    shl r8d, OUTCOME_SHIFT
    add r8, qword ptr [rdi + SESSION_OUTCOMES]
    cmp dword ptr [r8 + OUTCOME_STATE], OUTCOME_FREE
    jne .Lpost_full
    movzx ecx, al
    shl ecx, 6                                  # MAILBOX_SLOT_SIZE
    add rcx, qword ptr [rdi + SESSION_RING]
    mov dword ptr [rcx + MAILBOX_SLOT_SEQUENCE], eax
    mov qword ptr [rcx + MAILBOX_SLOT_CHECKSUM], 0
    mov r9, qword ptr [rsi + 0x00]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x00], r9
    mov r9, qword ptr [rsi + 0x08]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x08], r9
    mov r9, qword ptr [rsi + 0x10]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x10], r9
    mov r9, qword ptr [rsi + 0x18]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x18], r9
    mov r9, qword ptr [rsi + 0x20]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x20], r9
    mov r9, qword ptr [rsi + 0x28]
    mov qword ptr [rcx + MAILBOX_SLOT_BODY + 0x28], r9
    mov dword ptr [r8 + OUTCOME_STATE], OUTCOME_OPEN
    mov dword ptr [rcx + MAILBOX_SLOT_HEADER], edx
    lea r8, [rax + 1]
    mov qword ptr [rdi + SESSION_SUBMITTED], r8
    mov r9, qword ptr [rdi + SESSION_BLOCK]
    mov qword ptr [r9 + MAILBOX_QUEUE_SUBMITTED], r8
    mfence
    mov r9, qword ptr [rip + session_control]
    cmp dword ptr [r9 + MAILBOX_CONTROL_NEED_WAKEUP], 0
    jne .Lpost_ring
    ret                                         # cf is clear
.Lpost_ring:
    jmp session_ring
.Lpost_full:
    mov eax, ERROR_FULL
    stc
    ret
end_function queue_post

# queue_take -- take the next completion, if it stands, and note it as its command's outcome
# In:       rdi = queue:ptr
# Out:      cf = none stands
# Clobbers: rax, rcx, rdx, r8, r9
# Context:  long mode, the queue's lock held, session open
function queue_take
    mov rax, qword ptr [rdi + SESSION_CONSUMED]
    cmp qword ptr [rdi + SESSION_SUBMITTED], 0
    je .Ltake_none                              # what stands in a ring that nothing was posted to is of an older epoch
    movzx ecx, al
    shl ecx, 4                                  # MAILBOX_COMPLETION_SIZE
    add rcx, qword ptr [rdi + SESSION_ANSWERS]
    mov edx, dword ptr [rcx + MAILBOX_COMPLETION_STATUS]
    mov r8, rax
    shr r8, MAILBOX_DEPTH_SHIFT                 # the pass of the ring: the phase is 1 in the first
    xor r8d, edx
    test r8b, MAILBOX_COMPLETION_PHASE
    jz .Ltake_none
    mov r9d, dword ptr [rcx + MAILBOX_COMPLETION_SEQUENCE]
    mov rcx, qword ptr [rcx + MAILBOX_COMPLETION_RESULT]
    inc rax
    mov qword ptr [rdi + SESSION_CONSUMED], rax
    mov r8, qword ptr [rdi + SESSION_BLOCK]
    mov qword ptr [r8 + MAILBOX_QUEUE_CONSUMED], rax
    mov eax, dword ptr [rdi + SESSION_SUBMITTED]
    dec eax
    sub eax, r9d                                # how many commands ago it was posted
    cmp eax, MAILBOX_DEPTH
    jae .Ltake_stray
    movzx r8d, r9b
    shl r8d, OUTCOME_SHIFT
    add r8, qword ptr [rdi + SESSION_OUTCOMES]
    cmp dword ptr [r8 + OUTCOME_STATE], OUTCOME_LEFT
    je .Ltake_left
    cmp dword ptr [r8 + OUTCOME_STATE], OUTCOME_OPEN
    jne .Ltake_stray
    mov qword ptr [r8 + OUTCOME_RESULT], rcx
    and edx, MAILBOX_COMPLETION_ERROR
    mov dword ptr [r8 + OUTCOME_STATUS], edx
    mov dword ptr [r8 + OUTCOME_STATE], OUTCOME_DONE
    clc
    ret
.Ltake_left:
    mov dword ptr [r8 + OUTCOME_STATE], OUTCOME_FREE
    clc
    ret
.Ltake_stray:
    inc qword ptr [rip + session_strays]
    clc
    ret
.Ltake_none:
    stc
    ret
end_function queue_take

# queue_fetch -- the outcome of a command, once; its place is free then
# In:       rdi = queue:ptr, rsi = index:u64 (of queue_post)
# Out:      rax = result:u64, edx = status:u32 (0 = success), cf = there is none yet
# Clobbers: rcx
# Context:  long mode, the queue's lock held
function queue_fetch
    movzx ecx, sil
    shl ecx, OUTCOME_SHIFT
    add rcx, qword ptr [rdi + SESSION_OUTCOMES]
    cmp dword ptr [rcx + OUTCOME_STATE], OUTCOME_DONE
    jne .Lfetch_none
    mov rax, qword ptr [rcx + OUTCOME_RESULT]
    mov edx, dword ptr [rcx + OUTCOME_STATUS]
    mov dword ptr [rcx + OUTCOME_STATE], OUTCOME_FREE
    clc
    ret
.Lfetch_none:
    stc
    ret
end_function queue_fetch

# queue_leave -- nobody waits for a command any more: its place is free as soon as it is answered
# In:       rdi = queue:ptr, rsi = index:u64 (of queue_post; its outcome was not fetched)
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, the queue's lock held
function queue_leave
    movzx ecx, sil
    shl ecx, OUTCOME_SHIFT
    add rcx, qword ptr [rdi + SESSION_OUTCOMES]
    mov eax, OUTCOME_LEFT
    cmp dword ptr [rcx + OUTCOME_STATE], OUTCOME_OPEN
    je .Lleave_set
    xor eax, eax                                # OUTCOME_FREE
.Lleave_set:
    mov dword ptr [rcx + OUTCOME_STATE], eax
    ret
end_function queue_leave

# queue_abort -- take the completions that stand; what is open then gets the outcome ABORTED
# In:       rdi = queue:ptr
# Out:      rax = aborted:u64 (commands)
# Clobbers: rcx, rdx, rsi, r8, r9
# Context:  long mode, the queue's lock held; the service that had them is gone
function queue_abort
    call_frame
    mov esi, MAILBOX_DEPTH                      # no more can stand
.Labort_take:
    call queue_take
    jc .Labort_open
    dec esi
    jnz .Labort_take
.Labort_open:
    xor eax, eax
    mov rcx, qword ptr [rdi + SESSION_OUTCOMES]
    mov edx, MAILBOX_DEPTH
.Labort_next:
    cmp dword ptr [rcx + OUTCOME_STATE], OUTCOME_LEFT
    je .Labort_left
    cmp dword ptr [rcx + OUTCOME_STATE], OUTCOME_OPEN
    jne .Labort_advance
    mov qword ptr [rcx + OUTCOME_RESULT], 0
    mov dword ptr [rcx + OUTCOME_STATUS], MAILBOX_ERROR_ABORTED
    mov dword ptr [rcx + OUTCOME_STATE], OUTCOME_DONE
    inc rax
.Labort_advance:
    add rcx, OUTCOME_SIZE
    dec edx
    jnz .Labort_next
    return_frame
.Labort_left:
    mov dword ptr [rcx + OUTCOME_STATE], OUTCOME_FREE
    inc rax
    jmp .Labort_advance
end_function queue_abort

# queue_clear -- the client's words of a queue at the start of an epoch
# In:       rdi = queue:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode, the queue's lock held
function queue_clear
    mov qword ptr [rdi + SESSION_SUBMITTED], 0
    mov qword ptr [rdi + SESSION_CONSUMED], 0
    mov rax, qword ptr [rdi + SESSION_BLOCK]
    mov qword ptr [rax + MAILBOX_QUEUE_SUBMITTED], 0
    mov qword ptr [rax + MAILBOX_QUEUE_CONSUMED], 0
    mov dword ptr [rax + MAILBOX_QUEUE_WANT_INTERRUPT], 0
    ret
end_function queue_clear
