# Purpose:  tests of what the boot set up in the CPU: descriptors, control registers, memory types, SSE, the line lock.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 2.4 (GDTR, TR), 2.5 (CR0, CR4), 7.2.3 (TSS descriptor), 13.12 (PAT)
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "registers.inc"
.include "percpu.inc"

.set CR0_WANTED, CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG
.set CR0_UNWANTED, CR0_EM | CR0_TS | CR0_NW | CR0_CD
.set EFER_WANTED, EFER_LME | EFER_LMA | EFER_NXE
.set CR4_ALWAYS, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
.set CR4_NEVER, CR4_FSGSBASE | CR4_OSXSAVE
.set TSS_TYPE_BUSY, 0x8b                        # present, 64-bit TSS, busy: LTR marks it
.set DESCRIPTOR_TYPE_BYTE, 5
.set GATE_SIZE, 16
.set MARK, 0x5ca1ab1e5ca1ab1e

# the entry n of the PAT, and the whole as registers.inc describes it
.macro pat_entry n, type
    .set PAT_WANTED, PAT_WANTED + (\type << (8 * \n))
.endm
.set PAT_WANTED, 0
    pat_entry 0, PAT_TYPE_WB
    pat_entry 1, PAT_TYPE_WC
    pat_entry 2, PAT_TYPE_UC_MINUS
    pat_entry 3, PAT_TYPE_UC
    pat_entry 4, PAT_TYPE_WB
    pat_entry 5, PAT_TYPE_WP
    pat_entry 6, PAT_TYPE_UC_MINUS
    pat_entry 7, PAT_TYPE_WT

# smep, smap, umip: CPUID bit -> CR4 bit
.macro feature_bit register, cpuid, cr4
    .quad \register, \cpuid, \cr4
.endm
.set FEATURE_EBX, 0
.set FEATURE_ECX, 8
.set FEATURE_SIZE, 24

.section .rodata, "a"
    .balign 8
feature_bits:
    feature_bit FEATURE_EBX, CPUID_7_EBX_SMEP, CR4_SMEP
    feature_bit FEATURE_EBX, CPUID_7_EBX_SMAP, CR4_SMAP
    feature_bit FEATURE_ECX, CPUID_7_ECX_UMIP, CR4_UMIP
feature_bits_end:

ktap_text text_gdt, "gdt base"
ktap_text text_gdt_limit, "gdt limit"
ktap_text text_tr, "task register"
ktap_text text_tss_type, "tss type"
ktap_text text_tss_base, "tss base"
ktap_text text_ist, "ist"
ktap_text text_cs, "cs"
ktap_text text_ss, "ss"
ktap_text text_idt_limit, "idt limit"
ktap_text text_cr0, "cr0"
ktap_text text_cr4, "cr4"
ktap_text text_efer, "efer"
ktap_text text_pat, "pat"
ktap_text text_xmm, "xmm"
ktap_text text_self, "block"

# test_descriptors -- GDTR, TR, TSS and segment registers hold what gdt_load built
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_descriptors
    call_frame
    push rbx
    push r12
    sub rsp, 16
    mov rbx, qword ptr gs:[PERCPU_SELF]
    sgdt [rsp]
    lea rdi, [rip + text_gdt]
    mov rsi, qword ptr [rsp + 2]
    lea rdx, [rbx + PERCPU_GDT]
    call ktap_check
    lea rdi, [rip + text_gdt_limit]
    movzx esi, word ptr [rsp]
    mov edx, GDT_SIZE - 1
    call ktap_check
    sidt [rsp]
    lea rdi, [rip + text_idt_limit]
    movzx esi, word ptr [rsp]
    mov edx, VECTOR_COUNT * GATE_SIZE - 1
    call ktap_check
    lea rdi, [rip + text_tr]
    str esi
    mov edx, SELECTOR_TSS
    call ktap_check
    lea rdi, [rip + text_cs]
    mov esi, cs
    mov edx, SELECTOR_KERNEL_CODE
    call ktap_check
    lea rdi, [rip + text_ss]
    mov esi, ss
    mov edx, SELECTOR_KERNEL_DATA
    call ktap_check
    lea rdi, [rip + text_tss_type]
    movzx esi, byte ptr [rbx + PERCPU_GDT + SELECTOR_TSS + DESCRIPTOR_TYPE_BYTE]
    mov edx, TSS_TYPE_BUSY
    call ktap_check
    mov rdi, rbx
    call descriptor_tss_base
    mov rsi, rax
    lea rdi, [rip + text_tss_base]
    lea rdx, [rbx + PERCPU_TSS]
    call ktap_check
    add rsp, 16
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_descriptors
ktap_test test_descriptors, "cpu_descriptors"

