# Purpose:  the interrupt descriptor table: 256 stubs from one macro, the gates that point at them, the common entry.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 6.3.1 vectors, 6.13 error codes, 6.14 interrupts in 64-bit mode
# Exports:  idt_fill, idt_load
# Invariants: every vector has a gate; all gates are interrupt gates (IF is cleared) that ring 3 cannot call (DPL 0); an
#           exception without an error code gets a 0 in its place, so that all frames look alike (percpu.inc: FRAME_*).
#           SWAPGS goes by the CS in the frame; where that is the kernel's and the GS base is not (an exception within a
#           few instructions of syscall_enter), fault_restore_gs mends it.
#
#   gate, 16 bytes: 15:0 offset 15:0   31:16 selector   34:32 IST   43:40 type 0xe   46:45 DPL   47 present
#                   63:48 offset 31:16   95:64 offset 63:32   127:96 zero
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"
.include "percpu.inc"

.set GATE_SIZE, 16
.set GATE_INTERRUPT, 0x8e00                     # present, DPL 0, interrupt gate, IST 0
.set GATE_IST, 4                                # offset of the IST byte
.set IDT_LIMIT, VECTOR_COUNT * GATE_SIZE - 1
.set STUB_SIZE, 16
.set BREAKPOINT_OPCODE, 0xcc

# exceptions that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP #VC(29) #SX(30)
.set EXCEPTIONS_WITH_ERROR, 0x60227d00

.section .bss, "aw", @nobits
    .balign 16
idt:
    .skip VECTOR_COUNT * GATE_SIZE

.section .rodata, "a"
    .balign 8
    .skip 6                                     # so that the base lies on 8 bytes
idt_pointer:
    .short IDT_LIMIT
    .quad idt

.section .text, "ax"

# interrupt_stub -- normalise the frame (error code, vector) and go to the common entry
.macro interrupt_stub vector, has_error
    .balign STUB_SIZE, BREAKPOINT_OPCODE
    .if \has_error - 1
    push 0
    .endif
    push \vector
    jmp interrupt_enter
.endm

    .balign STUB_SIZE, BREAKPOINT_OPCODE
interrupt_stubs:
.set VECTOR, 0
.rept EXCEPTION_COUNT
    interrupt_stub VECTOR, ((EXCEPTIONS_WITH_ERROR >> VECTOR) & 1)
    .set VECTOR, VECTOR + 1
.endr
.rept VECTOR_COUNT - EXCEPTION_COUNT
    interrupt_stub VECTOR, 0
    .set VECTOR, VECTOR + 1
.endr
    .balign STUB_SIZE, BREAKPOINT_OPCODE

# interrupt_enter -- the common entry of all vectors: save all registers, hand the frame on, restore them
# In:       none
# Out:      none
# Clobbers: none
# Context:  jumped to by a stub, on the stack that the gate chose, IF clear
local_function interrupt_enter
    push_registers
    mov rax, cr2                                # at once: a nested fault overwrites it
    push rax
    cld
    mov rdi, rsp
    sub rsp, 8                                  # the CPU aligned the stack to 16 and 23 quads lie on it
    test byte ptr [rdi + FRAME_CS], SELECTOR_RPL_MASK
    jnz .Lenter_ring3
    lfence                                      # as there
.Lenter_kernel:
    cmp qword ptr [rdi + FRAME_VECTOR], EXCEPTION_COUNT
    jae .Lenter_external
    call fault_dispatch
    jmp .Lenter_restore
.Lenter_external:
    call interrupt_dispatch
.Lenter_restore:
    test byte ptr [rsp + 8 + FRAME_CS], SELECTOR_RPL_MASK
    jnz .Lenter_leave
.Lenter_registers:
    add rsp, 16
    pop_registers
    add rsp, 16                                 # vector and error code
    iretq
.Lenter_ring3:
    swapgs
    pushfq                                      # a gate leaves AC as ring 3 set it: SMAP would be off
    and dword ptr [rsp], ~RFLAGS_AC
    popfq
    lfence                                      # nobody runs ahead with the wrong GS base (CVE-2019-1125)
    jmp .Lenter_kernel
.Lenter_leave:
    lea rdi, [rsp + 8]
    call user_return_check                      # returns when the thread may go on
    swapgs
    jmp .Lenter_registers
end_function interrupt_enter

# idt_fill -- point all gates at their stubs; #DF, NMI, #MC and #DB get a stack of the interrupt stack table
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, interrupts off; once, the table is shared by all CPUs
function idt_fill
    lea rax, [rip + interrupt_stubs]
    lea rdi, [rip + idt]
    mov ecx, VECTOR_COUNT
.Lfill_gate:
    mov word ptr [rdi], ax
    mov word ptr [rdi + 2], SELECTOR_KERNEL_CODE
    mov edx, eax
    mov dx, GATE_INTERRUPT                      # offset 31:16 above the type
    mov dword ptr [rdi + 4], edx
    mov rdx, rax
    shr rdx, 32
    mov qword ptr [rdi + 8], rdx
    add rax, STUB_SIZE
    add rdi, GATE_SIZE
    dec ecx
    jnz .Lfill_gate
    mov byte ptr [rip + idt + VECTOR_DF * GATE_SIZE + GATE_IST], IST_DF
    mov byte ptr [rip + idt + VECTOR_NMI * GATE_SIZE + GATE_IST], IST_NMI
    mov byte ptr [rip + idt + VECTOR_MC * GATE_SIZE + GATE_IST], IST_MC
    mov byte ptr [rip + idt + VECTOR_DB * GATE_SIZE + GATE_IST], IST_DB
    ret
end_function idt_fill

# idt_load -- load the IDT on the CPU that runs
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode, interrupts off, after idt_fill
function idt_load
    lidt [rip + idt_pointer]
    ret
end_function idt_load
