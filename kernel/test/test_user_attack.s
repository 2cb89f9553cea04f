# Purpose:  tests of ring 3: programs that attack. Each ends one thread with the right exception, or gets nothing for it.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 5.9 (privileged instructions), 6.15 (exceptions), 4.6 (rights); vol. 2, SYSRET, SWAPGS
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "percpu.inc"
.include "sched.inc"
.include "user.inc"
.include "test/user_image.inc"

.set KERNEL_ADDRESS, 0xffffffff80101000
.set NO_ADDRESS, 0x0000800000000000             # the first that is not canonical
.set SPIN_NS, 10000000                          # two periods, where the overhead is small
.set TRICKS_PERIOD, 500000                      # ns, or as often doubled as the CPU's overhead asks for
.set TRICKS_BUDGET_SHIFT, 3                     # of it is the budget

ktap_text text_attack_vector, "bit of the exception"

# attack NAME, VECTORS … attack_end NAME -- a program that must end by an exception, one bit for each that may be, and its row
.macro attack name, vectors
    .section .rodata.attacks, "a"
    .quad attack_\name, attack_\name\()_end, \vectors
    user_image attack_\name
.endm
.macro attack_end name
    ud2
    user_image_end attack_\name
.endm
.set ATTACK_IMAGE, 0
.set ATTACK_END, 8
.set ATTACK_VECTORS, 16
.set ATTACK_SIZE, 24

.section .rodata.attacks, "a"
    .balign 8
attack_rows:

attack cli, 1 << VECTOR_GP
    cli
attack_end cli
attack hlt, 1 << VECTOR_GP
    hlt
attack_end hlt
attack read_cr0, 1 << VECTOR_GP
    mov rax, cr0
attack_end read_cr0
attack write_cr3, 1 << VECTOR_GP
    xor eax, eax
    mov cr3, rax
attack_end write_cr3
attack write_dr7, 1 << VECTOR_GP
    mov eax, 0x401
    mov dr7, rax
attack_end write_dr7
attack wrmsr, 1 << VECTOR_GP
    mov ecx, MSR_GS_BASE
    wrmsr
attack_end wrmsr
attack rdmsr, 1 << VECTOR_GP
    mov ecx, MSR_LSTAR
    rdmsr
attack_end rdmsr
attack lgdt, 1 << VECTOR_GP
    lgdt [rsp - 16]
attack_end lgdt
attack lidt, 1 << VECTOR_GP
    lidt [rsp - 16]
attack_end lidt
attack ltr, 1 << VECTOR_GP
    mov eax, SELECTOR_TSS
    ltr ax
attack_end ltr
attack invlpg, 1 << VECTOR_GP
    invlpg [rsp]
attack_end invlpg
attack swapgs, 1 << VECTOR_GP
    swapgs
attack_end swapgs
attack sysret, 1 << VECTOR_GP
    xor ecx, ecx
    sysretq
attack_end sysret
attack port_in, 1 << VECTOR_GP
    in al, 0x60
attack_end port_in
attack port_out, 1 << VECTOR_GP
    mov edx, 0xf4                               # it would end the machine
    xor eax, eax
    out dx, al
attack_end port_out
attack int_80, 1 << VECTOR_GP
    int 0x80
attack_end int_80
attack int_nmi, 1 << VECTOR_GP
    int 2
attack_end int_nmi
attack int_page_fault, 1 << VECTOR_GP
    int 14
attack_end int_page_fault
attack int_timer, 1 << VECTOR_GP
    int 0xf0
attack_end int_timer
attack breakpoint, 1 << VECTOR_GP
    int3
attack_end breakpoint
attack icebp, 1 << VECTOR_DB | 1 << VECTOR_UD               # an emulator may not know it
    .byte 0xf1                                  # INT1: a #DB whatever the gate's DPL
attack_end icebp
attack single_step, 1 << VECTOR_DB
    push RFLAGS_TF | RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    nop
attack_end single_step
attack step_into_call, 1 << VECTOR_DB           # the step must not be taken in ring 0
    mov eax, SYSCALL_CLOCK
    push RFLAGS_TF | RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    syscall
    nop
attack_end step_into_call
attack step_shadowed_call, 1 << VECTOR_DB
    mov eax, SYSCALL_CLOCK
    mov ecx, SELECTOR_USER_DATA | SELECTOR_RPL_MASK
    push RFLAGS_TF | RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    mov ss, ecx                                 # holds traps back until behind the next instruction
    syscall
    nop
