# Purpose:  mailbox ping of the shell: round trips to the GPU service, one after the other, polled, and how long they took.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md
# Exports:  mailbox_ping
# Invariants: what surrounds a round trip is measured too and taken off; no wait is without a bound.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "session.inc"
.include "shell.inc"

.set PING_HEADER, MAILBOX_OP_PING << MAILBOX_OPCODE_SHIFT
.set PING_BODY, 48
.set PING_FIRST_NS, 2000000000                  # how long the first ping is waited for
.set PING_TRIES, 40                              # of half a second and more, until a service is given up
.set LOOKS_MAX, 1 << 22                         # at a completion, before somebody asks whether the service lives

# A histogram of ticks: 32 buckets for each power of two, so that a figure is right to 3 %.
.set BUCKET_BITS, 5
.set BUCKETS, 1 << BUCKET_BITS
.set HISTOGRAM_ROWS, BUCKETS * (64 - BUCKET_BITS + 1)
.set PER_MILLE, 1000

.section .bss, "aw", @nobits
    .balign 8
histogram:      .skip HISTOGRAM_ROWS * 4
ping_body:      .skip PING_BODY
ping_index:     .skip 8                         # of the ping that waits for its answer
ping_post:      .skip 8                         # ticks of the quickest post, without the measuring
ping_lost:      .skip 8                         # pings whose outcome was no answer

.section .rodata, "a"
    .balign 8
ping_shares:                                    # key, how many of 1000 are quicker
    .quad key_p50, 500
    .quad key_p99, 990
    .quad key_p999, 999
ping_shares_end:

.section .text, "ax"

# mailbox_ping -- round trips, one after the other, polled
# In:       rdi = count:u64[1..10000000]
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
function mailbox_ping
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    call ping_ask                               # opens the session, where it must be
    jc .Lping_none
    lea rdi, [rip + histogram]
    mov ecx, HISTOGRAM_ROWS
    xor eax, eax
    rep stosd
    call gpu_queue
    mov r12, rdi
    lea rdi, [r12 + SESSION_LOCK]
    call lock_acquire
    xor r13d, r13d                              # answers
    xor r14d, r14d                              # the slowest, in ticks
    mov qword ptr [rip + ping_lost], 0
    mov qword ptr [rip + ping_post], -1
.Lping_next:
    call ping_once
    jnc .Lping_answered
    call ping_recover
    jc .Lping_done
    inc qword ptr [rip + ping_lost]
    jmp .Lping_more
.Lping_answered:
    inc r13
    cmp rax, r14
    cmova r14, rax
    call histogram_row
    lea rcx, [rip + histogram]
    inc dword ptr [rcx + rax * 4]
.Lping_more:
    mov rax, r13
    add rax, qword ptr [rip + ping_lost]
    cmp rax, rbx
    jb .Lping_next
.Lping_done:
    lea rdi, [r12 + SESSION_LOCK]
    call lock_release
    mov rdi, r13
    mov rsi, r14
    mov rdx, rbx
    call ping_say
    clc
.Lping_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lping_none:
    lea rax, [rip + text_no_service]
    stc
    jmp .Lping_return
end_function mailbox_ping
shell_text text_no_service, "no GPU service answers: pxos run --gpu starts one"

# ping_ask -- one ping in the way that opens the session anew; a service that starts again takes its time
# In:       none
# Out:      cf = no service answers
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, no queue's lock held
local_function ping_ask
    call_frame
    push rbx
    push rbx
    mov ebx, PING_TRIES
.Lask_try:
    lea rdi, [rip + ping_body]
    mov esi, PING_HEADER
    mov edx, PING_FIRST_NS
    call gpu_request
    jnc .Lask_return
    cmp eax, ERROR_NOT_FOUND
    je .Lask_none                               # there is no device
    dec ebx
    jnz .Lask_try
.Lask_none:
    stc
.Lask_return:
    pop rbx
    pop rbx
    return_frame
end_function ping_ask

# ping_recover -- no answer came: nobody waits for it any more; ask in the way that opens the session anew
# In:       r12 = queue:ptr (its lock held)
# Out:      cf = no service answers any more
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  from mailbox_ping
local_function ping_recover
    call_frame
    push rbx
    push rbx
    mov rdi, r12
    mov rsi, qword ptr [rip + ping_index]
    call queue_leave
    lea rdi, [r12 + SESSION_LOCK]
    call lock_release
    call ping_ask
    setc bl
    lea rdi, [r12 + SESSION_LOCK]
    call lock_acquire
    cmp bl, 1
    cmc                                         # cf when nobody answered
    pop rbx
    pop rbx
    return_frame
end_function ping_recover

