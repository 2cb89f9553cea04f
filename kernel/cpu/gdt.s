# Purpose:  the final GDT and the TSS of a CPU, both inside its per-CPU block; the boot unit `descriptors`.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 3.4.5 segment descriptors, 7.2.3 TSS descriptor, 7.7 64-bit TSS, 6.14.5 IST
# Exports:  descriptors_init, gdt_load
# Invariants: #DF, NMI, #MC and #DB run on stacks of their own (IST 1 to 4): they can come while RSP is ring 3's. There is
#           no I/O bitmap.
#
#   selector  descriptor        selector  descriptor
#   0x00      null              0x20      user data (ring 3)
#   0x08      kernel code       0x28      user code (ring 3)
#   0x10      kernel data       0x30      TSS, 16 bytes
#   0x18      null: the base that SYSRET counts from
#
#   TSS descriptor: 15:0 limit, 39:16 base 23:0, 43:40 type 9 (64-bit TSS, available), 47 present,
#                   51:48 limit 19:16, 63:56 base 31:24; second quad: base 63:32
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "contract.inc"
.include "percpu.inc"

.set TSS_DESCRIPTOR_TYPE, 0x0000890000000000    # present, 64-bit TSS

.section .rodata, "a"
    .balign 8
gdt_template:
    .quad 0
    .quad 0x00af9a000000ffff                    # kernel code: L, present, readable
    .quad 0x00cf92000000ffff                    # kernel data: present, writable
    .quad 0
    .quad 0x00cff2000000ffff                    # user data
    .quad 0x00affa000000ffff                    # user code
gdt_template_end:

.section .text, "ax"

# descriptors_init -- boot unit: GDT, TSS and IDT of the boot CPU
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8
# Context:  long mode, interrupts off, GS base set
function descriptors_init
    call_frame
    lea rdi, [rip + ist_stack_tops]
    call gdt_load
    call idt_fill
    call idt_load
    mov eax, BOOT_RESULT_OK
    return_frame
end_function descriptors_init

# gdt_load -- build the GDT and the TSS in the per-CPU block of the CPU that runs, and load both
# In:       rdi = ist_tops:ptr (IST_COUNT quads)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8
# Context:  long mode, interrupts off, GS base set
function gdt_load
    call_frame
    sub rsp, 16
    mov r8, qword ptr gs:[PERCPU_SELF]
    mov rax, qword ptr [rdi]
    mov qword ptr [r8 + PERCPU_TSS + TSS_IST1], rax
    mov rax, qword ptr [rdi + 8]
    mov qword ptr [r8 + PERCPU_TSS + TSS_IST2], rax
    mov rax, qword ptr [rdi + 16]
    mov qword ptr [r8 + PERCPU_TSS + TSS_IST3], rax
    mov rax, qword ptr [rdi + 24]
    mov qword ptr [r8 + PERCPU_TSS + TSS_IST4], rax
    mov rax, qword ptr [r8 + PERCPU_STACK_TOP]
    mov qword ptr [r8 + PERCPU_TSS + TSS_RSP0], rax
    mov word ptr [r8 + PERCPU_TSS + TSS_IO_MAP], TSS_SIZE

    lea rsi, [rip + gdt_template]
    lea rdi, [r8 + PERCPU_GDT]
    mov ecx, (gdt_template_end - gdt_template) / 8
    rep movsq
    lea rax, [r8 + PERCPU_TSS]                  # rdi = its descriptor
    mov rdx, rax
    shr rdx, 32
    mov dword ptr [rdi + 8], edx                # base 63:32
    mov dword ptr [rdi + 12], 0
    mov edx, eax
    and edx, 0xff000000                         # base 31:24
    shl rdx, 32
    and eax, 0x00ffffff                         # base 23:0
    shl rax, 16
    or rax, rdx
    mov rdx, TSS_DESCRIPTOR_TYPE + TSS_SIZE - 1
    or rax, rdx
    mov qword ptr [rdi], rax

    mov word ptr [rsp], GDT_SIZE - 1
    lea rax, [r8 + PERCPU_GDT]
    mov qword ptr [rsp + 2], rax
    lgdt [rsp]
    mov eax, SELECTOR_TSS
    ltr ax
    leave
    ret
end_function gdt_load