# descriptor_tss_base -- the base that the TSS descriptor of a per-CPU block holds
# In:       rdi = block:ptr
# Out:      rax = base:ptr
# Clobbers: rdx
# Context:  long mode
local_function descriptor_tss_base
    mov eax, dword ptr [rdi + PERCPU_GDT + SELECTOR_TSS + 2]
    and eax, 0x00ffffff                         # base 23:0
    movzx edx, byte ptr [rdi + PERCPU_GDT + SELECTOR_TSS + 7]
    shl edx, 24
    or eax, edx                                 # base 31:24
    mov edx, dword ptr [rdi + PERCPU_GDT + SELECTOR_TSS + 8]
    shl rdx, 32
    or rax, rdx
    ret
end_function descriptor_tss_base

# test_ist -- the TSS names the three stacks of the interrupt stack table
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, on the boot CPU; a test
local_function test_ist
    call_frame
    push rbx
    push r12
    mov rbx, qword ptr gs:[PERCPU_SELF]
    lea r12, [rip + ist_stack_tops]
    lea rdi, [rip + text_ist]
    mov rsi, qword ptr [rbx + PERCPU_TSS + TSS_IST1]
    mov rdx, qword ptr [r12]
    call ktap_check
    mov rsi, qword ptr [rbx + PERCPU_TSS + TSS_IST2]
    mov rdx, qword ptr [r12 + 8]
    call ktap_check
    mov rsi, qword ptr [rbx + PERCPU_TSS + TSS_IST3]
    mov rdx, qword ptr [r12 + 16]
    call ktap_check
    mov rsi, qword ptr [rbx + PERCPU_TSS + TSS_IST4]
    mov rdx, qword ptr [r12 + 24]
    call ktap_check
    lea rdi, [rip + text_self]
    mov rsi, rbx
    lea rdx, [rip + percpu_boot]
    call ktap_check
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_ist
ktap_test test_ist, "cpu_interrupt_stacks"

# test_control -- CR0, CR4 and EFER protect what they can
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_control
    call_frame
    lea rdi, [rip + text_cr0]
    mov rsi, cr0
    and esi, CR0_WANTED | CR0_UNWANTED
    mov edx, CR0_WANTED
    call ktap_check
    lea rdi, [rip + text_cr4]
    mov rsi, cr4
    and esi, CR4_ALWAYS | CR4_NEVER
    mov edx, CR4_ALWAYS
    call ktap_check
    mov ecx, MSR_EFER
    rdmsr
    mov esi, eax
    and esi, EFER_WANTED
    lea rdi, [rip + text_efer]
    mov edx, EFER_WANTED
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_control
ktap_test test_control, "cpu_control_registers"

# test_features -- SMEP, SMAP and UMIP are on where CPUID has them, and only there
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_features
    call_frame
    push rbx
    push r12
    sub rsp, 16
    xor eax, eax
    cpuid
    xor ebx, ebx
    xor ecx, ecx
    mov edx, CPUID_LEAF_EXTENDED_FEATURES
    cmp eax, edx
    jb .Lfeatures_known                         # no such leaf: no such features
    mov eax, edx
    xor ecx, ecx
    cpuid
.Lfeatures_known:
    mov qword ptr [rsp + FEATURE_EBX], rbx
    mov qword ptr [rsp + FEATURE_ECX], rcx
    lea r12, [rip + feature_bits]
.Lfeatures_next:
    mov rax, qword ptr [r12]
    mov rcx, qword ptr [rsp + rax]
    xor edx, edx
    test rcx, qword ptr [r12 + 8]
    cmovnz rdx, qword ptr [r12 + 16]
    mov rsi, cr4
    and rsi, qword ptr [r12 + 16]
    lea rdi, [rip + text_cr4]
    call ktap_check
    add r12, FEATURE_SIZE
    lea rax, [rip + feature_bits_end]
    cmp r12, rax
    jb .Lfeatures_next
    add rsp, 16
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_features
ktap_test test_features, "cpu_protection_features"

# test_pat -- the memory types are those that the PTE_CACHE constants mean
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_pat
    call_frame
    mov ecx, MSR_PAT
    rdmsr
    shl rdx, 32
    lea rsi, [rdx + rax]
    lea rdi, [rip + text_pat]
    mov rdx, PAT_WANTED
    call ktap_check
    mov eax, KTAP_DONE
    return_frame
end_function test_pat
ktap_test test_pat, "cpu_memory_types"

# test_sse -- SSE instructions run, and an aligned store finds the stack aligned
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11, xmm0
# Context:  long mode, GS base set; a test
local_function test_sse
    call_frame
    sub rsp, 16
    mov rax, MARK
    movq xmm0, rax
    punpcklqdq xmm0, xmm0
    movaps xmmword ptr [rsp], xmm0
    lea rdi, [rip + text_xmm]
    mov rsi, qword ptr [rsp + 8]
    mov rdx, MARK
    call ktap_check
    add rsp, 16
    mov eax, KTAP_DONE
    return_frame
end_function test_sse
ktap_test test_sse, "cpu_sse"