# ping_once -- one round trip
# In:       r12 = queue:ptr
# Out:      rax = ticks:u64, cf = it was not answered
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, the queue's lock held
local_function ping_once
    call_frame
    push rbx
    push r13
    call ping_ticks
    mov r13, rax
    mov rdi, r12
    lea rsi, [rip + ping_body]
    mov edx, PING_HEADER
    call ping_nothing
    call ping_ticks
    mov rbx, rax
    mov rdi, r12
    lea rsi, [rip + ping_body]
    mov edx, PING_HEADER
    call queue_post
    jc .Lonce_return
    mov qword ptr [rip + ping_index], rax
    call ping_ticks
    sub rax, rbx
    sub r13, rbx
    add rax, r13                                # less what the same without a post took
    cmp rax, qword ptr [rip + ping_post]
    jae .Lonce_posted
    mov qword ptr [rip + ping_post], rax
.Lonce_posted:
    mov r13d, LOOKS_MAX
.Lonce_look:
    mov rdi, r12
    call queue_take
    jc .Lonce_none
    mov rdi, r12
    mov rsi, qword ptr [rip + ping_index]
    call queue_fetch
    jnc .Lonce_answered
.Lonce_none:
    dec r13d
    jnz .Lonce_look
    stc
    jmp .Lonce_return
.Lonce_answered:
    call ping_ticks
    sub rax, rbx
    clc
.Lonce_return:
    pop r13
    pop rbx
    return_frame
end_function ping_once

# ping_ticks -- the time-stamp counter
# In:       none
# Out:      rax = ticks:u64
# Clobbers: rdx
# Context:  long mode
local_function ping_ticks
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret
end_function ping_ticks

# ping_nothing -- stands where queue_post does, so that what surrounds it is measured
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode
local_function ping_nothing
    ret
end_function ping_nothing

# histogram_row -- the row of the histogram for a number of ticks
# In:       rax = ticks:u64
# Out:      rax = row:u64
# Clobbers: rcx, rdx
# Context:  long mode
local_function histogram_row
    cmp rax, BUCKETS
    jb .Lrow_return                             # a row each
    bsr rcx, rax
    sub ecx, BUCKET_BITS
    shr rax, cl                                 # BUCKETS to 2 * BUCKETS - 1
    shl ecx, BUCKET_BITS
    add rax, rcx
.Lrow_return:
    ret
end_function histogram_row

# histogram_ticks -- the least number of ticks of a row
# In:       rax = row:u64
# Out:      rax = ticks:u64
# Clobbers: rcx
# Context:  long mode
local_function histogram_ticks
    mov rcx, rax
    shr rcx, BUCKET_BITS
    jz .Lticks_return
    dec ecx
    and eax, BUCKETS - 1
    or eax, BUCKETS
    shl rax, cl
.Lticks_return:
    ret
end_function histogram_ticks

# ping_say -- what the round trips took, in nanoseconds
# In:       rdi = answers:u64, rsi = slowest:u64 (ticks), rdx = asked:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set
local_function ping_say
    call_frame
    push rbx
    push r12
    push r13
    push r13
    mov rbx, rdi
    mov r12, rsi
    mov r13, rdx
    lea rdi, [rip + name_ping]
    call out_begin
    lea rdi, [rip + key_asked]
    mov rsi, r13
    call out_number
    lea rdi, [rip + key_post]
    mov rsi, qword ptr [rip + ping_post]
    call out_number
    lea rdi, [rip + key_answered]
    mov rsi, rbx
    call out_number
    lea rdi, [rip + key_lost]
    mov rsi, qword ptr [rip + ping_lost]
    call out_number
    lea r13, [rip + ping_shares]
.Lsay_share:
    mov rax, rbx
    mul qword ptr [r13 + 8]
    mov ecx, PER_MILLE
    div rcx
    mov rdi, rax
    call histogram_find
    mov rdi, rax
    call clock_ticks_to_ns
    mov rsi, rax
    mov rdi, qword ptr [r13]
    call out_number
    add r13, 16
    lea rax, [rip + ping_shares_end]
    cmp r13, rax
    jb .Lsay_share
    mov rdi, r12
    call clock_ticks_to_ns
    mov rsi, rax
    lea rdi, [rip + key_slowest]
    call out_number
    call out_end
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function ping_say
shell_text key_asked, "asked"
shell_text key_answered, "answered"
shell_text key_post, "post_ticks"
shell_text key_lost, "lost"
shell_text key_p50, "p50_ns"
shell_text key_p99, "p99_ns"
shell_text key_p999, "p999_ns"
shell_text key_slowest, "slowest_ns"

# histogram_find -- how long one of all took, by its rank
# In:       rdi = rank:u64 (how many were quicker)
# Out:      rax = ticks:u64
# Clobbers: rcx, rdx
# Context:  long mode
local_function histogram_find
    call_frame
    xor eax, eax
    xor ecx, ecx
    lea rdx, [rip + histogram]
.Lfind_row:
    push rcx
    mov ecx, dword ptr [rdx + rax * 4]
    add rcx, qword ptr [rsp]
    add rsp, 8
    cmp rcx, rdi
    ja .Lfind_done
    inc eax
    cmp eax, HISTOGRAM_ROWS - 1
    jb .Lfind_row
.Lfind_done:
    call histogram_ticks
    return_frame
end_function histogram_find
shell_text name_ping, "mailbox"
