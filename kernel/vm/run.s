# Purpose:  runs programs of the Pixel VM: one piece of code for each opcode, each going on at the next one's.
# Mode:     64-bit; nothing in it needs the kernel: hosts run it too
# Spec:     pixelvm/SPEC.md, sections 3 to 6
# Exports:  vm_run, vm_decode
# Invariants: a step that stops changes nothing but `stop`; fuel is paid before a step and given back when it stops.
#           Nothing outside of the machine, its cells and its memory is touched, whatever the program does: legality of
#           each word was decided by vm_decode, everything else is checked at each step.
#
#   rbx  the cell of the instruction            r12d bytes of memory
#   eax  the value on top of the stack          r13  locals of the frame
#   rsi  where that value's slot lies           r14  vm_handlers
#   edi  fuel                                   r15  the machine
#   r8   the first slot, r9 the last            ecx, edx, ebp  free; edx holds the operand at a handler's begin
#   r10  the first cell, r11 memory
.intel_syntax noprefix
.include "macros.inc"
.include "pixelvm.inc"
.include "vm.inc"
.include "vm_run.inc"

.set OPCODES, 256
.set ROW_HANDLER, 0                             # of vm_opcodes
.set ROW_LIMIT, 4
.set ROW_SHIFT, 3
.set CALL_FUEL, 0                               # of vm_calls
.set CALL_POPS, 4
.set CALL_PUSHES, 8
.set CALL_SHIFT, 4

# vm_opcode NUMBER, NAME, LIMIT -- a row of vm_opcodes; those between the last one and this are no opcodes
.macro vm_opcode number, name, limit
    .rept \number - VM_NEXT_ROW
    .long 0, 0
    .endr
    .long .Lop_\name - vm_handlers, \limit
    .set VM_NEXT_ROW, \number + 1
.endm

.section .rodata, "a"
    .balign 8
.set VM_NEXT_ROW, 0
vm_opcodes:
    vm_opcode_rows
    .rept OPCODES - VM_NEXT_ROW
    .long 0, 0
    .endr
vm_calls:
    vm_call_rows

.section .text, "ax"

# vm_decode -- a program's words as cells; words that are no instruction become cells that stop with ILLEGAL
# In:       rdi = words:ptr, esi = count:u32[1..VM_CODE_MAX], rdx = cells:ptr (count + 1 of them)
# Out:      none
# Clobbers: rax, rcx, rdx, rdi, r8, r9, r10, r11
# Context:  long mode, any IF
function vm_decode
    lea r8, [rip + vm_opcodes]
    lea r11, [rip + vm_handlers]
    lea r9, [rip + .Lop_illegal]
    sub r9, r11
    lea r10, [rdi + rsi * 4]
.Ldecode_next:
    mov eax, dword ptr [rdi]
    movzx ecx, al
    lea rcx, [r8 + rcx * 8]                     # ROW_SHIFT
    mov r11d, dword ptr [rcx + ROW_LIMIT]
    cmp r11d, VM_OPERAND_TARGET
    cmove r11d, esi
    mov ecx, dword ptr [rcx + ROW_HANDLER]
    cmp al, VM_OP_PUSH
    je .Ldecode_signed
    shr eax, 8
    cmp eax, r11d
    cmovae ecx, r9d                             # no opcode: its limit is 0
    jmp .Ldecode_put
.Ldecode_signed:
    sar eax, 8
.Ldecode_put:
    mov dword ptr [rdx + VM_CELL_HANDLER], ecx
    mov dword ptr [rdx + VM_CELL_OPERAND], eax
    add rdx, VM_CELL_SIZE
    add rdi, 4
    cmp rdi, r10
    jb .Ldecode_next
    mov dword ptr [rdx + VM_CELL_HANDLER], r9d  # behind the last instruction
    mov dword ptr [rdx + VM_CELL_OPERAND], 0
    ret
end_function vm_decode

