# Purpose:  the way of a starting CPU from real mode to the higher half: code that is copied to a page below 64 KB.
# Mode:     16-bit real mode, at the end 64-bit; runs in the copy, never where it is linked
# Spec:     Intel SDM vol. 3, 8.4.3 (MP initialisation), 9.8.5 (initialising IA-32e mode), 9.1.1 (state after INIT)
# Exports:  trampoline_place trampoline_start
# Invariants: addresses are relative to the page, which CS holds; what depends on the page is filled in by
#           trampoline_place. No stack is used. The tables of the boot (boot_pml4) are kept for this: they map the page
#           where it is, and the image where it belongs.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"

.set JUMP_OFFSET, 1                             # of the 16-bit offset in the far jump
.set GDT_BASE_OFFSET, 2                         # of the base in a descriptor-table pointer

.section .rodata, "a"
    .balign 16
object trampoline_start
.code16
    cli
    mov ax, cs
    mov ds, ax
    lgdt [trampoline_gdt_pointer - trampoline_start]
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, dword ptr [trampoline_root - trampoline_start]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE
    wrmsr
    mov eax, CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG
    mov cr0, eax
trampoline_jump:
    ljmp SELECTOR_KERNEL_CODE, trampoline_long - trampoline_start
.code64
trampoline_long:
    mov eax, SELECTOR_KERNEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset cpu_enter
    jmp rax
    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9a000000ffff                    # L, present, code, readable
    .quad 0x00cf92000000ffff                    # present, data, writable
trampoline_gdt_end:
    .skip 2
trampoline_gdt_pointer:
    .short trampoline_gdt_end - trampoline_gdt - 1
    .long trampoline_gdt - trampoline_start     # and the page
    .balign 4
trampoline_root:
    .long 0                                     # CR3
end_object trampoline_start
trampoline_end:

.section .text, "ax"

# trampoline_place -- copy the trampoline to its page, and fill in what depends on it
# In:       rdi = page:u64[0x8000..0xf000] (physical)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, any IF, after the paging unit
function trampoline_place
    mov edx, edi
    mov rax, DIRECT_BASE
    add rdi, rax
    mov rax, rdi
    lea rsi, [rip + trampoline_start]
    mov ecx, offset trampoline_end - trampoline_start
    rep movsb
    lea rsi, [rip + trampoline_start]
    sub rax, rsi                                # from a place in the original to the same in the copy
    lea rcx, [rip + trampoline_jump + JUMP_OFFSET]
    add word ptr [rax + rcx], dx
    lea rcx, [rip + trampoline_gdt_pointer + GDT_BASE_OFFSET]
    add dword ptr [rax + rcx], edx
    lea rcx, [rip + trampoline_root]
    mov edx, offset boot_pml4 - VIRTUAL_BASE
    mov dword ptr [rax + rcx], edx
    ret
end_function trampoline_place
