# Purpose:  tests of the fault path: every exception that can be raised is caught with its vector and error code.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: each test leaves the CPU as it found it (provoke_restore).
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "fault.inc"
.include "layout.inc"
.include "registers.inc"
.include "percpu.inc"
.include "provoke.inc"

.set ADDRESS_UNMAPPED, 0x0000123456789000
.set ADDRESS_NOT_CANONICAL, 0x0000800000000000
.set MARK, 0x5ca1ab1e

# case PROVOKE, ARGUMENT, VECTOR, ERROR -- a row of fault_cases
.macro case routine, argument, vector, error
    .quad \routine, \argument, \vector, \error
.endm
.set CASE_ROUTINE, 0
.set CASE_ARGUMENT, 8
.set CASE_VECTOR, 16
.set CASE_ERROR, 24
.set CASE_SIZE, 32

.section .rodata, "a"
    .balign 8
fault_cases:
    case provoke_de, 0, VECTOR_DE, 0
    case provoke_db, 0, VECTOR_DB, 0
    case provoke_nmi, 0, VECTOR_NMI, 0
    case provoke_bp, 0, VECTOR_BP, 0
    case provoke_of, 0, VECTOR_OF, 0
    case provoke_br, 0, VECTOR_BR, 0
    case provoke_ud, 0, VECTOR_UD, 0
    case provoke_nm, 0, VECTOR_NM, 0
    case provoke_df, 0, VECTOR_DF, 0
    case provoke_np, 0, VECTOR_NP, SELECTOR_USER_BASE
    case provoke_gp, 0, VECTOR_GP, 0
    case provoke_mf, 0, VECTOR_MF, 0
    case provoke_ts, 0, VECTOR_TS, SELECTOR_TSS
    case provoke_gate, VECTOR_AC | PROVOKE_ERROR, VECTOR_AC, 0
    case provoke_gate, VECTOR_MC, VECTOR_MC, 0
    case provoke_gate, VECTOR_XM, VECTOR_XM, 0
    case provoke_gate, VECTOR_VE, VECTOR_VE, 0
    case provoke_gate, VECTOR_CP | PROVOKE_ERROR, VECTOR_CP, 0
    case provoke_pf_read, ADDRESS_UNMAPPED, VECTOR_PF, 0
    case provoke_pf_write, ADDRESS_UNMAPPED, VECTOR_PF, PF_WRITE
    case provoke_pf_fetch, ADDRESS_UNMAPPED, VECTOR_PF, PF_FETCH
    case provoke_pf_read, 0, VECTOR_PF, 0
    case provoke_pf_write, provoke_pf_write, VECTOR_PF, PF_PRESENT | PF_WRITE
    case provoke_pf_write, fault_cases, VECTOR_PF, PF_PRESENT | PF_WRITE
    case provoke_pf_fetch, percpu_boot, VECTOR_PF, PF_PRESENT | PF_FETCH
    case provoke_pf_fetch, fault_cases, VECTOR_PF, PF_PRESENT | PF_FETCH
fault_cases_end:

ktap_text text_faulted, "faulted"
ktap_text text_no_xm, "this CPU raises no #XM"
ktap_text text_vector, "vector"
ktap_text text_error, "error code"
ktap_text text_cr2, "cr2"
ktap_text text_rsp, "rsp"
ktap_text text_rbx, "rbx"
ktap_text text_rflags, "rflags"
ktap_text text_result, "result"
ktap_text text_catch, "catch record"
ktap_text text_gs, "gs base"
ktap_text text_unreadable, "unreadable"

# test_exceptions -- each case of fault_cases is caught as itself
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_exceptions
    call_frame
    push rbx
    push r12
    lea rbx, [rip + fault_cases]
.Lexceptions_next:
    mov rdi, qword ptr [rbx + CASE_ROUTINE]
    mov rsi, qword ptr [rbx + CASE_ARGUMENT]
    mov rdx, qword ptr [rbx + CASE_VECTOR]
    mov rcx, qword ptr [rbx + CASE_ERROR]
    call fault_check_caught
    add rbx, CASE_SIZE
    lea rax, [rip + fault_cases_end]
    cmp rbx, rax
    jb .Lexceptions_next
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_exceptions
ktap_test test_exceptions, "fault_exceptions_are_caught"