attack_end step_shadowed_call
attack wrgsbase, 1 << VECTOR_UD
    mov rax, KERNEL_ADDRESS
    .byte 0xf3, 0x48, 0x0f, 0xae, 0xd8          # wrgsbase rax
attack_end wrgsbase
attack wrfsbase, 1 << VECTOR_UD
    .byte 0xf3, 0x48, 0x0f, 0xae, 0xd0          # wrfsbase rax
attack_end wrfsbase
attack stac, 1 << VECTOR_UD
    stac
attack_end stac
attack gs_kernel_selector, 1 << VECTOR_GP
    mov eax, SELECTOR_KERNEL_DATA
    mov gs, eax
attack_end gs_kernel_selector
attack far_return_to_kernel, 1 << VECTOR_GP | 1 << VECTOR_PF # an emulator reads the stack as ring 0 would: SMAP
    lea rax, [rip]
    push SELECTOR_KERNEL_CODE
    push rax
    .byte 0x48, 0xcb                            # retf, 64-bit
attack_end far_return_to_kernel
attack iret_to_kernel, 1 << VECTOR_GP | 1 << VECTOR_PF   # likewise
    mov rcx, rsp
    push SELECTOR_KERNEL_DATA
    push rcx
    push RFLAGS_RESERVED1
    push SELECTOR_KERNEL_CODE
    lea rax, [rip]
    push rax
    iretq
attack_end iret_to_kernel
attack jump_to_kernel, 1 << VECTOR_PF
    mov rax, KERNEL_ADDRESS
    jmp rax
attack_end jump_to_kernel
attack jump_nowhere, 1 << VECTOR_GP | 1 << VECTOR_PF       # an emulator says #PF
    mov rax, NO_ADDRESS
    jmp rax
attack_end jump_nowhere
attack return_nowhere, 1 << VECTOR_GP | 1 << VECTOR_PF       # an emulator says #PF
    mov rax, -1 << 47
    dec rax                                     # the last that is not canonical
    push rax
    ret
attack_end return_nowhere
attack read_kernel, 1 << VECTOR_PF
    mov rax, KERNEL_ADDRESS
    mov rax, [rax]
attack_end read_kernel
attack read_direct_map, 1 << VECTOR_PF
    mov rax, DIRECT_BASE
    mov rax, [rax]
attack_end read_direct_map
attack write_kernel, 1 << VECTOR_PF
    mov rax, KERNEL_ADDRESS
    mov [rax], rax
attack_end write_kernel
attack read_gs, 1 << VECTOR_PF
    mov rax, gs:[0]                             # the kernel's block begins with its own address
attack_end read_gs
attack read_null, 1 << VECTOR_PF
    xor eax, eax
    mov rax, [rax]
attack_end read_null
attack write_text, 1 << VECTOR_PF
    lea rax, [rip]
    mov byte ptr [rax], 0x90
attack_end write_text
attack run_stack, 1 << VECTOR_PF
    push 0xc3
    call rsp
attack_end run_stack
attack stack_overflow, 1 << VECTOR_PF
1:  push rax
    jmp 1b
attack_end stack_overflow
attack stack_underflow, 1 << VECTOR_PF
    pop rax
attack_end stack_underflow
attack push_without_stack, 1 << VECTOR_PF
    xor esp, esp
    push rax
attack_end push_without_stack
attack push_nowhere, 1 << VECTOR_SS | 1 << VECTOR_GP        # an emulator says #GP
    mov rsp, NO_ADDRESS + 64
    push rax
attack_end push_nowhere
attack divide, 1 << VECTOR_DE
    xor ecx, ecx
    div ecx
attack_end divide
attack undefined, 1 << VECTOR_UD
    ud2
attack_end undefined

.section .rodata.attacks, "a"
attack_rows_end:
.section .text, "ax"

# test_user_attacks -- each program that does what ring 3 may not ends with its exception, and the kernel goes on
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_attacks
    user_test_begin
    push rbx
    push r12
    lea rbx, [rip + attack_rows]
    lea r12, [rip + attack_rows_end]
.Lattacks_next:
    mov rdi, [rbx + ATTACK_IMAGE]
    mov rsi, [rbx + ATTACK_END]
    xor edx, edx
    mov ecx, STOP_NONE
    xor r8d, r8d
    mov r9d, 1
    call user_test_judge
    mov ecx, [rip + user_test_vector]
    mov esi, 1
    shl esi, cl
    mov rdx, [rbx + ATTACK_VECTORS]
    and rdx, rsi                                # what came, when it is one of those
    lea rdi, [rip + text_attack_vector]
    call ktap_check
    add rbx, ATTACK_SIZE
    cmp rbx, r12
    jb .Lattacks_next
    pop r12
    pop rbx
    user_test_end
