# Purpose:  the boot unit `features`: switches on what the CPU offers for protection, SSE and memory types.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 2.5 (CR0, CR4), 13.12 (PAT), 14.1 (SSE); vol. 2, CPUID leaves 1 and 7
# Exports:  features_init
# Invariants: SSE may be used by every routine that lists the registers as clobbered; no interrupt handler uses it,
#           so nothing saves it. AVX stays off (CR4.OSXSAVE clear) until something saves it. FSGSBASE stays off:
#           ring 3 must not choose the GS base. SMEP, SMAP and UMIP are on where the CPU has them.
#
#   PAT: eight types of 8 bits, entry n in bits 8n+2..8n; see registers.inc for the meaning of each entry.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "registers.inc"

.set MXCSR_DEFAULT, 0x1f80                      # all SSE exceptions masked, round to nearest

.section .rodata, "a"
note_cr4:       .asciz "cr4"
note_missing:   .asciz "missing"
text_pat:       .asciz "pat"
    .balign 4
mxcsr_default:  .long MXCSR_DEFAULT

.section .text, "ax"

# features_init -- boot unit: set CR4, SSE and PAT on the boot CPU
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, GS base set
function features_init
    call_frame
    call features_enable
    jc .Lfeatures_no_pat
    lea rdi, [rip + note_cr4]
    mov rsi, cr4
    call unit_note
    mov eax, BOOT_RESULT_OK
    return_frame
.Lfeatures_no_pat:
    lea rdi, [rip + note_missing]
    lea rsi, [rip + text_pat]
    call unit_note_text
    mov eax, BOOT_RESULT_FAIL
    return_frame
end_function features_init

# features_enable -- set CR4, SSE and PAT on the CPU that runs
# In:       none
# Out:      cf = the CPU has no PAT, and nothing was programmed
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off; every CPU once, before anything is mapped WC, WT or WP
function features_enable
    push rbx
    push rsi
    mov eax, CPUID_LEAF_FEATURES
    cpuid
    test edx, CPUID_1_EDX_PAT
    stc
    jz .Lenable_return
    mov esi, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    test edx, CPUID_1_EDX_MCE
    jz .Lenable_no_mce
    or esi, CR4_MCE
.Lenable_no_mce:
    test edx, CPUID_1_EDX_PGE
    jz .Lenable_no_pge
    or esi, CR4_PGE
.Lenable_no_pge:
    xor eax, eax
    cpuid
    cmp eax, CPUID_LEAF_EXTENDED_FEATURES
    jb .Lenable_set
    mov eax, CPUID_LEAF_EXTENDED_FEATURES
    xor ecx, ecx
    cpuid
    test ebx, CPUID_7_EBX_SMEP
    jz .Lenable_no_smep
    or esi, CR4_SMEP
.Lenable_no_smep:
    test ebx, CPUID_7_EBX_SMAP
    jz .Lenable_no_smap
    or esi, CR4_SMAP
.Lenable_no_smap:
    test ecx, CPUID_7_ECX_UMIP
    jz .Lenable_set
    or esi, CR4_UMIP
.Lenable_set:
    mov cr4, rsi
    fninit
    ldmxcsr [rip + mxcsr_default]
    mov ecx, MSR_PAT
    mov eax, PAT_LOW
    mov edx, PAT_HIGH
    wrmsr
    mov rax, cr3                                # entries 0, 2 and 3 keep their meaning: dropping the TLB is
    mov cr3, rax                                # enough, no cache line changes its type
    clc
.Lenable_return:
    pop rsi
    pop rbx
    ret
end_function features_enable