# vm_run -- run until it stops or makes a system call
# In:       rdi = machine:ptr (VM_*)
# Out:      eax = call:u32[0..10], 0 = it stopped, and `stop` says why; else a system call's number + 1: it is paid for
#           and its arguments are off the stack, from stack[depth] on; its answers belong there, and depth rises by them
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, any IF
function vm_run
    xor eax, eax
    cmp dword ptr [rdi + VM_STOP], VM_STOP_RUNNING
    je .Lenter
    cmp dword ptr [rdi + VM_STOP], VM_STOP_FUEL
    je .Lenter
    ret
.Lenter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov r15, rdi
    lea r14, [rip + vm_handlers]
    mov r10, qword ptr [r15 + VM_CELLS]
    mov r11, qword ptr [r15 + VM_MEMORY]
    mov r12d, dword ptr [r15 + VM_BYTES]
    lea r8, [r15 + VM_STACK]
    lea r9, [r8 + (VM_STACK_SLOTS - 1) * 4]
    mov ecx, dword ptr [r15 + VM_DEPTH]
    lea rsi, [r8 + rcx * 4 - 4]
    mov eax, dword ptr [rsi]
    mov edi, dword ptr [r15 + VM_FUEL]
    mov r13d, dword ptr [r15 + VM_FRAME_COUNT]
    dec r13d
    shl r13d, 6                                 # VM_LOCALS_SIZE
    lea r13, [r15 + r13 + VM_FRAME_LOCALS]
    mov ecx, dword ptr [r15 + VM_PC]
    lea rbx, [r10 + rcx * 8]                    # VM_CELL_SIZE
vm_handlers:
    vm_go

.Lop_illegal:
    mov ecx, VM_STOP_ILLEGAL
    jmp .Lstop

.Lop_push:
    vm_pay 1
    vm_room
    vm_push
    mov eax, edx
    vm_next
.Lop_high:
    vm_pay 1
    vm_one 1
    and eax, 0x00ffffff
    shl edx, 24
    or eax, edx
    vm_next
.Lop_dup:
    vm_pay 1
    vm_one 1
    vm_room
    vm_push
    vm_next
.Lop_drop:
    vm_pay 1
    vm_one 1
    vm_pop
    vm_next
.Lop_swap:
    vm_pay 1
    vm_two 1
    mov ecx, dword ptr [rsi - 4]
    mov dword ptr [rsi - 4], eax
    mov eax, ecx
    vm_next
.Lop_over:
    vm_pay 1
    vm_two 1
    vm_room
    vm_push
    mov eax, dword ptr [rsi - 8]
    vm_next
.Lop_rot:
    vm_pay 1
    lea rcx, [r8 + 8]
    cmp rsi, rcx
    jb .Lunderflow_1
    mov ecx, dword ptr [rsi - 8]
    mov edx, dword ptr [rsi - 4]
    mov dword ptr [rsi - 8], edx
    mov dword ptr [rsi - 4], eax
    mov eax, ecx
    vm_next
.Lop_pick:
    vm_pay 1
    neg rdx
    lea rcx, [rsi + rdx * 4]
    cmp rcx, r8
    jb .Lunderflow_1
    vm_room
    vm_push
    mov eax, dword ptr [rcx]
    vm_next

vm_binary add, add
vm_binary mul, imul
vm_binary and, and
vm_binary or, or
vm_binary xor, xor
vm_shift shl, shl
vm_shift shr, shr
vm_shift sar, sar
vm_compare eq, sete
vm_compare ne, setne
vm_compare ltu, setb
vm_compare lts, setl
.Lop_sub:
    vm_pay 1
    vm_two 1
    mov ecx, eax
    mov eax, dword ptr [rsi - 4]
    sub eax, ecx
    sub rsi, 4
    vm_next

.Lop_divu:
    vm_divisor
    xor edx, edx
    div ecx
    sub rsi, 4
    vm_next
.Lop_remu:
    vm_divisor
    xor edx, edx
    div ecx
    mov eax, edx
    sub rsi, 4
    vm_next
