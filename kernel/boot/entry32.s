# Purpose:  the way from a loader's 32-bit entry to 64-bit mode in the higher half.
# Mode:     32-bit protected mode, paging off, flat segments; at the end 64-bit
# Spec:     Multiboot2 Specification 2.0, 3.3 machine state; Xen docs/misc/pvh.pandoc; Intel SDM vol. 3, 9.8.5
#           (initialising IA-32e mode)
# Exports:  boot_enter_multiboot2, boot_enter_pvh, boot_handover_magic, boot_handover_info, boot_handover_protocol
# Invariants: linked at its physical address (.boot is identity-mapped); the handover registers are saved before
#           anything else; interrupts stay off.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "boot.inc"

.section .boot.data, "aw"
    .balign 8
# the early GDT: null, kernel code (64-bit), kernel data; the same selectors as the final one
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff                    # L, present, code, readable
    .quad 0x00cf92000000ffff                    # present, data, writable
boot_gdt_end:
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .long boot_gdt
    .balign 4
object boot_handover_magic
    .long 0                                     # EAX of the loader, or the first dword of hvm_start_info
end_object boot_handover_magic
object boot_handover_info
    .long 0                                     # EBX: physical address of what the loader says
end_object boot_handover_info
object boot_handover_protocol
    .long 0                                     # BOOT_PROTOCOL_*
end_object boot_handover_protocol

.section .boot.text, "ax"
.code32

# boot_enter_multiboot2 -- the ELF entry: a Multiboot2 loader jumps here
# In:       eax = magic:u32, ebx = information:u32
# Out:      none
# Clobbers: none
# Context:  32-bit protected mode, paging off; does not return
function boot_enter_multiboot2
    mov dword ptr [boot_handover_magic], eax
    mov dword ptr [boot_handover_info], ebx
    mov dword ptr [boot_handover_protocol], BOOT_PROTOCOL_MULTIBOOT2
    jmp boot_start
end_function boot_enter_multiboot2

# boot_enter_pvh -- the entry that the PVH note names: QEMU -kernel, Xen
# In:       ebx = start_info:u32
# Out:      none
# Clobbers: none
# Context:  32-bit protected mode, paging off; does not return
function boot_enter_pvh
    mov dword ptr [boot_handover_info], ebx
    mov eax, dword ptr [ebx]
    mov dword ptr [boot_handover_magic], eax
    mov dword ptr [boot_handover_protocol], BOOT_PROTOCOL_PVH
    jmp boot_start
end_function boot_enter_pvh

# boot_start -- check the machine, switch to 64-bit mode, go to kernel_enter
# In:       none
# Out:      none
# Clobbers: none
# Context:  32-bit protected mode, paging off; does not return
function boot_start
    cli
    cld
    mov esp, offset boot_stack_top - VIRTUAL_BASE
    call boot_check_handover
    call boot_check_cpu
    call boot_make_tables
    lgdt [boot_gdt_pointer]
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, offset boot_pml4 - VIRTUAL_BASE
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE
    wrmsr
    mov eax, CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG
    mov cr0, eax
    ljmp SELECTOR_KERNEL_CODE, offset boot_long_mode
end_function boot_start

.code64

# boot_long_mode -- the first 64-bit instructions, still at a physical address: load the data segments, go up
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off; does not return
local_function boot_long_mode
    mov eax, SELECTOR_KERNEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset kernel_enter
    jmp rax
end_function boot_long_mode