end_function test_user_attacks
ktap_test test_user_attacks, "user_attacks_end_their_thread"

# a system call, and interrupts, with RSP where no stack is, and with every flag and selector that ring 3 can set. A thread
# whose period is short does it: with each RSP it goes on until its budget has been ended by an interrupt, which it sees by
# the time that it was away.
user_image image_tricks
    mov rbp, TRICKS_PERIOD
    sub rsp, THREAD_REQUEST_SIZE + 16
    mov qword ptr [rsp + THREAD_REQUEST_SIZE], 0    # what it says of what it found
.Ltricks_make:
    mov rdi, rsp
    lea rax, [rip + .Ltricks_entry]
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    mov [rdi + THREAD_REQUEST_ARGUMENT], rsp
    mov [rdi + THREAD_REQUEST_PERIOD], rbp
    mov rax, rbp
    shr rax, TRICKS_BUDGET_SHIFT
    mov [rdi + THREAD_REQUEST_BUDGET], rax
    mov qword ptr [rdi + THREAD_REQUEST_WINDOW], 0
    mov qword ptr [rdi + THREAD_REQUEST_CPU], -1
    user_call THREAD_CREATE
    jnc .Ltricks_wait
    cmp eax, ERROR_OVERLOAD
    user_test_expect e, 1
    add rbp, rbp
    jmp .Ltricks_make
.Ltricks_wait:
    user_call YIELD
    mov rdi, [rsp + THREAD_REQUEST_SIZE]
    test rdi, rdi
    jz .Ltricks_wait
    user_call EXIT
.Ltricks_entry:
    mov rbx, rsp
    mov r15, rdi
    mov rbp, [rdi + THREAD_REQUEST_PERIOD]
    shr rbp, 1                                  # it was away for so long, or longer
    lea r13, [rip + .Ltricks_stacks]
    lea r14, [rip + .Ltricks_stacks_end]
.Ltricks_stack:
    mov rsp, [r13]
    user_call CLOCK
.Ltricks_spin:
    mov r12, rax
    user_call CLOCK
    mov rcx, rax
    sub rcx, r12
    cmp rcx, rbp
    jb .Ltricks_spin
    add r13, 8
    cmp r13, r14
    jb .Ltricks_stack
    mov rsp, rbx
    push RFLAGS_AC | RFLAGS_NT | RFLAGS_DF | RFLAGS_ID | RFLAGS_IF | RFLAGS_RESERVED1
    popfq
    mov eax, SELECTOR_USER_DATA | SELECTOR_RPL_MASK
    mov gs, eax
    mov fs, eax
    user_call YIELD
    xor eax, eax
    mov gs, eax
    mov ds, eax
    mov es, eax
    user_call CLOCK
.Ltricks_flags:
    mov r12, rax
    mov ecx, 1000
.Ltricks_turn:                                  # most interrupts come here
    dec ecx
    jnz .Ltricks_turn
    user_call CLOCK
    mov rcx, rax
    sub rcx, r12
    cmp rcx, rbp
    jb .Ltricks_flags
    mov qword ptr [r15 + THREAD_REQUEST_SIZE], TEST_CODE
    user_call THREAD_EXIT
    .balign 8
.Ltricks_stacks:
    .quad 0, 8, KERNEL_ADDRESS, DIRECT_BASE + 0x100000, NO_ADDRESS, -8, -1
.Ltricks_stacks_end:
user_image_end image_tricks

# test_user_tricks -- RSP, flags and selectors of ring 3 do not matter to the kernel
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_tricks
    user_test_begin
    user_test image_tricks, 0, STOP_EXIT, TEST_CODE, 0
    user_test_end
end_function test_user_tricks
ktap_test test_user_tricks, "user_stack_and_flags_do_not_matter"

user_image image_spin
1:  jmp 1b
user_image_end image_spin

# test_user_spin -- a program that never gives up the CPU: its budget stops it each period, its time ends it
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_user_spin
    user_test_begin
    mov qword ptr [rip + user_test_until], SPIN_NS
    user_test image_spin, 0, STOP_TIME, 0, 0
    mov qword ptr [rip + user_test_until], 0
    user_test_end
end_function test_user_spin
ktap_test test_user_spin, "user_endless_loop_is_stopped"
