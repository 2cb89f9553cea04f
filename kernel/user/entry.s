# Purpose:  into the kernel by SYSCALL and out again; the first way to ring 3; the boot unit `syscalls`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 2, SYSCALL, SYSRET, SWAPGS; vol. 3, 5.8.8 (MSRs); CVE-2012-0217 (SYSRET to what is not canonical)
# Exports:  syscalls_init syscall_enable syscall_enter user_enter
# Invariants: in ring 0 the GS base is the per-CPU block's, and KERNEL_GS_BASE holds that of ring 3; SWAPGS stands behind
#           the first and before the last access of each way. Between SYSCALL and the switch of the stack nothing can come
#           but NMI, #MC and #DB, which have stacks of their own and mend the GS base (fault_restore_gs). SFMASK clears
#           IF, so that no interrupt comes, and AC, DF, TF and NT, which ring 3 chooses. Nobody goes back to an address
#           that user_return_check has not seen.
#
#   STAR:   47:32 kernel code (SS = that + 8)   63:48 base of SYSRET: SS = base + 8, CS = base + 16, RPL 3
#   frame:  as an exception's (percpu.inc: FRAME_*), made by syscall_enter at the top of the thread's kernel stack
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"
.include "percpu.inc"
.include "user.inc"

.set STAR_HIGH, (SELECTOR_USER_BASE | SELECTOR_RPL_MASK) << 16 | SELECTOR_KERNEL_CODE
.set SYSCALL_FLAGS_CLEARED, RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC | RFLAGS_ID

.section .text, "ax"

# syscalls_init -- boot unit: let ring 3 call on the boot CPU
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx
# Context:  long mode, interrupts off, GS base set; boot unit
function syscalls_init
    call_frame
    call syscall_enable
    mov eax, BOOT_RESULT_OK
    return_frame
end_function syscalls_init

# syscall_enable -- let ring 3 call on the CPU that runs
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off; every CPU once, before it has threads
function syscall_enable
    mov ecx, MSR_STAR
    xor eax, eax                                # EIP of a SYSCALL in 32-bit mode, which there is none of
    mov edx, STAR_HIGH
    wrmsr
    mov ecx, MSR_LSTAR
    lea rax, [rip + syscall_enter]
    mov rdx, rax
    shr rdx, 32
    wrmsr
    mov ecx, MSR_SFMASK
    mov eax, SYSCALL_FLAGS_CLEARED
    xor edx, edx
    wrmsr
    mov ecx, MSR_KERNEL_GS_BASE
    xor eax, eax
    wrmsr
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_SCE
    wrmsr
    ret
end_function syscall_enable

# syscall_enter -- where SYSCALL leads: a frame on the thread's own stack, the call, back
# In:       none
# Out:      none
# Clobbers: none
# Context:  jumped to by the CPU: rcx = RIP and r11 = RFLAGS of ring 3, RSP and GS base are ring 3's, interrupts off
function syscall_enter
    swapgs
    mov qword ptr gs:[PERCPU_USER_RSP], rsp
    mov rsp, qword ptr gs:[PERCPU_KERNEL_RSP]
    push SELECTOR_USER_DATA | SELECTOR_RPL_MASK
    push qword ptr gs:[PERCPU_USER_RSP]
    push r11
    push SELECTOR_USER_CODE | SELECTOR_RPL_MASK
    push rcx
    push 0                                      # error code
    push FRAME_VECTOR_SYSCALL
    push_registers
    push 0                                      # CR2
    mov rdi, rsp
    sub rsp, 8                                  # 23 quads lie on it
    xor ebp, ebp                                # traces of the kernel end here
    sti
    call syscall_dispatch
    cli
    lea rdi, [rsp + 8]
    call user_return_check
    add rsp, 16
    pop_registers
    add rsp, 16                                 # vector and error code
    pop rcx                                     # RIP, which is canonical
    add rsp, 8                                  # CS: SYSRET sets it
    pop r11
    pop rsp
    swapgs
    sysretq
end_function syscall_enter

# user_enter -- the first code of a thread of ring 3: go there, with registers that tell nothing
# In:       rdi = user:ptr (USER_*)
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, GS base set, in a thread whose address space is loaded; does not return
function user_enter
    call_frame
    cli
    mov eax, SELECTOR_USER_DATA | SELECTOR_RPL_MASK
    mov ds, eax
    mov es, eax
    mov fs, eax                                 # its base becomes 0
    push rax                                    # SS
    push qword ptr [rdi + USER_STACK]
    push RFLAGS_IF | RFLAGS_RESERVED1
    push SELECTOR_USER_CODE | SELECTOR_RPL_MASK
    push qword ptr [rdi + USER_ENTRY]
    mov rdi, [rdi + USER_ARGUMENT]
    xor eax, eax
    xor ebx, ebx
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor ebp, ebp
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    swapgs
    iretq
end_function user_enter