# fault_check_caught -- call a routine under fault_catch and check what it raised
# In:       rdi = routine:ptr, rsi = argument:u64, rdx = vector:u64, rcx = error:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, in a test
local_function fault_check_caught
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdx
    mov r13, rcx
    xor edx, edx                                # FAULT_CATCH_QUIET
    call fault_catch
    setc bl
    mov r14, rdx
    mov rsi, rax
    lea rdi, [rip + text_vector]
    mov rdx, r12
    call ktap_check
    lea rdi, [rip + text_faulted]
    movzx esi, bl
    mov edx, 1
    call ktap_check
    lea rdi, [rip + text_error]
    mov rsi, r14
    mov rdx, r13
    call ktap_check
    call provoke_restore
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function fault_check_caught

# test_sse_error -- an unmasked error of SSE is #XM, where the CPU raises one
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11, xmm0, xmm1
# Context:  long mode, GS base set; a test
local_function test_sse_error
    call_frame
    lea rdi, [rip + provoke_xm]
    xor edx, edx
    call fault_catch
    jc .Lsse_raised
    call provoke_restore
    lea rdi, [rip + text_no_xm]
    call ktap_skip
    return_frame
.Lsse_raised:
    mov rsi, rax
    lea rdi, [rip + text_vector]
    mov edx, VECTOR_XM
    call ktap_check
    call provoke_restore
    mov eax, KTAP_DONE
    return_frame
end_function test_sse_error
ktap_test test_sse_error, "fault_sse_error"

# test_stack_segment -- a bad stack access is #SS; TCG says #GP
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_stack_segment
    call_frame
    lea rdi, [rip + provoke_ss]
    xor edx, edx
    call fault_catch
    mov rsi, rax
    mov edx, VECTOR_SS
    cmp rax, VECTOR_GP
    cmove edx, eax
    lea rdi, [rip + text_vector]
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_stack_segment
ktap_test test_stack_segment, "fault_stack_segment"

# test_report -- a fault that is expected is reported as a whole block of that scope
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test. The host checks the block
local_function test_report
    call_frame
    lea rdi, [rip + provoke_pf_write]
    mov rsi, ADDRESS_UNMAPPED
    mov edx, FAULT_CATCH_REPORT
    call fault_catch
    lea rdi, [rip + text_cr2]
    mov rsi, qword ptr gs:[CAUGHT_CR2]
    mov rdx, ADDRESS_UNMAPPED
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_report
ktap_test test_report, "fault_report_expected"

# test_catch_state -- fault_catch gives the stack, saved registers and flags back, fault or not
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_catch_state
    call_frame
    push rbx
    push r12
    mov rbx, MARK
    mov r12, rsp
    lea rdi, [rip + catch_and_spoil]
    xor edx, edx
    call fault_catch
    pushfq
    pop r8
    lea rdi, [rip + text_rsp]
    mov rsi, rsp
    mov rdx, r12
    call ktap_check
    lea rdi, [rip + text_rbx]
    mov rsi, rbx
    mov edx, MARK
    call ktap_check
    lea rdi, [rip + text_rflags]
    mov rsi, r8
    and esi, RFLAGS_DF
    xor edx, edx
    call ktap_check
    lea rdi, [rip + provoke_nothing]
    mov esi, MARK
    xor edx, edx
    call fault_catch
    setc cl
    mov rsi, rax
    lea rdi, [rip + text_result]
    mov edx, MARK
    call ktap_check
    lea rdi, [rip + text_faulted]
    movzx esi, cl
    xor edx, edx
    call ktap_check
    lea rdi, [rip + text_catch]
    mov rsi, qword ptr gs:[PERCPU_CATCH]
    xor edx, edx
    call ktap_check
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_catch_state
ktap_test test_catch_state, "fault_catch_restores_state"