.Lop_divs:
    vm_divisor
    sub rsi, 4
    cmp ecx, -1
    je .Ldivs_negate                            # of -2^31 idiv would be an exception
    cdq
    idiv ecx
    vm_next
.Ldivs_negate:
    neg eax
    vm_next
.Lop_rems:
    vm_divisor
    sub rsi, 4
    cmp ecx, -1
    je .Lrems_zero
    cdq
    idiv ecx
    mov eax, edx
    vm_next
.Lrems_zero:
    xor eax, eax
    vm_next

.Lop_load8:
    vm_pay 1
    vm_one 1
    lea ecx, [rax + rdx]
    cmp ecx, r12d
    jae .Lbounds
    movzx eax, byte ptr [r11 + rcx]
    vm_next
.Lop_load32:
    vm_pay 1
    vm_one 1
    lea ecx, [rax + rdx]
    test cl, 3
    jnz .Lalignment
    cmp ecx, r12d                               # a memory's size is a multiple of 4
    jae .Lbounds
    mov eax, dword ptr [r11 + rcx]
    vm_next
.Lop_store8:
    vm_pay 1
    vm_two 1
    mov ecx, dword ptr [rsi - 4]
    add ecx, edx
    cmp ecx, r12d
    jae .Lbounds
    mov byte ptr [r11 + rcx], al
    sub rsi, 8
    mov eax, dword ptr [rsi]
    vm_next
.Lop_store32:
    vm_pay 1
    vm_two 1
    mov ecx, dword ptr [rsi - 4]
    add ecx, edx
    test cl, 3
    jnz .Lalignment
    cmp ecx, r12d
    jae .Lbounds
    mov dword ptr [r11 + rcx], eax
    sub rsi, 8
    mov eax, dword ptr [rsi]
    vm_next

.Lop_jump:
    vm_pay 1
    lea rbx, [r10 + rdx * 8]                    # VM_CELL_SIZE
    vm_go
.Lop_jz:
    vm_pay 1
    vm_one 1
    mov ecx, eax
    vm_pop
    test ecx, ecx
    jz .Ljump
    vm_next
.Lop_jnz:
    vm_pay 1
    vm_one 1
    mov ecx, eax
    vm_pop
    test ecx, ecx
    jnz .Ljump
    vm_next
.Ljump:
    lea rbx, [r10 + rdx * 8]                    # VM_CELL_SIZE
    vm_go

.Lop_call:
    vm_pay 2
    lea rcx, [r15 + VM_FRAME_LOCALS + (VM_FRAMES - 1) * VM_LOCALS_SIZE]
    cmp r13, rcx
    je .Lcalls
    mov rcx, rbx
    sub rcx, r10
    shr rcx, VM_CELL_SHIFT
    inc ecx                                     # behind the call
    lea rbp, [r13 - VM_FRAME_LOCALS]
    sub rbp, r15
    shr rbp, VM_LOCALS_TO_RETURNS
    mov dword ptr [r15 + rbp + VM_RETURNS], ecx
    add r13, VM_LOCALS_SIZE
    xor ecx, ecx
    mov qword ptr [r13 + 0x00], rcx
    mov qword ptr [r13 + 0x08], rcx
    mov qword ptr [r13 + 0x10], rcx
    mov qword ptr [r13 + 0x18], rcx
    mov qword ptr [r13 + 0x20], rcx
    mov qword ptr [r13 + 0x28], rcx
    mov qword ptr [r13 + 0x30], rcx
    mov qword ptr [r13 + 0x38], rcx
    lea rbx, [r10 + rdx * 8]                    # VM_CELL_SIZE
    vm_go
.Lop_ret:
    vm_pay 1
    lea rcx, [r15 + VM_FRAME_LOCALS]
    cmp r13, rcx
    je .Lreturn
    sub r13, VM_LOCALS_SIZE
    lea rbp, [r13 - VM_FRAME_LOCALS]
    sub rbp, r15
    shr rbp, VM_LOCALS_TO_RETURNS
    mov ecx, dword ptr [r15 + rbp + VM_RETURNS]
    lea rbx, [r10 + rcx * 8]                    # VM_CELL_SIZE
    vm_go
