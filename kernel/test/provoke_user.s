# Purpose:  a program that raises an exception in ring 3, for the tests of the fault path and for the command fault.
# Mode:     64-bit long mode, ring 3
# Spec:     Intel SDM vol. 3, 6.15 (each exception's cause), 6.12.1.1 (gates that ring 3 may not use)
# Exports:  provoke_user (an ELF64 image, up to provoke_user_end)
# Invariants: it gets the number of a row of fault_kinds (shell/fault.s) as its argument, with the CPU above it; the rows of
#           its own table follow that order. Where ring 3 cannot raise the exception itself, it does what would, and is
#           refused that.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "provoke.inc"
.include "test/user_image.inc"

.set USER_NO_ADDRESS, 0x0000800000000000        # the first that is not canonical
.set USER_FLAGS_STEP, 1 << 8                    # TF
.set USER_X87_UNMASKED, 0x037b                  # the reset control word with ZM clear
.set USER_KINDS, 24
.set PROVOKE_BUDGET, 10                         # per cent, of a thread on another CPU

.global provoke_user, provoke_user_end
user_image provoke_user
    mov ebx, edi                                # kind
    mov r12, rdi
    shr r12, PROVOKE_CPU_SHIFT                  # CPU
    user_call CPUS
    mov r13, rax
    mov edi, ebx
    cmp r12, rdx
    je provoke_user_here
    xor r14d, r14d                              # from CPU r14 to below r13
    mov eax, PROVOKE_ALL
    cmp r12, rax
    je provoke_user_threads
    mov r14, r12
    lea r13, [r12 + 1]
provoke_user_threads:
    sub rsp, THREAD_REQUEST_SIZE
provoke_user_next:
    mov rdi, rsp
    lea rax, [rip + provoke_user_here]
    mov [rdi + THREAD_REQUEST_ENTRY], rax
    mov [rdi + THREAD_REQUEST_ARGUMENT], rbx
    mov qword ptr [rdi + THREAD_REQUEST_PERIOD], 0
    mov qword ptr [rdi + THREAD_REQUEST_BUDGET], PROVOKE_BUDGET
    mov qword ptr [rdi + THREAD_REQUEST_WINDOW], 0
    mov [rdi + THREAD_REQUEST_CPU], r14
    user_call THREAD_CREATE
    jnc provoke_user_made
    cmp eax, ERROR_BUSY                         # that CPU does something else just now
    user_test_expect e, 1
    user_call YIELD
    jmp provoke_user_next
provoke_user_made:
    inc r14
    cmp r14, r13
    jb provoke_user_next
    user_call THREAD_EXIT
provoke_user_here:
    cmp edi, USER_KINDS
    jae 9f
    lea rax, [rip + provoke_user_table]
    movsxd rcx, dword ptr [rax + rdi * 4]
    add rax, rcx
    call rax
9:
    mov edi, TEST_CODE                          # no exception came
    user_call EXIT
    ud2
provoke_user_de:
    xor edx, edx
    xor ecx, ecx
    div ecx
    ret
provoke_user_db:
    pushfq
    or qword ptr [rsp], USER_FLAGS_STEP
    popfq
    nop
    ret
provoke_user_nmi:
    int VECTOR_NMI
    ret
provoke_user_bp:
    int3
    ret
provoke_user_of:
    int VECTOR_OF
    ret
provoke_user_br:
    int VECTOR_BR
    ret
provoke_user_ud:
    ud2
provoke_user_nm:
    mov rax, cr0
    ret
provoke_user_df:
    xor esp, esp
    push rax
    ret
provoke_user_np:
    mov eax, SELECTOR_KERNEL_DATA
    mov es, eax
    ret
provoke_user_ss:
    mov rbp, USER_NO_ADDRESS
    mov rax, [rbp]
    ret
provoke_user_gp:
    mov rax, USER_NO_ADDRESS
    mov rax, [rax]
    ret
provoke_user_read:
    xor eax, eax
    mov rax, [rax]
    ret
provoke_user_write:
    xor eax, eax
    mov [rax], rax
    ret
provoke_user_fetch:
    xor eax, eax
    call rax
    ret
provoke_user_mf:
    fninit
    fldcw [rip + provoke_user_control]
    fld1
    fldz
    fdivp
    fwait
    ret
provoke_user_xm:
    ret                                         # TCG raises none
provoke_user_overflow:
    call provoke_user_overflow
provoke_user_ts:
    int VECTOR_TS
    ret
provoke_user_gate_ac:
    int VECTOR_AC
    ret
provoke_user_gate_mc:
    int VECTOR_MC
    ret
provoke_user_gate_xm:
    int VECTOR_XM
    ret
provoke_user_gate_ve:
    int VECTOR_VE
    ret
provoke_user_gate_cp:
    int VECTOR_CP
    ret
provoke_user_control:
    .short USER_X87_UNMASKED
    .balign 4
provoke_user_table:
.irp name, de, db, nmi, bp, of, br, ud, nm, df, np, ss, gp, read, write, fetch, mf, xm, overflow, ts, gate_ac, gate_mc, gate_xm, gate_ve, gate_cp
    .long provoke_user_\name - provoke_user_table
.endr
user_image_end provoke_user