# catch_and_spoil -- spoil registers, flags and stack, catch a fault within, then fault
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12
# Context:  long mode, under fault_catch; not a call that returns
local_function catch_and_spoil
    call_frame
    lea rdi, [rip + provoke_de]
    xor edx, edx
    call fault_catch                            # nested: the outer record must survive
    xor ebx, ebx
    xor r12d, r12d
    std
    push rbx
    ud2
end_function catch_and_spoil

# test_overflow -- a stack that overflows becomes #DF on a stack of its own, CR2 in the guard page
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, on the boot stack; a test
local_function test_overflow
    call_frame
    lea rdi, [rip + provoke_overflow]
    xor esi, esi
    mov edx, VECTOR_DF
    xor ecx, ecx
    call fault_check_caught
    lea rdi, [rip + text_cr2]
    mov rsi, qword ptr gs:[CAUGHT_CR2]
    and rsi, -PAGE_SIZE
    mov rdx, qword ptr [rip + stack_guards]
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_overflow
ktap_test test_overflow, "fault_stack_overflow"

# test_guards -- no guard page can be read
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_guards
    call_frame
    push rbx
    push r12
    lea rbx, [rip + stack_guards]
.Lguards_next:
    mov rsi, qword ptr [rbx]
    test rsi, rsi
    jz .Lguards_done
    lea rdi, [rip + provoke_pf_read]
    mov edx, VECTOR_PF
    xor ecx, ecx
    call fault_check_caught
    add rbx, 8
    jmp .Lguards_next
.Lguards_done:
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_guards
ktap_test test_guards, "fault_guard_pages"

# test_gs_repair -- a damaged GS base is mended by the fault path
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_gs_repair
    call_frame
    lea rdi, [rip + spoil_gs]
    xor edx, edx
    call fault_catch
    lea rdi, [rip + text_vector]
    mov rsi, rax
    mov edx, VECTOR_UD
    call ktap_check
    mov ecx, MSR_GS_BASE
    rdmsr
    shl rdx, 32
    lea rsi, [rdx + rax]
    lea rdi, [rip + text_gs]
    mov rdx, qword ptr gs:[PERCPU_SELF]
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_gs_repair
ktap_test test_gs_repair, "fault_gs_base_is_mended"

# spoil_gs -- set the GS base to 0, then fault
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, under fault_catch; not a call that returns
local_function spoil_gs
    mov ecx, MSR_GS_BASE
    xor eax, eax
    xor edx, edx
    wrmsr
    ud2
end_function spoil_gs

# test_fault_read -- reads without a fault, and refuses what is not mapped
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_fault_read
    call_frame
    push rbx
    push r12
    lea rdi, [rip + fault_cases]
    call fault_read
    mov rsi, rax
    lea rdi, [rip + text_result]
    mov rdx, qword ptr [rip + fault_cases]
    call ktap_check
    lea rbx, [rip + unreadable_addresses]
.Lread_next:
    mov rdi, qword ptr [rbx]
    call fault_read
    setc al
    movzx esi, al
    lea rdi, [rip + text_unreadable]
    mov edx, 1
    call ktap_check
    add rbx, 8
    lea rax, [rip + unreadable_addresses_end]
    cmp rbx, rax
    jb .Lread_next
    mov rdi, ADDRESS_NOT_CANONICAL              # the probe alone: the fault becomes a failure
    call fault_probe
    setc al
    movzx esi, al
    lea rdi, [rip + text_unreadable]
    mov edx, 1
    call ktap_check
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_fault_read
ktap_test test_fault_read, "fault_read_refuses"

.section .rodata, "a"
    .balign 8
unreadable_addresses:
    .quad 0, ADDRESS_UNMAPPED, ADDRESS_NOT_CANONICAL, -1
    .quad boot_stack_bottom - 4                 # the second half is mapped, the first is not
    .quad boot_stack_top - 4                    # the other way round: a guard page follows
unreadable_addresses_end:
