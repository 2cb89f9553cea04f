# Purpose:  routines that raise one exception each, for the tests of the fault path.
# Mode:     64-bit long mode, ring 0
# Spec:     Intel SDM vol. 3, 6.15 (each exception's cause)
# Exports:  provoke_*, provoke_restore
# Invariants: each takes an argument in rdi that most ignore, and returns when the exception did not come. What ring 0 cannot
#           raise by itself (#AC; #MC, #VE, #CP without hardware) or an emulator does not (#XM), provoke_gate delivers as
#           the CPU would. A software interrupt would push no error code.
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "percpu.inc"
.include "provoke.inc"

.set ADDRESS_NOT_CANONICAL, 0x0000800000000000
.set DESCRIPTOR_ABSENT, 0x00cf72000000ffff      # data, writable, not present
.set X87_DIVIDE_UNMASKED, 0x037b                # the reset control word with ZM clear
.set MXCSR_DIVIDE_UNMASKED, 0x1d80              # the reset value with ZM clear
.set MXCSR_DEFAULT, 0x1f80
.set RFLAGS_TF, 1 << 8
.set DESCRIPTOR_TYPE_AT, 5                      # byte of a descriptor: present, DPL, type
.set TSS_BUSY, 1 << 1                           # of the type
.set GATE_SHIFT, 4                              # 16 bytes each
.set VECTOR_SYSTEM_CALL, 0x80                   # any vector that is no exception

.section .rodata, "a"
    .balign 4
mxcsr_unmasked: .long MXCSR_DIVIDE_UNMASKED
mxcsr_masked:   .long MXCSR_DEFAULT
x87_unmasked:   .short X87_DIVIDE_UNMASKED

.section .text, "ax"

# provoke_de -- #DE: divide by zero
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, under fault_catch
function provoke_de
    xor edx, edx
    xor ecx, ecx
    mov eax, 1
    div ecx
    ret
end_function provoke_de

# provoke_db -- #DB: single step
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_db
    pushfq
    or qword ptr [rsp], RFLAGS_TF
    popfq
    nop
    ret
end_function provoke_db

# provoke_nmi -- the gate of the NMI, by software
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_nmi
    int VECTOR_NMI
    ret
end_function provoke_nmi

# provoke_bp -- #BP: breakpoint
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_bp
    int3
    ret
end_function provoke_bp

# provoke_of -- the gate of #OF, by software (INTO does not exist in 64-bit mode)
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_of
    int VECTOR_OF
    ret
end_function provoke_of

# provoke_br -- the gate of #BR, by software (BOUND does not exist in 64-bit mode)
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_br
    int VECTOR_BR
    ret
end_function provoke_br

# provoke_ud -- #UD: undefined opcode
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_ud
    ud2
    ret
end_function provoke_ud

# provoke_nm -- #NM: x87 with CR0.TS set; provoke_restore clears it
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, under fault_catch
function provoke_nm
    mov rax, cr0
    or rax, CR0_TS
    mov cr0, rax
    fldz
    ret
end_function provoke_nm

# provoke_df -- #DF: the frame of a stack fault cannot be pushed on the stack that caused it
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch; it leaves no stack to return on: not a call like others
function provoke_df
    mov rsp, ADDRESS_NOT_CANONICAL
    push rax
    ret
end_function provoke_df

# provoke_np -- #NP: load a descriptor that is not present; provoke_restore takes it away
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, GS base set, under fault_catch
function provoke_np
    mov rcx, qword ptr gs:[PERCPU_SELF]
    mov rax, DESCRIPTOR_ABSENT
    mov qword ptr [rcx + PERCPU_GDT + SELECTOR_USER_BASE], rax
    mov eax, SELECTOR_USER_BASE
    mov es, eax
    ret
end_function provoke_np

# provoke_ss -- #SS: a stack access at an address that is not canonical
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, under fault_catch
function provoke_ss
    push rbp
    mov rbp, ADDRESS_NOT_CANONICAL
    mov rax, qword ptr [rbp]
    pop rbp
    ret
end_function provoke_ss

# provoke_gp -- #GP: a data access at an address that is not canonical
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, under fault_catch
function provoke_gp
    mov rax, ADDRESS_NOT_CANONICAL
    mov rax, qword ptr [rax]
    ret
end_function provoke_gp

# provoke_pf_read -- #PF: read an address
# In:       rdi = address:u64
# Out:      none
# Clobbers: rax
# Context:  long mode, under fault_catch
function provoke_pf_read
    mov rax, qword ptr [rdi]
    ret
end_function provoke_pf_read

# provoke_pf_write -- #PF: write an address
# In:       rdi = address:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_pf_write
    mov byte ptr [rdi], 0
    ret
end_function provoke_pf_write

# provoke_pf_fetch -- #PF: jump to an address
# In:       rdi = address:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_pf_fetch
    call_frame
    call rdi
    return_frame
end_function provoke_pf_fetch

# provoke_mf -- #MF: an unmasked x87 error; provoke_restore clears it
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_mf
    fninit
    fldcw [rip + x87_unmasked]
    fld1
    fldz
    fdivp
    fwait
    ret
end_function provoke_mf

# provoke_xm -- #XM: an unmasked SSE error, where the CPU raises one (TCG does not); provoke_restore masks it
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, xmm0, xmm1
# Context:  long mode, under fault_catch
function provoke_xm
    ldmxcsr [rip + mxcsr_unmasked]
    mov eax, 1
    cvtsi2sd xmm0, eax
    xorps xmm1, xmm1
    divsd xmm0, xmm1
    ret
end_function provoke_xm

# provoke_ts -- #TS: a gate with a stack of the interrupt stack table beyond the limit of the TSS; provoke_restore mends it
# In:       rdi = unused:u64
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, GS base set, under fault_catch; NMI, #DF and #MC find their stacks all the same
function provoke_ts
    call_frame
    mov eax, TSS_IST4 - 1
    call provoke_set_tss
    int VECTOR_DB
    return_frame
end_function provoke_ts

# provoke_set_tss -- load TR anew with another limit of the TSS
# In:       eax = limit:u32[0..0xffff]
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, GS base set
local_function provoke_set_tss
    mov rcx, qword ptr gs:[PERCPU_SELF]
    mov word ptr [rcx + PERCPU_GDT + SELECTOR_TSS], ax
    and byte ptr [rcx + PERCPU_GDT + SELECTOR_TSS + DESCRIPTOR_TYPE_AT], ~TSS_BUSY & 0xff
    mov eax, SELECTOR_TSS
    ltr ax
    ret
end_function provoke_set_tss

# provoke_gate -- an exception as the CPU delivers it on the stack in use: frame and error code (0) pushed, IF cleared, on
#                 to where the gate leads
# In:       rdi = vector:u64 (with PROVOKE_ERROR where it has an error code)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, under fault_catch; it comes back by the frame
function provoke_gate
    mov rdx, rsp
    and rsp, -16                                # as the CPU aligns it
    sub rsp, 16
    sidt [rsp + 6]
    mov rax, [rsp + 8]
    add rsp, 16
    movzx ecx, dil
    shl ecx, GATE_SHIFT
    add rax, rcx
    mov ecx, [rax + 8]                          # offset 63:32
    shl rcx, 32
    mov esi, [rax + 4]
    xor si, si                                  # 31:16
    or rcx, rsi
    movzx esi, word ptr [rax]                   # 15:0
    or rcx, rsi
    push SELECTOR_KERNEL_DATA
    push rdx
    pushfq
    push SELECTOR_KERNEL_CODE
    lea rax, [rip + .Lgate_behind]
    push rax
    test edi, PROVOKE_ERROR
    jz .Lgate_enter
    push 0
.Lgate_enter:
    cli
    jmp rcx
.Lgate_behind:
    ret
end_function provoke_gate

# provoke_interrupt -- a vector that nobody serves
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch
function provoke_interrupt
    int VECTOR_SYSTEM_CALL
    ret
end_function provoke_interrupt

# provoke_overflow -- use up the stack until it runs into its guard page
# In:       rdi = unused:u64
# Out:      none
# Clobbers: none
# Context:  long mode, under fault_catch, guard pages unmapped
function provoke_overflow
    call_frame
    call provoke_overflow
    return_frame
end_function provoke_overflow

# provoke_nothing -- no exception
# In:       rdi = value:u64
# Out:      rax = value:u64
# Clobbers: none
# Context:  long mode
function provoke_nothing
    mov rax, rdi
    ret
end_function provoke_nothing

# provoke_restore -- undo what a routine of this file changed in the CPU
# In:       none
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, GS base set
function provoke_restore
    clts
    fninit
    ldmxcsr [rip + mxcsr_masked]
    mov rcx, qword ptr gs:[PERCPU_SELF]
    mov qword ptr [rcx + PERCPU_GDT + SELECTOR_USER_BASE], 0
    mov eax, TSS_SIZE - 1
    cmp word ptr [rcx + PERCPU_GDT + SELECTOR_TSS], ax
    jne provoke_set_tss
    ret
end_function provoke_restore
