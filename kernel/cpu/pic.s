# Purpose:  the pair of 8259 out of the way: moved off the exceptions, masked, its spurious interrupts answered.
# Mode:     64-bit long mode
# Spec:     Intel 8259A data sheet (ICW1 to ICW4, OCW1 to OCW3, "spurious interrupt")
# Exports:  pic_disable pic_spurious
# Invariants: nothing comes from the pair but line 7 of either, which it raises when a request went away too early.
#
#   port 0x20 / 0xa0: ICW1, OCW2 (end of interrupt), OCW3    port 0x21 / 0xa1: ICW2 (vector), ICW3, ICW4, OCW1 (mask)
.intel_syntax noprefix
.include "macros.inc"
.include "percpu.inc"
.include "apic.inc"

.section .text, "ax"

# pic_disable -- move the pair to VECTOR_PIC and mask all its lines
# In:       none
# Out:      none
# Clobbers: rax
# Context:  long mode, interrupts off; harmless where there is no such pair
function pic_disable
    mov al, PIC_ICW1
    out PIC_MASTER, al
    out PIC_SLAVE, al
    mov al, VECTOR_PIC
    out PIC_MASTER_DATA, al
    mov al, VECTOR_PIC + 8
    out PIC_SLAVE_DATA, al
    mov al, PIC_ICW3_MASTER
    out PIC_MASTER_DATA, al
    mov al, PIC_ICW3_SLAVE
    out PIC_SLAVE_DATA, al
    mov al, PIC_ICW4
    out PIC_MASTER_DATA, al
    out PIC_SLAVE_DATA, al
    mov al, PIC_MASK_ALL
    out PIC_MASTER_DATA, al
    out PIC_SLAVE_DATA, al
    ret
end_function pic_disable

# pic_spurious -- line 7 of one of the pair: count it; the master sees an interrupt of the slave as its own line 2
# In:       rdi = slave:u64[0..1]
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, interrupts off, GS base set; a handler
function pic_spurious
    inc qword ptr gs:[PERCPU_SPURIOUS]
    mov edx, PIC_MASTER
    test edi, edi
    jz .Lspurious_which
    mov edx, PIC_SLAVE
.Lspurious_which:
    mov al, PIC_READ_ISR
    out dx, al
    in al, dx
    test al, PIC_SPURIOUS_BIT
    jz .Lspurious_none                          # it is not being served: no end for this one
    mov al, PIC_EOI
    out dx, al
.Lspurious_none:
    test edi, edi
    jz .Lspurious_return
    mov al, PIC_EOI
    out PIC_MASTER, al
.Lspurious_return:
    ret
end_function pic_spurious
