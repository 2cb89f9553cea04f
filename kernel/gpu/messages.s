# Purpose:  sleep until the GPU service answers: its message by MSI-X instead of a completion that is polled.
# Mode:     64-bit long mode
# Spec:     shaders/MAILBOX.md, section 5 (Sleeping); PCI Local Bus 3.0, 6.8.2 (MSI-X)
# Exports:  messages_open, messages_rest, messages_came, messages_halts
# Invariants: only who has looked in vain for a while comes here; posting and polling pay nothing for it. No halt is without
#           a bound: the timer ends it where no message does. Where there is no MSI-X, no timer, or interrupts are off,
#           who waits goes on polling.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "pci.inc"
.include "session.inc"

.set IVSHMEM_ID, 0x11101af4                     # device << 16 | vendor
.set MESSAGE_ENTRY, 0                           # of the MSI-X table: queue 0, the boot CPU's
.set VECTOR_NONE, -1
.set REST_NS, 10000000                          # the longest halt: liveness is looked at behind it

.section .bss, "aw", @nobits
    .balign 8
object messages_came                            # interrupts of the service
    .skip 8
end_object messages_came
object messages_halts                           # times that the CPU was halted for one
    .skip 8
end_object messages_halts
object messages_vector                          # u32: 0 = not asked for yet, VECTOR_NONE = there is none
    .skip 4
end_object messages_vector

.section .text, "ax"

# messages_open -- have the service's messages served, from the first time that somebody wants to sleep
# In:       none
# Out:      cf = there are none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, any IF, GS base set, on the boot CPU; one caller at a time
function messages_open
    call_frame
    mov eax, dword ptr [rip + messages_vector]
    test eax, eax
    jnz .Lopen_known
    mov dword ptr [rip + messages_vector], VECTOR_NONE
    lea rdi, [rip + pci_table]
    mov ecx, dword ptr [rip + pci_count]
.Lopen_look:
    test ecx, ecx
    jz .Lopen_none
    cmp dword ptr [rdi + PCI_ROW_VENDOR], IVSHMEM_ID
    je .Lopen_install
    add rdi, PCI_ROW_SIZE
    dec ecx
    jmp .Lopen_look
.Lopen_install:
    mov esi, MESSAGE_ENTRY
    lea rdx, [rip + messages_note]
    xor ecx, ecx
    call msix_install
    jc .Lopen_none
    mov dword ptr [rip + messages_vector], eax
.Lopen_known:
    cmp eax, VECTOR_NONE
    je .Lopen_none
    clc
    return_frame
.Lopen_none:
    stc
    return_frame
end_function messages_open

# messages_note -- the handler: who sleeps is awake now, and looks himself
# In:       rdi = argument:u64, rsi = frame:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off; a handler
local_function messages_note
    inc qword ptr [rip + messages_came]
    ret
end_function messages_note

# messages_wanted -- whether who waits for a queue may sleep
# In:       rdi = queue:ptr
# Out:      cf = no
# Clobbers: rax
# Context:  long mode, GS base set, session open
local_function messages_wanted
    test dword ptr [rip + session_features], MAILBOX_FEATURE_INTERRUPT
    jz .Lwanted_no
    lea rax, [rip + session_queues]
    cmp rdi, rax
    jne .Lwanted_no                             # another CPU's: entry 0 of the table is queue 0's
    cmp dword ptr gs:[PERCPU_ID], 0
    jne .Lwanted_no
    cmp qword ptr gs:[PERCPU_INTERRUPT_DEPTH], 0
    jne .Lwanted_no
    cmp qword ptr [rip + timer_hz], 0
    je .Lwanted_no
    pushfq
    pop rax
    test eax, RFLAGS_IF
    jz .Lwanted_no
    clc
    ret
.Lwanted_no:
    stc
    ret
end_function messages_wanted

# messages_stands -- whether a completion stands that was not taken
# In:       rdi = queue:ptr
# Out:      cf = none
# Clobbers: rax, rcx, rdx
# Context:  long mode, session open
local_function messages_stands
    mov rax, qword ptr [rdi + SESSION_CONSUMED]
    movzx ecx, al
    shl ecx, 4                                  # MAILBOX_COMPLETION_SIZE
    add rcx, qword ptr [rdi + SESSION_ANSWERS]
    mov edx, dword ptr [rcx + MAILBOX_COMPLETION_STATUS]
    shr rax, MAILBOX_DEPTH_SHIFT
    xor eax, edx
    and eax, MAILBOX_COMPLETION_PHASE
    cmp eax, 1                                  # cf where the phase is still the pass before's
    ret
end_function messages_stands
.if MAILBOX_COMPLETION_PHASE - 1
    .error "messages_stands compares with the phase bit"
.endif

# messages_halt -- be halted until an interrupt
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off; on afterwards
local_function messages_halt
    sti                                         # takes effect behind the next instruction
    hlt
    ret
end_function messages_halt

# messages_rest -- be halted until the service's message, or for a short time, unless an answer stands already
# In:       rdi = queue:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9
# Context:  long mode, any IF, GS base set, session open, no lock held
function messages_rest
    call_frame
    push rbx
    push r12
    mov r12, rdi
    call messages_wanted
    jc .Lrest_poll
    call messages_open
    jc .Lrest_poll
    mov rbx, qword ptr [r12 + SESSION_BLOCK]
    cli                                         # nothing may come between the look and the halt
    mov dword ptr [rbx + MAILBOX_QUEUE_WANT_INTERRUPT], 1
    mfence
    mov rdi, r12
    call messages_stands
    jnc .Lrest_awake
    call clock_ns
    lea rdi, [rax + REST_NS]
    cmp rdi, qword ptr gs:[PERCPU_DEADLINE]
    jae .Lrest_armed                            # the scheduler's comes sooner; it sets its own again when ours has come
    call timer_arm
.Lrest_armed:
    inc qword ptr [rip + messages_halts]
    call messages_halt
.Lrest_awake:
    sti
    mov dword ptr [rbx + MAILBOX_QUEUE_WANT_INTERRUPT], 0
.Lrest_return:
    pop r12
    pop rbx
    return_frame
.Lrest_poll:
    pause
    jmp .Lrest_return
end_function messages_rest
