# Purpose:  system calls that the kernel does not know: asked of the GPU service through the mailbox, by the background
#           thread of the CPU for the thread that calls.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 6 (SYSCALL); include/syscall.inc
# Exports:  call_forward user_attend
# Invariants: a thread of ring 3 takes no lock of the mailbox and does not spin: its job is complete while it waits, so that
#           no deadline depends on the service. One request at a time on each CPU. A thread whose call waits does
#           not end before the answer. Text is copied twice, through the record of the thread: the service never sees
#           memory of ring 3.
#
#   PERCPU_ASKED -> thread -> thread …      the last that asked first; user_attend takes the whole list at once
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "session.inc"
.include "syscall.inc"
.include "user.inc"

.set CALLS_WITH_TEXT, 1 << MAILBOX_CALL_SHADER_FIND | 1 << MAILBOX_CALL_LOG     # A = address, B = bytes
.set CALL_PATIENCE, 1000000000                  # ns
.set CALL_HEADER, MAILBOX_OP_SYSCALL << MAILBOX_OPCODE_SHIFT
.set TEXT_AT, MAILBOX_DATA_AT                   # in the data area: a text of each CPU
.set BODY_NUMBER, MAILBOX_SYSCALL_NUMBER - MAILBOX_SLOT_BODY
.set BODY_A, MAILBOX_SYSCALL_A - MAILBOX_SLOT_BODY
.set BODY_B, MAILBOX_SYSCALL_B - MAILBOX_SLOT_BODY

.section .text, "ax"

# call_forward -- a system call that the kernel does not know
# In:       rdi = frame:ptr, rbx = user:ptr
# Out:      rax = result:u64 or error code, rdx = status:u32 (of the completion; 0 without one), cf = refused:
#           ERROR_UNSUPPORTED (no GPU service answers), ERROR_INVALID (a number beyond 32 bits, too long a text, or the
#           service refuses: then rdx says how), ERROR_NOT_MAPPED (the text), ERROR_TIMEOUT, ERROR_FULL
# Clobbers: rcx, rsi, rdi, r8, r9, r10, r11
# Context:  a system call
function call_forward
    call_frame
    mov rax, [rdi + FRAME_RAX]
    mov ecx, eax
    cmp rax, rcx
    jne .Lforward_invalid
    mov dword ptr [rbx + USER_ASK_BODY + BODY_NUMBER], eax
    mov rsi, [rdi + FRAME_RDI]
    mov [rbx + USER_ASK_BODY + BODY_A], rsi
    mov rdx, [rdi + FRAME_RSI]
    mov [rbx + USER_ASK_BODY + BODY_B], rdx
    mov qword ptr [rbx + USER_ASK_BYTES], 0
    cmp qword ptr [rip + session_control], 0
    je .Lforward_nobody
    cmp eax, 64                                 # bits of the set
    jae .Lforward_ask
    mov ecx, CALLS_WITH_TEXT
    bt rcx, rax
    jnc .Lforward_ask
    lea rax, [rdx - 1]
    cmp rax, CALL_TEXT_MAX
    jae .Lforward_invalid
    mov [rbx + USER_ASK_BYTES], rdx
    lea rdi, [rbx + USER_TEXT]
    call copy_from_user
    jc .Lforward_no_status
.Lforward_ask:
    call forward_wait
    mov rdx, [rbx + USER_ASK_STATUS]
    mov rax, [rbx + USER_ASK_CODE]
    cmp rax, 1
    cmc
    jc .Lforward_return
    mov rax, [rbx + USER_ASK_RESULT]
.Lforward_return:
    return_frame
.Lforward_nobody:
    mov eax, ERROR_UNSUPPORTED
    jmp .Lforward_refused
.Lforward_invalid:
    mov eax, ERROR_INVALID
.Lforward_refused:
    stc
.Lforward_no_status:
    mov edx, 0                                  # leaves cf alone
    jmp .Lforward_return