.Lop_get:
    vm_pay 1
    vm_room
    vm_push
    mov eax, dword ptr [r13 + rdx * 4]
    vm_next
.Lop_set:
    vm_pay 1
    vm_one 1
    mov dword ptr [r13 + rdx * 4], eax
    vm_pop
    vm_next

.Lop_sys:
    shl edx, CALL_SHIFT
    lea rcx, [rip + vm_calls]
    add rcx, rdx
    cmp edi, dword ptr [rcx + CALL_FUEL]
    jb .Lfuel
    lea rbp, [rsi + 4]
    sub rbp, r8
    shr ebp, 2                                  # depth
    sub ebp, dword ptr [rcx + CALL_POPS]
    jb .Lunderflow
    add ebp, dword ptr [rcx + CALL_PUSHES]
    cmp ebp, VM_STACK_SLOTS
    ja .Loverflow
    sub edi, dword ptr [rcx + CALL_FUEL]
    cmp edx, VM_SYS_RANDOM << CALL_SHIFT
    je .Lrandom
    sub ebp, dword ptr [rcx + CALL_PUSHES]
    mov dword ptr [rsi], eax
    mov dword ptr [r15 + VM_DEPTH], ebp
    add rbx, VM_CELL_SIZE
    mov dword ptr [r15 + VM_STOP], VM_STOP_RUNNING
    mov eax, edx
    shr eax, CALL_SHIFT
    inc eax
    jmp .Lleave
.Lrandom:
    vm_push
    mov eax, dword ptr [r15 + VM_SEED]
    mov ecx, eax
    shl ecx, 13
    xor eax, ecx
    mov ecx, eax
    shr ecx, 17
    xor eax, ecx
    mov ecx, eax
    shl ecx, 5
    xor eax, ecx
    mov dword ptr [r15 + VM_SEED], eax
    vm_next

.Lop_halt:
    vm_pay 1
    mov dword ptr [r15 + VM_RESULT], edx
    mov ecx, VM_STOP_HALTED
    jmp .Lstop

vm_refunds 1
vm_refunds 2
vm_refunds 4
.Loverflow_1:
    add edi, 1
.Loverflow:
    mov ecx, VM_STOP_OVERFLOW
    jmp .Lstop
.Lfuel:
    mov ecx, VM_STOP_FUEL
    jmp .Lstop
.Lunderflow:
    mov ecx, VM_STOP_UNDERFLOW
    jmp .Lstop
.Ldivision:
    add edi, 4
    mov ecx, VM_STOP_DIVISION
    jmp .Lstop
.Lalignment:
    add edi, 1
    mov ecx, VM_STOP_ALIGNMENT
    jmp .Lstop
.Lbounds:
    add edi, 1
    mov ecx, VM_STOP_BOUNDS
    jmp .Lstop
.Lcalls:
    add edi, 2
    mov ecx, VM_STOP_CALLS
    jmp .Lstop
.Lreturn:
    add edi, 1
    mov ecx, VM_STOP_RETURN
.Lstop:                                         # ecx = why
    mov dword ptr [r15 + VM_STOP], ecx
    mov dword ptr [rsi], eax
    lea rcx, [rsi + 4]
    sub rcx, r8
    shr ecx, 2
    mov dword ptr [r15 + VM_DEPTH], ecx
    xor eax, eax
.Lleave:
    mov dword ptr [r15 + VM_FUEL], edi
    sub rbx, r10
    shr rbx, VM_CELL_SHIFT
    mov dword ptr [r15 + VM_PC], ebx
    sub r13, r15
    sub r13, VM_FRAME_LOCALS
    shr r13, 6                                  # VM_LOCALS_SIZE
    inc r13d
    mov dword ptr [r15 + VM_FRAME_COUNT], r13d
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
end_function vm_run
