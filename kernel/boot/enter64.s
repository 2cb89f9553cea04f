# Purpose:  the first code of the higher half: a stack, the per-CPU block of the boot CPU, the serial line.
# Mode:     64-bit long mode, interrupts off
# Exports:  kernel_enter, boot_stack_top, percpu_boot
# Invariants: nothing here can fail; whatever can is a boot unit.
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "percpu.inc"

.section .bss, "aw", @nobits
    .balign 4096
object percpu_boot
    .skip PERCPU_SIZE
end_object percpu_boot

.section .text, "ax"

# kernel_enter -- set up stack, GS base and serial line, then boot
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, early page tables; does not return
function kernel_enter
    lea rsp, [rip + boot_stack_top]
    xor ebp, ebp                                # the outermost frame: traces end here
    lea rdi, [rip + percpu_boot]
    xor esi, esi
    lea rdx, [rip + boot_stack_bottom]
    lea rcx, [rip + boot_stack_top]
    call percpu_init
    call serial_init
    call boot_main
end_function kernel_enter

# percpu_init -- fill the per-CPU block of the CPU that runs and point its GS base at it
# In:       rdi = block:ptr, esi = cpu:u32, rdx = stack_bottom:ptr, rcx = stack_top:ptr
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, interrupts off; the block is cleared memory
function percpu_init
    mov qword ptr [rdi + PERCPU_SELF], rdi
    mov dword ptr [rdi + PERCPU_ID], esi
    mov qword ptr [rdi + PERCPU_STACK_BOTTOM], rdx
    mov qword ptr [rdi + PERCPU_STACK_TOP], rcx
    mov rax, rdi
    mov rdx, rdi
    shr rdx, 32
    mov ecx, MSR_GS_BASE
    wrmsr
    ret
end_function percpu_init