end_function call_forward

# forward_wait -- have the background thread ask, and wait for it
# In:       rbx = user:ptr (USER_ASK_BODY, USER_ASK_BYTES and USER_TEXT are filled)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set, in a thread of ring 3
local_function forward_wait
    call_frame
    mov qword ptr [rbx + USER_ASK_STATE], ASK_ASKED
    cli
    mov rax, qword ptr gs:[PERCPU_ASKED]
    mov [rbx + USER_ASK_NEXT], rax
    mov qword ptr gs:[PERCPU_ASKED], rbx
    mov qword ptr gs:[PERCPU_USER_WORK], 1
    sti
.Lforward_turn:
    call sched_wait
    cmp qword ptr [rbx + USER_ASK_STATE], ASK_DONE
    jne .Lforward_turn
    return_frame
end_function forward_wait

# user_attend -- what the background thread does for threads of ring 3 of its CPU: their calls, and those that have ended
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts on, GS base set; by the background thread
function user_attend
    cmp qword ptr gs:[PERCPU_USER_WORK], 0
    je .Lattend_return
    call_frame
    push rbx
    push r12
.Lattend_again:
    mov qword ptr gs:[PERCPU_USER_WORK], 0      # before the look: what comes later sets it again
    xor ebx, ebx
    xchg qword ptr gs:[PERCPU_ASKED], rbx
.Lattend_asked:
    test rbx, rbx
    jz .Lattend_ended
    mov r12, [rbx + USER_ASK_NEXT]              # the record may go as soon as the answer stands
    mov rdi, rbx
    call forward_ask
    mov rbx, r12
    jmp .Lattend_asked
.Lattend_ended:
    mov rdi, qword ptr gs:[PERCPU_THREADS]
.Lattend_thread:
    test rdi, rdi
    jz .Lattend_done
    mov rbx, [rdi + THREAD_NEXT]                # only this thread takes others from the list
    cmp qword ptr [rdi + THREAD_USER], 0
    je .Lattend_next
    cmp dword ptr [rdi + THREAD_STATE], THREAD_ENDED
    jne .Lattend_next
    call user_reap
.Lattend_next:
    mov rdi, rbx
    jmp .Lattend_thread
.Lattend_done:
    cmp qword ptr gs:[PERCPU_USER_WORK], 0
    jne .Lattend_again
    pop r12
    pop rbx
    pop rbp
.Lattend_return:
    ret
end_function user_attend

# forward_ask -- ask the service for a thread, and let it go on
# In:       rdi = user:ptr (whose call waits)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; by the background thread
local_function forward_ask
    call_frame
    push rbx
    push rbx
    mov rbx, rdi
    mov rcx, [rbx + USER_ASK_BYTES]
    test rcx, rcx
    jz .Lask_request
    mov eax, dword ptr gs:[PERCPU_ID]
    imul eax, eax, CALL_TEXT_MAX
    add eax, TEXT_AT
    mov [rbx + USER_ASK_BODY + BODY_A], rax
    mov rdi, [rip + session_base]
    add rdi, rax
    lea rsi, [rbx + USER_TEXT]
    rep movsb
.Lask_request:
    lea rdi, [rbx + USER_ASK_BODY]
    mov esi, CALL_HEADER
    mov edx, CALL_PATIENCE
    call gpu_request
    mov ecx, 0                                  # leaves cf alone
    cmovc rcx, rax
    mov esi, ERROR_UNSUPPORTED
    cmp ecx, ERROR_NOT_FOUND                    # no device: the same to who asks
    cmove ecx, esi
    mov [rbx + USER_ASK_CODE], rcx
    mov [rbx + USER_ASK_RESULT], rax
    mov [rbx + USER_ASK_STATUS], rdx
    mov qword ptr [rbx + USER_ASK_STATE], ASK_DONE
    pop rbx
    pop rbx
    return_frame
end_function forward_ask
